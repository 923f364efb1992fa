"""Next-hop objects: how thousands of routes change with one message.

The kernel has two kinds of objects that routes may point to by id: a plain *next hop* (one per gateway and
link) and a *group* of them. A route of ours always points to a group, also when that has one member: the set
of next hops of all its routes then grows and shrinks by replacing the group. When a ToR dies, 10,000 routes
over {A, B} move to {B} with one message.

What the kernel does by itself, and the rules that follow from it:
- deleting a next hop drops it from its groups; deleting the last member of a group deletes the group, and
  deleting a group deletes every route on it. So things are deleted last, and only what nothing points to;
- a link that goes down, or loses its carrier, deletes its next hops, *without any notification of it*. So
  objects are only trusted after a dump, or until a link has changed;
- a group may be replaced at any time by another non-empty one, which its routes see at once.

The plan: each route wants a set of next hops, and is on some group, or on none yet. `plan_groups` decides for
each group *as a whole*:
- one of its routes wants what it holds: it stays as it is, and the routes that want otherwise are rewritten;
- all its routes want one and the same other set: it is replaced in place, no route is written;
- its routes part ways: all of them are rewritten to other groups, and it is deleted.
Two groups may come to hold the same set in this way. So that this does not add up over the years, a small
group (below `MERGE_BELOW` routes) is not replaced by what another one holds: its routes are moved over there.

Order: new next hops, groups (`plan_groups`), then the caller writes routes, then deletions (`leftovers`).
At each moment every route that is wanted before and after has at least one next hop.

Pure: ids in, steps out. Ids come from a range of our own, so that nobody's objects collide with ours; after a
restart the kernel's objects are taken over as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from bgp_speaker.kernel_route import Nexthop

MERGE_BELOW = 256
"""Routes of a group from which on it is cheaper to keep a second group of the same set than to move them."""

NexthopSet = frozenset[Nexthop]
Usage = Mapping[tuple[int, NexthopSet], int]
"""How many routes are on which group (0: on none) and want which (non-empty) set."""


@dataclass(frozen=True, slots=True)
class CreateNexthop:
    """A plain object for one neighbour."""

    id: int
    nexthop: Nexthop


@dataclass(frozen=True, slots=True)
class SetGroup:
    """Group `id` gets `members` (ids, sorted); `replace`: it is there already."""

    id: int
    members: tuple[int, ...]
    replace: bool


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """A group or a plain object that nothing points to."""

    id: int


Step = CreateNexthop | SetGroup | DeleteObject


@dataclass(slots=True)
class NexthopObjects:
    """The kernel's objects: ours by id (groups as sets of member ids), and the ids that others have taken."""

    nexthops: dict[int, Nexthop] = field(default_factory=dict)
    groups: dict[int, frozenset[int]] = field(default_factory=dict)
    foreign: frozenset[int] = frozenset()

    def ids(self) -> dict[Nexthop, int]:
        """The object to use for each next hop: the lowest id, should there be several."""
        return {nexthop: id_ for id_, nexthop in sorted(self.nexthops.items(), reverse=True)}

    def resolve(self, group: int) -> NexthopSet:
        """The next hops of a group, without members that are not ours; empty if there is no such group."""
        members = self.groups.get(group, frozenset())
        return frozenset(self.nexthops[member] for member in members if member in self.nexthops)

    def apply(self, step: Step) -> None:
        """Follows what the kernel did, its own deletions included."""
        match step:
            case CreateNexthop(id_, nexthop):
                self.nexthops[id_] = nexthop
            case SetGroup(id_, members, _):
                self.groups[id_] = frozenset(members)
            case DeleteObject(id_):
                self._delete(id_)

    def _delete(self, id_: int) -> None:
        self.groups.pop(id_, None)
        if self.nexthops.pop(id_, None) is not None:
            shrunk = {group: members - {id_} for group, members in self.groups.items()}
            self.groups = {group: members for group, members in shrunk.items() if members}

    def free_ids(self, base: int) -> Iterable[int]:
        """Ids from `base` on that nobody has."""
        taken = self.foreign | self.nexthops.keys() | self.groups.keys()
        return (id_ for id_ in count(base) if id_ not in taken)


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """`steps` in order, all before any route is written; `target`: the group for each key of the usage.

    A route whose target is the group that it is on needs no writing for its next hops' sake.
    """

    steps: tuple[SetGroup, ...]
    target: Mapping[tuple[int, NexthopSet], int]


def missing_nexthops(objects: NexthopObjects, wanted: Iterable[Nexthop], base: int) -> tuple[CreateNexthop, ...]:
    """A step for each wanted next hop that has no object."""
    missing = sorted(set(wanted) - set(objects.nexthops.values()))
    return tuple(CreateNexthop(i, n) for i, n in zip(objects.free_ids(base), missing, strict=False))


def plan_groups(objects: NexthopObjects, usage: Usage, base: int) -> GroupPlan:
    """How to give each route its set. Every next hop in `usage` has an object already."""
    ids = objects.ids()
    members_of = {wanted: frozenset(ids[n] for n in wanted) for _, wanted in usage}
    kept = _groups_that_stay(objects, usage, members_of)
    replaced = _groups_to_replace(objects, usage, set(kept.values()), set(kept))
    holder = {wanted: group for group, wanted in sorted({**kept, **replaced}.items(), reverse=True)}
    lacking = {w: members for w, members in members_of.items() if w not in holder}
    created = _groups_to_create(objects, lacking, replaced, base)
    holder |= {wanted: group for group, wanted in created.items()}
    steps = [_set_group(g, members_of[w], replace=True) for g, w in replaced.items()]
    steps += [_set_group(g, members_of[w], replace=False) for g, w in created.items() if g not in objects.groups]
    final = {**kept, **replaced}
    target = {(g, wanted): g if final.get(g) == wanted else holder[wanted] for g, wanted in usage}
    return GroupPlan(tuple(steps), target)


def _set_group(group: int, members: Iterable[int], *, replace: bool) -> SetGroup:
    return SetGroup(group, tuple(sorted(members)), replace)


def _groups_that_stay(
    objects: NexthopObjects, usage: Usage, members_of: Mapping[NexthopSet, frozenset[int]]
) -> dict[int, NexthopSet]:
    """Groups that hold already what at least one of their routes wants."""
    return {g: wanted for g, wanted in usage if g and objects.groups.get(g) == members_of[wanted]}


def _groups_to_replace(
    objects: NexthopObjects, usage: Usage, held: set[NexthopSet], kept: set[int]
) -> dict[int, NexthopSet]:
    """Groups whose routes all want the same other set; big ones first, so that small ones may join them."""
    wants: dict[int, list[tuple[NexthopSet, int]]] = defaultdict(list)
    for (group, wanted), routes in usage.items():
        if group in objects.groups and group not in kept:
            wants[group].append((wanted, routes))
    movable = {group: sets[0] for group, sets in wants.items() if len(sets) == 1}
    replaced: dict[int, NexthopSet] = {}
    for group, (wanted, routes) in sorted(movable.items(), key=lambda item: (-item[1][1], item[0])):
        if wanted in held and routes < MERGE_BELOW:
            continue
        replaced[group] = wanted
        held.add(wanted)
    return replaced


def _groups_to_create(
    objects: NexthopObjects, lacking: Mapping[NexthopSet, frozenset[int]], taken: Collection[int], base: int
) -> dict[int, NexthopSet]:
    """A group for each set that none will hold: one that fits and that its routes leave, or a new one."""
    fitting = {members: group for group, members in objects.groups.items() if group not in taken}
    fresh = iter(objects.free_ids(base))
    return {
        fitting[lacking[wanted]] if lacking[wanted] in fitting else next(fresh): wanted
        for wanted in sorted(lacking, key=sorted)
    }


def leftovers(objects: NexthopObjects, used: Collection[int]) -> tuple[DeleteObject, ...]:
    """What to delete once all routes are on the groups `used`: other groups first, then their next hops."""
    groups = [group for group in sorted(objects.groups) if group not in used]
    needed = {member for group in used for member in objects.groups.get(group, ())}
    nexthops = [id_ for id_ in sorted(objects.nexthops) if id_ not in needed]
    return tuple(DeleteObject(id_) for id_ in groups + nexthops)
