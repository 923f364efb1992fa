"""What is told of a declared object, from plan, reports and what was told before."""

from __future__ import annotations

from typing import Any

import pytest

from peering.compile import plan
from peering.problems import Problem
from peering.resource import Resource, parse_resource
from peering.snapshot import Snapshot
from tests.unit.samples import dual_tor
from underlay.conditions import Before, Declared, End, State, Status, declared, is_same, status_of

NEW = Before(1, {})
RACK, SWITCH, PEER, POOL = "Rack/rack-1", "Switch/tor-1a", "BGPPeer/monitor", "IPPool/pods-v4"
NOON = 1_767_268_800.0
NOON_TEXT, LATER_TEXT = "2026-01-01T12:00:00Z", "2026-01-01T12:01:00Z"


def made(kind: str, name: str, **spec: Any) -> Resource:
    metadata = {"name": name}
    parsed = parse_resource({"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    assert isinstance(parsed, Resource), parsed
    return parsed


def fabric(*more: Resource) -> Snapshot:
    """The sample, with a peer outside of it."""
    return dual_tor().with_changes(
        [made("BGPPeer", "monitor", peerIP="192.0.2.7", asNumber=64999, nodeSelector="rack == 'rack-1'"), *more]
    )


def facts(snapshot: Snapshot) -> Declared:
    return declared(plan(snapshot), snapshot)


def conditions(status: Status) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def message(status: Status, type_: str) -> str:
    return next(str(one["message"]) for one in status["conditions"] if one["type"] == type_)


def counts(status: Status) -> tuple[int, int, int, int]:
    sessions = status["sessions"]
    return sessions["up"], sessions["down"], sessions["unknown"], sessions["total"]


def told(known: Declared, ref: str, states: dict[End, State], before: Before = NEW, now: float = NOON) -> Status:
    return status_of(ref, known, states, before, now)


def all_in(known: Declared, state: State) -> dict[End, State]:
    return {end: state for ends in known.ends.values() for end in ends}


def test_a_session_counts_for_what_declares_it_and_for_its_switch() -> None:
    """Two nodes in the rack, each with both families to two switches, and one session with the peer outside."""
    known = facts(fabric())
    assert {ref: len(ends) for ref, ends in known.ends.items()} == {
        "BGPPeer/monitor": 2,
        "Rack/rack-1": 8,
        "Rack/rack-2": 8,
        "Switch/tor-1a": 4,
        "Switch/tor-1b": 4,
        "Switch/tor-2a": 4,
        "Switch/tor-2b": 4,
    }
    compiled = plan(fabric())
    for ref, ends in known.ends.items():
        for node, name in ends:
            (session,) = [one for one in compiled.speakers[node].sessions if one.name == name]
            assert ref in (session.source, session.peer.replace("switch/", "Switch/"))


@pytest.mark.parametrize("ref", [RACK, SWITCH, PEER])
def test_with_all_sessions_up_nothing_is_wrong(ref: str) -> None:
    known = facts(fabric())
    status = told(known, ref, all_in(known, "Established"))
    total = len(known.ends[ref])
    assert counts(status) == (total, 0, 0, total)
    assert conditions(status) == {
        "Ready": ("True", "SessionsUp"),
        "Degraded": ("False", "NoSessionDown"),
        "Ignored": ("False", "NoIgnoredFields"),
    }
    assert message(status, "Ready") == f"{total} of {total} sessions are up"


@pytest.mark.parametrize(
    ("first", "rest", "ready", "degraded"),
    [
        ("Idle", "Established", ("True", "SessionsUp"), ("True", "SessionsDown")),
        ("Unknown", "Established", ("True", "SessionsUp"), ("Unknown", "NotReported")),
        ("Unknown", "Idle", ("Unknown", "NotReported"), ("True", "SessionsDown")),
        ("Idle", "Idle", ("False", "SessionsDown"), ("True", "SessionsDown")),
        ("Unknown", "Unknown", ("Unknown", "NotReported"), ("Unknown", "NotReported")),
    ],
)
def test_what_is_down_and_what_nobody_knows(
    first: State, rest: State, ready: tuple[str, str], degraded: tuple[str, str]
) -> None:
    known = facts(fabric())
    states = all_in(known, rest) | {known.ends[SWITCH][0]: first}
    status = told(known, SWITCH, states)
    found = conditions(status)
    assert (found["Ready"], found["Degraded"]) == (ready, degraded)
    up = [first, rest, rest, rest].count("Established")
    assert counts(status) == (up, [first, rest, rest, rest].count("Idle"), 4 - up - status["sessions"]["down"], 4)


def test_the_sessions_that_are_down_are_named_as_far_as_they_are_few() -> None:
    known = facts(fabric())
    ends = known.ends[RACK]
    states = all_in(known, "Established") | {ends[3]: "Idle"}
    node, session = ends[3]
    assert message(told(known, RACK, states), "Degraded") == f"1 of 8 sessions are down: {node} {session}"
    few: State = "Idle"
    states |= dict.fromkeys(ends[:7], few) | {ends[7]: "Unknown"}
    said = message(told(known, RACK, states), "Degraded")
    first, second = said.split("; ")
    assert first.startswith("7 of 8 sessions are down: ")
    assert first.endswith(" and 2 more")
    assert second == f"1 of 8 sessions are not known: {' '.join(ends[7])}"


def test_a_session_that_no_report_has_is_not_known() -> None:
    """Of a node without a report, or whose speaker does not know the new plan yet."""
    known = facts(fabric())
    assert counts(told(known, RACK, {})) == (0, 0, 8, 8)


def test_an_error_is_the_reason_whatever_the_sessions_do() -> None:
    known = facts(fabric(made("Rack", "rack-1", nodeSelector="rack == 'rack-1'", switches=["tor-1a", "tor-9"])))
    status = told(known, RACK, all_in(known, "Established"))
    wrong = [one for one in known.problems[RACK] if one.severity == "error"]
    assert wrong
    assert conditions(status)["Ready"][0] == "False"
    assert conditions(status)["Ready"][1] == "".join(word.title() for word in wrong[0].code.split("-"))
    assert "tor-9" in message(status, "Ready")
    assert RACK not in message(status, "Ready")
    assert conditions(told(known, "Rack/rack-2", all_in(known, "Established")))["Ready"][0] == "True"


def test_what_cannot_be_read_is_told_of_the_object() -> None:
    snapshot = fabric()
    without = Snapshot(one for one in snapshot if one.ref != SWITCH)
    problem = Problem("error", "unknown-field", SWITCH, "spec.newField", "is no field", "did you mean?")
    known = declared(plan(without), without, [problem])
    status = told(known, SWITCH, {})
    assert conditions(status)["Ready"] == ("False", "UnknownField")
    assert message(status, "Ready") == "spec.newField: is no field (did you mean?)"


def test_warnings_stand_behind_what_is_so() -> None:
    warnings = [Problem("warning", f"code-{number}", RACK, "", f"odd {number}") for number in range(7)]
    known = Declared({RACK: warnings}, {RACK: [("n", "s")]})
    status = told(known, RACK, {("n", "s"): "Established"})
    assert conditions(status)["Ready"] == ("True", "SessionsUp")
    said = message(status, "Ready").split("; ")
    assert said == ["1 of 1 sessions are up", *(f"odd {number}" for number in range(5)), "and 2 more"]


@pytest.mark.parametrize(("severity", "told_in"), [("info", "Ignored"), ("warning", "Ignored")])
def test_ignored_fields_are_told_and_change_nothing_else(severity: Any, told_in: str) -> None:
    problem = Problem(severity, "ignored-field", POOL, "spec.x", "has no effect: why", "leave it out")
    status = told(Declared({POOL: [problem]}, {}), POOL, {})
    assert conditions(status) == {"Ready": ("True", "InForce"), "Ignored": ("True", "IgnoredFields")}
    assert message(status, told_in) == "spec.x: has no effect: why (leave it out)"
    assert "effect" not in message(status, "Ready")


def test_ignored_fields_of_a_real_declaration() -> None:
    peer = made("BGPPeer", "monitor", peerIP="192.0.2.7", asNumber=64999, keepOriginalNextHop=True)
    known = facts(fabric(peer))
    assert "ignored-field" in {one.code for one in known.problems[PEER]}
    assert "spec.keepOriginalNextHop" in message(told(known, PEER, {}), "Ignored")


def test_of_secrets_nothing_is_said() -> None:
    """The controller of a cluster may not read them, and so finds each of them missing."""
    password = {"secretKeyRef": {"name": "rack-1", "key": "bgp"}}
    rack = made("Rack", "rack-1", nodeSelector="rack == 'rack-1'", switches=["tor-1a", "tor-1b"], password=password)
    known = facts(fabric(rack))
    assert "missing-secret" in {one.code for one in known.problems[RACK]}
    assert message(told(known, RACK, all_in(known, "Established")), "Ready") == "8 of 8 sessions are up"


def test_a_pool_is_in_force_unless_it_is_disabled() -> None:
    status = told(facts(fabric()), POOL, {})
    assert conditions(status) == {"Ready": ("True", "InForce"), "Ignored": ("False", "NoIgnoredFields")}
    assert "sessions" not in status
    known = facts(fabric(made("IPPool", "pods-v4", cidr="10.244.0.0/16", disabled=True)))
    assert conditions(told(known, POOL, {}))["Ready"] == ("False", "Disabled")
    assert conditions(told(known, "IPPool/pods-v6", {}))["Ready"] == ("True", "InForce")


def test_what_no_session_comes_of_is_not_ready() -> None:
    nobody = made("BGPPeer", "monitor", peerIP="192.0.2.7", asNumber=64999, nodeSelector="rack == 'rack-9'")
    assert conditions(told(facts(fabric(nobody)), PEER, {}))["Ready"] == ("False", "SelectorMatchesNothing")
    status = told(Declared({}, {}), PEER, {})
    assert conditions(status)["Ready"] == ("False", "NoSessions")
    assert conditions(status)["Degraded"] == ("False", "NoSessionDown")
    assert counts(status) == (0, 0, 0, 0)


def test_what_has_sessions_that_nobody_reports_is_not_known() -> None:
    """A switch whose nodes are gone still has those with its fabric."""
    snapshot = Snapshot(one for one in fabric() if one.kind != "Node")
    known = facts(snapshot)
    assert SWITCH in known.unreported
    assert conditions(told(known, SWITCH, {}))["Ready"] == ("Unknown", "NotReported")


def test_a_time_changes_with_the_status_and_with_nothing_else() -> None:
    known = facts(fabric())
    up = all_in(known, "Established")
    first = told(known, RACK, up)
    assert {one["lastTransitionTime"] for one in first["conditions"]} == {NOON_TEXT}
    assert told(known, RACK, up, Before(1, first), NOON + 60) == first
    down = up | {known.ends[RACK][0]: "Idle"}
    second = told(known, RACK, down, Before(1, first), NOON + 60)
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times == {"Ready": NOON_TEXT, "Degraded": LATER_TEXT, "Ignored": NOON_TEXT}
    more = down | {known.ends[RACK][1]: "Idle"}
    third = told(known, RACK, more, Before(1, second), NOON + 120)
    assert {one["type"]: one["lastTransitionTime"] for one in third["conditions"]} == times
    assert message(third, "Degraded") != message(second, "Degraded")


def test_the_generation_is_the_one_that_was_judged() -> None:
    known = facts(fabric())
    first = told(known, RACK, {}, Before(3, {}))
    assert {one["observedGeneration"] for one in first["conditions"]} == {3}
    again = told(known, RACK, {}, Before(4, first), NOON + 60)
    assert {one["observedGeneration"] for one in again["conditions"]} == {4}
    assert {one["lastTransitionTime"] for one in again["conditions"]} == {NOON_TEXT}
    assert not is_same(first, again)


def test_the_order_of_conditions_is_the_servers() -> None:
    status = told(facts(fabric()), RACK, {})
    assert is_same(status, {**status, "conditions": status["conditions"][::-1]})
    assert not is_same(status, {**status, "conditions": status["conditions"][1:]})
    assert not is_same(status, {**status, "sessions": {}})
    assert not is_same(status, {})
