"""Services of Kubernetes and where their endpoints are.

Of a Service only what decides about the addresses that it gets, and about what a node announces.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peering.resources.fields import IpAddress, OneLine, Spec


class ServiceSpec(Spec):
    """A Service: its addresses, and whether they are to be announced from nodes with an endpoint only."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    """What kind of service it is."""
    cluster_ips: tuple[IpAddress, ...] = Field(default=(), alias="clusterIPs")
    """Addresses inside the cluster."""
    external_ips: tuple[IpAddress, ...] = Field(default=(), alias="externalIPs")
    """Addresses that the admin has chosen."""
    load_balancer_ips: tuple[IpAddress, ...] = Field(default=(), alias="loadBalancerIPs")
    """Addresses that a load balancer controller has given: those of `status`."""
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = ()
    """Of which families it has addresses; the first one is the one that it prefers."""
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] = "SingleStack"
    """Whether it is nothing without both families."""
    load_balancer_ip: OneLine | None = Field(default=None, alias="loadBalancerIP")
    """The address that it asks for, as it is written; deprecated in Kubernetes."""
    load_balancer_class: OneLine | None = None
    """Whose controller gives it addresses."""
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    """`Local`: only nodes with an endpoint that is ready take traffic from outside."""


class EndpointSliceSpec(Spec):
    """Of an EndpointSlice: on which nodes its service has an endpoint that is ready."""

    service: OneLine = ""
    """NAMESPACE.NAME of the Service."""
    ready_on: tuple[OneLine, ...] = ()
    """The nodes; an endpoint that names none counts nowhere."""
