"""The page of a lab: `underlay web` on this machine's loopback, outside of the lab's namespaces.

    RUN_DIR/web.json    the process and its port; with it `down` finds the page, and `up` one that is there already
    RUN_DIR/web.log     what it wrote

A process is ours while it was started at the very moment that is written down: pids are given again.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from containerlab.lab_state import read_json, write_json
from underlay.web import PORT

_ADDRESS = "127.0.0.1"
_PORTS = range(PORT, PORT + 100)
_START_S, _STOP_S = 20.0, 5.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """`started` is in the kernel's ticks since it booted (proc(5), field 22 of `stat`)."""

    pid: int
    started: int
    port: int

    @property
    def url(self) -> str:
        return f"http://{_ADDRESS}:{self.port}/"

    @property
    def lives(self) -> bool:
        return _started(self.pid) == self.started


def running(run_dir: Path) -> Running | None:
    """The page of the lab in `run_dir`, if there is one."""
    known = read_json(run_dir / "web.json")
    if set(known) != {"pid", "started", "port"}:
        return None
    found = Running(**known)
    return found if found.lives else None


async def start(run_dir: Path, store: str) -> Running | None:
    """The page that is there, or a new one. None where none comes up: a lab is one without it, too."""
    found = running(run_dir)
    if found is not None or find_spec("aiohttp") is None:
        return found
    for port in _PORTS:
        if not _is_free(port):
            continue
        started = await _start(run_dir, store, port)
        if started is not None:
            return started
        if _is_free(port):  # not the port is the matter
            break
    return None


async def stop(run_dir: Path) -> None:
    """Ends it, and removes what it left."""
    found = running(run_dir)
    if found is not None:
        await _end(found)
    for name in ("web.json", "web.log"):
        (run_dir / name).unlink(missing_ok=True)


async def _start(run_dir: Path, store: str, port: int) -> Running | None:
    argv = (sys.executable, "-m", "underlay", "web", "--store", store, "--listen", f"{_ADDRESS}:{port}")
    with (run_dir / "web.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220  it starts at once, and is to outlive this loop
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    found = Running(process.pid, _started(process.pid) or 0, port)
    write_json(run_dir / "web.json", asdict(found))
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while process.poll() is None:
                if await _answers(port):
                    return found
                await asyncio.sleep(_POLL_S)
    if process.poll() is None:
        process.kill()
        process.wait()
    (run_dir / "web.json").unlink()
    return None


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(_ADDRESS, port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(found: Running) -> None:
    """Signals go by a descriptor of the process, so that they reach nobody else."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(found.pid)
        try:
            if not found.lives:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(descriptor, number)
                if await asyncio.to_thread(select.select, [descriptor], [], [], _STOP_S) != ([], [], []):
                    return
        finally:
            os.close(descriptor)


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((_ADDRESS, port))
        except OSError:
            return False
    return True


def _started(pid: int) -> int | None:
    """None for one that is not there, or is dead and not yet taken note of by its parent."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] == "Z" else int(words[19])
