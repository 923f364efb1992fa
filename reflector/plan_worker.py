"""The process that follows the store for a reflector: `python -m reflector.plan_worker URL NAME FOLDER`.

Compiling a large fabric takes seconds, in which nobody else in the same process would be served; so it has its own.
What it finds goes to stdout as messages, each with its length in four bytes in front; a byte on stdin asks it to look
again, the end of stdin to end. Signals that go to a whole group of processes are its parent's business.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import struct
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from peering.store.open_store import open_store
from reflector.desired import Desired, change
from reflector.plan_follower import NothingToRun, PlanFollower
from reflector.saved_plan import SavedPlan

LENGTH = struct.Struct(">I")
LOOK = b"\n"

#: What a message is: a line for the log (event, fields), a Change of the desired set, a NothingToRun.
Kind = Literal["log", "change", "nothing"]


class _Messages:
    """Writes messages to the parent; one that is slow to read is waited for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._told: Desired | None = None

    def log(self, event: str, **fields: Any) -> None:
        self._send("log", (event, fields))

    def tell(self, told: Desired | NothingToRun) -> None:
        if isinstance(told, NothingToRun):
            self._send("nothing", told)
        else:
            self._send("change", change(self._told, told))
            self._told = told

    def _send(self, kind: Kind, content: object) -> None:
        data = pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL)
        left = memoryview(LENGTH.pack(len(data)) + data)
        while left:
            left = left[os.write(self._fd, left) :]


async def _work(url: str, name: str, folder: Path, messages: _Messages) -> None:
    store = open_store(url, ())
    follower = PlanFollower(store, name, SavedPlan(folder, name), messages.tell, messages.log)
    following = asyncio.ensure_future(follower.run())
    asked = asyncio.ensure_future(_until_parent_is_gone(follower))
    try:
        await asyncio.wait((following, asked), return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            await following
    finally:
        following.cancel()
        asked.cancel()
        await store.close()


async def _until_parent_is_gone(follower: PlanFollower) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while await reader.read(1):
        follower.look()


def main(url: str, name: str, folder: str) -> int:
    """Runs until the parent is gone. stdout is for messages alone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    messages = _Messages(os.dup(1))
    os.dup2(2, 1)
    try:
        asyncio.run(_work(url, name, Path(folder), messages))
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001  a bug is told like everything else, and the parent begins again
        if os.environ.get("UNDERLAY_DEBUG"):
            traceback.print_exc()
        with suppress(OSError):
            messages.log("plan-worker-failed", level="error", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
