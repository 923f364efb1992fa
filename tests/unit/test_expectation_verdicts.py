"""Verdicts: what was seen against what was expected, both ways, with the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from containerlab import expectation_verdicts as verdicts
from containerlab.expectation_verdicts import Verdict
from containerlab.expectations import Command, NoPing, NoRoute, Ping, Route, Sessions, Traffic
from containerlab.node_outputs import Hop, PingSeen, RouteSeen, SessionSeen

UP = SessionSeen("tor", "10.0.0.1", "Established", peer="node-1")
DOWN = SessionSeen("tor", "10.0.0.3", "Active", "Hold Timer Expired", "node-2")
OTHER = SessionSeen("spine", "10.0.0.5", "Established", peer="tor")


def sessions(seen: list[SessionSeen], **fields: Any) -> Verdict:
    return verdicts.sessions(Sessions(**fields), seen)


def test_all_sessions_are_established_or_those_that_are_not_are_told() -> None:
    assert sessions([UP, OTHER]) == Verdict(
        True, "2 sessions established", ("tor: 10.0.0.1 (node-1) Established", "spine: 10.0.0.5 (tor) Established")
    )
    assert sessions([UP, DOWN, OTHER]) == Verdict(
        False, "1 of 3 sessions are not established", ("tor: 10.0.0.3 (node-2) Active, Hold Timer Expired",)
    )


def test_sessions_are_chosen_by_both_ends() -> None:
    seen = [UP, DOWN, OTHER]
    assert sessions(seen, node=("tor",), with_=("node-1",)).ok
    assert not sessions(seen, node=("tor",)).ok
    assert sessions(seen, with_=("tor", "node-1")).ok


def test_a_session_that_is_not_there_is_neither_up_nor_down() -> None:
    for state in ("established", "down"):
        verdict = sessions([OTHER], node=("tor",), state=state)
        assert (verdict.ok, verdict.message) == (False, "there is no such session")
        assert verdict.seen == ("spine: 10.0.0.5 (tor) Established",)


def test_down_means_all_of_them() -> None:
    assert sessions([DOWN], state="down").ok
    verdict = sessions([UP, DOWN], state="down")
    assert (verdict.ok, verdict.seen) == (False, ("tor: 10.0.0.1 (node-1) Established",))


A, B = Hop("10.0.0.1", "eth1", "spine-1"), Hop("10.0.0.3", "eth2", "spine-2")
BOTH = RouteSeen("default", "unicast", (A, B))


@pytest.mark.parametrize(
    ("fields", "seen", "ok"),
    [
        ({}, BOTH, True),
        ({"via": ("spine-1", "spine-2")}, BOTH, True),
        ({"via": ("spine-2", "spine-1")}, BOTH, True),
        ({"via": ("10.0.0.1", "eth2")}, BOTH, True),
        ({"via": ("spine-1",)}, BOTH, False),
        ({"via": ("spine-1", "spine-2", "spine-3")}, BOTH, False),
        ({"via": ("spine-1",)}, RouteSeen("default", "unicast", (A,)), True),
        ({"via": ("spine-2",)}, RouteSeen("default", "unicast", (A,)), False),
        ({"paths": 2}, BOTH, True),
        ({"paths": 1}, BOTH, False),
        ({}, None, False),
        ({}, RouteSeen("default", "blackhole", ()), False),
    ],
)
def test_a_route_has_these_next_hops_and_no_others(fields: dict[str, Any], seen: RouteSeen | None, ok: bool) -> None:
    verdict = verdicts.route(Route(node=("tor",), prefix="default", **fields), "tor", 4, seen)
    assert verdict.ok is ok
    assert verdict.seen


def test_a_route_that_differs_is_told_with_what_was_expected() -> None:
    verdict = verdicts.route(Route(node=("tor",), prefix="default", via=("spine-1",)), "tor", 4, BOTH)
    assert verdict.message == (
        "tor IPv4: default via spine-1 (10.0.0.1 eth1), spine-2 (10.0.0.3 eth2), expected via spine-1"
    )
    verdict = verdicts.route(Route(node=("tor",), to="node-1"), "tor", 6, None)
    assert verdict.message == "tor IPv6: no route to node-1"


def test_no_route_is_none_that_forwards() -> None:
    what = NoRoute(node=("tor",), prefix="default")
    assert verdicts.no_route(what, "tor", 4, None).ok
    assert verdicts.no_route(what, "tor", 4, RouteSeen("default", "blackhole", ())).ok
    verdict = verdicts.no_route(what, "tor", 4, BOTH)
    assert (verdict.ok, verdict.seen[0].startswith("tor IPv4: default via spine-1")) == (False, True)


@pytest.mark.parametrize(("lost", "sent", "received", "ok"), [(0, 5, 5, True), (0, 5, 4, False), (1, 5, 4, True),
                                                             (5, 5, 0, True), (0, 0, 0, False)])  # fmt: skip
def test_pings_may_lose_so_many(lost: int, sent: int, received: int, ok: bool) -> None:
    what = Ping(from_=("a",), to=("b",), lost=lost)
    verdict = verdicts.ping(what, "a", "b", PingSeen(sent, received))
    assert (verdict.ok, verdict.message) == (ok, f"a to b: {received} of {sent} answered")


def test_no_ping_is_none_at_all() -> None:
    what = NoPing(from_=("a",), to=("b",))
    assert verdicts.ping(what, "a", "b", PingSeen(3, 0)).ok
    assert not verdicts.ping(what, "a", "b", PingSeen(3, 1)).ok


def flows(sent: int, answered: int, gap_ms: float) -> dict[str, Any]:
    flow = {"port": 4711, "sent": sent, "answered": answered, "gapMs": gap_ms}
    return {"sent": sent, "answered": answered, "worstGapMs": gap_ms, "flows": [flow]}


@pytest.mark.parametrize(
    ("fields", "seen", "ok"),
    [
        ({"silent": 2.0}, flows(100, 90, 2000), True),
        ({"silent": 2.0}, flows(100, 90, 2001), False),
        ({"lost": 10}, flows(100, 90, 9999), True),
        ({"lost": 9}, flows(100, 90, 0), False),
        ({"lost": 10, "silent": 1.0}, flows(100, 90, 1001), False),
        ({"lost": 0}, flows(0, 0, 0), False),
    ],
)
def test_traffic_is_judged_by_silence_and_by_losses(fields: dict[str, Any], seen: dict[str, Any], ok: bool) -> None:
    assert verdicts.traffic(Traffic(from_=("a",), to=("b",), **fields), "a", "b", seen).ok is ok


def test_traffic_tells_which_flows_lost_what() -> None:
    verdict = verdicts.traffic(Traffic(from_=("a",), to=("b",), lost=0), "a", "b", flows(100, 90, 400))
    assert verdict.seen == (
        "a to b: 10 of 100 packets lost, longest silence of a flow 400ms",
        "source port 4711: 10 of 100 lost, silent for 400ms",
    )


@pytest.mark.parametrize(
    ("fields", "code", "output", "ok", "message"),
    [
        ({}, 0, "", True, "tor: exit code 0"),
        ({}, 3, "bad\n", False, "tor: exit code 3, expected 0"),
        ({"exit": 3}, 3, "", True, "tor: exit code 3"),
        ({"prints": "^b.g$"}, 0, "a\nbig\n", False, "tor: does not print '^b.g$'"),
        ({"prints": "(?m)^b.g$"}, 0, "a\nbig\n", True, "tor: exit code 0"),
    ],
)
def test_commands(fields: dict[str, Any], code: int, output: str, ok: bool, message: str) -> None:
    verdict = verdicts.command(Command(node=("tor",), run=("x",), **fields), "tor", code, output)
    assert verdict == Verdict(ok, message, tuple(output.split()))


def test_several_are_one_verdict_and_what_is_wrong_comes_alone() -> None:
    good, bad = Verdict(True, "fine", ("a",)), Verdict(False, "broken", ("b",))
    assert verdicts.together([good]) == good
    assert verdicts.together([good, good]) == Verdict(True, "fine; fine", ("a", "a"))
    assert verdicts.together([good] * 3) == Verdict(True, "3 of 3 as expected", ("a",) * 3)
    assert verdicts.together([good, bad, bad]) == Verdict(False, "broken (and 1 more)", ("b", "b"))
