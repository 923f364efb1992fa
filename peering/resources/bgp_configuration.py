"""BGPConfiguration, as Calico reads it: `default` for the cluster, `node.NAME` for what differs on one node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from peering.resources.fields import (
    WELL_KNOWN_COMMUNITIES,
    AsNumber,
    Cidr,
    Community,
    Flag,
    Ipv4Address,
    Ipv6Address,
    Many,
    Mistake,
    OneLine,
    Password,
    Port,
    RestartTime,
    Spec,
    WholeNumber,
    is_community,
    shown,
)
from peering.resources.rules import Rule

_SEVERITIES = ("Trace", "Debug", "Info", "Warning", "Error", "Fatal")


def _severity(value: Any) -> str | None:
    """Calico takes any case, and the empty text for its default."""
    if value is None or value == "":
        return None
    named = {name.lower(): name for name in _SEVERITIES}
    if not isinstance(value, str) or value.lower() not in named:
        raise ValueError(f"{shown(value)} is none of {', '.join(_SEVERITIES)}")
    return named[value.lower()]


LogSeverity = Annotated[
    str | None, BeforeValidator(_severity), WithJsonSchema({"type": "string", "enum": list(_SEVERITIES)})
]
RoutePriority = Annotated[WholeNumber, Field(ge=1, le=2147483646)]


class ServiceRange(Spec):
    """A range of service addresses that may be announced."""

    cidr: Cidr
    """The range."""


class NamedCommunity(Spec):
    """A community by a name of the admin's."""

    name: OneLine
    """The name that prefixAdvertisements use."""
    value: Community
    """What is sent."""


class PrefixAdvertisement(Spec):
    """Communities of the routes inside a CIDR."""

    cidr: Cidr
    """The prefix; the communities go to all routes inside it, too."""
    communities: Many[OneLine] = ()
    """Communities by name, or as they are."""


#: What `node.NAME` may say; Calico ignores the rest of it in silence, and does not know `drain`.
NODE_FIELDS = ("prefix_advertisements", "communities", "listen_port", "log_severity_screen", "drain")
#: How long a drained node waits after its peers were told, in seconds.
DRAIN_SETTLE_S = 10


def _mesh_is_on(spec: BGPConfigurationSpec) -> bool:
    return spec.node_to_node_mesh_enabled is not False


class BGPConfigurationSpec(Spec):
    """What holds for all nodes (`default`), or differs on one of them (`node.NAME`).

    `nodeToNodeMeshEnabled` None is Calico's true; nodes of a Rack or a RouteReflector then stay out of the mesh.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "nodeMeshPassword needs nodeToNodeMeshEnabled: true",
            "!has(self.nodeMeshPassword) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled",
            lambda spec: spec.node_mesh_password is None or _mesh_is_on(spec),
            field="nodeMeshPassword",
        ),
        Rule(
            "nodeMeshMaxRestartTime needs nodeToNodeMeshEnabled: true",
            "!has(self.nodeMeshMaxRestartTime) || !has(self.nodeToNodeMeshEnabled) || self.nodeToNodeMeshEnabled",
            lambda spec: spec.node_mesh_max_restart_time is None or _mesh_is_on(spec),
            field="nodeMeshMaxRestartTime",
        ),
    )
    ELSEWHERE = {"extensions": "there are no raw configuration lines here"}

    as_number: AsNumber | None = Field(default=None, alias="asNumber")
    """AS of the nodes that neither a Rack nor their Node gives one; 64512 without it."""
    node_to_node_mesh_enabled: Flag | None = None
    """Whether every node peers with every other; true without it."""
    node_mesh_password: Password | None = None
    """TCP-MD5 password of the mesh."""
    node_mesh_max_restart_time: RestartTime | None = None
    """Graceful restart time of the mesh; 120s without it."""
    listen_port: Port | None = None
    """Port that nodes listen on and are dialled at; 179 without it."""
    bind_mode: Literal["None", "NodeIP"] | None = None
    """Listen on all addresses, or on the node's own."""
    ignored_interfaces: Many[OneLine] = ()
    """Interfaces that Calico takes no routes of."""
    log_severity_screen: LogSeverity = None
    """What Calico logs."""
    communities: Many[NamedCommunity] = ()
    """Names for communities."""
    prefix_advertisements: Many[PrefixAdvertisement] = ()
    """Communities by prefix."""
    service_cluster_ips: Many[ServiceRange] = Field(default=(), alias="serviceClusterIPs")
    """Ranges of cluster addresses of services that are announced."""
    service_external_ips: Many[ServiceRange] = Field(default=(), alias="serviceExternalIPs")
    """Ranges that external addresses of services must lie in to be announced."""
    service_load_balancer_ips: Many[ServiceRange] = Field(default=(), alias="serviceLoadBalancerIPs")
    """Ranges that load balancer addresses of services must lie in to be announced."""
    service_load_balancer_aggregation: Literal["Enabled", "Disabled"] | None = None
    """Announce whole ranges, or a host route per service."""
    local_workload_peering_ipv4: Ipv4Address | None = Field(default=None, alias="localWorkloadPeeringIPV4")
    """The address at which a node's workloads peer with it."""
    local_workload_peering_ipv6: Ipv6Address | None = Field(default=None, alias="localWorkloadPeeringIPV6")
    """The same for IPv6."""
    program_cluster_routes: Literal["Enabled", "Disabled", "EnabledNoEncapOnly"] | None = None
    """Who writes the routes between nodes into the kernel."""
    ipv4_normal_route_priority: RoutePriority | None = None
    """Metric of Calico's IPv4 routes."""
    ipv6_normal_route_priority: RoutePriority | None = None
    """Metric of Calico's IPv6 routes."""
    drain: Literal["Unused", "Everything"] | None = None
    """Of node.NAME: the node leaves the fabric's paths, with what others can serve, or with everything."""
    drain_cordoned_nodes: Flag = False
    """A node that is cordoned is drained, too."""
    drain_settle_seconds: WholeNumber = Field(default=DRAIN_SETTLE_S, ge=0, le=3600)
    """How long after its peers were told a drained node withdraws."""

    def mistakes(self) -> Iterator[Mistake]:
        names = [community.name for community in self.communities]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield ("communities", index, "name"), f"{name} is named twice"
        known = {*names, *WELL_KNOWN_COMMUNITIES}
        for index, advertisement in enumerate(self.prefix_advertisements):
            for spot, text in enumerate(advertisement.communities):
                if text not in known and not is_community(text):
                    here = ", ".join(sorted(set(names))) or "none"
                    yield (
                        ("prefixAdvertisements", index, "communities", spot),
                        f"there is no community {shown(text)} (named here: {here})",
                    )

    @property
    def default_as_number(self) -> int:
        """`asNumber`, or Calico's default."""
        return self.as_number or 64512
