"""The list of plugins as a runtime runs it: the reference `ptp`, our IPAM behind it, and then our default route.

Needs root, network namespaces and Debian's containernetworking-plugins.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ipam.conflist import PLUGIN, Conflist, install_plugin
from tests.unit.cni_world import Folder, Outcome, agent, declare_pools, environment, held

CNI = Path("/usr/lib/cni")
ROUTER = "10.99.0.1"
MTU = 1400

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not (CNI / "ptp").exists(), reason="needs root and CNI's ptp")


@dataclass(frozen=True, slots=True)
class Host:
    """A node's namespace and a pod's; what runs plugins in the one for the other."""

    node: str
    pod: str
    plugins: str
    results: dict[str, Any] = field(default_factory=dict)

    async def run(self, conflist: Conflist, command: str, container: str) -> Outcome:
        """The whole list, in the order that the specification wants, as libcni does."""
        document = conflist.document()
        plugins = document["plugins"]
        previous = self.results.get(container)
        for plugin in reversed(plugins) if command == "DEL" else plugins:
            config = {**plugin, "cniVersion": document["cniVersion"], "name": document["name"]}
            if previous is not None:
                config["prevResult"] = previous
            outcome = await self.one(plugin["type"], command, container, config)
            if outcome.code:
                break
            if command == "ADD":
                previous = self.results[container] = outcome.result()
        return outcome

    async def one(self, plugin: str, command: str, container: str, config: dict[str, Any]) -> Outcome:
        variables = environment(command, container)
        variables |= {"CNI_NETNS": f"/run/netns/{self.pod}", "CNI_PATH": f"{CNI}:{self.plugins}"}
        path = f"{self.plugins if plugin == PLUGIN else CNI}/{plugin}"
        process = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", self.node, path,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, **variables},
        )  # fmt: skip
        stdout, _ = await process.communicate(json.dumps(config).encode())
        return Outcome(process.returncode or 0, stdout.decode())


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def in_pod(host: Host, arguments: Sequence[str]) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", host.pod, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    node, pod = f"ul-cni-{os.getpid()}-node", f"ul-cni-{os.getpid()}-pod"
    install_plugin(tmp_path / "bin")
    for name in (node, pod):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    for where in ("all", "default"):  # two seconds of duplicate address detection are not the test's subject
        for name in (node, pod):
            ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{where}.accept_dad=0")
    ip("-n", node, "address", "add", f"{ROUTER}/32", "dev", "lo")
    try:
        yield Host(node, pod, str(tmp_path / "bin"))
    finally:
        for name in (pod, node):
            ip("netns", "delete", name)


def test_pod_of_the_list(tmp_path: Path, host: Host) -> None:
    folder = Folder(tmp_path)
    conflist = Conflist(MTU, socket=folder.socket, queue=folder.queue)

    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            result = (await host.run(conflist, "ADD", "c1")).result()
            four, six = (one["address"] for one in result["ips"])
            assert (four.endswith("/32"), six.endswith("/128")) == (True, True)
            assert result["routes"] == [{"dst": "::/0", "gw": "fe80::1"}, {"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]
            look_at_pod(host, four, six)
            look_at_node(host, four, six)
            (await host.run(conflist, "CHECK", "c1")).nothing()
            in_pod(host, ["ip", "route", "del", "default"])
            assert (await host.run(conflist, "CHECK", "c1")).code == 1
            (await host.run(conflist, "DEL", "c1")).nothing()
            (await host.run(conflist, "DEL", "c1")).nothing()
            assert await held(folder) == {}
            assert "eth0" not in ip("-n", host.pod, "link")

    asyncio.run(work())


def look_at_pod(host: Host, four: str, six: str) -> None:
    (link,) = json.loads(ip("-n", host.pod, "-j", "address", "show", "dev", "eth0"))
    addresses = {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}
    assert (link["mtu"], addresses) == (MTU, {four, six})
    (default,) = json.loads(ip("-n", host.pod, "-j", "route", "show", "default"))
    assert (default["gateway"], default["dev"]) == ("169.254.1.1", "eth0")
    (default,) = json.loads(ip("-n", host.pod, "-6", "-j", "route", "show", "default"))
    assert (default["gateway"], default["dev"]) == ("fe80::1", "eth0")
    in_pod(host, ["ping", "-c", "1", "-W", "5", ROUTER])
    (way,) = json.loads(in_pod(host, ["ip", "-j", "route", "get", "192.0.2.1"]))
    assert (way["gateway"], way["prefsrc"]) == ("169.254.1.1", four.partition("/")[0])


def look_at_node(host: Host, four: str, six: str) -> None:
    for family, address in (("-4", four), ("-6", six)):
        (route,) = json.loads(ip("-n", host.node, family, "-j", "route", "show", address))
        assert route["dev"].startswith("veth")


def test_add_that_fails_gives_everything_back(tmp_path: Path, host: Host) -> None:
    """`ptp` cannot make an interface that is there; it calls our DEL, and so does the runtime."""
    folder = Folder(tmp_path)
    conflist = Conflist(MTU, socket=folder.socket, queue=folder.queue)

    async def work() -> None:
        await declare_pools(folder)
        ip("-n", host.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
        async with agent(folder):
            assert (await host.run(conflist, "ADD", "c1")).code == 1
            assert await held(folder) == {}

    asyncio.run(work())
