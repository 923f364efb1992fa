"""The table of kinds: spec model, API groups they are accepted under, who writes them, how `kubectl get` shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peering.resources import (
    bfd,
    bgp_configuration,
    bgp_filter,
    bgp_peer,
    fabric,
    ipam,
    node,
    observed,
    pools,
    route_reflector,
    services,
)
from peering.resources.fields import Spec

UNDERLAY = "underlay.io/v1alpha1"
KUBERNETES = "v1"
DISCOVERY = "discovery.k8s.io/v1"
_CALICO = ("projectcalico.org/v3", "crd.projectcalico.org/v1", UNDERLAY)


@dataclass(frozen=True, slots=True)
class Column:
    """One of the columns that `kubectl get` prints besides name and age. `path` is that of the value in the object.

    A `date` is RFC 3339, and is printed as the time that has passed since.
    """

    title: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. `declared` kinds come from the admin, `observed` ones from our processes.

    `aliases` are other names of the kind in manifests, `short_names` those that `kubectl get` takes. One of a kind that
    is `namespaced` is called NAMESPACE.NAME here. `kubectl_columns` are of what only a cluster keeps, or of what
    `underlay get` shows otherwise.
    """

    name: str
    plural: str
    spec: type[Spec]
    api_versions: tuple[str, ...]
    writer: Literal["declared", "observed"] = "declared"
    aliases: tuple[str, ...] = ()
    short_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    kubectl_columns: tuple[Column, ...] = ()
    namespaced: bool = False


def _condition(type_: str) -> Column:
    return Column(type_, f'.status.conditions[?(@.type=="{type_}")].status')


_READY = (_condition("Ready"),)
_SESSIONS = (
    *_READY,
    _condition("Degraded"),
    Column("Up", ".status.sessions.up", "integer"),
    Column("Sessions", ".status.sessions.total", "integer"),
)

_ROWS = (
    Kind(
        "BGPConfiguration",
        "bgpconfigurations",
        bgp_configuration.BGPConfigurationSpec,
        _CALICO,
        short_names=("bgpconfig",),
        columns=(Column("AS", ".spec.asNumber"), Column("Mesh", ".spec.nodeToNodeMeshEnabled", "boolean")),
    ),
    Kind(
        "BGPPeer",
        "bgppeers",
        bgp_peer.BGPPeerSpec,
        _CALICO,
        columns=(
            Column("Peer", ".spec.peerIP"),
            Column("AS", ".spec.asNumber"),
            Column("Node", ".spec.node"),
            Column("Nodes", ".spec.nodeSelector"),
            Column("Peers", ".spec.peerSelector"),
        ),
        kubectl_columns=_SESSIONS,
    ),
    Kind("BGPFilter", "bgpfilters", bgp_filter.BGPFilterSpec, _CALICO),
    Kind(
        "BFDProfile",
        "bfdprofiles",
        bfd.BFDProfileSpec,
        (UNDERLAY,),
        columns=(
            Column("Receive", ".spec.receiveInterval"),
            Column("Transmit", ".spec.transmitInterval"),
            Column("Multiplier", ".spec.detectMultiplier", "integer"),
        ),
    ),
    Kind(
        "IPPool",
        "ippools",
        pools.IPPoolSpec,
        _CALICO,
        columns=(
            Column("CIDR", ".spec.cidr"),
            Column("Block", ".spec.blockSize", "integer"),
            Column("Nodes", ".spec.nodeSelector"),
            Column("Disabled", ".spec.disabled", "boolean"),
        ),
        kubectl_columns=_READY,
    ),
    Kind(
        "IPReservation",
        "ipreservations",
        pools.IPReservationSpec,
        _CALICO,
        columns=(Column("CIDRs", ".spec.reservedCIDRs"),),
    ),
    Kind(
        "IPAMConfiguration",
        "ipamconfigurations",
        pools.IPAMConfigurationSpec,
        _CALICO,
        aliases=("IPAMConfig",),
        short_names=("ipamconfig",),
        columns=(
            Column("Strict", ".spec.strictAffinity", "boolean"),
            Column("Blocks", ".spec.maxBlocksPerHost", "integer"),
        ),
    ),
    Kind(
        "Node",
        "nodes",
        node.NodeSpec,
        (*_CALICO, KUBERNETES),
        columns=(
            Column("IPv4", ".spec.bgp.ipv4Address"),
            Column("IPv6", ".spec.bgp.ipv6Address"),
            Column("AS", ".spec.bgp.asNumber"),
        ),
    ),
    Kind(
        "Rack",
        "racks",
        fabric.RackSpec,
        (UNDERLAY,),
        columns=(
            Column("Design", ".spec.design"),
            Column("Nodes", ".spec.nodeSelector"),
            Column("Switches", ".spec.switches"),
            Column("AS", ".spec.nodeASNumber"),
        ),
        kubectl_columns=_SESSIONS,
    ),
    Kind(
        "Switch",
        "switches",
        fabric.SwitchSpec,
        (UNDERLAY,),
        short_names=("sw",),
        columns=(
            Column("Platform", ".spec.platform"),
            Column("AS", ".spec.asNumber"),
            Column("Addresses", ".spec.addresses"),
        ),
        kubectl_columns=_SESSIONS,
    ),
    Kind(
        "RouteReflector",
        "routereflectors",
        route_reflector.RouteReflectorSpec,
        (UNDERLAY,),
        short_names=("rr",),
        columns=(
            Column("Addresses", ".spec.addresses"),
            Column("Node", ".spec.node"),
            Column("Clients", ".spec.nodeSelector"),
            Column("Upstream", ".spec.upstream"),
        ),
        kubectl_columns=_SESSIONS,
    ),
    Kind("Secret", "secrets", observed.SecretSpec, (KUBERNETES,)),
    Kind("Service", "services", services.ServiceSpec, (KUBERNETES,), short_names=("svc",), namespaced=True),
    Kind("EndpointSlice", "endpointslices", services.EndpointSliceSpec, (DISCOVERY,), namespaced=True),
    Kind(
        "BlockAffinity",
        "blockaffinities",
        ipam.BlockAffinitySpec,
        _CALICO,
        "observed",
        columns=(
            Column("Node", ".spec.node"),
            Column("CIDR", ".spec.cidr"),
            Column("State", ".spec.state"),
            Column("Type", ".spec.type"),
        ),
    ),
    Kind(
        "IPAMBlock",
        "ipamblocks",
        ipam.IPAMBlockSpec,
        _CALICO,
        "observed",
        columns=(Column("CIDR", ".spec.cidr"), Column("Affinity", ".spec.affinity")),
    ),
    Kind(
        "IPAMHandle",
        "ipamhandles",
        ipam.IPAMHandleSpec,
        _CALICO,
        "observed",
        columns=(Column("Handle", ".spec.handle"), Column("Blocks", ".spec.blocks")),
    ),
    Kind(
        "BGPNodeStatus",
        "bgpnodestatuses",
        observed.BGPNodeStatusSpec,
        (UNDERLAY,),
        "observed",
        columns=(Column("Node", ".spec.node"), Column("Routes", ".spec.kernelRoutes", "integer")),
        kubectl_columns=(
            Column("Up", ".spec.established", "integer"),
            Column("Sessions", ".spec.total", "integer"),
            Column("Reported", ".spec.reportedAt", "date"),
        ),
    ),
)

KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}

#: Kinds by each name that a manifest may give them.
KINDS_AS_WRITTEN: dict[str, Kind] = {name: row for row in _ROWS for name in (row.name, *row.aliases)}

_POLICY = "leave it out: policies are not enforced here"
_POLICY_KINDS = (
    "GlobalNetworkPolicy",
    "GlobalNetworkSet",
    "HostEndpoint",
    "NetworkPolicy",
    "NetworkSet",
    "Profile",
    "Tier",
    "WorkloadEndpoint",
)

#: Kinds that stand beside ours in dumps of Calico and are none here: what to do instead.
KINDS_ELSEWHERE = {
    "BFDConfiguration": "write a BFDProfile, and name it in bfd of a Rack or BGPPeer",
    "CalicoNodeStatus": "leave it out: underlay status shows every node",
    "ClusterInformation": "leave it out: Calico's own",
    "EarlyNetworkConfiguration": "write a Rack, its Switches, and the uplinks of its Nodes",
    "ExternalNetwork": "leave it out: there is one routing table",
    "FelixConfiguration": "leave it out: Felix does not run here",
    "KubeControllersConfiguration": "leave it out: Calico's own",
    **dict.fromkeys(_POLICY_KINDS, _POLICY),
}

#: Declared, and no part of the plan: what fills it in later.
_BESIDE = ("Secret", "Service", "EndpointSlice")
#: Kinds whose change may change the plan.
PLAN_KINDS = tuple(row.name for row in _ROWS if row.writer == "declared" and row.name not in _BESIDE)


def kind_named(text: str) -> Kind | None:
    """A kind by its name, plural, short name or lower-case form, as `underlay get` takes it."""
    wanted = text.lower()
    for kind in KINDS.values():
        names = (kind.name, *kind.aliases)
        if wanted in (*(n.lower() for n in names), *(f"{n.lower()}s" for n in names), kind.plural, *kind.short_names):
            return kind
    return None
