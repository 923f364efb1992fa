"""What the page knows: the store's resources, compiled, with what every node says of its sessions. Pure.

    resources ─► known() ─► Known ─┐
    the time ──────────────────────┴─► seen() ─► Seen: a Row for each end of a session, counted

Counted are the ends of nodes, since nodes are who reports: a session between two nodes counts at both. A session of the
plan that its node does not report is Unknown, as is one whose report is overdue. What a node reports and the plan does
not have (the speaker has yet to follow, or the Node is gone) is a row and counts nowhere.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar, cast

from peering.compile import Compiler
from peering.problems import Problem, ordered
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.session import Plan, Session
from peering.snapshot import Snapshot
from underlay import ipam_view
from underlay.conditions import NOT_JUDGED
from underlay.fabric_status import FabricStatus, fabric_status
from underlay.reports import reflector_sessions

REPORT = "BGPNodeStatus"
#: What is read of a store; never a Secret.
KINDS = (*PLAN_KINDS, REPORT, "BlockAffinity", "IPAMBlock")
_IPAM = ("BlockAffinity", "IPAMBlock")
PLANNED = frozenset(PLAN_KINDS)
#: The rack of nodes that stand in none.
NO_RACK = ""
_NUMBER = re.compile(r"([0-9]+)")

T = TypeVar("T")
Health = Literal["up", "partly", "down", "unknown", "none"]
State = Literal["Established", "Idle", "Unknown", "Declared"]


@dataclass(frozen=True)
class Known:
    """A store at one moment. `racks` have the names of their switches; `reports` are as they were written.

    `snapshot` is what is declared, `blocks` are the resources of IPAM.
    """

    snapshot: Snapshot
    plan: Plan
    racks: Mapping[str, Sequence[str]]
    rack_of: Mapping[str, str]
    reports: Mapping[str, BGPNodeStatusSpec]
    blocks: Sequence[Resource]
    problems: Sequence[Problem]

    @cached_property
    def ipam_rows(self) -> list[ipam_view.Row]:
        """What `ipam show` shows."""
        declared = (self.snapshot.all(kind).values() for kind in ("IPPool", "Node"))
        return ipam_view.block_rows([*self.blocks, *(one for found in declared for one in found)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One end of a session. `node` is its name, or `reflector/NAME`; `up` is how long, in seconds, or None."""

    node: str
    rack: str
    session: str
    peer: str
    local_address: str
    peer_address: str
    asn: int
    state: State
    up: float | None = None
    received: int | None = None
    accepted: int | None = None
    announced: int | None = None
    reason: str = ""
    declared: bool = True

    @property
    def peer_name(self) -> str:
        """Of `switch/tor-1a` the second half; empty for who is none of ours."""
        return self.peer.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Count:
    """Ends of sessions by state."""

    up: int = 0
    down: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        return self.up + self.down + self.unknown

    @property
    def health(self) -> Health:
        """In one word: `partly` is up and down, `unknown` that none is known to be down and not all to be up."""
        if not self.total:
            return "none"
        if self.down:
            return "partly" if self.up else "down"
        return "up" if self.up == self.total else "unknown"


@dataclass(frozen=True)
class Seen:
    """The same with the time: `rows` by node and as the plan orders them, those that no plan has at the end of each."""

    known: Known
    status: FabricStatus
    now: float
    rows: Sequence[Row]
    reflectors: Sequence[Row] = field(default=())

    @cached_property
    def total(self) -> Count:
        return count(self.rows)

    @cached_property
    def by_rack(self) -> Mapping[str, Sequence[Row]]:
        return _grouped((row.rack, row) for row in self.rows)

    @cached_property
    def by_node(self) -> Mapping[str, Sequence[Row]]:
        return _grouped((row.node, row) for row in self.rows)

    @cached_property
    def nodes_of(self) -> Mapping[str, Sequence[str]]:
        """Rack -> its nodes."""
        nodes = sorted(self.known.plan.speakers, key=natural)
        return _grouped((self.known.rack_of.get(name, NO_RACK), name) for name in nodes)

    @property
    def should_report(self) -> frozenset[str]:
        """The nodes that have sessions or a report."""
        of_plan = {name for name, speaker in self.known.plan.speakers.items() if speaker.sessions}
        return frozenset(of_plan | set(self.status.statuses))

    @property
    def reporting(self) -> frozenset[str]:
        return frozenset(self.status.statuses) - set(self.status.late)

    @property
    def age(self) -> float | None:
        """Of the oldest report that still holds, in seconds."""
        told = [self.known.reports[name].reported for name in self.reporting]
        return max(0.0, self.now - min(told)) if told else None


def known(compiler: Compiler, resources: Iterable[Resource], unreadable: Iterable[Problem]) -> Known:
    """Compiled by a compiler that remembers: equal resources had better be the same objects as before."""
    found = list(resources)
    snapshot = Snapshot(one for one in found if one.kind in PLANNED)
    graph, _ = compiler.graph(snapshot)
    plan = compiler.plan(snapshot)
    judged = (problem for problem in plan.problems if problem.code not in NOT_JUDGED)
    return Known(
        snapshot,
        plan,
        {name: spec.switches for name, spec in sorted(graph.racks.items(), key=lambda item: natural(item[0]))},
        {name: node.rack or NO_RACK for name, node in graph.nodes.items()},
        _reports(found),
        _blocks(found),
        ordered([*unreadable, *judged]),
    )


def with_reports(before: Known, resources: Iterable[Resource]) -> Known:
    """After a change of what processes write alone: the plan stays."""
    found = list(resources)
    return replace(before, reports=_reports(found), blocks=_blocks(found))


def seen(what: Known, now: float) -> Seen:
    """What is true of it at a moment."""
    status = fabric_status(what.plan, what.reports, now)
    return Seen(what, status, now, tuple(_rows(what, status, now)), tuple(_reflector_rows(status, now)))


def count(rows: Iterable[Row]) -> Count:
    """Those of the plan."""
    states = [row.state for row in rows if row.declared]
    up, down = states.count("Established"), states.count("Idle")
    return Count(up, down, len(states) - up - down)


def natural(name: str) -> list[tuple[int, str]]:
    """The order in which people count: rack-2 before rack-10."""
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in _NUMBER.split(name)]


def _reports(resources: Iterable[Resource]) -> dict[str, BGPNodeStatusSpec]:
    return {one.name: cast(BGPNodeStatusSpec, one.spec) for one in resources if one.kind == REPORT}


def _blocks(resources: Iterable[Resource]) -> list[Resource]:
    return [one for one in resources if one.kind in _IPAM]


def _rows(what: Known, status: FabricStatus, now: float) -> Iterator[Row]:
    for node in sorted({*what.plan.speakers, *status.statuses}, key=natural):
        rack, report = what.rack_of.get(node, NO_RACK), status.statuses.get(node)
        told = {row.session: row for row in report.sessions} if report else {}
        speaker = what.plan.speakers.get(node)
        for session in speaker.sessions if speaker else ():
            row = told.pop(session.name, None)
            if row is None:
                why = "the node's speaker does not report it" if report else "no speaker has ever reported"
                yield _untold(node, rack, session, why)
            else:
                yield _told(node, rack, row, now, declared=True)
        for row in told.values():
            yield _told(node, rack, row, now, declared=False)


def _told(node: str, rack: str, row: PeerStatus, now: float, *, declared: bool) -> Row:
    return Row(
        node=node,
        rack=rack,
        session=row.session,
        peer=row.peer,
        local_address=row.local_address or "",
        peer_address=row.peer_address,
        asn=row.peer_asn,
        state=row.state,
        up=max(0.0, now - row.since) if row.since else None,
        received=row.received,
        accepted=row.accepted,
        announced=row.announced,
        reason=row.reason,
        declared=declared,
    )


def _untold(node: str, rack: str, session: Session, why: str) -> Row:
    return Row(
        node=node,
        rack=rack,
        session=session.name,
        peer=session.peer,
        local_address=session.local_address or "",
        peer_address=session.peer_address,
        asn=session.peer_asn,
        state="Unknown",
        reason=why,
    )


def _reflector_rows(status: FabricStatus, now: float) -> Iterator[Row]:
    """As `underlay status` has them: with the state that the node at the other end reports."""
    for one in reflector_sessions(status.plan, status.statuses):
        yield Row(
            node=f"reflector/{one.reflector}",
            rack=NO_RACK,
            session=one.session.name,
            peer=one.session.peer,
            local_address=one.session.local_address or "",
            peer_address=one.session.peer_address,
            asn=one.session.peer_asn,
            state=cast(State, one.state),
            up=max(0.0, now - one.since) if one.since else None,
            reason=one.reason,
        )


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)
