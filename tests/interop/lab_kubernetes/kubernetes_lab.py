"""The dual-ToR lab on the Kubernetes store, and what of it must not change while the API server is away."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containerlab import namespaces
from tests.interop.lab_kubernetes.api_server import StandIn, kubeconfig
from tests.interop.lab_kubernetes.declared import custom_resources, kubernetes_node, secret
from tests.lab.running_lab import PROTOCOL, RunningLab

TOPOLOGY, URL = "dual-tor", "kubernetes:stand-in"
Connections = dict[tuple[str, str], int]
#: Prefix -> gateways; none for a blackhole.
Routed = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Seen:
    """What an outage of the API server must leave as it is.

    `processes`: pid -> node. `kernel`: node -> routes and next hops, word for word. `routed`: the same without the
    numbers of next hops, which are others after a link was down.
    """

    processes: dict[int, str]
    connections: Connections
    kernel: dict[str, str]
    routed: dict[str, Routed]


class KubernetesLab(RunningLab):
    """`api` is the cluster. What is asked of the store is asked of it, so not while it is away."""

    def __init__(self, name: str, run_dir: Path) -> None:
        super().__init__(TOPOLOGY, name, run_dir, URL)
        self.api = StandIn(self._spaces())
        self.password = secrets.token_urlsafe(24)
        self._tors = [node.name for node in self.fabric.topology.in_group("tor")]

    def declare(self) -> None:
        for document in custom_resources():
            self.api.put(document)
        for node in self.fabric.nodes():
            self.api.put(kubernetes_node(node), "")
        self.api.put(secret(self.password), "")

    def make_namespaces(self) -> None:
        """Those of the nodes, before the lab does: the API server is there before any speaker is."""
        asyncio.run(namespaces.create(self._spaces()))
        for space in self._spaces():
            subprocess.run(("ip", "-n", space, "link", "set", "lo", "up"), check=True)

    def remove_namespaces(self) -> None:
        """Those that are there still: the lab takes them away, if it has come to be."""
        asyncio.run(namespaces.delete([space for space in self._spaces() if namespaces.exists(space)]))

    def _spaces(self) -> list[str]:
        return [self.namespace(node) for node in self.nodes()]

    def switches(self) -> list[str]:
        """Without asking the store."""
        return sorted(self._tors)

    def conditions(self, plural: str, name: str) -> dict[str, str]:
        """Type -> status, as `kubectl get` shows them."""
        status = self.api.get(plural, name).get("status", {})
        return {one["type"]: one["status"] for one in status.get("conditions", ())}

    def report(self, node: str) -> dict[str, Any]:
        """The spec of its BGPNodeStatus."""
        return dict(self.api.get("bgpnodestatuses", node)["spec"])

    def hold_times(self, switch: str) -> dict[str, int]:
        """Neighbour -> seconds, as the switch has negotiated them."""
        neighbors = self.vtysh(switch, "show bgp neighbors json")
        return {a: n["bgpTimerHoldTimeMsecs"] // 1000 for a, n in neighbors.items() if "bgpTimerHoldTimeMsecs" in n}

    def processes(self) -> dict[int, str]:
        """All that the lab's nodes have running: speakers, ExaBGP, the controller, FRR, BIRD, and who starts them."""
        spaces = {self.namespace(node): node for node in self.fabric.topology.nodes}
        return {pid: spaces[space] for space, pids in namespaces.pids([*spaces]).items() for pid in pids}

    def kernel(self) -> dict[str, str]:
        return {node: self._kernel(node) for node in self.nodes()}

    def _kernel(self, node: str) -> str:
        asked = (("-4", "route"), ("-6", "route"), ("nexthop",))
        shown = (self.run(self.namespace(node), "ip", *words, "show", "proto", PROTOCOL).stdout for words in asked)
        return "".join(shown)

    def routed(self, nodes: Iterable[str] | None = None) -> dict[str, Routed]:
        found: dict[str, Routed] = {}
        for node in nodes or self.nodes():
            found[node] = dict.fromkeys(self.blackholes(node), frozenset())
            for version in (4, 6):
                learned = self.learned_routes(node, version)
                found[node] |= {f"{prefix} IPv{version}": frozenset(hops) for prefix, hops in learned.items()}
        return found

    def seen(self) -> Seen:
        return Seen(self.processes(), self.all_connections(), self.kernel(), self.routed())

    def refused_connections(self, node: str) -> int:
        """How many dials from the node's own address space came to nothing (AttemptFails of /proc/net/snmp)."""
        lines = self.run(self.namespace(node), "cat", "/proc/net/snmp").stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        return int(dict(zip(names, values, strict=True))["AttemptFails"])

    def last_seen(self, node: str) -> Path:
        """What the node's agent leaves to the next one."""
        return self.fabric.lab.node_dir(node) / "speaker" / "last-seen.json"

    def speaker_log(self, node: str) -> str:
        return (self.fabric.lab.init(node).logs / "speaker.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(name: str, run_dir: Path, folder: Path) -> Iterator[KubernetesLab]:
    """Up, with pods; gone at the end, and nothing is left."""
    lab = KubernetesLab(name, run_dir)
    with ExitStack() as stack:
        stack.callback(lab.remove_namespaces)
        lab.make_namespaces()
        stack.enter_context(lab.api)
        stack.enter_context(kubeconfig(lab.api, folder))
        stack.callback(_down, lab, run_dir)
        lab.declare()
        lab.up()
        yield lab


def _down(lab: KubernetesLab, run_dir: Path) -> None:
    left = lab.down()
    if run_dir.exists() and not any(run_dir.iterdir()):
        run_dir.rmdir()
    assert left == []
