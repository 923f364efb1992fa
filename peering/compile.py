"""`plan()`: the one pure function that decides who peers with whom.

    declared ─► Snapshot ─► plan() ─┬─► speakers[node]       (what ExaBGP is told)
                                    ├─► reflectors[name]     (neighbours, ownership)
                                    ├─► switches[switch]     (what is rendered)
                                    └─► problems             (what lint says)

Lint, admission, the speaker and the renderer call this and nothing else, so what is accepted is what works. No clock,
no I/O, no randomness: the same snapshot gives the same bytes. Racks, RouteReflectors, BGPPeers and the mesh *offer*
sessions to ends (rack_sessions, reflector_sessions, peer_sessions, node_sessions); each end keeps one for an address
(offers.py). A `Compiler` remembers what it made (memo.py), so that one changed node costs one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from peering import addressing, lint, node_sessions, switch_plans
from peering.facts import NodeFacts, node_facts
from peering.graph import Graph
from peering.memo import Memo, no_collections
from peering.node_index import NodeIndex
from peering.offers import End, Offer, Settled, settle
from peering.peer_sessions import PeerView, peer_offers, peer_views
from peering.peer_targets import LinkIndex, Targets
from peering.problems import Problem, ordered
from peering.rack_sessions import RackView, rack_offers, rack_views
from peering.reflector_sessions import ReflectorView, client_offers, peering_offers, reflector_plan, reflector_views
from peering.resources.fabric import SwitchSpec
from peering.resources.pools import IPPoolSpec
from peering.services import ranges_of
from peering.session import Plan, PrefixRule, ReflectorPlan, Session, SpeakerPlan, SwitchPlan
from peering.snapshot import Snapshot

V = TypeVar("V")

Found = Offer | Problem


def plan(snapshot: Snapshot) -> Plan:
    """The session graph of what is declared, and every problem of it."""
    return Compiler().plan(snapshot)


class Compiler:
    """Compiles one snapshot after the other. Each plan is what `plan()` gives; only the time to it differs."""

    def __init__(self) -> None:
        self._memo = Memo()
        self._lint = lint.Memo()

    def plan(self, snapshot: Snapshot) -> Plan:
        """The session graph of what is declared, and every problem of it."""
        with no_collections():
            graph, problems = self.graph(snapshot)
            return Plan(
                speakers=dict(graph.speakers),
                reflectors=dict(graph.reflectors),
                switches=dict(graph.switches),
                problems=ordered([*problems, *lint.check(graph, self._lint)]),
            )

    def graph(self, snapshot: Snapshot) -> tuple[Graph, list[Problem]]:
        """The graph before it is judged, and what went wrong while it was made."""
        with no_collections():
            return self._graph(snapshot)

    def _graph(self, snapshot: Snapshot) -> tuple[Graph, list[Problem]]:
        problems: list[Problem] = []
        index = NodeIndex(snapshot.all("Node"))
        racks = rack_views(snapshot, self._memo, problems)
        specs = {name: view.spec for name, view in racks.items()}
        nodes = node_facts(snapshot, specs, index, self._memo, problems)
        reflectors = reflector_views(snapshot, self._memo, problems)
        found = self._offers(snapshot, index, racks, nodes, reflectors)
        settled = self._settle(found, problems)
        graph = Graph(
            snapshot=snapshot,
            nodes=nodes,
            racks=specs,
            speakers=self._speakers(snapshot, nodes, settled),
            reflectors=self._reflectors(reflectors, settled),
            switches=self._switches(snapshot, racks, nodes, settled, problems),
        )
        self._memo.turn()
        return graph, problems

    def _offers(
        self,
        snapshot: Snapshot,
        index: NodeIndex,
        racks: Mapping[str, RackView],
        nodes: dict[str, NodeFacts],
        reflectors: Mapping[str, ReflectorView],
    ) -> Iterable[Found]:
        """What every declaration gives to every end."""
        switches = snapshot.specs("Switch", SwitchSpec)
        peers = peer_views(snapshot, Targets(nodes, reflectors, switches), self._memo)
        links = self._memo.table("links").get("", tuple(snapshot.all("Switch").values()), LinkIndex)
        peers_of = _by_node((p, p.selected(index, nodes)) for p in peers if p.spec.peer_ip)
        clients_of = {
            name: index.select(view.spec.node_selector) if view.spec.node_selector is not None else []
            for name, view in reflectors.items()
        }
        reflectors_of = _by_node((reflectors[name], clients) for name, clients in clients_of.items())
        parts = self._memo.table("parts")
        for name, node in nodes.items():
            rack = racks[node.rack] if node.rack else None
            inputs = (node, rack, tuple(peers_of.get(name, ())), tuple(reflectors_of.get(name, ())), links)
            yield from parts.get(name, inputs, _part)
        yield from node_sessions.selector_offers(peers, index, nodes, self._memo)
        configuration = snapshot.configuration()
        members = node_sessions.mesh_members(configuration, nodes, frozenset(reflectors_of))
        yield from node_sessions.mesh_offers(configuration, members, nodes, self._memo)
        yield from peering_offers(reflectors, switches)
        fabric, mates = self._memo.table("fabric"), switch_plans.rack_mates(racks, switches)
        for name, resource in snapshot.all("Switch").items():
            yield from fabric.get(name, (resource, mates.get(name, ())), switch_plans.fabric_offers)

    def _settle(self, found: Iterable[Found], problems: list[Problem]) -> dict[End, tuple[Session, ...]]:
        """The sessions of every end. Nodes first: what a node does not keep, its other end does not have either."""
        offers: dict[End, list[Offer]] = {}
        for one in found:
            if isinstance(one, Problem):
                problems.append(one)
            else:
                offers.setdefault(one.end, []).append(one)
        kept = self._memo.table("settled")
        sessions = {}
        dropped: set[tuple[str, Session]] = set()
        for end, offered in sorted(offers.items(), key=lambda item: item[0][0] != "node"):
            if dropped:
                offered = [o for o in offered if o.near is None or (o.session.peer, o.near) not in dropped]
            settled: Settled = kept.get(end, tuple(offered), settle)
            dropped.update(("/".join(end), session) for session in settled.dropped)
            problems += settled.problems
            sessions[end] = settled.sessions
        return sessions

    def _speakers(
        self, snapshot: Snapshot, nodes: Mapping[str, NodeFacts], sessions: Mapping[End, tuple[Session, ...]]
    ) -> dict[str, SpeakerPlan]:
        pools, unexported = addressing.exported_pools(snapshot), addressing.unexported_pools(snapshot)
        aggregates = addressing.aggregates(pools, "pool")
        borrowable = addressing.borrowable_pools(snapshot)
        imports = self._memo.table("imports")
        kept = self._memo.table("speakers")
        plans = {}
        for name, node in nodes.items():
            rules = imports.get(node.accept_prefixes, (pools, borrowable, node.accept_prefixes), _imports)
            plans[name] = kept.get(
                name, (node, sessions.get(("node", name), ()), rules, unexported, aggregates), _speaker
            )
        return plans

    def _reflectors(
        self, reflectors: Mapping[str, ReflectorView], sessions: Mapping[End, tuple[Session, ...]]
    ) -> dict[str, ReflectorPlan]:
        kept = self._memo.table("reflector plans")
        return {
            name: kept.get(name, (view, sessions.get(("reflector", name), ())), reflector_plan)
            for name, view in reflectors.items()
        }

    def _switches(
        self,
        snapshot: Snapshot,
        racks: Mapping[str, RackView],
        nodes: Mapping[str, NodeFacts],
        sessions: Mapping[End, tuple[Session, ...]],
        problems: list[Problem],
    ) -> dict[str, SwitchPlan]:
        rack_of = switch_plans.racks_of_switches(racks, problems)
        pools, borrowable = addressing.exported_pools(snapshot), addressing.borrowable_pools(snapshot)
        services = ranges_of(snapshot.configuration())
        kept = self._memo.table("switches")
        plans: dict[str, SwitchPlan] = {}
        for name, resource in snapshot.all("Switch").items():
            mine = sessions.get(("switch", name), ())
            names = dict.fromkeys(s.peer.removeprefix("node/") for s in mine if s.peer.startswith("node/"))
            inputs = (resource, rack_of.get(name), mine, tuple(nodes[n] for n in names), pools, borrowable, services)
            plans[name] = kept.get(name, inputs, switch_plans.switch_plan)
            problems += switch_plans.router_id_problem(name, plans[name])
        return plans


def _by_node(selections: Iterable[tuple[V, list[str]]]) -> dict[str, list[V]]:
    """What selects each node, in the order given."""
    of: dict[str, list[V]] = {}
    for view, names in selections:
        for name in names:
            of.setdefault(name, []).append(view)
    return of


def _part(
    node: NodeFacts,
    rack: RackView | None,
    peers: tuple[PeerView, ...],
    reflectors: tuple[ReflectorView, ...],
    links: LinkIndex,
) -> tuple[Found, ...]:
    """What is offered because of one node, apart from its sessions with other nodes."""
    found: list[Found] = list(rack_offers(node, rack)) if rack else []
    for reflector in reflectors:
        found += client_offers(node, reflector)
    for peer in peers:
        found += peer_offers(node, peer, links)
    return tuple(found)


def _speaker(
    node: NodeFacts,
    sessions: tuple[Session, ...],
    imports: tuple[PrefixRule, ...],
    unexported: tuple[str, ...],
    aggregates: tuple[str, ...],
) -> SpeakerPlan:
    return SpeakerPlan(
        asn=node.asn,
        router_id=node.router_id,
        sessions=sessions,
        loopbacks=node.loopbacks,
        imports=imports if sessions else (),
        uplink_subnets=tuple(sorted({addressing.subnet_of(a) for _, a in node.uplinks})),
        unexported=unexported,
        aggregates=aggregates,
        cluster_id=node.cluster_id,
        listen_port=node.listen_port,
    )


def _imports(
    pools: tuple[IPPoolSpec, ...], borrowable: tuple[IPPoolSpec, ...], accept_prefixes: tuple[str, ...]
) -> tuple[PrefixRule, ...]:
    """What a node may learn: a default route, pools down to a block, single addresses where nodes borrow from each
    other, and what its rack allows besides."""
    rules = [PrefixRule("0.0.0.0/0", 0, 0), PrefixRule("::/0", 0, 0)]
    rules += addressing.pool_rules(pools)
    rules += addressing.address_rules(borrowable, None)
    rules += [addressing.inside(cidr) for cidr in accept_prefixes]
    return tuple(sorted(set(rules), key=lambda r: (":" in r.cidr, r.cidr, r.max_length)))
