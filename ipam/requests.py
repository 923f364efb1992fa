"""What is asked of the allocator, what the admin declared about it, and which pools follow from the two. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from ipam.block import Holder, Limits
from ipam.block_order import is_inside
from ipam.errors import NoPool, NotInAPool, PoolNotUsable
from ipam.owners import LOAD_BALANCERS, shown
from peering.resource import Resource
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec, IPReservationSpec
from peering.selectors import parse_selector

#: What `maxBlocksPerHost: 0` means, in Calico and here.
_BLOCKS_PER_HOST = 20
#: As many as can be written: Services have no node to be fair to.
_BLOCKS_OF_SERVICES = 1000000
_VERSIONS = (4, 6)
#: Who gets addresses of pools with these `allowedUses`.
_HOLDERS = {"Workload": "pod", "LoadBalancer": "Service"}


@dataclass(frozen=True, slots=True)
class Request:
    """Addresses for one handle: so many of each family, or the very `addresses`. All of it or nothing.

    `ipv4_pools` and `ipv6_pools` are names of IPPools, the one to be tried first in front; none means those that are
    for the node and the namespace. `addresses` are without a length; a family that has one gets no others.
    """

    handle: str
    ipv4: int = 1
    ipv6: int = 0
    namespace: str = ""
    pod: str = ""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ipv4_pools: tuple[str, ...] = ()
    ipv6_pools: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def holder(self, node: str) -> Holder:
        """Who holds the addresses when the pod runs on the node."""
        return Holder(self.handle, node, self.namespace, self.pod)

    def count(self, version: int) -> int:
        """How many addresses of IP version 4 or 6 the allocator chooses."""
        asked = self.ipv4 if version == 4 else self.ipv6
        return 0 if any(version_of(one) == version for one in self.addresses) else asked


@dataclass(frozen=True, slots=True)
class Declared:
    """What allocation depends on of what the admin declared, for one node, or for load balancers (owners.py)."""

    node: str
    node_labels: Mapping[str, str] = field(default_factory=dict)
    pools: tuple[Resource, ...] = ()
    reserved: tuple[str, ...] = ()
    configuration: IPAMConfigurationSpec = field(default_factory=IPAMConfigurationSpec)
    use: Literal["Workload", "LoadBalancer"] = "Workload"

    @classmethod
    def of(cls, node: str, node_labels: Mapping[str, str], resources: Sequence[Resource]) -> Declared:
        """From all resources of the kinds IPPool, IPReservation and IPAMConfiguration (the one named default)."""
        reserved = [cast(IPReservationSpec, r.spec).reserved_cidrs for r in resources if r.kind == "IPReservation"]
        found = [r.spec for r in resources if r.kind == "IPAMConfiguration" and r.name == "default"]
        return cls(
            node,
            node_labels,
            tuple(sorted((r for r in resources if r.kind == "IPPool"), key=lambda pool: pool.name)),
            tuple(cidr for cidrs in reserved for cidr in cidrs),
            cast(IPAMConfigurationSpec, found[0]) if found else IPAMConfigurationSpec(),
        )

    @classmethod
    def for_load_balancers(cls, resources: Sequence[Resource]) -> Declared:
        """The same for Services. What IPAMConfiguration says of nodes is not for them; they never borrow."""
        declared = cls.of(LOAD_BALANCERS, {}, resources)
        cooldown = declared.configuration.ip_cooldown_seconds
        configuration = IPAMConfigurationSpec(
            strict_affinity=True, max_blocks_per_host=_BLOCKS_OF_SERVICES, ip_cooldown_seconds=cooldown
        )
        return replace(declared, configuration=configuration, use="LoadBalancer")

    @property
    def limits(self) -> Limits:
        """What keeps free addresses from being given."""
        return Limits(self.reserved, self.configuration.ip_cooldown_seconds)

    @property
    def most_blocks(self) -> int:
        """The most blocks of one family that the node may own."""
        return self.configuration.max_blocks_per_host or _BLOCKS_PER_HOST

    def objection(self, pool: Resource, namespace_labels: Mapping[str, str] | None) -> str:
        """Why the node or a namespace with these labels may not use the pool, even by its name; empty when they may.

        Without labels (None) the namespace does not matter.
        """
        spec = cast(IPPoolSpec, pool.spec)
        if spec.by_pod_cidr:
            return "belongs to nodes by their podCIDRs: host-local gives its addresses (ipam: podCIDR)"
        if spec.disabled:
            return "is disabled"
        holder = _HOLDERS[self.use]
        if self.use not in spec.allowed_uses:
            return f"is for {', '.join(spec.allowed_uses)}, not for {holder}s (allowedUses)"
        if not parse_selector(spec.node_selector)(self.node_labels):
            return f"does not select {shown(self.node)} (nodeSelector {spec.node_selector})"
        if spec.namespace_selector is None or namespace_labels is None:
            return ""
        if not parse_selector(spec.namespace_selector)(namespace_labels):
            return f"does not select the {holder}'s namespace (namespaceSelector {spec.namespace_selector})"
        return ""

    def pools_for(self, request: Request, version: int) -> list[Resource]:
        """The pools of the family in the order to be tried. Raises PoolNotUsable, NoPool."""
        named = request.ipv4_pools if version == 4 else request.ipv6_pools
        if named:
            return [self._named(name, request, version) for name in named]
        fit = [p for p in self._of(version) if not self.objection(p, request.namespace_labels) and is_automatic(p)]
        if not fit:
            whom = shown(self.node) + (f" and namespace {request.namespace}" if request.namespace else "")
            make = "make one" if self.use == "Workload" else f"make one with allowedUses: [{self.use}]"
            raise NoPool(f"no enabled IPPool of IPv{version} is for {whom}: {make}, or look at the selectors")
        return fit

    def pool_of(self, address: str, request: Request) -> Resource:
        """The pool of an address that was asked for. Raises NotInAPool."""
        for pool in self._of(version_of(address)):
            if is_inside(address, cast(IPPoolSpec, pool.spec).cidr):
                objection = self.objection(pool, request.namespace_labels)
                if objection:
                    raise NotInAPool(f"{address} is in {pool.ref}, which {objection}")
                return pool
        raise NotInAPool(f"{address} is in no IPPool")

    def as_facts(self) -> Declared:
        """The same for addresses that pods have: no pool is closed to them, and nothing is reserved."""
        opened = {"disabled": False, "node_selector": "all()", "namespace_selector": None, "allowed_uses": (self.use,)}
        pools = (replace(pool, spec=pool.spec.model_copy(update=opened)) for pool in self.pools)
        return replace(self, pools=tuple(pools), reserved=())

    def families(self) -> tuple[int, ...]:
        """The IP versions of which the node has a pool to choose from, for a pod without a namespace."""
        fit = [p for p in self.pools if not self.objection(p, {}) and is_automatic(p)]
        return tuple(v for v in _VERSIONS if any(version_of(cast(IPPoolSpec, p.spec).cidr) == v for p in fit))

    def _of(self, version: int) -> Iterator[Resource]:
        return (pool for pool in self.pools if version_of(cast(IPPoolSpec, pool.spec).cidr) == version)

    def _named(self, name: str, request: Request, version: int) -> Resource:
        pool = next((pool for pool in self._of(version) if pool.name == name), None)
        if pool is None:
            raise PoolNotUsable(f"there is no IPPool/{name} of IPv{version}")
        objection = self.objection(pool, request.namespace_labels)
        if objection:
            raise PoolNotUsable(f"IPPool/{name} {objection}")
        return pool


def is_automatic(pool: Resource) -> bool:
    """Whether pods get addresses of the pool without naming it."""
    return cast(IPPoolSpec, pool.spec).assignment_mode == "Automatic"


def version_of(text: str) -> int:
    """4 or 6, of an address or CIDR as text."""
    return 6 if ":" in text else 4
