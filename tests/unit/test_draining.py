"""A node that leaves the fabric's paths: who wants it, its states, what it announces in each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.draining import SERVING, Draining, Held, left, passed, told, unused_blocks, wanted
from bgp_speaker.node_policy import NodePolicy
from peering.drain_wish import ANNOTATION, drain_wish
from peering.resource import Resource, parse_resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.ipam import IPAMBlockSpec
from peering.snapshot import Snapshot
from tests.unit.declarations import configuration, declare
from tests.unit.test_announcements import BLOCK, PEER, session, speaker

DRAINING = Draining("draining")
DRAINED = Draining("drained")


def since(moment: float) -> Draining:
    return Draining("draining", moment)


# The states


@pytest.mark.parametrize("state", [SERVING, DRAINING, since(5), DRAINED])
def test_without_a_wish_a_node_serves_at_once(state: Draining) -> None:
    assert wanted(state, False) == SERVING


@pytest.mark.parametrize(
    ("state", "after"), [(SERVING, DRAINING), (DRAINING, DRAINING), (since(5), since(5)), (DRAINED, DRAINED)]
)
def test_a_wish_begins_a_drain_and_begins_no_other_again(state: Draining, after: Draining) -> None:
    assert wanted(state, True) == after


@pytest.mark.parametrize(
    ("state", "everybody", "after"),
    [
        (SERVING, True, SERVING),
        (SERVING, False, SERVING),
        (DRAINING, False, DRAINING),
        (DRAINING, True, since(9)),
        (since(5), True, since(5)),  # the time runs from the first moment at which all knew
        (since(5), False, DRAINING),  # a peer came that did not
        (DRAINED, True, DRAINED),
        (DRAINED, False, DRAINED),
    ],
)
def test_the_time_runs_while_everybody_knows(state: Draining, everybody: bool, after: Draining) -> None:
    assert told(state, everybody=everybody, now=9) == after


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (SERVING, SERVING),
        (DRAINING, DRAINING),
        (since(90), DRAINED),
        (since(89), DRAINED),
        (since(90.1), since(90.1)),
        (DRAINED, DRAINED),
    ],
)
def test_a_node_is_drained_when_the_settle_time_is_over(state: Draining, after: Draining) -> None:
    assert passed(state, settle=10, now=100) == after


# What is announced

HELD = Held((BLOCK, "10.244.0.64/26"), ("10.244.9.9/32",), ("10.96.0.0/12", "192.0.2.1/32"))


def test_a_drained_node_keeps_what_is_used_and_what_nobody_else_serves() -> None:
    assert left(HELD, "Unused", {BLOCK}, {"10.96.0.0/12"}) == Held(
        ("10.244.0.64/26",), ("10.244.9.9/32",), ("192.0.2.1/32",)
    )
    assert left(HELD, "Everything", set(), set()) == Held()


def block(*nodes: str) -> IPAMBlockSpec:
    given = [{"ordinal": number, "handle": f"h{number}", "node": node} for number, node in enumerate(nodes)]
    return IPAMBlockSpec.model_validate({"cidr": BLOCK, "affinity": "host:node-1", "allocations": given})


@pytest.mark.parametrize(
    ("nodes", "is_used"),
    [((), False), (("",), True), (("node-1",), True), (("node-2",), False), (("node-2", ""), True)],
)
def test_a_block_is_used_by_the_addresses_of_its_own_node(nodes: tuple[str, ...], is_used: bool) -> None:
    assert unused_blocks([block(*nodes)], "node-1") == (set() if is_used else {BLOCK})


def shut_down(session_type: str, policy: NodePolicy | None = None, **changes: Any) -> Any:
    one = session(type=session_type, **changes)
    found = desired_announcements(speaker(one), [BLOCK], policy or NodePolicy(), (), ["10.96.0.0/12"], shut_down=True)
    return found[PEER]


@pytest.mark.parametrize(("session_type", "preference"), [("ebgp", None), ("ibgp", 0)])
def test_all_routes_that_are_shut_down_say_so(session_type: str, preference: int | None) -> None:
    found = shut_down(session_type)
    assert set(found) == {BLOCK, "10.96.0.0/12", "10.0.11.1/32"}
    assert {(one.communities, one.local_preference) for one in found.values()} == {(("65535:0",), preference)}


def test_without_a_drain_nothing_says_so() -> None:
    found = desired_announcements(speaker(session(type="ibgp")), [BLOCK])[PEER]
    assert {(one.communities, one.local_preference) for one in found.values()} == {((), None)}


def test_a_filter_takes_neither_community_nor_preference_away() -> None:
    rule = {
        "action": "Accept",
        "operations": [{"addCommunity": {"value": "65000:7"}}, {"setLocalPreference": {"value": 300}}],
    }
    policy = NodePolicy(filters={"mine": BGPFilterSpec.model_validate({"exportV4": [rule]})})
    found = shut_down("ibgp", policy, export_filters=("mine",))
    assert (found[BLOCK].communities, found[BLOCK].local_preference) == (("65000:7", "65535:0"), 0)


# Who wants it


def node(*, annotation: str | None = None, cordoned: bool = False) -> Resource:
    found = declare("Node", "node-1", bgp={"ipv4Address": "192.0.2.1/24"}, unschedulable=cordoned)
    return replace(found, annotations={} if annotation is None else {ANNOTATION: annotation})


def of_node(**spec: Any) -> Resource:
    return declare("BGPConfiguration", "node.node-1", **spec)


@pytest.mark.parametrize(
    ("resources", "extent", "reasons"),
    [
        ([node()], None, 0),
        ([node(), of_node(drain="Unused")], "Unused", 1),
        ([node(), of_node(drain="Everything")], "Everything", 1),
        ([node(), of_node(listenPort=1790)], None, 0),
        ([node(), configuration(drain="Everything")], None, 0),
        ([node(), declare("BGPConfiguration", "node.node-2", drain="Unused")], None, 0),
        ([node(annotation="true")], "Unused", 1),
        ([node(annotation="everything")], "Everything", 1),
        ([node(annotation="false")], None, 0),
        ([node(annotation="yes")], None, 0),
        ([node(annotation="everything"), of_node(drain="Unused")], "Everything", 2),
        ([node(cordoned=True)], None, 0),
        ([node(cordoned=True), configuration(drainCordonedNodes=True)], "Unused", 1),
        ([node(), configuration(drainCordonedNodes=True)], None, 0),
        ([of_node(drain="Unused")], None, 0),
    ],
)
def test_who_wants_a_node_drained(resources: list[Resource], extent: str | None, reasons: int) -> None:
    wish = drain_wish(Snapshot(resources), "node-1")
    assert (wish.extent, len(wish.because)) == (extent, reasons)


def test_the_settle_time_is_that_of_the_cluster() -> None:
    resources = [node(), configuration(drainSettleSeconds=3), of_node(drain="Unused", drainSettleSeconds=99)]
    assert drain_wish(Snapshot(resources), "node-1").settle == 3
    assert drain_wish(Snapshot([node(), of_node(drain="Unused")]), "node-1").settle == 10


@pytest.mark.parametrize(
    ("spec", "is_cordoned"),
    [
        ({}, False),
        ({"unschedulable": True}, True),
        ({"unschedulable": False, "taints": [{"key": "a", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}, True),
        ({"unschedulable": "yes", "taints": ["odd", 7]}, False),
        ({"taints": 7}, False),
        (None, False),
    ],
)
def test_kubernetes_says_that_a_node_is_cordoned(spec: Any, is_cordoned: bool) -> None:
    parsed = parse_resource({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": spec})
    assert isinstance(parsed, Resource), parsed
    found = drain_wish(Snapshot([parsed, configuration(drainCordonedNodes=True)]), "node-1")
    assert found.extent == ("Unused" if is_cordoned else None)
