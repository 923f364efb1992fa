"""From a declaration and its plan to the blueprint of a lab.

    cables ─► ports, numbered in the order of the cables ─► nodes

Spines, and the world outside behind them, are not ours to configure: they are made as routers of a few lines, so that
every session of the plan has another end and a default route comes down. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_interface

from containerlab.blueprint import Blueprint, LabNode, Neighbor, Port, Role, Router, Wire, is_port_name, natural
from containerlab.cables import Cable, End, node_cables, pair_cables, reflector_cables, spine_cables
from containerlab.kinds import LabKind
from peering.addressing import bare, far_end, host_of
from peering.problems import Problem
from peering.resources.fabric import FabricPeer, SwitchSpec
from peering.resources.node import NodeSpec
from peering.resources.route_reflector import RouteReflectorSpec
from peering.session import Plan, Session
from peering.snapshot import Snapshot

#: For measuring only (RFC 2544, RFC 5180), so no fabric has them: the links between spines and the edge.
_EDGE_LINKS = ("198.18.{n}.{end}/31", "2001:2:0:{n:x}::{end}/127")
#: For documentation only (RFC 5737, RFC 3849): the host behind the edge, which pods are reached from.
_OUTSIDE = ("203.0.113.10/32", "2001:db8:ffff::10/128")
_EDGE_NAMES = ("edge", "outside", "lab-edge")
_EDGE_ASN = 65500
_EDGE_HOLD = 9
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def draft(snapshot: Snapshot, plan: Plan, kinds: Mapping[str, LabKind]) -> tuple[Blueprint, list[Problem]]:
    """`kinds`: what each switch of the plan is to be. The blueprint is of use only where no problem is an error."""
    return _Draft(snapshot, plan, kinds).build()


class _Draft:
    def __init__(self, snapshot: Snapshot, plan: Plan, kinds: Mapping[str, LabKind]) -> None:
        self.plan, self.kinds = plan, kinds
        self.switches = {n: s for n, s in snapshot.specs("Switch", SwitchSpec).items() if n in plan.switches}
        self.hosts = {n: s for n, s in snapshot.specs("Node", NodeSpec).items() if n in plan.speakers}
        self.snapshot = snapshot
        self.problems: list[Problem] = []
        self.ports: dict[str, list[Port]] = {}
        self.wires: list[Wire] = []
        self.taken: dict[str, set[str]] = {}
        self.spines: dict[str, str] = {}

    def build(self) -> tuple[Blueprint, list[Problem]]:
        upward = [self._named(cable) for cable in self._kept(spine_cables(self.switches))]
        pairs = self._kept(pair_cables(self.switches))
        edge = self._edge_name()
        outward = [self._edge_cable(edge, spine, n) for n, spine in enumerate(self.spines.values())]
        hosts = sorted(self.hosts, key=natural)
        down = [c for name in hosts for c in self._kept(node_cables(name, self.hosts[name], self.switches))]
        beside = self._kept(reflector_cables(self.snapshot, self.switches))
        cables = [*upward, *pairs, *outward, *down, *beside]
        self._reserve(cables)
        for cable in cables:
            self._plug(cable)
        spines = [self._spine(declared, name, edge) for declared, name in self.spines.items()]
        found = [*spines, *self._edge(edge), *self._switch_nodes(), *self._reflectors(), *self._host_nodes(hosts)]
        self.problems += self._loose_ends({node.name for node in found})
        nodes = {node.name: node for node in found}
        if len(nodes) < len(found):
            self.problems.append(_same_name([node.name for node in found]))
        return Blueprint(nodes, tuple(self.wires)), self.problems

    def _kept(self, found: Iterable[Cable | Problem]) -> list[Cable]:
        cables = []
        for one in found:
            if isinstance(one, Problem):
                self.problems.append(one)
            else:
                cables.append(one)
        return cables

    def _named(self, cable: Cable) -> Cable:
        """With a name for the spine that a container can have."""
        declared = cable.b.node
        self.spines.setdefault(declared, _NO_NAME.sub("-", declared).strip("-._") or "spine")
        return replace(cable, b=replace(cable.b, node=self.spines[declared]))

    def _edge_name(self) -> str:
        taken = {*self.switches, *self.hosts, *self.spines.values()}
        return next((name for name in _EDGE_NAMES if name not in taken), _EDGE_NAMES[-1])

    def _edge_cable(self, edge: str, spine: str, number: int) -> Cable:
        upper, lower = (
            tuple(str(ip_interface(text.format(n=number, end=end))) for text in _EDGE_LINKS) for end in (1, 0)
        )
        return Cable(End(spine, lower), End(edge, upper))

    def _reserve(self, cables: Iterable[Cable]) -> None:
        """Interfaces that are declared are not given to others."""
        for end in (end for cable in cables for end in (cable.a, cable.b)):
            self.taken.setdefault(end.node, set()).update({end.interface} if end.interface else ())

    def _plug(self, cable: Cable) -> None:
        ends = [self._port(cable.a, cable.b), self._port(cable.b, cable.a)]
        for end, port in zip((cable.a, cable.b), ends, strict=True):
            self.ports.setdefault(end.node, []).append(port)
        self.wires.append(Wire((cable.a.node, ends[0].name), (cable.b.node, ends[1].name)))

    def _port(self, end: End, far: End) -> Port:
        """The declared interface where a container can have it, else the next one that nobody has declared."""
        kind = self.kinds.get(end.node)
        addresses = () if end.shared else end.addresses
        if end.interface is not None and not end.addresses:
            self.problems += _unnumbered_port(end, kind)
            return Port(name=end.interface, device=end.interface, far=far.node)
        if end.interface is not None and is_port_name(end.interface):
            return Port(name=end.interface, device=end.interface, far=far.node, addresses=addresses)
        taken = self.taken[end.node]
        number = next(n for n in range(1, len(taken) + 2) if _name(kind, n) not in taken)
        taken.add(_name(kind, number))
        device = kind.device_name(number) if kind else _name(kind, number)
        return Port(name=_name(kind, number), device=device, far=far.node, addresses=addresses, shared=end.shared)

    def _spine(self, declared: str, name: str, edge: str) -> LabNode:
        said = [(s, peer) for s, spec in self.switches.items() for peer in spec.fabric_peers if peer.name == declared]
        asns = sorted({peer.as_number for _, peer in said})
        if len(asns) > 1:
            message = f"is AS {asns[0]} to one switch and AS {asns[1]} to another"
            hint = "give them names of their own, or the same AS"
            where = f"Switch/{said[0][0]}"
            self.problems.append(
                Problem("error", "lab-peer-asn", where, "spec.fabricPeers", f"{declared} {message}", hint)
            )
        ports = self.ports[name]
        neighbors = [n for port in ports if port.far in self.switches for n in self._to_switch(port, said)]
        outside = [n for port in ports if port.far == edge for n in _numbered(port, edge, self._edge_asn(), _EDGE_HOLD)]
        router = Router(asn=asns[0], router_id=_router_id(ports, name), neighbors=(*neighbors, *outside))
        return LabNode(name=name, role="spine", ports=tuple(ports), router=router)

    def _to_switch(self, port: Port, said: list[tuple[str, FabricPeer]]) -> Iterator[Neighbor]:
        own = {bare(address) for address in port.addresses}
        hold = next((peer.hold_time for switch, peer in said if switch == port.far and peer.address in own), 90)
        for one in _numbered(port, port.far, self.plan.switches[port.far].asn):
            yield replace(one, hold_time=hold)

    def _edge_asn(self) -> int:
        used = {switch.asn for switch in self.plan.switches.values()} | {s.asn for s in self.plan.speakers.values()}
        used |= {peer.as_number for spec in self.switches.values() for peer in spec.fabric_peers}
        return next(asn for asn in range(_EDGE_ASN, 0, -1) if asn not in used)

    def _edge(self, name: str) -> Iterator[LabNode]:
        """The default route's origin; nothing without spines."""
        ports = self.ports.get(name, ())
        if not ports:
            return
        declared = {name: declared for declared, name in self.spines.items()}
        asns = {peer.name: peer.as_number for spec in self.switches.values() for peer in spec.fabric_peers}
        far = [n for port in ports for n in _numbered(port, port.far, asns[declared[port.far]], _EDGE_HOLD)]
        router = Router(
            asn=self._edge_asn(),
            router_id=bare(_OUTSIDE[0]),
            neighbors=tuple(replace(n, originates_default=True) for n in far),
            networks=_OUTSIDE,
            sources=tuple(bare(a) for a in _OUTSIDE),
        )
        yield LabNode(name=name, role="edge", loopbacks=_OUTSIDE, ports=tuple(ports), router=router)

    def _switch_nodes(self) -> Iterator[LabNode]:
        for name in sorted(self.switches, key=natural):
            spec, kind, ports = self.switches[name], self.kinds[name], tuple(self.ports.get(name, ()))
            where = f"Switch/{name}"
            if not ports:
                hint = "it has neither fabricPeers nor nodes with an uplink to it; it is left out of the lab"
                self.problems.append(Problem("warning", "lab-left-out", where, "spec", "has no link", hint))
                continue
            self.problems += self._no_way_up(where, spec)
            bridge = spec.link_addresses if any(port.shared for port in ports) else ()
            self.problems += _kind_problems(where, kind, ports)
            yield LabNode(
                name=name, role="switch", loopbacks=_hosts(spec.addresses), ports=ports, bridge=bridge, kind=kind
            )

    def _no_way_up(self, where: str, spec: SwitchSpec) -> Iterator[Problem]:
        """Families in which nothing comes from above."""
        wanted = {":" in subnet for subnet in spec.link_subnets} or {False}
        for is_ipv6 in sorted(wanted - {":" in p.address for p in spec.fabric_peers if p.name not in self.switches}):
            message = f"has no fabric peer with an {'IPv6' if is_ipv6 else 'IPv4'} address"
            hint = "nothing sends a default route of that family down, and `lab up` waits for one on every node"
            yield Problem("warning", "lab-no-uplink", where, "spec.fabricPeers", message, hint)

    def _host_nodes(self, names: Iterable[str]) -> Iterator[LabNode]:
        for name in names:
            ports, bgp = tuple(self.ports.get(name, ())), self.hosts[name].bgp
            if not ports:
                hint = "it has no uplink to a declared switch; it is left out of the lab"
                self.problems.append(
                    Problem("warning", "lab-left-out", f"Node/{name}", "spec.uplinks", "has no link", hint)
                )
                continue
            loopbacks = _hosts(a for a in (bgp.ipv4_address, bgp.ipv6_address) if a)
            role: Role = "node"
            router = None
            if any(session.interface for session in self.plan.speakers[name].sessions):
                role, router = "router", self._unnumbered_router(name)
            yield LabNode(name=name, role=role, loopbacks=loopbacks, ports=ports, router=router)

    def _unnumbered_router(self, name: str) -> Router:
        """For a node with links that the speaker cannot speak over: FRR, with the node's sessions and loopbacks."""
        speaker = self.plan.speakers[name]
        neighbors = tuple(
            Neighbor(peer=s.interface, asn=s.peer_asn, description=s.peer, hold_time=s.hold_time)
            for s in speaker.sessions
            if s.interface
        )
        networks = _hosts(speaker.loopbacks)
        return Router(asn=speaker.asn, router_id=speaker.router_id, neighbors=neighbors, networks=networks)

    def _reflectors(self) -> Iterator[LabNode]:
        for name in self.snapshot.specs("RouteReflector", RouteReflectorSpec):
            if name in self.ports:
                yield LabNode(name=name, role="reflector", ports=tuple(self.ports[name]))

    def _loose_ends(self, nodes: set[str]) -> Iterator[Problem]:
        """Sessions of nodes whose other end is nowhere in the lab."""
        for name in sorted(self.plan.speakers.keys() & nodes, key=natural):
            for session in self.plan.speakers[name].sessions:
                if not _ends_in(session, nodes):
                    message = f"session {session.name} goes to {session.peer_address}, which is no part of the lab"
                    hint = "it will not come up, and `lab up` waits for it in vain"
                    yield Problem("warning", "lab-session-outside", f"Node/{name}", "", message, hint)


def _ends_in(session: Session, nodes: set[str]) -> bool:
    return session.peer.partition("/")[2] in nodes


def _numbered(port: Port, far: str, asn: int, hold_time: int = 90) -> Iterator[Neighbor]:
    """The other addresses of a point-to-point port."""
    for address in port.addresses:
        yield Neighbor(peer=str(far_end(address)), asn=asn, description=far, hold_time=hold_time)


def _name(kind: LabKind | None, number: int) -> str:
    return kind.port_name(number) if kind else f"eth{number}"


def _hosts(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(host_of(address) for address in addresses)


def _router_id(ports: Iterable[Port], name: str) -> str:
    """The first IPv4 address; where there is none, one that is only a number."""
    first = next((bare(a) for port in ports for a in port.addresses if ":" not in a), None)
    return first or f"198.19.{len(name) % 256}.{sum(name.encode()) % 255 + 1}"


def _unnumbered_port(end: End, kind: LabKind | None) -> Iterator[Problem]:
    if is_port_name(end.interface or "") and (kind is None or kind.is_linux):
        return
    where = f"{'Switch' if kind else 'Node'}/{end.node}"
    message = f"{end.interface} cannot be an interface of the lab"
    hint = "an unnumbered link keeps its names: 1 to 15 characters, no `/`, `:` or space, not `lo` or `eth0`"
    yield Problem("error", "lab-bad-interface", where, "spec", message, hint)


def _kind_problems(where: str, kind: LabKind, ports: tuple[Port, ...]) -> Iterator[Problem]:
    if kind.ports and len(ports) > kind.ports:
        message = f"needs {len(ports)} ports, and {kind.kind} has {kind.ports} in a lab"
        yield Problem("error", "lab-too-many-links", where, "", message, "take fewer nodes, or `--kind frr`")
    if any(port.shared for port in ports) and not kind.is_linux:
        message = f"nodes share a subnet of it, and the lab makes no bridge on {kind.kind}"
        yield Problem("error", "lab-shared-subnet", where, "spec.linkAddresses", message, "take `--kind frr`")


def _same_name(names: list[str]) -> Problem:
    name = next(name for name in names if names.count(name) > 1)
    message, hint = f"{name} is the name of two nodes of the lab", "a fabric peer, a switch or a node: rename one"
    return Problem("error", "lab-same-name", "Lab", "", message, hint)
