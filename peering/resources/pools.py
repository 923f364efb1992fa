"""IPPool, IPReservation, IPAMConfiguration: where pods get their addresses from, as Calico declares it.

Encapsulation does not exist here: pods are fabric endpoints, so `ipipMode` and `vxlanMode` can only be `Never`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from peering.resources.fields import Cidr, Flag, Many, MaybeSelector, Mistake, Selector, Spec, WholeNumber, shown
from peering.resources.rules import Rule, immutable

#: Lengths of blocks by who gives their addresses and by IP version, and those where none is written: Calico's, and
#: Kubernetes' (`--node-cidr-mask-size`). Host-local takes no block that is smaller.
_SIZES = {"underlay": {4: (20, 32), 6: (116, 128)}, "podCIDR": {4: (8, 30), 6: (16, 126)}}
_USUAL_SIZES = {"underlay": {4: 26, 6: 122}, "podCIDR": {4: 24, 6: 64}}


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


def _not_with_pod_cidrs(what: str, field: str, cel: str, holds: Callable[[IPPoolSpec], bool]) -> Rule:
    """`cel` and `holds` say when the field is as it has to be. Host-local knows none of these fields."""
    return Rule(
        f"with ipam: podCIDR {what}",
        f"!has(self.ipam) || self.ipam != 'podCIDR' || {cel}",
        lambda spec: not spec.by_pod_cidr or holds(spec),
        field=field,
    )


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
        immutable("ipam"),
        _not_with_pod_cidrs(
            "allowedUses must have Workload",
            "allowedUses",
            "!has(self.allowedUses) || size(self.allowedUses) == 0 || 'Workload' in self.allowedUses",
            lambda spec: "Workload" in spec.allowed_uses,
        ),
        _not_with_pod_cidrs(
            "host-local gives the addresses, and assignmentMode can only be Automatic",
            "assignmentMode",
            "!has(self.assignmentMode) || self.assignmentMode == 'Automatic'",
            lambda spec: spec.assignment_mode == "Automatic",
        ),
        _not_with_pod_cidrs(
            "host-local gives the addresses, and the pool cannot be disabled",
            "disabled",
            "!has(self.disabled) || !self.disabled",
            lambda spec: not spec.disabled,
        ),
        _not_with_pod_cidrs(
            "host-local gives the addresses, and knows no namespaceSelector",
            "namespaceSelector",
            "!has(self.namespaceSelector)",
            lambda spec: spec.namespace_selector is None,
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
    """Prefix length of a block; without it 26 and, for IPv6, 122; with ipam: podCIDR 24 and 64."""
    ipam: Literal["underlay", "podCIDR"] = "underlay"
    """Who gives its addresses: our IPAM, in blocks that nodes claim, or host-local, in the podCIDRs of the nodes."""
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
        low, high = _SIZES[self.ipam][network.version]
        if self.block_size and not low <= self.block_size <= high:
            by = " with ipam: podCIDR" if self.by_pod_cidr else ""
            yield ("blockSize",), f"must be {low}..{high} for IPv{network.version}{by}"
        elif network.prefixlen > self.block_length:
            yield ("cidr",), f"the pool {self.cidr} is smaller than one block of /{self.block_length}"
        if network.is_link_local:
            yield ("cidr",), f"{self.cidr} is link-local and cannot be routed"

    @property
    def for_load_balancers(self) -> bool:
        """Whether Services get its addresses, and pods never do."""
        return _of_load_balancers(self)

    @property
    def exports_blocks(self) -> bool:
        """Whether its blocks go into the fabric. Of what is for Services no node announces a block."""
        return not self.disable_bgp_export and not self.for_load_balancers

    @property
    def block_length(self) -> int:
        """`blockSize`, or the default: Calico's, of a pool of podCIDRs that of Kubernetes."""
        return self.block_size or _USUAL_SIZES[self.ipam][6 if ":" in self.cidr else 4]

    @property
    def by_pod_cidr(self) -> bool:
        """Whether its blocks are the podCIDRs of nodes: nobody claims them."""
        return self.ipam == "podCIDR"

    @property
    def aggregated_by(self) -> Literal["rack", "pool"] | None:
        """Whose announcement of the pool stands for its blocks; None for a pool of one block, and one not exported."""
        if self.aggregate == "block" or not self.exports_blocks:
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
