"""What each page shows. Pure: what is seen and a name go in, what a template prints comes out.

    Seen ─► overview | node_page | switch_page | rack_page | reflector_page | ipam_page ─► Page ─► template

A page that there is none of is None. Nothing is judged here that a command does not judge in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabric_templates.render import RenderRefused, render
from peering.problem_groups import together
from peering.problems import Problem, Severity
from peering.session import ReflectorPlan, Session, SpeakerPlan, SwitchPlan
from underlay.reports import facing
from underlay.web_drawing import drawing, figure, rack_href, rack_name
from underlay.web_facts import NO_RACK, Count, Row, Seen, count
from underlay.web_ipam import MOST_BLOCKS, blocks_of, ipam_of

#: With more ends of sessions than these the first page has a line for each rack, and those that are not established.
MOST_ROWS = 200
_COUNTED: tuple[Severity, ...] = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Page:
    """A template, the words of the title, and the names that the template knows."""

    template: str
    title: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """The line at the top of every page. `age` is that of the oldest report that still holds, in seconds."""

    sessions: Count
    reporting: int
    nodes: int
    problems: str
    is_good: bool
    age: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The sessions of a rack, of a node, of a reflector."""

    name: str
    href: str
    rows: Sequence[Row]
    nodes: int = 0

    @property
    def count(self) -> Count:
        return count(self.rows)


@dataclass(frozen=True, slots=True)
class Pair:
    """A session of a switch: its own end as the plan has it, and the other end as the node reports it."""

    session: Session
    row: Row | None


def summary(what: Seen) -> Summary:
    """What one looks at first."""
    expected = what.should_report
    severities = Counter(one.severity for one in what.known.problems)
    severities.update(one.severity for one in what.status.troubles())
    words = [f"{severities[s]} {s}{'' if severities[s] == 1 else 's'}" for s in _COUNTED if severities[s]]
    is_up = what.total.health in ("up", "none") and len(what.reporting) == len(expected)
    return Summary(
        what.total,
        len(what.reporting),
        len(expected),
        ", ".join(words) or ("no problems" if is_up else "no other problems"),
        is_up and not words,
        what.age,
    )


def overview(what: Seen) -> Page:
    """`/`: drawing, sessions, problems."""
    everything = [*what.rows, *what.reflectors]
    is_small = len(everything) <= MOST_ROWS
    wrong = [row for row in what.rows if row.state != "Established"]
    values = {
        "drawing": drawing(what),
        "groups": _groups(what) if is_small else [],
        "racks": [] if is_small else _racks(what),
        "reflectors": [] if is_small else _reflectors(what),
        "wrong": [] if is_small else wrong[:MOST_ROWS],
        "more": 0 if is_small else max(0, len(wrong) - MOST_ROWS),
        "troubles": list(what.status.troubles()),
        "problems": together(what.known.problems),
    }
    return Page("overview.html.j2", "Fabric", values)


def node_page(what: Seen, name: str) -> Page | None:
    """`/nodes/NAME`."""
    report = what.known.reports.get(name)
    plan: SpeakerPlan | None = what.known.plan.speakers.get(name)
    if plan is None and report is None:
        return None
    rack = what.known.rack_of.get(name, NO_RACK)
    values = {
        "name": name,
        "rack": rack_name(rack),
        "rack_href": rack_href(rack),
        "plan": plan,
        "report": report,
        "age": max(0.0, what.now - report.reported) if report else None,
        "is_late": name in what.status.late,
        "group": Group(name, "", what.by_node.get(name, ())),
        "blocks": blocks_of(what.known, name),
        "troubles": [one for one in what.status.troubles() if one.node == name],
        "problems": _problems_of(what, f"Node/{name}"),
    }
    return Page("node.html.j2", name, values)


def switch_page(what: Seen, name: str) -> Page | None:
    """`/switches/NAME`. Passwords of what is rendered are placeholders."""
    plan = what.known.plan.switches.get(name)
    if plan is None:
        return None
    files, refused = _rendered(name, plan)
    rack = plan.rack or NO_RACK
    pairs, others = _pairs(what, name, plan)
    values = {
        "name": name,
        "rack": rack_name(rack),
        "rack_href": rack_href(rack),
        "plan": plan,
        "pairs": pairs,
        "others": others,
        "count": count([*(pair.row for pair in pairs if pair.row), *others]),
        "files": files,
        "refused": refused,
        "problems": _problems_of(what, f"Switch/{name}"),
    }
    return Page("switch.html.j2", name, values)


def rack_page(what: Seen, name: str) -> Page | None:
    """`/racks/NAME`."""
    if name not in what.known.racks:
        return None
    nodes = what.nodes_of.get(name, ())
    rows = what.by_rack.get(name, ())
    inside = {f"Rack/{name}", *(f"Node/{n}" for n in nodes), *(f"Switch/{n}" for n in what.known.racks[name])}
    values = {
        "name": name,
        "figure": figure(what, name),
        "group": Group(name, "", rows, len(nodes)),
        "nodes": [Group(node, f"/nodes/{node}", what.by_node.get(node, ())) for node in nodes],
        "switches": what.known.racks[name],
        "troubles": [one for one in what.status.troubles() if one.node in nodes],
        "problems": together(one for one in what.known.problems if one.object in inside),
    }
    return Page("rack.html.j2", name, values)


def reflector_page(what: Seen, name: str) -> Page | None:
    """`/reflectors/NAME`: its sessions as the nodes at the other ends report them."""
    plan: ReflectorPlan | None = what.known.plan.reflectors.get(name)
    if plan is None:
        return None
    rows = [row for row in what.reflectors if row.node == f"reflector/{name}"]
    values = {
        "name": name,
        "plan": plan,
        "rows": rows if len(rows) <= MOST_ROWS else [row for row in rows if row.state != "Established"][:MOST_ROWS],
        "total": len(rows),
        "problems": _problems_of(what, f"RouteReflector/{name}"),
    }
    return Page("reflector.html.j2", name, values)


def ipam_page(what: Seen) -> Page:
    """`/ipam`."""
    return Page("ipam.html.j2", "Addresses", {"ipam": ipam_of(what.known), "most": MOST_BLOCKS})


#: First part of a path -> what makes the page of a name.
PAGES: Mapping[str, Callable[[Seen, str], Page | None]] = {
    "nodes": node_page,
    "switches": switch_page,
    "racks": rack_page,
    "reflectors": reflector_page,
}


def _groups(what: Seen) -> list[Group]:
    """Racks by name, those in none, reflectors."""
    order = [*what.known.racks, *(name for name in what.by_rack if name not in what.known.racks)]
    racks = [Group(rack_name(name), rack_href(name), what.by_rack[name]) for name in order if name in what.by_rack]
    return [*racks, *(group for group in _reflectors(what) if group.rows)]


def _racks(what: Seen) -> list[Group]:
    names = [*what.known.racks, *((NO_RACK,) if what.nodes_of.get(NO_RACK) else ())]
    return [
        Group(rack_name(name), rack_href(name), what.by_rack.get(name, ()), len(what.nodes_of.get(name, ())))
        for name in names
    ]


def _reflectors(what: Seen) -> list[Group]:
    of: dict[str, list[Row]] = {name: [] for name in sorted(what.known.plan.reflectors)}
    for row in what.reflectors:
        of[row.node.partition("/")[2]].append(row)
    return [Group(name, f"/reflectors/{name}", rows) for name, rows in of.items()]


def _problems_of(what: Seen, ref: str) -> list[Problem]:
    return [one for one in what.known.problems if one.object == ref]


def _rendered(name: str, plan: SwitchPlan) -> tuple[dict[str, str], Sequence[Problem]]:
    try:
        return render(name, plan), ()
    except RenderRefused as refused:
        return {}, refused.problems


def _pairs(what: Seen, name: str, plan: SwitchPlan) -> tuple[list[Pair], list[Row]]:
    """Each session with the row of its other end, and the rows that are of none: nodes that it does not name."""
    end = f"switch/{name}"
    left = [row for row in what.rows if row.peer == end]
    pairs = []
    for session in plan.sessions:
        kind, _, far = session.peer.partition("/")
        row = _row_of(end, session, [row for row in left if kind == "node" and row.node == far])
        if row is not None:
            left.remove(row)
        pairs.append(Pair(session, row))
    return pairs, left


def _row_of(end: str, session: Session, rows: Sequence[Row]) -> Row | None:
    """By its addresses; over a link without any there is one session."""
    if session.interface is not None:
        return next(iter(rows), None)
    return facing(end, session, rows)
