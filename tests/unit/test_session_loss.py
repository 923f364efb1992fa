"""The count that guards a fabric: each session once, those that restart with those that go, and the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from peering.compile import plan
from peering.session import Plan, ReflectorPlan, Session, SpeakerPlan, SwitchPlan
from peering.session_loss import Tally, loss_problem, sessions_by_ends, tally
from tests.unit.samples import dual_tor


def session(end: str, peer: str, local: str | None, far: str, **more: object) -> Session:
    """`end` is only for its name; the source is not looked at."""
    name = f"{peer.rpartition('/')[2]}-{'ipv6' if ':' in far else 'ipv4'}"
    base = Session(
        name=name, peer=peer, source="x", type="ebgp",
        local_address=local, local_asn=1, peer_address=far, peer_asn=2,
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def pair(node: int, **more: object) -> tuple[Session, Session]:
    """The two ends of the session between node-N and the switch `s`."""
    low, high = f"10.0.{node}.0", f"10.0.{node}.1"
    return session("", "switch/s", high, low, **more), session("", f"node/n{node}", low, high, **more)


def fabric(count: int, **more: object) -> Plan:
    """One switch with `count` nodes."""
    pairs = [pair(number, **more) for number in range(count)]
    return Plan(
        speakers={
            f"n{i}": SpeakerPlan(asn=1, router_id=f"1.1.1.{i}", sessions=(near,)) for i, (near, _) in enumerate(pairs)
        },
        switches={"s": SwitchPlan(asn=2, platform="frr", router_id="2.2.2.2", sessions=tuple(far for _, far in pairs))},
    )


def ends(*sessions: tuple[tuple[str, str], ...]) -> set[frozenset[tuple[str, str]]]:
    return {frozenset(found) for found in sessions}


def test_two_ends_are_one_session_and_a_peer_outside_has_no_end() -> None:
    outside = session("", "external", None, "192.0.2.1", name="spine")
    found = fabric(2)
    switch = replace(found.switches["s"], sessions=(*found.switches["s"].sessions, outside))
    assert ends(*sessions_by_ends(replace(found, switches={"s": switch}))) == ends(
        (("node/n0", "s-ipv4"), ("switch/s", "n0-ipv4")),
        (("node/n1", "s-ipv4"), ("switch/s", "n1-ipv4")),
        (("switch/s", "spine"),),
    )


def test_several_sessions_between_two_are_told_apart_by_their_addresses() -> None:
    near = [session("", "node/b", f"10.0.{i}.0", f"10.0.{i}.1", name=f"b{i}") for i in range(3)]
    far = [session("", "node/a", f"10.0.{i}.1", f"10.0.{i}.0", name=f"a{i}") for i in (2, 0)]
    found = Plan(
        speakers={
            "a": SpeakerPlan(asn=1, router_id="1.1.1.1", sessions=tuple(near)),
            "b": SpeakerPlan(asn=1, router_id="1.1.1.2", sessions=tuple(far)),
        }
    )
    assert ends(*sessions_by_ends(found)) == ends(
        (("node/a", "b0"), ("node/b", "a0")), (("node/a", "b2"), ("node/b", "a2")), (("node/a", "b1"),)
    )


@pytest.mark.parametrize(
    ("near", "far", "are_one"),
    [
        ((None, "fd00::2"), ("fd00::2", "fd00::1"), True),
        ((None, "fd00::2"), (None, "fd00::1"), True),
        ((None, "fd00::2"), ("fd00::9", "fd00::1"), False),
        ((None, "fd00::2"), (None, "10.0.0.1"), False),
        ((None, ""), (None, ""), True),
    ],
)
def test_an_address_that_is_left_to_the_kernel_may_be_any_of_its_family(
    near: tuple[str | None, str], far: tuple[str | None, str], are_one: bool
) -> None:
    reflector = ReflectorPlan(asn=1, cluster_id="1.1.1.1", sessions=(session("", "node/a", *far),))
    speaker = SpeakerPlan(asn=1, router_id="1.1.1.1", sessions=(session("", "reflector/r", *near),))
    found = list(sessions_by_ends(Plan(speakers={"a": speaker}, reflectors={"r": reflector})))
    assert len(found) == (1 if are_one else 2)


def test_every_session_between_nodes_and_switches_of_the_sample_has_two_ends() -> None:
    found = list(sessions_by_ends(plan(dual_tor())))
    assert len([s for s in found if len(s) == 2]) == 4 * 2 * 2
    assert len([s for s in found if len(s) == 1]) == 4 * 2 * 2


def test_what_happens_to_either_end_happens_to_the_session() -> None:
    old = fabric(5)
    switch = old.switches["s"]
    kept, policy, restarting, renamed = switch.sessions[:4]
    ours = (kept, replace(policy, max_prefixes=5), replace(restarting, hold_time=9), replace(renamed, name="other"))
    more = fabric(6)
    speakers = {name: more.speakers[name] for name in ("n0", "n1", "n2", "n3", "n5")}
    new = replace(
        old, speakers=speakers, switches={"s": replace(switch, sessions=(*ours, more.switches["s"].sessions[5]))}
    )
    assert tally(old, new) == Tally(before=5, added=1, changed=2, restarts=1, removed=1)
    assert tally(old, new).line() == "sessions: 1 added, 2 changed, 1 restart, 1 removed of 5"


def test_the_worse_of_two_ends_counts() -> None:
    old, policy = fabric(1), fabric(1, max_prefixes=5)
    restarting = fabric(1, hold_time=9)
    assert tally(old, replace(policy, switches=restarting.switches)) == Tally(before=1, restarts=1)
    assert tally(old, replace(restarting, switches={})) == Tally(before=1, removed=1)
    assert tally(old, replace(policy, switches=old.switches)) == Tally(before=1, changed=1)


def test_a_session_without_one_of_its_ends_is_gone() -> None:
    old = fabric(2)
    one_sided = replace(old, speakers={"n0": old.speakers["n0"]})
    assert tally(old, one_sided) == Tally(before=2, removed=1)
    assert tally(Plan(), old) == Tally(before=0, added=2)


def test_another_router_id_of_a_switch_costs_all_its_sessions() -> None:
    old = fabric(4)
    new = replace(old, switches={"s": replace(old.switches["s"], router_id="2.2.2.3")})
    assert tally(old, new) == Tally(before=4, restarts=4)


@pytest.mark.parametrize(
    ("counted", "limit", "passes"),
    [
        (Tally(before=0, added=9), 0, True),
        (Tally(before=10, removed=1, restarts=1), 20, True),
        (Tally(before=10, removed=2, restarts=1), 20, False),
        (Tally(before=1000, removed=201), 20, False),
        (Tally(before=1000, removed=200, changed=800), 20, True),
        (Tally(before=10, restarts=3), 20, False),
        (Tally(before=3, removed=1), 33.4, True),
        (Tally(before=1, removed=1), 100, True),
        (Tally(before=1000, restarts=1), 0, False),
    ],
)
def test_the_limit(counted: Tally, limit: float, passes: bool) -> None:
    assert (loss_problem(counted, limit) is None) is passes


def test_the_message_says_how_many_of_how_many_and_what_to_do() -> None:
    problem = loss_problem(Tally(before=240, removed=48, restarts=1), 20)
    assert problem is not None
    assert problem.line() == (
        "plan: 49 of 240 sessions would go down (20.5 %): 48 removed, 1 restarted; the limit is 20 % "
        "(look at selectors and labels, or go in steps; if it is meant: --max-loss 21, or --force)"
    )
    restarts = loss_problem(Tally(before=4, restarts=4), 20)
    assert restarts is not None
    assert restarts.hint == "go in steps; if it is meant: --max-loss 100, or --force"
