"""The agent's end of the socket, against a shim played by the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.exabgp_channel import Channel, Disconnected
from bgp_speaker.exabgp_events import ShimHello

HELLO = b'{"type": "shim", "lost": 3, "ppid": 7}\n'
UP = b'{"type": "state", "neighbor": {"address": {"local": "10.0.0.1", "peer": "10.0.0.2"}, "state": "up"}}\n'


class Bench:
    """A channel with what it reported, in order; `dial` is the shim."""

    def __init__(self, path: Path, ack_timeout: float = 5.0) -> None:
        self.heard: list[Any] = []
        self.path = path
        self.channel = Channel(
            path,
            admit=lambda pid: pid == 7,
            on_ready=lambda hello, items: self.heard.append((hello, items)),
            on_event=self.heard.append,
            on_stuck=lambda: self.heard.append("stuck"),
            ack_timeout=ack_timeout,
        )

    async def dial(self, hello: bytes = HELLO) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(hello)
        return reader, writer

    async def ready(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.dial()
        assert await reader.readline() == b"show neighbor json\n"
        writer.write(b"[]\ndone\n")
        assert await self.channel.wait_ready(7, 5)
        return reader, writer


def run(path: Path, scenario: Callable[[Bench], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        bench = Bench(path / "socket", **options)
        await bench.channel.listen(os.getuid(), os.getgid())
        assert bench.path.stat().st_mode & 0o777 == 0o600
        try:
            async with asyncio.timeout(20):
                await scenario(bench)
        finally:
            await bench.channel.close()

    asyncio.run(main())


def test_the_barrier_throws_old_answers_away_and_holds_events(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.dial()
        assert await reader.readline() == b"show neighbor json\n"
        answer = asyncio.create_task(bench.channel.command("announce x"))
        writer.write(b"done\nerror\nold text\n" + UP + b"[1]\ndone\n" + UP)
        assert await reader.readline() == b"announce x\n"
        writer.write(b"error\n")
        assert await answer is False
        assert bench.heard[0] == (ShimHello(3, 7), [1])
        assert [type(e).__name__ for e in bench.heard[1:]] == ["PeerState", "PeerState"]

    run(tmp_path, scenario)


def test_an_array_that_nobody_asked_for_takes_its_done_along(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.ready()
        answer = asyncio.create_task(bench.channel.query("show adj-rib out"))
        assert await reader.readline() == b"show adj-rib out\n"
        writer.write(b"[2]\ndone\n")
        await writer.drain()
        writer.write(b"one\ntwo\ndone\n")
        assert await answer == ["one", "two"]
        items = asyncio.create_task(bench.channel.query_json("show neighbor json"))
        assert await reader.readline() == b"show neighbor json\n"
        writer.write(b"[3]\ndone\n")
        assert await items == [3]

    run(tmp_path, scenario)


def test_one_command_in_flight(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.ready()
        answers = [asyncio.create_task(bench.channel.command(f"announce {i}")) for i in range(3)]
        for i in range(3):
            assert await reader.readline() == f"announce {i}\n".encode()
            pending = asyncio.create_task(reader.read(1))
            assert not (await asyncio.wait({pending}, timeout=0.02))[0]
            pending.cancel()
            await asyncio.wait({pending})
            writer.write(b"done\n" if i != 1 else b"error\n")
        assert await asyncio.gather(*answers) == [True, False, True]

    run(tmp_path, scenario)


def test_a_lost_connection_is_told_and_the_next_one_works(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, writer = await bench.ready()
        answer = asyncio.create_task(bench.channel.command("announce x"))
        await reader.readline()
        writer.close()
        with pytest.raises(Disconnected):
            await answer
        assert bench.channel.pid is None
        await bench.ready()
        assert bench.channel.pid == 7

    run(tmp_path, scenario)


def test_a_cancelled_command_starts_over_with_a_barrier(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, _ = await bench.ready()
        answer = asyncio.create_task(bench.channel.command("announce x"))
        await reader.readline()
        answer.cancel()
        assert await reader.read() == b""
        await bench.ready()

    run(tmp_path, scenario)


def test_silence_twice_in_a_row_is_stuck(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        reader, _ = await bench.ready()
        with pytest.raises(Disconnected):
            await bench.channel.command("announce x")
        assert "stuck" not in bench.heard
        await reader.read()
        reader, _ = await bench.dial()
        assert await reader.read() == b"show neighbor json\n"
        assert bench.heard[-1] == "stuck"

    run(tmp_path, scenario, ack_timeout=0.1)


@pytest.mark.parametrize("hello", [b'{"type": "shim", "lost": 0, "ppid": 8}\n', b"done\n", b"\n", b"{\n"])
def test_others_are_turned_away(tmp_path: Path, hello: bytes) -> None:
    async def scenario(bench: Bench) -> None:
        kept = await bench.ready()
        reader, _ = await bench.dial(hello)
        assert await reader.read() == b""
        assert bench.channel.pid == 7
        assert not kept[0].at_eof()

    run(tmp_path, scenario)


def test_a_command_is_one_line(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ready()
        for line in ("a\nshutdown", "ä"):
            with pytest.raises(ValueError, match="not a command line"):
                await bench.channel.command(line)

    run(tmp_path, scenario)
