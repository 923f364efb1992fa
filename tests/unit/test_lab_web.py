"""The page of a lab: there once, on a port that is free, and gone with the lab."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from underlay import lab_web
from underlay.fabric_lab import FabricLab


@pytest.fixture(autouse=True)
def _ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from those of a lab that somebody runs on this machine."""
    first = 20000 + os.getpid() % 10000
    monkeypatch.setattr(lab_web, "_PORTS", range(first, first + 20))


@contextmanager
def page(folder: Path) -> Iterator[lab_web.Running]:
    found = asyncio.run(lab_web.start(folder, f"sqlite:{folder / 'store.db'}"))
    assert found is not None
    try:
        yield found
    finally:
        asyncio.run(lab_web.stop(folder))


def test_it_is_started_once_and_leaves_nothing(tmp_path: Path) -> None:
    with page(tmp_path) as found:
        with urllib.request.urlopen(f"{found.url}livez") as answer:
            assert answer.status == 200
        assert lab_web.running(tmp_path) == found
        again = asyncio.run(lab_web.start(tmp_path, f"sqlite:{tmp_path / 'store.db'}"))
        assert again == found
    assert not found.lives
    assert lab_web.running(tmp_path) is None
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} <= {"store.db", "store.db.turns"}


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    first = lab_web._PORTS[0]
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first))
        taken.listen()
        found = stack.enter_context(page(tmp_path))
        assert found.port == first + 1


def test_where_it_cannot_come_up_there_is_none(tmp_path: Path) -> None:
    assert asyncio.run(lab_web.start(tmp_path, "nonsense:")) is None
    assert lab_web.running(tmp_path) is None
    assert "nonsense" in (tmp_path / "web.log").read_text()


def test_a_process_that_was_given_its_pid_later_is_let_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stale = {"pid": other.pid, "started": 1, "port": 9793}
        (tmp_path / "web.json").write_text(json.dumps(stale))
        assert lab_web.running(tmp_path) is None
        asyncio.run(lab_web.stop(tmp_path))
        assert other.poll() is None
        assert not (tmp_path / "web.json").exists()
        other.communicate(b"\n")


def test_it_goes_with_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = FabricLab("dual-tor", name="web-of-a-lab", run_dir=tmp_path)
    fabric.lab.run_dir.mkdir()

    async def nothing() -> None: ...

    monkeypatch.setattr(fabric.lab, "down", nothing)
    with page(fabric.lab.run_dir) as found:
        asyncio.run(fabric.down())
        assert not found.lives
    assert not (fabric.lab.run_dir / "web.json").exists()
