"""A running lab as its tests see it: who its sessions are with, where its routes lead, who answers.

Sessions are read where they are: on switches from the daemon, of speakers from their reports, of reflectors by their
admin sockets. With commands only (`--exec`) there are no reports: a session of a speaker is seen from the switch.
What the plan has and nobody knows of is a session, too: one that is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import cast

from containerlab import daemons as catalog
from containerlab import node_outputs
from containerlab.expectations import DEFAULT_PREFIX, is_address
from containerlab.node_addresses import addresses_of
from containerlab.node_outputs import PingSeen, RouteSeen, SessionSeen
from containerlab.topology import Node
from fabric_templates.endpoints import neighbor_key
from fabric_templates.verification import sources
from peering.compile import plan
from peering.manifests import read_manifests
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.resources.observed import BGPNodeStatusSpec
from peering.session import Plan, Session
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay import reports
from underlay.fabric_lab import FabricLab, node_resource
from underlay.lab_reach import CannotTell, Reach, each, good, run
from underlay.output import Refused
from underlay.reflector_client import ask

_MISSING = "Missing"
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
_HOST = {4: 32, 6: 128}
_HEADERS = {4: 28, 6: 48}

#: How a container takes a line of its command line, for platforms that have no shell of their own.
_CLI: Mapping[str, tuple[str, ...]] = {"eos": ("Cli", "-p", "15", "-c"), "srlinux": ("sr_cli",)}
#: A shell's exit codes for a program that is not there, or cannot be run.
_NO_PROGRAM = (126, 127)
_FILES = {
    f"/{catalog.FRR_CONFIG}": "frr",
    f"/{catalog.BIRD_CONFIG}": "bird",
    f"/{catalog.GOBGP_CONFIG}": "gobgp",
    f"/{catalog.OPENBGPD_CONFIG}": "openbgpd",
}


class LabView:
    """`ours`: the lab runs in namespaces, with speakers; else all that is known of it comes from its nodes."""

    def __init__(self, fabric: FabricLab, reach: Reach, *, ours: bool) -> None:
        self.fabric, self.reach, self.ours = fabric, reach, ours
        self.topology = fabric.topology
        self._addresses: dict[str, dict[int, str]] = {}
        self._declared: Plan | None = None

    # Names and addresses

    @cached_property
    def owners(self) -> dict[str, str]:
        """Address -> the node that has it."""
        return {a: node.name for node in self.topology.nodes.values() for a in _addresses(node)}

    def far_ends(self, place: str) -> dict[str, str]:
        """Interface -> the node at the other end."""
        node, _, pod = place.partition("/")
        if pod:
            return {"eth0": node}
        ends = [pair for link in self.topology.links for pair in ((link.a, link.b), (link.b, link.a))]
        return {near.interface: far.node for near, far in ends if near.node == node}

    async def address(self, target: str, version: int) -> str:
        """Of a node its loopback, else its first one; of a pod its own. Raises CannotTell where it has none."""
        if is_address(target):
            return target
        if "/" not in target:
            found = [a for a in _addresses(self.topology.nodes[target]) if (":" in a) is (version == 6)]
            address = found[0] if found else None
        else:
            address = (await self._pod_addresses(target)).get(version)
        if address is None:
            raise CannotTell(f"{target} has no IPv{version} address")
        return address

    async def _pod_addresses(self, pod: str) -> dict[int, str]:
        if pod not in self._addresses:
            said = await good(self.reach, pod, ("ip", "-j", "address", "show", "scope", "global"))
            self._addresses[pod] = node_outputs.global_addresses(said)
        return self._addresses[pod]

    # Routes and packets

    async def route(self, place: str, version: int, prefix: str) -> RouteSeen | None:
        """The kernel's route to exactly this prefix; `default` is one."""
        exact = _DEFAULTS[version] if prefix == DEFAULT_PREFIX else prefix
        return await self._route(place, ("ip", f"-{version}", "-j", "route", "show", "exact", exact))

    async def route_to(self, place: str, version: int, target: str) -> RouteSeen | None:
        """The kernel's route that packets to the target take: the longest match."""
        host = f"{await self.address(target, version)}/{_HOST[version]}"
        return await self._route(place, ("ip", f"-{version}", "-j", "route", "show", "match", host))

    async def _route(self, place: str, command: Sequence[str]) -> RouteSeen | None:
        said = await good(self.reach, place, command)
        try:
            routes = node_outputs.kernel_routes(said)
            if any(route.forwards and not route.hops for route in routes):
                objects = await good(self.reach, place, ("ip", "-j", "nexthop", "show"))
                routes = node_outputs.kernel_routes(said, objects)
        except ValueError as error:
            raise CannotTell(f"{place}: `ip -j` of iproute2 is needed: {error}", said.splitlines()) from error
        found = node_outputs.longest(routes)
        return node_outputs.named(found, {**self.far_ends(place), **self.owners}) if found else None

    async def ping(self, source: str, address: str, count: int, size: int | None = None) -> PingSeen:
        version = 6 if ":" in address else 4
        whole = ("-M", "do", "-s", str(max(0, size - _HEADERS[version]))) if size else ()
        done = await run(
            self.reach, source, ("ping", f"-{version}", "-q", "-c", str(count), "-i", "0.2", "-W", "1", *whole, address)
        )
        try:
            return node_outputs.ping(done.stdout)
        except ValueError as error:
            reason = done.reason()
            if "Network is unreachable" in reason or "Network unreachable" in reason:
                return PingSeen(count, 0)
            raise CannotTell(f"{source}: ping: {reason}") from error

    # Sessions

    async def sessions(self, nodes: Sequence[str] | None) -> list[SessionSeen]:
        """Those of the nodes; of all that speak BGP where none are named. Raises CannotTell."""
        compiled = await self.plan()
        asked = {name: self._asker(name, compiled) for name in (nodes or self.topology.nodes)}
        if nodes and (silent := [name for name, asker in asked.items() if asker is None]):
            raise CannotTell(f"{silent[0]}: nothing is known there that speaks BGP")
        found = await each(asker() for asker in asked.values() if asker is not None)
        return [session for one in found for session in one]

    async def plan(self) -> Plan:
        """Of the lab's store; with commands only, of the declaration. Empty where there is none."""
        if self.ours:
            return plan(Snapshot(await _stored(self.fabric.store_url, *PLAN_KINDS)))
        if self._declared is None:
            self._declared = self._of_files()
        return self._declared

    def _of_files(self) -> Plan:
        files = [path for path in self.fabric.declaration if path.exists()]
        if not files:
            return Plan()
        resources, problems = read_manifests(files)
        snapshot = Snapshot(resources)
        missing = [node_resource(node) for node in self.fabric.nodes() if snapshot.get("Node", node.name) is None]
        compiled = plan(snapshot.with_changes(missing))
        if wrong := [p for p in (*problems, *compiled.problems) if p.severity == "error"]:
            raise Refused(wrong)
        return compiled

    def _asker(self, name: str, compiled: Plan) -> Callable[[], Awaitable[list[SessionSeen]]] | None:
        """What tells the sessions of a node; None where nothing there speaks BGP, as far as we know."""
        if self.ours and name in compiled.speakers:
            return lambda: self._of_speaker(name, compiled)
        if self.ours and name in compiled.reflectors:
            return lambda: self._of_reflector(name, compiled)
        daemon = self._daemon(name, compiled)
        return (lambda: self._of_switch(name, daemon, compiled)) if daemon else None

    def _daemon(self, name: str, compiled: Plan) -> str:
        if self.ours:
            folder = self.fabric.lab.node_dir(name)
            found = [daemon for path, daemon in _FILES.items() if (folder / path[1:]).exists()]
        else:
            found = [_FILES[bind.target] for bind in self.topology.nodes[name].binds if bind.target in _FILES]
        declared = compiled.switches[name].platform.partition("@")[0] if name in compiled.switches else ""
        return found[0] if found else declared

    async def _of_switch(self, name: str, daemon: str, compiled: Plan) -> list[SessionSeen]:
        command = _question(daemon)
        if not command:
            message = f"{name}: sessions of platform {daemon!r} cannot be read here"
            raise CannotTell(f"{message}; name the nodes in `sessions`, and use `command` for this one")
        planned = dict(self._planned(compiled.switches[name].sessions)) if name in compiled.switches else {}
        done = await run(self.reach, name, command)
        if done.code in _NO_PROGRAM:
            raise CannotTell(f"{name}: {command[0]}: {done.reason()}")
        if not done.ok:
            ends = planned or {"BGP": ""}
            return [SessionSeen(name, key, "Unknown", f"{command[0]}: {done.reason()}", p) for key, p in ends.items()]
        try:
            found, _ = sources.read(daemon, done.stdout)
        except ValueError as error:
            raise CannotTell(f"{name}: {command[0]}: {error}", done.stdout.splitlines()) from error
        seen = [SessionSeen(name, key, end.state, end.reason) for key, end in found.items()]
        return self._with_names(name, seen, planned)

    async def _of_speaker(self, name: str, compiled: Plan) -> list[SessionSeen]:
        reported = {r.name: r.spec for r in await _stored(self.fabric.store_url, "BGPNodeStatus")}
        if self.fabric.lab.init(name).pid() is None or name not in reported:
            rows = []
        else:
            rows = list(reports.current(cast(BGPNodeStatusSpec, reported[name]), time.time()).sessions)
        states = {row.session: row for row in rows}
        found = []
        for session in compiled.speakers[name].sessions:
            row = states.get(session.name)
            state, reason = (row.state, row.reason) if row else (_MISSING, "the node's speaker does not report it")
            found.append(SessionSeen(name, session.name, state, reason, self._peer(session)))
        return found

    async def _of_reflector(self, name: str, compiled: Plan) -> list[SessionSeen]:
        planned = dict(self._planned(compiled.reflectors[name].sessions))
        try:
            socket = self.fabric.admin_socket(name)
            rows = (await asyncio.to_thread(ask, socket, "neighbors", limit=0))["rows"]
        except Refused as refused:
            return [SessionSeen(name, key, "Unknown", refused.message, peer) for key, peer in planned.items()]
        seen = [SessionSeen(name, str(r["address"]), str(r["state"]), str(r["lastError"] or "")) for r in rows]
        return self._with_names(name, seen, planned)

    def _with_names(self, name: str, seen: list[SessionSeen], planned: Mapping[str, str]) -> list[SessionSeen]:
        known = {**self.far_ends(name), **self.owners, **planned}
        found = [SessionSeen(s.node, s.key, s.state, s.reason, known.get(s.key, "")) for s in seen]
        there = {s.key for s in seen}
        missing = [(key, peer) for key, peer in planned.items() if key not in there]
        return [*found, *(SessionSeen(name, key, _MISSING, "there is no such neighbor", peer) for key, peer in missing)]

    def _planned(self, sessions: Sequence[Session]) -> Iterator[tuple[str, str]]:
        """The far end as the near one names it, and who that is."""
        for session in sessions:
            yield neighbor_key(session), self._peer(session)

    def _peer(self, session: Session) -> str:
        kind, _, name = session.peer.partition("/")
        return name or self.owners.get(session.peer_address, kind)


def _question(platform: str) -> tuple[str, ...]:
    """The command that prints the sessions of a platform; empty where they cannot be asked for by one."""
    source = sources.find(platform)
    if source is None:
        return ()
    words = next(iter(source.asks.values()))
    if source.via == "shell":
        return words
    return (*_CLI[platform], *words) if platform in _CLI else ()


def _addresses(node: Node) -> list[str]:
    """Loopbacks first, without their lengths."""
    found = addresses_of(node)
    order = sorted(found, key=lambda interface: interface != "lo")
    return [address.partition("/")[0] for interface in order for address in found[interface]]


async def _stored(url: str, *kinds: str) -> list[Resource]:
    store = open_store(url)
    try:
        return list((await load(store, kinds))[0])
    finally:
        await store.close()
