"""What a failure does, in the terms of people: racks, pools, prefixes, sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from peering.prefixes import format_prefix
from peering.whatif.crowds import Crowd, Crowds, Member
from peering.whatif.failures import Named, title, together
from peering.whatif.forwarding import Status, Way
from peering.whatif.origins import Origin
from peering.whatif.routers import Edge, Router
from peering.whatif.situation import NOTHING
from peering.whatif.ways import Ways, WaysNow

_WORTH: dict[Status, int] = {"no": 0, "partly": 1, "yes": 2}


@dataclass(frozen=True, slots=True)
class Change:
    """Whether packets arrive, before and after; None where there is nobody to send any."""

    before: Status | None
    after: Status | None

    @property
    def worse(self) -> bool:
        return self.before is not None and self.after is not None and _WORTH[self.after] < _WORTH[self.before]

    def to_json(self) -> dict[str, Status | None]:
        return {"before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Row:
    """The prefixes that nodes of a rack have from a pool; `pool` None: their loopbacks.

    Nodes from which nothing arrives anywhere any more are not asked about others. `widths` are the fewest equal-cost
    first hops that a node of the rack has towards this pool in other racks.
    """

    rack: str | None
    pool: str | None
    is_ipv6: bool
    prefixes: int
    from_racks: Change
    in_rack: Change
    from_outside: Change
    to_outside: Change
    widths: tuple[int, int] | None

    @property
    def changed(self) -> bool:
        ways = (self.from_racks, self.in_rack, self.from_outside, self.to_outside)
        return any(way.before != way.after for way in ways) or len(set(self.widths or ())) > 1

    def to_json(self) -> dict[str, Any]:
        return {
            "rack": self.rack,
            "pool": self.pool,
            "family": "ipv6" if self.is_ipv6 else "ipv4",
            "prefixes": self.prefixes,
            "fromOtherRacks": self.from_racks.to_json(),
            "withinRack": self.in_rack.to_json(),
            "fromOutside": self.from_outside.to_json(),
            "toOutside": self.to_outside.to_json(),
            "ecmpWidth": None if self.widths is None else {"before": self.widths[0], "after": self.widths[1]},
        }


@dataclass(frozen=True, slots=True)
class LostPrefix:
    """A prefix that is worse off. `racks` are those from which packets no longer arrive, or only some do.

    `entirely`: from none of them does any.
    """

    prefix: str
    node: str
    rack: str | None
    pool: str | None
    assumed: bool
    racks: tuple[str | None, ...]
    from_outside: bool
    to_outside: bool
    entirely: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "prefix": self.prefix,
            "node": self.node,
            "rack": self.rack,
            "pool": self.pool,
            "assumed": self.assumed,
            "fromRacks": list(self.racks),
            "fromOutside": self.from_outside,
            "toOutside": self.to_outside,
            "entirely": self.entirely,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What happens when `failed` fails. `own` are the prefixes that go with their nodes; `lost` are those of others."""

    failed: tuple[str, ...]
    sessions: tuple[Edge, ...]
    rows: tuple[Row, ...]
    own: tuple[tuple[str, Origin], ...]
    lost: tuple[LostPrefix, ...]

    @property
    def cuts_off(self) -> bool:
        """Whether anything is lost that did not itself fail."""
        return bool(self.lost)

    def sessions_by_end(self) -> dict[str, int]:
        """How many sessions each router loses that is still there, and those that fail."""
        ends = Counter(end.id for edge in self.sessions for end in (edge.sender, edge.receiver))
        return {title(name): ends[name] for name in sorted(ends)}

    def to_json(self) -> dict[str, Any]:
        return {
            "failed": list(self.failed),
            "cutsOff": self.cuts_off,
            "sessions": {
                "lost": len(self.sessions),
                "byEnd": self.sessions_by_end(),
                "list": [session_json(edge) for edge in self.sessions],
            },
            "rows": [row.to_json() for row in self.rows],
            "ownPrefixes": [
                {"prefix": format_prefix(o.prefix), "node": node, "pool": o.pool, "assumed": o.assumed}
                for node, o in self.own
            ],
            "lostPrefixes": [one.to_json() for one in self.lost],
        }


def session_json(edge: Edge) -> dict[str, str]:
    """The session by its ends, ours first; `name` is what that one calls it."""
    if edge.sender.kind == "external":
        edge = edge.reverse
    return {"end": title(edge.sender.id), "name": edge.near.name, "peer": title(edge.receiver.id)}


def answer(ways: Ways, parts: Iterable[Named]) -> Answer:
    """What happens when all of it fails together. Raises TooEntangled."""
    parts = list(parts)
    after = ways.situation(together(parts))
    return _Comparison(ways, ways.situation(NOTHING), after).answer(tuple(part.name for part in parts))


class _Comparison:
    def __init__(self, ways: Ways, before: WaysNow, after: WaysNow) -> None:
        self._fabric = ways.fabric
        self._before = before
        self._after = after
        self._crowds = Crowds(ways.fabric, before, after)
        self._stuck = {crowd for crowd in self._crowds.all if self._is_stuck(crowd)}

    def answer(self, names: tuple[str, ...]) -> Answer:
        rows: list[Row] = []
        lost: list[LostPrefix] = []
        for rack in sorted(self._crowds.by_rack, key=lambda name: (name is None, name)):
            crowds = self._crowds.by_rack[rack]
            found = {(o.is_ipv6, o.pool or "", o.pool is None) for crowd in crowds for o in self._origins(crowd)}
            for is_ipv6, pool, is_loopback in sorted(found, key=lambda one: (one[0], one[2], one[1])):
                row = self._row(rack, None if is_loopback else pool, is_ipv6, crowds)
                rows += [row] if row is not None else []
            lost += [one for crowd in crowds for one in self._lost(crowd)]
        return Answer(
            failed=names,
            sessions=tuple(self._after.situation.lost_sessions()),
            rows=tuple(rows),
            own=tuple(self._own()),
            lost=tuple(sorted(lost, key=lambda one: (one.rack or "", one.node, one.pool or "", one.prefix))),
        )

    def _origins(self, crowd: Crowd) -> tuple[Origin, ...]:
        return self._fabric.origins[crowd.first.id]

    def _row(self, rack: str | None, pool: str | None, is_ipv6: bool, crowds: list[Crowd]) -> Row | None:
        from_racks, in_rack, inward, outward = _Tally(), _Tally(), _Tally(), _Tally()
        prefixes, exported = 0, False
        for crowd in crowds:
            for origin in self._origins(crowd):
                if (origin.pool, origin.is_ipv6) != (pool, is_ipv6):
                    continue
                prefixes += len(crowd.nodes)
                exported = exported or origin.exported
                for source in self._heard(crowd, self._crowds.elsewhere(crowd)):
                    from_racks.add(*self._pair(source, crowd.first, origin))
                for source in self._heard(crowd, self._crowds.in_rack(crowd)):
                    in_rack.add(*self._pair(source, crowd.first, origin))
                inward.add(*self._inward(crowd, origin))
                outward.add(*self._outward(crowd, origin))
        if not exported and {*from_racks.before, *inward.before} <= {"no"}:
            return None
        return Row(
            rack=rack,
            pool=pool,
            is_ipv6=is_ipv6,
            prefixes=prefixes,
            from_racks=from_racks.change(),
            in_rack=in_rack.change(),
            from_outside=inward.change(),
            to_outside=outward.change(),
            widths=self._widths(crowds, pool, is_ipv6),
        )

    def _widths(self, crowds: list[Crowd], pool: str | None, is_ipv6: bool) -> tuple[int, int] | None:
        """Towards other racks; in a fabric of one rack, towards the others in it."""
        for others in (self._crowds.elsewhere, self._crowds.in_rack):
            found = [
                self._pair(crowd.first, node, origin)
                for crowd in crowds
                for other, node in others(crowd)
                if crowd in self._stuck or other not in self._stuck
                for origin in self._fabric.origins[node.id]
                if (origin.pool, origin.is_ipv6) == (pool, is_ipv6)
            ]
            if found:
                return _narrowest(before for before, _ in found), _narrowest(after for _, after in found)
        return None

    def _lost(self, crowd: Crowd) -> list[LostPrefix]:
        found = []
        for place, origin in enumerate(self._origins(crowd)):
            inward, outward = _Tally(), _Tally()
            inward.add(*self._inward(crowd, origin))
            outward.add(*self._outward(crowd, origin))
            worse = [one for one in (inward.change(), outward.change()) if one.worse]
            racks = self._worse_from(crowd, origin)
            if not (worse or racks):
                continue
            entirely = all(one.after == "no" for one in (*worse, *racks.values()))
            for node in crowd.nodes:
                same = self._fabric.origins[node.id][place]
                found.append(
                    LostPrefix(
                        prefix=format_prefix(same.prefix),
                        node=node.name,
                        rack=crowd.rack,
                        pool=same.pool,
                        assumed=same.assumed,
                        racks=tuple(sorted(racks, key=lambda name: (name is None, name))),
                        from_outside=inward.change().worse,
                        to_outside=outward.change().worse,
                        entirely=entirely,
                    )
                )
        return found

    def _worse_from(self, crowd: Crowd, origin: Origin) -> dict[str | None, Change]:
        """The racks from which it is worse to send there than it was."""
        everybody = (*self._crowds.elsewhere(crowd), *self._crowds.in_rack(crowd))
        pairs = (self._pair(source, crowd.first, origin) for source in self._heard(crowd, everybody))
        if not any(Change(before.status, after.status).worse for before, after in pairs):
            return {}
        found = {}
        for rack, crowds in self._crowds.by_rack.items():
            members = ((one, node) for one in crowds if (node := one.other_than(crowd.first)) is not None)
            tally = _Tally()
            for source in self._heard(crowd, members):
                tally.add(*self._pair(source, crowd.first, origin))
            if tally.worse:
                found[rack] = tally.change()
        return found

    def _is_stuck(self, crowd: Crowd) -> bool:
        """Whether nothing that the crowd sends arrives any more, though something did."""
        others = (node for _, node in (*self._crowds.elsewhere(crowd), *self._crowds.in_rack(crowd)))
        pairs = [self._pair(crowd.first, node, origin) for node in others for origin in self._fabric.origins[node.id]]
        return any(b.status != "no" for b, _ in pairs) and all(a.status == "no" for _, a in pairs)

    def _heard(self, crowd: Crowd, members: Iterable[Member]) -> Iterable[Router]:
        """The sources that say something of the crowd: what is cut off itself tells nothing of where it sends to."""
        return (node for other, node in members if crowd in self._stuck or other not in self._stuck)

    def _own(self) -> list[tuple[str, Origin]]:
        down = [node for node in self._fabric.nodes if not self._after.situation.is_up(node)]
        return [(node.name, origin) for node in down for origin in self._fabric.origins[node.id]]

    def _pair(self, source: Router, node: Router, origin: Origin) -> tuple[Way, Way]:
        return self._before.way(source, node, origin), self._after.way(source, node, origin)

    def _inward(self, crowd: Crowd, origin: Origin) -> tuple[Way | None, Way | None]:
        return self._before.from_outside(crowd.first, origin), self._after.from_outside(crowd.first, origin)

    def _outward(self, crowd: Crowd, origin: Origin) -> tuple[Way | None, Way | None]:
        return self._before.to_outside(crowd.first, origin), self._after.to_outside(crowd.first, origin)


class _Tally:
    """Ways put together: `yes` when all are, `no` when all are, else `partly`."""

    def __init__(self) -> None:
        self.before: set[Status] = set()
        self.after: set[Status] = set()
        self.worse = False

    def add(self, before: Way | None, after: Way | None) -> None:
        if before is not None and after is not None:
            self.before.add(before.status)
            self.after.add(after.status)
            self.worse = self.worse or Change(before.status, after.status).worse

    def change(self) -> Change:
        return Change(_together(self.before), _together(self.after))


def _together(found: set[Status]) -> Status | None:
    if not found:
        return None
    return next(iter(found)) if len(found) == 1 else "partly"


def _narrowest(ways: Iterable[Way]) -> int:
    """Of those that lead somewhere; 0 when none does."""
    return min((way.width for way in ways if way.status != "no"), default=0)
