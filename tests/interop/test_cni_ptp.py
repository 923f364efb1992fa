"""The list of plugins as a runtime runs it: the reference `ptp`, our IPAM behind it, and then our default route.

Needs root, network namespaces and Debian's containernetworking-plugins.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from containerlab.cni_runtime import Attachment, CniFailed, Runtime
from containerlab.pods import reference_plugins
from ipam.conflist import Conflist, install_plugin, keep_conflist
from tests.unit.cni_world import Folder, agent, declare_pools, held

pytestmark = pytest.mark.lab

ROUTER = "10.99.0.1"
MTU = 1400


class Host(Runtime):
    """A node's namespace, and a pod's as the attachment of container c1."""

    @property
    def pod(self) -> str:
        return self.namespace.replace("-node", "-pod")

    @property
    def attachment(self) -> Attachment:
        return Attachment("c1", f"/run/netns/{self.pod}")


class Forgetful(Host):
    """A runtime that does not follow an ADD that failed with a DEL."""

    async def delete(self, attachment: Attachment) -> None:
        return None


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def in_pod(host: Host, arguments: Sequence[str]) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", host.pod, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    node, pod = f"ul-cni-{os.getpid()}-node", f"ul-cni-{os.getpid()}-pod"
    folder = Folder(tmp_path)
    install_plugin(tmp_path / "bin")
    keep_conflist(tmp_path / "net.d", Conflist(MTU, socket=folder.socket, queue=folder.queue), ready=True)
    for name in (node, pod):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    for where in ("all", "default"):  # two seconds of duplicate address detection are not the test's subject
        for name in (node, pod):
            ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{where}.accept_dad=0")
    ip("-n", node, "address", "add", f"{ROUTER}/32", "dev", "lo")
    try:
        yield Host(node, tmp_path / "net.d", (tmp_path / "bin", *reference_plugins()), tmp_path / "results")
    finally:
        for name in (pod, node):
            ip("netns", "delete", name)


def test_pod_of_the_list(tmp_path: Path, host: Host) -> None:
    folder = Folder(tmp_path)

    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            result = await host.add(host.attachment)
            four, six = (one["address"] for one in result["ips"])
            assert (four.endswith("/32"), six.endswith("/128")) == (True, True)
            assert result["routes"] == [{"dst": "::/0", "gw": "fe80::1"}, {"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]
            look_at_pod(host, four, six)
            look_at_node(host, four, six)
            await host.check(host.attachment)
            in_pod(host, ["ip", "route", "del", "default"])
            with pytest.raises(CniFailed):
                await host.check(host.attachment)
            await host.delete(host.attachment)
            await host.delete(host.attachment)
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
        (route,) = json.loads(ip("-n", host.namespace, family, "-j", "route", "show", address))
        assert route["dev"].startswith("veth")


def test_add_that_fails_gives_everything_back(tmp_path: Path, host: Host) -> None:
    """`ptp` cannot make an interface that is there; it calls our DEL before the runtime does."""
    forgetful = Forgetful(host.namespace, host.lists, host.plugins, host.results)
    folder = Folder(tmp_path)

    async def work() -> None:
        await declare_pools(folder)
        ip("-n", host.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
        async with agent(folder):
            with pytest.raises(CniFailed, match="ptp ADD"):
                await forgetful.add(host.attachment)
            assert await held(folder) == {}

    asyncio.run(work())
