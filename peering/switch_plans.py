"""What every switch has to do besides its sessions: what it accepts, sends and announces, and its fabric peers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import cast

from peering import addressing
from peering.facts import NO_ROUTER_ID, NodeFacts
from peering.offers import Offer, Rank
from peering.problems import Problem
from peering.rack_ranges import listen_ranges
from peering.rack_sessions import RackView
from peering.resource import Resource
from peering.resources.fabric import SwitchSpec
from peering.resources.pools import IPPoolSpec
from peering.session import PrefixRule, Session, Setting, SwitchPlan


def rack_mates(racks: Mapping[str, RackView], declared: Container[str]) -> dict[str, tuple[str, ...]]:
    """The other switches of its rack, by the name of each."""
    found: dict[str, set[str]] = {}
    for rack in racks.values():
        switches = {switch for switch in rack.spec.switches if switch in declared}
        for switch in switches:
            found.setdefault(switch, set()).update(switches - {switch})
    return {switch: tuple(sorted(others)) for switch, others in found.items()}


def fabric_offers(resource: Resource, mates: tuple[str, ...]) -> tuple[Offer, ...]:
    """The sessions of a switch with its fabric peers. One that is called as a rack-mate is that one."""
    spec = cast(SwitchSpec, resource.spec)
    return tuple(
        Offer(("switch", resource.name), Rank.RACK, _fabric_session(resource.name, spec, index, mates))
        for index in range(len(spec.fabric_peers))
    )


def _fabric_session(name: str, switch: SwitchSpec, index: int, mates: tuple[str, ...]) -> Session:
    peer = switch.fabric_peers[index]
    beside = peer.name in mates
    family = addressing.family_of(peer.address)
    return Session(
        name=f"{peer.name}-{family.removesuffix('-unicast')}",
        peer=f"switch/{peer.name}" if beside else "external",
        source=f"Switch/{name}",
        type="ibgp" if peer.as_number == switch.as_number else "ebgp",
        local_address=None,
        local_asn=switch.as_number,
        peer_address=peer.address,
        peer_asn=peer.as_number,
        hold_time=peer.hold_time,
        keepalive_time=peer.hold_time // 3,
        next_hop="self" if beside else "auto",
        families=(family,),
    )


def racks_of_switches(racks: Mapping[str, RackView], problems: list[Problem]) -> dict[str, RackView]:
    """The rack that a switch serves: the first by name."""
    rack_of: dict[str, RackView] = {}
    for rack_name in sorted(racks):
        for switch in racks[rack_name].spec.switches:
            first = rack_of.setdefault(switch, racks[rack_name])
            if first.name != rack_name:
                message = f"Switch/{switch} already serves Rack/{first.name}"
                hint = "declare one rack for both groups of nodes, or another switch"
                ref, path = f"Rack/{rack_name}", "spec.switches"
                problems.append(Problem("error", "switch-in-two-racks", ref, path, message, hint))
    return rack_of


def switch_plan(
    resource: Resource,
    rack: RackView | None,
    sessions: tuple[Session, ...],
    members: tuple[NodeFacts, ...],
    pools: tuple[IPPoolSpec, ...],
    borrowable: tuple[IPPoolSpec, ...],
    services: tuple[str, ...] = (),
) -> SwitchPlan:
    """The plan of a switch; `members` are the nodes that it has sessions with, `pools` those that are exported.

    Of those that are `borrowable` nodes may have single addresses in blocks of others. `services` are the ranges that
    service addresses may be announced from, whole or one by one.
    """
    spec = cast(SwitchSpec, resource.spec)
    networks = tuple(addressing.host_of(a) for a in spec.addresses)
    reflected = any(s.peer.startswith("reflector/") for s in sessions)
    accept = _accept(members, pools, borrowable, services, reflected=reflected)
    aggregates = addressing.aggregates(pools, "rack", [node.labels for node in members])
    return SwitchPlan(
        asn=spec.as_number,
        platform=spec.platform,
        router_id=_router_id(spec),
        rack=rack.name if rack else None,
        sessions=sessions,
        listen_ranges=listen_ranges(rack, spec, sessions),
        networks=networks,
        aggregates=aggregates,
        accept=accept,
        send=_send(pools, borrowable, rack),
        announce=_announce(accept, pools, (*networks, *aggregates)),
        downward=rack.spec.downward if rack else "pools",
        keep_communities=rack.spec.keep_communities if rack else (),
        settings=tuple(sorted((Setting(s.name, s.value) for s in spec.settings), key=lambda s: s.name)),
    )


def _send(
    pools: tuple[IPPoolSpec, ...], borrowable: tuple[IPPoolSpec, ...], rack: RackView | None
) -> tuple[PrefixRule, ...]:
    """What nodes may be sent beside a default route.

    Single addresses whatever the rack wants: the owner of the block has a blackhole for what it lent to another node.
    """
    rules = addressing.address_rules(borrowable, None)
    if rack is None or rack.spec.downward != "default-only":
        rules += addressing.pool_rules(pools)
        rules += map(addressing.inside, rack.spec.accept_prefixes if rack else ())
    return addressing.sorted_rules(rules)


def _announce(accept: Iterable[PrefixRule], pools: Iterable[IPPoolSpec], own: Iterable[str]) -> tuple[PrefixRule, ...]:
    """What the fabric is told: `own`, and what is accepted, but nothing from inside a pool that racks announce whole.

    A more specific prefix that came back from the fabric would keep the aggregate alive on a ToR without a node.
    """
    whole = set(addressing.aggregates(pools, "rack"))
    kept = (rule for rule in accept if rule.cidr not in whole)
    return addressing.sorted_rules([*kept, *map(addressing.exactly, own)])


def _accept(
    members: Iterable[NodeFacts],
    pools: tuple[IPPoolSpec, ...],
    borrowable: tuple[IPPoolSpec, ...],
    services: tuple[str, ...],
    *,
    reflected: bool,
) -> tuple[PrefixRule, ...]:
    """What may come from below: blocks of the pools that these nodes may claim from, their loopbacks, and services.

    Where nodes may borrow from each other's blocks, single addresses of these pools as well.
    Of a pool that nodes announce whole its blocks too: a switch that is changed before the nodes are loses nothing.
    A reflector passes on the blocks of all nodes.
    """
    members = list(members)
    labels = None if reflected else [node.labels for node in members]
    rules = addressing.block_rules(pools, labels)
    rules += addressing.address_rules(borrowable, labels)
    rules += map(addressing.exactly, addressing.aggregates(pools, "pool", labels))
    rules += [addressing.inside(addressing.host_of(a)) for node in members for a in node.loopbacks]
    rules += [rule for cidr in services for rule in addressing.range_rules(cidr)]
    return addressing.sorted_rules(rules)


def _router_id(switch: SwitchSpec) -> str:
    loopbacks = [addressing.bare(a) for a in switch.addresses if ":" not in a]
    return switch.router_id or next(iter(loopbacks), NO_ROUTER_ID)


def router_id_problem(name: str, plan: SwitchPlan) -> Iterable[Problem]:
    """What is wrong with a switch that has no router ID."""
    if plan.router_id == NO_ROUTER_ID:
        message = "has neither routerID nor an IPv4 address"
        yield Problem("error", "no-router-id", f"Switch/{name}", "spec.routerID", message, "set one of the two")
