"""Addresses per second of many processes on one store, and the first blocks of many nodes at one moment.

    python bench/ipam.py [--processes 32] [--allocations 1000] [--nodes 500] [--runs 3] [--store URL] [--json]

Each process is a node of its own. It allocates an address to a handle, and releases the oldest when it holds `--held`,
until it has allocated `--allocations`; at the end it releases all. The time counts from the moment at which all begin
until the last of them has nothing left, releases included. Addresses that two handles held at the same time are
duplicates: from when the one was told of it until the one began to release it.

Then `--nodes` processes claim the first block of a node at one moment, as speakers do when a cluster is switched on.

The floor beside it is SQLite alone, in one process with the same settings: transactions that take a version and write a
document of the size of such a block. An address that comes and goes takes four: its handle and its block, twice.

Without `--store` it is a new SQLite file for each run. In a store that is given, nothing is touched but what begins
with `bench-`, and addresses of 198.18.0.0/15 (RFC 2544); no controller should run on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# This folder last: kubernetes.py in it is not the client's package.
sys.path.sort(key=str(Path(__file__).resolve().parent).__eq__)

from bench.at_once import Done, run_at_once
from bench.figures import Figure, table, to_json
from ipam.allocator import Allocator
from ipam.claims import release_block
from ipam.errors import IpamError
from ipam.new_blocks import ensure_blocks
from ipam.requests import Declared, Request
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec
from peering.store.open_store import open_store
from peering.store.protocol import StoreError

POOL = Resource("IPPool", "bench-v4", IPPoolSpec(cidr="198.18.0.0/15"))

_RAW = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "CREATE TABLE counter (version INTEGER)",
    "CREATE TABLE objects (name TEXT PRIMARY KEY, version INTEGER, document TEXT)",
    "INSERT INTO counter VALUES (0)",
    "INSERT INTO objects VALUES ('block', 0, '')",
)
_TRANSACTIONS = 4000
#: Bytes; half of a pair's writes are of a block with `--held` addresses, half of a handle.
_DOCUMENT = 5000

#: An address with the moments between which it was certainly held.
Hold = tuple[str, float, float]
Wait = Callable[[], None]


def main() -> None:
    """The command."""
    arguments = _arguments()
    if arguments.store:
        try:
            asyncio.run(_look_at(arguments.store))
        except StoreError as error:
            raise SystemExit(str(error)) from None
    runs = [_run(arguments) for _ in range(arguments.runs)]
    figures = _figures(runs, arguments)
    if not arguments.json:
        sys.stdout.write(table(figures) + "\n")
        return
    by_key = {figure.key: figure for figure in figures}
    said = {
        "processes": arguments.processes,
        "allocations": arguments.allocations,
        "nodes": arguments.nodes,
        "duplicates": int(sum(by_key["duplicateAddresses"].values)),
        "allocations_per_s": round(by_key["allocationsPerS"].median, 1),
    }
    sys.stdout.write(json.dumps({**said, **to_json(figures)}) + "\n")


async def _look_at(url: str) -> None:
    """Raises StoreError where it is none, or cannot be reached."""
    store = open_store(url)
    try:
        await store.list("IPPool")
    finally:
        await store.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--allocations", type=int, default=1000, help="by each process")
    parser.add_argument("--held", type=int, default=50, help="addresses of one process at a time")
    parser.add_argument("--nodes", type=int, default=500, help="that claim their first block at once; 0 for none")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--store", help="as of `underlay`; a new SQLite file for each run without it")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> dict[str, float]:
    with _store(arguments.store) as url:
        allocating = run_at_once(
            arguments.processes,
            lambda number, wait: asyncio.run(
                allocate_and_release(url, f"bench-{number}", arguments.allocations, arguments.held, wait)
            ),
        )
    found = {**_of_allocating(allocating), "raw_per_s": _raw_transactions_per_s()}
    if arguments.nodes:
        with _store(arguments.store) as url:
            claiming = run_at_once(
                arguments.nodes, lambda number, wait: asyncio.run(claim_first_block(url, f"bench-{number}", wait))
            )
        found |= _of_claiming(claiming)
    return found


def _raw_transactions_per_s() -> float:
    """What SQLite does in one process with nobody beside it."""
    with tempfile.TemporaryDirectory(prefix="bench-ipam-") as folder:
        db = sqlite3.connect(f"{folder}/raw.db", isolation_level=None)
        for statement in _RAW:
            db.execute(statement)
        document = "x" * _DOCUMENT
        began = time.monotonic()
        for _ in range(_TRANSACTIONS):
            db.execute("BEGIN IMMEDIATE")
            (version,) = db.execute("UPDATE counter SET version = version + 1 RETURNING version").fetchone()
            db.execute("UPDATE objects SET version=?, document=? WHERE name='block'", (version, document))
            db.execute("COMMIT")
        elapsed = time.monotonic() - began
        db.close()
    return _TRANSACTIONS / elapsed


@contextmanager
def _store(given: str | None) -> Iterator[str]:
    if given:
        yield given
        run_at_once(1, lambda _, wait: asyncio.run(_leave(given, wait)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-ipam-") as folder:
        yield f"sqlite:{folder}/store.db"


async def allocate_and_release(url: str, node: str, count: int, held_at_most: int, wait: Wait) -> dict[str, Any]:
    """One process: when it held which address, how long each allocation took, and when it had nothing left."""
    store = open_store(url)
    await store.snapshot(())
    allocator, declared = Allocator(store, node), Declared(node, pools=(POOL,))
    holding: deque[tuple[str, str, float]] = deque()
    holds: list[Hold] = []
    took: list[float] = []

    async def release_oldest() -> None:
        handle, address, since = holding.popleft()
        holds.append((address, since, time.monotonic()))
        if await allocator.release(handle) != [address]:
            raise RuntimeError(f"{handle} had {address}, and its release freed something else")

    wait()
    for number in range(count):
        if len(holding) >= held_at_most:
            await release_oldest()
        asked = time.monotonic()
        (given,) = await allocator.allocate(Request(f"{node}.{number}"), declared)
        now = time.monotonic()
        took.append(now - asked)
        holding.append((f"{node}.{number}", given.address, now))
    while holding:
        await release_oldest()
    ended = time.monotonic()
    await store.close()
    return {"holds": holds, "took": took, "ended": ended}


async def claim_first_block(url: str, node: str, wait: Wait) -> dict[str, Any]:
    """One node: its blocks, or why it has none, and when it knew."""
    store = open_store(url)
    await store.snapshot(())
    wait()
    error, blocks = "", list[str]()
    try:
        blocks = await ensure_blocks(store, Resource("Node", node, NodeSpec()), [POOL])
    except IpamError as failed:
        error = str(failed)
    ended = time.monotonic()
    await store.close()
    return {"blocks": blocks, "error": error, "ended": ended, "node": node}


async def _leave(url: str, wait: Wait) -> None:
    """Gives all blocks back, so that what comes next finds the store as this did."""
    wait()
    store = open_store(url)
    for stored in await store.list("BlockAffinity"):
        spec = stored.document["spec"]
        if spec["node"].startswith("bench-"):
            await release_block(store, spec["node"], spec["cidr"])
    await store.close()


def _of_allocating(done: Done) -> dict[str, float]:
    took = sorted(seconds for answer in done.answers for seconds in answer["took"])
    elapsed = max(answer["ended"] for answer in done.answers) - done.began
    return {
        "per_s": len(took) / elapsed,
        "p50": 1000 * statistics.median(took),
        "p99": 1000 * took[len(took) * 99 // 100],
        "duplicates": duplicates(hold for answer in done.answers for hold in answer["holds"]),
    }


def duplicates(holds: Iterable[Hold]) -> int:
    """How often an address was held by two at the same time."""
    found, last = 0, dict[str, float]()
    for address, since, until in sorted(holds, key=lambda hold: hold[1]):
        found += since < last.get(address, 0.0)
        last[address] = max(until, last.get(address, 0.0))
    return found


def _of_claiming(done: Done) -> dict[str, float]:
    blocks = Counter(block for answer in done.answers for block in answer["blocks"])
    without = [answer for answer in done.answers if len(answer["blocks"]) != 1]
    for answer in without[:5]:
        sys.stderr.write(f"{answer['node']}: {answer['blocks']} {answer['error']}\n")
    return {
        "claim_s": max(answer["ended"] for answer in done.answers) - done.began,
        "claim_failures": len(without) + sum(count - 1 for count in blocks.values()),
    }


def _figures(runs: list[dict[str, float]], arguments: argparse.Namespace) -> list[Figure]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(run[name] for run in runs)

    figures = [
        Figure("allocationsPerS", "allocations, each with its release", "/s", values("per_s"), at_least=1000),
        Figure(
            "rawTransactionsPerS",
            "– the floor: SQLite's transactions, of which that takes four",
            "/s",
            values("raw_per_s"),
        ),
        Figure("allocateP50Ms", "one allocation, median", "ms", values("p50")),
        Figure("allocateP99Ms", "one allocation, 99th percentile", "ms", values("p99")),
        Figure("duplicateAddresses", "addresses held twice", "", values("duplicates"), at_most=0),
    ]
    if arguments.nodes:
        figures += [
            Figure("firstBlocksS", f"{arguments.nodes} nodes claim their first block", "s", values("claim_s")),
            Figure("firstBlockFailures", "– without one, or with another's", "", values("claim_failures"), at_most=0),
        ]
    return figures


if __name__ == "__main__":
    main()
