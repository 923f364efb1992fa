"""A lab with everything in it: the topology in namespaces, the declaration in a store, rendered ToRs, speakers.

    topology ─► namespaces, links, spines        declaration ─► store ─► plan ─► rendered ToR configurations
    topology ─► Node objects (as kubelet would)  store ─► a speaker on every node, one controller

The runner (containerlab/) knows nothing of BGP and the other rooms nothing of labs; here they meet. `up` is
idempotent: a second one adds what the topology has gained, renders the switches anew and sends running FRRs only
the difference. The store belongs to the lab and goes with it, unless the lab was told to use another.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from containerlab import daemons as catalog
from containerlab import namespaces
from containerlab.daemons import Daemon
from containerlab.generate import declaration_path
from containerlab.kinds import KINDS
from containerlab.node_addresses import addresses_of
from containerlab.node_files import SOCKET_PATH_MAX
from containerlab.runner import Event, Lab
from containerlab.startup import daemon_text
from containerlab.topology import Node, Topology
from containerlab.topology_file import load_topology
from peering.compile import plan
from peering.manifests import read_manifests
from peering.problems import Problem, errors
from peering.resource import Resource, parse_resource
from peering.resources.catalog import PLAN_KINDS, UNDERLAY
from peering.resources.observed import BGPNodeStatusSpec
from peering.session import Plan, Session
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.protocol import Store
from peering.store.resources import load, put
from underlay import lab_web
from underlay.lab_cni import PROGRAMS, NodeCni
from underlay.output import Refused, print_problems
from underlay.planning import passwords_of, render_all

RUN_DIR = Path("/run/underlay/lab")
_REMOVABLE = (Path("/run"), Path("/var/lib"))
NODE_GROUP, REFLECTOR_GROUP = "k8s-node", "reflector"
_PACKAGE = Path(catalog.__file__).parent
_SAMPLES = _PACKAGE.parent / "config" / "samples"
_COLLECT_GRACE_S = 3
_DETACH_S = 10.0

#: Where a platform that is a daemon on Linux reads the text that `daemon_text` gives it.
_CONFIGS = {kind.platform: kind.bind.strip("/") for kind in KINDS.values() if kind.is_linux}


@dataclass(frozen=True, slots=True)
class Convergence:
    """How far the lab is: sessions established of those planned, and what is still missing."""

    established: int
    planned: int
    missing: tuple[str, ...]

    @property
    def done(self) -> bool:
        return not self.missing


class FabricLab:
    """One lab by its topology.

    `files`: the declaration for a new store; by default the one that a generated topology has beside it, or the sample
    of its name. `store`: the URL of one that is there, which every process of the lab has to reach; what it declares
    stays, and so does the store. `any_kind`: for a lab that something else runs; see `load_topology`.
    """

    def __init__(
        self,
        topology: str,
        *,
        name: str | None = None,
        files: list[Path] | None = None,
        run_dir: Path = RUN_DIR,
        on_event: Callable[[Event], None] | None = None,
        verbose: bool = False,
        any_kind: bool = False,
        store: str | None = None,
    ) -> None:
        self.path = topology_path(topology)
        loaded = read_topology(self.path, verbose=verbose, any_kind=any_kind)
        self.declaration = files or [_declaration_of(self.path, loaded.name)]
        self._store = store
        self.lab = Lab(
            loaded,
            run_dir / (name or loaded.name),
            name,
            base_dir=self.path.parent,
            on_event=on_event,
        )

    @property
    def store_path(self) -> Path:
        return self.lab.run_dir / "store.db"

    @property
    def store_url(self) -> str:
        return self._store or f"sqlite:{self.store_path}"

    @property
    def topology(self) -> Topology:
        return self.lab.topology

    def nodes(self) -> list[Node]:
        """The Kubernetes nodes among the lab's nodes."""
        return list(self.topology.in_group(NODE_GROUP))

    def cni(self, node: str) -> NodeCni:
        """Where a node has its CNI plugins, their list and their socket."""
        return NodeCni(self.lab.node_dir(node) / "cni", self._programs, self.lab.namespace(node))

    @property
    def _programs(self) -> Path:
        return PROGRAMS / self.lab.name

    async def up(self) -> None:
        """Raises LabFailed, LabBusy or Refused with everything that is wrong."""
        self._check_sockets()
        store = open_store(self.store_url)
        try:
            await self._declare(store)
            snapshot, compiled = await self._compile(store)
            self.lab.files = self._switch_files(compiled, snapshot)
            self.lab.daemons = self._daemons()
            reloading = self._running_with_other_files()
            await self.detach_pods(self._nodes_that_were() - self.topology.nodes.keys())
            await self._forget_old_statuses(store)
            await self.lab.up()
            await self._reload(reloading)
        finally:
            await store.close()

    async def start(self, node: str) -> None:
        """Starts the daemons of a node that was stopped; what it last reported is forgotten first."""
        store = open_store(self.store_url)
        try:
            await self._forget_old_statuses(store)
            await self.lab.start(node)
        finally:
            await store.close()

    async def down(self) -> None:
        """Removes the lab and its own store; folders on the way that are empty then go too."""
        await lab_web.stop(self.lab.run_dir)
        await self.detach_pods(self._nodes_that_were())
        await self.lab.down()
        for suffix in ("", "-wal", "-shm"):
            self.store_path.with_name(self.store_path.name + suffix).unlink(missing_ok=True)
        shutil.rmtree(self._programs, ignore_errors=True)
        for folder in (self.lab.run_dir, self._programs):
            _remove_empty(folder, folder.parent, folder.parent.parent)

    def _nodes_that_were(self) -> set[str]:
        """All that have a folder, those that are gone from the topology as well."""
        return {folder.name for folder in (self.lab.run_dir / "nodes").glob("*")}

    async def detach_pods(self, nodes: Iterable[str]) -> None:
        """A DEL for every pod of these, as on nodes that are drained. What fails goes with them all the same."""
        runtimes = [self.cni(node).runtime() for node in nodes]
        with suppress(TimeoutError):
            async with asyncio.timeout(_DETACH_S):
                deletions = (runtime.delete(one) for runtime in runtimes for one in runtime.attachments())
                await asyncio.gather(*deletions, return_exceptions=True)

    def _check_sockets(self) -> None:
        paths = [self.cni(node.name).socket for node in self.nodes()]
        if long := [str(path) for path in paths if len(os.fsencode(path)) > SOCKET_PATH_MAX]:
            message, hint = f"{long[0]} is too long for a unix socket", f"a path of at most {SOCKET_PATH_MAX} bytes"
            raise Refused([Problem("error", "run-dir-too-long", f"Lab/{self.topology.name}", "", message, hint)])

    async def convergence(self, store: Store) -> Convergence:
        """Every session up, and over each of them what it is there for.

        That is from a reflector everybody's blocks, from a switch the default route and the other racks' blocks.
        """
        _, compiled = await self._compile(store)
        statuses = {r.name: cast(BGPNodeStatusSpec, r.spec) for r in (await load(store, ("BGPNodeStatus",)))[0]}
        here = {node.name for node in self.nodes()}
        missing: list[str] = []
        established = planned = 0
        for node, speaker in compiled.speakers.items():
            if node not in here:
                continue
            rows = {s.session: s for s in statuses[node].sessions} if node in statuses else {}
            planned += len(speaker.sessions)
            for session in speaker.sessions:
                row = rows.get(session.name)
                if row is None or row.state != "Established":
                    missing.append(f"{node} {session.name}: {row.reason if row else 'no status yet'}")
                    continue
                established += 1
                wanted = _wanted_routes(compiled, statuses, node, session)
                if row.accepted < wanted or not row.announced:
                    missing.append(f"{node} {session.name}: {row.accepted} of {wanted} routes")
        return Convergence(established, planned, tuple(missing))

    async def _declare(self, store: Store) -> None:
        """The admin's side into a new store; Node objects for nodes that it has none for."""
        present = Snapshot((await load(store, PLAN_KINDS))[0])
        if not present.all("Switch") and not present.all("RouteReflector"):
            resources, problems = read_manifests(self.declaration)
            if errors(problems):
                raise Refused(problems, "nothing was changed")
            for resource in resources:
                await put(store, resource)
            present = present.with_changes(resources)
        for node in self.nodes():
            if present.get("Node", node.name) is None:
                await put(store, node_resource(node))

    async def _forget_old_statuses(self, store: Store) -> None:
        """What a speaker said that no longer runs is not true any more."""
        for status in await store.list("BGPNodeStatus"):
            if status.name not in self.topology.nodes or self.lab.init(status.name).pid() is None:
                await store.delete("BGPNodeStatus", status.name)

    async def _compile(self, store: Store) -> tuple[Snapshot, Plan]:
        resources, _, unreadable = await load(store, (*PLAN_KINDS, "Secret"))
        snapshot = Snapshot(resources)
        compiled = plan(snapshot)
        if errors([*unreadable, *compiled.problems]):
            raise Refused([*unreadable, *compiled.problems], "the lab was left as it is")
        return snapshot, compiled

    def _switch_files(self, compiled: Plan, snapshot: Snapshot) -> dict[str, dict[str, str]]:
        here = {name: switch for name, switch in compiled.switches.items() if name in self.topology.nodes}
        found, problems = {}, []
        for name, files in render_all(replace(compiled, switches=here), passwords_of(snapshot)).items():
            platform = here[name].platform.partition("@")[0]
            text = daemon_text(platform, name, files)
            if text is None:
                problems.append(_no_daemon(name, platform))
            else:
                found[name] = {_CONFIGS[platform]: text}
        if problems:
            raise Refused(problems, "the lab was left as it is")
        return found

    def _daemons(self) -> dict[str, list[Daemon]]:
        """A speaker on every node, reflectors; the controller on the first node, as a Deployment stands on any."""
        nodes = [node.name for node in self.nodes()]
        found = {name: [self._speaker(name)] for name in nodes}
        for node in self.topology.in_group(REFLECTOR_GROUP):
            found[node.name] = [self._reflector(node.name)]
        if nodes:
            found[nodes[0]].append(self._controller(nodes[0]))
        return found

    def _speaker(self, node: str) -> Daemon:
        run_dir = self.lab.node_dir(node) / "speaker"
        argv = (sys.executable, "-m", "underlay", "speaker", "--node", node, "--run-dir", str(run_dir))
        return Daemon(name="speaker", argv=(*argv, "--store", self.store_url, *self.cni(node).options()))

    def _reflector(self, name: str) -> Daemon:
        folder = self.lab.node_dir(name) / "reflector"
        argv = (sys.executable, "-m", "underlay", "reflector", "--name", name, "--store", self.store_url)
        return Daemon(
            name="reflector", argv=(*argv, "--state-dir", str(folder), "--admin-socket", str(self.admin_socket(name)))
        )

    def admin_socket(self, reflector: str) -> Path:
        return self.lab.node_dir(reflector) / "reflector" / "admin.sock"

    def _controller(self, node: str) -> Daemon:
        argv = (sys.executable, "-m", "underlay", "controller", "--grace", str(_COLLECT_GRACE_S))
        return Daemon(name="controller", argv=(*argv, "--store", self.store_url))

    def _running_with_other_files(self) -> list[tuple[str, str]]:
        """(switch, file): those that run on another configuration than the one that is about to be written."""
        changed = []
        for node, files in self.lab.files.items():
            for file, text in files.items():
                path = self.lab.node_dir(node) / file
                running = self.lab.init(node).pid() is not None and path.exists()
                if running and path.read_text() != text:
                    changed.append((node, file))
        return changed

    async def _reload(self, changed: list[tuple[str, str]]) -> None:
        """Sends each switch the difference, as the network's own automation would."""
        problems = []
        for switch, file in changed:
            done = await namespaces.command(catalog.RELOADS[file](self.lab.node_dir(switch)))
            if not done.ok:
                message = f"did not take the new configuration ({done.reason()})"
                hint = f"see {self.lab.node_dir(switch) / 'log'}"
                problems.append(Problem("error", "reload-failed", f"Switch/{switch}", "", message, hint))
        if problems:
            raise Refused(problems)


def _no_daemon(switch: str, platform: str) -> Problem:
    message = f"no daemon of {platform} runs in a network namespace"
    hint = f"give the Switch one of {', '.join(_CONFIGS)}, or make a lab with `lab generate --kind`"
    return Problem("error", "lab-cannot-run", f"Switch/{switch}", "spec.platform", message, hint)


def _declaration_of(topology: Path, name: str) -> Path:
    beside = topology.parent / declaration_path(name)
    return beside if beside.is_file() else _SAMPLES / name


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        ours = any(folder.is_relative_to(above) and folder != above for above in _REMOVABLE)
        if ours and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def topology_path(text: str) -> Path:
    """A topology by the name of one that is shipped, or by its file. Raises Refused."""
    shipped = _PACKAGE / f"{text}.clab.yml"
    for path in (shipped, Path(text)):
        if path.is_file():
            return path.absolute()
    known = ", ".join(sorted(p.name.removesuffix(".clab.yml") for p in _PACKAGE.glob("*.clab.yml")))
    raise Refused(message=f"error: {text!r} is no topology (a .clab.yml file, or one of: {known})")


def read_topology(path: Path, *, verbose: bool = False, any_kind: bool = False) -> Topology:
    """The topology of a file, warnings printed. Raises Refused with every problem in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Refused(message=f"error: {path}: cannot be read: {reason}") from error
    topology, problems = load_topology(text, path.name, any_kind=any_kind)
    if topology is None:
        raise Refused(problems)
    print_problems(problems, verbose=verbose)
    return topology


def node_resource(node: Node) -> Resource:
    """The Node object that a kubelet and the speaker's address detection would give."""
    try:
        addresses = addresses_of(node)
    except ValueError as error:
        raise Refused(message=f"error: {node.name} exec: {error}") from error
    loopbacks = addresses.pop("lo", ())
    bgp = {("ipv6Address" if ":" in address else "ipv4Address"): address for address in reversed(loopbacks)}
    labels = {key: value for key, value in node.labels.items() if "/" not in key}
    document = {
        "apiVersion": UNDERLAY,
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"bgp": bgp, "uplinks": [{"interface": i, "addresses": list(a)} for i, a in addresses.items()]},
    }
    parsed = parse_resource(document, node.name)
    if not isinstance(parsed, Resource):
        raise Refused(parsed)
    return parsed


def _wanted_routes(compiled: Plan, statuses: Mapping[str, BGPNodeStatusSpec], node: str, session: Session) -> int:
    """How many routes at least have to come over a session."""
    if session.peer.startswith("reflector/"):
        others = [n for n in compiled.speakers if n != node]
    else:
        racks = {n: {s.source for s in speaker.sessions} for n, speaker in compiled.speakers.items()}
        others = [n for n in compiled.speakers if not racks[n] & racks[node]]
    blocks = [b for n in others if n in statuses for b in statuses[n].blocks]
    found = sum((":" in block) is (session.families[0] == "ipv6-unicast") for block in blocks)
    return found if session.peer.startswith("reflector/") else 1 + found
