"""Processes of a benchmark that are asked things: a JSON document a line on stdin, an answer on stdout for each."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: An answer may list many figures.
_LONGEST_LINE = 2**24


class Child:
    """A process, as the one that asks has it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process

    async def ask(self, question: Any = None) -> Any:
        """Raises RuntimeError when the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark has ended ({await self._process.wait()})")
        return json.loads(line)


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """A module of the benchmarks as a process, until the block ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE
    )
    try:
        yield Child(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


async def questions() -> AsyncIterator[Any]:
    """In the process that is asked: until nobody asks any more."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def answer(found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def allow_many_files() -> int:
    """As many as this process may have open; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def memory_mib(pid: int | str, words: tuple[str, ...] = ("Rss",)) -> float:
    """The sum of these sizes of a process, as the kernel counts them in `smaps_rollup`."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file if ":" in line.split()[0])
    return sum(int(found[word].split()[0]) for word in words) / 1024


def unique_mib(pid: int | str) -> float:
    """USS: what would be free if the process were not there."""
    return memory_mib(pid, ("Private_Clean", "Private_Dirty"))


def peak_mib(pid: int) -> float:
    """The most RSS that the process has had."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def family(pid: int) -> list[int]:
    """A process and all that it has begun, and those, as far as they are there now."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for file in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, file.read_text().split())
    return found


def together(pid: int, measure: Callable[[int], float]) -> float:
    """The sum over a family. Who has ended meanwhile counts nothing."""
    total = 0.0
    for one in family(pid):
        with suppress(OSError):
            total += measure(one)
    return total
