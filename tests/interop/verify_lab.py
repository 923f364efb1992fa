"""A node with a real speaker, and a real FRR as its switch, with a link and a session for each fault that a test makes.

All sessions are of one node and one switch, so that there is one process of each: link N has 10.1.0.(2N) at the switch
and 10.1.0.(2N+1) at the node.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from fabric_templates.verification import kernel
from tests.interop.netns_daemons import Frr, Network, command
from tests.unit.command_line import Result, run_underlay

_DECLARED = """
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeToNodeMeshEnabled: false}
---
apiVersion: underlay.io/v1alpha1
kind: Switch
metadata: {name: tor}
spec: {asNumber: 65011, platform: frr, addresses: [10.0.1.1/32], linkSubnets: [10.1.0.0/24]}
---
apiVersion: v1
kind: Secret
metadata: {name: bgp}
stringData: {rack-1: the-rack}
---
apiVersion: underlay.io/v1alpha1
kind: Rack
metadata: {name: rack-1}
spec:
  nodeASNumber: 65101
  switches: [tor]
  nodeSelector: rack == 'rack-1'
  holdTime: 9s
  keepaliveTime: 3s
  maxPrefixes: 64
  password: {secretKeyRef: {name: bgp, key: rack-1}}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.244.0.0/16, blockSize: 26}
---
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {name: node-1, labels: {rack: rack-1}}
spec:
  bgp: {ipv4Address: 10.0.11.1/32}
  uplinks:
"""


def at_switch(link: int) -> str:
    return f"10.1.0.{2 * link}"


def at_node(link: int) -> str:
    return f"10.1.0.{2 * link + 1}"


class VerifyLab:
    """The declaration in a store, both daemons on it, and the way to the switch."""

    def __init__(self, network: Network, links: int) -> None:
        self.network = network
        self.switch, self.node = network.namespace("tor"), network.namespace("node")
        for namespace in (self.switch, self.node):  # a link is there at once, not two seconds later
            command("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        for link in range(links):
            network.link(self.switch, self.node, f"eth{link}", {f"{at_switch(link)}/31": f"{at_node(link)}/31"})
        command("ip", "-n", self.node, "address", "add", "10.0.11.1/32", "dev", "lo")
        folder = network.new_directory("root")
        self.store = f"sqlite:{folder / 'store.db'}"
        self._declaration = folder / "fabric.yaml"
        uplinks = (f"    - {{interface: eth{n}, addresses: [{at_node(n)}/31]}}\n" for n in range(links))
        self._declaration.write_text(_DECLARED + "".join(uplinks))
        self._run_dir = folder / "run"
        self.frr = Frr(network, self.switch, self._rendered(), zebra=True)
        self.via = f"ip netns exec {self.switch} env PATH={self._tools(folder)}:{os.environ['PATH']}"

    def _rendered(self) -> str:
        applied = run_underlay("apply", "-f", str(self._declaration), "--store", self.store)
        assert applied.exit_code == 0, applied.stderr
        rendered = run_underlay("render", "--store", self.store, "--switch", "tor", "--with-secrets")
        assert rendered.exit_code == 0, rendered.stderr
        return rendered.stdout

    def _tools(self, folder: Path) -> Path:
        tools = folder / "tools"
        tools.mkdir()
        wrapper = tools / "vtysh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/vtysh --vty_socket {self.frr.directory} "$@"\n')
        wrapper.chmod(0o755)
        return tools

    def start_speaker(self) -> None:
        options = ("--node", "node-1", "--store", self.store, "--run-dir", str(self._run_dir), "--exabgp-user", "root")
        self.network.start(self.node, sys.executable, "-m", "underlay", "speaker", *options)

    def configure(self, *lines: str) -> None:
        """Said to the switch inside `router bgp`."""
        said = _say(self.frr, "configure terminal", "router bgp 65011", *lines)
        assert said == "", said

    def clear(self, link: int) -> None:
        _say(self.frr, f"clear bgp {at_node(link)}")

    def block(self) -> str:
        """The node's."""
        shown = run_underlay("get", "BGPNodeStatus", "node-1", "-o", "json", "--store", self.store)
        (block,) = json.loads(shown.stdout)["spec"]["blocks"]
        return str(block)

    def verify(self, *options: str) -> Result:
        return self.verify_alone("--via", self.via, *options)

    def verify_alone(self, *options: str) -> Result:
        """Without asking the switch."""
        return run_underlay("verify", "--store", self.store, *options)

    def netstat(self) -> str:
        return command("ip", "netns", "exec", self.switch, "cat", "/proc/net/netstat")

    def md5_failures(self) -> int:
        counted = kernel.read(self.netstat())
        return counted.md5 if counted else 0


def _say(frr: Frr, *lines: str) -> str:
    words = [word for line in lines for word in ("-c", line)]
    socket = ("--vty_socket", str(frr.directory))
    return command("ip", "netns", "exec", frr.namespace, "vtysh", *socket, *words)
