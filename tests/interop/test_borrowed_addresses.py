"""An address that a node has in another node's block: real speakers and a reflector that enforces ownership."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from bgp_speaker.kernel_routes import PROTOCOL
from ipam.allocator import Allocator, Given
from ipam.block_order import address_at
from ipam.claims import confirmed_blocks
from ipam.requests import Request
from peering.store.sqlite import SqliteStore
from tests.interop.reflector_lab import Host, Lab, Process, eventually, throughout
from tests.interop.reflector_process import ReflectorProcess

pytestmark = pytest.mark.lab

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
NUMBERS = {"a": 11, "b": 12, "c": 13}
POOLS = {"v4": ("10.244.0.0/24", 26), "v6": ("fd00:244::/118", 122)}
VERSIONS = (4, 6)


class Nodes:
    """Three nodes on a subnet, clients of one reflector. Each claims a block of each pool."""

    def __init__(self, lab: Lab) -> None:
        self._reflector = ReflectorProcess(lab, lab.host("rr", 1))
        self.hosts = {name: lab.host(name, number) for name, number in NUMBERS.items()}
        self._store = self._reflector.host.folder / "store.db"
        self._reflector.declare(self._resources())
        self._reflector.start_declared("rr", "--log=json")
        self._speakers = {name: Process(lab, host, "speaker.log") for name, host in self.hosts.items()}
        for name, process in self._speakers.items():
            run_dir = self.hosts[name].folder / "run"
            process.start(
                *(sys.executable, "-m", "underlay", "speaker", "--node", name, "--store", f"sqlite:{self._store}"),
                *("--run-dir", str(run_dir), "--exabgp-user", "root"),
                folder=ROOT,
            )

    def _resources(self) -> str:
        rr = self._reflector.host
        addresses = [f"{rr.ipv4}/32", f"{rr.ipv6}/128"]
        spec = {"addresses": addresses, "nodeSelector": "all()", "ownership": "enforce"}
        documents = [
            _resource("projectcalico.org/v3", "BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}),
            _resource("underlay.io/v1alpha1", "RouteReflector", "rr", spec),
        ]
        for name, (cidr, size) in POOLS.items():
            documents.append(_resource("projectcalico.org/v3", "IPPool", name, {"cidr": cidr, "blockSize": size}))
        for name, host in self.hosts.items():
            bgp = {"ipv4Address": f"{host.ipv4}/32", "ipv6Address": f"{host.ipv6}/128"}
            documents.append(_resource("underlay.io/v1alpha1", "Node", name, {"bgp": bgp}))
        return yaml.safe_dump_all(documents)

    def ask(self, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
        """Of the store."""

        async def run() -> T:
            store = SqliteStore(self._store)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def blocks(self, node: str) -> list[str]:
        """IPv4 first."""
        found = self.ask(lambda store: confirmed_blocks(store, node))
        return sorted(found, key=lambda cidr: ":" in cidr)

    def routes(self, node: str) -> dict[str, set[str]]:
        """What the kernel has of the speaker: prefix -> gateways, none for a blackhole."""
        found: dict[str, set[str]] = {}
        for version in VERSIONS:
            shown = self.hosts[node].run("ip", "-j", f"-{version}", "route", "show", "proto", str(PROTOCOL))
            for route in json.loads(shown or "[]"):
                hops = route.get("nexthops", [route])
                found[route["dst"]] = {hop["gateway"] for hop in hops if "gateway" in hop}
        return found

    def says(self) -> dict[str, Any]:
        return {name: (self.routes(name), self._speakers[name].said()[-2000:]) for name in self.hosts}


def _resource(version: str, kind: str, name: str, spec: Mapping[str, object]) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Lab() as lab:
        yield Nodes(lab)


def usual(nodes: Nodes) -> dict[str, dict[str, set[str]]]:
    """The kernel routes of every node while nothing is borrowed: blackholes for its own, and the blocks of others."""
    of_blocks = {name: nodes.blocks(name) for name in nodes.hosts}
    return {
        name: {
            block: {host.address(version)} if host is not nodes.hosts[name] else set()
            for other, host in nodes.hosts.items()
            for version, block in zip(VERSIONS, of_blocks[other], strict=True)
        }
        for name in nodes.hosts
    }


def way(host: Host, address: str) -> str:
    """Where the node sends a packet, as the kernel says."""
    return host.run("ip", "route", "get", address, check=False)


def test_a_borrowed_address_leads_to_its_borrower_and_the_block_stays(nodes: Nodes) -> None:
    eventually(lambda: all(len(nodes.blocks(name)) == 2 for name in nodes.hosts), why=nodes.says)
    before = usual(nodes)
    eventually(lambda: {name: nodes.routes(name) for name in nodes.hosts} == before, why=nodes.says)

    wanted = tuple(address_at(block, 9) for block in nodes.blocks("a"))
    request = Request("pod", 1, 1, addresses=wanted)
    given: list[Given] = nodes.ask(lambda store: Allocator(store, "b").allocate(request))
    assert [one.block for one in given] == nodes.blocks("a")
    borrower = nodes.hosts["b"]
    lent = {address: {borrower.address(v)} for v, address in zip(VERSIONS, wanted, strict=True)}
    after = {name: {**before[name], **(lent if name != "b" else {})} for name in before}
    eventually(lambda: {name: nodes.routes(name) for name in nodes.hosts} == after, why=nodes.says)
    for version, one in zip(VERSIONS, given, strict=True):
        for name in ("a", "c"):
            assert f"via {borrower.address(version)} " in way(nodes.hosts[name], one.address)
        beside = address_at(one.block, 8)
        assert f"via {nodes.hosts['a'].address(version)} " in way(nodes.hosts["c"], beside)
    throughout(lambda: {name: nodes.routes(name) for name in nodes.hosts} == after, 2.0)

    nodes.ask(lambda store: Allocator(store, "c").release("pod"))
    eventually(lambda: {name: nodes.routes(name) for name in nodes.hosts} == before, why=nodes.says)
    assert all("via" not in way(nodes.hosts["a"], address) for address in wanted), "a dead address does not loop"


def test_an_address_goes_from_one_borrower_to_the_next(nodes: Nodes) -> None:
    """With the old route still about, nobody refuses the new one."""
    eventually(lambda: all(len(nodes.blocks(name)) == 2 for name in nodes.hosts), why=nodes.says)
    address = address_at(nodes.blocks("a")[0], 5)
    for name in ("b", "c", "b"):
        handle = f"pod-of-{name}"
        request = Request(handle, addresses=(address,))
        nodes.ask(lambda store, name=name, request=request: Allocator(store, name).allocate(request))  # type: ignore[misc]
        expected = {nodes.hosts[name].ipv4}
        eventually(lambda expected=expected: nodes.routes("a").get(address) == expected, why=nodes.says)  # type: ignore[misc]
        nodes.ask(lambda store, handle=handle: Allocator(store, "a").release(handle))  # type: ignore[misc]
    own = Request("pod-of-a", addresses=(address,))
    nodes.ask(lambda store: Allocator(store, "a").allocate(own))
    eventually(lambda: not any(address in nodes.routes(name) for name in nodes.hosts), why=nodes.says)
