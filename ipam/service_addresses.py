"""Keeps the addresses of Services as load_balancers.py decides: claims, tells by the status, releases.

Of all controllers one does this. Should two overlap for a moment, the compare-and-swaps of the allocator keep each
address with one handle, and a status is written onto the version of the Service that was judged. Whether a Service is
gone is asked of the store itself before anything of it is released: what is remembered of the cluster may be old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ipam.allocator import Allocator, Clock, Given
from ipam.documents import RULES, block_of, read_rules
from ipam.errors import IpamError
from ipam.load_balancers import Ask, Claim, Decision, claims_of, decide, outcome, wanted_by
from ipam.owners import LOAD_BALANCERS
from ipam.requests import Declared
from ipam.service_wishes import CLASS, TYPE, Wish, wish_of
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.services import ServiceSpec
from peering.store.protocol import Changed, Conflict, Event, NotFound, Store, Stored, StoreError
from peering.store.resources import to_resource

Log = Callable[[str], None]

_BLOCK, _SERVICE = "IPAMBlock", "Service"
#: What decides about these addresses.
WATCHED = frozenset((_SERVICE, _BLOCK, *RULES))
#: Seconds until another look when something is missing that no change may tell of, and when nothing is.
RETRY_S, CALM_S = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of the store. `services` are ours; of those that cannot be read nothing is touched."""

    declared: Declared
    services: dict[str, Resource]
    unreadable: set[str]
    claims: dict[str, list[Claim]]


class ServiceAddresses:
    """Of one store that keeps statuses, for as long as one controller leads."""

    def __init__(self, store: Store, log: Log, clock: Clock = time.time) -> None:
        self._store = store
        self._log = log
        self._allocator = Allocator(store, LOAD_BALANCERS, clock, keeps_doubtful=True)
        self._blocks = _Known(store, _BLOCK, is_balanced)
        self._services = _Known(store, _SERVICE, _is_ours)
        self._told: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._said: dict[str, str] = {}
        self._missing = False

    async def look(self) -> float:
        """Brings everything about; in how many seconds to look again at the latest. Raises StoreError, IpamError.

        One Service that cannot be served keeps none of the others from it.
        """
        reading = await self._read()
        self._missing = False
        wishes = dict(self._wishes(reading))
        wanted = wanted_by(wishes.values())
        held = {claim.address for claims in reading.claims.values() for claim in claims}
        failures: list[StoreError] = []
        decisions = [
            decide(wish, reading.claims.get(name, ()), _told(reading.services[name]), reading.declared, held)
            for name, wish in wishes.items()
        ]
        for decision in sorted(decisions, key=_urgency):
            try:
                await self._serve(reading.services[decision.wish.service], decision, reading.declared, wanted)
            except StoreError as error:
                failures.append(error)
            except IpamError as error:
                self._complain(decision.wish.service, error)
        failures += await self._release_orphans(reading)
        self._forget(reading)
        if failures:
            raise failures[0]
        return RETRY_S if self._missing else CALM_S

    async def _read(self) -> _Reading:
        blocks = [one for one in (await self._blocks.read()).values() if isinstance(one, Resource)]
        found = await self._services.read()
        return _Reading(
            Declared.for_load_balancers(await read_rules(self._store)),
            {name: one for name, one in found.items() if isinstance(one, Resource)},
            {name for name, one in found.items() if not isinstance(one, Resource)},
            claims_of(map(block_of, blocks)),
        )

    def _wishes(self, reading: _Reading) -> Iterator[tuple[str, Wish]]:
        """Who asks for what cannot be understood keeps what it has."""
        for name, service in reading.services.items():
            try:
                yield name, wish_of(service, reading.declared)
            except IpamError as error:
                self._complain(name, error)

    async def _serve(
        self, service: Resource, decision: Decision, declared: Declared, wanted: Mapping[str, str]
    ) -> None:
        got: list[Claim] = []
        refusal: IpamError | None = None
        for ask in decision.asks:
            try:
                got += self._new(decision, await self._ask(ask, declared))
            except IpamError as error:
                refusal = refusal or error
        follows = outcome(decision, got, wanted)
        if await self._tell(service, follows.told):
            for claim in follows.released:
                await self._release(claim)
        if refusal is not None:
            self._complain(service.name, refusal)
        else:
            self._said.pop(service.name, None)

    async def _ask(self, ask: Ask, declared: Declared) -> list[Given]:
        if ask.otherwise is not None:
            try:
                return await self._allocator.allocate(ask.request, declared)
            except IpamError:
                return await self._allocator.allocate(ask.otherwise, declared)
        return await self._allocator.allocate(ask.request, declared)

    def _new(self, decision: Decision, given: Iterable[Given]) -> Iterator[Claim]:
        """The allocator names what the handle had before as well."""
        before = {claim.address for claim in decision.old}
        for one in given:
            if one.address not in before:
                yield Claim(decision.wish.service, one.address, one.block, one.sequence)

    async def _tell(self, service: Resource, addresses: tuple[str, ...]) -> bool:
        """Whether the status says so now. Not when somebody has written the Service: that one is judged anew."""
        before = _told(service)
        if addresses == before or self._told.get(service.name) == (service.version, addresses):
            return True
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
        status = {"loadBalancer": {"ingress": ingress} if ingress else {}}
        try:
            await self._store.apply_status(_SERVICE, service.name, status, service.version)
        except (Conflict, NotFound):
            self._missing = True
            return False
        self._told[service.name] = service.version, addresses
        if new := [one for one in addresses if one not in before]:
            message = f"has {', '.join(new)}"
            self._store.tell(_SERVICE, service.name, Event("AddressAssigned", message))
            self._log(f"{service.ref} {message}")
        return True

    async def _release_orphans(self, reading: _Reading) -> list[StoreError]:
        """What is held for Services that are gone, or are not ours any more."""
        failures: list[StoreError] = []
        for name in sorted(reading.claims.keys() - reading.services.keys() - reading.unreadable):
            try:
                if not await self._is_still_ours(name):
                    for claim in reading.claims[name]:
                        await self._release(claim)
            except StoreError as error:
                failures.append(error)
            except IpamError as error:
                self._log(str(error))
        return failures

    async def _is_still_ours(self, name: str) -> bool:
        """As the store has it now."""
        try:
            return _is_ours(await self._store.get(_SERVICE, name))
        except NotFound:
            return False

    async def _release(self, claim: Claim) -> None:
        if await self._allocator.release_address(Given(claim.address, claim.block, claim.sequence)):
            self._log(f"{_SERVICE}/{claim.service} has {claim.address} no longer")

    def _complain(self, name: str, error: IpamError) -> None:
        """The event is told at each look, which counts it; the log says it once."""
        self._missing = True
        self._store.tell(_SERVICE, name, Event(_reason(error), str(error), is_warning=True))
        if self._said.get(name) != str(error):
            self._said[name] = str(error)
            self._log(f"{_SERVICE}/{name}: {error}")

    def _forget(self, reading: _Reading) -> None:
        for known in (self._told, self._said):
            for name in [name for name in known if name not in reading.services]:
                del known[name]


class _Known:
    """Those objects of a kind that matter here, found among all of them; each is read once for each version."""

    def __init__(self, store: Store, kind: str, matters: Callable[[Stored], bool]) -> None:
        self._store = store
        self._kind = kind
        self._matters = matters
        self._known: dict[str, tuple[int, Resource | list[Problem] | None]] = {}

    async def read(self) -> dict[str, Resource | list[Problem]]:
        """By name; problems in place of what cannot be read."""
        listed = await self._store.list(self._kind)
        self._known = {stored.name: self._read(stored) for stored in listed}
        return {name: found for name, (_, found) in self._known.items() if found is not None}

    def _read(self, stored: Stored) -> tuple[int, Resource | list[Problem] | None]:
        known = self._known.get(stored.name)
        if known is not None and known[0] == stored.version:
            return known
        return stored.version, to_resource(stored) if self._matters(stored) else None


def is_balanced(stored: Stored) -> bool:
    """Whether a block is one of load balancers. Those of nodes change with every pod and are not read further."""
    spec = stored.document.get("spec")
    return isinstance(spec, dict) and spec.get("affinity") == LOAD_BALANCERS


def _is_ours(stored: Stored) -> bool:
    spec = stored.document.get("spec")
    return isinstance(spec, dict) and (spec.get("type"), spec.get("loadBalancerClass")) == (TYPE, CLASS)


def concerns(changes: Sequence[Changed]) -> bool:
    """Whether another look is due."""
    return any(
        change.kind in WATCHED and (change.kind != _BLOCK or (change.stored is not None and is_balanced(change.stored)))
        for change in changes
    )


def _told(service: Resource) -> tuple[str, ...]:
    return cast(ServiceSpec, service.spec).load_balancer_ips


def _urgency(decision: Decision) -> tuple[bool, bool, str]:
    """Who asks for an address by itself goes first, then who is to have again what it was told."""
    again = any(ask.otherwise is not None for ask in decision.asks)
    return not decision.wish.addresses, not again, decision.wish.service


def _reason(error: IpamError) -> str:
    """`PoolExhausted`, as Events have it."""
    return "".join(word.capitalize() for word in error.code.split("-"))
