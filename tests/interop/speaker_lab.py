"""Real speakers in namespaces on one subnet, each on a plan that the test wrote, and what their kernels route."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from bgp_speaker.kernel_routes import PROTOCOL
from bgp_speaker.node_policy import NodePolicy
from bgp_speaker.node_view import NodeView
from peering.drain_wish import DrainWish
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus, SecretSpec
from peering.services import NOTHING
from peering.session import PrefixRule, SecretKeyRef, Session, SpeakerPlan
from peering.store.resources import find, put
from peering.store.sqlite import SqliteStore

ASN = 64512
IMPORTS = (PrefixRule("10.244.0.0/16", 16, 32), PrefixRule("fd00:244::/32", 32, 128))


def command(*argv: str, check: bool = True) -> str:
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout


def eventually(what: Callable[[], bool], within: float = 30.0) -> None:
    """Waits for something that only asking can tell."""
    deadline = time.monotonic() + within
    while not what():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)


@dataclasses.dataclass
class Node:
    """Number N is 10.9.0.N and fd00:9::N, and owns 10.244.N.0/26 and fd00:244:N::/122."""

    number: int
    namespace: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def addresses(self) -> tuple[str, str]:
        return f"10.9.0.{self.number}", f"fd00:9::{self.number}"

    @property
    def blocks(self) -> tuple[str, str]:
        return f"10.244.{self.number}.0/26", f"fd00:244:{self.number}::/122"


class SpeakerLab:
    """Nodes on a bridge; a context that leaves nothing behind."""

    def __init__(self, nodes: int) -> None:
        tag = secrets.token_hex(3)
        self.folder = Path("/run") / f"underlay-mesh-{tag}"
        self._bridge = f"um{tag}-br"
        self.nodes = [Node(number, f"um{tag}-{number}") for number in range(1, nodes + 1)]
        self._extra: list[str] = []
        self.views: dict[int, NodeView] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o755)
        self.namespace(self._bridge)
        command("ip", "-n", self._bridge, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", self._bridge, "link", "set", "br0", "up")
        for node in self.nodes:
            self.namespace(node.namespace)
            self.join(node.namespace, node.addresses)
        return self

    def __exit__(self, *_: object) -> None:
        namespaces = [self._bridge, *(node.namespace for node in self.nodes), *self._extra]
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()
                node.process.wait()
        for namespace in namespaces:
            self._kill_all(namespace)
        for namespace in namespaces:
            command("ip", "netns", "del", namespace, check=False)
        shutil.rmtree(self.folder)

    def extra(self, name: str) -> str:
        """A namespace for somebody who is no node."""
        full = self._bridge.replace("br", name)
        self._extra.append(full)
        self.namespace(full)
        return full

    def namespace(self, name: str) -> None:
        command("ip", "netns", "add", name)
        command("ip", "-n", name, "link", "set", "lo", "up")

    def join(self, namespace: str, addresses: tuple[str, ...]) -> None:
        """A port of the bridge."""
        port = self._port(namespace)
        peer = ("peer", "name", "eth0", "netns", namespace)
        command("ip", "link", "add", port, "netns", self._bridge, "type", "veth", *peer)
        command("ip", "-n", self._bridge, "link", "set", port, "master", "br0", "up")
        for address in addresses:
            length, options = ("64", ("nodad",)) if ":" in address else ("24", ())
            command("ip", "-n", namespace, "address", "add", f"{address}/{length}", "dev", "eth0", *options)
        command("ip", "-n", namespace, "link", "set", "eth0", "up")

    def _port(self, namespace: str) -> str:
        return f"p{namespace[-8:]}"

    def declare(self, node: Node, *sessions: Session, password: str = "", **changes: Any) -> None:
        """The node's view from now on; a running speaker sees it at once.

        `changes` are of the plan, but for `policy`, `services`, `drain`, and `blocks` where they are not the usual.
        """
        plan = SpeakerPlan(
            asn=ASN,
            router_id=node.addresses[0],
            sessions=sessions,
            loopbacks=node.addresses,
            imports=IMPORTS,
        )
        policy, blocks = changes.pop("policy", NodePolicy()), changes.pop("blocks", node.blocks)
        services, drain = changes.pop("services", NOTHING), changes.pop("drain", DrainWish())
        self.views[node.number] = NodeView(
            plan=dataclasses.replace(plan, **changes),
            policy=policy,
            node=None,
            blocks=blocks,
            passwords={s.password: password for s in sessions if s.password},
            services=services,
            drain=drain,
        )
        temporary = self.folder / "new.view"
        temporary.write_bytes(pickle.dumps(self.views[node.number]))
        temporary.replace(self.folder / f"{node.name}.view")
        asyncio.run(self._wake())

    async def _wake(self) -> None:
        store = SqliteStore(self.folder / "store.db")
        await put(store, Resource("Secret", "wake-up", SecretSpec(values={"at": str(time.time())})))
        await store.close()

    def start(self, *nodes: Node) -> None:
        for node in nodes:
            argv = ("ip", "netns", "exec", node.namespace, sys.executable, "-m", "tests.interop.speaker_process")
            with (self.folder / f"{node.name}.log").open("a") as log:
                node.process = subprocess.Popen(
                    (*argv, str(self.folder), node.name),
                    cwd=Path(__file__).parents[2],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def said(self, node: Node) -> str:
        return (self.folder / f"{node.name}.log").read_text()

    def exabgp(self, node: Node) -> int:
        return int((self.folder / f"run-{node.name}" / "exabgp.pid").read_text())

    def kill_exabgp(self, node: Node) -> None:
        os.kill(self.exabgp(node), signal.SIGKILL)

    def kill_agent(self, node: Node) -> None:
        assert node.process is not None
        node.process.kill()
        node.process.wait()

    def power_cycle(self, node: Node) -> None:
        """The node is gone without a word, and is there again with nothing running; its run directory is empty."""
        command("ip", "-n", self._bridge, "link", "del", self._port(node.namespace))
        self.kill_agent(node)
        self._kill_all(node.namespace)
        command("ip", "netns", "del", node.namespace)
        shutil.rmtree(self.folder / f"run-{node.name}")
        self.namespace(node.namespace)
        self.join(node.namespace, node.addresses)

    def _kill_all(self, namespace: str) -> None:
        pids = command("ip", "netns", "pids", namespace, check=False).split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        eventually(lambda: command("ip", "netns", "pids", namespace, check=False).split() == [])

    def status(self, node: Node) -> BGPNodeStatusSpec | None:
        async def ask() -> BGPNodeStatusSpec | None:
            store = SqliteStore(self.folder / "store.db")
            found = await find(store, "BGPNodeStatus", node.name)
            await store.close()
            return cast(BGPNodeStatusSpec, found.spec) if found else None

        return asyncio.run(ask())

    def rows(self, node: Node) -> dict[str, PeerStatus]:
        status = self.status(node)
        return {row.session: row for row in status.sessions} if status else {}

    def connections(self, node: Node, port: int = 179) -> list[tuple[str, str]]:
        """The established BGP connections: (local, remote), address:port."""
        shown = command("ip", "netns", "exec", node.namespace, "ss", "-Htn", "state", "established")
        ends = [(line.split()[2], line.split()[3]) for line in shown.splitlines()]
        return [pair for pair in ends if any(end.endswith(f":{port}") for end in pair)]

    def counter(self, node: Node, name: str) -> int:
        """A counter of the node's TCP stack (/proc/net/netstat)."""
        lines = command("ip", "netns", "exec", node.namespace, "cat", "/proc/net/netstat").splitlines()
        names, values = (line.split() for line in lines[:2])
        return int(dict(zip(names, values, strict=True))[name])

    def routes(self, node: Node) -> dict[str, set[str]]:
        """Learned routes in the kernel: prefix -> gateways."""
        found: dict[str, set[str]] = {}
        for family in ("-4", "-6"):
            shown = command("ip", "-n", node.namespace, "-j", family, "route", "show", "proto", str(PROTOCOL))
            for route in json.loads(shown or "[]"):
                hops = route.get("nexthops", [route])
                gateways = {hop["gateway"] for hop in hops if "gateway" in hop}
                if gateways:
                    found[route["dst"]] = gateways
        return found


class Router:
    """BIRD in a namespace of its own on the bridge: 10.9.0.200 and fd00:9::c8, on a configuration of the test's."""

    addresses = ("10.9.0.200", "fd00:9::c8")

    def __init__(self, lab: SpeakerLab) -> None:
        self.namespace = lab.extra("router")
        lab.join(self.namespace, self.addresses)
        self._file, self._socket = lab.folder / "bird.conf", lab.folder / "bird.ctl"

    def start(self, configuration: str) -> None:
        self._file.write_text(f"router id {self.addresses[0]};\nprotocol device {{ }}\n{configuration}")
        self._file.chmod(0o600)
        argv = ("bird", "-c", str(self._file), "-s", str(self._socket), "-P", f"{self._file}.pid")
        command("ip", "netns", "exec", self.namespace, *argv)
        eventually(self._socket.exists)

    def ask(self, *question: str) -> str:
        return command("birdc", "-s", str(self._socket), *question, check=False)

    def route(self, prefix: str) -> str:
        """The routes to a prefix with all their attributes; empty without one."""
        version = "6" if ":" in prefix else "4"
        shown = self.ask("show", "route", prefix, "all", "table", f"master{version}")
        return shown if prefix in shown else ""


def between(one: Node, other: Node, *, is_ipv6: bool = False, **changes: Any) -> Session:
    """One's end of a session between two nodes, over the addresses of their plan."""
    made = Session(
        name=f"to-{other.name}-{'ipv6' if is_ipv6 else 'ipv4'}",
        peer=f"node/{other.name}",
        source="mesh",
        type="ibgp",
        local_address=one.addresses[is_ipv6],
        local_asn=ASN,
        peer_address=other.addresses[is_ipv6],
        peer_asn=ASN,
        multihop=255,
        hold_time=9,
        graceful_restart_time=60,
        families=("ipv6-unicast",) if is_ipv6 else ("ipv4-unicast",),
    )
    return dataclasses.replace(made, **changes)


PASSWORD = SecretKeyRef("mesh", "password")
