"""IPPool, IPReservation, IPAMConfiguration: where pods get their addresses from, as Calico declares it.

Encapsulation does not exist here: pods are fabric endpoints, so `ipipMode` and `vxlanMode` can only be `Never`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from peering.resources.fields import Cidr, Flag, Many, MaybeSelector, Mistake, Selector, Spec, WholeNumber, shown
from peering.resources.rules import Rule, immutable

_SIZES = {4: (20, 32), 6: (116, 128)}


def _never(value: Any) -> Any:
    if value in ("Always", "CrossSubnet"):
        raise ValueError(f"{shown(value)} is not possible, only Never: pods are endpoints of the fabric")
    return value


def _unless_no_use(value: Any) -> Any:
    """Calico takes an empty list for its default."""
    return ("Tunnel", "Workload") if value in ([], ()) else value


Uses = Annotated[
    tuple[Literal["Workload", "Tunnel", "LoadBalancer"], ...], Field(max_length=10), BeforeValidator(_unless_no_use)
]
Never = Annotated[Literal["Never"], BeforeValidator(_never)]


def _of_load_balancers(spec: IPPoolSpec) -> bool:
    return "LoadBalancer" in spec.allowed_uses


_NO_LOAD_BALANCER = "!has(self.allowedUses) || !('LoadBalancer' in self.allowedUses)"


class IPPoolSpec(Spec):
    """A pool that nodes claim blocks from."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        immutable("cidr"),
        immutable("block_size"),
        Rule(
            "LoadBalancer stands alone",
            f"{_NO_LOAD_BALANCER} || size(self.allowedUses) == 1",
            lambda spec: not _of_load_balancers(spec) or len(spec.allowed_uses) == 1,
            field="allowedUses",
        ),
        Rule(
            "a LoadBalancer pool cannot have disableBGPExport",
            f"{_NO_LOAD_BALANCER} || !has(self.disableBGPExport) || !self.disableBGPExport",
            lambda spec: not _of_load_balancers(spec) or not spec.disable_bgp_export,
            field="disableBGPExport",
        ),
        Rule(
            "a LoadBalancer pool's nodeSelector is all()",
            f"{_NO_LOAD_BALANCER} || !has(self.nodeSelector) || self.nodeSelector == 'all()'",
            lambda spec: not _of_load_balancers(spec) or spec.node_selector == "all()",
            field="nodeSelector",
        ),
    )
    ELSEWHERE = {
        "ipip": "leave it out: nothing is encapsulated",
        "nat-outgoing": "write natOutgoing",
        "encapsulation": "leave it out: nothing is encapsulated",
        "awsSubnetID": "leave it out: nodes do not ask a cloud for addresses",
    }

    cidr: Cidr
    """The pool."""
    block_size: WholeNumber = Field(default=0, ge=0, le=128)
    """Prefix length of a block; 26 for IPv4 and 122 for IPv6 without it."""
    node_selector: Selector = "all()"
    """Which nodes claim blocks of the pool."""
    namespace_selector: MaybeSelector = None
    """Which namespaces' pods get addresses of the pool."""
    disabled: Flag = False
    """No new block is claimed."""
    disable_bgp_export: Flag = Field(default=False, alias="disableBGPExport")
    """Its blocks stay out of the fabric."""
    nat_outgoing: Flag = False
    """Calico hides the addresses of pods outside its pools."""
    ipip_mode: Never = "Never"
    """There is no encapsulation."""
    vxlan_mode: Never = "Never"
    """There is no encapsulation."""
    allowed_uses: Uses = ("Tunnel", "Workload")
    """What its addresses are for."""
    assignment_mode: Literal["Automatic", "Manual"] = "Automatic"
    """Manual: only for pods that name the pool."""
    aggregate: Literal["block", "rack", "pool"] = "block"
    """What the fabric is told: each block, or the pool, by the rack's switches (rack) or by the nodes (pool)."""

    def mistakes(self) -> Iterator[Mistake]:
        network = ipaddress.ip_network(self.cidr)
        low, high = _SIZES[network.version]
        if self.block_size and not low <= self.block_size <= high:
            yield ("blockSize",), f"must be {low}..{high} for IPv{network.version}"
        elif network.prefixlen > self.block_length:
            yield ("cidr",), f"the pool {self.cidr} is smaller than one block of /{self.block_length}"
        if network.is_link_local:
            yield ("cidr",), f"{self.cidr} is link-local and cannot be routed"

    @property
    def block_length(self) -> int:
        """`blockSize`, or Calico's default: 26 for IPv4, 122 for IPv6."""
        return self.block_size or (26 if ":" not in self.cidr else 122)

    @property
    def aggregated_by(self) -> Literal["rack", "pool"] | None:
        """Whose announcement of the pool stands for its blocks; None for a pool of one block, and one not exported."""
        if self.aggregate == "block" or self.disable_bgp_export:
            return None
        one_block = ipaddress.ip_network(self.cidr).prefixlen == self.block_length
        return None if one_block else self.aggregate


class IPReservationSpec(Spec):
    """Addresses that are not handed out; those in use stay in use."""

    reserved_cidrs: Many[Cidr] = Field(default=(), alias="reservedCIDRs")
    """CIDRs or single addresses."""


class IPAMConfigurationSpec(Spec):
    """How blocks are claimed."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "autoAllocateBlocks: false needs strictAffinity: true",
            "!has(self.autoAllocateBlocks) || self.autoAllocateBlocks || (has(self.strictAffinity) "
            "&& self.strictAffinity)",
            lambda spec: spec.auto_allocate_blocks or spec.strict_affinity,
            field="autoAllocateBlocks",
        ),
        Rule(
            "maxBlocksPerHost needs strictAffinity: true",
            "!has(self.maxBlocksPerHost) || self.maxBlocksPerHost == 0 || (has(self.strictAffinity) "
            "&& self.strictAffinity)",
            lambda spec: spec.max_blocks_per_host == 0 or spec.strict_affinity,
            field="maxBlocksPerHost",
        ),
    )
    ELSEWHERE = {"maxBlocksPerNode": "write maxBlocksPerHost"}

    strict_affinity: Flag = False
    """Addresses come from the node's own blocks only."""
    auto_allocate_blocks: Flag = True
    """Nodes claim blocks when they need them."""
    max_blocks_per_host: WholeNumber = Field(default=0, ge=0, le=1000000)
    """The most blocks of one node; 0 is 20."""
    ip_cooldown_seconds: WholeNumber = Field(default=0, ge=0, le=1200)
    """How long a released address is not handed out again."""
    kube_virt_vm_address_persistence: Literal["Enabled", "Disabled"] = Field(
        default="Enabled", alias="kubeVirtVMAddressPersistence"
    )
    """Whether a KubeVirt machine keeps its address."""
