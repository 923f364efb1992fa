"""Which load balancer addresses are to be claimed, told and released, from Services and what they hold. Pure.

Nothing is remembered: what a Service holds is what the blocks say of its handle, what it was told is its status. So it
does not matter where a controller was killed, between the claim and the status or between the deletion of a Service and
the release; the next one takes the difference anew.

    claim what is missing ─► tell it in the status ─► release what is no longer told

An address is told only while it is held, and released when it is told no more. What blocks say may be old: an address
that was never told is asked for once more before it is. A Service that asks for another address keeps its old one until
it has the new one, or until another Service asks for the old one by itself: so two can change places. What is told and
not held (somebody has released it by hand, say) is taken again, if it is free. A Service that needs both families is
told none before it has both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam.block_order import address_at
from ipam.owners import LOAD_BALANCERS
from ipam.requests import Declared, Request, version_of
from ipam.service_wishes import Wish, pools_with, service_of
from peering.resources.ipam import IPAMBlockSpec


@dataclass(frozen=True, slots=True)
class Claim:
    """An address that a Service holds: its block, and the sequence that tells this gift from every other."""

    service: str
    address: str
    block: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the allocator; if the very addresses cannot be had, the other one if there is one."""

    request: Request
    otherwise: Request | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a Service keeps of what it was told, what is left of older wishes, and what it is to ask for."""

    wish: Wish
    told: tuple[str, ...]
    kept: tuple[Claim, ...]
    old: tuple[Claim, ...]
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the status is to tell, the preferred family first, and what is to be released after that."""

    told: tuple[str, ...]
    released: tuple[Claim, ...]


def claims_of(blocks: Iterable[IPAMBlockSpec]) -> dict[str, list[Claim]]:
    """What each Service holds, the older gift first."""
    found: defaultdict[str, list[Claim]] = defaultdict(list)
    for spec in blocks:
        for a in spec.allocations:
            service = service_of(a.handle)
            if service and a.node == LOAD_BALANCERS:
                found[service].append(Claim(service, address_at(spec.cidr, a.ordinal), spec.cidr, a.sequence))
    for claims in found.values():
        claims.sort(key=lambda claim: (claim.sequence, claim.address))
    return dict(found)


def wanted_by(wishes: Iterable[Wish]) -> dict[str, str]:
    """The addresses that Services ask for by themselves: which Service does, the first by name."""
    found: dict[str, str] = {}
    for wish in sorted(wishes, key=lambda wish: wish.service):
        for address in wish.addresses.values():
            found.setdefault(address, wish.service)
    return found


def decide(
    wish: Wish, claims: Sequence[Claim], told: Sequence[str], declared: Declared, held: Collection[str] = ()
) -> Decision:
    """What one Service is to ask for. `told` is what its status says, `held` the addresses that any Service holds."""
    fit: dict[int, Claim] = {}
    claims = sorted(claims, key=lambda claim: claim.address not in told)
    for claim in claims:
        if wish.allows(claim.address, declared):
            fit.setdefault(version_of(claim.address), claim)
    old = tuple(claim for claim in claims if claim not in fit.values())
    kept = tuple(claim for claim in fit.values() if claim.address in told)
    known = {version: claim.address for version, claim in fit.items() if claim not in kept}
    for address in told:
        if address not in held and wish.allows(address, declared) and pools_with(address, declared):
            known.setdefault(version_of(address), address)
    missing = [version for version in wish.versions if all(version_of(one.address) != version for one in kept)]
    together = [missing] if wish.needs_all and missing else [[version] for version in missing]
    asks = tuple(_ask(wish, versions, old, known) for versions in together)
    return Decision(wish, tuple(told), kept, old, asks)


def _ask(wish: Wish, versions: Sequence[int], old: Sequence[Claim], known: Mapping[int, str]) -> Ask:
    """`known` are the addresses that the Service seems to have, or had.

    The allocator counts what the handle holds of a family, what is old as well: so many more are asked for.
    """
    named = tuple(wish.addresses[version] for version in versions if version in wish.addresses)
    counts = {version: 1 + sum(version_of(one.address) == version for one in old) for version in versions}
    again = tuple(known[version] for version in versions if version in known and version not in wish.addresses)
    plain = wish.request(counts, named)
    return Ask(wish.request(counts, named + again), plain) if again else Ask(plain)


def outcome(decision: Decision, got: Iterable[Claim], wanted: Mapping[str, str]) -> Outcome:
    """What follows when the Service has got something of what it asked for. `wanted` is that of `wanted_by`."""
    wish = decision.wish
    now = {version_of(claim.address): claim for claim in (*got, *decision.kept)}
    released = []
    for claim in decision.old:
        version = version_of(claim.address)
        replaced = version in now or version not in wish.versions
        if replaced or wanted.get(claim.address, wish.service) != wish.service:
            released.append(claim)
        else:
            now[version] = claim
    told = tuple(now[version].address for version in wish.versions if version in now)
    if wish.needs_all and len(told) < len(wish.versions):
        told = tuple(address for address in told if address in decision.told)
    return Outcome(told, tuple(released))
