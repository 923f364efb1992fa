"""Judging a declaration for statuses: the same here and in a process of its own, which may be killed."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from peering import worker_process
from peering.compile import plan
from peering.store.protocol import Stored
from tests.unit.samples import dual_tor
from underlay import judging, judging_process
from underlay.conditions import declared
from underlay.judging import judged

_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_FEW", 0)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """The processes that were begun."""
    found: list[asyncio.subprocess.Process] = []
    start = worker_process.start

    async def noted(module: str, *arguments: str) -> asyncio.subprocess.Process:
        found.append(await start(module, *arguments))
        return found[-1]

    monkeypatch.setattr(worker_process, "start", noted)
    return found


def stored() -> list[Stored]:
    """The sample, with an object that cannot be read and one that has a problem."""
    documents = [one.to_document() for one in dual_tor()]
    documents.append({**documents[0], "metadata": {"name": "odd"}, "spec": {"unheard": "of"}})
    pool = next(one for one in documents if one["kind"] == "IPPool")
    documents.append({**pool, "metadata": {"name": "again"}})
    return [Stored(one["kind"], one["metadata"]["name"], 2**70 + number, one) for number, one in enumerate(documents)]


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def is_there(process: asyncio.subprocess.Process) -> bool:
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_beside_it_is_judged_as_here(begun: list[asyncio.subprocess.Process]) -> None:
    async def story() -> None:
        found = await judged(stored())
        assert found == judging.judge(stored())
        assert len(begun) == 1
        assert begun[0].returncode == 0
        codes = {problem.code for problems in found.problems.values() for problem in problems}
        assert {"unknown-field", "pool-overlap"} <= codes
        assert found.ends["Rack/rack-1"]

    run(story)


def test_what_is_judged_is_the_plan() -> None:
    objects = [Stored(one.kind, one.name, 1, one.to_document()) for one in dual_tor()]
    assert judging.judge(objects) == declared(plan(dual_tor()), dual_tor())


def test_few_objects_are_judged_here(begun: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_FEW", len(stored()))

    async def story() -> None:
        assert (await judged(stored())).ends
        assert begun == []
        assert (await judged([*stored(), stored()[0]])).ends
        assert len(begun) == 1

    run(story)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_one_that_is_killed_is_told_and_the_next_answers(
    begun: list[asyncio.subprocess.Process], number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = judging._write

    async def killed(process: asyncio.subprocess.Process, objects: list[Stored]) -> None:
        await write(process, objects[:-1])
        process.send_signal(number)

    async def story() -> None:
        monkeypatch.setattr(judging, "_write", killed)
        with pytest.raises(ChildProcessError, match=f"has ended \\(status -{number}\\)"):
            await judged(stored())
        monkeypatch.setattr(judging, "_write", write)
        assert await judged(stored()) == judging.judge(stored())
        assert len(begun) == 2

    run(story)


def test_one_that_ends_while_it_is_told_is_no_other_failure(begun: list[asyncio.subprocess.Process]) -> None:
    """Writing to it fails then."""

    async def story() -> None:
        many = stored() * 200
        judging_task = asyncio.ensure_future(judged(many))
        await _until_begun(begun)
        begun[0].kill()
        with pytest.raises(ChildProcessError):
            await judging_task

    run(story)


def test_who_waits_no_longer_leaves_no_process_behind(begun: list[asyncio.subprocess.Process]) -> None:
    async def story() -> None:
        judging_task = asyncio.ensure_future(judged(stored() * 200))
        await _until_begun(begun)
        judging_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await judging_task
        assert not is_there(begun[0])

    run(story)


def test_half_a_declaration_is_not_judged() -> None:
    """The parent was killed while it wrote."""
    ended = subprocess.run(
        [sys.executable, "-m", "underlay.judging_process"],
        cwd=_ROOT,
        input=b'2\n["IPPool","p",1,{}]\n',
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    with pytest.raises(EOFError):
        [*judging_process._objects(io.BytesIO(b'2\n["IPPool","p",1,{}]\n'))]


def test_it_is_not_ended_by_what_ends_its_parent(begun: list[asyncio.subprocess.Process]) -> None:
    """Ctrl-C goes to both; then the parent ends it when it has come to its own end."""

    async def story() -> None:
        process = await worker_process.start("underlay.judging_process")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"1\n")
        await process.stdin.drain()
        await _until_ignored(process.pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        process.stdin.write(b'["IPPool","p",1,{"kind":"IPPool"}]\n')
        process.stdin.write_eof()
        assert await process.stdout.read()
        assert await process.wait() == 0

    run(story)


async def _until_begun(begun: list[asyncio.subprocess.Process]) -> None:
    while not begun:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0)


async def _until_ignored(pid: int) -> None:
    """Until the process has said which signals it ignores."""
    while not _ignored(pid) >> (signal.SIGHUP - 1) & 1:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.01)


def _ignored(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("SigIgn")).split()[1], 16)
