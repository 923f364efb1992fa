"""What both ends say of a session -> one line, at the end to be fixed. A row for every kind of fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fabric_templates.verification import diagnosis, prefixes
from fabric_templates.verification.end import End, Kernel, Notice
from fabric_templates.verification.pairs import Heard, Pair, of_switch, pairs
from peering.problems import Problem
from peering.session import (
    BfdParameters,
    ListenRange,
    Plan,
    PrefixRule,
    SecretKeyRef,
    Session,
    SpeakerPlan,
    SwitchPlan,
)

SECRET = SecretKeyRef("bgp", "rack-1")
AT_NODE = Session(
    name="tor-ipv4",
    peer="switch/tor",
    source="Rack/rack-1",
    type="ebgp",
    local_address="10.1.1.1",
    local_asn=65101,
    peer_address="10.1.1.0",
    peer_asn=65011,
    hold_time=9,
    max_prefixes=None,
)
AT_SWITCH = AT_NODE.far_end(
    name="node-1-ipv4",
    peer="node/node-1",
    local_address="10.1.1.0",
    local_asn=65011,
    peer_address="10.1.1.1",
    passive=True,
    max_prefixes=64,
)
ACCEPT = (PrefixRule("10.244.0.0/16", 26, 26),)
SWITCH, NODE = "Switch/tor", "Node/node-1"
NEIGHBOR, AT = "neighbor 10.1.1.1", "session tor-ipv4"
LOAD = "load the plan into it: underlay diff --switch tor"


def plan_of(**options: Any) -> Plan:
    """A node and a switch with one session, of these options at both ends."""
    switch = SwitchPlan(
        asn=65011, platform="frr", router_id="10.0.1.1", sessions=(replace(AT_SWITCH, **options),), accept=ACCEPT
    )
    node = SpeakerPlan(asn=65101, router_id="10.0.11.1", sessions=(replace(AT_NODE, **options),))
    return Plan(switches={"tor": switch}, speakers={"node-1": node})


def pair_of(switch: End | None, node: End | None, plan: Plan | None = None, kernel: Kernel | None = None) -> Pair:
    """None is an end that was asked, and has no such session."""
    heard = {
        "switch/tor": Heard({"node-1-ipv4": replace(switch, announced=None)} if switch else {}, kernel=kernel),
        "node/node-1": Heard({"tor-ipv4": node} if node else {}),
    }
    (found,) = pairs(plan or plan_of(), heard)
    return found


def judged(pair: Pair, plan: Plan | None = None, passwords: dict[SecretKeyRef, str] | None = None) -> list[Problem]:
    plan = plan or plan_of()
    return [*diagnosis.down(pair, passwords or {}), *prefixes.up(pair, plan.switches)]


def idle(**said: Any) -> End:
    return End(state="Idle", **said)


def refused(code: int, subcode: int, *, sent: bool = False) -> End:
    """The speaker's end, as a rule: it got the NOTIFICATION."""
    word = "sent" if sent else "received"
    return idle(reason=f"notification {word} ({code},{subcode})", notice=Notice(code, subcode, sent))


UP = End(state="Established", sent=2, received=2, accepted=2, announced=frozenset({"10.244.1.0/26", "10.244.2.0/26"}))
ACTIVE = End(state="Active")
CLOSING = idle(reason="closing connection")
#: The switch's end, the node's end -> code, object, path, and what the message says.
ROWS: dict[str, tuple[End | None, End | None, tuple[str, str, str, str]]] = {
    "not configured": (
        None,
        CLOSING,
        ("session-missing", SWITCH, NEIGHBOR, "is not configured; the plan has it for node/node-1"),
    ),
    "another plan": (
        ACTIVE,
        None,
        ("session-missing", NODE, AT, "is not among those that it tells of: it goes by another plan"),
    ),
    "other remote AS": (
        End(state="Active", peer_asn=65999, local_asn=65011),
        refused(2, 2),
        ("session-as-differs", SWITCH, NEIGHBOR, "expects AS 65999 of node/node-1, the plan says 65101"),
    ),
    "other own AS": (
        End(state="Active", peer_asn=65101, local_asn=65012),
        CLOSING,
        ("session-as-differs", SWITCH, NEIGHBOR, "speaks to node/node-1 as AS 65012, the plan says 65011"),
    ),
    "speaker of an old plan": (
        ACTIVE,
        idle(reason="closing connection", peer_asn=65099),
        ("session-as-differs", NODE, AT, "expects AS 65099 of switch/tor, the plan says 65011"),
    ),
    "AS refused, the switch is right": (
        End(state="Active", peer_asn=65101),
        refused(2, 2),
        (
            "session-as-differs",
            NODE,
            AT,
            "says another AS than 65101 in its OPEN, which switch/tor expects as the plan",
        ),
    ),
    "AS refused, nobody knows": (
        ACTIVE,
        refused(2, 2),
        ("session-as-differs", SWITCH, NEIGHBOR, "refuses the AS that node/node-1 has in its OPEN (Bad Peer AS)"),
    ),
    "AS refused by the node": (
        ACTIVE,
        refused(2, 2, sent=True),
        ("session-as-differs", NODE, AT, "refuses the AS that switch/tor has in its OPEN (Bad Peer AS)"),
    ),
    "unplanned password": (
        End(state="Active", has_password=True),
        CLOSING,
        ("session-password", SWITCH, NEIGHBOR, "has a password, the plan has none"),
    ),
    "unplanned TTL security": (
        End(state="Active", ttl_security=2),
        refused(4, 0, sent=True),
        ("session-ttl", SWITCH, NEIGHBOR, "has TTL security (2 hops), the plan says no TTL security"),
    ),
    "family": (
        End(state="Active", families=frozenset()),
        CLOSING,
        ("session-family-missing", SWITCH, NEIGHBOR, "does not carry ipv4-unicast"),
    ),
    "shut down": (
        idle(shut_down=True),
        CLOSING,
        ("session-shut-down", SWITCH, NEIGHBOR, "is shut down by an administrator"),
    ),
    "shut down, told by the node": (
        ACTIVE,
        refused(6, 2),
        ("session-shut-down", SWITCH, NEIGHBOR, "is shut down by an administrator"),
    ),
    "limit of another number": (
        idle(over_limit=True, limit=1),
        CLOSING,
        ("session-over-limit", SWITCH, NEIGHBOR, "closed the session at its limit of 1 prefixes, the plan says 64"),
    ),
    "limit of the plan": (
        idle(over_limit=True, limit=64),
        CLOSING,
        ("session-over-limit", NODE, AT, "announces more than the 64 prefixes that switch/tor takes"),
    ),
    "limit, told by the node": (
        ACTIVE,
        refused(6, 1),
        ("session-over-limit", NODE, AT, "announces more than the 64 prefixes that switch/tor takes"),
    ),
    "left out": (
        ACTIVE,
        idle(reason="its password is not known"),
        ("session-left-out", NODE, AT, "its speaker says: its password is not known"),
    ),
    "hold time": (
        End(state="Active", peer_asn=65101),
        refused(2, 6),
        ("session-hold-time", SWITCH, NEIGHBOR, "refuses the hold time of 9 s (Unacceptable Hold Time)"),
    ),
    "deconfigured": (
        End(state="Active"),
        refused(6, 3),
        ("session-missing", SWITCH, NEIGHBOR, "says that node/node-1 is no peer of it any more"),
    ),
    "rejected": (
        ACTIVE,
        refused(6, 5),
        ("session-missing", SWITCH, NEIGHBOR, "rejects the connection of node/node-1"),
    ),
    "BFD": (
        End(state="Active", bfd_down=True),
        CLOSING,
        ("session-bfd-down", SWITCH, NEIGHBOR, "BFD with node/node-1 is down"),
    ),
    "BFD, told by the node": (
        ACTIVE,
        refused(6, 10),
        ("session-bfd-down", SWITCH, NEIGHBOR, "BFD with node/node-1 is down"),
    ),
    "silence": (
        ACTIVE,
        refused(4, 0, sent=True),
        ("session-silent", SWITCH, NEIGHBOR, "node/node-1 heard nothing for the hold time (Hold Timer Expired)"),
    ),
    "another refusal": (
        ACTIVE,
        refused(2, 3),
        ("session-refused", SWITCH, NEIGHBOR, "ended the session with node/node-1: bad BGP identifier, which two "),
    ),
    "no connection": (
        ACTIVE,
        CLOSING,
        (
            "session-no-connection",
            SWITCH,
            NEIGHBOR,
            "no BGP connection with node/node-1, and nobody says why (switch/tor says Active, node/node-1 says Idle: ",
        ),
    ),
    "one end is up": (
        UP,
        CLOSING,
        ("session-one-sided", SWITCH, NEIGHBOR, "says Established, node/node-1 says Idle"),
    ),
    "the other end is up": (
        ACTIVE,
        UP,
        ("session-one-sided", NODE, AT, "says Established, switch/tor says Active"),
    ),
    # Sessions that are up.
    "limit is passed": (
        replace(UP, limit=1),
        UP,
        ("session-over-limit", SWITCH, NEIGHBOR, "has 2 prefixes of node/node-1, and its limit is 1"),
    ),
    "hold time differs": (
        replace(UP, hold_time=3),
        UP,
        ("session-hold-time", SWITCH, NEIGHBOR, "was agreed on a hold time of 3 s, the plan says 9 s"),
    ),
    "up without its family": (
        replace(UP, families=frozenset({"ipv6-unicast"})),
        UP,
        ("session-family-missing", SWITCH, NEIGHBOR, "does not carry ipv4-unicast"),
    ),
    "held back": (
        UP,
        replace(UP, reason="9 of 8 ipv4-unicast prefixes (maxPrefixes), none is used"),
        ("session-restricted", NODE, AT, "its speaker says: 9 of 8 ipv4-unicast prefixes (maxPrefixes), none is used"),
    ),
    "no policy": (
        replace(UP, no_policy=True),
        UP,
        ("prefixes-refused", SWITCH, NEIGHBOR, "the neighbor has no route map (RFC 8212)"),
    ),
    "refused, counted": (
        replace(UP, accepted=1),
        UP,
        ("prefixes-refused", SWITCH, NEIGHBOR, "does not accept 1 of the 2 prefixes that node/node-1 sends"),
    ),
    "refused, by name": (
        replace(UP, accepted=1, taken=frozenset({"10.244.1.0/26"})),
        UP,
        ("prefixes-refused", SWITCH, NEIGHBOR, "does not accept 10.244.2.0/26 of node/node-1, which the plan accepts"),
    ),
    "refused by the plan": (
        replace(UP, accepted=0, taken=frozenset()),
        replace(UP, sent=1, announced=frozenset({"10.99.0.0/26"})),
        ("prefixes-refused", NODE, AT, "announces 10.99.0.0/26, which the plan does not accept at switch/tor"),
    ),
    "refused by the plan for its length": (
        replace(UP, accepted=0, taken=frozenset()),
        replace(UP, sent=1, announced=frozenset({"10.244.1.0/27"})),
        ("prefixes-refused", NODE, AT, "announces 10.244.1.0/27, which the plan does not accept at switch/tor"),
    ),
    "nothing announced": (
        replace(UP, accepted=0),
        replace(UP, sent=0),
        ("prefixes-missing", NODE, AT, "announces nothing to switch/tor, and has 10.244.1.0/26, 10.244.2.0/26 to"),
    ),
    "nothing sent down": (
        replace(UP, sent=0),
        replace(UP, received=0, accepted=0),
        ("prefixes-missing", SWITCH, NEIGHBOR, "sends node/node-1 no prefix that it can use: it has received none"),
    ),
    "nothing useful sent down": (
        UP,
        replace(UP, received=2, accepted=0),
        ("prefixes-missing", SWITCH, NEIGHBOR, "no prefix that it can use: it has received only 2 that it does not"),
    ),
    "sent and not received": (
        UP,
        replace(UP, received=0, accepted=0),
        ("prefixes-missing", SWITCH, NEIGHBOR, "says that it sent 2 prefixes, node/node-1 says that none came"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_one_fault_is_one_line_at_the_end_to_be_fixed(row: str) -> None:
    switch, node, (code, where, path, said) = ROWS[row]
    (found,) = judged(pair_of(switch, node))
    assert (found.code, found.object, found.path) == (code, where, path)
    assert said in found.message
    assert found.hint


def test_every_rule_has_a_row() -> None:
    """No rule can be taken away unnoticed."""
    rules = diagnosis._RULES
    for rule in rules:
        without = tuple(other for other in rules if other is not rule)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diagnosis, "_RULES", without)
            lines = {row: [p.code for p in judged(pair_of(s, n))] for row, (s, n, _) in ROWS.items()}
        changed = [row for row, codes in lines.items() if codes != [ROWS[row][2][0]]]
        assert changed, rule.__name__


def test_nothing_is_said_of_what_is_well_or_not_known() -> None:
    assert judged(pair_of(UP, UP)) == []
    (unknown,) = pairs(plan_of(), {})
    assert judged(unknown) == []
    heard_late = Heard({"tor-ipv4": End(state="Unknown", peer_asn=65011)})
    (late,) = pairs(plan_of(), {"node/node-1": heard_late})
    assert judged(late) == []
    (late,) = pairs(plan_of(), {"switch/tor": Heard({"node-1-ipv4": UP}), "node/node-1": heard_late})
    assert judged(late) == []


def test_passwords_are_compared_and_never_shown() -> None:
    plan = plan_of(password=SECRET)
    none = pair_of(End(state="Active", has_password=False), CLOSING, plan)
    assert judged(none, plan)[0].message == "has no password, the plan has one"
    other = pair_of(End(state="Active", has_password=True, password="theirs"), CLOSING, plan)
    (found,) = judged(other, plan, {SECRET: "ours"})
    assert (found.code, found.object) == ("session-password", SWITCH)
    assert found.message == "has another password than Secret/bgp has in rack-1"
    (found,) = judged(other, plan, {SECRET: "theirs"})
    assert found.code == "session-no-connection"
    assert found.hint.endswith("TCP port 179 is filtered, the passwords differ")


def test_what_the_kernel_has_dropped_comes_first() -> None:
    (found,) = judged(pair_of(ACTIVE, CLOSING, kernel=Kernel(md5=5)))
    assert "its kernel has dropped 5 segments for their MD5" in found.message
    assert found.hint.startswith("in this order: the passwords differ, ")
    (found,) = judged(pair_of(ACTIVE, refused(4, 0, sent=True), kernel=Kernel(ttl=7)))
    assert "its kernel has dropped 7 segments for their TTL" in found.message
    assert found.hint.startswith("in this order: TTL security at one end only, ")
    (found,) = judged(pair_of(ACTIVE, refused(4, 0, sent=True)))
    assert found.hint.endswith("node/node-1 hangs, TTL security at one end only") or "switch/tor hangs" in found.hint


def test_planned_ttl_security_that_is_not_there() -> None:
    plan = plan_of(ttl_security=1)
    (found,) = judged(pair_of(End(state="Active", ttl_security=0), CLOSING, plan), plan)
    assert found.message == "has no TTL security, the plan says TTL security (1 hop)"


def test_a_session_that_began_again_is_not_down_for_that() -> None:
    (found,) = judged(pair_of(ACTIVE, refused(6, 6)))
    assert found.code == "session-no-connection"
    assert "it ended with other configuration change (NOTIFICATION 6/6)" in found.message


def test_the_speakers_reason_goes_before_the_switchs_which_may_be_old() -> None:
    (found,) = judged(pair_of(idle(notice=Notice(6, 2, True)), refused(2, 6)))
    assert found.code == "session-hold-time"


def test_of_an_end_that_nobody_asked_it_is_a_cause_that_it_lacks_the_session() -> None:
    (pair,) = pairs(plan_of(), {"node/node-1": Heard({"tor-ipv4": CLOSING})})
    (found,) = judged(pair)
    assert found.object == SWITCH
    assert found.hint.startswith("in this order: switch/tor has no such neighbor, or has it shut down, ")


def test_filters_may_leave_nothing_to_announce() -> None:
    plan = plan_of(export_filters=("none",))
    assert judged(pair_of(replace(UP, accepted=0), replace(UP, sent=0), plan), plan) == []


def test_a_fabric_peer_is_judged_by_the_switch_alone() -> None:
    spine = replace(AT_SWITCH, name="spine-1-ipv4", peer="external", peer_address="10.254.1.0", local_address=None)
    switch = SwitchPlan(asn=65011, platform="frr", router_id="10.0.1.1", sessions=(spine,))
    (pair,) = pairs(Plan(switches={"tor": switch}), {"switch/tor": of_switch(switch, {"10.254.1.0": ACTIVE})})
    (found,) = judged(pair)
    assert (found.object, found.path) == (SWITCH, "neighbor 10.254.1.0")
    assert "no BGP connection with the fabric peer" in found.message


def test_two_switches_of_a_rack_are_the_two_ends_of_their_session() -> None:
    """Neither says its own address."""

    def mate(number: int) -> SwitchPlan:
        other = 3 - number
        session = replace(AT_SWITCH, name=f"tor-{other}", peer=f"switch/tor-{other}", local_address=None)
        session = replace(session, peer_address=f"10.254.3.{other}", local_asn=65010 + number, peer_asn=65010 + other)
        return SwitchPlan(asn=65010 + number, platform="frr", router_id=f"1.1.1.{number}", sessions=(session,))

    plan = Plan(switches={f"tor-{number}": mate(number) for number in (1, 2)})
    heard = {"switch/tor-1": Heard({"tor-2": UP}), "switch/tor-2": Heard({})}
    (pair,) = pairs(plan, heard)
    assert [side.path for side in pair.sides] == ["neighbor 10.254.3.2", "neighbor 10.254.3.1"]
    (found,) = judged(pair, plan)
    assert (found.code, found.object) == ("session-missing", "Switch/tor-2")
    told = replace(UP, announced=None, sent=5)
    some, none = (
        {"switch/tor-1": Heard({"tor-2": told}), "switch/tor-2": Heard({"tor-1": replace(told, accepted=accepted)})}
        for accepted in (1, 0)
    )
    assert [p.code for pair in pairs(plan, some) for p in judged(pair, plan)] == []
    assert [p.object for pair in pairs(plan, none) for p in judged(pair, plan)] == ["Switch/tor-2"]


def test_what_a_listen_range_has_is_found_by_its_address() -> None:
    ranged = ListenRange(cidr="10.1.1.0/24", peer_asn=65101, limit=8)
    switch = SwitchPlan(asn=65011, platform="frr", router_id="10.0.1.1", listen_ranges=(ranged,))
    node = SpeakerPlan(asn=65101, router_id="10.0.11.1", sessions=(AT_NODE,))
    plan = Plan(switches={"tor": switch}, speakers={"node-1": node})
    read = {"10.1.1.1": replace(UP, peer_asn=65999), "10.99.0.9": UP}
    heard = {"switch/tor": of_switch(switch, read), "node/node-1": Heard({"tor-ipv4": CLOSING})}
    (pair,) = pairs(plan, heard)
    assert [side.ref for side in pair.sides] == ["switch/tor", "node/node-1"]
    assert [problem.code for problem in judged(pair, plan)] == ["session-one-sided"]
    (pair,) = pairs(plan, {**heard, "switch/tor": of_switch(switch, {})})
    assert [problem.code for problem in judged(pair, plan)] == ["session-no-connection"]


def test_unnumbered_sessions_are_found_by_the_switchs_interface() -> None:
    session = replace(AT_SWITCH, interface="swp1", local_address=None, peer_address="")
    switch = SwitchPlan(asn=65011, platform="frr", router_id="10.0.1.1", sessions=(session,))
    (pair,) = pairs(Plan(switches={"tor": switch}), {"switch/tor": of_switch(switch, {"swp1": UP})})
    assert (pair.is_up, pair.one.path) == (True, "neighbor swp1")


def test_two_nodes_and_other_spellings_of_an_address() -> None:
    one = replace(AT_NODE, name="to-2", peer="node/node-2", peer_address="fd00::2", local_address="fd00::1")
    two = one.far_end(name="to-1", peer="node/node-1", local_address="fd00::2", local_asn=65101, peer_address="fd00::1")
    plan = Plan(
        speakers={
            "node-1": SpeakerPlan(asn=65101, router_id="1.1.1.1", sessions=(one,)),
            "node-2": SpeakerPlan(asn=65101, router_id="1.1.1.2", sessions=(two,)),
        }
    )
    (pair,) = pairs(plan, {"node/node-1": Heard({"to-2": UP}), "node/node-2": Heard({"to-1": UP})})
    assert [side.ref for side in pair.sides] == ["node/node-1", "node/node-2"]
    assert pair.is_up
    switch = SwitchPlan(
        asn=1, platform="frr", router_id="1.1.1.3", sessions=(replace(AT_SWITCH, peer_address="fd00::a"),)
    )
    assert of_switch(switch, {"FD00:0::A": UP}).ends == {"node-1-ipv4": UP}


def test_bfd_is_a_cause_only_where_nothing_else_is_known() -> None:
    plan = plan_of(bfd=BfdParameters(profile="fast", receive_interval=300, transmit_interval=300, detect_multiplier=3))
    (found,) = judged(pair_of(End(state="Active", bfd_down=True), refused(2, 6), plan), plan)
    assert found.code == "session-hold-time"
