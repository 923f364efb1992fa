"""What is wrong with blocks and addresses, as the store has them and as they are announced. Pure.

Leftovers are what the collector would free (ipam/leftovers.py). Beside them: what must never be (an address or a block
that is two's), what the collector leaves to people (addresses outside every pool), and what is announced by a node that
does not own it. A podCIDR is owned by the node whose Node says so. A store in use has something under way at every
moment: only what two readings show is wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from ipam.block import node_of, user_of
from ipam.block_order import address_at, affinity_name, block_name, borrower_name, is_inside
from ipam.handles import handle_name
from ipam.leftovers import Leftover, Reading, leftovers
from ipam.owners import shown
from peering import pod_cidrs
from peering.prefixes import host_prefix, numbers
from peering.problems import Problem, ordered
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec
from peering.snapshot import Snapshot
from underlay import reports
from underlay.ipam_view import pools_and_nodes

KINDS = ("Node", "IPPool", "IPAMConfiguration", "BlockAffinity", "IPAMBlock", "IPAMHandle", "BGPNodeStatus")


@dataclass(frozen=True, slots=True)
class Announced:
    """A prefix that a node announces, and who says so. `known` is false for a neighbour that is no Node."""

    node: str
    prefix: str
    seen_by: str
    known: bool = True


def judge(resources: Iterable[Resource], announced: Iterable[Announced], now: float) -> tuple[Problem, ...]:
    """Everything that is wrong in one reading. `now` are Unix seconds."""
    everything = list(resources)
    reading = Reading.of(everything, now)
    reported = [one for status in current_statuses(everything, now) for one in _reported(status)]
    found = [
        *_held_twice(reading),
        *_overlaps(reading),
        *_owners(reading),
        *_outside_pools(reading),
        *_without_owner(reading),
        *_not_owned(reading, pools_and_nodes(everything), [*reported, *announced]),
        *_not_announced(reading, current_statuses(everything, now)),
        *_without_any_node(reading),
    ]
    for leftover in leftovers(reading, lambda a: False):
        if leftover.what in _LEFTOVERS:
            found.append(_LEFTOVERS[leftover.what](leftover))
    return ordered(found)


def current_statuses(resources: Iterable[Resource], now: float) -> list[BGPNodeStatusSpec]:
    """The reports that are not overdue."""
    specs = [cast(BGPNodeStatusSpec, one.spec) for one in resources if one.kind == "BGPNodeStatus"]
    return [spec for spec in specs if reports.overdue(spec, now) is None]


def counts(resources: Iterable[Resource], now: float) -> dict[str, int]:
    """How much was looked at."""
    everything = list(resources)
    reading = Reading.of(everything, now)
    return {
        "blocks": len(reading.blocks),
        "addresses": sum(1 for _ in reading.held()),
        "handles": len(reading.handles),
        "speakers": len(current_statuses(everything, now)),
    }


def _reported(status: BGPNodeStatusSpec) -> Iterator[Announced]:
    return (Announced(status.node, block, "its speaker") for block in status.blocks)


# What must never be


def _held_twice(reading: Reading) -> Iterator[Problem]:
    for cidr, spec in reading.blocks.items():
        for ordinal, count in Counter(a.ordinal for a in spec.allocations).items():
            if count > 1:
                holders = " and ".join(a.handle or "nobody" for a in spec.allocations if a.ordinal == ordinal)
                yield Problem(
                    "error", "address-held-twice", f"IPAMBlock/{block_name(cidr)}", "spec.allocations",
                    f"{address_at(cidr, ordinal)} is held by {holders}", "restart all of these pods but one",
                )  # fmt: skip


def _overlaps(reading: Reading) -> Iterator[Problem]:
    """In order, a block comes right after those around it, with nothing between but blocks inside them."""
    outer = None
    for cidr in sorted(reading.blocks, key=numbers):
        if outer is None or not is_inside(cidr, outer):
            outer = cidr
            continue
        yield Problem(
            "error", "blocks-overlap", f"IPAMBlock/{block_name(cidr)}", "spec.cidr",
            f"{cidr} lies inside block {outer}, so an address may be given twice",
            "was the pool made again with another blockSize? Drain the nodes of one of them",
        )  # fmt: skip


def _owners(reading: Reading) -> Iterator[Problem]:
    for one in reading.affinities:
        block = reading.blocks.get(one.cidr)
        if one.state != "confirmed" or (block is not None and node_of(block) == one.node):
            continue
        whose = "there is no such block" if block is None else f"the block is {_of(node_of(block))}"
        yield Problem(
            "error", "block-owner-differs", f"BlockAffinity/{affinity_name(one.node, one.cidr)}", "spec.state",
            f"{one.cidr} is confirmed for {shown(one.node)}, and {whose}",
            "restart the node's speaker; report this: it must never be",
        )  # fmt: skip


# What the collector leaves to people


def _outside_pools(reading: Reading) -> Iterator[Problem]:
    """Empty blocks are freed; addresses in use stay."""
    for cidr, spec in reading.blocks.items():
        if reading.pool_of(cidr) is None:
            used = len(spec.allocations)
            yield Problem(
                "warning", "outside-pools", f"IPAMBlock/{block_name(cidr)}", "spec.cidr",
                f"{cidr} lies outside every IPPool" + (f", and addresses of it are in use: {used}" if used else ""),
                "restart these pods, or declare the pool again" if used else "the controller frees it",
            )  # fmt: skip


def _without_owner(reading: Reading) -> Iterator[Problem]:
    for cidr, spec in reading.blocks.items():
        if not spec.affinity and spec.allocations:
            yield Problem(
                "info", "block-without-owner", f"IPAMBlock/{block_name(cidr)}", "spec.affinity",
                f"nobody owns {cidr}, and addresses of it are in use: {len(spec.allocations)}",
                "the next node that needs a block takes it with them",
            )  # fmt: skip


def _without_any_node(reading: Reading) -> Iterator[Problem]:
    if reading.affinities and not reading.nodes:
        yield Problem(
            "error", "no-nodes", "store", "",
            f"there is no Node, and nodes have claims of {len(reading.affinities)} blocks",
            "declare the nodes again: until then nothing is freed",
        )  # fmt: skip


# What the collector frees


def _leak(leftover: Leftover) -> Problem:
    addresses = ", ".join(sorted(address_at(cidr, ordinal) for cidr, ordinal, _ in leftover.gifts))
    block = block_name(min(leftover.gifts)[0])
    return Problem(
        "warning", "address-leaked",
        f"IPAMHandle/{handle_name(leftover.handle)}" if leftover.handle else f"IPAMBlock/{block}", "",
        f"holds {addresses}, and its node is gone", "the controller frees it after 15 minutes",
    )  # fmt: skip


def _no_node(leftover: Leftover) -> Problem:
    return Problem(
        "warning", "block-without-node", f"BlockAffinity/{affinity_name(leftover.node, leftover.block)}", "spec.node",
        f"{leftover.block} is claimed by Node/{leftover.node}, which is gone",
        "the controller frees it after its --grace; does it run?",
    )  # fmt: skip


def _unfinished(leftover: Leftover) -> Problem:
    return Problem(
        "warning", "unfinished-claim", f"BlockAffinity/{affinity_name(leftover.node, leftover.block)}", "spec.state",
        f"the claim of {leftover.block} by {shown(leftover.node)} was not finished",
        "the node's speaker finishes it, else the controller",
    )  # fmt: skip


def _nobody(leftover: Leftover) -> Problem:
    why = (
        f"{shown(leftover.node)} owns it and does not claim it" if leftover.node else "nobody owns it, and it is empty"
    )
    return Problem(
        "warning", "block-unclaimed", f"IPAMBlock/{block_name(leftover.block)}", "spec.affinity",
        f"{leftover.block}: {why}", "the controller frees it after its --grace; does it run?",
    )  # fmt: skip


def _too_much(leftover: Leftover) -> Problem:
    return Problem(
        "warning", "promise-too-large", f"IPAMHandle/{handle_name(leftover.handle)}", "spec.blocks",
        "names a block in which the handle holds nothing", "the controller corrects it after its --grace",
    )  # fmt: skip


def _unpromised(leftover: Leftover) -> Problem:
    return Problem(
        "warning", "promise-missing", f"IPAMHandle/{handle_name(leftover.handle)}", "spec.blocks",
        f"does not name block {leftover.block}, where the handle holds an address: its release would leave it",
        "the controller corrects it after its --grace",
    )  # fmt: skip


def _list_too_long(leftover: Leftover) -> Problem:
    return Problem(
        "warning", "borrowed-too-much", f"BlockAffinity/{borrower_name(leftover.node, leftover.block)}",
        "spec.addresses", f"lists addresses of block {leftover.block} that Node/{leftover.node} does not have, or none",
        "the controller corrects it after its --grace",
    )  # fmt: skip


def _unlisted(leftover: Leftover) -> Problem:
    addresses = ", ".join(sorted(address_at(cidr, ordinal) for cidr, ordinal, _ in leftover.gifts))
    return Problem(
        "warning", "borrowed-unlisted", f"BlockAffinity/{borrower_name(leftover.node, leftover.block)}",
        "spec.addresses", f"does not list {addresses}, which Node/{leftover.node} has borrowed and cannot announce",
        "the controller corrects it after its --grace",
    )  # fmt: skip


#: Spare blocks are no mistake, and those of no pool are told with their addresses.
_LEFTOVERS: Mapping[str, Callable[[Leftover], Problem]] = {
    "leak": _leak,
    "block-of-no-node": _no_node,
    "unfinished-claim": _unfinished,
    "block-of-nobody": _nobody,
    "promise": _too_much,
    "unpromised": _unpromised,
    "list-too-long": _list_too_long,
    "unlisted": _unlisted,
}


# What is announced


def _not_owned(reading: Reading, snapshot: Snapshot, announced: Iterable[Announced]) -> Iterator[Problem]:
    """Addresses of Services are any node's to announce (peering/services.py), whole or one by one."""
    owners = _block_owners(reading)
    for node, owned in pod_cidrs.of_nodes(snapshot).items():
        owners |= {cidr: {*owners.get(cidr, ()), node} for cidr in owned}
    claimed = (pool for pool in reading.pools if pool not in reading.balanced)
    pools = [*claimed, *(pool.cidr for pool in pod_cidrs.pools_by_pod_cidr(snapshot).values())]
    own: defaultdict[str, list[str]] = defaultdict(list)
    for cidr, nodes in owners.items():
        for node in nodes:
            own[node].append(cidr)
    users = {address_at(spec.cidr, a.ordinal): user_of(spec, a) for spec, a in reading.held()}
    for one in announced:
        outside = not any(is_inside(one.prefix, pool) for pool in pools)
        if outside or (one.known and _may_announce(one, own[one.node], users)):
            continue
        around = {node for cidr, nodes in owners.items() if is_inside(one.prefix, cidr) for node in nodes}
        whose = sorted(map(_of, _user_of(one.prefix, users) or around))
        yield Problem(
            "error", "announced-not-owned", f"{'Node' if one.known else 'neighbor'}/{one.node}", "",
            f"announces {one.prefix}, says {one.seen_by}, and it is {' and '.join(whose) or _of('')}",
            "look at that node; reflectors with ownership: enforce refuse it",
        )  # fmt: skip


def _not_announced(reading: Reading, statuses: Iterable[BGPNodeStatusSpec]) -> Iterator[Problem]:
    """Borrowed addresses that are listed, and of which the node's speaker knows nothing."""
    borrowed: defaultdict[str, list[str]] = defaultdict(list)
    for one, _ in reading.borrowers:
        borrowed[one.node] += [host_prefix(a.address) for a in one.addresses]
    for status in statuses:
        own = {one.cidr for one in reading.affinities if (one.node, one.state) == (status.node, "confirmed")}
        for prefix in borrowed[status.node]:
            if prefix not in status.blocks and not any(is_inside(prefix, cidr) for cidr in own):
                yield Problem(
                    "warning", "borrowed-not-announced", f"Node/{status.node}", "",
                    f"has borrowed {prefix.partition('/')[0]}, and its speaker does not announce it",
                    "look at that node: is its speaker an older one?",
                )  # fmt: skip


def _user_of(prefix: str, users: Mapping[str, str]) -> set[str]:
    """The node that uses a single address; nobody where that is not known, and of other prefixes."""
    address, _, length = prefix.partition("/")
    user = users.get(address) if length in ("32", "128") else None
    return {user} if user else set()


def _block_owners(reading: Reading) -> dict[str, set[str]]:
    """As reflectors see it: who has confirmed the block; while nobody has, those who claim it or let go of it."""
    confirmed: defaultdict[str, set[str]] = defaultdict(set)
    claimed: defaultdict[str, set[str]] = defaultdict(set)
    for one in reading.affinities:
        (confirmed if one.state == "confirmed" else claimed)[one.cidr].add(one.node)
    return {**claimed, **confirmed}


def _may_announce(one: Announced, own: Iterable[str], users: Mapping[str, str]) -> bool:
    """Its blocks, what lies inside them, aggregates in which it has a block, and single addresses that it uses.

    Not a single address that another node uses: that has borrowed it.
    """
    users_of_it = _user_of(one.prefix, users)
    if users_of_it:
        return one.node in users_of_it
    return any(is_inside(one.prefix, cidr) or is_inside(cidr, one.prefix) for cidr in own)


def _of(node: str) -> str:
    return f"{shown(node)}'s" if node else "nobody's"
