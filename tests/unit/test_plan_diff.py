"""The lines that `apply` prints: sessions added, removed, changed, and which of them restart."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from peering.plan_diff import compare
from peering.session import Plan, SecretKeyRef, Session, SpeakerPlan, SwitchPlan

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

#: Field -> (another value, what is said of it, whether the session restarts).
CHANGES: dict[str, tuple[Any, str, bool]] = {
    "peer": ("external", "peer switch/tor-1a -> external", False),
    "source": ("BGPPeer/x", "source Rack/rack-1 -> BGPPeer/x", False),
    "type": ("ibgp", "type ebgp -> ibgp", True),
    "peer_port": (1790, "peer port 179 -> 1790", True),
    "passive": (True, "passive False -> True", False),
    "password": (KEY, "password set", True),
    "ttl_security": (1, "ttl security None -> 1", True),
    "multihop": (2, "multihop None -> 2", True),
    "hold_time": (9, "hold time 90 -> 9", True),
    "keepalive_time": (3, "keepalive time 30 -> 3", True),
    "graceful_restart_time": (60, "graceful restart time 120 -> 60", True),
    "long_lived_stale_time": (3600, "long lived stale time None -> 3600", True),
    "bfd": ("fast", "bfd None -> fast", False),
    "rr_client": (True, "rr client False -> True", False),
    "cluster_id": ("1.1.1.1", "cluster id None -> 1.1.1.1", False),
    "next_hop": ("self", "next hop auto -> self", False),
    "allow_as_in": (1, "allow as in None -> 1", False),
    "as_override": (True, "as override False -> True", False),
    "add_paths": ("both", "add paths None -> both", True),
    "families": (("ipv4-unicast", "ipv6-unicast"), "families ipv4-unicast -> ipv4-unicast,ipv6-unicast", True),
    "import_filters": (("f",), "import filters  -> f", False),
    "export_filters": (("f",), "export filters  -> f", False),
    "max_prefixes": (5, "max prefixes None -> 5", False),
    "reachable_by": ("10.0.0.1", "reachable by None -> 10.0.0.1", False),
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
    second = replace(BASE, name="tor-1b-ipv4")
    new = replace(speakers(second, BASE), switches={"tor-1a": switch})
    assert [(c.end, c.session.name) for c in compare(Plan(), new)] == [
        ("node/a", "tor-1a-ipv4"),
        ("node/a", "tor-1b-ipv4"),
        ("switch/tor-1a", "a-ipv4"),
    ]
    assert [c.what for c in compare(new, Plan(switches={"tor-1a": switch}))] == ["removed", "removed"]


def test_several_changes_in_one_line() -> None:
    (line,) = lines(speakers(BASE), speakers(replace(BASE, hold_time=9, rr_client=True)))
    assert line == f"~ {WHO} (restarts: hold time 90 -> 9, rr client False -> True)"
