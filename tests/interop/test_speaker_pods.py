"""A node's real agent with `--cni`: pods by the reference plugin `ptp`, through the list that the agent wrote.

The runtime is the lab's, which runs a list as libcni does. The router beside the node is BIRD, whose kernel has the
routes, so that what it reaches is what the node has announced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from containerlab.cni_runtime import Attachment, CniFailed, Runtime, addresses
from containerlab.pods import reference_plugins
from ipam.conflist import FILE_NAME, PLUGIN
from peering.manifests import parse_manifests
from peering.resource import Resource
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from tests.interop.speaker_lab import Node, Router, SpeakerLab, command, eventually
from tests.unit.cni_world import holders

pytestmark = pytest.mark.lab

NETWORK = "k8s-pod-network"
#: Three processes start here for most of what is waited for, on a machine that may be busy.
soon = partial(eventually, within=120)
DECLARED = """
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {asNumber: 64512, nodeToNodeMeshEnabled: false}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-1}
spec: {bgp: {ipv4Address: 10.9.0.1/24, ipv6Address: "fd00:9::1/64"}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: router-v4}
spec: {peerIP: 10.9.0.200, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: router-v6}
spec: {peerIP: "fd00:9::c8", asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods-v4}
spec: {cidr: 10.244.0.0/16, blockSize: 30}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods-v6}
spec: {cidr: "fd00:244::/48"}
"""
BIRD = """
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol bgp node4 {
  local 10.9.0.200 as 65001; neighbor 10.9.0.1 as 64512; passive on; multihop; hold time 9; graceful restart on;
  ipv4 { import where net ~ [ 10.244.0.0/16+ ]; export none; };
}
protocol bgp node6 {
  local fd00:9::c8 as 65001; neighbor fd00:9::1 as 64512; passive on; multihop; hold time 9; graceful restart on;
  ipv6 { import where net ~ [ fd00:244::/48+ ]; export none; };
}
"""
#: What the tests' interpreter needs where it lies in a folder that nobody else may enter.
AS_ROOT = ("--exabgp-user", "root")
LISTENER = """
import socket
listening = socket.create_server((ADDRESS, 7777), family=socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET)
print("listening", flush=True)
print(listening.accept()[1][0], flush=True)
"""


class PodLab:
    """A node with its agent and its runtime, a router, and the namespaces of pods."""

    def __init__(self, lab: SpeakerLab, folder: Path) -> None:
        self.lab = lab
        (self.node,) = lab.nodes
        self.router = Router(lab)
        self.folder = folder
        self.list = folder / "net.d" / FILE_NAME
        self.queue = folder / "deletions"
        self.store = f"sqlite:{lab.folder / 'store.db'}"
        plugins = (folder / "bin", *reference_plugins())
        self.runtime = Runtime(self.node.namespace, folder / "net.d", plugins, folder / "results")
        self._log = lab.folder / f"{self.node.name}.log"

    def start_agent(self, *beside: str, rights: tuple[str, ...] = ()) -> None:
        """`beside` are more options; `rights` is a command that lets go of rights."""
        places = {
            "--run-dir": self.lab.folder / "run-node-1",
            "--cni-net-dir": self.list.parent,
            "--cni-bin-dir": self.folder / "bin",
            "--cni-socket": self.lab.folder / "cni" / "agent.sock",
            "--cni-queue": self.queue,
        }
        argv = [*rights, sys.executable, "-m", "underlay", "speaker", "--node", self.node.name, "--cni", *beside]
        argv += ["--store", self.store]
        argv += [word for option, path in places.items() for word in (option, str(path))]
        with self._log.open("a") as log:
            self.node.process = subprocess.Popen(
                ("ip", "netns", "exec", self.node.namespace, *argv),
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self._log.read_text()

    def mtu(self) -> int:
        """Of the list; 0 while there is none."""
        return int(json.loads(self.list.read_text())["plugins"][0]["mtu"]) if self.list.exists() else 0

    def set_mtu(self, mtu: int) -> None:
        command("ip", "-n", self.node.namespace, "link", "set", "eth0", "mtu", str(mtu))

    def pod(self, name: str) -> Attachment:
        """A pod that is not attached yet."""
        namespace = self.lab.extra(name)
        command("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        return Attachment(f"{name}-container", f"/run/netns/{namespace}")

    def add(self, pod: Attachment) -> tuple[str, ...]:
        return addresses(asyncio.run(self.runtime.add(pod)))

    def delete(self, pod: Attachment) -> None:
        asyncio.run(self.runtime.delete(pod))

    def queued(self) -> list[str]:
        return sorted(path.name for path in self.queue.iterdir()) if self.queue.exists() else []

    def held(self) -> dict[str, set[str]]:
        """Handle -> addresses, as the store says."""

        async def ask() -> list[Resource]:
            store = SqliteStore(self.lab.folder / "store.db")
            blocks, _, _ = await load(store, ("IPAMBlock",))
            await store.close()
            return blocks

        return holders(asyncio.run(ask()))

    def reaches(self, address: str) -> bool:
        """Whether the router does."""
        ping = ("ip", "netns", "exec", self.router.namespace, "ping", "-c", "1", "-W", "1", address)
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0

    def source_seen(self, pod: Attachment, address: str) -> str:
        """The source address of a connection of the pod, as the router sees it at this address of its own."""
        inside = ("ip", "netns", "exec")
        source = LISTENER.replace("ADDRESS", repr(address))
        with subprocess.Popen(
            (*inside, self.router.namespace, sys.executable, "-c", source), stdout=subprocess.PIPE, text=True
        ) as listener:
            try:
                assert listener.stdout is not None
                assert listener.stdout.readline() == "listening\n"
                dial = f"import socket; socket.create_connection(({address!r}, 7777), 10)"
                command(*inside, Path(pod.netns).name, sys.executable, "-c", dial)
                return listener.stdout.readline().strip()
            finally:
                listener.kill()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[PodLab]:
    async def declare(path: Path) -> None:
        store = SqliteStore(path)
        resources, problems = parse_manifests(DECLARED, "the test's")
        assert problems == []
        for resource in resources:
            await put(store, resource)
        await store.close()

    with SpeakerLab(1) as lab:
        asyncio.run(declare(lab.folder / "store.db"))
        yield PodLab(lab, tmp_path)


def test_pods_come_once_the_node_is_announced_and_go_while_the_agent_is_away(pods: PodLab) -> None:
    pods.set_mtu(1400)
    pods.start_agent(*AS_ROOT)
    soon((pods.folder / "bin" / PLUGIN).exists)
    soon(lambda: "no pods yet: no BGP session is Established, of 2 in the plan" in pods.said())
    assert not pods.list.exists()
    pods.router.start(BIRD)
    soon(lambda: pods.mtu() == 1400)

    first = pods.pod("one")
    four, six = pods.add(first)
    assert pods.held() == {f"{NETWORK}.one-container": {four, six}}
    asyncio.run(pods.runtime.check(first))
    soon(lambda: pods.reaches(four) and pods.reaches(six))
    assert [pods.source_seen(first, own) for own in pods.router.addresses] == [four, six]

    others = [pods.pod(name) for name in ("two", "thr", "fou", "fiv")]  # the block of IPv4 has four addresses
    given = [pods.add(pod) for pod in others]
    soon(lambda: all(pods.reaches(address) for pair in given for address in pair))

    pods.lab.kill_agent(pods.node)
    pods.delete(others[0])
    assert len(pods.queued()) == 1
    assert pods.held()[f"{NETWORK}.two-container"] == set(given[0])
    late = pods.pod("six")
    with pytest.raises(CniFailed, match="the node agent does not answer") as refused:
        pods.add(late)
    assert refused.value.try_again
    assert pods.reaches(four)
    pods.set_mtu(1450)

    pods.start_agent(*AS_ROOT)
    soon(lambda: pods.queued() == [] and f"{NETWORK}.two-container" not in pods.held())
    soon(lambda: pods.mtu() == 1450)
    soon(lambda: attached(pods, late))
    asyncio.run(pods.runtime.check(first))
    for pod in (first, late, *others):
        pods.delete(pod)
        pods.delete(pod)
    assert pods.held() == {}
    assert not pods.reaches(four)


def attached(pods: PodLab, pod: Attachment) -> bool:
    """The agent may have its socket later than its list."""
    with contextlib.suppress(CniFailed):
        return len(pods.add(pod)) == 2
    return False


def test_a_router_that_is_gone_takes_no_node_out(pods: PodLab) -> None:
    pods.start_agent(*AS_ROOT)
    pods.router.start(BIRD)
    soon(lambda: pods.mtu() == 1500)
    text = pods.list.read_text()
    os.kill(int((pods.lab.folder / "bird.conf.pid").read_text()), signal.SIGKILL)
    soon(lambda: {row.state for row in pods.lab.rows(pods.node).values()} == {"Idle"})
    assert len(pods.add(pods.pod("one"))) == 2
    pods.list.unlink()
    soon(pods.list.exists)
    assert pods.list.read_text() == text


def test_without_the_option_nothing_is_served_or_written(pods: PodLab, tmp_path: Path) -> None:
    node: Node = pods.node
    argv: list[Any] = ["ip", "netns", "exec", node.namespace, sys.executable, "-m", "underlay", "speaker"]
    argv += ["--node", node.name, "--run-dir", pods.lab.folder / "run-node-1", "--exabgp-user", "root"]
    argv += ["--store", f"sqlite:{pods.lab.folder / 'store.db'}"]
    before = {path: path.exists() for path in map(Path, ("/etc/cni/net.d", "/opt/cni/bin", "/run/underlay/cni"))}
    with (pods.lab.folder / "agent.log").open("w") as log:
        node.process = subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=log, stderr=log)
    pods.router.start(BIRD)
    soon(lambda: {row.state for row in pods.lab.rows(node).values()} == {"Established"})
    assert {path: path.exists() for path in before} == before
    assert "cni" not in (pods.lab.folder / "agent.log").read_text()
