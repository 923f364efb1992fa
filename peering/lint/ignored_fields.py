"""Fields that are accepted and have no effect: a table, so that none is ignored in silence.

Manifests of Calico are taken as they are. Some of their fields belong to a part of Calico that is not here, some are
ignored by Calico too, some ask for what the speaker's BGP engine cannot do. Each row says why, and what to do instead.
`info` is for what nobody misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from peering.drain_wish import ANNOTATED, ANNOTATION
from peering.lint.view import View
from peering.prefixes import contains, pack_prefix
from peering.problems import Problem, Severity
from peering.resource import Resource
from peering.resources.bgp_configuration import NODE_FIELDS, BGPConfigurationSpec
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fields import shown
from peering.resources.pools import IPReservationSpec
from peering.selectors import parse_selector


@dataclass(frozen=True, slots=True)
class Ignored:
    """A field of a kind, when it is without effect, why, and what to do instead."""

    path: str
    when: Callable[[Any], bool]
    why: str
    instead: str = ""
    severity: Severity = "warning"


def _has(*names: str) -> Callable[[Any], bool]:
    """Every one of the fields has a value that is not empty."""
    return lambda spec: all(getattr(spec, name) not in (None, (), "", False) for name in names)


def _is(name: str, *values: object) -> Callable[[Any], bool]:
    return lambda spec: getattr(spec, name) in values


_THIRD = "set holdTime to three times the keepalive time you want"
_OF_NAMESPACES = frozenset(("kubernetes.io/metadata.name",))

IGNORED: dict[str, tuple[Ignored, ...]] = {
    "BGPConfiguration": (
        Ignored(
            "spec.bindMode",
            _is("bind_mode", "NodeIP"),
            "a speaker listens on the addresses of its sessions only",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.ignoredInterfaces",
            _has("ignored_interfaces"),
            "routes of interfaces are never announced",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.logSeverityScreen",
            _has("log_severity_screen"),
            "the speaker has one level of logging",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.localWorkloadPeeringIPV4",
            _has("local_workload_peering_ipv4"),
            "there are no sessions with workloads",
            "peer the workload with its ToR",
        ),
        Ignored(
            "spec.localWorkloadPeeringIPV6",
            _has("local_workload_peering_ipv6"),
            "there are no sessions with workloads",
            "peer the workload with its ToR",
        ),
        Ignored(
            "spec.programClusterRoutes",
            _has("program_cluster_routes"),
            "the speaker always programs the routes that it learns, and there is no encapsulation",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.ipv4NormalRoutePriority",
            _has("ipv4_normal_route_priority"),
            "kernel routes have one metric, in a table of their own",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.ipv6NormalRoutePriority",
            _has("ipv6_normal_route_priority"),
            "kernel routes have one metric, in a table of their own",
            "leave it out",
            "info",
        ),
    ),
    "BGPPeer": (
        Ignored(
            "spec.keepaliveTime",
            lambda peer: peer.keepalive_time not in (None, 0, peer.hold_time // 3),
            "the speaker sends a keepalive at a third of the hold time",
            _THIRD,
        ),
        Ignored(
            "spec.connectRetry",
            _has("connect_retry"),
            "the speaker dials again by a timer of its own",
            "leave it out",
            "info",
        ),
        Ignored(
            "spec.bfd",
            _has("bfd"),
            "the speaker does not speak BFD; where the peer is a declared Switch, its side is rendered",
            "shorten holdTime instead",
        ),
        Ignored(
            "spec.longLivedStaleTime",
            _has("long_lived_stale_time"),
            "the node's end has no long-lived graceful restart (RFC 9494); a declared Switch or RouteReflector has",
            "shorten maxRestartTime instead",
        ),
        Ignored(
            "spec.localWorkloadSelector",
            _has("local_workload_selector"),
            "there are no sessions with workloads",
            "peer the workload with its ToR",
        ),
        Ignored(
            "spec.localASNumber",
            _has("local_as_number", "peer_selector"),
            "with a peerSelector each node speaks as its own AS, as in Calico",
            "set spec.bgp.asNumber of the nodes",
        ),
        Ignored(
            "spec.numAllowedLocalASNumbers",
            _has("num_allowed_local_as_numbers", "peer_selector"),
            "with a peerSelector it is not read, as in Calico",
            "write one BGPPeer with a peerIP for each peer",
        ),
        Ignored(
            "spec.reversePeering",
            lambda peer: peer.reverse_peering == "Manual" and peer.peer_selector is None,
            "it is of peerSelector only, as in Calico",
            "leave it out",
            "info",
        ),
    ),
    "Rack": (
        Ignored(
            "spec.bfd",
            _has("bfd"),
            "the speaker does not speak BFD; only the switches' side is rendered",
            "shorten holdTime instead",
        ),
        Ignored(
            "spec.longLivedStaleTime",
            _has("long_lived_stale_time"),
            "the nodes' end has no long-lived graceful restart (RFC 9494); the switches' side is rendered",
            "shorten gracefulRestartTime instead",
        ),
        Ignored(
            "spec.loopCheck",
            lambda rack: "loop_check" in rack.model_fields_set and rack.design != "ebgp-as-per-cluster",
            "it is of design ebgp-as-per-cluster only",
            "leave it out",
        ),
        Ignored(
            "spec.nodeASNumber",
            lambda rack: rack.design == "ebgp-as-per-node" and rack.node_as_number is not None,
            "with design ebgp-as-per-node each node has an AS of its own",
            "set spec.bgp.asNumber of the nodes",
        ),
    ),
    "IPPool": (
        Ignored("spec.natOutgoing", _has("nat_outgoing"), "pods keep their own addresses", "set it to false"),
        Ignored(
            "spec.namespaceSelector",
            lambda pool: bool(parse_selector(pool.namespace_selector or "").labels - _OF_NAMESPACES),
            "of a namespace only kubernetes.io/metadata.name is known, and every other label counts as absent",
            "select namespaces by kubernetes.io/metadata.name",
        ),
        Ignored(
            "spec.allowedUses",
            lambda pool: pool.allowed_uses == ("Tunnel",),
            "there are no tunnels: nobody gets addresses of this pool",
            "take the pool out, or add Workload",
        ),
        Ignored(
            "spec.aggregate",
            lambda pool: pool.aggregate != "block" and pool.disable_bgp_export,
            "with disableBGPExport nothing of the pool is announced",
            "leave one of the two out",
        ),
        Ignored(
            "spec.aggregate",
            lambda pool: pool.aggregate != "block" and pool.for_load_balancers,
            "of load balancer addresses the ranges of serviceLoadBalancerIPs are announced",
            "leave it out",
        ),
        Ignored(
            "spec.aggregate",
            lambda pool: pool.aggregate != "block" and pool.exports_blocks and pool.aggregated_by is None,
            "the pool is one block",
            "leave it out",
            "info",
        ),
    ),
    "IPAMConfiguration": (
        Ignored(
            "spec.kubeVirtVMAddressPersistence",
            lambda ipam: "kube_virt_vm_address_persistence" in ipam.model_fields_set,
            "an address stays with its handle",
            "leave it out",
            "info",
        ),
    ),
}


def ignored_fields(resource: Resource, view: object) -> Iterator[Problem]:
    """The rows of the table that apply to an object."""
    for row in IGNORED.get(resource.kind, ()):
        if row.when(resource.spec):
            yield Problem(
                row.severity, "ignored-field", resource.ref, row.path, f"has no effect: {row.why}", row.instead
            )


def ignored_configuration(resource: Resource, view: View) -> Iterator[Problem]:
    """A BGPConfiguration is `default`, or `node.NAME` with five fields; Calico ignores everything else in silence."""
    if resource.name == "default":
        if cast(BGPConfigurationSpec, resource.spec).drain:
            message, hint = "has no effect: a drain is of one node", "underlay drain NODE"
            yield Problem("warning", "ignored-field", resource.ref, "spec.drain", message, hint)
        return
    node = resource.name.removeprefix("node.")
    if node == resource.name or (view.nodes and node not in view.nodes):
        what = f"there is no Node/{node}" if node != resource.name else "only default and node.NAME are read"
        hint = "move what you need into BGPConfiguration/default"
        yield Problem("warning", "ignored-field", resource.ref, "metadata.name", f"has no effect: {what}", hint)
        return
    for name in sorted(resource.spec.model_fields_set - set(NODE_FIELDS)):
        path = f"spec.{BGPConfigurationSpec.model_fields[name].alias}"
        message = (
            "has no effect: of one node only prefixAdvertisements, communities, listenPort, logSeverityScreen, drain"
        )
        hint = "set a node's AS in Node spec.bgp.asNumber, the rest in BGPConfiguration/default"
        yield Problem("warning", "ignored-field", resource.ref, path, message, hint)


def ignored_drain(resource: Resource, declared: object) -> Iterator[Problem]:
    """An annotation that is meant to drain a node, or not to, and says neither."""
    text = resource.annotations.get(ANNOTATION, "false")
    if text not in ANNOTATED:
        path = f"metadata.annotations[{ANNOTATION}]"
        message = f"has no effect: {shown(text)} is none of {', '.join(ANNOTATED)}"
        yield Problem("warning", "ignored-field", resource.ref, path, message, "write true, or use underlay drain")


def ignored_ipam_configuration(resource: Resource, declared: object) -> Iterator[Problem]:
    """An IPAMConfiguration is `default`; Calico ignores every other in silence."""
    if resource.name != "default":
        message, hint = "has no effect: only IPAMConfiguration/default is read", "call it default"
        yield Problem("warning", "ignored-field", resource.ref, "metadata.name", message, hint)


def ignored_reservation(resource: Resource, view: View) -> Iterator[Problem]:
    """Addresses of a pool whose addresses somebody else gives."""
    for name, pool in view.pools.items():
        if not pool.by_pod_cidr:
            continue
        packed = pack_prefix(pool.cidr)
        for index, cidr in enumerate(cast(IPReservationSpec, resource.spec).reserved_cidrs):
            if contains(packed, pack_prefix(cidr)) or contains(pack_prefix(cidr), packed):
                path = f"spec.reservedCIDRs[{index}]"
                message = f"has no effect: host-local gives the addresses of IPPool/{name} and knows no reservations"
                yield Problem("warning", "ignored-field", resource.ref, path, message, "take it out")


def ignored_next_hop(resource: Resource, view: View) -> Iterator[Problem]:
    """A next hop mode where there is none to change: a node announces its own blocks, whose next hop is itself."""
    spec = cast(BGPPeerSpec, resource.spec)
    types = view.sources.get(resource.ref, set())
    if spec.keep_original_next_hop and types == {"ibgp"}:
        message = "has no effect: it is of eBGP, and these sessions are iBGP"
        hint = "use nextHopMode: Keep"
        yield Problem("warning", "ignored-field", resource.ref, "spec.keepOriginalNextHop", message, hint)
    elif (spec.next_hop_mode or spec.keep_original_next_hop) and types and not _reflected(resource.ref, view):
        path = "spec.nextHopMode" if spec.next_hop_mode else "spec.keepOriginalNextHop"
        message = "has no effect: these nodes announce their own blocks only, with themselves as next hop"
        yield Problem("info", "ignored-field", resource.ref, path, message, "leave it out")


def _reflected(ref: str, view: View) -> bool:
    """Whether a node that reflects has sessions of this declaration, or a reflector has."""
    reflecting = [view.nodes[peer.removeprefix("node/")].ends for peer in view.reflecting_nodes]
    reflecting += [reflector.ends for reflector in view.reflectors.values()]
    return any(source.removeprefix("reverse:") == ref for ends in reflecting for source, _ in ends.sources)
