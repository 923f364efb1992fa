"""Problems of the whole graph: what only shows when every session is known.

Each check is a function from the compiled graph to problems; `CHECKS` is the list. Codes are stable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from peering import addressing
from peering.facts import NodeFacts
from peering.problems import Problem
from peering.resources.calico import BGPConfigurationSpec, BGPPeerSpec, IPPoolSpec
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.resources.observed import SecretSpec
from peering.session import Session, SpeakerPlan, SwitchPlan
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Graph:
    """What the checks look at."""

    snapshot: Snapshot
    nodes: Mapping[str, NodeFacts]
    speakers: Mapping[str, SpeakerPlan]
    switches: Mapping[str, SwitchPlan]


def check(
    snapshot: Snapshot,
    nodes: Mapping[str, NodeFacts],
    speakers: Mapping[str, SpeakerPlan],
    switches: Mapping[str, SwitchPlan],
) -> list[Problem]:
    """Every problem that every check finds."""
    graph = Graph(snapshot, nodes, speakers, switches)
    return [problem for one in CHECKS for problem in one(graph)]


def _nodes_without_session(graph: Graph) -> Iterator[Problem]:
    for name, speaker in graph.speakers.items():
        if not speaker.sessions:
            hint = "its pods will not be reachable; check the nodeSelectors of racks and BGPPeers"
            yield Problem("warning", "node-without-session", f"Node/{name}", "", "has no BGP session", hint)


def _mesh(graph: Graph) -> Iterator[Problem]:
    configuration = graph.snapshot.get("BGPConfiguration", "default")
    if configuration is not None:
        spec = configuration.spec
        assert isinstance(spec, BGPConfigurationSpec)
        if "node_to_node_mesh_enabled" in spec.model_fields_set and spec.node_to_node_mesh_enabled:
            yield Problem(
                "warning",
                "ignored-field",
                configuration.ref,
                "spec.nodeToNodeMeshEnabled",
                "has no effect: nodes peer with their switches and BGPPeers only",
                "set it to false",
            )
    for name in graph.snapshot.all("BGPConfiguration"):
        if name != "default":
            yield Problem(
                "warning",
                "ignored-field",
                f"BGPConfiguration/{name}",
                "metadata.name",
                "has no effect: only BGPConfiguration/default is read",
                "set a node's AS in Node spec.bgp.asNumber",
            )


def _ignored_keepalive(graph: Graph) -> Iterator[Problem]:
    """ExaBGP sends a keepalive at a third of the hold time, whatever is asked."""
    for name, peer in graph.snapshot.specs("BGPPeer", BGPPeerSpec).items():
        if peer.keepalive_time not in (None, peer.hold_time // 3):
            yield Problem(
                "warning",
                "ignored-field",
                f"BGPPeer/{name}",
                "spec.keepaliveTime",
                f"has no effect: the speaker sends a keepalive every {peer.hold_time // 3}s, a third of the hold time",
                "set holdTime to three times the keepalive time you want",
            )


def _as_pairs(graph: Graph) -> Iterator[Problem]:
    """A node with an AS of its own must still fit the design of its rack."""
    racks = graph.snapshot.specs("Rack", RackSpec)
    for name, speaker in graph.speakers.items():
        rack = racks.get(graph.nodes[name].rack or "")
        wrong = [s for s in speaker.sessions if rack and s.source.startswith("Rack/") and _misfits(rack, s)]
        if rack and wrong:
            message = (
                f"AS {speaker.asn} does not fit design {rack.design} with {wrong[0].peer} (AS {wrong[0].peer_asn})"
            )
            hint = "leave asNumber to the rack, or change the design"
            yield Problem("error", "as-pair-impossible", f"Node/{name}", "spec.bgp.asNumber", message, hint)


def _misfits(rack: RackSpec, session: Session) -> bool:
    return (session.type == "ibgp") is not (rack.design == "ibgp-tor-reflects")


def _racks_sharing_an_as(graph: Graph) -> Iterator[Problem]:
    """Nodes of two racks with one AS drop each other's routes: RFC 4271, 9.1.2, the AS loop check."""
    first: dict[int, str] = {}
    for node in sorted(graph.nodes.values(), key=lambda n: n.rack or ""):
        if node.rack is None:
            continue
        other = first.setdefault(node.asn, node.rack)
        if other != node.rack:
            message = f"its nodes have AS {node.asn}, and so have those of Rack/{other}: each drops the other's routes"
            hint = "give each rack an AS of its own"
            yield Problem("error", "as-shared-by-racks", f"Rack/{node.rack}", "spec.nodeASNumber", message, hint)


def _ignored_pool_fields(graph: Graph) -> Iterator[Problem]:
    for name, pool in graph.snapshot.specs("IPPool", IPPoolSpec).items():
        if pool.nat_outgoing:
            yield Problem(
                "warning",
                "ignored-field",
                f"IPPool/{name}",
                "spec.natOutgoing",
                "has no effect: pods keep their own addresses",
                "set it to false",
            )


def _pool_overlaps(graph: Graph) -> Iterator[Problem]:
    """Pools against each other, and against the addresses of the fabric itself."""
    pools = graph.snapshot.specs("IPPool", IPPoolSpec)
    fabric = [
        (f"Switch/{name}", cidr)
        for name, switch in graph.snapshot.specs("Switch", SwitchSpec).items()
        for cidr in (*switch.link_subnets, *switch.addresses)
    ]
    fabric += [(f"Node/{node.name}", address) for node in graph.nodes.values() for address in node.loopbacks]
    names = sorted(pools)
    for index, name in enumerate(names):
        mine = addressing.network(pools[name].cidr)
        others = [(f"IPPool/{other}", pools[other].cidr) for other in names[:index]] + fabric
        for other, cidr in others:
            theirs = addressing.network(addressing.subnet_of(cidr))
            if mine.version == theirs.version and mine.overlaps(theirs):
                yield Problem(
                    "error",
                    "pool-overlap",
                    f"IPPool/{name}",
                    "spec.cidr",
                    f"{pools[name].cidr} overlaps {cidr} of {other}",
                    "pools must not contain other addresses",
                )


def _duplicates(graph: Graph) -> Iterator[Problem]:
    """Router IDs and addresses that two routers share: their routes would be mistaken for each other's."""
    yield from _shared("duplicate-router-id", "router ID", _router_ids(graph))
    yield from _shared("duplicate-address", "address", _addresses(graph))


def _router_ids(graph: Graph) -> Iterator[tuple[str, str]]:
    yield from ((n.router_id, f"Node/{n.name}") for n in graph.nodes.values() if n.router_id != "0.0.0.0")
    yield from ((s.router_id, f"Switch/{n}") for n, s in graph.switches.items() if s.router_id != "0.0.0.0")


def _addresses(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes.values():
        yield from ((address, f"Node/{node.name}") for address in node.loopbacks)
        yield from ((addressing.bare(address), f"Node/{node.name}") for _, address in node.uplinks)
    for name, switch in graph.snapshot.specs("Switch", SwitchSpec).items():
        yield from ((addressing.bare(address), f"Switch/{name}") for address in switch.addresses)


def _shared(code: str, what: str, owners: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for value, owner in owners:
        other = first.setdefault(value, owner)
        if other != owner:
            yield Problem("error", code, owner, "spec", f"has {what} {value}, and so has {other}", "give it its own")


def _missing_secrets(graph: Graph) -> Iterator[Problem]:
    """Only where secrets are known at all: a folder of manifests usually has none of them."""
    secrets = graph.snapshot.specs("Secret", SecretSpec)
    sessions: list[Session] = [s for speaker in graph.speakers.values() for s in speaker.sessions]
    for source, ref in sorted({(s.source, s.password) for s in sessions if s.password}, key=str):
        if ref.name not in secrets or ref.key not in secrets[ref.name].values:
            hint = f"apply a Secret {ref.name} with the key {ref.key}; until then these sessions stay down"
            message = f"there is no key {ref.key!r} in Secret/{ref.name}"
            yield Problem("warning", "missing-secret", source, "spec.password.secretKeyRef", message, hint)


CHECKS: tuple[Callable[[Graph], Iterable[Problem]], ...] = (
    _nodes_without_session,
    _mesh,
    _ignored_pool_fields,
    _ignored_keepalive,
    _as_pairs,
    _racks_sharing_an_as,
    _pool_overlaps,
    _duplicates,
    _missing_secrets,
)
