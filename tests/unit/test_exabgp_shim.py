"""The shim as a process between two pipes and a unix socket; the test plays ExaBGP and the agent."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_speaker import exabgp_shim


class Agent:
    """Listens; `accept` gives the connection as a file and its hello."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(10)

    def accept(self) -> tuple[io.BufferedRWPair, dict[str, object]]:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        file = connection.makefile("rwb")
        connection.close()
        return file, json.loads(file.readline())

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-SEI", exabgp_shim.__file__, str(tmp_path / "socket")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def test_both_directions(shim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert shim.stdin is not None
    assert shim.stdout is not None
    agent = Agent(tmp_path / "socket")
    file, hello = agent.accept()
    assert hello == {"type": "shim", "lost": 0, "ppid": os.getpid()}
    shim.stdin.write(b"one\ntwo\n")
    assert [file.readline(), file.readline()] == [b"one\n", b"two\n"]
    file.write(b"announce 1\nannounce 2\n")
    file.flush()
    assert [shim.stdout.readline(), shim.stdout.readline()] == [b"announce 1\n", b"announce 2\n"]
    agent.close()


def test_without_an_agent_nothing_blocks_and_whole_lines_are_counted(
    shim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert shim.stdin is not None
    lines = b"x" * 99 + b"\n"
    shim.stdin.write(lines * 100_000 + b"the head of a line")  # 10 MB into a pipe of at most 1
    shim.stdin.write(b" that nobody has heard ")
    agent = Agent(tmp_path / "socket")
    file, hello = agent.accept()
    assert hello["lost"] == 100_000
    shim.stdin.write(b"and its tail\nwhole\n")
    assert file.readline() == b"whole\n"
    agent.close()


def test_half_a_command_is_forgotten(shim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert shim.stdout is not None
    agent = Agent(tmp_path / "socket")
    file, _ = agent.accept()
    file.write(b"whole\nhalf a com")
    file.flush()
    assert shim.stdout.readline() == b"whole\n"
    file.close()
    file, _ = agent.accept()
    file.write(b"another\n")
    file.flush()
    assert shim.stdout.readline() == b"another\n"
    agent.close()


def test_an_agent_that_does_not_read_does_not_block_exabgp(shim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert shim.stdin is not None
    agent = Agent(tmp_path / "socket")
    file, _ = agent.accept()
    line = b"y" * 999 + b"\n"
    shim.stdin.write(line * 20_000)
    for _ in range(20_000):
        assert file.readline() == line
    agent.close()


def test_a_full_backlog_does_not_block_exabgp(shim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """An agent that listens but does not accept: a blocking connect would wait for it."""
    assert shim.stdin is not None
    agent = Agent(tmp_path / "socket")
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for caller in waiting:
        caller.setblocking(False)
        caller.connect_ex(str(tmp_path / "socket"))
    shim.stdin.write(b"z\n" * 4_000_000)
    for caller in waiting:
        caller.close()
    agent.close()


def test_it_ends_with_exabgp(shim: subprocess.Popen[bytes]) -> None:
    assert shim.stdin is not None
    shim.stdin.close()
    assert shim.wait(timeout=10) == 0
