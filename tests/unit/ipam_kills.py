"""IPAM on SQLite by real processes, killed by SIGKILL at random points and started anew.

    python -m tests.unit.ipam_kills [--kills 200] [--seed N] [--folder PATH]

After every kill what the dead process was told is what the store has, to the address, and the rules of the model hold.
Now and then all are killed at once. At the end the collector has the last word: what was told is still there, and
once it is released every address can be given again. Prints one JSON object; what is wrong is an AssertionError.

All workers are forked from this process, which has no thread and no open store while it forks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn

from ipam.allocator import Allocator, Given
from ipam.block_order import address_at
from ipam.collector import Collector
from ipam.errors import PoolExhausted
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.resource import Resource
from peering.resources.ipam import Allocation
from peering.resources.node import NodeSpec
from peering.store.protocol import Stored
from peering.store.resources import load
from peering.store.sqlite import SqliteStore
from tests.unit.ipam_told import Log, Told
from tests.unit.ipam_worker import ADDRESSES, OWN_HANDLES, Worker, collect_for_ever, is_gone
from tests.unit.ipam_world import Rules, SteppedStore

NODES = ("a", "b", "c")
WORKERS = 6
COLLECTOR = "collector"
POOLS = {"v4": {"cidr": "10.0.0.0/27", "blockSize": 30}, "v6": {"cidr": "fd00::/125", "blockSize": 127}}
#: Seconds between two kills, at most.
_LONGEST_LIFE = 0.05
#: After so many kills of one process all are killed.
_ALL = 20


class Photograph(SteppedStore):
    """A SQLite store at one moment, read without any code of ours."""

    def take(self, path: Path) -> None:
        """Reads all of it."""
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            db.execute("BEGIN")
            rows = db.execute("SELECT kind, name, version, document FROM objects WHERE document IS NOT NULL").fetchall()
            ((self.version,),) = db.execute("SELECT version FROM counter").fetchall()
            db.execute("COMMIT")
        self.objects = {(row[0], row[1]): Stored(row[0], row[1], row[2], json.loads(row[3])) for row in rows}

    def gifts(self) -> dict[str, list[Given]]:
        """What each handle holds."""
        found: dict[str, list[Given]] = {}
        for block in (one.document["spec"] for one in self.all("IPAMBlock")):
            for a in block.get("allocations", ()):
                gift = Given(address_at(block["cidr"], a["ordinal"]), block["cidr"], a.get("sequence", 0))
                found.setdefault(a["handle"], []).append(gift)
        return found


class Slot:
    """A place for a process, which has one life after the other."""

    def __init__(self, folder: Path, name: str, node: str) -> None:
        self.name = name
        self.node = node
        self.log = folder / f"{name}.log"
        self.said = folder / f"{name}.stderr"
        self.log.touch()  # it may die before it writes a line
        self.said.touch()
        self.told = Told()
        self.pid = 0

    def handles(self) -> list[str]:
        """Those that nobody else uses."""
        return [f"own-{self.name}-{number}" for number in range(OWN_HANDLES)] if self.node else []


class Killer:
    """The parent: starts, kills, looks."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / "store.db"
        self._random = random.Random(seed)
        names = [f"{NODES[number % len(NODES)]}{number}" for number in range(WORKERS)]
        self.slots = [Slot(folder, name, name[0]) for name in names] + [Slot(folder, COLLECTOR, "")]
        self._photograph = Photograph()
        self._rules = Rules(self._photograph)
        self.kills = 0
        self.interrupted: Counter[str] = Counter()

    def run(self, kills: int) -> None:
        """Kills so many processes; afterwards none is left."""
        asyncio.run(_declare(self.path))
        try:
            for slot in self.slots:
                self._start(slot)
            while self.kills < kills:
                time.sleep(self._random.uniform(0, _LONGEST_LIFE))
                all_at_once = self._random.random() < 1 / _ALL
                self._kill_and_look(self.slots if all_at_once else [self._random.choice(self.slots)])
                for slot in self.slots:
                    if not slot.pid:
                        self._start(slot)
            self._kill_and_look(self.slots)
        finally:
            for slot in self.slots:
                if slot.pid:
                    os.kill(slot.pid, signal.SIGKILL)
                    os.waitpid(slot.pid, 0)

    def _start(self, slot: Slot) -> None:
        seed = self._random.getrandbits(32)
        slot.pid = os.fork()
        if not slot.pid:
            self._live(slot, seed)
        slot.told.next_life()

    def _live(self, slot: Slot, seed: int) -> NoReturn:
        """In the child."""
        try:
            os.dup2(os.open(slot.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            log = Log(slot.log)
            if slot.node:
                asyncio.run(Worker(self.path, slot.name, slot.node, slot.told, log, seed).live())
            else:
                asyncio.run(collect_for_ever(self.path, log, seed))
        except BaseException:  # noqa: BLE001  the child must not go on as its parent
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)

    def _kill_and_look(self, slots: list[Slot]) -> None:
        for slot in slots:
            os.kill(slot.pid, signal.SIGKILL)
        for slot in slots:
            _, status = os.waitpid(slot.pid, 0)
            slot.pid = 0
            assert os.WIFSIGNALED(status), f"{slot.name} died by itself: {slot.said.read_text()}"
            self.kills += 1
            slot.told.read_on(slot.log)
            assert slot.told.wrong == [], f"{slot.name}: {slot.told.wrong}"
            if slot.told.asked is not None:
                self.interrupted[slot.told.asked[0]] += 1
        self._look(slots)

    def _look(self, dead: list[Slot]) -> None:
        self._photograph.take(self.path)
        self._rules.check()
        gifts = self._photograph.gifts()
        for slot in dead:
            for handle in slot.handles():
                found = gifts.get(handle, [])
                assert slot.told.may_hold(handle, found), (
                    f"{handle} was told {sorted(map(str, slot.told.of(handle)))}, asked {slot.told.asked}, "
                    f"and the store has {sorted(map(str, found))}"
                )

    async def recover(self) -> None:
        """Everybody is dead. The collector brings all to its end; nothing that was told is lost, nor any address."""
        store = SqliteStore(self.path)
        pools = (await load(store, ["IPPool"]))[0]
        for node in NODES:
            with suppress(PoolExhausted):
                await ensure_blocks(store, Resource("Node", node, NodeSpec()), pools)
        await _collect_all(store)
        self._look(self.slots)
        own = {handle for slot in self.slots for handle in slot.handles()}
        assert set(self._photograph.gifts()) <= own, "leaked for good"
        for handle in own:
            await Allocator(store, NODES[0]).release(handle)
        await _collect_all(store)
        self._photograph.take(self.path)
        self._rules.check()
        self._nothing_is_left()
        given = [(await Allocator(store, NODES[0]).allocate(Request(f"all-{n}")))[0] for n in range(ADDRESSES)]
        assert len({one.address for one in given}) == ADDRESSES, "an address is lost for good"
        await store.close()

    def _nothing_is_left(self) -> None:
        assert self._photograph.gifts() == {}
        assert self._photograph.all("IPAMHandle") == []
        affinities = [one.document["spec"] for one in self._photograph.all("BlockAffinity")]
        assert {one["state"] for one in affinities} == {"confirmed"}, "a claim that nobody finished"
        owned = {(f"host:{one['node']}", one["cidr"]) for one in affinities}
        blocks = {
            (one["affinity"], one["cidr"]) for one in (s.document["spec"] for s in self._photograph.all("IPAMBlock"))
        }
        assert blocks == owned, "blocks that nobody owns"

    def summary(self) -> dict[str, Any]:
        """What happened."""
        counts: Counter[str] = Counter()
        for slot in self.slots:
            counts.update(slot.told.counts)
        return {"kills": self.kills, "interrupted": dict(self.interrupted), "lines": dict(counts)}


async def _declare(path: Path) -> None:
    store = SqliteStore(path)
    kinds = [("IPPool", name, spec) for name, spec in POOLS.items()] + [("Node", node, {}) for node in NODES]
    for kind, name, spec in kinds:
        document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await store.create(kind, name, document)
    await store.close()


async def _collect_all(store: SqliteStore) -> None:
    """So often and so late that nothing has to wait any more."""
    now = time.time() + 3600.0

    def gone(allocation: Allocation) -> bool:
        return is_gone(allocation) or allocation.handle.startswith("shared-")

    collector = Collector(store, 1.0, 1.0, gone, lambda: now)
    for round_ in range(8):
        await collector.collect(float(10 * round_))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="kept; without it a temporary one")
    arguments = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    sys.stderr.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory(prefix="ipam-kills-") as folder:
        killer = Killer(arguments.folder or Path(folder), seed)
        killer.run(arguments.kills)
        asyncio.run(killer.recover())
        sys.stdout.write(json.dumps({"seed": seed, **killer.summary()}) + "\n")


if __name__ == "__main__":
    main()
