"""The lists of a node with podCIDRs as a runtime runs them: the reference `ptp` and `host-local`, our IPAM beside them.

Needs root, network namespaces and Debian's containernetworking-plugins.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from containerlab.cni_runtime import Attachment, CniFailed, Runtime
from containerlab.pods import reference_plugins
from ipam.conflist import Conflist, install_plugin, keep_conflist
from tests.interop.test_cni_ptp import MTU, ROUTER, Host, in_pod, ip
from tests.unit.cni_world import Folder, agent, declare, declare_pools, held

pytestmark = pytest.mark.lab

POD_CIDRS = ("10.1.7.0/24", "fd00:1:0:7::/64")
CLAIMED = {4: "10.244.0.0/16", 6: "fd00:244::/48"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    node, pod = f"ul-hl-{os.getpid()}-node", f"ul-hl-{os.getpid()}-pod"
    install_plugin(tmp_path / "bin")
    for name in (node, pod):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        for where in ("all", "default"):
            ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{where}.accept_dad=0")
    ip("-n", node, "address", "add", f"{ROUTER}/32", "dev", "lo")
    try:
        yield Host(node, tmp_path / "net.d", (tmp_path / "bin", *reference_plugins()), tmp_path / "results")
    finally:
        for name in (pod, node):
            ip("netns", "delete", name)


def write_list(folder: Folder, host: Host, *pod_cidrs: str, blocks: bool) -> None:
    conflist = Conflist(MTU, socket=folder.socket, queue=folder.queue, pod_cidrs=pod_cidrs, blocks=blocks)
    assert keep_conflist(host.lists, conflist, ready=True)


def addresses(result: dict[str, Any]) -> dict[int, str]:
    """By IP version, without a length."""
    found = [one["address"].partition("/")[0] for one in result["ips"]]
    return {ipaddress.ip_address(one).version: one for one in found}


def kept(folder: Folder) -> set[str]:
    """The addresses that host-local holds, a file each."""
    network = folder.socket.parent / "host-local" / "k8s-pod-network"
    names = {path.name for path in network.iterdir()} if network.exists() else set()
    return {name for name in names if name[:1].isdigit() or name.startswith("fd00")}


def look_at(host: Host, four: str, six: str) -> None:
    """The pod reaches the node, by default routes, and the node the pod."""
    for family in ("-4", "-6"):
        (default,) = json.loads(ip("-n", host.pod, family, "-j", "route", "show", "default"))
        assert default["dev"] == "eth0"
    in_pod(host, ["ping", "-c", "1", "-W", "5", ROUTER])
    for family, address in (("-4", four), ("-6", six)):
        (route,) = json.loads(ip("-n", host.namespace, family, "-j", "route", "show", address))
        assert route["dev"].startswith("veth")
        ip("netns", "exec", host.namespace, "ping", "-c", "1", "-W", "5", address)
    (link,) = json.loads(ip("-n", host.pod, "-j", "link", "show", "dev", "eth0"))
    assert link["mtu"] == MTU


def test_a_pod_of_pod_cidrs_needs_no_agent(tmp_path: Path, host: Host) -> None:
    folder = Folder(tmp_path)
    write_list(folder, host, *POD_CIDRS, blocks=False)

    async def work() -> None:
        found = addresses(await host.add(host.attachment))
        for version, pod_cidr in zip((4, 6), POD_CIDRS, strict=True):
            assert ipaddress.ip_address(found[version]) in ipaddress.ip_network(pod_cidr)
        assert kept(folder) == set(found.values())
        look_at(host, found[4], found[6])
        await host.check(host.attachment)
        await host.delete(host.attachment)
        await host.delete(host.attachment)
        assert kept(folder) == set()
        assert "eth0" not in ip("-n", host.pod, "link")

    asyncio.run(work())


@pytest.mark.parametrize("version", [4, 6])
def test_a_pod_of_a_pod_cidr_and_a_block(tmp_path: Path, host: Host, version: int) -> None:
    """`version` is that of the podCIDR."""
    folder = Folder(tmp_path)
    mine = next(one for one in POD_CIDRS if (":" in one) is (version == 6))
    other = 10 - version
    write_list(folder, host, mine, blocks=True)

    async def work() -> None:
        await declare_pools(folder, pods=CLAIMED[other])
        async with agent(folder):
            result = await host.add(host.attachment)
            found = addresses(result)
            assert [one["address"].rpartition("/")[2] for one in result["ips"]] == ["32", "128"]
            assert ipaddress.ip_address(found[version]) in ipaddress.ip_network(mine)
            assert ipaddress.ip_address(found[other]) in ipaddress.ip_network(CLAIMED[other])
            assert kept(folder) == {found[version]}
            assert await held(folder) == {"k8s-pod-network.c1": {found[other]}}
            look_at(host, found[4], found[6])
            await host.check(host.attachment)
            (folder.socket.parent / "host-local" / "k8s-pod-network" / found[version]).unlink()
            with pytest.raises(CniFailed, match="host-local"):
                await host.check(host.attachment)
            await host.delete(host.attachment)
            await host.delete(host.attachment)
            assert (kept(folder), await held(folder)) == (set(), {})

    asyncio.run(work())


def test_an_agent_that_is_away_keeps_no_address_of_host_local(tmp_path: Path, host: Host) -> None:
    """The ADD fails and nothing is taken; a DEL is done by host-local at once, by the agent when it is back."""
    folder = Folder(tmp_path)
    write_list(folder, host, POD_CIDRS[0], blocks=True)

    class Forgetful(Runtime):
        async def delete(self, attachment: Attachment) -> None:
            return None

    forgetful = Forgetful(host.namespace, host.lists, host.plugins, host.results)

    async def work() -> None:
        await declare_pools(folder, pods=CLAIMED[6])
        with pytest.raises(CniFailed, match="the node agent does not answer") as refused:
            await forgetful.add(host.attachment)
        assert refused.value.try_again
        assert kept(folder) == set()
        async with agent(folder):
            await host.add(host.attachment)
        assert len(kept(folder)) == 1
        await host.delete(host.attachment)
        assert (kept(folder), len(folder.queued()), len(await held(folder))) == (set(), 1, 1)

    asyncio.run(work())


@pytest.mark.parametrize("wish", ["10.1.7.77", "10.244.0.9"])
def test_a_pod_that_wishes_for_an_address_of_the_family_of_the_pod_cidr_is_refused(
    tmp_path: Path, host: Host, wish: str
) -> None:
    folder = Folder(tmp_path)
    write_list(folder, host, POD_CIDRS[0], blocks=True)
    annotations = {"underlay.io/ipAddrs": json.dumps([wish])}
    wishing = replace(host.attachment, capabilities={"io.kubernetes.cri.pod-annotations": annotations, "ips": [wish]})

    async def work() -> None:
        await declare_pools(folder, pods=CLAIMED[6])
        async with agent(folder):
            with pytest.raises(CniFailed, match=f"{wish} is in no IPPool"):
                await host.add(wishing)
        assert (kept(folder), await held(folder)) == (set(), {})

    asyncio.run(work())


def test_a_pod_whose_namespace_gets_no_block_has_the_other_family_alone(tmp_path: Path, host: Host) -> None:
    folder = Folder(tmp_path)
    write_list(folder, host, POD_CIDRS[0], blocks=True)

    async def work() -> None:
        await declare(folder, "IPPool", {"of-others": {"cidr": CLAIMED[6], "namespaceSelector": "has(others)"}})
        async with agent(folder):
            found = addresses(await host.add(host.attachment))
            assert (set(found), kept(folder), await held(folder)) == ({4}, set(found.values()), {})
            in_pod(host, ["ping", "-c", "1", "-W", "5", ROUTER])
            await host.check(host.attachment)
            await host.delete(host.attachment)
        assert kept(folder) == set()

    asyncio.run(work())


def test_without_host_local_the_pod_is_refused_with_the_reason(tmp_path: Path, host: Host) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "ptp").symlink_to(reference_plugins()[0] / "ptp")
    lonely = Host(host.namespace, host.lists, (tmp_path / "bin", tmp_path / "few"), host.results)
    write_list(folder, host, POD_CIDRS[0], blocks=True)

    async def work() -> None:
        await declare_pools(folder, pods=CLAIMED[6])
        async with agent(folder):
            with pytest.raises(CniFailed, match="the plugin host-local is missing"):
                await lonely.add(lonely.attachment)
        assert await held(folder) == {}

    asyncio.run(work())
