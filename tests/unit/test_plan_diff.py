"""The lines that `apply` prints: sessions added, removed, changed, and which of them restart."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from peering.plan_diff import compare
from peering.session import (
    BfdParameters,
    Plan,
    ReflectorPlan,
    SecretKeyRef,
    Session,
    SpeakerPlan,
    SwitchPlan,
)

BASE = Session(
    name="tor-1a-ipv4",
    peer="switch/tor-1a",
    source="Rack/rack-1",
    type="ebgp",
    local_address="10.1.1.1",
    local_asn=65101,
    peer_address="10.1.1.0",
    peer_asn=65011,
)
WHO = "node/a tor-1a-ipv4: 10.1.1.1 AS65101 <-> 10.1.1.0 AS65011"
KEY = SecretKeyRef("rack-1", "bgp")
BFD = BfdParameters(profile="fast", receive_interval=100, transmit_interval=100, detect_multiplier=3)

#: Field -> (another value, what is said of it, whether the session restarts).
CHANGES: dict[str, tuple[Any, str, bool]] = {
    "peer": ("external", "peer switch/tor-1a -> external", False),
    "source": ("BGPPeer/x", "source Rack/rack-1 -> BGPPeer/x", False),
    "type": ("ibgp", "type ebgp -> ibgp", True),
    "peer_port": (1790, "peer port 179 -> 1790", True),
    "passive": (True, "passive False -> True", True),
    "password": (KEY, "password set", True),
    "ttl_security": (1, "ttl security None -> 1", True),
    "multihop": (2, "multihop None -> 2", True),
    "hold_time": (9, "hold time 90 -> 9", True),
    "keepalive_time": (3, "keepalive time 30 -> 3", False),
    "graceful_restart_time": (60, "graceful restart time 120 -> 60", True),
    "long_lived_stale_time": (3600, "long lived stale time None -> 3600", True),
    "connect_retry": (5, "connect retry None -> 5", False),
    "bfd": (BFD, "bfd None -> fast", False),
    "rr_client": (True, "rr client False -> True", True),
    "cluster_id": ("1.1.1.1", "cluster id None -> 1.1.1.1", True),
    "next_hop": ("self", "next hop auto -> self", False),
    "allow_as_in": (1, "allow as in None -> 1", False),
    "as_override": (True, "as override False -> True", False),
    "prepend": (2, "prepend 0 -> 2", False),
    "add_path_limit": (3, "add path limit None -> 3", False),
    "add_paths": ("both", "add paths None -> both", True),
    "families": (("ipv4-unicast", "ipv6-unicast"), "families ipv4-unicast -> ipv4-unicast,ipv6-unicast", True),
    "import_filters": (("f",), "import filters  -> f", False),
    "export_filters": (("f",), "export filters  -> f", False),
    "max_prefixes": (5, "max prefixes None -> 5", False),
    "reachable_by": ("10.0.0.1", "reachable by None -> 10.0.0.1", False),
    "interface": ("eth1", "interface None -> eth1", True),
}
#: These are in the line anyway.
SHOWN = {"local_address": "10.1.1.9", "local_asn": 1, "peer_address": "10.1.1.8", "peer_asn": 2}


def speakers(*sessions: Session) -> Plan:
    return Plan(speakers={"a": SpeakerPlan(asn=65101, router_id="10.0.0.1", sessions=sessions)})


def lines(old: Plan, new: Plan) -> list[str]:
    return [change.line() for change in compare(old, new)]


def test_every_field_of_a_session_is_looked_at() -> None:
    assert {f.name for f in fields(Session)} == {"name", *CHANGES, *SHOWN}


def test_added_and_removed() -> None:
    assert lines(Plan(), speakers(BASE)) == [f"+ {WHO}"]
    assert lines(speakers(BASE), Plan()) == [f"- {WHO}"]
    assert lines(speakers(BASE), speakers(BASE)) == []


def test_without_a_local_address_it_is_any() -> None:
    (line,) = lines(Plan(), speakers(replace(BASE, local_address=None)))
    assert line == "+ node/a tor-1a-ipv4: any AS65101 <-> 10.1.1.0 AS65011"


def test_without_any_address_it_is_the_interface_and_who_is_there() -> None:
    unnumbered = replace(BASE, local_address=None, peer_address="", interface="eth1", peer_asn=0)
    (line,) = lines(Plan(), speakers(unnumbered))
    assert line == "+ node/a tor-1a-ipv4: eth1 AS65101 <-> switch/tor-1a any other AS"


@pytest.mark.parametrize("field", CHANGES)
def test_one_changed_field(field: str) -> None:
    value, said, restarts = CHANGES[field]
    changed = speakers(replace(BASE, **{field: value}))
    assert lines(speakers(BASE), changed) == [f"~ {WHO} ({'restarts: ' if restarts else ''}{said})"]
    (change,) = compare(changed, speakers(BASE))
    assert change.what == ("restarts" if restarts else "changed")


@pytest.mark.parametrize("field", SHOWN)
def test_another_address_or_as_restarts(field: str) -> None:
    (change,) = compare(speakers(BASE), speakers(replace(BASE, **{field: SHOWN[field]})))  # type: ignore[arg-type]
    assert change.what == "restarts"
    assert change.details == (f"{field.replace('_', ' ')} {getattr(BASE, field)} -> {SHOWN[field]}",)


def test_a_password_is_told_by_what_happens_to_it() -> None:
    with_it, other = replace(BASE, password=KEY), replace(BASE, password=SecretKeyRef("rack-1", "new"))
    assert [
        compare(speakers(old), speakers(new))[0].details
        for old, new in ((BASE, with_it), (with_it, BASE), (with_it, other))
    ] == [("password set",), ("password removed",), ("password reference changed",)]


def test_both_ends_in_order() -> None:
    far = replace(BASE, name="a-ipv4", peer="node/a")
    switch = SwitchPlan(asn=65011, platform="frr", router_id="10.0.1.1", sessions=(far,))
    second = replace(BASE, name="tor-1b-ipv4", peer_address="10.1.2.0")
    reflector = ReflectorPlan(asn=65101, cluster_id="1.1.1.1", sessions=(far,))
    new = replace(speakers(second, BASE), switches={"tor-1a": switch}, reflectors={"rr": reflector})
    assert [(c.end, c.session.name) for c in compare(Plan(), new)] == [
        ("node/a", "tor-1a-ipv4"),
        ("node/a", "tor-1b-ipv4"),
        ("reflector/rr", "a-ipv4"),
        ("switch/tor-1a", "a-ipv4"),
    ]
    new = replace(new, reflectors={})
    assert [c.what for c in compare(new, Plan(switches={"tor-1a": switch}))] == ["removed", "removed"]


def test_several_changes_in_one_line() -> None:
    (line,) = lines(speakers(BASE), speakers(replace(BASE, hold_time=9, rr_client=True)))
    assert line == f"~ {WHO} (restarts: hold time 90 -> 9, rr client False -> True)"


def test_another_name_for_the_same_peer_ends_nothing() -> None:
    renamed = replace(BASE, name="other", source="BGPPeer/other")
    (change,) = compare(speakers(BASE), speakers(renamed))
    assert (change.what, change.old) == ("changed", BASE)
    assert change.line() == (
        "~ node/a other: 10.1.1.1 AS65101 <-> 10.1.1.0 AS65011"
        " (name tor-1a-ipv4 -> other, source Rack/rack-1 -> BGPPeer/other)"
    )
    (change,) = compare(speakers(BASE), speakers(replace(renamed, hold_time=9)))
    assert change.what == "restarts"


def test_a_name_that_passes_to_another_peer_is_followed() -> None:
    """`first` goes to a new peer: by its name it is the same session, restarted."""
    first, second = replace(BASE, name="first"), replace(BASE, name="second", peer_address="10.1.2.0")
    moved = replace(first, peer_address="10.1.3.0")
    assert [(c.what, c.session.name) for c in compare(speakers(first, second), speakers(moved, second))] == [
        ("restarts", "first")
    ]
    assert [(c.what, c.session.name) for c in compare(speakers(first), speakers(second))] == [
        ("removed", "first"),
        ("added", "second"),
    ]


def test_another_router_id_restarts_every_session_of_the_end() -> None:
    old = speakers(BASE, replace(BASE, name="tor-1b-ipv4", peer_address="10.1.2.0"))
    new = replace(old, speakers={"a": replace(old.speakers["a"], router_id="10.0.0.9")})
    assert [(c.what, c.details) for c in compare(old, new)] == [
        ("restarts", ("router ID 10.0.0.1 -> 10.0.0.9",)),
        ("restarts", ("router ID 10.0.0.1 -> 10.0.0.9",)),
    ]


def test_another_value_of_a_password_restarts_the_sessions_that_have_it() -> None:
    one, other = replace(BASE, password=KEY), replace(BASE, name="other", peer_address="10.1.2.0")
    (change,) = compare(speakers(one, other), speakers(one, other), {KEY})
    assert (change.what, change.session, change.details) == ("restarts", one, ("password value changed",))
    assert compare(speakers(one), speakers(one), {SecretKeyRef("rack-1", "other")}) == []
