"""What every switch has to do besides its sessions: what it accepts, sends and announces, and its fabric peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from peering import addressing
from peering.facts import NO_ROUTER_ID, NodeFacts
from peering.offers import Offer, Rank
from peering.problems import Problem
from peering.rack_sessions import RackView
from peering.resource import Resource
from peering.resources.fabric import SwitchSpec
from peering.resources.pools import IPPoolSpec
from peering.session import PrefixRule, Session, Setting, SwitchPlan


def fabric_offers(resource: Resource) -> tuple[Offer, ...]:
    """The sessions of a switch with routers that are not ours to configure."""
    spec = cast(SwitchSpec, resource.spec)
    return tuple(
        Offer(("switch", resource.name), Rank.RACK, _fabric_session(resource.name, spec, index))
        for index in range(len(spec.fabric_peers))
    )


def _fabric_session(name: str, switch: SwitchSpec, index: int) -> Session:
    peer = switch.fabric_peers[index]
    family = addressing.family_of(peer.address)
    return Session(
        name=f"{peer.name}-{family.removesuffix('-unicast')}",
        peer="external",
        source=f"Switch/{name}",
        type="ibgp" if peer.as_number == switch.as_number else "ebgp",
        local_address=None,
        local_asn=switch.as_number,
        peer_address=peer.address,
        peer_asn=peer.as_number,
        hold_time=peer.hold_time,
        keepalive_time=peer.hold_time // 3,
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
) -> SwitchPlan:
    """The plan of a switch; `members` are the nodes that it has sessions with, `pools` those that are exported."""
    spec = cast(SwitchSpec, resource.spec)
    networks = tuple(addressing.host_of(a) for a in spec.addresses)
    accept = _accept(members, pools, reflected=any(s.peer.startswith("reflector/") for s in sessions))
    extra = rack.spec.accept_prefixes if rack else ()
    return SwitchPlan(
        asn=spec.as_number,
        platform=spec.platform,
        router_id=_router_id(spec),
        rack=rack.name if rack else None,
        sessions=sessions,
        networks=networks,
        accept=accept,
        send=addressing.sorted_rules([*addressing.pool_rules(pools), *map(addressing.inside, extra)]),
        announce=addressing.sorted_rules([*accept, *map(addressing.exactly, networks)]),
        downward=rack.spec.downward if rack else "pools",
        keep_communities=rack.spec.keep_communities if rack else (),
        settings=tuple(sorted((Setting(s.name, s.value) for s in spec.settings), key=lambda s: s.name)),
    )


def _accept(members: Iterable[NodeFacts], pools: tuple[IPPoolSpec, ...], *, reflected: bool) -> tuple[PrefixRule, ...]:
    """What may come from below: blocks of the pools that these nodes may claim from, and their loopbacks.

    A reflector passes on the blocks of all nodes.
    """
    members = list(members)
    rules = addressing.block_rules(pools, None if reflected else [node.labels for node in members])
    rules += [addressing.inside(addressing.host_of(a)) for node in members for a in node.loopbacks]
    return addressing.sorted_rules(rules)


def _router_id(switch: SwitchSpec) -> str:
    loopbacks = [addressing.bare(a) for a in switch.addresses if ":" not in a]
    return switch.router_id or next(iter(loopbacks), NO_ROUTER_ID)


def router_id_problem(name: str, plan: SwitchPlan) -> Iterable[Problem]:
    """What is wrong with a switch that has no router ID."""
    if plan.router_id == NO_ROUTER_ID:
        message = "has neither routerID nor an IPv4 address"
        yield Problem("error", "no-router-id", f"Switch/{name}", "spec.routerID", message, "set one of the two")
