"""The node's routes in the kernel: a whole desired set in, only the differences written.

Ownership is by protocol number: what carries ours in our table is ours to change and delete, and nothing else
is touched, not even at the same prefix. When somebody else has a route of the same prefix *and* metric, ours
is refused by the kernel and reported. There is one instance for a protocol number: it also
owns the next-hop objects of that protocol.

`sync` reads the kernel, `apply` trusts what the last call left behind. Use `sync` at the start, now and then,
and whenever `RouteMonitor` reports anything, link changes included: the kernel deletes the next hops of a link
that goes down without saying so. `apply` falls back to `sync` by itself when the kernel refuses something
new, because then what is remembered may be wrong.

One bad route does not stop the others. A route that cannot be written keeps what the kernel has for it. A next
hop that cannot be created (its link is down) is left out of its routes, and they are reported; a route that
has no other is not written.

The order of writing, so that no packet falls between two routes, and a crash at any point leaves only what the
next `sync` puts right: next hops, groups, duplicates that a crash left, new routes, old routes, then groups
and next hops without use (`nexthop_groups` has the reasons).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from bgp_speaker.kernel_route import KernelRoute, Nexthop, refusal
from bgp_speaker.kernel_table import KernelTable, read_table
from bgp_speaker.netlink_codec import (
    NetlinkError,
    Request,
    RouteEntry,
    RouteWriter,
    add_nexthop,
    delete_nexthop,
    set_group,
)
from bgp_speaker.netlink_socket import NetlinkSocket
from bgp_speaker.nexthop_groups import (
    CreateNexthop,
    DeleteObject,
    NexthopSet,
    SetGroup,
    Step,
    leftovers,
    missing_nexthops,
    plan_groups,
)
from peering.delta import delta
from peering.prefixes import Address, Prefix, is_ipv6

PROTOCOL, TABLE, METRIC = 201, 254, 20
_ID_BITS = 20  # the ids of our objects: protocol << 20 and on, a million of our own
_GONE = frozenset((errno.ESRCH, errno.ENOENT))
_GROUP_GONE = "Nexthop id does not exist"  # what IPv4 says, with EINVAL, to deleting a route over such a group


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one call did. `changed` includes routes that only their group changed.

    `failed`: (prefix, reason). `repaired`: those of `added` and `changed` that an earlier call had left right,
    so somebody else broke them. `messages`: how many changes were asked of the kernel, refused ones included.
    """

    added: tuple[Prefix, ...] = ()
    changed: tuple[Prefix, ...] = ()
    removed: tuple[Prefix, ...] = ()
    failed: tuple[tuple[Prefix, str], ...] = ()
    repaired: tuple[Prefix, ...] = ()
    messages: int = 0

    def __bool__(self) -> bool:
        """Whether anything was changed."""
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True, eq=False)
class _Goal:
    """What can be done for one distinct desired route, for all its prefixes.

    `nexthops`: those that exist. `problem`: why the route will not be as desired, or "". `writable`: whether
    there is something to write nevertheless.
    """

    nexthops: NexthopSet
    source: Address | None
    problem: str
    writable: bool


class KernelRoutes:
    """The routes of `protocol` in `table` at `metric`, in the network namespace of the thread that makes this.

    All methods are synchronous and take 25 to 70 ms for 10,000 routes. They raise OSError when the socket
    fails or the kernel cannot be read; after that the next call reads it anew.
    """

    def __init__(self, protocol: int = PROTOCOL, table: int = TABLE, metric: int = METRIC) -> None:
        self._socket = NetlinkSocket()
        self._writer = RouteWriter(protocol, table, metric)
        self._kernel: KernelTable | None = None
        self._failed: frozenset[tuple[Prefix, str]] = frozenset()

    @property
    def port(self) -> int:
        """The netlink port id of all our changes, for `RouteMonitor`."""
        return self._socket.port

    def close(self) -> None:
        """Leaves the routes where they are."""
        self._socket.close()

    def __enter__(self) -> KernelRoutes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> dict[Prefix, KernelRoute]:
        """Our routes as the kernel has them now, both families."""
        return read_table(self._socket, self._writer).route_set()

    def sync(self, desired: Mapping[Prefix, KernelRoute]) -> SyncResult:
        """Makes the kernel's routes of ours equal to `desired`, after reading them."""
        remembered = self._kernel.route_set() if self._kernel else {}
        result = self._reconcile(desired, read_table(self._socket, self._writer))
        self._failed = frozenset(result.failed)
        written = (*result.added, *result.changed)
        return replace(result, repaired=tuple(p for p in written if remembered.get(p) == desired[p]))

    def apply(self, desired: Mapping[Prefix, KernelRoute]) -> SyncResult:
        """The same against what the last call left behind; the fast path for a change of ours."""
        if self._kernel is None:
            return self.sync(desired)
        result = self._reconcile(desired, self._kernel)
        if self._failed.issuperset(result.failed):
            return result
        return _joined(result, self.sync(desired))

    def _reconcile(self, desired: Mapping[Prefix, KernelRoute], kernel: KernelTable) -> SyncResult:
        desired = dict(desired)
        difference = delta(desired, kernel.route_set())
        self._kernel = None
        pass_ = _Pass(self._socket, self._writer, kernel)
        pass_.run(desired)
        self._kernel = kernel
        failed = pass_.failed
        return SyncResult(
            added=tuple(p for p in difference.added if p not in failed),
            changed=tuple(p for p in difference.changed if p not in failed),
            removed=tuple(p for p in difference.removed if p not in failed),
            failed=tuple(failed.items()),
            messages=pass_.messages,
        )


class _Pass:
    """One way from what the kernel has to what is desired; keeps `kernel` in step with what was done."""

    def __init__(self, socket: NetlinkSocket, writer: RouteWriter, kernel: KernelTable) -> None:
        self._socket, self._writer, self._kernel = socket, writer, kernel
        self._base = writer.protocol << _ID_BITS
        self._broken_groups: dict[int, str] = {}
        self.failed: dict[Prefix, str] = {}
        self.messages = 0

    def run(self, desired: Mapping[Prefix, KernelRoute]) -> None:
        goals = self._goals(desired, self._create_nexthops(desired))
        target = self._set_groups(goals)
        self._delete_routes(self._kernel.duplicates)
        self._delete_routes(self._write_routes(goals, target))
        obsolete = [entry for prefix, entry in self._kernel.entries.items() if prefix not in desired]
        for entry in self._delete_routes(obsolete):
            del self._kernel.entries[entry.prefix]
        self._delete_routes(self._kernel.strays)
        self._kernel.duplicates, self._kernel.strays = [], []
        used = {entry.nhid for entry in self._kernel.entries.values()}
        self._do_steps(leftovers(self._kernel.objects, used))

    def _execute(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        self.messages += len(requests)
        return self._socket.execute(requests)

    def _do_steps(self, steps: Sequence[Step]) -> dict[Step, NetlinkError]:
        """Carries the steps out; those that were refused. What is gone already counts as deleted."""
        refused = self._execute([_request(step, self._writer.protocol) for step in steps])
        errors: dict[Step, NetlinkError] = {}
        for index, step in enumerate(steps):
            error = refused.get(index)
            if error is None or (isinstance(step, DeleteObject) and _is_gone(error)):
                self._kernel.objects.apply(step)
            else:
                errors[step] = error
        return errors

    def _create_nexthops(self, desired: Mapping[Prefix, KernelRoute]) -> dict[Nexthop, str]:
        """Creates what is missing; the next hops that cannot be used, and why."""
        distinct = {id(route): route.nexthops for route in desired.values()}.values()
        wanted = {nexthop for nexthops in distinct for nexthop in nexthops}
        unusable = {n: f"{n.gateway.hex()} is no address" for n in wanted if len(n.gateway) not in (4, 16)}
        steps = missing_nexthops(self._kernel.objects, wanted - unusable.keys(), self._base)
        errors = self._do_steps(steps)
        return unusable | {step.nexthop: f"{step.nexthop}: {errors[step]}" for step in steps if step in errors}

    def _goals(self, desired: Mapping[Prefix, KernelRoute], unusable: Mapping[Nexthop, str]) -> dict[Prefix, _Goal]:
        """Many prefixes share a route, so each distinct one is looked at once."""
        known: dict[tuple[int, int], _Goal] = {}
        goals: dict[Prefix, _Goal] = {}
        for prefix, route in desired.items():
            key = id(route), len(prefix)
            goal = known.get(key)
            if goal is None:
                goal = known[key] = _goal(route, len(prefix) - 1, unusable)
            goals[prefix] = goal
            if goal.problem:
                self.failed[prefix] = goal.problem
        return goals

    def _set_groups(self, goals: Mapping[Prefix, _Goal]) -> Mapping[tuple[int, NexthopSet], int]:
        """Creates and replaces groups; which group a route belongs on, by where it is and what it wants."""
        entries = self._kernel.entries
        pairs = Counter((entries[p].nhid if p in entries else 0, goal) for p, goal in goals.items())
        usage: Counter[tuple[int, NexthopSet]] = Counter()
        for (group, goal), routes in pairs.items():
            wanted = goal.nexthops if goal.writable else self._kernel.objects.resolve(group)
            if wanted:
                usage[group, wanted] += routes
        plan = plan_groups(self._kernel.objects, usage, self._base)
        for step, error in self._do_steps(plan.steps).items():
            self._broken_groups[step.id] = f"next-hop group {step.id}: {error}"
        return plan.target

    def _write_routes(
        self, goals: Mapping[Prefix, _Goal], target: Mapping[tuple[int, NexthopSet], int]
    ) -> list[RouteEntry]:
        """Writes the routes that differ, beside the old ones; the old ones of those that went in."""
        entries = self._kernel.entries
        wanted = self._routes_to_write(goals, target)
        in_the_way = [entries[p] for p, e in wanted.items() if p in entries and _excludes(entries[p], e)]
        for entry in self._delete_routes(in_the_way):
            del entries[entry.prefix]
        replaced = [entries[p] for p in wanted if p in entries]
        refused = self._add_routes(wanted)
        self._add_routes({e.prefix: e for e in in_the_way if e.prefix in refused})
        return [entry for entry in replaced if entry.prefix not in refused]

    def _routes_to_write(
        self, goals: Mapping[Prefix, _Goal], target: Mapping[tuple[int, NexthopSet], int]
    ) -> dict[Prefix, RouteEntry]:
        wanted: dict[Prefix, RouteEntry] = {}
        for prefix, goal in goals.items():
            if not goal.writable:
                continue
            entry = self._kernel.entries.get(prefix)
            nhid = target[entry.nhid if entry else 0, goal.nexthops] if goal.nexthops else 0
            if nhid in self._broken_groups:
                self.failed[prefix] = self._broken_groups[nhid]
            elif entry is None or entry.nhid != nhid or entry.source != goal.source:
                wanted[prefix] = self._writer.entry(prefix, nhid, goal.source)
        return wanted

    def _add_routes(self, wanted: Mapping[Prefix, RouteEntry]) -> set[Prefix]:
        """Adds beside what is there, if anything of ours is; the prefixes that were refused."""
        entries = self._kernel.entries
        strays = {stray.prefix for stray in self._kernel.strays}
        refused = self._execute(
            [self._writer.add(p, e.nhid, e.source, append=p in entries or p in strays) for p, e in wanted.items()]
        )
        for index, (prefix, entry) in enumerate(wanted.items()):
            if index in refused:
                self.failed[prefix] = _reason(refused[index])
            else:
                entries[prefix] = entry
        return {prefix for index, prefix in enumerate(wanted) if index in refused}

    def _delete_routes(self, entries: Sequence[RouteEntry]) -> list[RouteEntry]:
        """Those that are gone now."""
        refused = self._execute([self._writer.delete(entry) for entry in entries])
        still_there = {index: error for index, error in refused.items() if not _is_gone(error)}
        for index, error in still_there.items():
            self.failed[entries[index].prefix] = f"the old route cannot be deleted: {error}"
        return [entry for index, entry in enumerate(entries) if index not in still_there]


def _goal(route: KernelRoute, size: int, unusable: Mapping[Nexthop, str]) -> _Goal:
    problem = refusal(route, size)
    if problem:
        return _Goal(frozenset(), None, problem, writable=False)
    usable = frozenset(n for n in route.nexthops if n not in unusable)
    left_out = "; ".join(unusable[n] for n in route.nexthops if n in unusable)
    return _Goal(usable, route.source, left_out, writable=bool(usable) or not route.nexthops)


def _request(step: Step, protocol: int) -> Request:
    match step:
        case CreateNexthop(id_, nexthop):
            return add_nexthop(id_, nexthop, protocol)
        case SetGroup(id_, members, replace_):
            return set_group(id_, members, protocol, replace=replace_)
        case DeleteObject(id_):
            return delete_nexthop(id_)


def _is_gone(error: NetlinkError) -> bool:
    """Whether a deletion found nothing, and so has nothing left to do."""
    return error.errno in _GONE or error.text == _GROUP_GONE


def _excludes(old: RouteEntry, new: RouteEntry) -> bool:
    """IPv6 does not take a second route over the same group beside the first, whatever its source."""
    return is_ipv6(old.prefix) and old.nhid == new.nhid


def _reason(error: NetlinkError) -> str:
    if error.errno == errno.EEXIST:
        return "somebody else's route has this prefix and metric"
    return str(error)


def _joined(first: SyncResult, second: SyncResult) -> SyncResult:
    """Both calls as one; what the second failed on was not done by the first."""
    failed = {prefix for prefix, _ in second.failed}

    def union(a: tuple[Prefix, ...], b: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
        return tuple(dict.fromkeys(p for p in a + b if p not in failed))

    return SyncResult(
        added=union(first.added, second.added),
        changed=union(first.changed, second.changed),
        removed=union(first.removed, second.removed),
        failed=second.failed,
        repaired=second.repaired,
        messages=first.messages + second.messages,
    )
