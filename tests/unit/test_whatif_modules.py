"""Where a fabric comes apart, and what is noticed when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from peering.bestpath import Path
from peering.compile import Compiler
from peering.prefixes import pack_address, pack_prefix
from peering.snapshot import Snapshot
from peering.whatif import ways as ways_module
from peering.whatif.answers import answer
from peering.whatif.exchange import Candidate, Selection
from peering.whatif.fabric import Fabric, fabric_of
from peering.whatif.failures import Failures
from peering.whatif.modules import Guard, Trespass, modules_of
from peering.whatif.routers import Advertisement
from peering.whatif.ways import TooEntangled, Ways
from tests.unit.samples import dual_tor
from tests.unit.whatif_fabrics import document, resources


def fabric(snapshot: Snapshot) -> Fabric:
    return fabric_of(Compiler().graph(snapshot)[0])


def groups(found: Fabric) -> set[frozenset[str]]:
    return {frozenset(router.name for router in module.routers) for module in modules_of(found).all}


def test_racks_meet_in_the_spines() -> None:
    found = fabric(dual_tor())
    assert groups(found) == {
        frozenset({"tor-1a", "tor-1b", "node-1", "node-2"}),
        frozenset({"tor-2a", "tor-2b", "node-3", "node-4"}),
    }
    assert modules_of(found).core == {"external/spine-1", "external/spine-2"}


def test_switches_beside_a_reflector_are_core_and_their_nodes_stand_alone() -> None:
    reflector = {
        "addresses": ["10.3.0.1/32"],
        "nodeSelector": "all()",
        "fabricPeers": [{"name": "tor", "address": "10.0.1.1", "asNumber": 65011}],
    }
    found = fabric(dual_tor().with_changes(resources([document("RouteReflector", "rr", reflector)])))
    assert {"reflector/rr", "switch/tor-1a"} <= modules_of(found).core
    assert frozenset({"tor-2a", "tor-2b", "node-3", "node-4"}) in groups(found)


def test_a_node_that_reflects_is_core_with_its_switches() -> None:
    snapshot = dual_tor()
    node = snapshot.get("Node", "node-1")
    assert node is not None
    reflecting = node.to_document()
    reflecting["spec"]["bgp"]["routeReflectorClusterID"] = "1.1.1.1"
    core = modules_of(fabric(snapshot.with_changes(resources([reflecting])))).core
    assert {"node/node-1", "switch/tor-1a", "switch/tor-1b"} <= core
    assert "switch/tor-2a" not in core


def candidate(found: Fabric, sender: str, receiver: str, **path: Any) -> Candidate:
    edge = next(edge for edge in found.routers[sender].out if edge.receiver.id == receiver)
    address = pack_address("10.0.0.1")
    router_id = path.pop("router_id", edge.sender.router_id)
    return Candidate(
        Advertisement(address), edge, Path(peer=edge.peer, next_hop=edge.peer, ebgp=True, router_id=router_id, **path)
    )


def guard_of(found: Fabric) -> Guard:
    return Guard(found, modules_of(found))


def test_a_module_may_speak_of_its_own_prefixes_only() -> None:
    found = fabric(dual_tor())
    guard = guard_of(found)
    out = next(e for e in found.routers["switch/tor-1a"].out if e.receiver.id == "external/spine-1")
    guard.spoke(found.origins["node/node-1"][0].prefix, out)
    for foreign in (found.origins["node/node-3"][0].prefix, pack_prefix("0.0.0.0/0")):
        with pytest.raises(Trespass):
            guard.spoke(foreign, out)
        guard.spoke(foreign, out.reverse)


def test_names_may_decide_within_a_module_and_not_between_two() -> None:
    found = fabric(dual_tor())
    guard, spine = guard_of(found), found.routers["external/spine-1"]
    mine = [candidate(found, f"switch/tor-1{side}", "external/spine-1") for side in "ab"]
    other = candidate(found, "switch/tor-2a", "external/spine-1")
    guard.chose(spine, Selection(mine[0], tuple(mine), tuple(mine), "router ID"))
    between = (mine[0], other)
    with pytest.raises(Trespass):
        guard.chose(spine, Selection(mine[0], between, between, "router ID"))
    guard.chose(spine, Selection(mine[0], between, between, "AS path length"))


def test_an_originator_counts_as_somebody_of_its_module() -> None:
    found = fabric(dual_tor())
    elsewhere = found.routers["node/node-3"].router_id
    spine = found.routers["external/spine-1"]
    pair = (
        candidate(found, "switch/tor-1a", "external/spine-1"),
        candidate(found, "switch/tor-1b", "external/spine-1", router_id=elsewhere),
    )
    with pytest.raises(Trespass):
        guard_of(found).chose(spine, Selection(pair[0], pair, pair, "router ID"))
    worse = (pair[0], candidate(found, "switch/tor-1b", "external/spine-1", router_id=elsewhere, local_preference=50))
    guard_of(found).chose(spine, Selection(worse[0], worse[:1], worse, "router ID"))


def entangled() -> Snapshot:
    """Rack 2 takes rack 1's routes, which its spine hands on within its own AS, for those of its own nodes."""
    snapshot = dual_tor("dual-tor-ibgp")
    for name in ("Switch/tor-2a", "Switch/tor-2b", "Rack/rack-2"):
        resource = snapshot.get(*name.split("/"))
        assert resource is not None
        changed = resource.to_document()
        if changed["kind"] == "Rack":
            changed["spec"].update({"design": "ebgp-as-per-rack", "nodeASNumber": 65001})
        else:
            changed["spec"]["asNumber"] = 65000
            changed["spec"]["fabricPeers"][1].update({"name": "border", "asNumber": 65003})
        snapshot = snapshot.with_changes(resources([changed]))
    return snapshot


def test_where_racks_pass_on_each_others_routes_every_router_is_computed() -> None:
    ways = Ways(fabric(entangled()))
    found = answer(ways, [Failures(ways.fabric).named("Switch/tor-2a")])
    assert ways.one_by_one
    assert not found.cuts_off


def test_and_that_is_too_much_for_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_module, "MOST_NODES_ONE_BY_ONE", 3)
    ways = Ways(fabric(entangled()))
    with pytest.raises(TooEntangled):
        answer(ways, [Failures(ways.fabric).named("Switch/tor-2a")])
