"""A node agent's CNI service on a real SQLite store and a real socket, and the plugin as a process beside it."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipam import cni_plugin
from ipam.block_order import address_at
from ipam.cni_service import CniService
from ipam.cni_socket import serve_cni
from peering.resource import Resource
from peering.resources.fields import Spec
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.node import NodeSpec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec, IPReservationSpec
from peering.store.protocol import Store, Stored, StoreError
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore

NODE = "node-1"
NETWORK = "k8s-pod-network"
KINDS: dict[str, type[Spec]] = {
    "IPPool": IPPoolSpec,
    "IPReservation": IPReservationSpec,
    "IPAMConfiguration": IPAMConfigurationSpec,
}
POOLS = {"pods-v4": "10.244.0.0/16", "pods-v6": "fd00:244::/48"}


class Folder:
    """Where a node keeps its things."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store.db"
        self.socket = path / "run" / "agent.sock"
        self.queue = path / "queue"

    def config(self, version: str = "1.1.0", **more: Any) -> dict[str, Any]:
        """The network configuration as `ptp` passes it on."""
        ipam = {"type": "underlay-ipam", "socket": str(self.socket), "queue": str(self.queue), "timeout": 20}
        ipam |= more.pop("ipam", {})
        return {"cniVersion": version, "name": NETWORK, "type": "ptp", "ipam": ipam} | more

    def queued(self) -> list[str]:
        """The DELs that wait."""
        return sorted(path.name for path in self.queue.iterdir()) if self.queue.exists() else []


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the plugin ended, and what it printed."""

    code: int
    stdout: str

    def result(self) -> dict[str, Any]:
        """What it printed when all went well."""
        assert self.code == 0, self.stdout
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    def nothing(self) -> None:
        """It went well without a word."""
        assert (self.code, self.stdout) == (0, "")

    def error(self) -> tuple[int, str]:
        """The error's code and message."""
        found = json.loads(self.stdout)
        assert self.code == 1
        assert set(found) <= {"cniVersion", "code", "msg", "details"}
        return found["code"], found["msg"]


def environment(command: str, container: str, interface: str = "eth0", args: str = "") -> dict[str, str]:
    """As a runtime sets it."""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_IFNAME": interface,
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_PATH": "/opt/cni/bin",
        "CNI_ARGS": args,
    }


async def run_plugin(variables: Mapping[str, str], stdin: str) -> Outcome:
    """The plugin as a process of its own, with nothing of ours within its reach."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", cni_plugin.__file__,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=variables,
    )  # fmt: skip
    stdout, stderr = await process.communicate(stdin.encode())
    assert stderr == b"", stderr.decode()
    assert process.returncode is not None
    return Outcome(process.returncode, stdout.decode())


async def call(folder: Folder, command: str, container: str, version: str = "1.1.0", **more: Any) -> Outcome:
    """One command for a container, in the usual configuration."""
    interface, args = more.pop("interface", "eth0"), more.pop("cni_args", "")
    return await run_plugin(
        environment(command, container, interface, args), json.dumps(folder.config(version, **more))
    )


async def declare_pools(folder: Folder, **pools: str) -> None:
    """Declares the node and these pools, or the usual ones."""
    specs = {name.replace("_", "-"): {"cidr": cidr} for name, cidr in pools.items()}
    await declare(folder, "IPPool", specs or {name: {"cidr": cidr} for name, cidr in POOLS.items()})


async def declare(folder: Folder, kind: str, specs: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes resources of a kind, by their names, and the node."""
    store = SqliteStore(folder.store)
    try:
        await put(store, Resource("Node", NODE, NodeSpec()))
        for name, spec in specs.items():
            await put(store, Resource(kind, name, KINDS[kind].model_validate(spec)))
    finally:
        await store.close()


class FailingStore(SqliteStore):
    """A store that can be put out of reach."""

    away = False

    async def get(self, kind: str, name: str) -> Stored:
        if self.away:
            raise StoreError("the store is away")
        return await super().get(kind, name)


@asynccontextmanager
async def agent(
    folder: Folder, store: Store | None = None, node: str = NODE, **options: Any
) -> AsyncIterator[CniService]:
    """A service that listens."""
    logged: list[str] = options.pop("logged", [])
    opened = store if store is not None else SqliteStore(folder.store)
    service = CniService(opened, node, folder.queue, logged.append, **options)
    serving = asyncio.create_task(serve_cni(service, folder.socket))
    try:
        await until(lambda: folder.socket.exists() or serving.done())
        yield service
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await opened.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for it; fails when it does not come."""
    deadline = time.monotonic() + seconds
    for pause in itertools.repeat(0.003):
        if condition():
            return
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(pause)


async def held(folder: Folder) -> dict[str, set[str]]:
    """Every handle that holds an address, and which it holds, as the store says."""
    store = SqliteStore(folder.store)
    try:
        blocks, _, _ = await load(store, ("IPAMBlock",))
    finally:
        await store.close()
    return holders(blocks)


def holders(blocks: list[Resource]) -> dict[str, set[str]]:
    """Of these blocks."""
    found: dict[str, set[str]] = {}
    for block in blocks:
        assert isinstance(block.spec, IPAMBlockSpec)
        for one in block.spec.allocations:
            found.setdefault(one.handle, set()).add(address_at(block.spec.cidr, one.ordinal))
    return found
