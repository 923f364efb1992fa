"""What is alike is taken for alike, and whatever routes can feel makes a difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from peering.compile import Compiler
from peering.graph import Graph
from peering.resource import Resource
from peering.snapshot import Snapshot
from peering.whatif.fabric import Fabric, fabric_of
from peering.whatif.modules import modules_of
from peering.whatif.partition import Symmetry
from peering.whatif.situation import NOTHING, Failure, Situation
from tests.unit.whatif_fabrics import Document, document, resources

Documents = dict[str, Document]
Change = Callable[[Documents], object]


def rack(number: int) -> list[Document]:
    """Two switches under two spines, three nodes with a link to each."""
    switches = [
        document(
            "Switch",
            f"tor-{number}{side}",
            {
                "asNumber": 65000 + 10 * number + index,
                "addresses": [f"10.0.{number}.{index}/32"],
                "linkSubnets": [f"10.{number}.{index}.0/24"],
                "fabricPeers": [
                    {"name": f"spine-{s}", "address": f"10.25{s}.{number}.{2 * index}", "asNumber": 64999}
                    for s in (1, 2)
                ],
            },
        )
        for index, side in ((1, "a"), (2, "b"))
    ]
    nodes = [
        document(
            "Node",
            f"n{number}{seat}",
            {
                "bgp": {"ipv4Address": f"10.100.{number}.{seat}/32"},
                "uplinks": [
                    {"interface": f"eth{i}", "addresses": [f"10.{number}.{i}.{2 * seat + 1}/31"]} for i in (1, 2)
                ],
            },
            {"rack": f"r{number}", "seat": str(seat)},
        )
        for seat in (1, 2, 3)
    ]
    names = [switch["metadata"]["name"] for switch in switches]
    spec = {"nodeSelector": f"rack == 'r{number}'", "switches": names, "design": "ebgp-as-per-cluster"}
    return [document("Rack", f"r{number}", spec), *switches, *nodes]


def declared() -> list[Document]:
    """Two racks of one kind, two reflectors, a pool."""
    documents = [*rack(1), *rack(2)]
    documents += [
        document("RouteReflector", f"rr-{i}", {"addresses": [f"10.200.0.{i}/32"], "nodeSelector": "has(rack)"})
        for i in (1, 2)
    ]
    documents.append(document("IPPool", "pods", {"cidr": "10.244.0.0/16"}))
    return [*documents, document("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})]


def fabric(change: Change | None = None) -> Fabric:
    """That, and the change."""
    return fabric_of(graph_of(change))


def parsed(documents: Documents) -> list[Resource]:
    return resources(list(documents.values()))


def spec_of(documents: Documents, name: str) -> Document:
    found: Document = documents[name]["spec"]
    return found


def setting(name: str, field: str, value: Any) -> Change:
    return lambda documents: spec_of(documents, name).update({field: value})


def adding(*added: Document) -> Change:
    return lambda documents: documents.update({f"{one['kind']}/{one['metadata']['name']}": one for one in added})


def both(*changes: Change) -> Change:
    def change(documents: Documents) -> None:
        for one in changes:
            one(documents)

    return change


def forms(fabric: Fabric, failure: Failure = NOTHING) -> tuple[int, int]:
    """Of rack 1 and of rack 2."""
    symmetry = Symmetry(fabric, modules_of(fabric))
    shapes = symmetry.partition(Situation(fabric, failure)).shapes
    of = symmetry.modules.of
    return shapes[of["node/n11"].number].form, shapes[of["node/n21"].number].form


def leaves(fabric: Fabric, failure: Failure = NOTHING) -> tuple[int, int]:
    """Of the first two nodes of rack 1."""
    symmetry = Symmetry(fabric, modules_of(fabric))
    leaf_of = symmetry.partition(Situation(fabric, failure)).leaf_of
    return leaf_of["node/n11"], leaf_of["node/n12"]


FILTER = document("BGPFilter", "f", {"importV4": [{"action": "Reject", "cidr": "10.0.0.0/8", "matchOperator": "In"}]})
BY_INTERFACE = document("BGPFilter", "f", {"importV4": [{"action": "Reject", "interface": "eth1"}]})
COMMUNITIES = {"prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["65000:1"]}]}


def peer(selector: str, **fields: Any) -> Document:
    spec = {"nodeSelector": selector, "peerIP": "10.99.0.1", "asNumber": 64888}
    return document("BGPPeer", "p", spec | fields)


def to_nodes(selector: str) -> Document:
    """A session with every node of rack 2."""
    return document("BGPPeer", "p", {"nodeSelector": selector, "peerSelector": IN_RACK_2})


EVERYWHERE = "has(rack)"
IN_RACK_2 = "rack == 'r2'"


def swap_router_ids(documents: Documents) -> None:
    """tor-2b goes before tor-2a now, but not by name."""
    setting("Switch/tor-2a", "routerID", "10.0.2.9")(documents)


def rename_a_switch(documents: Documents) -> None:
    """tor-2a is tor-2z now: last by name, which the spines go by, first by router ID."""
    switch = documents.pop("Switch/tor-2a")
    adding(switch | {"metadata": {"name": "tor-2z"}})(documents)
    setting("Rack/r2", "switches", ["tor-2z", "tor-2b"])(documents)


ALIKE: dict[str, Change | None] = {
    "nothing changed": None,
    "other AS numbers of the switches": setting("Switch/tor-2a", "asNumber", 65019),
    "fewer nodes": lambda documents: documents.pop("Node/n23") and None,
    "the same peer for both": adding(peer(EVERYWHERE)),
    "a full mesh": setting("BGPConfiguration/default", "nodeToNodeMeshEnabled", True),
    "other interfaces": lambda documents: spec_of(documents, "Node/n22")["uplinks"][0].update({"interface": "eth9"}),
    "a filter for both": both(adding(FILTER), adding(peer(EVERYWHERE, filters=["f"]))),
}
DIFFERENT: dict[str, Change] = {
    "downward": setting("Rack/r2", "downward", "default-only"),
    "what is sent to nodes": setting("Rack/r2", "acceptPrefixes", ["192.0.2.0/24"]),
    "how loops are avoided": setting("Rack/r2", "loopCheck", "allow-as-in"),
    "design": setting("Rack/r2", "design", "ebgp-as-per-node"),
    "one switch less": setting("Rack/r2", "switches", ["tor-2a"]),
    "one spine less": lambda documents: spec_of(documents, "Switch/tor-2b")["fabricPeers"].pop(),
    "a router ID on the other side of a reflector's": setting("Switch/tor-2b", "routerID", "10.200.0.9"),
    "a node's router ID on the other side of a reflector's": lambda documents: spec_of(documents, "Node/n22")[
        "bgp"
    ].update({"routerID": "10.200.0.9"}),
    "a node's router ID on the other side of a switch's": lambda documents: spec_of(documents, "Node/n22")[
        "bgp"
    ].update({"routerID": "10.0.0.1"}),
    "order of router IDs against that of addresses": swap_router_ids,
    "order of names against that of router IDs": rename_a_switch,
    "order of the spines' addresses": lambda documents: [
        peer.update({"address": f"10.25{4 - i}.2.2"})
        for i, peer in enumerate(spec_of(documents, "Switch/tor-2b")["fabricPeers"], 1)
    ],
    "the AS of a spine": setting("Switch/tor-2a", "asNumber", 64999),
    "the AS of somebody outside": both(adding(peer(EVERYWHERE)), setting("Switch/tor-2a", "asNumber", 64888)),
    "an AS that a filter names": adding(
        document("BGPFilter", "g", {"importV4": [{"action": "Reject", "asPathPrefix": [65021]}]})
    ),
    "nodes with the AS of a reflector no more": setting("Rack/r2", "nodeASNumber", 64777),
    "a pool for one rack": adding(document("IPPool", "p2", {"cidr": "10.245.0.0/16", "nodeSelector": IN_RACK_2})),
    "a peer": adding(peer(IN_RACK_2)),
    "filters": both(
        adding(FILTER),
        adding(peer("rack == 'r1'"), document("BGPPeer", "q", peer(IN_RACK_2, filters=["f"])["spec"])),
    ),
    "interfaces that filters look at": both(
        adding(BY_INTERFACE, peer(EVERYWHERE, filters=["f"])),
        lambda documents: spec_of(documents, "Node/n22")["uplinks"][0].update({"interface": "eth9"}),
    ),
    "communities": adding(document("BGPConfiguration", "node.n22", COMMUNITIES)),
    "a node with an AS of its own": lambda documents: spec_of(documents, "Node/n22")["bgp"].update({"asNumber": 64777}),
    "a node that reflects": lambda documents: spec_of(documents, "Node/n22")["bgp"].update(
        {"routeReflectorClusterID": "1.1.1.1"}
    ),
    "a node with one link": lambda documents: spec_of(documents, "Node/n22")["uplinks"].pop(),
    "sessions with nodes elsewhere": adding(to_nodes("seat == '2' && rack == 'r1'")),
    "a reflector's host": setting("RouteReflector/rr-1", "node", "n22"),
}
LEAVES_APART: dict[str, Change] = {
    "a session": adding(peer("seat == '1' && rack == 'r1'")),
    "communities": adding(document("BGPConfiguration", "node.n11", COMMUNITIES)),
    "an AS": lambda documents: spec_of(documents, "Node/n11")["bgp"].update({"asNumber": 64777}),
    "a link": lambda documents: spec_of(documents, "Node/n11")["uplinks"].pop(),
    "a second address of a link": lambda documents: spec_of(documents, "Node/n11")["uplinks"][0]["addresses"].append(
        "fd00:1::1/127"
    ),
    "a reflector on it": setting("RouteReflector/rr-1", "node", "n11"),
    "a router ID that is somebody else's": lambda documents: spec_of(documents, "Node/n11")["bgp"].update(
        {"routerID": "10.100.2.1"}
    ),
    "a loopback that others may learn": setting("Rack/r2", "acceptPrefixes", ["10.100.1.1/32"]),
    "a session with another node": adding(to_nodes("seat == '1' && rack == 'r1'")),
    "the order of the switches' addresses": lambda documents: (
        [u.update({"interface": f"eth{3 - i}"}) for i, u in enumerate(spec_of(documents, "Node/n11")["uplinks"], 1)]
        and adding(BY_INTERFACE, peer(EVERYWHERE, filters=["f"]))(documents)
    ),
}


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_racks_that_differ_in_names_only_have_one_form(change: Change | None) -> None:
    one, other = forms(fabric(change))
    assert one == other


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT)
def test_what_routes_can_feel_gives_another_form(change: Change) -> None:
    one, other = forms(fabric(change))
    assert one != other


@pytest.mark.parametrize("change", LEAVES_APART.values(), ids=LEAVES_APART)
def test_what_routes_can_feel_tells_nodes_of_a_rack_apart(change: Change) -> None:
    assert len(set(leaves(fabric()))) == 1
    assert len(set(leaves(fabric(change)))) == 2


def test_what_is_down_tells_racks_and_nodes_apart() -> None:
    plain = fabric()
    link = Failure(links=frozenset({("node/n11", "switch/tor-1a")}))
    for failure in (Failure(frozenset({"switch/tor-1a"})), link):
        one, other = forms(plain, failure)
        assert one != other
    assert len(set(leaves(plain, link))) == 2


def test_racks_that_lose_the_same_are_alike_again() -> None:
    one, other = forms(fabric(), Failure(frozenset({"switch/tor-1a", "switch/tor-2a"})))
    assert one == other


def test_a_single_session_between_nodes_tells_both_from_all_others() -> None:
    mesh = fabric(setting("BGPConfiguration/default", "nodeToNodeMeshEnabled", True))
    edge = next(e for e in mesh.routers["node/n11"].out if e.receiver.id == "node/n21")
    one, other = forms(mesh, Failure(sessions=frozenset({edge})))
    assert one != other
    assert len(set(leaves(mesh, Failure(sessions=frozenset({edge}))))) == 2


def test_an_as_that_another_rack_has_is_not_one_of_the_node_alone() -> None:
    """No reflectors: to one, the type of session would tell."""

    def change(documents: Documents) -> None:
        for name in ("RouteReflector/rr-1", "RouteReflector/rr-2"):
            del documents[name]
        for number in (1, 2):
            setting(f"Rack/r{number}", "design", "ebgp-as-per-node")(documents)
            for seat in (1, 2, 3):
                asn = 65100 if seat == 2 else 65100 + 10 * number + seat
                spec_of(documents, f"Node/n{number}{seat}")["bgp"]["asNumber"] = asn

    assert len(set(leaves(fabric(change)))) == 2


def test_nodes_that_all_speak_to_the_same_ones_are_alike() -> None:
    """Nodes of rack 2 speak to n12, and none to each other."""
    found = fabric(adding(to_nodes("seat == '2' && rack == 'r1'")))
    symmetry = Symmetry(found, modules_of(found))
    leaf_of = symmetry.partition(Situation(found)).leaf_of
    assert leaf_of["node/n21"] == leaf_of["node/n22"] == leaf_of["node/n23"]


def test_a_link_is_felt_in_a_subnet_that_nodes_share() -> None:
    """Without its link to a switch a node still has the other one's; without a session it has both."""

    def change(documents: Documents) -> None:
        for side, last in (("a", 251), ("b", 252)):
            setting(f"Switch/tor-1{side}", "linkSubnets", ["10.1.0.0/24"])(documents)
            setting(f"Switch/tor-1{side}", "linkAddresses", [f"10.1.0.{last}/24"])(documents)
        for seat in (1, 2, 3):
            uplink = {"interface": "bond0", "addresses": [f"10.1.0.{seat}/24"]}
            setting(f"Node/n1{seat}", "uplinks", [uplink])(documents)

    shared = fabric(change)
    session = next(e for e in shared.routers["node/n12"].out if e.receiver.id == "switch/tor-1a")
    failure = Failure(links=frozenset({("node/n11", "switch/tor-1a")}), sessions=frozenset({session}))
    assert len(set(leaves(shared, Failure(sessions=frozenset({session}))))) == 2
    assert len(set(leaves(shared, failure))) == 2


# What only the compiled plan can say.

SessionChange = dict[str, Any]


def with_session(graph: Graph, end: str, peer: str, change: SessionChange) -> Graph:
    """The graph with another session of `speakers/NAME` or `switches/NAME` with a peer (the first one)."""
    group, _, name = end.partition("/")
    plans = dict(getattr(graph, group))
    plan = plans[name]
    first = next(session for session in plan.sessions if session.peer == peer)
    sessions = tuple(replace(s, **change) if s is first else s for s in plan.sessions)
    plans[name] = replace(plan, sessions=sessions)
    changed: dict[str, Any] = {group: plans}
    return replace(graph, **changed)


def graph_of(change: Change | None = None) -> Graph:
    by_name = {f"{one['kind']}/{one['metadata']['name']}": one for one in declared()}
    if change is not None:
        change(by_name)
    return Compiler().graph(Snapshot(parsed(by_name)))[0]


ENDS = {
    "node": ("speakers/n22", "switch/tor-2a"),
    "switch": ("switches/tor-2a", "node/n22"),
    "reflector": ("reflectors/rr-1", "node/n22"),
    "fabric": ("switches/tor-2a", "external"),
}
FELT: list[tuple[str, SessionChange]] = [
    ("node", {"allow_as_in": 2}),
    ("node", {"families": ("ipv4-unicast", "ipv6-unicast")}),
    ("node", {"import_filters": ("f",)}),
    ("node", {"export_filters": ("f",)}),
    ("node", {"local_asn": 64513}),
    ("switch", {"next_hop": "keep"}),
    ("switch", {"as_override": False}),
    ("switch", {"rr_client": True}),
    ("switch", {"local_asn": 64513}),
    ("reflector", {"next_hop": "self"}),
    ("reflector", {"rr_client": False}),
    ("reflector", {"export_filters": ("f",)}),
    ("fabric", {"allow_as_in": 1}),
    ("fabric", {"next_hop": "keep"}),
    ("fabric", {"type": "ibgp"}),
]
NOT_FELT: list[tuple[str, SessionChange]] = [
    ("node", {"hold_time": 3}),
    ("node", {"name": "another"}),
    ("switch", {"max_prefixes": 7}),
    ("fabric", {"graceful_restart_time": 7}),
]


@pytest.mark.parametrize(("end", "change"), FELT, ids=str)
def test_parameters_of_a_session_that_routes_feel(end: str, change: SessionChange) -> None:
    one, other = forms(fabric_of(with_session(graph_of(), *ENDS[end], change)))
    assert one != other


@pytest.mark.parametrize(("end", "change"), NOT_FELT, ids=str)
def test_parameters_of_a_session_that_routes_do_not_feel(end: str, change: SessionChange) -> None:
    one, other = forms(fabric_of(with_session(graph_of(), *ENDS[end], change)))
    assert one == other


def test_add_path_is_felt_where_both_ends_speak_it() -> None:
    sending = with_session(graph_of(), *ENDS["reflector"], {"add_paths": "send"})
    one, other = forms(fabric_of(sending))
    assert one == other
    both_ends = with_session(sending, "speakers/n22", "reflector/rr-1", {"add_paths": "receive"})
    one, other = forms(fabric_of(both_ends))
    assert one != other


def test_a_session_across_the_network_is_not_one_over_a_link() -> None:
    over_loopbacks = both(*(setting(f"Rack/r{n}", "peerAddresses", "loopbacks") for n in (1, 2)))
    found = graph_of(over_loopbacks)
    one, other = forms(fabric_of(found))
    assert one == other
    one, other = forms(fabric_of(with_session(found, *ENDS["node"], {"reachable_by": None})))
    assert one != other


def test_what_a_node_may_learn_is_felt() -> None:
    found = graph_of()
    speakers = {**found.speakers, "n22": replace(found.speakers["n22"], imports=())}
    one, other = forms(fabric_of(replace(found, speakers=speakers)))
    assert one != other


def test_a_node_that_had_sessions_over_links_does_not_trust_the_network_beneath() -> None:
    """n11 loses them, n12 never had any: what is left looks the same."""
    found = graph_of()
    plan = found.speakers["n12"]
    rest = tuple(session for session in plan.sessions if session.peer.startswith("reflector/"))
    flat = fabric_of(replace(found, speakers={**found.speakers, "n12": replace(plan, sessions=rest)}))
    sessions = frozenset(e for e in flat.routers["node/n11"].out if e.receiver.kind == "switch")
    assert len(set(leaves(flat, Failure(sessions=sessions)))) == 2


def kinds(change: Change | None = None) -> list[Any]:
    """Of the blocks of n11 and n12, then of their loopbacks."""
    found = fabric(change)
    symmetry = Symmetry(found, modules_of(found))
    nodes = [found.routers[name] for name in ("node/n11", "node/n12")]
    pairs = [(node, origin) for loopback in (False, True) for node in nodes for origin in found.origins[node.id]
             if (origin.pool is None) is loopback]  # fmt: skip
    return [symmetry.kinds.of(node, origin) for node, origin in pairs]


def test_prefixes_of_one_pool_are_of_one_kind_and_loopbacks_of_another() -> None:
    blocks, others, loopback, other_loopback = kinds()
    assert blocks == others
    assert loopback == other_loopback
    assert blocks != loopback


ONE_BLOCK = {"cidr": "10.244.0.0/26", "matchOperator": "Equal"}
KINDS_APART: dict[str, Change] = {
    "a rule of a filter": adding(document("BGPFilter", "f", {"exportV4": [{"action": "Reject"} | ONE_BLOCK]})),
    "communities": adding(
        document(
            "BGPConfiguration", "default", {"prefixAdvertisements": [{"cidr": "10.244.0.0/26", "communities": ["1:1"]}]}
        )
    ),
}


@pytest.mark.parametrize("change", KINDS_APART.values(), ids=KINDS_APART)
def test_what_one_rule_takes_and_another_does_not_is_of_two_kinds(change: Change) -> None:
    block, other = kinds(change)[:2]
    assert block != other


def test_a_loopback_that_other_nodes_may_learn_is_of_its_own_kind() -> None:
    loopback, other = kinds(setting("Rack/r2", "acceptPrefixes", ["10.100.1.1/32"]))[2:]
    assert loopback != other


def test_a_loopback_that_a_switch_of_the_rack_does_not_know_is_of_its_own_kind() -> None:
    loopback, other = kinds(lambda documents: spec_of(documents, "Node/n12")["uplinks"].pop())[2:]
    assert loopback != other


def test_blocks_of_no_pool_those_that_stay_home_and_loopbacks_are_of_three_kinds() -> None:
    """Nodes alone: no switch's rules tell them apart."""

    def change(documents: Documents) -> None:
        for name in [name for name in documents if name.startswith(("Rack/", "Switch/", "RouteReflector/"))]:
            del documents[name]
        pool = document("IPPool", "home", {"cidr": "10.246.0.0/24", "blockSize": 32, "disableBGPExport": True})
        adding(pool, *map(affinity, ("10.246.0.1/32", "10.247.0.1/32")))(documents)

    found = fabric(change)
    symmetry = Symmetry(found, modules_of(found))
    node = found.routers["node/n11"]
    assert len({symmetry.kinds.of(node, origin) for origin in found.origins[node.id]} - {None}) == 3


def affinity(cidr: str) -> Document:
    name = "n11-" + cidr.replace(".", "-").replace("/", "-")
    return document("BlockAffinity", name, {"node": "n11", "cidr": cidr, "state": "confirmed"})


def test_pools_that_stay_home_are_of_their_own_kind() -> None:
    pool = document("IPPool", "home", {"cidr": "10.246.0.0/16", "disableBGPExport": True})
    found = kinds(adding(pool))
    assert len(set(found)) == 3


def test_prefixes_that_overlap_or_are_said_twice_are_like_no_other() -> None:
    overlapping = kinds(adding(document("IPPool", "loop", {"cidr": "10.100.1.0/26", "blockSize": 26})))
    assert overlapping.count(None) == 3
    twice = fabric(lambda documents: spec_of(documents, "Node/n21")["bgp"].update({"ipv4Address": "10.100.1.1/32"}))
    symmetry = Symmetry(twice, modules_of(twice))
    node = twice.routers["node/n11"]
    loopback = next(origin for origin in twice.origins[node.id] if origin.pool is None)
    assert symmetry.kinds.of(node, loopback) is None
