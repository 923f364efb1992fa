"""The node agent: keeps what ExaBGP announces, what the kernel routes and what the status says as desired.

    store ─► view ─► ExaBGP configuration ─► sessions
             view ─► announcements ─► ExaBGP ─► peers
    peers ─► ExaBGP ─► events ─► Rib ─► kernel routes
    links, foreign changes ─► kernel routes

Each arrow is a `Reconciler` that is triggered when its input changed and makes its output equal to the whole
desired set; none of them keeps a queue. Killing the agent at any moment loses nothing: sessions live in
ExaBGP, routes in the kernel, claims in the store. ExaBGP that finds no agent for the graceful-restart time
ends itself (exabgp_shim.py), so it never announces for long what nobody stands for any more.

On SIGTERM the agent takes ExaBGP with it, without a NOTIFICATION, and leaves the kernel routes: peers that
help with graceful restart keep forwarding until the next agent is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.exabgp_config import Rendered, compile_config
from bgp_speaker.exabgp_driver import ConfigRefused, Connected, ExaBGP, ExaBGPFailed, Exited
from bgp_speaker.exabgp_events import EndOfRib, Event, PeerOpen, PeerState, RouteRefresh, Undecodable, Update
from bgp_speaker.exabgp_user import DEFAULT_USER
from bgp_speaker.import_policy import ImportPolicy
from bgp_speaker.initial_sync import InitialSync
from bgp_speaker.node_drain import NodeDrain, UnusedPodCidrs, nobody_knows
from bgp_speaker.node_state import NodeState
from bgp_speaker.node_status import StatusWriter
from bgp_speaker.node_troubles import LISTENING, NodeTroubles
from bgp_speaker.node_view import WATCHED, NodeView, ViewReader
from bgp_speaker.peer_announcer import PeerAnnouncer
from bgp_speaker.peer_routes import peer_routes
from bgp_speaker.prefix_limits import LimitWatch
from bgp_speaker.reconciler import WILL_HEAL, Log, Reconciler
from bgp_speaker.rib import Rib
from bgp_speaker.route_writer import RouteWriter
from bgp_speaker.run_lock import AlreadyRunning, locked
from bgp_speaker.session_events import exabgp_event, session_event
from bgp_speaker.session_notes import session_notes
from bgp_speaker.session_objections import spoken
from bgp_speaker.session_table import SessionTable
from peering.addressing import aggregates_of
from peering.pod_cidrs import of_node
from peering.prefixes import format_address
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.session import SpeakerPlan
from peering.store.protocol import Store

__all__ = ["AlreadyRunning", "Beside", "ClaimBlocks", "Speaker"]

#: Makes sure the node owns a block of each pool; the face passes IPAM's.
ClaimBlocks = Callable[[Store, Resource, tuple[Resource, ...]], Awaitable[object]]
#: Work that never ends by itself.
Beside = Callable[[], Coroutine[Any, Any, None]]

#: The object that a speaker tells of.
_REPORT = "BGPNodeStatus"
_REPAIR_INTERVAL_S = 60.0
_ROUTES_PAUSE_S = 0.02
_STATUS_PAUSE_S = 0.5
_SHORTEST_SYNC_S = 10.0
_CONTESTED = "somebody else writes the report of this node, too: have two machines its name?"
_GONE_TWICE_S = 1.0


class Speaker:
    """One node. `run` ends when `stop` is called, or with an exception that is a bug."""

    def __init__(
        self,
        node: str,
        store: Store,
        run_dir: Path,
        claim: ClaimBlocks,
        log: Log,
        exabgp_user: str = DEFAULT_USER,
        unused_pod_cidrs: UnusedPodCidrs = nobody_knows,
    ) -> None:
        self._node = node
        self._store = store
        self._run_dir = run_dir
        self._claim = claim
        self._log = log
        self._exabgp_user = exabgp_user
        self._exabgp: ExaBGP | None = None
        self._view: NodeView | None = None
        self._plan: SpeakerPlan | None = None
        self._unreached: dict[str, str] = {}
        self._rib = Rib()
        self._sessions = SessionTable()
        self._announcer = PeerAnnouncer()
        self._rendered: Rendered | None = None
        self._troubles = NodeTroubles(log)
        self._limits = LimitWatch()
        self._sync: InitialSync | None = None
        self._exabgp_restarts = 0
        self._route_count = 0
        self._mtu: int | None = None
        self._reported: BGPNodeStatusSpec | None = None
        self._stopped = asyncio.Event()
        self._status = StatusWriter(store, node)
        self._reader = ViewReader(store, node)
        self._drain = NodeDrain(store, node, self._on_blocks_used, log, unused_pod_cidrs)
        self._seeing = Reconciler("store", self._see, log)
        self._claiming = Reconciler("ipam", self._claim_blocks, log)
        self._configuring = Reconciler("exabgp", self._configure, log)
        self._announcing = Reconciler("announcements", self._announce, log)
        self._routing = Reconciler("kernel routes", self._write_routes, log, _ROUTES_PAUSE_S)
        self._reporting = Reconciler("status", self._report, log, _STATUS_PAUSE_S)

    async def run(self, *beside: Beside) -> None:
        """Works until stopped; `beside` is done as long. Raises AlreadyRunning."""
        with locked(self._run_dir):
            await self._work(beside)

    async def _work(self, beside: Sequence[Beside]) -> None:
        loops = (self._seeing, self._claiming, self._configuring, self._announcing, self._routing, self._reporting)
        try:
            async with RouteWriter(self._log, self._routing.trigger) as self._routes, asyncio.TaskGroup() as group:
                tasks = [group.create_task(loop.run()) for loop in loops]
                tasks += [
                    group.create_task(work()) for work in (self._watch_store, self._tick, self._drain.run, *beside)
                ]
                await self._stopped.wait()
                for task in tasks:
                    task.cancel()
        finally:
            if self._stopped.is_set():
                await self._end_exabgp()
            elif self._exabgp is not None:
                await self._exabgp.leave()  # a bug of ours is no reason to end sessions: the next agent adopts it

    def stop(self) -> None:
        """Ends `run`: ExaBGP goes too, kernel routes stay."""
        self._stopped.set()

    @property
    def state(self) -> NodeState:
        """What is known now."""
        plan, up = self._view.plan if self._view else None, set(self._sessions.up())
        established = sum(session.peer_address in up for session in plan.sessions) if plan else 0
        return NodeState(
            self._view,
            established,
            self._mtu,
            exabgp_runs=self._exabgp is not None and self._exabgp.ready,
            omitted=self._rendered.omitted if self._rendered else {},
            report=self._reported,
        )

    async def _watch_store(self) -> None:
        """Turns changes of the store into triggers; a lost watch is begun again."""
        said = ""
        while True:
            try:
                _, since = await self._store.snapshot(())
                self._seeing.trigger()
                async for _ in self._store.watch(WATCHED, since):
                    self._seeing.trigger()
            except WILL_HEAL as error:
                if str(error) != said:
                    said = str(error)
                    self._log(f"store: {error} (watching again)")
            await asyncio.sleep(1)

    async def _tick(self) -> None:
        """Deadlines of stale paths and of the initial sync, and the periodic comparison with the kernel."""
        repair_at = time.monotonic() + _REPAIR_INTERVAL_S
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            if now >= repair_at:
                repair_at = now + _REPAIR_INTERVAL_S
                self._routes.distrust()
                self._routing.trigger()
            if self._drain.tick(now):
                self._log(f"drain: {self._drain.phase}")
                self._announcing.trigger()
            self._reporting.trigger()
            if self._rib.expire(now) or (self._sync is not None and self._sync.expire(now)):
                self._routing.trigger()

    async def _see(self) -> None:
        """Reads what the store declares now, and triggers what depends on what changed."""
        before = self._view
        view = await self._reader.read()
        if before is not None and _sessions_of(before) and not _sessions_of(view):
            # One reading in which the node, or all of its sessions, is missing may be wrong: it would
            # withdraw everything.
            await asyncio.sleep(_GONE_TWICE_S)
            view = await self._reader.read()
        self._view = view
        self._troubles.note("node", _unplanned(view))
        if self._drain.follow(view.drain, of_node(view.node, view.pools)):
            self._log(f"drain: {self._drain.phase}")
        self._plan = replace(view.plan, sessions=spoken(view.plan, view.passwords)) if view.plan else None
        if before is None or _decides_routes(view) != _decides_routes(before):
            self._configure_rib()
            self._routing.trigger()
            self._announcing.trigger()
        if before is None or (view.plan, view.passwords) != (before.plan, before.passwords):
            self._configuring.trigger()
        if before is None or (view.node, view.pools, view.blocks) != (before.node, before.pools, before.blocks):
            self._claiming.trigger()
        self._reporting.trigger()

    def _configure_rib(self) -> None:
        plan, view = self._plan, self._view
        if plan is None or view is None:
            self._rib.configure((), ImportPolicy(own_asn=0, accept=()), "")
            return
        policy = ImportPolicy(
            own_asn=plan.asn,
            accept=plan.imports,
            own_blocks=(*view.blocks, *view.borrowed),
            lent=view.lent,
            loopbacks=plan.loopbacks,
            uplink_subnets=plan.uplink_subnets,
            addresses=[s.local_address for s in plan.sessions if s.local_address],
        )
        self._rib.configure(plan.sessions, policy, plan.router_id, view.policy.filters)

    async def _claim_blocks(self) -> None:
        if self._view is None or self._view.node is None:
            return
        try:
            await self._claim(self._store, self._view.node, self._view.pools)
        except WILL_HEAL as error:
            self._troubles.note("ipam", str(error))
            raise
        self._troubles.note("ipam", "")

    async def _configure(self) -> None:
        """Brings ExaBGP to the sessions of the plan; without a plan there is no ExaBGP."""
        view = self._view
        if view is None:
            return
        if view.plan is None:
            await self._withdraw_everything()
            return
        exabgp = self._exabgp or self._make_exabgp(view)
        try:
            rendered = compile_config(
                view.plan,
                socket_path=str(exabgp.socket_path),
                shim_command=exabgp.shim_command,
                passwords=view.passwords,
            )
        except ValueError as error:
            self._troubles.note("exabgp", f"{error}; the sessions stay as they are")
            return
        peers = [s.peer_address for s in view.plan.sessions if s.name not in rendered.omitted]
        self._rendered = rendered
        self._sessions.keep_only(peers)
        self._announcer.keep_only(peers)
        self._exabgp = exabgp
        try:
            outcome = await exabgp.start(rendered.text)
        except (ConfigRefused, ExaBGPFailed) as error:
            self._troubles.note("exabgp", str(error))
        else:
            self._troubles.note("exabgp", "")
            if outcome != "unchanged":
                self._log(f"exabgp {outcome}: generation {rendered.generation}, {len(peers)} sessions")
        self._announcing.trigger()
        self._reporting.trigger()

    def _make_exabgp(self, view: NodeView) -> ExaBGP:
        """An ExaBGP that ends itself when no agent comes back within the restart time its peers were told."""
        sessions = view.plan.sessions if view.plan else ()
        restart = max((s.graceful_restart_time for s in sessions), default=0)
        return ExaBGP(
            self._run_dir,
            on_event=self._on_event,
            log=self._troubles.hear,
            user=self._exabgp_user,
            orphan_timeout=max(restart, _SHORTEST_SYNC_S),
        )

    async def _withdraw_everything(self) -> None:
        """The node is gone from the declaration: its routes go first, so that no helper keeps them."""
        if self._exabgp is not None and self._exabgp.ready:
            await self._announcer.withdraw_all(self._exabgp)
        await self._end_exabgp()

    async def _end_exabgp(self) -> None:
        exabgp, self._exabgp = self._exabgp, None
        if exabgp is not None:
            await exabgp.stop()
            self._sessions.all_down("the speaker ended the session", time.time())
            self._announcer.forget()

    def _on_event(self, event: Event | Connected | Exited) -> None:
        """Called for every event of ExaBGP, in order; quick, and never blocks."""
        now = time.monotonic()
        match event:
            case Connected():
                self._on_connected(event, now)
            case Exited():
                self._on_exited(event, now)
            case PeerState(state="up" | "down"):
                self._rib.handle(event, now)
                self._on_peer_state(event)
            case EndOfRib(peer=peer, family=family) | RouteRefresh(peer=peer, family=family, subtype="end"):
                self._rib.handle(event, now)
                if self._sync is not None:
                    self._sync.finished(peer, family)
                self._routing.trigger()
                self._reporting.trigger()
            case Update() | PeerOpen() | RouteRefresh():
                self._rib.handle(event, now)
                self._routing.trigger()
            case Undecodable():
                self._log(f"exabgp: cannot read {event.excerpt!r}: {event.reason}; asking the peers to repeat")
                self._announcer.refresh(self._sessions.up())
                self._announcing.trigger()
            case _:
                pass

    def _on_connected(self, event: Connected, now: float) -> None:
        """ExaBGP can be talked to: everything known about its sessions is replaced by what it says."""
        up = {n.peer: n for n in event.neighbors if n.up}
        if event.fresh or event.neighbors:  # without an answer nothing is known
            self._rib.known(up, now)
        self._announcer.connected(fresh=event.fresh, up=list(up))
        self._drain.told(everybody=False, now=now)
        for neighbor in event.neighbors:
            since = time.time() - neighbor.uptime
            self._sessions.set_state(neighbor.peer, neighbor.up, "" if neighbor.up else "not up yet", since)
        if self._sync is None and self._plan is not None:
            sessions = [s for s in self._plan.sessions if not up or s.peer_address in up]
            expected: set[tuple[str, str]] = {(s.peer_address, f) for s in sessions for f in s.families}
            longest = max((s.graceful_restart_time for s in sessions), default=0)
            self._sync = InitialSync(expected, now + max(longest, _SHORTEST_SYNC_S))
        self._configuring.trigger()  # one that came up late may have failed before, or be of an older configuration
        self._announcing.trigger()
        self._routing.trigger()
        self._reporting.trigger()

    def _on_exited(self, event: Exited, now: float) -> None:
        self._log(f"exabgp ended ({event.reason}): kernel routes stay, it is started again")
        self._store.tell(_REPORT, self._node, exabgp_event(event.reason))
        self._exabgp_restarts += 1
        self._troubles.note(LISTENING, "")
        self._rib.exabgp_died(now)
        self._sessions.all_down("ExaBGP ended", time.time())
        self._announcer.forget()
        self._reporting.trigger()

    def _on_peer_state(self, event: PeerState) -> None:
        up = event.state == "up"
        if self._sessions.set_state(event.peer, up, event.reason, time.time()):
            self._log(f"session with {event.peer} {event.state}{f': {event.reason}' if event.reason else ''}")
            sessions = self._plan.sessions if self._plan else ()
            told = session_event(sessions, event.peer, up=up, reason=event.reason)
            self._store.tell(_REPORT, self._node, told)
        if up:
            self._announcer.peer_up(event.peer)
            self._drain.told(everybody=False, now=time.monotonic())
            self._announcing.trigger()
        self._routing.trigger()
        self._reporting.trigger()

    async def _announce(self) -> None:
        view, plan, exabgp = self._view, self._plan, self._exabgp
        if view is not None and plan is not None and exabgp is not None and exabgp.ready:
            held, shut_down = self._drain.announced(view), self._drain.shuts_down
            everything = desired_announcements(
                plan, held.blocks, view.policy, held.borrowed, held.services, shut_down=shut_down
            )
            up = set(self._sessions.up())
            refused = await self._announcer.announce(exabgp, everything, plan.sessions, up)
            everybody = shut_down and not refused and up >= set(self._sessions.up())
            self._drain.told(everybody=everybody, now=time.monotonic())
            self._troubles.note("announcements", f"ExaBGP refused {refused[0]!r}" if refused else "")
            self._reporting.trigger()

    async def _write_routes(self) -> None:
        view, plan = self._view, self._plan
        if view is None:
            return
        await self._routes.read_links()
        self._mtu = self._routes.mtu(plan.sessions if plan else (), chain.from_iterable(view.policy.links))
        connected = self._routes.connected
        sources = self._routes.sources(plan.loopbacks if plan else ())
        desired = self._rib.routes(connected, sources, self._routes.interface)
        peers, self._unreached = peer_routes(plan.sessions if plan else (), connected)
        holding = self._sync if plan is not None else _OVER
        self._route_count = self._routes.write(desired, _discarded(view) if plan else (), peers, holding)
        self._routes.discard((*view.services.ranges, *view.services.addresses) if plan else ())
        self._reporting.trigger()

    def _on_blocks_used(self) -> None:
        self._announcing.trigger()
        self._reporting.trigger()

    async def _report(self) -> None:
        view = self._view
        if view is None:
            return
        usages = self._rib.usages()
        for line in self._limits.news(usages):
            self._log(line)
        problems = [*(p.line() for p in view.problems), *(u.line() for u in usages if u.near)]
        self._reported = BGPNodeStatusSpec(
            node=self._node,
            sessions=self._rows(view, session_notes(view.plan, view.policy, usages) if view.plan else {}),
            blocks=(*view.blocks, *view.borrowed),
            kernel_routes=self._route_count,
            problems=(*problems, *self._troubles.now()),
            exabgp_restarts=self._exabgp_restarts,
            drain=self._drain.phase,
            kept=self._drain.kept(view),
        )
        await self._status.write(self._reported, time.time())
        self._troubles.note("report", _CONTESTED if self._status.is_contested else "")

    def _rows(self, view: NodeView, notes: dict[str, str]) -> tuple[PeerStatus, ...]:
        sessions = view.plan.sessions if view.plan else ()
        return self._sessions.status(
            sessions,
            self._rendered.omitted if self._rendered else {},
            {s.peer_address: self._rib.received(s.peer_address) for s in sessions},
            {format_address(peer): count for peer, count in self._rib.refused().items()},
            self._announcer.counts(),
            {**notes, **self._unreached},
        )


def _unplanned(view: NodeView) -> str:
    """Why there is nothing to do for the node; empty when there is."""
    if view.node is None:
        return "there is no such Node"
    return "" if view.plan else "the plan has no speaker for it: underlay lint tells why"


def _discarded(view: NodeView) -> tuple[str, ...]:
    """What the node attracts as a whole: its blocks, and the pools that it announces. The rest of it goes nowhere.

    Not the ranges of services, which service_discards.py is for.
    """
    pools = aggregates_of(view.blocks, view.plan.aggregates) if view.plan else ()
    return (*view.blocks, *pools)


def _decides_routes(view: NodeView) -> tuple[object, ...]:
    """What of a view decides about what is announced and what is learned."""
    return view.plan, view.policy, view.blocks, view.borrowed, view.lent, view.passwords, view.services, view.drain


def _sessions_of(view: NodeView) -> int:
    return len(view.plan.sessions) if view.plan else 0


#: For a node that is no longer declared: nothing is held.
_OVER = InitialSync(set(), 0.0)
_OVER.expire(0.0)
