"""Executes a topology in network namespaces: up, down, status, and what one does to a running lab.

Model: `up` takes the lab from whatever is there to what the topology says, and makes only what is missing; so
it is also how a node is added to a running lab, and how a half-failed `up` is finished. `down` takes away exactly
what was made: the processes in our namespaces, the namespaces, the run directory. All else is somebody else's.

    namespaces ─► sysctls ─► links ─► interfaces up, exec ─► files ─► daemons, under the node's init

Stages run one after the other, nodes within a stage side by side. What the user's topology gets wrong at run time
(an exec line, a sysctl, a configuration that its daemon refuses) is collected with its node and raised
together at the end; the lab is left as it is, for inspection.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import signal
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containerlab import daemons as catalog
from containerlab import namespaces, node_files, wiring
from containerlab.daemons import Daemon
from containerlab.init_control import DaemonStatus, InitControl
from containerlab.lab_state import LabState, NodeRecord, locked
from containerlab.namespaces import CommandFailed, Completed
from containerlab.node_setup import NodeSetup
from containerlab.topology import Topology
from peering.problems import Problem, errors, ordered

PARALLEL = 4
"""Nodes worked on at a time: the work is waiting for short processes, more than twice the cores gains nothing."""


class LabFailed(Exception):
    """What went wrong in `up` or `start`, all of it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = ordered(problems)
        super().__init__("\n".join(problem.line() for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Event:
    """Progress: `done` of `total` nodes have passed `stage`; `node` is the one that just did."""

    stage: str
    node: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """`up`: its namespace is there and, if it has daemons, its init runs."""

    node: str
    namespace: str
    up: bool
    daemons: tuple[DaemonStatus, ...]
    pods: tuple[str, ...]


class Lab:
    """A topology and the directory its running self is kept in.

    `base_dir`: what binds are relative to (the folder of the topology's file). `files`: node -> path inside the
    node without the leading slash -> text, added to what binds give and stronger. `daemons`: node -> daemons
    besides those that the files ask for (see `daemons.from_files`), started after them.
    """

    def __init__(
        self,
        topology: Topology,
        run_dir: Path,
        name: str | None = None,
        *,
        base_dir: Path = Path(),
        files: Mapping[str, Mapping[str, str]] | None = None,
        daemons: Mapping[str, Sequence[Daemon]] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.topology = dataclasses.replace(topology, name=name) if name else topology
        self.run_dir = run_dir.absolute()
        self.base_dir = base_dir
        self.files = files or {}
        self.daemons = daemons or {}
        self._on_event = on_event or (lambda event: None)

    @property
    def name(self) -> str:
        return self.topology.name

    def namespace(self, node: str) -> str:
        return self.topology.namespace(node)

    def node_dir(self, node: str) -> Path:
        return self.run_dir / "nodes" / node

    def init(self, node: str) -> InitControl:
        return InitControl(node, self.namespace(node), self.node_dir(node))

    async def up(self) -> None:
        """Raises LabFailed with every problem; LabBusy if somebody else is at it."""
        with self._reported():
            async with locked(self.run_dir):
                problems = await self._up()
        if errors(problems):
            raise LabFailed(problems)

    async def _up(self) -> list[Problem]:
        state = LabState.load(self.run_dir)
        if state.name not in ("", self.name):
            raise LabFailed([self._problem("run-dir-taken", f"{self.run_dir} holds the lab {state.name!r}")])
        files = self._read_files()
        await self._remove_nodes(state, {node for node in state.namespaces.values() if not self._has(node)})
        await self._create_namespaces(state)
        return [*await self._wire(state), *await self._start(self.topology.nodes, files)]

    async def down(self) -> None:
        """Works after a half-failed `up`, and when everything is dead or gone already."""
        with self._reported():
            async with locked(self.run_dir):
                state = LabState.load(self.run_dir)
                for node in self.topology.nodes:
                    state.namespaces.setdefault(self.namespace(node), node)
                await self._remove_nodes(state, set(state.namespaces.values()))
                # Only what is ours: the directory may have been somebody's before.
                shutil.rmtree(self.run_dir / "nodes", ignore_errors=True)
                for name in ("lab.json", ".lock"):
                    (self.run_dir / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.run_dir.rmdir()

    def status(self) -> tuple[NodeStatus, ...]:
        state = LabState.load(self.run_dir)
        return tuple(self._status(node, state) for node in self.topology.nodes)

    def exec(self, node: str, argv: Sequence[str]) -> int:
        """Runs a command in a node on the caller's terminal; returns its exit code."""
        return namespaces.run_attached(self.namespace(node), argv, self.topology.nodes[node].env)

    async def run(self, node: str, argv: Sequence[str], stdin: str = "") -> Completed:
        """Runs a command in a node with its output captured."""
        return await namespaces.run(self.namespace(node), argv, stdin, self.topology.nodes[node].env)

    async def stop(self, node: str) -> None:
        """The node loses power: SIGKILL to all its processes and its pods'. Links and addresses stay."""
        async with locked(self.run_dir):
            await self._kill(LabState.load(self.run_dir), [node])

    async def start(self, node: str) -> None:
        """Starts the daemons of a stopped node. Raises LabFailed."""
        with self._reported():
            async with locked(self.run_dir):
                problems = await self._start([node], self._read_files())
        if errors(problems):
            raise LabFailed(problems)

    async def set_link(self, node: str, interface: str, up: bool) -> None:
        """Sets one end up or down; the other end loses or gains its carrier."""
        await namespaces.ip_batch([f"link set {interface} {'up' if up else 'down'}"], self.namespace(node))

    def write_file(self, node: str, path: str, text: str) -> bool:
        """Puts a file where the node's daemons read it; True if it changed. Reloading them is the caller's."""
        return node_files.write_file(self.node_dir(node), path, text)

    async def own_namespace(self, node: str, namespace: str) -> None:
        """Creates a further namespace (a pod's) that goes with the node."""
        async with locked(self.run_dir):
            state = LabState.load(self.run_dir)
            state.namespaces[namespace] = node
            state.save(self.run_dir)
            await namespaces.create([namespace])

    async def disown_namespace(self, namespace: str) -> None:
        """Removes such a namespace with all that runs in it."""
        async with locked(self.run_dir):
            state = LabState.load(self.run_dir)
            await namespaces.kill([namespace])
            await namespaces.delete([namespace])
            state.namespaces.pop(namespace, None)
            state.save(self.run_dir)

    def _has(self, node: str) -> bool:
        return node in self.topology.nodes

    def _problem(self, code: str, message: str, node: str = "") -> Problem:
        return Problem("error", code, f"Node/{node}" if node else f"Lab/{self.name}", "", message)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """The machine's own failures, as what they are: one line."""
        try:
            yield
        except (CommandFailed, OSError) as error:
            raise LabFailed([self._problem("runner-failed", str(error))]) from error

    def _read_files(self) -> dict[str, dict[str, str]]:
        """All texts of all nodes, or LabFailed before anything was touched."""
        files: dict[str, dict[str, str]] = {}
        problems: list[Problem] = []
        for name, node in self.topology.nodes.items():
            bound, unreadable = node_files.read_binds(node, self.base_dir)
            given = {**bound, **self.files.get(name, {})}
            files[name] = {**catalog.extra_files(name, given, self.node_dir(name)), **given}
            problems += [*unreadable, *node_files.check(name, self.node_dir(name), files[name])]
        if errors(problems):
            raise LabFailed(problems)
        return files

    async def _each(
        self, stage: str, nodes: Collection[str], work: Callable[[str], Awaitable[Iterable[Problem]]]
    ) -> list[Problem]:
        """The work of one stage on every node, PARALLEL at a time, with progress."""
        limit, done, problems = asyncio.Semaphore(PARALLEL), 0, list[Problem]()

        async def one(node: str) -> None:
            nonlocal done
            async with limit:
                try:
                    problems.extend(await work(node))
                except (CommandFailed, OSError) as error:
                    problems.append(self._problem("runner-failed", str(error), node))
            done += 1
            self._on_event(Event(stage, node, done, len(nodes)))

        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(one(node))
        return problems

    async def _create_namespaces(self, state: LabState) -> None:
        """Written down first; a node whose namespace is new has had nothing applied, whatever its record says."""
        state.name = self.name
        wanted = {self.namespace(node): node for node in self.topology.nodes}
        state.namespaces |= wanted
        state.save(self.run_dir)
        for namespace, node in wanted.items():
            self.node_dir(node).mkdir(parents=True, exist_ok=True)
            if not namespaces.exists(namespace):
                NodeRecord().save(self.node_dir(node))
        await namespaces.create(wanted)

    async def _wire(self, state: LabState) -> list[Problem]:
        nodes = self.topology.nodes
        setups = {n: NodeSetup(nodes[n], self.namespace(n), self.node_dir(n)) for n in nodes}
        interfaces = {n: self.topology.interfaces(n) for n in nodes}
        problems = await self._each("sysctls", nodes, lambda n: setups[n].before_links(interfaces[n]))
        found = await asyncio.gather(*(namespaces.links(self.namespace(node)) for node in nodes))
        present = dict(zip(nodes, found, strict=True))
        plan = wiring.rewire(self.topology.links, state.links, present, self.namespace)
        for node, doomed in plan.delete.items():
            await namespaces.delete_links(self.namespace(node), doomed)
        for node, lines in plan.mtu.items():
            await namespaces.ip_batch(lines, self.namespace(node))
        state.links = list({*state.links, *self.topology.links})
        state.save(self.run_dir)
        await namespaces.ip_batch(plan.add)
        state.links = list(self.topology.links)
        state.save(self.run_dir)
        new = plan.new
        return problems + await self._each(
            "interfaces", nodes, lambda n: setups[n].after_links(interfaces[n], new.get(n, ()))
        )

    async def _start(self, nodes: Collection[str], files: Mapping[str, Mapping[str, str]]) -> list[Problem]:
        wanted = {node: self.daemons_of(node, files[node]) for node in nodes}

        async def write_and_start(node: str) -> Iterable[Problem]:
            folder = self.node_dir(node)
            for path in node_files.run_folders(files[node]):
                node_files.make_folder(folder, path)
            changed = node_files.write_files(folder, files[node])
            return [*await self._check(node, changed), *await self.init(node).apply(wanted[node])]

        problems = await self._each("daemons", nodes, write_and_start)
        return problems + await self._each("ready", nodes, lambda node: self.init(node).wait_ready(wanted[node]))

    async def _check(self, node: str, paths: Iterable[str]) -> list[Problem]:
        """What a daemon will not take of its configuration; it is started all the same, as anywhere."""
        problems = []
        for path in paths:
            if path in catalog.CHECKS:
                done = await self.run(node, catalog.CHECKS[path](self.node_dir(node) / path))
                if not done.ok:
                    problems.append(self._problem("configuration-refused", f"{path}: {done.reason()}", node))
        return problems

    def daemons_of(self, node: str, files: Mapping[str, str]) -> tuple[Daemon, ...]:
        """What runs on a node: what its files ask for, then what the caller of Lab adds."""
        has_mgmtd = Path(catalog.FRR_BINARIES / "mgmtd").exists()
        return (*catalog.from_files(self.node_dir(node), files, has_mgmtd), *self.daemons.get(node, ()))

    def _status(self, node: str, state: LabState) -> NodeStatus:
        init, namespace = self.init(node), self.namespace(node)
        listed = init.status()
        alive = namespaces.exists(namespace) and (not listed or init.pid() is not None)
        pods = tuple(sorted(set(state.of_node(node)) - {namespace}))
        return NodeStatus(node, namespace, alive, listed, pods)

    async def _kill(self, state: LabState, nodes: Collection[str]) -> None:
        """Each node's init first, or it would bring back what dies before it."""
        owned = [(name, node) for name, node in state.namespaces.items() if node in nodes]
        inits = [InitControl(node, name, self.node_dir(node)).pid() for name, node in owned]
        await namespaces.kill([name for name, _ in owned], first=[pid for pid in inits if pid])

    async def _remove_nodes(self, state: LabState, nodes: Collection[str]) -> None:
        if not nodes:
            return
        await self._kill(state, nodes)
        doomed = [name for node in nodes for name in state.of_node(node)]
        await namespaces.delete(doomed)
        state.namespaces = {name: node for name, node in state.namespaces.items() if name not in doomed}
        state.links = [link for link in state.links if not {link.a.node, link.b.node} & set(nodes)]
        state.save(self.run_dir)
        for node in nodes:
            shutil.rmtree(self.node_dir(node), ignore_errors=True)


async def kill_daemon(lab: Lab, node: str, daemon: str, number: int = signal.SIGKILL) -> int:
    """Sends a signal to a running daemon of a node and returns its pid. Raises LookupError if it does not run."""
    for status in lab.init(node).status():
        if status.name == daemon and status.pid is not None:
            namespaces.send([status.pid], number)
            return status.pid
    raise LookupError(f"{daemon} does not run on {node}")
