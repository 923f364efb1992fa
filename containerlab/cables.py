"""The wires that a declaration implies: to the spines, between the switches of a rack, to the nodes.

A Switch says the addresses of its neighbours upwards and not its own, so those links are taken as point-to-point (/31
and /127), where the other address is the switch's. A node's uplink says its own address with its length; which switch
is at the other end follows as in `peering/links.py`. What cannot be wired is a problem: an error where the lab would
be another fabric than the declared one, a warning where something is left out. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from containerlab.blueprint import natural
from peering import addressing
from peering.problems import Problem
from peering.resources.fabric import FabricPeer, SwitchSpec
from peering.resources.node import NodeSpec, Uplink
from peering.resources.route_reflector import RouteReflectorSpec
from peering.snapshot import Snapshot

#: Two switches of a rack name each other's addresses: the longest of these lengths that holds both is the link's.
_PAIR_LENGTHS = {4: range(31, 23, -1), 6: range(127, 63, -1)}


@dataclass(frozen=True, slots=True)
class End:
    """`interface` None: any free one. `shared`: many hang on this switch in one subnet."""

    node: str
    addresses: tuple[str, ...] = ()
    interface: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Cable:
    a: End
    b: End


Found = Iterator[Cable | Problem]


def spine_cables(switches: Mapping[str, SwitchSpec]) -> Found:
    """Each switch to each of its fabric peers that is no switch of ours; `b` is the peer, by its declared name."""
    owner: dict[str, str] = {}
    for name in sorted(switches, key=natural):
        for peer_name, peers in _by_name(switches[name].fabric_peers, leave_out=switches):
            taken = [(p.address, owner[p.address]) for p in peers if p.address in owner]
            if taken:
                yield _shared_peer(name, *taken[0])
                continue
            owner |= {p.address: name for p in peers}
            upper = tuple(f"{p.address}/{_length(p.address)}" for p in peers)
            lower = tuple(f"{addressing.far_end(a)}/{_length(a)}" for a in upper)
            yield Cable(End(name, lower), End(peer_name, upper))


def pair_cables(switches: Mapping[str, SwitchSpec]) -> Found:
    """Between two switches that are fabric peers of each other."""
    for name in sorted(switches, key=natural):
        for other in sorted({p.name for p in switches[name].fabric_peers} & switches.keys(), key=natural):
            theirs = [p.address for p in switches[name].fabric_peers if p.name == other]
            ours = [p.address for p in switches[other].fabric_peers if p.name == name]
            pairs = [(a, b, length) for a in ours for b in theirs if (length := _common(a, b)) is not None]
            if not pairs:
                yield _no_pair(name, other)
            elif natural(name) < natural(other):
                near, far = (tuple(f"{pair[side]}/{pair[2]}" for pair in pairs) for side in (0, 1))
                yield Cable(End(name, near), End(other, far))


def node_cables(node: str, spec: NodeSpec, switches: Mapping[str, SwitchSpec]) -> Found:
    """Each uplink of a node to the switch that it leads to."""
    for uplink in spec.uplinks:
        if uplink.switch is not None and not uplink.addresses:
            yield _unnumbered(node, uplink, switches)
        else:
            where = f"Node/{node}"
            yield _numbered(where, End(node, uplink.addresses, uplink.interface), switches)


def reflector_cables(snapshot: Snapshot, switches: Mapping[str, SwitchSpec]) -> Found:
    for name, spec in snapshot.specs("RouteReflector", RouteReflectorSpec).items():
        yield _numbered(f"RouteReflector/{name}", End(name, spec.addresses, "eth1"), switches)


def _unnumbered(node: str, uplink: Uplink, switches: Mapping[str, SwitchSpec]) -> Cable | Problem:
    if uplink.switch is None or uplink.switch not in switches or uplink.switch_interface is None:
        return _nowhere(f"Node/{node}", uplink.interface, "an unnumbered link of no declared switch")
    return Cable(End(uplink.switch, (), uplink.switch_interface), End(node, (), uplink.interface))


def _numbered(where: str, near: End, switches: Mapping[str, SwitchSpec]) -> Cable | Problem:
    found = {name for a in near.addresses for name, s in switches.items() if addressing.lies_in(a, s.link_subnets)}
    shown = ", ".join(near.addresses)
    if not found:
        return _nowhere(where, near.interface or "", shown)
    if len(found) > 1:
        message = f"{near.interface} ({shown}) leads to {' and '.join(sorted(found))}"
        hint = "a wire has two ends: give each switch link subnets of its own"
        return Problem("error", "lab-link-ambiguous", where, "spec", message, hint)
    name = found.pop()
    inside = [a for a in near.addresses if addressing.lies_in(a, switches[name].link_subnets)]
    ends = [_far_end(address, switches[name]) for address in inside]
    if None in ends:
        message = f"{inside[ends.index(None)]} is no point-to-point address, and Switch/{name} has none in that subnet"
        return Problem("error", "lab-link-ambiguous", where, "spec", message, "give the switch linkAddresses")
    shared = any(addressing.far_end(address) is None for address in inside)
    return Cable(End(name, tuple(end for end in ends if end), shared=shared), near)


def _far_end(address: str, switch: SwitchSpec) -> str | None:
    """The switch's address, with its length, on the link on which a node has `address`."""
    far = addressing.far_end(address)
    if far is not None:
        return f"{far}/{address.rpartition('/')[2]}"
    return next((a for a in switch.link_addresses if addressing.lies_in(a, [addressing.subnet_of(address)])), None)


def _by_name(peers: Iterable[FabricPeer], leave_out: Mapping[str, SwitchSpec]) -> list[tuple[str, list[FabricPeer]]]:
    found: dict[str, list[FabricPeer]] = {}
    for peer in peers:
        if peer.name not in leave_out:
            found.setdefault(peer.name, []).append(peer)
    return sorted(found.items(), key=lambda item: natural(item[0]))


def _length(address: str) -> int:
    return 127 if ":" in address else 31


def _common(a: str, b: str) -> int | None:
    """The length of the smallest subnet that two addresses may be the ends of."""
    one, other = ipaddress.ip_address(a), ipaddress.ip_address(b)
    if one.version != other.version or one == other:
        return None
    near = (ipaddress.ip_interface(f"{a}/{length}").network for length in _PAIR_LENGTHS[one.version])
    return next((network.prefixlen for network in near if other in network), None)


def _shared_peer(switch: str, address: str, first: str) -> Problem:
    message = f"{address} is a fabric peer of Switch/{first} too, so it is no end of a point-to-point link"
    hint = "what the switches have in that subnet is not declared; leave the peer out of the lab's declaration"
    return Problem("error", "lab-peer-shared", f"Switch/{switch}", "spec.fabricPeers", message, hint)


def _no_pair(switch: str, other: str) -> Problem:
    message = f"{other} is a fabric peer, but does not name {switch} by an address of the same link"
    hint = "the link between the two is left out"
    return Problem("warning", "lab-left-out", f"Switch/{switch}", "spec.fabricPeers", message, hint)


def _nowhere(where: str, interface: str, what: str) -> Problem:
    message = f"{interface} ({what}) leads to no declared switch"
    return Problem("warning", "lab-left-out", where, "spec", message, "the link is left out of the lab")
