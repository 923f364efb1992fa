"""Racks compiled: the sessions of a node with the switches of its rack, with both of their ends.

The two ends are made together from one link, so they cannot disagree. Who has which AS and what the switch does with
routes follows from the rack's design (designs.py), the addresses from the links (links.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from peering.designs import DESIGNS
from peering.facts import NodeFacts
from peering.links import Link, links
from peering.memo import Memo
from peering.offers import Offer, Rank
from peering.prefix_limits import ipam_limit
from peering.problems import Problem
from peering.profiles import bfd_parameters
from peering.reflector_sessions import MULTIHOP
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.session import BfdParameters, Family, SecretKeyRef, Session
from peering.snapshot import Snapshot

_FAMILIES: dict[str, tuple[Family, ...]] = {"ipv4": ("ipv4-unicast",), "ipv6": ("ipv6-unicast",)}
#: Over a link without addresses both families go over one session, with IPv6 next hops (RFC 8950).
_BOTH: tuple[Family, ...] = ("ipv4-unicast", "ipv6-unicast")


@dataclass(frozen=True, slots=True)
class RackView:
    """A rack with what it refers to; `spec` has the AS of nodes and the prefix limit where they follow from others."""

    name: str
    spec: RackSpec
    switches: tuple[tuple[str, SwitchSpec], ...]
    bfd: BfdParameters | None


def rack_views(snapshot: Snapshot, memo: Memo, problems: list[Problem]) -> dict[str, RackView]:
    """Every rack, by name."""
    switches = snapshot.all("Switch")
    kept = memo.table("racks")
    views = {}
    for name, resource in snapshot.all("Rack").items():
        assert isinstance(resource.spec, RackSpec)
        present = tuple(switches[s] for s in resource.spec.switches if s in switches)
        bfd = bfd_parameters(snapshot, resource.spec.bfd)
        limit = ipam_limit(snapshot) if resource.spec.prefix_limit == "ipam" else None
        views[name] = kept.get(name, (resource, present, bfd, snapshot.configuration(), limit), _view_of)
        problems += _rack_problems(views[name], switches)
    return views


def _view_of(
    rack: Resource,
    switches: tuple[Resource, ...],
    bfd: BfdParameters | None,
    default: BGPConfigurationSpec,
    limit: int | None,
) -> RackView:
    spec = rack.spec
    assert isinstance(spec, RackSpec)
    pairs = tuple((s.name, s.spec) for s in switches if isinstance(s.spec, SwitchSpec))
    if spec.node_as_number is None:
        from_switch = DESIGNS[spec.design].node_asn == "switch" and pairs
        asn = pairs[0][1].as_number if from_switch else default.default_as_number
        spec = spec.model_copy(update={"node_as_number": asn})
    if spec.max_prefixes is None and limit is not None:
        spec = spec.model_copy(update={"max_prefixes": limit})
    return RackView(rack.name, spec, pairs, bfd)


def rack_offers(node: NodeFacts, rack: RackView) -> Iterator[Offer | Problem]:
    """Both ends of every session of a node with the switches of its rack."""
    if DESIGNS[rack.spec.design].node_asn == "node" and node.declared_asn is None:
        message = f"design {rack.spec.design} of Rack/{rack.name} needs an AS of the node's own"
        hint = "set spec.bgp.asNumber, unique in the fabric (private: 64512..65534, 4200000000..4294967294)"
        yield Problem("error", "as-number-missing", f"Node/{node.name}", "spec.bgp.asNumber", message, hint)
    for switch_name, switch in rack.switches:
        for found in links(rack.spec.peer_addresses, node, switch_name, switch):
            if isinstance(found, Problem):
                yield found
                continue
            near = _near_end(node, rack, switch_name, switch, found)
            yield Offer(("node", node.name), Rank.RACK, near)
            yield Offer(("switch", switch_name), Rank.RACK, _far_end(node, rack, switch, found, near), near)


def _near_end(node: NodeFacts, rack: RackView, switch_name: str, switch: SwitchSpec, link: Link) -> Session:
    spec = rack.spec
    one_asn = DESIGNS[spec.design].one_asn
    reference = spec.password.secret_key_ref if spec.password else None
    return Session(
        name=f"{switch_name}-{link.label}",
        peer=f"switch/{switch_name}",
        source=f"Rack/{rack.name}",
        type="ibgp" if node.asn == switch.as_number else "ebgp",
        local_address=link.near,
        local_asn=node.asn,
        peer_address=link.far,
        peer_asn=switch.as_number,
        password=SecretKeyRef(reference.name, reference.key) if reference else None,
        ttl_security=link.hops if spec.ttl_security else None,
        multihop=MULTIHOP if link.hops > 1 and not spec.ttl_security else None,
        hold_time=spec.hold_time,
        keepalive_time=spec.hold_time // 3 if spec.keepalive_time is None else spec.keepalive_time,
        graceful_restart_time=spec.graceful_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        bfd=rack.bfd,
        allow_as_in=1 if one_asn and spec.loop_check == "allow-as-in" else None,
        as_override=one_asn and spec.loop_check == "as-override",
        families=_FAMILIES.get(link.label, _BOTH),
        reachable_by=link.reachable_by,
        interface=link.interface,
    )


def _far_end(node: NodeFacts, rack: RackView, switch: SwitchSpec, link: Link, near: Session) -> Session:
    reflects = DESIGNS[rack.spec.design].ibgp
    return near.far_end(
        name=f"{node.name}-{link.label}",
        peer=f"node/{node.name}",
        local_address=link.far or None,
        local_asn=switch.as_number,
        peer_address=link.near or "",
        # ExaBGP dials: a speaker needs no listening port, and the two never collide.
        passive=True,
        rr_client=reflects,
        next_hop="self" if reflects and link.point_to_point else "auto",
        max_prefixes=rack.spec.max_prefixes,
        interface=link.far_interface,
        reachable_by=link.far_reachable_by,
    )


def _rack_problems(rack: RackView, switches: Mapping[str, Resource]) -> Iterator[Problem]:
    ref = f"Rack/{rack.name}"
    for index, switch in enumerate(rack.spec.switches):
        if switch not in switches:
            known = ", ".join(sorted(switches)) or "none"
            path, message = f"spec.switches[{index}]", f"there is no Switch/{switch}"
            yield Problem("error", "unknown-switch", ref, path, message, f"declared: {known}")
    if len(set(rack.spec.switches)) != len(rack.spec.switches):
        yield Problem("error", "switch-twice", ref, "spec.switches", "names a switch twice")
    design = DESIGNS[rack.spec.design]
    if design.node_asn != "node":
        for name, switch_spec in rack.switches:
            if (switch_spec.as_number == rack.spec.node_as_number) != design.ibgp:
                yield _as_mismatch(ref, rack.spec, name, switch_spec)


def _as_mismatch(ref: str, rack: RackSpec, switch_name: str, switch: SwitchSpec) -> Problem:
    relation = "the same AS as" if DESIGNS[rack.design].ibgp else "another AS than"
    message = (
        f"design {rack.design} needs nodes in {relation} Switch/{switch_name}, "
        f"but the nodes have AS {rack.node_as_number} and the switch AS {switch.as_number}"
    )
    return Problem("error", "as-pair-impossible", ref, "spec.nodeASNumber", message, "change one AS or the design")
