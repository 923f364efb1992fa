"""What goes wrong in CNI, as the runtime is told: exit code 1, one error object, and nothing half-allocated.

Each `tests/errors/cni/NAME.json` says what the agent is like (`_AGENTS`), the plugin's environment and its stdin; the
output is beside it in `NAME.txt`. `--update-golden` writes the outputs anew; read the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipam.cni_errors import NOT_HELD, NOT_PERMITTED, TABLE
from ipam.cni_plugin import INTERNAL
from ipam.cni_service import Condition
from ipam.cni_socket import listen
from ipam.errors import BadAnnotation, IpamError
from peering.store.protocol import Conflict, Document, Stored
from peering.store.sqlite import SqliteStore
from tests.unit.cni_world import Folder, agent, declare, declare_pools, held, run_plugin

CASES = sorted(path.stem for path in (Path(__file__).parent.parent / "errors" / "cni").glob("*.json"))
FOLDER = Path(__file__).parent.parent / "errors" / "cni"
#: Codes of the specification below 100 that a plugin may use for what it says.
SPECIFIED = {1, 2, 3, 4, 5, 6, 7, 11, 50, 51}

Agents = dict[str, Callable[[Folder], AbstractAsyncContextManager[object]]]


class BusyStore(SqliteStore):
    """Somebody else is always faster at blocks."""

    lost = 0

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        if kind == "IPAMBlock":
            self.lost += 1
            raise Conflict(f"{kind}/{name} was changed by somebody else")
        return await super().update(kind, name, document, version)


@asynccontextmanager
async def away(folder: Folder) -> AsyncIterator[None]:
    (folder.path / "file").write_text("")
    yield


@asynccontextmanager
async def killed(folder: Folder) -> AsyncIterator[None]:
    """Its socket is there, and nobody behind it."""
    listen(folder.socket).close()
    yield


def answering(text: bytes | None) -> Callable[[Folder], AbstractAsyncContextManager[object]]:
    """Somebody who hears every request and says this, or nothing at all and stays."""

    @asynccontextmanager
    async def serving(folder: Folder) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            if text is None:
                await over.wait()
            writer.write(text or b"")
            writer.close()

        async with await asyncio.start_unix_server(serve, sock=listen(folder.socket)):
            yield
            over.set()

    return serving


@asynccontextmanager
async def no_pool(folder: Folder) -> AsyncIterator[None]:
    await declare(folder, "IPPool", {"elsewhere": {"cidr": "10.244.0.0/24", "nodeSelector": "rack == '7'"}})
    async with agent(folder):
        yield


@asynccontextmanager
async def ready(folder: Folder) -> AsyncIterator[None]:
    elsewhere = {"cidr": "10.9.0.0/24", "nodeSelector": "rack == '7'"}
    await declare(folder, "IPPool", {"pods-v4": {"cidr": "10.244.0.0/24"}, "of-another-node": elsewhere})
    await declare(folder, "IPReservation", {"kept": {"reservedCIDRs": ["10.244.0.200/32"]}})
    async with agent(folder) as service:
        config = folder.config(runtimeConfig={"ips": ["10.244.0.9"]})
        request = {"command": "ADD", "containerID": "other", "ifname": "eth0", "config": config}
        request["args"] = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0"
        assert b'"result"' in await service.answer(json.dumps(request).encode())
        yield


def full(v6: bool) -> Callable[[Folder], AbstractAsyncContextManager[object]]:
    """Every IPv4 address is held, or every IPv6 address."""

    @asynccontextmanager
    async def serving(folder: Folder) -> AsyncIterator[None]:
        small: dict[str, Any] = (
            {"cidr": "fd00:244::/126", "blockSize": 126} if v6 else {"cidr": "10.244.0.0/30", "blockSize": 30}
        )
        pools = {"small": small, "large": {"cidr": "10.9.0.0/16"}} if v6 else {"small": small}
        await declare(folder, "IPPool", pools)
        async with agent(folder) as service:
            for number in range(4):
                request = {
                    "command": "ADD",
                    "containerID": f"other-{number}",
                    "ifname": "eth0",
                    "config": folder.config(),
                }
                assert b'"result"' in await service.answer(json.dumps(request).encode())
            yield

    return serving


@asynccontextmanager
async def no_blocks_left(folder: Folder) -> AsyncIterator[None]:
    await declare(folder, "IPAMConfiguration", {"default": {"maxBlocksPerHost": 1, "strictAffinity": True}})
    await declare(folder, "IPPool", {"pods-v4": {"cidr": "10.244.0.0/16", "blockSize": 32}})
    async with agent(folder) as service:
        request = {"command": "ADD", "containerID": "other", "ifname": "eth0", "config": folder.config()}
        assert b'"result"' in await service.answer(json.dumps(request).encode())
        yield


@asynccontextmanager
async def store_away(folder: Folder) -> AsyncIterator[None]:
    (folder.path / "file").write_text("")
    async with agent(folder, SqliteStore(folder.path / "file" / "store.db")):
        yield


@asynccontextmanager
async def store_busy(folder: Folder) -> AsyncIterator[None]:
    await declare_pools(folder, pods_v4="10.244.0.0/16")
    store = BusyStore(folder.store)
    async with agent(folder, store):
        yield
    assert store.lost >= 100


@asynccontextmanager
async def unreadable(folder: Folder) -> AsyncIterator[None]:
    await declare_pools(folder)
    store = SqliteStore(folder.store)
    document: dict[str, Any] = {"apiVersion": "projectcalico.org/v3", "kind": "IPReservation"}
    document |= {"metadata": {"name": "kept"}, "spec": {"reservedCIDRs": ["10.244.0.0/24"], "until": "tomorrow"}}
    await store.create("IPReservation", "kept", document)
    await store.close()
    async with agent(folder):
        yield


@asynccontextmanager
async def bug(folder: Folder) -> AsyncIterator[None]:
    async def fail(namespace: str) -> dict[str, str]:
        raise ZeroDivisionError("a secret of ours")

    logged: list[str] = []
    await declare_pools(folder)
    async with agent(folder, namespace_labels=fail, logged=logged):
        yield
    assert logged == ["cni: ZeroDivisionError: a secret of ours"]


def in_condition(condition: Condition) -> Callable[[Folder], AbstractAsyncContextManager[object]]:
    @asynccontextmanager
    async def serving(folder: Folder) -> AsyncIterator[None]:
        await declare_pools(folder)
        async with agent(folder, condition=lambda declared: condition):
            yield

    return serving


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system of one page."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@asynccontextmanager
async def disk_full(folder: Folder) -> AsyncIterator[None]:
    small = folder.path / "small"
    with small_disk(small):
        (small / "queue").mkdir()
        (small / "all").write_bytes(b"x" * 4096)
        yield
        assert list((small / "queue").iterdir()) == []


_AGENTS: Agents = {
    "away": away,
    "killed": killed,
    "silent": answering(None),
    "hangs-up": answering(b""),
    "babbles": answering(b"220 mail.example.com ESMTP\n"),
    "no-pool": no_pool,
    "ready": ready,
    "exhausted": full(v6=False),
    "second-family-exhausted": full(v6=True),
    "no-blocks-left": no_blocks_left,
    "store-away": store_away,
    "store-busy": store_busy,
    "unreadable": unreadable,
    "bug": bug,
    "not-ready": in_condition(Condition("no BGP session is up yet")),
    "limited": in_condition(Condition("all BGP sessions are down", limited=True)),
    "disk-full": disk_full,
}


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 45


@pytest.mark.parametrize("case", CASES)
def test_error(case: str, tmp_path: Path, equals_golden: Callable[[Path, str], None]) -> None:
    folder = Folder(tmp_path)
    said = json.loads((FOLDER / f"{case}.json").read_text().replace("FOLDER", str(tmp_path)))
    stdin = said["stdin"] if isinstance(said["stdin"], str) else json.dumps(said["stdin"])

    async def work() -> None:
        async with _AGENTS[said["agent"]](folder):
            before = await held(folder)
            outcome = await run_plugin(said["environment"], stdin)
            assert await held(folder) == before
            code, _ = outcome.error()
            assert code in SPECIFIED or code >= 100
            text = json.dumps(json.loads(outcome.stdout), indent=2) + "\n"
            equals_golden(FOLDER / f"{case}.txt", text.replace(str(tmp_path), "FOLDER"))

    asyncio.run(work())


def kinds(of: type[IpamError]) -> Iterator[type[IpamError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_reason_has_a_code_of_its_own() -> None:
    of_services = {BadAnnotation}
    assert set(kinds(IpamError)) - of_services <= set(TABLE)
    ours = [told.code for told in TABLE.values() if told.code >= 100]
    assert len(set(ours)) == len(ours)
    assert {told.code for told in TABLE.values()} - set(ours) == {11}
    for kind, told in TABLE.items():
        if issubclass(kind, IpamError):
            assert told.details.startswith(f"{kind.code}: ")


def test_handbook_has_every_code_of_ours() -> None:
    page = (FOLDER.parent.parent.parent / "docs" / "cni.md").read_text()
    written = dict(re.findall(r"^\| (\d{3}) \| `?([a-z-]*)", page, re.MULTILINE))
    ours = {str(told.code): told.details.partition(":")[0] for told in TABLE.values() if told.code >= 100}
    assert {code: written.get(code) for code in ours} == ours
    assert set(written) - set(ours) == {str(code) for code in (INTERNAL, NOT_PERMITTED, NOT_HELD)}
