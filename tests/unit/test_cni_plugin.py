"""`underlay-ipam` as a runtime sees it: a process, against a real service on a real store, command by command.

What is expected is the CNI specification's; what goes wrong is in tests/unit/test_cni_errors.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam import cni_plugin
from ipam.cni_plugin import queue_name
from tests.unit.cni_world import (
    NETWORK,
    NODE,
    FailingStore,
    Folder,
    agent,
    call,
    declare_pools,
    environment,
    held,
    run_plugin,
    until,
)

VERSIONS = ("1.0.0", "1.1.0")
ADDRESS = {4: re.compile(r"10\.244\.\d+\.\d+/32"), 6: re.compile(r"fd00:244:[0-9a-f:]+/128")}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.mark.parametrize("version", VERSIONS)
def test_add(folder: Folder, version: str) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            dns = {"nameservers": ["10.96.0.10"], "search": ["cluster.local"]}
            result = (await call(folder, "ADD", "c1", version, ipam={"dns": dns})).result()
        assert set(result) == {"cniVersion", "ips", "routes", "dns"}
        assert result["cniVersion"] == version
        four, six = result["ips"]
        assert ADDRESS[4].fullmatch(four["address"])
        assert ADDRESS[6].fullmatch(six["address"])
        assert (four["gateway"], six["gateway"]) == ("169.254.1.1", "fe80::1")
        assert set(four) == set(six) == {"address", "gateway"}
        assert result["routes"] == [
            {"dst": four["address"], "gw": "0.0.0.0"},
            {"dst": "::/0", "gw": "fe80::1"},
        ]
        assert result["dns"] == dns
        owned = {one["address"].split("/")[0] for one in (four, six)}
        assert await held(folder) == {f"{NETWORK}.c1": owned}

    run(work())


@pytest.mark.parametrize("version", VERSIONS)
def test_add_again_check_and_del(folder: Folder, version: str) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            first = (await call(folder, "ADD", "c1", version)).result()
            assert (await call(folder, "ADD", "c1", version)).result() == first
            (await call(folder, "CHECK", "c1", version, prevResult=first)).nothing()
            other = (await call(folder, "ADD", "c2", version)).result()
            (await call(folder, "DEL", "c1", version, prevResult=first)).nothing()
            assert set(await held(folder)) == {f"{NETWORK}.c2"}
            code, said = (await call(folder, "CHECK", "c1", version, prevResult=first)).error()
            assert code == 111
            assert first["ips"][0]["address"].split("/")[0] in said
            (await call(folder, "CHECK", "c2", version, prevResult=other)).nothing()
            (await call(folder, "DEL", "c1", version)).nothing()
            (await call(folder, "DEL", "never-added", version)).nothing()
            assert set(await held(folder)) == {f"{NETWORK}.c2"}

    run(work())


def test_adds_of_one_container_at_once_are_one(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            outcomes = await asyncio.gather(*(call(folder, "ADD", "c1") for _ in range(6)))
        results = [outcome.result() for outcome in outcomes]
        assert results == [results[0]] * 6
        assert await held(folder) == {f"{NETWORK}.c1": {ip["address"].split("/")[0] for ip in results[0]["ips"]}}

    run(work())


def test_two_interfaces_of_a_container_have_addresses_of_their_own(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            first = (await call(folder, "ADD", "c1")).result()
            second = (await call(folder, "ADD", "c1", interface="net1")).result()
            assert first["ips"] != second["ips"]
            (await call(folder, "DEL", "c1")).nothing()
            assert set(await held(folder)) == {f"{NETWORK}.c1:net1"}

    run(work())


def test_gc_frees_what_is_not_in_the_list(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            for container in ("c1", "c2", "c3"):
                (await call(folder, "ADD", container)).result()
            (await call(folder, "ADD", "c1", interface="net1")).result()
            valid = [{"containerID": "c2", "ifname": "eth0"}, {"containerID": "c1", "ifname": "net1"}]
            outcome = await run_plugin(gc_environment(), gc(folder, valid))
            outcome.nothing()
        assert set(await held(folder)) == {f"{NETWORK}.c2", f"{NETWORK}.c1:net1"}

    run(work())


def gc(folder: Folder, valid: list[dict[str, str]]) -> str:
    # libcni writes the name that the specification first had as well.
    return json.dumps(folder.config() | {"cni.dev/valid-attachments": valid, "cni.dev/attachments": valid})


def gc_environment() -> dict[str, str]:
    return {"CNI_COMMAND": "GC", "CNI_PATH": "/opt/cni/bin"}


def test_status(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            (await run_plugin({"CNI_COMMAND": "STATUS"}, json.dumps(folder.config()))).nothing()

    run(work())


@pytest.mark.parametrize("said", ["1.0.0", "1.1.0", "0.4.0", ""])
def test_version(said: str) -> None:
    async def work() -> None:
        stdin = json.dumps({"cniVersion": said}) if said else ""
        answer = (await run_plugin({"CNI_COMMAND": "VERSION"}, stdin)).result()
        expected = said if said in VERSIONS else "1.1.0"
        assert answer == {"cniVersion": expected, "supportedVersions": list(VERSIONS)}

    run(work())


def test_mistake_of_ours_is_an_error_object_too(tmp_path: Path) -> None:
    class Odd(dict[str, str]):
        def get(self, *arguments: Any) -> Any:
            raise ZeroDivisionError("odd")

    out = tmp_path / "stdout"
    with open(os.devnull) as stdin, out.open("w") as stdout:
        assert cni_plugin.main(Odd(), stdin.fileno(), stdout.fileno()) == 1
    expected = {"cniVersion": "1.0.0", "code": 100, "msg": "underlay-ipam has failed"}
    assert json.loads(out.read_text()) == {**expected, "details": "ZeroDivisionError('odd')"}


def test_it_needs_nothing_but_the_interpreter() -> None:
    """`-I -S` and another folder: no path of the project, no site-packages; and only what it says it imports."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"exec(open({cni_plugin.__file__!r}).read(), {{'__name__': 'plugin'}})\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True, cwd="/"
    )
    loaded = set(done.stdout.split())
    assert {"_json", "_socket", "errno"} <= loaded
    assert loaded.isdisjoint(
        {"json", "re", "socket", "typing", "ctypes", "asyncio", "hashlib", "logging", "pathlib", "ipam"}
    )


def test_del_without_an_agent_is_applied_when_it_is_back(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            first = (await call(folder, "ADD", "c1")).result()
            (await call(folder, "ADD", "c2")).result()
        for _ in range(2):
            (await call(folder, "DEL", "c1", prevResult=first)).nothing()
        (await call(folder, "DEL", "never-added")).nothing()
        assert folder.queued() == sorted(queue_name(NETWORK, one, "eth0") for one in ("c1", "never-added"))
        assert set(await held(folder)) == {f"{NETWORK}.c1", f"{NETWORK}.c2"}
        async with agent(folder):
            await until(lambda: not folder.queued())
        assert set(await held(folder)) == {f"{NETWORK}.c2"}

    run(work())


def test_del_while_the_store_is_away_is_applied_when_it_is_back(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        store = FailingStore(folder.store)
        async with agent(folder, store) as service:
            (await call(folder, "ADD", "c1")).result()
            store.away = True
            (await call(folder, "DEL", "c1")).nothing()
            assert folder.queued() == [queue_name(NETWORK, "c1", "eth0")]
            store.away = False
            await service.apply_queue()
            assert (folder.queued(), await held(folder)) == ([], {})

    run(work())


def test_queued_del_is_readable_by_nobody_else(folder: Folder) -> None:
    async def work() -> None:
        (await call(folder, "DEL", "c1", interface="net1")).nothing()

    run(work())
    assert folder.queue.stat().st_mode & 0o777 == 0o700
    (path,) = folder.queue.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"network": NETWORK, "containerID": "c1", "ifname": "net1"}


def test_agent_killed_in_between(folder: Folder) -> None:
    """SIGKILL while pods come: each ADD succeeds or says why; after that, everything goes on from the store."""

    async def work() -> None:
        await declare_pools(folder)
        agent_process = await started(folder)
        calls = [asyncio.create_task(call(folder, "ADD", f"c{number}")) for number in range(8)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        agent_process.send_signal(signal.SIGKILL)
        await agent_process.wait()
        outcomes = await asyncio.gather(*calls)
        assert any(one.code == 0 for one in outcomes)
        assert {one.error()[0] for one in outcomes if one.code} <= {11}
        (await call(folder, "DEL", "c0")).nothing()
        agent_process = await started(folder)
        results = [(await call(folder, "ADD", f"c{number}")).result() for number in range(1, 8)]
        addresses = [ip["address"].split("/")[0] for result in results for ip in result["ips"]]
        assert len(set(addresses)) == len(addresses) == 14
        agent_process.terminate()
        await agent_process.wait()
        assert await held(folder) == {
            f"{NETWORK}.c{number}": {ip["address"].split("/")[0] for ip in result["ips"]}
            for number, result in enumerate(results, 1)
        }
        for before, outcome in zip(results, outcomes[1:], strict=True):
            assert outcome.code or outcome.result() == before

    run(work())


async def started(folder: Folder) -> asyncio.subprocess.Process:
    """An agent as a process of its own, that listens."""
    script = (
        "import asyncio, sys; from pathlib import Path; from ipam.cni_service import CniService\n"
        "from ipam.cni_socket import serve_cni; from peering.store.sqlite import SqliteStore\n"
        "store, queue, path, node = sys.argv[1:]\n"
        "asyncio.run(serve_cni(CniService(SqliteStore(Path(store)), node, Path(queue), print), Path(path)))"
    )
    arguments = (str(folder.store), str(folder.queue), str(folder.socket), NODE)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments, cwd=root(), env=os.environ)
    status = environment("STATUS", "")
    async with asyncio.timeout(30):
        while (await run_plugin(status, json.dumps(folder.config()))).code:
            assert process.returncode is None
    return process


def root() -> Path:
    return Path(cni_plugin.__file__).parent.parent


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from((None, 2)))
def test_json_is_read_and_written_as_json_does(value: dict[str, Any], indent: int | None) -> None:
    assert cni_plugin._dumps(value) == json.dumps(value).encode()
    for ascii_only in (True, False):
        text = f" {json.dumps(value, indent=indent, ensure_ascii=ascii_only)}\n"
        try:
            encoded = text.encode()
        except UnicodeEncodeError:  # half a surrogate pair
            continue
        assert cni_plugin._loads(encoded) == json.loads(text)


@pytest.mark.parametrize("text", ["", "{", "nul", "[1] 2", '{"a" 1}', '"\x01"', "01", "[" * 100_000, "\ud800"])
def test_what_is_no_json_is_told_in_its_words(text: str) -> None:
    outcomes = []
    for loads in (cni_plugin._loads, json.loads):
        with pytest.raises((ValueError, RecursionError)) as caught:
            loads(text.encode(errors="surrogatepass"))
        outcomes.append(str(caught.value))
    assert outcomes[0] == outcomes[1]
    assert cni_plugin._loads(b"\xef\xbb\xbf{}") == {}, "a byte order mark is none of its business"


def test_python_with_another_scanner_uses_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cni_plugin, "_C", object())
    assert cni_plugin._loads(b'{"a": [1.5, null]}') == {"a": [1.5, None]}
    assert cni_plugin._dumps({"a": [1.5, None]}) == b'{"a": [1.5, null]}'
