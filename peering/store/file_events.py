"""Waiting until a file, or one beside it with the same prefix, is written: inotify(7) for asyncio.

SQLite's writers touch `store.db-wal`; watching the directory sees that whoever writes, whenever the log is
made anew. The kernel's interface is three system calls, so ctypes stands in for a dependency.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class FileEvents:
    """Events of the files in `folder` whose names start with `prefix`. Use as a context manager."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix.encode()
        self._wal = self._prefix + b"-wal"
        self._fd = -1
        self._pending = asyncio.Event()

    def __enter__(self) -> FileEvents:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if self._fd >= 0 and _libc.inotify_add_watch(self._fd, os.fsencode(self._folder), mask) >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    async def wait(self, at_most: float) -> bool:
        """True at the next event, at once if one came since the last call; False after `at_most` seconds."""
        try:
            async with asyncio.timeout(at_most):
                await self._pending.wait()
        except TimeoutError:
            return False
        self._pending.clear()
        return True

    def _read(self) -> None:
        """Only writes to the log count: readers touch the shared-memory file too, and would wake each other."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            _, _, _, length = _HEADER.unpack_from(data, offset)
            name = data[offset + _HEADER.size : offset + _HEADER.size + length].rstrip(b"\0")
            offset += _HEADER.size + length
            if name in (self._prefix, self._wal):
                self._pending.set()
