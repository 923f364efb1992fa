"""What is told of a declared object in its `status`: conditions as Kubernetes has them, and how its sessions are. Pure.

    plan, its problems ─► Declared ─┐
    reports of speakers ─► states ──┼─► status_of(object) ─► status
    the status that was there ──────┘

- `Ready`: it is in force. Not so with an error of its own, while none of its sessions is up, and for a pool that is
  disabled; unknown while nobody reports them.
- `Degraded`: some of its sessions are down. Counted are those of the plan, at the nodes' ends, as the speakers report
  them: one between two nodes counts twice, and one whose report is overdue is unknown. Pools have no sessions.
- `Ignored`: fields of it have no effect.

A condition keeps `lastTransitionTime` until its status is another one, so that equal facts give an equal status.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from peering.problems import Problem, ordered
from peering.resources.pools import IPPoolSpec
from peering.session import Plan
from peering.snapshot import Snapshot

#: The kinds that are told of.
KINDS = ("BGPPeer", "IPPool", "Rack", "RouteReflector", "Switch")

Status = dict[str, Any]
State = Literal["Established", "Idle", "Unknown"]
#: Node and name of a session, as the plan and the node's report have them.
End = tuple[str, str]

_IGNORED = "ignored-field"
#: Of Secrets neither the controller nor the page has a right to know.
NOT_JUDGED = ("missing-secret",)
_WITHOUT_SESSIONS = ("IPPool",)
#: A message names so many sessions or problems; how many there are it always says.
_NAMED = 5
_LONGEST_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class Declared:
    """A plan by object (`Kind/name`). `unreported` have sessions in the plan of which none ends at a node."""

    problems: Mapping[str, Sequence[Problem]]
    ends: Mapping[str, Sequence[End]]
    unreported: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Before:
    """What was there: the object's `metadata.generation` and its status."""

    generation: int
    status: Status


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def declared(plan: Plan, snapshot: Snapshot, unreadable: Iterable[Problem] = ()) -> Declared:
    """What the plan says of each object. `unreadable` are the problems of objects that are missing from it."""
    problems: dict[str, list[Problem]] = defaultdict(list)
    for problem in ordered([*unreadable, *plan.problems]):
        problems[problem.object].append(problem)
    ends: dict[str, list[End]] = defaultdict(list)
    for ref, end in _ends(plan):
        ends[ref].append(end)
    others = (
        *(f"Switch/{name}" for name, switch in plan.switches.items() if switch.sessions or switch.listen_ranges),
        *(f"RouteReflector/{name}" for name, one in plan.reflectors.items() if one.sessions or one.listen_ranges),
    )
    pools = snapshot.specs("IPPool", IPPoolSpec)
    return Declared(
        dict(problems),
        dict(ends),
        frozenset(others) - set(ends),
        frozenset(f"IPPool/{name}" for name, pool in pools.items() if pool.disabled),
    )


def _ends(plan: Plan) -> Iterator[tuple[str, End]]:
    """Every session of a node for what declares it, and for the switch at its other end."""
    for node, speaker in sorted(plan.speakers.items()):
        for session in speaker.sessions:
            kind, _, name = session.peer.partition("/")
            for ref in {session.source, f"Switch/{name}" if kind == "switch" else session.source}:
                yield ref, (node, session.name)


def status_of(ref: str, facts: Declared, states: Mapping[End, State], before: Before, now: float) -> Status:
    """The status of an object. A session without a state is unknown; `now` is Unix time."""
    kind = ref.partition("/")[0]
    problems = [one for one in facts.problems.get(ref, ()) if one.code not in NOT_JUDGED]
    by_state: dict[State, list[End]] = {"Established": [], "Idle": [], "Unknown": []}
    for end in facts.ends.get(ref, ()):
        by_state[states.get(end, "Unknown")].append(end)
    verdicts = {"Ready": _ready(ref, facts, problems, by_state), "Ignored": _ignored(problems)}
    if kind not in _WITHOUT_SESSIONS:
        verdicts["Degraded"] = _degraded(by_state)
    status: Status = {"conditions": _conditions(verdicts, before, now)}
    if kind not in _WITHOUT_SESSIONS:
        up, down, unknown = (len(ends) for ends in by_state.values())
        status["sessions"] = {"up": up, "down": down, "unknown": unknown, "total": up + down + unknown}
    return status


def _conditions(verdicts: Mapping[str, _Verdict], before: Before, now: float) -> list[Status]:
    known = {one.get("type"): one for one in before.status.get("conditions") or ()}
    made = []
    for type_, verdict in sorted(verdicts.items()):
        old = known.get(type_, {})
        since = old.get("lastTransitionTime") if old.get("status") == verdict.status else None
        made.append(
            {
                "type": type_,
                "status": verdict.status,
                "reason": verdict.reason,
                "message": verdict.message[:_LONGEST_MESSAGE],
                "lastTransitionTime": since or timestamp(now),
                "observedGeneration": before.generation,
            }
        )
    return made


def is_same(status: Status, before: Status) -> bool:
    """Whether nothing has to be written. An API server keeps conditions in the order in which they came first."""
    return _by_type(status) == _by_type(before)


def _by_type(status: Status) -> tuple[Any, Any]:
    return {one.get("type"): one for one in status.get("conditions") or ()}, status.get("sessions")


def timestamp(now: float) -> str:
    """Unix time as RFC 3339 writes it, in whole seconds."""
    return datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(ref: str, facts: Declared, problems: Sequence[Problem], by_state: Mapping[State, Sequence[End]]) -> _Verdict:
    wrong = [one for one in problems if one.severity == "error"]
    if wrong:
        return _Verdict("False", _camel(wrong[0].code), _told(wrong))
    verdict = _in_force(ref, facts, by_state)
    warnings = [one for one in problems if one.severity == "warning" and one.code != _IGNORED]
    if not warnings:
        return verdict
    return replace(verdict, message=f"{verdict.message}; {_told(warnings)}")


def _in_force(ref: str, facts: Declared, by_state: Mapping[State, Sequence[End]]) -> _Verdict:
    if ref.partition("/")[0] in _WITHOUT_SESSIONS:
        if ref in facts.disabled:
            return _Verdict("False", "Disabled", "disabled: no address is given from it")
        return _Verdict("True", "InForce", "in force")
    up, down, unknown = (len(ends) for ends in by_state.values())
    said = f"{up} of {up + down + unknown} sessions are up"
    if up:
        return _Verdict("True", "SessionsUp", said)
    if unknown:
        return _Verdict("Unknown", "NotReported", said + _named(", not known: ", by_state["Unknown"]))
    if down:
        return _Verdict("False", "SessionsDown", said)
    if ref in facts.unreported:
        return _Verdict("Unknown", "NotReported", "none of its sessions ends at a node: nobody reports them")
    return _Verdict("False", "NoSessions", "no session of a node comes of it")


def _degraded(by_state: Mapping[State, Sequence[End]]) -> _Verdict:
    total = sum(len(ends) for ends in by_state.values())
    down, unknown = by_state["Idle"], by_state["Unknown"]
    parts = [f"{len(down)} of {total} sessions are down" + _named(": ", down)] if down else []
    if unknown:
        parts.append(f"{len(unknown)} of {total} sessions are not known" + _named(": ", unknown))
    if down:
        return _Verdict("True", "SessionsDown", "; ".join(parts))
    if unknown:
        return _Verdict("Unknown", "NotReported", "; ".join(parts))
    return _Verdict("False", "NoSessionDown", f"0 of {total} sessions are down")


def _ignored(problems: Sequence[Problem]) -> _Verdict:
    found = [one for one in problems if one.code == _IGNORED]
    if found:
        return _Verdict("True", "IgnoredFields", _told(found))
    return _Verdict("False", "NoIgnoredFields", "all fields have effect")


def _named(before: str, ends: Sequence[End]) -> str:
    """`before` and the first of the sessions: node and session each."""
    more = f" and {len(ends) - _NAMED} more" if len(ends) > _NAMED else ""
    return before + ", ".join(f"{node} {session}" for node, session in islice(ends, _NAMED)) + more


def _told(problems: Sequence[Problem]) -> str:
    """The lines of the first problems, without the object, which everybody sees."""
    lines = [replace(one, object="").line().strip(" :") for one in islice(problems, _NAMED)]
    more = [f"and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
    return "; ".join([*lines, *more])


def _camel(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("-"))
