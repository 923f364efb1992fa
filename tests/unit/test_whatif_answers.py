"""What fails in the sample fabrics, and what a network engineer knows must come of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from peering.compile import Compiler
from peering.snapshot import Snapshot
from peering.whatif.answers import Answer, Row, answer
from peering.whatif.every import every_single_failure
from peering.whatif.fabric import fabric_of
from peering.whatif.failures import Failures, UnknownName
from peering.whatif.ways import Ways
from tests.unit.samples import dual_tor
from tests.unit.test_whatif_ways import Case, cases
from tests.unit.whatif_fabrics import Document, document, resources


def ways_of(snapshot: Snapshot) -> Ways:
    return Ways(fabric_of(Compiler().graph(snapshot)[0]))


def whatif(snapshot: Snapshot, *names: str) -> Answer:
    ways = ways_of(snapshot)
    return answer(ways, [Failures(ways.fabric).named(name) for name in names])


def changed(snapshot: Snapshot, *added: Document, removed: tuple[str, ...] = ()) -> Snapshot:
    return snapshot.with_changes(resources(list(added)), removed)


def row(found: Answer, rack: str | None, pool: str | None, is_ipv6: bool = False) -> Row:
    return next(one for one in found.rows if (one.rack, one.pool, one.is_ipv6) == (rack, pool, is_ipv6))


def statuses(one: Row) -> tuple[str | None, ...]:
    return one.from_racks.after, one.in_rack.after, one.from_outside.after, one.to_outside.after


ALL_WELL = ("yes", "yes", "yes", "yes")


@pytest.mark.parametrize("sample", ["dual-tor", "dual-tor-ibgp"])
def test_without_one_of_two_switches_a_rack_has_half_its_ways_and_loses_nothing(sample: str) -> None:
    found = whatif(dual_tor(sample), "Switch/tor-1a")
    assert not found.cuts_off
    assert len(found.sessions) == 8
    assert found.sessions_by_end()["Node/node-1"] == 2
    for is_ipv6, pool in ((False, "pods-v4"), (True, "pods-v6"), (False, None), (True, None)):
        for rack, widths in (("rack-1", (2, 1)), ("rack-2", (2, 2))):
            one = row(found, rack, pool, is_ipv6)
            assert statuses(one) == ALL_WELL
            assert one.widths == widths


@pytest.mark.parametrize("sample", ["dual-tor", "dual-tor-ibgp"])
def test_without_both_switches_a_rack_is_cut_off_and_nobody_else(sample: str) -> None:
    found = whatif(dual_tor(sample), "Switch/tor-1a", "Switch/tor-1b")
    assert {one.node for one in found.lost} == {"node-1", "node-2"}
    assert all(one.entirely and one.from_outside and one.to_outside for one in found.lost)
    assert statuses(row(found, "rack-1", "pods-v4")) == ("no", "no", "no", "no")
    assert statuses(row(found, "rack-2", "pods-v4"))[1:] == ("yes", "yes", "yes")
    assert row(found, "rack-2", "pods-v4").widths == (2, 2)


def test_within_a_rack_one_as_needs_the_default_route_and_ibgp_does_not() -> None:
    """Nodes of `ebgp-as-per-rack` refuse each other's blocks by their AS."""
    spines = ("External/spine-1", "External/spine-2")
    assert row(whatif(dual_tor("dual-tor"), *spines), "rack-1", "pods-v4").in_rack.after == "no"
    assert row(whatif(dual_tor("dual-tor-ibgp"), *spines), "rack-1", "pods-v4").in_rack.after == "yes"


def test_a_node_takes_its_own_prefixes_along_and_nobody_elses() -> None:
    found = whatif(dual_tor(), "Node/node-3")
    assert not found.cuts_off
    assert [node for node, _ in found.own] == ["node-3"] * 4
    assert row(found, "rack-2", "pods-v4").prefixes == 1


def test_a_rack_fails_as_a_whole() -> None:
    found = whatif(dual_tor(), "Rack/rack-2")
    assert not found.cuts_off
    assert {node for node, _ in found.own} == {"node-3", "node-4"}
    assert {one.rack for one in found.rows} == {"rack-1"}
    assert len(found.sessions) == 16


def test_a_node_with_one_link_is_cut_off_with_its_switch() -> None:
    node: Document = document(
        "Node",
        "node-1",
        {"bgp": {"ipv4Address": "10.0.11.1/32"}, "uplinks": [{"interface": "eth1", "addresses": ["10.1.1.1/31"]}]},
        {"rack": "rack-1"},
    )
    found = whatif(changed(dual_tor(), node), "Switch/tor-1a")
    assert {(one.node, one.pool) for one in found.lost} == {("node-1", "pods-v4"), ("node-1", None)}


def test_two_failures_may_do_what_neither_does() -> None:
    names = ("Link/node-1:tor-1a", "Switch/tor-1b")
    for name in names:
        assert not whatif(dual_tor(), name).cuts_off
    found = whatif(dual_tor(), *names)
    assert {one.node for one in found.lost} == {"node-1"}
    assert row(found, "rack-1", "pods-v4").from_racks.after == "partly"


def test_a_session_is_of_one_family_and_a_link_of_both() -> None:
    session = whatif(dual_tor(), "Session/node-1:tor-1a-ipv4")
    assert [row(session, "rack-1", p, v6).widths for p, v6 in (("pods-v4", False), ("pods-v6", True))] == [
        (2, 1),
        (2, 2),
    ]
    link = whatif(dual_tor(), "Link/tor-1a:node-1")
    assert [row(link, "rack-1", p, v6).widths for p, v6 in (("pods-v4", False), ("pods-v6", True))] == [(2, 1), (2, 1)]
    assert link.failed == ("Link/node-1:tor-1a",)


def test_claimed_blocks_are_the_prefixes_and_none_is_assumed() -> None:
    block = {"node": "node-1", "cidr": "10.244.7.0/26", "state": "confirmed"}
    pending = {"node": "node-2", "cidr": "10.244.8.0/26", "state": "pending"}
    snapshot = changed(dual_tor(), document("BlockAffinity", "a", block), document("BlockAffinity", "b", pending))
    found = whatif(snapshot, "Node/node-1", "Node/node-2")
    assert {(node, o.pool, o.assumed) for node, o in found.own if o.pool} == {("node-1", "pods-v4", False)}
    assert all(origin.assumed for _, origin in whatif(dual_tor(), "Node/node-1").own if origin.pool)


def test_a_pool_that_stays_home_is_no_row() -> None:
    pool = document("IPPool", "home", {"cidr": "10.246.0.0/16", "disableBGPExport": True})
    found = whatif(changed(dual_tor(), pool), "Switch/tor-1a")
    assert "home" not in {one.pool for one in found.rows}


def flat(number: int, **bgp: Any) -> Document:
    return document("Node", f"n{number}", {"bgp": {"ipv4Address": f"10.0.0.{number}/32"} | bgp})


def reflected(*names: str) -> list[Document]:
    """Three nodes on a network that is not declared, clients of reflectors."""
    documents = [document("RouteReflector", n, {"addresses": [f"10.3.0.{i}/32"], "nodeSelector": "all()"})
                 for i, n in enumerate(names, 1)]  # fmt: skip
    mesh = document("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})
    return [*map(flat, (1, 2, 3)), document("IPPool", "pods", {"cidr": "10.244.0.0/16"}), mesh, *documents]


def test_the_last_reflector_takes_all_routes_along() -> None:
    two = Snapshot(resources(reflected("rr-1", "rr-2")))
    assert not whatif(two, "RouteReflector/rr-1").cuts_off
    found = whatif(two, "RouteReflector/rr-1", "RouteReflector/rr-2")
    assert {one.pool for one in found.lost} == {"pods"}
    one = row(found, None, "pods")
    assert (one.rack, one.in_rack.before, one.in_rack.after) == (None, "yes", "no")
    assert (one.from_outside.before, one.widths) == (None, (1, 0))


def test_a_reflector_goes_with_the_node_that_it_runs_on() -> None:
    documents = reflected("rr-1")
    documents[-1]["spec"]["node"] = "n3"
    found = whatif(Snapshot(resources(documents)), "Node/n3")
    assert {one.node for one in found.lost} == {"n1", "n2"}


def test_a_stranded_node_takes_the_sessions_of_its_reflector_along() -> None:
    documents = reflected("rr-1")
    documents[-1]["spec"]["node"] = "n3"
    switch = document(
        "Switch", "tor", {"asNumber": 65001, "addresses": ["10.9.9.9/32"], "linkSubnets": ["10.9.0.0/24"]}
    )
    documents[2]["spec"]["uplinks"] = [{"interface": "eth1", "addresses": ["10.9.0.1/31"]}]
    snapshot = Snapshot(resources([*documents, switch]))
    for name in ("Switch/tor", "Link/n3:tor"):
        assert {one.node for one in whatif(snapshot, name).lost} == {"n1", "n2", "n3"}


def test_in_a_full_mesh_no_node_needs_another() -> None:
    documents = [*map(flat, (1, 2, 3)), document("IPPool", "pods", {"cidr": "10.244.0.0/16"})]
    found = whatif(Snapshot(resources(documents)), "Node/n1")
    assert not found.cuts_off
    assert row(found, None, "pods").in_rack.after == "yes"


def test_what_was_not_reachable_before_is_not_lost() -> None:
    rack: Document = document(
        "Rack",
        "rack-1",
        {"nodeSelector": "rack == 'rack-1'", "switches": [], "nodeASNumber": 65101},
    )
    rack["spec"]["switches"] = ["tor-1a"]
    lonely = changed(dual_tor(), rack)
    for switch in ("tor-1a", "tor-2a", "tor-2b"):
        document_of = lonely.get("Switch", switch)
        assert document_of is not None
        bare = document_of.to_document()
        bare["spec"].pop("fabricPeers")
        lonely = changed(lonely, bare)
    found = whatif(lonely, "Switch/tor-2a")
    assert not found.lost
    assert row(found, "rack-1", "pods-v4").from_racks.before == "no"


# Names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Switch/tor1a", "there is no Switch/tor1a (did you mean tor-1a?)"),
        ("External/spine-9", "there is no External/spine-9 (did you mean spine-2?)"),
        ("Rack/x", "there is no Rack/x (there are: rack-1, rack-2)"),
        ("RouteReflector/x", "there is no RouteReflector/x (there is none)"),
        ("Link/node-1:tor-2a", "there is no Link/node-1:tor-2a (did you mean node-1:tor-1a?)"),
        ("Link/node-1", "Link/node-1 needs two names with a colon between, as Link/node-1:tor-1a"),
        ("Session/node-1:tor-1a", "there is no Session/node-1:tor-1a (did you mean node-1:tor-1a-ipv6?)"),
        ("tor-1a", "'tor-1a' is not KIND/NAME with one of Node, Switch, RouteReflector, External, Rack, Link, Session"),
    ],
)
def test_what_does_not_exist_is_told_with_what_was_probably_meant(name: str, message: str) -> None:
    with pytest.raises(UnknownName) as unknown:
        whatif(dual_tor(), name)
    assert str(unknown.value) == message


# Every single failure


def names_of(snapshot: Snapshot) -> dict[str, int]:
    return {one.names[0]: len(one.names) for one in every_single_failure(ways_of(snapshot))}


def test_alike_failures_of_the_sample_are_computed_once() -> None:
    assert names_of(dual_tor()) == {
        "Node/node-1": 4,
        "Switch/tor-1a": 2,
        "Switch/tor-1b": 2,
        "External/spine-1": 1,
        "External/spine-2": 1,
        "Rack/rack-1": 2,
        "Link/tor-1a:spine-1": 2,
        "Link/tor-1b:spine-1": 2,
        "Link/tor-1a:spine-2": 2,
        "Link/tor-1b:spine-2": 2,
        "Link/node-1:tor-1a": 4,
        "Link/node-1:tor-1b": 4,
    }


def summary(found: Answer) -> object:
    """What is the same for alike failures: everything but names."""
    rows = [(r.pool, r.is_ipv6, r.prefixes, r.from_racks, r.in_rack, r.from_outside, r.to_outside, r.widths)
            for r in found.rows]  # fmt: skip
    lost = [(one.pool, len(one.racks), one.from_outside, one.to_outside, one.entirely) for one in found.lost]
    return len(found.sessions), sorted(map(repr, rows)), sorted(map(repr, lost)), len(found.own), found.cuts_off


@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_failures_that_are_called_alike_do_alike(case: Case) -> None:
    ways = Ways(case.fabric)
    failures = Failures(case.fabric)
    sorts = list(every_single_failure(ways))
    assert sorted(name for one in sorts for name in one.names) == sorted(n.name for n in failures.every_single_one())
    for one in sorts:
        expected = summary(one.answer)
        for name in one.names[1:]:
            assert summary(answer(ways, [failures.named(name)])) == expected, (one.names[0], name)
