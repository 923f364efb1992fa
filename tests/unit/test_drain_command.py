"""`underlay drain` and `uncordon`: what they write, what they wait for, what they say."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peering.drain_wish import ANNOTATION
from peering.resource import Resource, parse_resource
from peering.store.resources import find, put
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import Result, run_underlay
from tests.unit.declarations import declare, host
from underlay import draining

OWN = "node.node-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keep(tmp_path, host("node-1", 1))
    return tmp_path


def keep(folder: Path, *resources: Resource) -> None:
    async def work() -> None:
        store = SqliteStore(folder / "store.db")
        for resource in resources:
            await put(store, resource)
        await store.close()

    asyncio.run(work())


def stored(folder: Path, kind: str = "BGPConfiguration", name: str = OWN) -> dict[str, Any] | None:
    """The spec, as it is kept."""

    async def work() -> dict[str, Any] | None:
        store = SqliteStore(folder / "store.db")
        found = await find(store, kind, name)
        await store.close()
        return None if found is None else dict(found.to_document()["spec"])

    return asyncio.run(work())


def underlay(folder: Path, *arguments: str) -> Result:
    return run_underlay(*arguments, "--store", f"sqlite:{folder / 'store.db'}")


def report(drain: str = "serving", *, kept: tuple[str, ...] = (), age: float = 0) -> Resource:
    return declare("BGPNodeStatus", "node-1", node="node-1", drain=drain, kept=list(kept), reported=time.time() - age)


def test_a_drain_is_written_and_taken_back(folder: Path) -> None:
    assert underlay(folder, "drain", "node-1") == Result(0, "Node/node-1: is to be drained\n", "")
    assert stored(folder) == {"drain": "Unused"}
    assert underlay(folder, "drain", "node-1").stdout == "Node/node-1: was to be drained already\n"
    assert underlay(folder, "drain", "node-1", "--withdraw").stdout == "Node/node-1: is to be drained\n"
    assert stored(folder) == {"drain": "Everything"}
    assert underlay(folder, "uncordon", "node-1") == Result(0, "Node/node-1: serves again\n", "")
    assert stored(folder) is None
    assert underlay(folder, "uncordon", "node-1") == Result(0, "Node/node-1: was not drained\n", "")


def test_what_else_is_said_of_the_node_stays(folder: Path) -> None:
    keep(folder, declare("BGPConfiguration", OWN, listenPort=1790))
    underlay(folder, "drain", "node-1")
    assert stored(folder) == {"listenPort": 1790, "drain": "Unused"}
    underlay(folder, "uncordon", "node-1")
    assert stored(folder) == {"listenPort": 1790}


def test_an_object_with_labels_stays_when_nothing_is_left_in_it(folder: Path) -> None:
    keep(folder, declare("BGPConfiguration", OWN, {"team": "net"}, drain="Unused"))
    underlay(folder, "uncordon", "node-1")
    assert stored(folder) == {}


@pytest.mark.parametrize("command", ["drain", "uncordon"])
def test_a_node_that_is_not_there_is_refused(folder: Path, command: str) -> None:
    assert underlay(folder, command, "node-7") == Result(
        1, "", "error: Node/node-7: there is no such resource (there are: node-1)\n"
    )
    assert stored(folder, name="node.node-7") is None


@pytest.mark.parametrize("command", ["drain", "uncordon"])
def test_what_cannot_be_read_is_not_written_over(folder: Path, command: str) -> None:
    async def spoil() -> None:
        store = SqliteStore(folder / "store.db")
        document = declare("BGPConfiguration", OWN).to_document() | {"spec": {"later": 1}}
        await store.create("BGPConfiguration", OWN, document)
        await store.close()

    asyncio.run(spoil())
    result = underlay(folder, command, "node-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "BGPConfiguration/node.node-1 spec.later" in result.stderr
    assert result.stderr.endswith("nothing was changed\n")


def test_uncordon_says_who_else_wants_the_drain(folder: Path) -> None:
    document = host("node-1", 1).to_document()
    document["metadata"]["annotations"] = {ANNOTATION: "true"}
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    keep(folder, parsed)
    underlay(folder, "drain", "node-1")
    message = f"error: Node/node-1: stays drained: Node/node-1 annotation {ANNOTATION}\n"
    assert underlay(folder, "uncordon", "node-1") == Result(1, "", message)
    assert stored(folder) is None


# Waiting


@contextmanager
def speaker(folder: Path, monkeypatch: pytest.MonkeyPatch, *drains: str) -> Iterator[None]:
    """A speaker that reports these states, each when the command has told the one before."""
    lines = threading.Semaphore(0)
    say = draining._say

    def tell(line: str) -> None:
        say(line)
        lines.release()

    def work() -> None:
        for drain in drains:
            assert lines.acquire(timeout=10)
            keep(folder, report(drain))

    monkeypatch.setattr(draining, "_say", tell)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_wait_tells_each_step_until_the_node_is_drained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(folder, report())
    with speaker(folder, monkeypatch, "serving", "draining", "drained"):
        result = underlay(folder, "drain", "node-1", "--wait", "--timeout", "20")
    assert result == Result(
        0,
        "Node/node-1: is to be drained\n"
        "Node/node-1: its speaker has not begun\n"
        "Node/node-1: its peers are told GRACEFUL_SHUTDOWN; waiting for the fabric to move\n"
        "Node/node-1: drained\n",
        "",
    )


def test_the_table_of_reports_says_how_far_a_drain_is(folder: Path) -> None:
    keep(folder, report("draining"))
    head, _, row, *_ = (line for line in underlay(folder, "get", "bgpnodestatuses").stdout.splitlines() if line.strip())
    assert row[head.index("DRAIN") :].split() == ["draining"]


def test_wait_tells_what_is_kept(folder: Path) -> None:
    keep(folder, declare("BGPConfiguration", OWN, drain="Unused"), report("drained", kept=("10.244.0.0/26",)))
    assert underlay(folder, "drain", "node-1", "--wait").stdout.splitlines() == [
        "Node/node-1: was to be drained already",
        "Node/node-1: drained, but for what is in use or what nobody else serves: 10.244.0.0/26",
    ]


@pytest.mark.parametrize(
    ("age", "last"),
    [
        (None, ": no speaker has reported a status"),
        (600, r": no report for 10m\d\ds: no speaker runs on the node"),
        (0, ""),  # from before the wish
    ],
)
def test_wait_ends_with_what_was_known_last(folder: Path, age: float | None, last: str) -> None:
    if age is not None:
        keep(folder, report("drained", age=age))
    result = underlay(folder, "drain", "node-1", "--wait", "--timeout", "0.3")
    assert result.exit_code == 1
    assert re.fullmatch(f"error: Node/node-1: not drained after 0.3 s{last}\n", result.stderr)
    assert stored(folder) == {"drain": "Unused"}
