"""A lab under test: asked from the outside, with the tools that a network engineer has.

Sessions and routes are read from FRR (`vtysh ... json`), the kernel (`ip -j`), and `underlay` as a command; nothing
here looks inside the product's processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from containerlab import daemons, namespaces, pods, probe
from containerlab.pods import Pod
from peering.compile import plan
from peering.resources.catalog import PLAN_KINDS
from peering.session import Plan
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.resources import load
from tests.unit.command_line import run_underlay
from underlay.fabric_lab import FabricLab
from underlay.lab_cni import PROGRAMS
from underlay.lab_pods import LabPod, ensure_pods

T = TypeVar("T")

PROTOCOL = "201"
PORT = 7007
FLOWS, RATE = 32, 50


@dataclass
class Traffic:
    """What became of a stream of flows: filled in when the `with` block ends."""

    sent: int = 0
    answered: int = 0
    worst_gap_ms: float = 0.0
    sources: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        return self.sent - self.answered


def wait_until(what: str, check: Callable[[], T], seconds: float = 30.0) -> T:
    """The first true result of `check`; fails with `what` after the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.05)


class RunningLab:
    """One lab with its pods."""

    def __init__(self, topology: str, name: str, run_dir: Path, store: str | None = None) -> None:
        self.fabric = FabricLab(topology, name=name, run_dir=run_dir, store=store)
        self.topology_file = self.fabric.path
        self.name = name
        self.run_dir = run_dir
        self.pods: list[LabPod] = []

    def up(self) -> None:
        """Up, or up to date, with pods."""
        asyncio.run(self.fabric.up())
        self.wait_converged(60)
        self.pods = asyncio.run(ensure_pods(self.fabric))

    def down(self) -> list[str]:
        """Everything removed; what is left nevertheless."""
        spaces = [ns for ns in namespaces.names() if ns.startswith(f"clab-{self.name}-")]
        asyncio.run(self.fabric.down())
        left = [ns for ns in namespaces.names() if ns in spaces]
        return left + [str(path) for path in (self.fabric.lab.run_dir, PROGRAMS / self.name) if path.exists()]

    def wait_converged(self, seconds: float = 40.0) -> None:
        async def check() -> tuple[str, ...]:
            store = open_store(self.fabric.store_url)
            try:
                return (await self.fabric.convergence(store)).missing
            finally:
                await store.close()

        deadline = time.monotonic() + seconds
        while missing := asyncio.run(check()):
            assert time.monotonic() < deadline, f"not converged: {missing}"
            time.sleep(0.1)
        if self.switches():
            wait_until("both next hops everywhere", self._all_routes_are_twofold, seconds)

    def _all_routes_are_twofold(self) -> bool:
        return all(
            "default" in learned and {len(hops) for hops in learned.values()} == {2}
            for learned in (self.learned_routes(node, version) for node in self.nodes() for version in (4, 6))
        )

    # -- what is declared

    def plan(self) -> Plan:
        async def read() -> Plan:
            store = open_store(self.fabric.store_url)
            try:
                return plan(Snapshot((await load(store, PLAN_KINDS))[0]))
            finally:
                await store.close()

        return asyncio.run(read())

    def nodes(self) -> list[str]:
        return [node.name for node in self.fabric.nodes()]

    def switches(self) -> list[str]:
        return sorted(self.plan().switches)

    def pod(self, node: str, number: int = 1) -> LabPod:
        return next(p for p in self.pods if (p.node, p.name) == (node, f"pod-{number}"))

    def add_pod(self, node: str, name: str, annotations: Mapping[str, str] | None = None) -> Pod:
        """A pod besides those of the topology. Raises CniFailed."""
        return asyncio.run(pods.add_pod(self.fabric.lab, node, name, self.fabric.cni(node).runtime(), annotations))

    def del_pod(self, pod: Pod) -> None:
        asyncio.run(pods.del_pod(self.fabric.lab, pod.node, pod.name, self.fabric.cni(pod.node).runtime()))

    # -- the command line

    def underlay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`underlay ARGUMENTS` against the lab's store."""
        env = {**os.environ, "UNDERLAY_STORE": self.fabric.store_url}
        command = [sys.executable, "-m", "underlay", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def status(self) -> dict[str, Any]:
        """`underlay status -o json` by node."""
        return {row["node"]: row for row in json.loads(self.underlay("status", "-o", "json").stdout)}

    def blocks(self, node: str) -> set[str]:
        """The confirmed blocks of a node, as `underlay ipam show` lists them."""
        return self.all_blocks().get(node, set())

    def all_blocks(self) -> dict[str, set[str]]:
        """The confirmed blocks of every node that has some."""
        found: dict[str, set[str]] = {}
        for row in self.ipam_rows():
            if row["state"] == "confirmed":
                found.setdefault(row["node"], set()).add(row["cidr"])
        return found

    def holders(self) -> dict[str, str]:
        """Every address that somebody has, and its handle."""
        return {address: handle for row in self.ipam_rows() for address, handle in row["addresses"].items()}

    def ipam_rows(self) -> list[dict[str, Any]]:
        """`underlay ipam show -o json`, in this process: it is asked for often, and Python takes a second to start."""
        done = run_underlay("ipam", "show", "-o", "json", "--store", self.fabric.store_url)
        assert done.exit_code == 0, done.stderr
        return list(json.loads(done.stdout))

    def loopbacks(self, node: str) -> set[str]:
        return {f"{a}/{128 if ':' in a else 32}" for a in self.plan().speakers[node].loopbacks}

    # -- switches

    def vtysh(self, switch: str, command: str) -> Any:
        """The JSON answer of a switch's FRR."""
        argv = [*daemons.vtysh(self.fabric.lab.node_dir(switch)), "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def summary(self, switch: str) -> dict[str, dict[str, Any]]:
        """Peers of both families, from `show bgp summary json`."""
        families = self.vtysh(switch, "show bgp summary json")
        return {a: p for family in families.values() for a, p in family.get("peers", {}).items()}

    def connections(self, switch: str) -> dict[str, int]:
        """Peer -> how often its session was established: it grows by one with every flap."""
        neighbors = self.vtysh(switch, "show bgp neighbors json")
        return {a: n["connectionsEstablished"] for a, n in neighbors.items() if "connectionsEstablished" in n}

    def all_connections(self) -> dict[tuple[str, str], int]:
        return {(s, peer): count for s in self.switches() for peer, count in self.connections(s).items()}

    def routes_from_nodes(self, switch: str) -> dict[str, set[str]]:
        """Prefix -> node-side peers that it was accepted from."""
        node_peers = {s.peer_address for s in self.plan().switches[switch].sessions if s.peer.startswith("node/")}
        found: dict[str, set[str]] = {}
        for family in ("ipv4", "ipv6"):
            table = self.vtysh(switch, f"show bgp {family} unicast json").get("routes", {})
            for prefix, paths in table.items():
                peers = {path["peerId"] for path in paths} & node_peers
                if peers:
                    found[prefix] = peers
        return found

    # -- kernels

    def ip_json(self, node: str, *arguments: str) -> list[dict[str, Any]]:
        argv = ["ip", "-n", self.namespace(node), "-j", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout or "[]"))

    def learned_routes(self, node: str, version: int) -> dict[str, set[str]]:
        """Our routes of a node: prefix -> gateways; blackholes are left out."""
        objects = {n["id"]: n for n in self.ip_json(node, "nexthop", "show")}
        routes = self.ip_json(node, f"-{version}", "route", "show", "proto", PROTOCOL)
        found = {}
        for route in routes:
            if route.get("type") != "blackhole":
                group = objects.get(route.get("nhid"), {}).get("group", [{"id": route.get("nhid")}])
                found[route["dst"]] = {objects[m["id"]]["gateway"] for m in group if m["id"] in objects}
        return found

    def blackholes(self, node: str) -> set[str]:
        routes = [r for v in (4, 6) for r in self.ip_json(node, f"-{v}", "route", "show", "type", "blackhole")]
        return {r["dst"] for r in routes if str(r.get("protocol")) == PROTOCOL}

    def namespace(self, node: str) -> str:
        return self.fabric.lab.namespace(node)

    def run(self, namespace: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command in a namespace."""
        command = namespaces.inside(namespace, argv)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    # -- faults

    def pids(self, node: str, *words: str) -> list[int]:
        """Processes of a node whose command line has all the words."""
        found = []
        for pid in namespaces.pids([self.namespace(node)])[self.namespace(node)]:
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if all(any(word in part for part in line) for word in words):
                found.append(pid)
        return found

    def exabgp_pid(self, node: str) -> int:
        (pid,) = self.pids(node, "exabgp_launch.py", "server")
        return pid

    def agent_pid(self, node: str) -> int:
        (pid,) = [p for p in self.pids(node, "underlay", "speaker") if p not in self.pids(node, "exabgp")]
        return pid

    def kill(self, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def agent_away(self, node: str) -> Iterator[None]:
        """The node's agent is killed, and is started again only after the block. ExaBGP goes on."""
        init = self.fabric.lab.init(node).pid()
        assert init is not None
        os.kill(init, signal.SIGSTOP)
        try:
            self.kill(self.agent_pid(node))
            yield
        finally:
            os.kill(init, signal.SIGCONT)

    def stop(self, node: str) -> None:
        asyncio.run(self.fabric.lab.stop(node))

    def start(self, node: str) -> None:
        asyncio.run(self.fabric.start(node))

    def set_link(self, node: str, interface: str, up: bool) -> None:
        asyncio.run(self.fabric.lab.set_link(node, interface, up))

    # -- traffic

    @contextmanager
    def answering(self, namespace: str) -> Iterator[None]:
        """A UDP echo server in the namespace."""
        argv = namespaces.inside(namespace, (sys.executable, "-I", probe.__file__, "serve", "--port", str(PORT)))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == "ready\n"
                yield
            finally:
                server.terminate()

    @contextmanager
    def traffic(
        self,
        source: str,
        pod: LabPod,
        version: int = 4,
        flows: int = FLOWS,
        rate: int = RATE,
        at_most: float = 300.0,
    ) -> Iterator[Traffic]:
        """Flows from a namespace to a pod while the block runs, for so many seconds `at_most`; one before it ends."""
        result = Traffic()
        argv = [sys.executable, "-I", probe.__file__, "flows", "--to", pod.address(version), "--port", str(PORT)]
        argv += ["--flows", str(flows), "--rate", str(rate), "--seconds", str(at_most), "--json"]
        with self.answering(pod.namespace):
            client = subprocess.Popen(namespaces.inside(source, argv), stdout=subprocess.PIPE, text=True)
            try:
                time.sleep(1)
                yield result
                time.sleep(1)
            finally:
                client.send_signal(signal.SIGINT)
                out, _ = client.communicate(timeout=30)
        told = json.loads(out)
        result.sent, result.answered = told["sent"], told["answered"]
        result.worst_gap_ms, result.sources = told["worstGapMs"], tuple(told["sources"])


def prefixes(found: Sequence[str] | set[str], version: int) -> set[str]:
    """Those of an IP version."""
    return {p for p in found if (":" in p) is (version == 6)}
