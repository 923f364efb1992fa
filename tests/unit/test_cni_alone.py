"""The node agent's CNI service while its store is away: what it gives, what it refuses, and what is true afterwards."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ipam import node_files, reach
from ipam.allocator import Allocator
from ipam.alone import Followed
from ipam.block import Holder, without_owner
from ipam.block_order import address_at, block_name
from ipam.claims import claim, finish, release_block
from ipam.cni_plugin import queue_name
from ipam.cni_service import CniService
from ipam.collector import Collector
from ipam.errors import AddressTaken, PoolExhausted
from ipam.keeping import Entry, Known, NothingKept, choose, keeps, kept_of
from ipam.new_blocks import idle_blocks
from ipam.requests import Declared, Request
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec
from peering.resources.node import NodeSpec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec
from peering.store.protocol import Conflict, NotFound
from peering.store.resources import to_resource
from peering.store.sqlite import SqliteStore
from tests.unit.away_store import AwayStore
from tests.unit.cni_world import NETWORK, NODE, Folder, declare, until
from underlay.node_pods import BlockClaims

Json = dict[str, Any]
OTHER = "node-2"
#: The pods of a node that has one block of 16, of which it keeps the last four.
POOL = {"pods": {"cidr": "10.0.0.0/26", "blockSize": 28}}
NOW = 1_700_000_000.0


class Node:
    """One node agent after the other on the same folder, and the store that it sees."""

    def __init__(self, folder: Folder, name: str = NODE) -> None:
        self.folder = folder
        self.name = name
        self.plain = SqliteStore(folder.store)
        self.said: list[str] = []
        self.store = AwayStore(self.plain)
        self.service = self._new()

    def _new(self) -> CniService:
        alone = self.folder.path / "alone"
        return CniService(self.store, self.name, self.folder.queue, self.said.append, alone=alone)

    def restart(self) -> None:
        """Killed, and started anew."""
        self.service.close()
        self.service = self._new()

    async def tick(self) -> None:
        assert self.service._alone is not None
        await self.service._alone.tick()

    async def add(self, container: str, **more: Any) -> list[str]:
        """Its addresses. An error is an assertion."""
        answer = await self.ask("ADD", container, **more)
        assert "result" in answer, answer
        return [ip["address"].partition("/")[0] for ip in answer["result"]["ips"]]

    async def refused(self, container: str, **more: Any) -> str:
        """Why; it is nothing that a person has to do something about."""
        answer = await self.ask("ADD", container, **more)
        assert answer["error"]["code"] == 11, answer
        assert isinstance(answer["error"]["msg"], str)
        return str(answer["error"]["msg"])

    async def ask(self, command: str, container: str = "c", **more: Any) -> Json:
        args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={container}"
        request = {"command": command, "containerID": container, "ifname": "eth0", "args": args}
        line = await self.service.answer(json.dumps({**request, "config": self.folder.config(**more)}).encode())
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    async def held(self) -> dict[str, set[str]]:
        """Every container with an address, as the store says."""
        found: dict[str, set[str]] = {}
        for stored in await self.plain.list("IPAMBlock"):
            spec = stored.document["spec"]
            for one in spec.get("allocations", ()):
                found.setdefault(one["handle"].rpartition(".")[2], set()).add(address_at(spec["cidr"], one["ordinal"]))
        return found

    async def handles(self) -> set[str]:
        return {stored.name.rpartition(".")[2] for stored in await self.plain.list("IPAMHandle")}

    async def block(self) -> Json:
        (stored,) = await self.plain.list("IPAMBlock")
        return dict(stored.document["spec"])

    async def block_of(self, cidr: str) -> Json:
        return dict((await self.plain.get("IPAMBlock", block_name(cidr))).document["spec"])

    async def change(self, cidr: str = "10.0.0.0/28", **fields: Any) -> None:
        """Somebody edits the block by hand."""
        stored = await self.plain.get("IPAMBlock", block_name(cidr))
        spec = {**stored.document["spec"], **fields}
        await self.plain.update("IPAMBlock", stored.name, {**stored.document, "spec": spec})

    async def status(self) -> tuple[int, str]:
        error = (await self.ask("STATUS")).get("error", {"code": 0, "msg": ""})
        return error["code"], error["msg"]

    def queue(self, container: str) -> None:
        """As the plugin leaves a DEL that it could not tell."""
        said = {"network": NETWORK, "containerID": container, "ifname": "eth0"}
        self.folder.queue.mkdir(exist_ok=True)
        (self.folder.queue / queue_name(NETWORK, container, "eth0")).write_text(json.dumps(said))


Story = Callable[[Node], Awaitable[None]]


def tell(path: Path, story: Story, pools: dict[str, Json] | None = None, claims: bool = True, **settings: Any) -> Node:
    """A story of a node that has a block of each pool, unless it shall claim them by itself."""
    folder = Folder(path)
    node = Node(folder)

    async def work() -> None:
        await declare(folder, "IPPool", POOL if pools is None else pools)
        if settings:
            await declare(folder, "IPAMConfiguration", {"default": settings})
        if claims:
            for spec in (POOL if pools is None else pools).values():
                await claim(node.plain, NODE, str(spec["cidr"]).partition("/")[0] + f"/{spec['blockSize']}", NOW)
        await node.tick()
        await story(node)
        node.service.close()
        await node.plain.close()

    asyncio.run(work())
    return node


def test_a_pod_gets_an_address_without_the_store_and_keeps_it(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert (await node.block())["kept"] == 4
        before = await node.add("c1")
        assert before == ["10.0.0.0"]
        node.store.away = "no route to it"
        assert await node.add("c2") == ["10.0.0.12"]
        assert await node.add("c3") == ["10.0.0.13"]
        assert await node.add("c2") == ["10.0.0.12"]
        assert await node.add("c1") == before
        assert await node.held() == {"c1": {"10.0.0.0"}}
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {"10.0.0.0"}, "c2": {"10.0.0.12"}, "c3": {"10.0.0.13"}}
        assert await node.handles() == {"c1", "c2", "c3"}
        assert await node.add("c2") == ["10.0.0.12"]
        assert await node.add("c4") == ["10.0.0.1"]

    told = tell(tmp_path, story)
    assert told.said == [
        "cni: 10.0.0.12 given to pod shop/c2 without the store: no route to it",
        "cni: 10.0.0.13 given to pod shop/c3 without the store: no route to it",
        "cni: 10.0.0.12 of pod shop/c2 is in the store now",
        "cni: 10.0.0.13 of pod shop/c3 is in the store now",
    ]


def previous(*addresses: str) -> Json:
    return {"prevResult": {"ips": [{"address": f"{one}/32"} for one in addresses]}}


def test_an_agent_that_is_started_anew_without_the_store_goes_on(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        await node.add("c1")
        node.store.away = "away"
        assert await node.add("c2") == ["10.0.0.12"]
        for _ in range(2):
            node.restart()
            assert await node.add("c2") == ["10.0.0.12"]
        assert await node.add("c3") == ["10.0.0.13"]
        node.restart()
        node.store.away = ""
        assert await node.add("c4") == ["10.0.0.1"]  # all that was given before is written first
        assert await node.held() == {"c1": {"10.0.0.0"}, "c2": {"10.0.0.12"}, "c3": {"10.0.0.13"}, "c4": {"10.0.0.1"}}

    tell(tmp_path, story)


def test_what_is_kept_is_given_last_with_the_store_and_counts_without_it(tmp_path: Path) -> None:
    """Also by an agent that was killed after its answer, and has only its disk."""

    async def story(node: Node) -> None:
        given = [(await node.add(f"c{number}"))[0] for number in range(14)]
        assert given == [f"10.0.0.{number}" for number in range(14)]
        node.restart()
        node.store.away = "away"
        assert await node.add("c14") == ["10.0.0.14"]
        assert await node.add("c15") == ["10.0.0.15"]
        said = await node.refused("c16")
        assert "all 4 addresses of the IPv4 pools 10.0.0.0/26 that Node/node-1 keeps for this are in use" in said
        node.store.away = ""
        await node.tick()
        await node.add("c16")
        assert len(await node.held()) == 17

    tell(tmp_path, story)


def test_what_was_written_when_the_store_was_back_is_in_use_when_it_is_away_again(tmp_path: Path) -> None:
    """Also before anybody has looked after what is kept, and for an agent that is started anew."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]
        node.restart()
        node.store.away = ""
        assert await node.add("c2") == ["10.0.0.0"]
        node.store.away = "away again"
        assert await node.add("c3") == ["10.0.0.13"]
        node.restart()
        assert await node.add("c4") == ["10.0.0.14"]

    tell(tmp_path, story)


def test_a_del_waits_for_the_store_and_its_address_too(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        (first,) = await node.add("c1")
        node.store.away = "away"
        assert await node.add("c2") == ["10.0.0.12"]
        for container in ("c1", "c2"):
            assert (await node.ask("DEL", container))["error"]["code"] == 11
            node.queue(container)
        assert "the last DEL of k8s-pod-network.c2 waits" in await node.refused("c2")
        assert await node.add("c3") == ["10.0.0.13"]
        node.store.away = ""
        await node.tick()
        await node.service.apply_queue()
        assert await node.held() == {"c3": {"10.0.0.13"}}
        assert await node.handles() == {"c3"}
        released = [one["ordinal"] for one in (await node.block())["released"]]
        assert sorted(released) == [0, 12]
        assert first == "10.0.0.0"

    tell(tmp_path, story)


def test_a_del_that_was_told_twice_holds_up_no_other(tmp_path: Path) -> None:
    """Of c1 there are a file that was taken, by a try that came to nothing, and a new one."""

    async def story(node: Node) -> None:
        for container in ("c1", "c2"):
            await node.add(container)
        node.store.away = "away"
        assert (await node.ask("DEL", "c1"))["error"]["code"] == 11
        for container in ("c1", "c2"):
            node.queue(container)
        await node.service.apply_queue()
        node.queue("c1")
        assert len(list(node.folder.queue.iterdir())) == 3
        node.store.away = ""
        await node.tick()
        assert await node.add("c2") == ["10.0.0.2"]
        assert list(node.folder.queue.iterdir()) == []
        assert await node.held() == {"c2": {"10.0.0.2"}}

    told = tell(tmp_path, story)
    assert [line for line in told.said if "Errno" in line] == []


def test_check_gc_and_status_without_the_store(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        (first,) = await node.add("c1")
        node.store.away = "away"
        assert (await node.status())[0] == 50  # nobody has found out yet
        (second,) = await node.add("c2")
        assert await node.status() == (0, "")
        for container, address in (("c1", first), ("c2", second)):
            assert await node.ask("CHECK", container, **previous(address)) == {"result": None}
            error = (await node.ask("CHECK", container, **previous("10.0.0.9")))["error"]
            assert error["code"] == 11
        valid: Json = {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
        assert (await node.ask("GC", **valid))["error"]["code"] == 11
        for number in range(3):
            await node.add(f"more-{number}")
        assert await node.status() == (50, "away; no IPv4 address that the node keeps for that is left")
        node.store.away = ""
        await node.tick()
        assert await node.status() == (0, "")
        assert await node.ask("GC", **valid) == {"result": None}
        assert await node.held() == {"c1": {first}}

    tell(tmp_path, story)


ANNOTATIONS = "io.kubernetes.cri.pod-annotations"


def test_what_only_the_store_can_tell_is_refused_with_the_reason(tmp_path: Path) -> None:
    named = {"cidr": "10.1.0.0/26", "blockSize": 28, "assignmentMode": "Manual"}

    async def story(node: Node) -> None:
        node.store.away = "no route to it"
        sticky = {"runtimeConfig": {"ips": ["10.0.0.5"]}}
        assert await node.refused("c1", **sticky) == (
            "no route to it; the pod asks for 10.0.0.5, and whether that is free only the store can tell"
        )
        pools = {"runtimeConfig": {ANNOTATIONS: {"underlay.io/ipv4pools": '["named"]'}}}
        assert await node.refused("c2", **pools) == (
            "no route to it; Node/node-1 keeps no addresses of the IPv4 pools 10.1.0.0/26"
        )
        pools = {"runtimeConfig": {ANNOTATIONS: {"underlay.io/ipv4pools": '["pods"]'}}}
        assert await node.add("c3", **pools) == ["10.0.0.12"]
        assert await node.held() == {}

    tell(tmp_path, story, {**POOL, "named": named})


def test_a_family_of_which_nothing_is_kept_refuses_both(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        said = await node.refused("c1")
        assert said == "away; Node/node-1 keeps no addresses of the IPv6 pools fd00::/120"
        assert (await node.status())[0] == 50
        node.store.away = ""
        await node.tick()
        assert len(await node.add("c1")) == 2

    tell(tmp_path, story, {**POOL, "six": {"cidr": "fd00::/120", "blockSize": 127}})


def test_both_families_are_given_alone(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12", "fd00::3"]
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {"10.0.0.12", "fd00::3"}}

    tell(tmp_path, story, {**POOL, "six": {"cidr": "fd00::/120", "blockSize": 126}})


def test_nobody_else_gets_what_is_kept(tmp_path: Path) -> None:
    one_block = {"pods": {"cidr": "10.0.0.0/28", "blockSize": 28}}

    async def story(node: Node) -> None:
        other = Allocator(node.plain, OTHER)
        with pytest.raises(AddressTaken) as refusal:
            await other.allocate(Request("named", addresses=("10.0.0.13",)))
        assert str(refusal.value) == (
            "10.0.0.13 is one of 10.0.0.12-10.0.0.15, which Node/node-1 keeps for pods that start while it does not "
            "reach the store: ask for another address of block 10.0.0.0/28, or let the pod run there"
        )
        borrowed = [(await other.allocate(Request(f"b{number}")))[0].address for number in range(12)]
        assert borrowed == [f"10.0.0.{number}" for number in range(12)]
        with pytest.raises(PoolExhausted):
            await other.allocate(Request("b12"))
        assert await node.add("c1", runtimeConfig={"ips": ["10.0.0.13"]}) == ["10.0.0.13"]
        node.store.away = "away"
        assert await node.add("c2") == ["10.0.0.12"]

    tell(tmp_path, story, one_block)


def test_where_nobody_borrows_all_of_the_block_is_kept(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert (await node.block())["kept"] == 16
        await node.add("c0")
        node.store.away = "away"
        given = [(await node.add(f"c{number}"))[0] for number in range(1, 16)]
        assert given == [f"10.0.0.{number}" for number in range(1, 16)]
        # what the admin allows meanwhile changes nothing before the owner has said so
        await declare(node.folder, "IPAMConfiguration", {"default": {}})
        other = Allocator(node.plain, OTHER)
        for number in range(3):
            await other.allocate(Request(f"own-{number}"))
        assert "kept" in await node.block_of("10.0.0.0/28")
        node.store.away = ""
        await node.tick()
        assert (await node.block_of("10.0.0.0/28"))["kept"] == 4
        assert len(await node.held()) == 19

    tell(tmp_path, story, strictAffinity=True)


def test_a_block_of_which_something_is_kept_is_taken_by_nobody(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")
        soon = time.time() + 3600
        other = Allocator(node.plain, OTHER, lambda: soon)
        for number in range(3 * 16):
            await other.allocate(Request(f"o{number}"))
        assert {one async for one in _owners(node)} == {("10.0.0.0/28", "host:node-1")} | {
            (f"10.0.0.{16 * number}/28", "host:node-2") for number in (1, 2, 3)
        }
        node.store.away = ""
        await node.tick()
        assert (await node.held())["c1"] == {"10.0.0.12"}

    tell(tmp_path, story)


async def _owners(node: Node) -> Any:
    for stored in await node.plain.list("IPAMBlock"):
        yield stored.document["spec"]["cidr"], stored.document["spec"]["affinity"]


def test_a_block_that_is_not_needed_is_given_up_before_others_may_take_it(tmp_path: Path) -> None:
    """On disk first: an agent that dies in between gives nothing of it alone."""
    second = "10.0.0.16/28"

    async def story(node: Node) -> None:
        await claim(node.plain, NODE, second, NOW)
        assert await node.add("c1", runtimeConfig={"ips": ["10.0.0.20"]}) == ["10.0.0.20"]
        await node.tick()
        assert [(await node.block_of(cidr)).get("kept") for cidr in ("10.0.0.0/28", second)] == [None, 4]
        assert (await node.ask("DEL", "c1")) == {"result": None}
        node.store.lost = 1
        await node.tick()
        assert [(await node.block_of(cidr)).get("kept") for cidr in ("10.0.0.0/28", second)] == [4, 4]
        node.restart()
        node.store.away = "away"
        assert "keeps no addresses" in await node.refused("c2")
        node.store.away = ""
        await node.tick()
        assert [(await node.block_of(cidr)).get("kept") for cidr in ("10.0.0.0/28", second)] == [4, None]

    tell(tmp_path, story)


def taken(ordinal: int, handle: str, node: str) -> Json:
    return {"ordinal": ordinal, "handle": handle, "node": node, "pod": handle, "namespace": "x", "sequence": 1}


def test_an_address_that_somebody_took_by_hand_stays_on_record(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        (address,) = await node.add("c1")
        await node.change(allocations=[taken(12, "intruder", OTHER)], emptySince="")
        node.store.away = ""
        for _ in range(3):
            await node.tick()
        assert await node.add("c2") == ["10.0.0.0"]
        assert await node.add("c3") == ["10.0.0.1"]
        assert (await node.held())["intruder"] == {"10.0.0.12"}
        assert (await node.ask("CHECK", "c1", **previous(address)))["error"]["code"] == 111
        node.restart()
        await node.tick()
        given = json.loads((node.folder.path / "alone" / "given.json").read_text())["given"]
        assert [(one["handle"], one["addresses"]) for one in given] == [(f"{NETWORK}.c1", ["10.0.0.12"])]
        assert await node.ask("DEL", "c1") == {"result": None}
        assert (await node.held())["intruder"] == {"10.0.0.12"}
        assert json.loads((node.folder.path / "alone" / "given.json").read_text())["given"] == []

    told = tell(tmp_path, story)
    said = "10.0.0.12 is held by intruder, pod x/intruder on Node/node-2; delete the pod"
    lines = [one for one in told.said if "may not have it" in one]
    assert lines == [f"cni: pod shop/c1 has 10.0.0.12 since the store was away, and may not have it: {said}"]
    assert [(event.reason, event.is_warning) for event in told.store.events] == [("AddressRefused", True)]
    assert told.store.events[0].message in lines[0]


def test_what_somebody_took_by_hand_and_gave_back_is_written_later(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")
        await node.change(allocations=[taken(12, "intruder", OTHER)], emptySince="")
        node.store.away = ""
        await node.tick()
        await node.change(allocations=[])
        await node.add("c2")
        await node.tick()
        assert (await node.held())["c1"] == {"10.0.0.12"}

    tell(tmp_path, story)


@pytest.mark.parametrize("owner", [OTHER, ""])
def test_a_block_that_was_taken_from_the_node(tmp_path: Path, owner: str) -> None:
    """Its Node was deleted, say. The pod borrows its address, or its node claims the block again."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")
        await release_block(node.plain, NODE, "10.0.0.0/28")
        if owner:
            await claim(node.plain, owner, "10.0.0.0/28", NOW)
        node.store.away = ""
        await node.tick()
        assert (await node.held())["c1"] == {"10.0.0.12"}
        listed = [one.document["spec"] for one in await node.plain.list("BlockAffinity")]
        lists = [[a["address"] for a in one["addresses"]] for one in listed if one.get("type") == "borrower"]
        assert lists == ([["10.0.0.12"]] if owner else [])

    tell(tmp_path, story)


def test_a_block_that_was_taken_and_whose_addresses_others_have(tmp_path: Path) -> None:
    """Nobody else loses his; the pod's stays on record, and a person is told, until the pod is gone."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]
        await release_block(node.plain, NODE, "10.0.0.0/28")
        await claim(node.plain, OTHER, "10.0.0.0/28", NOW)
        other = Allocator(node.plain, OTHER)
        for number in range(16):
            await other.allocate(Request(f"other.o{number}"))
        node.store.away = ""
        for _ in range(2):
            await node.tick()
        held = await node.held()
        assert sorted(one for addresses in held.values() for one in addresses) == sorted(
            f"10.0.0.{number}" for number in range(16)
        )
        assert "c1" not in held
        assert list(node.service._alone.entries) == [f"{NETWORK}.c1"]  # type: ignore[union-attr]
        assert await node.add("c2") != ["10.0.0.12"]
        assert await node.ask("DEL", "c1") == {"result": None}
        assert (await node.held())["o12"] == {"10.0.0.12"}

    told = tell(tmp_path, story)
    assert [event.reason for event in told.store.events] == ["AddressRefused"]


def lose_the_next_block(node: Node) -> None:
    """The next write of a block takes effect, its answer does not come, and the store is away from then on."""
    original = node.store.update

    async def update(kind: str, *more: Any) -> Any:
        node.store.lost = int(kind == "IPAMBlock" and not node.store.away)
        return await original(kind, *more)

    vars(node.store)["update"] = update


def test_who_is_told_of_one_address_has_no_other(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        lose_the_next_block(node)
        assert await node.add("c1") == ["10.0.0.12"]
        assert await node.held() == {"c1": {"10.0.0.0"}}
        del vars(node.store)["update"]
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {"10.0.0.12"}}

    tell(tmp_path, story)


def test_what_was_never_told_gives_way_to_what_was(tmp_path: Path) -> None:
    """A write for c1 comes late, of an address that c2 was told of."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c2") == ["10.0.0.12"]
        await node.change(allocations=[taken(12, f"{NETWORK}.c1", NODE)], emptySince="")
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c2": {"10.0.0.12"}}

    tell(tmp_path, story)


def test_an_address_that_was_freed_is_not_given_from_memory(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        assert await node.add("c1") == ["10.0.0.0"]
        assert await node.ask("DEL", "c1") == {"result": None}
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]

    tell(tmp_path, story)


def test_an_address_that_was_written_and_freed_at_once_is_not_given_from_memory(tmp_path: Path) -> None:
    """The DEL is the first that finds the store back: it writes the address before it frees it."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]
        node.store.away = ""
        node.service._alone._reach.found()  # type: ignore[union-attr]
        assert await node.ask("DEL", "c1") == {"result": None}
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.13"]
        assert await node.held() == {}

    tell(tmp_path, story)


def test_a_claim_that_somebody_began_to_release_is_the_owners_again(tmp_path: Path) -> None:
    """Its block may have addresses of which nobody knows yet."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")
        (affinity,) = await node.plain.list("BlockAffinity")
        spec = {**affinity.document["spec"], "state": "pendingDeletion"}
        await node.plain.update("BlockAffinity", affinity.name, {**affinity.document, "spec": spec})
        collector = Collector(node.plain, 1.0, 1.0)
        for moment in (0.0, 10.0):
            await collector.collect(moment)
        assert (await node.block())["kept"] == 4
        await node.plain.update("BlockAffinity", affinity.name, {**affinity.document, "spec": spec})
        assert await finish(node.plain, NODE, NOW) == ["10.0.0.0/28"]
        assert (await node.block())["kept"] == 4

    tell(tmp_path, story)


def test_nobody_waits_long_for_a_store_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE_S", 0.05)
    monkeypatch.setattr(reach, "_PROBE_S", 0.05)

    async def story(node: Node) -> None:
        node.store.hangs = True
        async with asyncio.timeout(10):
            assert await node.add("c1") == ["10.0.0.12"]
            asked = node.store.asked
            assert await node.add("c2") == ["10.0.0.13"]
            assert (await node.ask("DEL", "c1"))["error"]["code"] == 11
            assert node.store.asked == asked, "it is known to be away"
            await node.tick()
            assert node.store.asked == asked + 1, "one look whether it is back"
            node.store.hangs = False
            await node.tick()
        assert await node.held() == {"c1": {"10.0.0.12"}, "c2": {"10.0.0.13"}}

    tell(tmp_path, story)


def test_a_store_that_is_slow_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE_S", 0.02)

    async def story(node: Node) -> None:
        original = node.store.update

        async def update(*more: Any) -> Any:
            await asyncio.sleep(0.1)
            return await original(*more)

        vars(node.store)["update"] = update
        assert await node.add("c1") == ["10.0.0.0"]
        assert await node.held() == {"c1": {"10.0.0.0"}}

    tell(tmp_path, story)


def test_a_node_without_pods_that_come_or_go_asks_for_nothing(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        followed: Followed | None = None
        node.restart()
        node.service._alone._follow = lambda: followed  # type: ignore[union-attr]
        asked = node.store.asked
        await node.tick()
        assert node.store.asked == asked, "nobody knows the node's blocks yet"
        followed = Followed(frozenset(("10.0.0.0/28",)))
        await node.tick()
        assert node.store.asked > asked
        asked = node.store.asked
        for _ in range(5):
            await node.tick()
        assert node.store.asked == asked
        followed = Followed(followed.blocks, (Resource("IPPool", "more", IPPoolSpec(cidr="10.1.0.0/16")),))
        await node.tick()
        assert node.store.asked > asked
        followed = Followed(frozenset())
        await node.tick()
        node.store.away = "away"
        assert "keeps no addresses" in await node.refused("c1")

    tell(tmp_path, story)


def test_of_a_block_whose_pool_is_gone_nothing_is_kept_after_the_next_claim(tmp_path: Path) -> None:
    """So that the controller may release it."""

    async def story(node: Node) -> None:
        assert (await node.block())["kept"] == 4
        (pool,) = [to_resource(stored) for stored in await node.plain.list("IPPool")]
        assert isinstance(pool, Resource)
        claims, machine = BlockClaims(), Resource("Node", NODE, NodeSpec())
        followed = [Followed(frozenset(("10.0.0.0/28",)), (pool,)), Followed(frozenset(("10.0.0.0/28",)))]
        node.service._alone._follow = lambda: followed[0]  # type: ignore[union-attr]
        claims.before = node.service.tick
        await node.tick()
        await node.plain.delete("IPPool", "pods")
        followed.pop(0)
        await claims.claim(node.plain, machine, ())
        assert "kept" not in await node.block()

    tell(tmp_path, story)


def test_only_one_process_of_a_node_gives_addresses(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        first = node.service
        node.service = node._new()
        assert "another process has" in await node.refused("c1")
        assert (await node.ask("DEL", "c1"))["error"]["code"] == 11
        first.close()
        assert await node.add("c1") == ["10.0.0.0"]

    tell(tmp_path, story)


def test_a_record_that_cannot_be_read_stops_everything_until_somebody_looks(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        given = node.folder.path / "alone" / "given.json"
        node.store.away = "away"
        await node.add("c1")
        text = given.read_text()
        for nonsense in ("{", "[]", '{"version": 99}', '{"version": 1, "given": [{}]}'):
            given.write_text(nonsense)
            node.restart()
            assert "given.json cannot be read" in await node.refused("c2")
        given.write_text(text)
        assert await node.add("c1") == ["10.0.0.12"]

    tell(tmp_path, story)


def test_an_address_that_was_mended_wrongly_is_found(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        given = node.folder.path / "alone" / "given.json"
        node.store.away = "away"
        await node.add("c1")
        text = given.read_text()
        for wrong in (text.replace('"10.0.0.12"', '"10.0.0.13"'), text.replace("12]", "99]"), '{"version": 1}', ""):
            assert wrong != text
            given.write_text(wrong)
            node.restart()
            assert "given.json cannot be read" in await node.refused("c2")

    tell(tmp_path, story)


def in_the_middle(node: Node, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The next file is written in a thread that waits there: once it `is_there`, until it `may_go`."""
    is_there, may_go = threading.Event(), threading.Event()
    replace = os.replace

    def waiting(*names: Any) -> None:
        is_there.set()
        assert may_go.wait(20)
        replace(*names)

    monkeypatch.setattr(os, "replace", waiting)
    return is_there, may_go


def test_who_gives_up_a_write_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thread that nobody waits for puts what was known before in the place of what is known now."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        is_there, may_go = in_the_middle(node, monkeypatch)
        asking = asyncio.create_task(node.ask("ADD", "c1"))
        allocating = asyncio.create_task(node.service._alone._write(node.service._alone._files.drop, "nobody"))  # type: ignore[union-attr]
        await until(is_there.is_set)
        allocating.cancel()
        await asyncio.sleep(0.05)
        assert not allocating.done()
        may_go.set()
        with pytest.raises(asyncio.CancelledError):
            await allocating
        assert "result" in await asking

    tell(tmp_path, story)


def test_an_agent_that_ends_in_the_middle_keeps_its_files_until_it_is_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one runs already, and gives nothing before it has read what was given."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        is_there, may_go = in_the_middle(node, monkeypatch)
        asking = asyncio.create_task(node.ask("ADD", "c1"))
        await until(is_there.is_set)
        ending, node.service = node.service, node._new()
        ending.close()
        assert "another process has" in await node.refused("c2")
        may_go.set()
        assert (await asking)["result"]["ips"][0]["address"] == "10.0.0.12/32"
        assert await node.add("c2") == ["10.0.0.13"]
        request = {"command": "ADD", "containerID": "c3", "ifname": "eth0", "args": "", "config": node.folder.config()}
        assert "ends" in json.loads(await ending.answer(json.dumps(request).encode()))["error"]["msg"]

    tell(tmp_path, story)


def test_who_has_closed_the_files_writes_nothing(tmp_path: Path) -> None:
    files = node_files.NodeFiles(tmp_path)
    files.open()
    files.close()
    with pytest.raises(OSError, match="given its files to another"):
        files.give(Entry(Holder("h", "a"), (("10.0.0.0/28", 12),), NOW))
    assert not (tmp_path / "given.json").exists()


def test_a_block_is_kept_only_after_a_write_that_comes_after_all_others(tmp_path: Path) -> None:
    """A write by which the agent before this one gave the block up may be on its way still."""

    async def story(node: Node) -> None:
        stored = await node.plain.get("IPAMBlock", block_name("10.0.0.0/28"))
        spec = {one: value for one, value in stored.document["spec"].items() if one != "kept"}
        (node.folder.path / "alone" / "known.json").unlink()
        node.restart()
        await node.tick()
        with pytest.raises(Conflict):
            await node.plain.update("IPAMBlock", stored.name, {**stored.document, "spec": spec}, stored.version)
        assert (await node.block())["kept"] == 4
        version = (await node.plain.get("IPAMBlock", stored.name)).version
        node.restart()
        await node.tick()
        assert (await node.plain.get("IPAMBlock", stored.name)).version == version, "on disk it was, and stays"

    tell(tmp_path, story)


@pytest.mark.parametrize("gone", [True, False])
def test_a_pool_that_goes_while_the_store_is_away(tmp_path: Path, gone: bool) -> None:
    """What was given of it is the pods'; then nothing is kept of it any more, and nothing is given alone."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]
        if gone:
            await node.plain.delete("IPPool", "pods")
        else:
            await declare(node.folder, "IPPool", {"pods": {**POOL["pods"], "disabled": True}})
        collector = Collector(node.plain, 1.0, 1.0)
        for moment in (0.0, 10.0, 20.0):
            await collector.collect(moment)
        assert (await node.block())["kept"] == 4
        assert await node.add("c2") == ["10.0.0.13"]
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {"10.0.0.12"}, "c2": {"10.0.0.13"}}
        node.store.away = "away again"
        assert (await node.ask("ADD", "c3"))["error"]["code"] != 100
        assert await node.add("c1") == ["10.0.0.12"]
        node.store.away = ""
        await node.tick()
        assert "kept" not in await node.block()
        for container in ("c1", "c2"):
            assert await node.ask("DEL", container) == {"result": None}
        assert await node.held() == {}

    tell(tmp_path, story)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0, -4e8, 4e8])
def test_a_clock_that_jumps_gives_nothing_twice(tmp_path: Path, jump: float) -> None:
    async def story(node: Node) -> None:
        (first,) = await node.add("c1")
        node.store.away = "away"
        assert await node.add("c2") == ["10.0.0.12"]
        node.service._alone._clock = node.service._allocator._clock = lambda: NOW + jump  # type: ignore[union-attr]
        assert await node.add("c3") == ["10.0.0.13"]
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {first}, "c2": {"10.0.0.12"}, "c3": {"10.0.0.13"}}
        assert await node.add("c4") == ["10.0.0.1"]

    tell(tmp_path, story, ipCooldownSeconds=60)


def test_a_store_that_answers_with_a_fault_of_one_object_is_not_away(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        async def missing(*names: Any) -> Any:
            raise NotFound("there is no such kind")

        vars(node.store)["snapshot"] = missing
        node.service._alone._changed = True  # type: ignore[union-attr]
        await node.tick()
        assert node.service._alone.away == ""  # type: ignore[union-attr]

    tell(tmp_path, story)


@pytest.mark.parametrize("text", ["{", '{"version": 99}', '{"version": 1, "boot": "BOOT", "blocks": 7}'])
def test_a_node_that_does_not_know_what_it_keeps_gives_nothing_alone(tmp_path: Path, text: str) -> None:
    async def story(node: Node) -> None:
        (node.folder.path / "alone" / "known.json").write_text(text.replace("BOOT", node_files._boot()))
        node.restart()
        node.store.away = "away"
        assert "was not told yet which addresses it keeps" in await node.refused("c1")
        assert (await node.status())[0] == 50
        node.store.away = ""
        await node.tick()
        node.store.away = "away again"
        assert await node.add("c1") == ["10.0.0.12"]

    tell(tmp_path, story)


def test_a_machine_that_was_off_gives_nothing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been off for long, and others may have its blocks; but what it gave before is still written."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        assert await node.add("c1") == ["10.0.0.12"]
        monkeypatch.setattr(node_files, "_boot", lambda: "another")
        node.restart()
        assert await node.add("c1") == ["10.0.0.12"]
        assert "was not told yet" in await node.refused("c2")
        node.store.away = ""
        await node.tick()
        assert await node.held() == {"c1": {"10.0.0.12"}}

    tell(tmp_path, story)


def test_a_disk_that_takes_nothing_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(node: Node) -> None:
        def full(*names: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        node.store.away = "away"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            assert "No space left on device" in await node.refused("c1")
        assert await node.add("c2") == ["10.0.0.12"]

    tell(tmp_path, story)


def test_the_files_are_for_their_user_only(tmp_path: Path) -> None:
    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")

    tell(tmp_path, story)
    folder = tmp_path / "alone"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"lock": 0o600, "known.json": 0o600, "given.json": 0o600}


def test_a_service_comes_back_by_itself(tmp_path: Path) -> None:
    """Nobody calls for it."""

    async def story(node: Node) -> None:
        node.store.away = "away"
        await node.add("c1")
        node.queue("c1")
        await node.add("c2")
        keeping = asyncio.create_task(node.service.keep_applying(0.01))
        await asyncio.sleep(0)
        node.store.away = ""
        await until(lambda: not list(node.folder.queue.iterdir()))
        keeping.cancel()
        assert await node.held() == {"c2": {"10.0.0.13"}}

    tell(tmp_path, story)


# What is kept


@pytest.mark.parametrize(
    ("cidr", "strict", "count"),
    [
        ("10.0.0.0/26", False, 16),
        ("10.0.0.0/20", False, 64),
        ("10.0.0.0/30", False, 1),
        ("10.0.0.0/31", False, 0),
        ("10.0.0.0/32", False, 0),
        ("10.0.0.0/32", True, 1),
        ("10.0.0.0/26", True, 64),
        ("fd00::/122", False, 16),
    ],
)
def test_how_many_are_kept(cidr: str, strict: bool, count: int) -> None:
    assert kept_of(cidr, strict) == count


def pool(name: str, cidr: str, **spec: Any) -> Resource:
    return Resource("IPPool", name, IPPoolSpec.model_validate({"cidr": cidr, "blockSize": 28, **spec}))


def block(cidr: str, *users: str, kept: int = 0) -> IPAMBlockSpec:
    held = tuple(Allocation(ordinal=i, handle=f"h{i}", node=user) for i, user in enumerate(users))
    return IPAMBlockSpec(cidr=cidr, affinity="host:a", allocations=held, kept=kept)


def test_of_which_blocks_something_is_kept() -> None:
    declared = Declared(
        "a",
        pools=(
            pool("used", "10.0.0.0/24"),
            pool("empty", "10.1.0.0/24"),
            pool("named", "10.2.0.0/24", assignmentMode="Manual"),
            pool("off", "10.3.0.0/24", disabled=True),
            pool("others", "10.4.0.0/24", nodeSelector="rack == 'r2'"),
        ),
    )
    blocks = [
        block("10.0.0.0/28"),
        block("10.0.0.16/28", "a"),
        block("10.0.0.32/28", "b"),
        block("10.0.0.48/28", "b", "a"),
        block("10.1.0.16/28"),
        block("10.1.0.0/28"),
        *(block(f"10.{number}.0.0/28", "a") for number in (2, 3, 4, 9)),
    ]
    kept = {cidr for cidr, count in keeps(blocks, declared).items() if count == 4}
    assert kept == {"10.0.0.16/28", "10.0.0.48/28", "10.1.0.0/28"}
    assert set(keeps(blocks, declared).values()) == {0, 4}


def test_a_block_of_which_something_is_kept_is_not_idle_and_says_nothing_without_an_owner() -> None:
    kept, free = block("10.0.0.0/28", kept=4), block("10.0.0.16/28")
    assert [spec.cidr for spec in idle_blocks([kept, free], NOW, 60)] == ["10.0.0.16/28"]
    assert [spec.cidr for spec in idle_blocks([free, kept], NOW, 60)] == ["10.0.0.16/28"]
    assert list(idle_blocks([kept, replace_kept(free)], NOW, 60)) == []
    assert (without_owner(kept).affinity, without_owner(kept).kept) == ("", 0)


def replace_kept(spec: IPAMBlockSpec) -> IPAMBlockSpec:
    return spec.model_copy(update={"kept": 1})


def known(**configuration: Any) -> Known:
    blocks = [block("10.0.0.0/28", *["a"] * 13, kept=4), block("10.0.0.16/28", kept=4)]
    declared = Declared(
        "a", pools=(pool("pods", "10.0.0.0/24"),), configuration=IPAMConfigurationSpec.model_validate(configuration)
    )
    return Known(declared, {spec.cidr: spec for spec in blocks})


def test_what_is_chosen_is_kept_free_and_not_given_before() -> None:
    entries: list[Entry] = []
    for number in range(7):
        gifts = choose(known(), entries, Request(f"pod-{number}"), NOW)
        entries.append(Entry(Holder(f"pod-{number}", "a"), gifts, NOW))
    addresses = [one for entry in entries for one in entry.addresses]
    assert addresses == [f"10.0.0.{number}" for number in (13, 14, 15, 28, 29, 30, 31)]
    with pytest.raises(NothingKept, match="all 8 addresses"):
        choose(known(), entries, Request("pod-7"), NOW)


def test_reservations_and_cooldowns_hold_without_the_store() -> None:
    limits = known(ipCooldownSeconds=60)
    released = [{"ordinal": 14, "at": "2023-11-14T22:13:00Z"}]  # twenty seconds before
    spec = IPAMBlockSpec.model_validate({"cidr": "10.0.0.0/28", "affinity": "host:a", "kept": 4, "released": released})
    declared = Declared(
        "a", pools=limits.declared.pools, reserved=("10.0.0.12/31",), configuration=limits.declared.configuration
    )
    assert choose(Known(declared, {spec.cidr: spec}), [], Request("pod"), NOW) == (("10.0.0.0/28", 15),)
