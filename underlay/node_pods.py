"""Pods on a node: the CNI requests of its runtime answered, the plugin and its list in the runtime's folders.

The speaker and IPAM do not know each other; here they meet. Every second it looks whether the node is ready, what the
MTU of its uplinks is, and whether the files are as they should be: what somebody removed comes back. The list is
written once the node was ready for the first time, and stays whatever happens then, with the MTU and the podCIDRs of
the day: the runtime takes it for the network itself, and whoever has an outage of the fabric does not want his nodes to
be taken out as well. How the node is after that is told by STATUS.

Nothing here ends the agent. What cannot be written, and a socket that somebody else has, is said once and tried again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bgp_speaker.node_state import NodeState
from ipam import host_local
from ipam.alone import Followed
from ipam.cni_plugin import QUEUE, SOCKET
from ipam.cni_service import CniService, Condition
from ipam.cni_socket import SocketTaken, serve_cni
from ipam.conflist import FILE_NAME, NETWORK, PLUGIN, Conflist, install_plugin, keep_conflist
from ipam.documents import read_declared
from ipam.errors import IpamError, PoolExhausted
from ipam.new_blocks import ensure_blocks
from ipam.requests import Declared
from peering.resource import Resource
from peering.store.protocol import Store, StoreError
from underlay.address_givers import Givers, givers
from underlay.node_condition import node_condition

Log = Callable[[str], None]

LONGEST_SOCKET_PATH = 107
_LOOK_S = 1.0
#: What every link takes, for nodes whose uplinks are not known.
_USUAL_MTU = 1500


@dataclass(frozen=True, slots=True)
class CniPlaces:
    """Where a node has its CNI things. The defaults are where runtimes look for them.

    `python` runs the plugin. It is the node's, which an agent in a container cannot look for; None is the usual one.
    """

    net_dir: Path = Path("/etc/cni/net.d")
    bin_dir: Path = Path("/opt/cni/bin")
    socket: Path = Path(SOCKET)
    queue: Path = Path(QUEUE)
    python: Path | None = None

    @property
    def alone(self) -> Path:
        """What is given while the store is away, beside the queue."""
        return self.queue.parent / "alone"

    def unused_pod_cidrs(self, pod_cidrs: Iterable[str]) -> frozenset[str]:
        """Those in which no pod of our list has an address; none while there is no such list."""
        folder = self.socket.parent / host_local.FOLDER / NETWORK
        return host_local.unused(folder, pod_cidrs) if (self.net_dir / FILE_NAME).exists() else frozenset()


async def _nothing() -> None:
    """Where no pods are served."""


class BlockClaims:
    """IPAM's claim of the node's blocks, as the speaker calls it. `exhausted`: what the last one said of a pool.

    `before`: what is done first, with the declaration that the claim follows from.
    """

    def __init__(self) -> None:
        self.exhausted = ""
        self.before: Callable[[], Awaitable[None]] = _nothing

    async def claim(self, store: Store, node: Resource, pools: tuple[Resource, ...]) -> None:
        """An empty pool may have a free block later, so it counts as a fault that may heal. Raises StoreError."""
        await self.before()
        try:
            await ensure_blocks(store, node, pools)
        except IpamError as error:
            self.exhausted = str(error) if isinstance(error, PoolExhausted) else ""
            raise StoreError(str(error)) from error
        self.exhausted = ""


class NodePods:
    """`state` is asked for what the node's speaker knows."""

    def __init__(
        self,
        store: Store,
        node: str,
        places: CniPlaces,
        state: Callable[[], NodeState],
        claims: BlockClaims,
        log: Log,
    ) -> None:
        self._store = store
        self._node = node
        self._places = places
        self._state = state
        self._claims = claims
        self._log = log
        self._service = CniService(
            store, node, places.queue, log, self._condition, alone=places.alone, follow=self._follow
        )
        claims.before = self._service.tick
        self._ready = False
        self._mtu = 0
        self._givers: Givers | None = None
        known = (places.net_dir / FILE_NAME).exists()
        self._last_reached = time.monotonic() if known else -math.inf  # sessions outlive an agent, and so do pods
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._serve())
                group.create_task(self._look_again_and_again())
        finally:
            self._service.close()

    def _follow(self) -> Followed | None:
        view = self._state().view
        return Followed(frozenset(view.blocks), view.pools) if view is not None else None

    def _condition(self, declared: Declared) -> Condition:
        """For STATUS. Sessions that went down a moment ago are nothing yet: peers keep the routes for that long."""
        state = self._look_at_sessions()
        plan = state.view.plan if state.view else None
        kept = max((session.graceful_restart_time for session in plan.sessions), default=0) if plan else 0
        reached = time.monotonic() - self._last_reached <= kept
        return node_condition(state, declared, self._claims.exhausted, reached)

    def _look_at_sessions(self) -> NodeState:
        state = self._state()
        if state.established:
            self._last_reached = time.monotonic()
        return state

    async def _serve(self) -> None:
        while True:
            try:
                await serve_cni(self._service, self._places.socket)
                self._log(f"cni: {self._places.socket} was removed: it is made anew")
            except (OSError, SocketTaken) as error:
                self._say("socket", f"{self._places.socket}: {error} (trying again)")
                await asyncio.sleep(_LOOK_S)

    async def _look_again_and_again(self) -> None:
        while True:
            state = self._look_at_sessions()
            self._mtu = state.mtu or self._mtu
            self._follow_pools(state)
            installed = await asyncio.to_thread(self._install)
            if not self._ready:
                self._ready = await self._becomes_ready(state) and installed
            if self._ready:
                await asyncio.to_thread(self._write)
            await asyncio.sleep(_LOOK_S)

    def _follow_pools(self, state: NodeState) -> None:
        """Who gives addresses; what it was stays while that cannot be told."""
        view = state.view
        if view is not None and view.node is not None:
            found = givers(Declared(self._node, view.node.labels, view.pools), view.node)
            stays = found.objection and self._ready
            self._say("givers", f"the list stays as it is: {found.objection}" if stays else "")
            if not found.objection:
                self._givers = found

    def _install(self) -> bool:
        """Whether there is a plugin: one of an earlier agent is better than none."""
        try:
            install_plugin(self._places.bin_dir, str(self._places.python or ""))
        except OSError as error:
            self._say("plugin", f"{self._places.bin_dir}: {error.strerror or error} (trying again)")
            return (self._places.bin_dir / PLUGIN).exists()
        self._say("plugin", "")
        return True

    async def _becomes_ready(self, state: NodeState) -> bool:
        if state.view is None or state.mtu is None:
            return False
        try:
            declared = await read_declared(self._store, self._node)
        except (IpamError, StoreError) as error:
            self._say("ready", f"no pods yet: {error}")
            return False
        reason = node_condition(state, declared, self._claims.exhausted, state.established > 0).reason
        self._say("ready", f"no pods yet: {reason}" if reason else "")
        # The speaker's view may be a moment older than the store, and the list is made of the view.
        return not reason and state.view.node is not None and self._givers == givers(declared, state.view.node)

    def _write(self) -> None:
        self._say("mtu", "" if self._mtu else f"no link with an address of an uplink or a session: MTU {_USUAL_MTU}")
        by = self._givers or Givers()
        conflist = Conflist(
            self._mtu or _USUAL_MTU,
            socket=self._places.socket,
            queue=self._places.queue,
            pod_cidrs=by.pod_cidrs,
            blocks=by.blocks,
        )
        try:
            if keep_conflist(self._places.net_dir, conflist, ready=True):
                ranges = f", podCIDRs {', '.join(by.pod_cidrs)}" if by.pod_cidrs else ""
                self._log(f"cni: {self._places.net_dir / FILE_NAME} written, MTU {conflist.mtu}{ranges}")
        except OSError as error:
            self._say("list", f"{self._places.net_dir}: {error.strerror or error} (trying again)")
        else:
            self._say("list", "")

    def _say(self, about: str, line: str) -> None:
        """Once, until it is another one."""
        if line and self._said.get(about) != line:
            self._log(f"cni: {line}")
        self._said[about] = line
