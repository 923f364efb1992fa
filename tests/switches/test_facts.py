"""What templates are given is what the plan says, told by rules of its own; and a difference would be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fabric_templates import devices
from fabric_templates.devices import Device
from fabric_templates.shapes import Neighbor, View
from fabric_templates.view import view
from peering.session import SwitchPlan
from tests.switches.facts import FEATURES, Facts, differences, facts_of
from tests.switches.matrix import BASE, build, cases

READS = {
    field for fields in facts_of(build(BASE | {"neighbors": "named-and-range"}, "frr")).values() for field in fields
}
#: How a view's words are those of a plan; on iBGP `auto` is told from `self` only there.
_NEXT_HOPS = {
    ("ebgp", None): "auto",
    ("ebgp", "self"): "self",
    ("ebgp", "unchanged"): "keep",
    ("ibgp", "self"): "auto",
    ("ibgp", "self-of-reflected-too"): "self",
    ("ibgp", None): "keep",
}


def shown(plan: SwitchPlan) -> View:
    device = devices.find("frr", "")
    assert isinstance(device, Device)
    limits = device.limits.model_copy(update={"name": 200, "description": 200})
    bare = device.model_copy(update={"limits": limits, "bfd_defaults": devices.BfdDefaults()})
    return view("tor-1a", plan, bare, None)


def read(shown: View) -> Facts:
    """Facts from a view, as a platform's parser has them from text."""
    found: Facts = {
        ("switch", ""): {
            "asn": shown.asn,
            "router_id": shown.router_id,
            "cluster_id": shown.cluster_id,
            "networks": frozenset(n for family in shown.families for n in family.networks),
            "aggregates": frozenset(n for family in shown.families for n in family.aggregates),
        }
    }
    for neighbor in shown.neighbors:
        found["neighbor", neighbor.key] = fields(shown, neighbor)
    for listen in shown.listens:
        found["range", listen.cidr] = fields(shown, listen.neighbor) | {"limit": listen.limit}
    for one in shown.prefix_lists:
        both_ways = [
            ((e.prefix, e.min_length, e.max_length), (e.prefix, e.ge or length(e.prefix), e.le or length(e.prefix)))
            for e in one.entries
        ]
        found["prefix-list", one.name] = {"entries": frozenset(way for ways in both_ways for way in ways)}
    return found


def length(prefix: str) -> int:
    return int(prefix.partition("/")[2])


def fields(shown: View, n: Neighbor) -> dict[str, Any]:
    first = n.families[0]
    paths = {(True, True): "both", (True, False): "send", (False, True): "receive", (False, False): None}
    return {
        "remote_asn": n.remote_asn,
        "local_asn": n.local_asn or shown.asn,
        "description": n.description,
        "local_address": n.update_source,
        "passive": n.passive,
        "port": n.port or 179,
        "hold": n.timers.hold,
        "keepalive": n.timers.keepalive,
        "connect_retry": n.timers.connect,
        "password": n.password is not None,
        "ttl_security": n.ttl_security,
        "multihop": n.multihop,
        "bfd": n.bfd is not None,
        "bfd_receive": n.bfd and n.bfd.receive_interval,
        "bfd_transmit": n.bfd and n.bfd.transmit_interval,
        "bfd_multiplier": n.bfd and n.bfd.detect_multiplier,
        "rr_client": first.rr_client,
        "as_override": first.as_override,
        "allow_as_in": first.allow_as_in,
        "next_hop": _NEXT_HOPS[n.type, first.next_hop],
        "max_prefixes": first.max_prefixes and first.max_prefixes.count,
        "add_paths": paths[first.add_paths_send, first.add_paths_receive],
        "long_lived": n.long_lived_stale_time,
        "families": frozenset(family.version for family in n.families),
        "import_maps": frozenset(family.import_map for family in n.families),
        "export_maps": frozenset(family.export_map for family in n.families),
    }


def test_a_view_says_what_the_plan_says() -> None:
    found = {name: differences(plan, read(shown(plan)), READS) for name, plan in cases("frr").items()}
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


@pytest.mark.parametrize("field", sorted(READS))
def test_a_difference_is_seen(field: str) -> None:
    plan = build(BASE | {"neighbors": "named-and-range"}, "frr")
    found = facts_of(plan)
    key = next(key for key, said in found.items() if field in said)
    found[key] = found[key] | {field: "another"}
    complaints = differences(plan, found, READS)
    assert [f" {field}: the plan says " in line for line in complaints] == [True]
    assert differences(plan, found, READS - {field}) == []


def test_a_neighbor_too_many_or_too_few_is_seen() -> None:
    plan = build(BASE, "frr")
    found = facts_of(replace(plan, sessions=plan.sessions[1:]))
    assert differences(plan, found, {"hold"}) == ["neighbor 10.1.1.1: not found"]
    assert differences(replace(plan, sessions=plan.sessions[1:]), facts_of(plan), {"hold"}) == [
        "neighbor 10.1.1.1: is not in the plan"
    ]


def test_every_feature_of_a_field_is_read() -> None:
    assert set(FEATURES) <= READS
