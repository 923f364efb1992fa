"""The node agent's side of CNI without a process in between: wishes of pods, many at once, GC, queue, socket."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ipam.cni_plugin import queue_name
from ipam.cni_queue import take_all
from ipam.cni_request import Attachment, network_of
from ipam.cni_service import CniService
from ipam.cni_socket import SocketTaken, listen
from ipam.crowd import Crowd
from peering.store.protocol import StoreError
from peering.store.sqlite import SqliteStore
from tests.unit.cni_world import NETWORK, NODE, FailingStore, Folder, agent, declare, declare_pools, held, until

ANNOTATIONS = "io.kubernetes.cri.pod-annotations"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def ask(service: CniService, folder: Folder, command: str, container: str, **more: Any) -> dict[str, Any]:
    args = more.pop("cni_args", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1")
    request = {"command": command, "containerID": container, "ifname": "eth0", "args": args}
    line = await service.answer(json.dumps({**request, "config": folder.config(**more)}).encode())
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def addresses(answer: dict[str, Any]) -> list[str]:
    return [ip["address"].partition("/")[0] for ip in answer["result"]["ips"]]


WISHES: dict[str, dict[str, Any]] = {
    "annotation": {"runtimeConfig": {ANNOTATIONS: {"underlay.io/ipAddrs": '["10.244.0.77"]'}}},
    "calico": {"runtimeConfig": {ANNOTATIONS: {"cni.projectcalico.org/ipAddrs": '["10.244.0.77"]'}}},
    "capability": {"runtimeConfig": {"ips": ["10.244.0.77/24"]}},
    "args": {"args": {"cni": {"ips": ["10.244.0.77"]}}},
    "annotation-before-capability": {
        "runtimeConfig": {ANNOTATIONS: {"underlay.io/ipAddrs": '["10.244.0.77"]'}, "ips": ["10.244.0.78"]}
    },
    "ours-before-calico": {
        "runtimeConfig": {
            ANNOTATIONS: {"underlay.io/ipAddrs": '["10.244.0.77"]', "cni.projectcalico.org/ipAddrs": '["10.244.0.78"]'}
        }
    },
}


@pytest.mark.parametrize("wish", WISHES)
def test_named_address(folder: Folder, wish: str) -> None:
    """The family that has one gets no other, the other family gets one as always."""

    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder) as service:
            four, six = addresses(await ask(service, folder, "ADD", "c1", **WISHES[wish]))
        assert four == "10.244.0.77"
        assert six.startswith("fd00:244:")

    run(work())


def test_address_from_cni_args(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder, pods_v4="10.244.0.0/16")
        async with agent(folder) as service:
            answer = await ask(service, folder, "ADD", "c1", cni_args="IgnoreUnknown=1;IP=10.244.0.77")
        assert addresses(answer) == ["10.244.0.77"]

    run(work())


@pytest.mark.parametrize("prefix", ["underlay.io", "cni.projectcalico.org"])
def test_named_pools(folder: Folder, prefix: str) -> None:
    async def work() -> None:
        manual = {"cidr": "fd00:9::/48", "assignmentMode": "Manual"}
        await declare(folder, "IPPool", {"a": {"cidr": "10.1.0.0/16"}, "b": {"cidr": "10.2.0.0/16"}, "c": manual})
        named = {"runtimeConfig": {ANNOTATIONS: {f"{prefix}/ipv4pools": '["b"]', f"{prefix}/ipv6pools": '["c"]'}}}
        async with agent(folder) as service:
            usual = addresses(await ask(service, folder, "ADD", "c2"))
            four, six = addresses(await ask(service, folder, "ADD", "c1", **named))
        assert (four[:5], six[:7]) == ("10.2.", "fd00:9:")
        assert [one[:5] for one in usual] == ["10.1."]

    run(work())


def test_pool_of_a_namespace(folder: Folder) -> None:
    async def work() -> None:
        of_shop = {"cidr": "10.9.0.0/16", "namespaceSelector": "kubernetes.io/metadata.name == 'shop'"}
        others = {"cidr": "10.1.0.0/16", "namespaceSelector": "kubernetes.io/metadata.name != 'shop'"}
        await declare(folder, "IPPool", {"shop": of_shop, "others": others})
        async with agent(folder) as service:
            (shop,) = addresses(await ask(service, folder, "ADD", "c1"))
            (bank,) = addresses(
                await ask(service, folder, "ADD", "c2", cni_args="K8S_POD_NAMESPACE=bank;K8S_POD_NAME=b")
            )
        assert (shop[:5], bank[:5]) == ("10.9.", "10.1.")

    run(work())


def test_block_says_which_pod_it_is(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder, pods_v4="10.244.0.0/16")
        async with agent(folder) as service:
            await ask(service, folder, "ADD", "c1")
            store = SqliteStore(folder.store)
            (block,) = await store.list("IPAMBlock")
            await store.close()
        (allocation,) = block.document["spec"]["allocations"]
        said = {name: allocation[name] for name in ("handle", "node", "namespace", "pod")}
        assert said == {"handle": f"{NETWORK}.c1", "node": NODE, "namespace": "shop", "pod": "web-1"}

    run(work())


def test_many_at_once(folder: Folder) -> None:
    """110 containers, each added three times at once: one address of each family for each, and nobody else's."""

    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder) as service:
            names = [f"c{number}" for number in range(110) for _ in range(3)]
            answers = await asyncio.gather(*(ask(service, folder, "ADD", name) for name in names))
        got: dict[str, set[str]] = {}
        for name, answer in zip(names, answers, strict=True):
            found = set(addresses(answer))
            assert got.setdefault(f"{NETWORK}.{name}", found) == found
        everything = [address for found in got.values() for address in found]
        assert len(set(everything)) == len(everything) == 220
        assert await held(folder) == got

    run(work())


def test_gc_is_about_its_network_and_this_node(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder, pods_v4="10.244.0.0/16")
        async with (
            agent(folder) as service,
            agent(Folder(folder.path / "2"), SqliteStore(folder.store), "node-2") as other,
        ):
            await ask(service, folder, "ADD", "c1")
            await ask(service, folder, "ADD", "c.2")
            await ask(other, folder, "ADD", "c3")
            for network in ("storage", f"{NETWORK}.blue"):
                await ask(service, folder, "ADD", "c1", name=network)
            request = {"command": "GC", "config": folder.config() | {"cni.dev/valid-attachments": []}}
            assert json.loads(await service.answer(json.dumps(request).encode())) == {"result": None}
        assert set(await held(folder)) == {f"{NETWORK}.c3", "storage.c1", f"{NETWORK}.blue.c1"}

    run(work())


def test_gc_leaves_an_add_alone_that_is_under_way(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder, pods_v4="10.244.0.0/16")
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def labels(namespace: str) -> dict[str, str]:
            if namespace == "slow":
                reached.set()
                await go_on.wait()
            return {}

        async with agent(folder, namespace_labels=labels) as service:
            await ask(service, folder, "ADD", "c1", cni_args="")
            again = asyncio.create_task(ask(service, folder, "ADD", "c1", cni_args="K8S_POD_NAMESPACE=slow"))
            await reached.wait()
            await ask(service, folder, "ADD", "c1", cni_args="")
            await ask(service, folder, "GC", "c1", **{"cni.dev/valid-attachments": []})
            assert set(await held(folder)) == {f"{NETWORK}.c1"}
            go_on.set()
            await again

    run(work())


HANDLES = [
    (Attachment("net", "c1"), "net.c1"),
    (Attachment("net", "c1", "net1"), "net.c1:net1"),
    (Attachment("a.b", "c"), "a.b.c"),
    (Attachment("a", "b.c"), "a/b.c"),
    (Attachment("a", "b.c", "d.e"), "a/b.c:d.e"),
]


@pytest.mark.parametrize(("attachment", "handle"), HANDLES)
def test_handles(attachment: Attachment, handle: str) -> None:
    assert attachment.handle == handle
    assert network_of(handle) == attachment.network


def queue_up(folder: Folder, container: str, text: str | None = None) -> None:
    folder.queue.mkdir(exist_ok=True)
    said = {"network": NETWORK, "containerID": container, "ifname": "eth0"}
    (folder.queue / queue_name(NETWORK, container, "eth0")).write_text(json.dumps(said) if text is None else text)


def test_queue_is_applied_before_an_add(folder: Folder) -> None:
    """The last address is free again for the next pod, and the same container gets a new start."""

    async def work() -> None:
        await declare(folder, "IPPool", {"small": {"cidr": "10.244.0.0/32", "blockSize": 32}})
        async with agent(folder) as service:
            await ask(service, folder, "ADD", "c1")
            queue_up(folder, "c1")
            assert addresses(await ask(service, folder, "ADD", "c2")) == ["10.244.0.0"]
            assert folder.queued() == []
            assert set(await held(folder)) == {f"{NETWORK}.c2"}

    run(work())


def test_queue_waits_for_the_store(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        store, logged = FailingStore(folder.store), list[str]()
        async with agent(folder, store, logged=logged) as service:
            await ask(service, folder, "ADD", "c1")
            queue_up(folder, "c1")
            store.away = True
            assert (await ask(service, folder, "ADD", "c1"))["error"]["code"] == 11
            assert len(folder.queued()) == 1
            assert logged == [f"cni: DEL of {NETWORK}.c1 waits: the store is away"]
            store.away = False
            await service.apply_queue()
            assert (folder.queued(), await held(folder)) == ([], {})

    run(work())


def test_del_that_comes_while_one_is_applied_stays(folder: Folder) -> None:
    queue_up(folder, "c1")
    (taken,) = take_all(folder.queue)
    queue_up(folder, "c1")
    taken.done()
    assert folder.queued() == [queue_name(NETWORK, "c1", "eth0")]


def test_taken_del_is_found_after_a_crash(folder: Folder) -> None:
    queue_up(folder, "c1")
    next(take_all(folder.queue))
    (again,) = take_all(folder.queue)
    assert again.attachment == Attachment(NETWORK, "c1")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"network": "n", "containerID": "../c", "ifname": "eth0"}'])
def test_file_that_is_no_del_is_put_aside(folder: Folder, text: str) -> None:
    queue_up(folder, "c1", text)
    queue_up(folder, "c2")
    assert [one.attachment.container for one in take_all(folder.queue)] == ["c2"]
    (aside,) = (name for name in folder.queued() if name.startswith(".unreadable-"))
    assert (folder.queue / aside).read_text() == text
    assert [one.attachment.container for one in take_all(folder.queue)] == ["c2"]
    assert aside in folder.queued()


def test_unfinished_file_is_no_del(folder: Folder) -> None:
    folder.queue.mkdir()
    (folder.queue / ".4711").write_text("{")
    assert list(take_all(folder.queue)) == []
    assert folder.queued() == [".4711"]


def test_socket_is_for_its_user_only(folder: Folder) -> None:
    with listen(folder.socket):
        assert folder.socket.stat().st_mode & 0o777 == 0o600
        assert folder.socket.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(SocketTaken, match="another agent listens"):
            listen(folder.socket)
    listen(folder.socket).close()
    folder.socket.unlink()
    folder.socket.write_text("")
    with pytest.raises(SocketTaken, match="is no socket"):
        listen(folder.socket)


def test_a_folder_that_was_there_keeps_its_mode(folder: Folder) -> None:
    """It may be /run."""
    folder.socket.parent.mkdir()
    folder.socket.parent.chmod(0o755)
    with listen(folder.socket):
        assert folder.socket.stat().st_mode & 0o777 == 0o600
        assert folder.socket.parent.stat().st_mode & 0o777 == 0o755


def test_other_users_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        await declare_pools(folder)
        async with agent(folder):
            answer = await said(folder, json.dumps({"command": "STATUS", "config": folder.config()}).encode() + b"\n")
        assert answer == {"result": None}
        monkeypatch.setattr("ipam.cni_socket._user", lambda writer: os.geteuid() + 1000)
        async with agent(folder):
            answer = await said(folder, json.dumps({"command": "STATUS", "config": folder.config()}).encode() + b"\n")
        assert answer["error"]["code"] == 110

    run(work())


async def said(folder: Folder, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(folder.socket))
    writer.write(line)
    answer = json.loads(await reader.readline())
    with suppress(ConnectionResetError):  # it hangs up on what it has not read, too
        assert await reader.read() == b""
    writer.close()
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"command": "ADD", "config": 1}\n', b"x" * (2 << 20) + b"\n"]
)
def test_nonsense_is_answered(folder: Folder, line: bytes) -> None:
    async def work() -> None:
        async with agent(folder):
            assert (await said(folder, line))["error"]["code"] == 6

    run(work())


def test_plugin_that_goes_away_stops_nothing(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        heard, gone = asyncio.Event(), asyncio.Event()

        async def labels(namespace: str) -> dict[str, str]:
            heard.set()
            await gone.wait()
            return {}

        async with agent(folder, namespace_labels=labels) as service:
            request = {"command": "ADD", "containerID": "c1", "ifname": "eth0", "config": folder.config()}
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(str(folder.socket))
                connection.sendall(json.dumps(request).encode() + b"\n")
                await heard.wait()
            gone.set()
            first = addresses(await ask(service, folder, "ADD", "c1"))
        assert await held(folder) == {f"{NETWORK}.c1": set(first)}

    run(work())


def test_who_comes_while_others_are_served_waits_for_the_next_round() -> None:
    async def work() -> None:
        rounds, gate = list[list[int]](), asyncio.Event()

        async def serve(some: Sequence[int]) -> list[str | Exception]:
            rounds.append(list(some))
            await gate.wait()
            return [ZeroDivisionError(one) if one == 0 else f"served {one}" for one in some]

        crowd = Crowd(serve)
        first = [asyncio.create_task(crowd.join(one)) for one in (0, 1)]
        await until(lambda: bool(rounds))
        second = [asyncio.create_task(crowd.join(one)) for one in (2, 3, 4)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert rounds == [[0, 1]]
        second.pop(0).cancel()
        gate.set()
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*first, *second, return_exceptions=True)
        assert (type(answers[0]), answers[1:]) == (ZeroDivisionError, ["served 1", "served 3", "served 4"])
        assert rounds == [[0, 1], [2, 3, 4]]

    run(work())


def test_round_that_fails_is_told_to_all_of_it() -> None:
    async def work() -> None:
        tries = itertools.count()

        async def serve(some: Sequence[int]) -> list[str | Exception]:
            if next(tries) == 0:
                raise StoreError("away")
            return ["here" for _ in some]

        crowd = Crowd(serve)
        found = await asyncio.gather(crowd.join(1), crowd.join(2), return_exceptions=True)
        assert [str(one) for one in found] == ["away", "away"]
        assert await crowd.join(3) == "here"

    run(work())


def test_what_is_wrong_with_the_queue_is_said_once_and_keeps_no_pod_waiting(folder: Folder) -> None:
    async def work() -> None:
        await declare_pools(folder)
        folder.queue.write_text("a file in its place")
        logged = list[str]()
        async with agent(folder, logged=logged) as service:
            for _ in range(3):
                assert await service.apply_queue() == set()
            assert len(addresses(await ask(service, folder, "ADD", "c1"))) == 2
            assert logged == [f"cni: {folder.queue}: [Errno 20] Not a directory: '{folder.queue}'"]
            folder.queue.unlink()
            queue_up(folder, "c1")
            assert await service.apply_queue() == set()
            assert (folder.queued(), await held(folder)) == ([], {})
            folder.queue.rmdir()
            folder.queue.write_text("again")
            await service.apply_queue()
            assert len(logged) == 2

    run(work())
