"""The kernel side of the agent: links read, routes written, what others break repaired.

Holds what the kernel had when the agent started (`held`) until the initial sync is over, gives the own blocks
their blackhole routes, and says which of the node's loopbacks can be the source of its traffic. I/O only:
which routes are wanted is decided in rib.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

from bgp_speaker.initial_sync import InitialSync
from bgp_speaker.kernel_route import BLACKHOLE, KernelRoute
from bgp_speaker.kernel_routes import PROTOCOL, KernelRoutes
from bgp_speaker.reconciler import Log
from bgp_speaker.route_monitor import RouteMonitor
from bgp_speaker.service_discards import ServiceDiscards
from bgp_speaker.uplinks import Link, connected_interface, read_local_addresses, read_uplinks, uplink_mtu
from peering.prefixes import Address, Prefix, format_prefix, is_host, pack_address, pack_prefix
from peering.session import Session


class RouteWriter:
    """One node's kernel routes of our protocol number. Use as an asynchronous context manager."""

    def __init__(self, log: Log, changed: Callable[[], None]) -> None:
        self._log = log
        self._changed = changed
        self._kernel = KernelRoutes()
        self._services = ServiceDiscards()
        self._monitor = RouteMonitor(PROTOCOL, self._kernel.port)
        self._links: list[Link] = []
        self._local: frozenset[Address] = frozenset()
        self._held = dict(self._kernel.read())
        self._links_stale = self._foreign_change = True
        self._failed: dict[str, str] = {}
        self._discarded: frozenset[str] | None = None
        self._not_discarded: dict[str, str] = {}

    async def __aenter__(self) -> RouteWriter:
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._drain)
        await self.read_links()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._monitor.fileno())
        self._monitor.close()
        self._kernel.close()
        self._services.close()

    def _drain(self) -> None:
        """Somebody else changed links, or routes of ours: the next write looks before it compares."""
        disturbance = self._monitor.drain()
        if disturbance:
            self._links_stale |= disturbance.links
            self._foreign_change = True
            self._changed()

    async def read_links(self) -> None:
        """Reads the links again if any has changed."""
        if self._links_stale:
            self._links_stale = False
            self._links = await read_uplinks()
            self._local = await read_local_addresses()

    def connected(self, gateway: Address) -> int | None:
        """The interface on whose subnet the gateway lies, when it is up."""
        return connected_interface(self._links, gateway)

    def interface(self, gateway: Address) -> str | None:
        """The name of that interface."""
        ifindex = self.connected(gateway)
        return next((link.name for link in self._links if link.ifindex == ifindex), None)

    def sources(self, loopbacks: Iterable[str]) -> list[Address]:
        """Those of the loopbacks that are addresses of this machine; the kernel takes no others as source."""
        return [packed for packed in map(pack_address, loopbacks) if packed in self._local]

    def mtu(self, sessions: Iterable[Session], uplinks: Iterable[str]) -> int:
        """The smallest of the links over which these sessions run or that have addresses of uplinks; 0 without any."""
        planned = list(sessions)
        local = {pack_address(s.local_address) for s in planned if s.local_address}
        peers = [pack_address(a) for s in planned for a in (s.peer_address, s.reachable_by) if a]
        return uplink_mtu(self._links, {pack_address(a) for a in uplinks}, local, peers)

    def distrust(self) -> None:
        """The next write compares with the kernel itself, not with what was written last."""
        self._foreign_change = True
        self._discarded = None

    def write(
        self,
        desired: Mapping[Prefix, KernelRoute],
        blocks: Iterable[str],
        peers: Mapping[Prefix, KernelRoute],
        sync: InitialSync | None,
    ) -> int:
        """Makes the kernel equal to the whole set; how many routes that is. Bad routes are logged, not fatal.

        The own `blocks`, with the pools that are announced for them, and the routes to `peers` come before what was
        learned.
        """
        blackholes = {prefix: BLACKHOLE for prefix in map(pack_prefix, blocks) if not is_host(prefix)}
        fixed = {**blackholes, **peers}
        wanted = sync.merge(desired, self._held, fixed) if sync else {**self._held, **fixed}
        if sync is not None and sync.over:
            self._held = {}
        result = self._kernel.sync(wanted) if self._foreign_change else self._kernel.apply(wanted)
        self._foreign_change = bool(result.failed)
        self._failed = self._reported({format_prefix(p): message for p, message in result.failed}, self._failed)
        return len(wanted)

    def discard(self, services: Iterable[str]) -> None:
        """What comes for these prefixes and is for no service that there is goes nowhere. Refusals are logged."""
        wanted = frozenset(services)
        if wanted != self._discarded:
            refused = self._services.sync(wanted)
            self._not_discarded = self._reported(refused, self._not_discarded)
            self._discarded = None if refused else wanted

    def _reported(self, failed: dict[str, str], before: dict[str, str]) -> dict[str, str]:
        """What failed; what is new of it is logged."""
        for subject, message in failed.items():
            if before.get(subject) != message:
                self._log(f"kernel refused {subject}: {message}")
        return failed
