"""The admin socket: a unix stream socket, a request on a line, an answer of one or more lines. All is JSON.

An answer's last line is the first without `"more": true`. Long ones are made in slices (turns.py) and sent as fast as
the client takes them; one that takes nothing is hung up on, so that a client that hangs keeps no place. Only the owner
of the socket's file may connect (0600), since a request may end a session.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reflector.engine.answer import Json
from reflector.server.neighbor_view import Times
from reflector.server.requests import BadRequest, Question, as_error, question
from reflector.server.server import ReflectorServer
from reflector.server.tcp_options import TcpError, explain
from reflector.server.turns import Turns

#: Where the sockets of reflectors are that are told nothing else.
FOLDER = Path("/run/underlay/reflector")
#: Clients at a time.
CLIENTS = 16
#: Seconds that a client may take for its next request, or to take what is sent to it.
PATIENCE = 300.0
#: Bytes of a request.
_LONGEST = 4096
_MODE = 0o600


def default_socket(name: str) -> Path:
    """The socket of the reflector of that name."""
    return FOLDER / f"{name}.sock"


async def serve_admin(server: ReflectorServer, path: Path, listening: socket.socket | None = None) -> None:
    """Answers on the socket until it is cancelled, and removes it then. Raises TcpError when it cannot be made.

    `listening` is what `listen` made for this path, if that was done already.
    """
    listening = listening or listen(path)
    place = _identity(path)
    admin = _Admin(server)
    try:
        serving = await asyncio.start_unix_server(admin.serve, sock=listening, limit=_LONGEST)
        async with serving:
            await serving.serve_forever()
    finally:
        admin.hang_up()
        listening.close()
        _remove(path, place)


def listen(path: Path) -> socket.socket:
    """A listening socket at that path, in place of one that nobody listens on. Raises TcpError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.fchmod(made.fileno(), _MODE)  # what the file gets when it is made: it is never open to others
        try:
            made.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            made.bind(str(path))
        made.listen(CLIENTS)
    except OSError as error:
        made.close()
        raise TcpError(f"admin socket {path}: {_words(error)}") from None
    except TcpError:
        made.close()
        raise
    made.setblocking(False)
    return made


def _words(error: OSError) -> str:
    """Of a file, not of a port."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{os.strerror(error.errno).lower()} (choose a folder where it may write, as --admin-socket)"
    return explain(error)


def discard(path: Path, listening: socket.socket) -> None:
    """Closes what `listen` made, and removes its file."""
    with suppress(OSError):
        place = _identity(path)
        listening.close()
        _remove(path, place)


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise TcpError(f"admin socket {path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code != errno.ECONNREFUSED:
        raise TcpError(f"admin socket {path}: another process listens on it")
    path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove(path: Path, place: tuple[int, int]) -> None:
    """Our own socket, not one that somebody has put in its place."""
    with suppress(OSError):
        if _identity(path) == place:
            path.unlink()


class _Admin:
    """All clients of one socket."""

    def __init__(self, server: ReflectorServer) -> None:
        self._server = server
        self._turns = Turns()
        self._clients: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first request to its end."""
        task = asyncio.current_task()
        self._clients.add(task)
        try:
            if len(self._clients) > CLIENTS:
                await _say(writer, {"error": f"there are {CLIENTS} clients already"})
            else:
                await self._talk(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The client is gone, or takes nothing, or we end; what it has not taken yet it does not get.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()

    def hang_up(self) -> None:
        """Ends all clients."""
        for task in self._clients:
            if task is not None:
                task.cancel()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    line = await reader.readline()
            except ValueError:
                await _say(writer, {"error": f"a request has at most {_LONGEST} bytes"})
                return
            if not line:
                return
            if line.strip():
                await self._answer(line, writer)

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            times = Times(asyncio.get_running_loop().time(), time.time())
            asked = question(line, self._server, times)
            answer = _Answer(asked)
            while not answer.over:
                piece = await self._turns.slice(answer.piece)
                if piece:
                    await _send(writer, piece)
        except BadRequest as bad:
            await _say(writer, as_error(bad))


class _Answer:
    """An answer that is being made."""

    def __init__(self, asked: Question) -> None:
        self._asked = asked
        self._count = 0
        self.over = False

    def piece(self, late: Callable[[], bool]) -> bytes:
        """The next line, or nothing where there is none yet."""
        asked, texts, rest = self._asked, list[str](), dict[str, object]()
        while not self.over and not late():
            try:
                row = next(asked.rows)
            except StopIteration as end:
                self.over, rest = True, {**end.value, "truncated": False}
                break
            if row is None:
                continue
            if self._count == asked.limit:
                asked.rows.close()
                self.over, rest = True, {"truncated": True}
                break
            self._count += 1
            texts.append(json.dumps(row))
        if asked.single:
            self.over = self.over or bool(texts)
            return f"{texts[0]}\n".encode() if texts else b""
        if not self.over and not texts:
            return b""
        tail = json.dumps(rest if self.over else {"more": True})[1:]
        return f'{{"rows": [{", ".join(texts)}], {tail}\n'.encode()


async def _say(writer: asyncio.StreamWriter, answer: Json) -> None:
    await _send(writer, json.dumps(answer).encode() + b"\n")


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(PATIENCE):
        await writer.drain()
