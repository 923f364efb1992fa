"""The socket of the node agent for its CNI plugin: a request on a line, an answer on a line, and it hangs up.

The socket is 0600, its folder 0700 unless it was there before: it may be /run. Who connects has to be root or the
agent's own user, since a request frees the addresses of a container. A socket on which nobody listens any more is
replaced, one on which somebody does is not.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from ipam.cni_errors import NOT_PERMITTED
from ipam.cni_plugin import CniError
from ipam.cni_service import CniService, error_line

#: Plugins that may wait to be heard: more than a node starts at once.
_BACKLOG = 1024
#: Bytes of a request; a GC names every container of the node.
_LONGEST = 1 << 20
#: Seconds for a request to come, or for an answer to be taken.
_PATIENCE = 10.0
_LOOK_S = 1.0
_REFUSED = error_line(CniError(NOT_PERMITTED, "only root may ask the node agent for addresses"))


class SocketTaken(Exception):
    """Another process listens on the socket, or something else is in its place."""


async def serve_cni(service: CniService, path: Path) -> None:
    """Answers on the socket, and applies the DELs that wait, until somebody removes the file or it is cancelled.

    Raises SocketTaken, OSError.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            await _serve(service, reader, writer)
        writer.close()

    listening = listen(path)
    try:
        server = await asyncio.start_unix_server(serve, sock=listening, limit=_LONGEST, backlog=_BACKLOG)
        async with server, asyncio.TaskGroup() as group:
            tasks = [group.create_task(service.keep_applying()), group.create_task(server.serve_forever())]
            while path.exists():  # noqa: ASYNC110, ASYNC240 - nobody tells, and the answer comes from memory
                await asyncio.sleep(_LOOK_S)
            for task in tasks:
                task.cancel()
    finally:
        _stop_listening(listening, path)


def listen(path: Path) -> socket.socket:
    """A listening socket that is never open to others. Raises SocketTaken, OSError."""
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(made.fileno(), 0o600)  # what the file gets when it is made
        try:
            made.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            made.bind(str(path))
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _stop_listening(listening: socket.socket, path: Path) -> None:
    with suppress(OSError):
        path.unlink()
    listening.close()


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise SocketTaken(f"{path} is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise SocketTaken(f"another agent listens on {path}")
    path.unlink()


async def _serve(service: CniService, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            line = await reader.readline()
    except ValueError:
        line = b""  # longer than any request; it is told that it is none
    writer.write(await service.answer(line) if _user(writer) in (0, os.geteuid()) else _REFUSED)
    async with asyncio.timeout(_PATIENCE):
        await writer.drain()


def _user(writer: asyncio.StreamWriter) -> int:
    """The user who runs the other end."""
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)
