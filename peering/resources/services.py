"""Services of Kubernetes and where their endpoints are, as far as it decides about what a node announces."""

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
