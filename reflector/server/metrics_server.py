"""Just enough HTTP/1.1 for Prometheus: `GET /metrics`, a connection for each, in the loop of the sessions.

An answer is made in slices (turns.py) and sent in chunks, so that one that breaks off is seen to be broken.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Generator

from peering.prefixes import Address, format_address
from reflector.server.metrics import exposition
from reflector.server.server import ReflectorServer
from reflector.server.tcp_options import TcpError, explain, family_of
from reflector.server.turns import Turns

#: Clients at a time, bytes of a request, seconds that a client may take for it, and for its answer.
CLIENTS = 8
_LONGEST = 8192
_PATIENCE = 10.0
_LINGER = 1.0
#: Bytes of a chunk, about.
_CHUNK = 1 << 16


async def serve_metrics(
    server: ReflectorServer, address: Address, port: int, listening: socket.socket | None = None
) -> None:
    """Serves until it is cancelled. Raises TcpError when it cannot listen.

    `listening` is what `listen` made for this place, if that was done already.
    """
    listening = listening or listen(address, port)
    metrics = _Metrics(server)
    try:
        serving = await asyncio.start_server(metrics.serve, sock=listening, limit=_LONGEST)
        async with serving:
            await serving.serve_forever()
    finally:
        metrics.hang_up()
        listening.close()


def listen(address: Address, port: int) -> socket.socket:
    """A listening socket. Raises TcpError."""
    made = socket.socket(family_of(address), socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((format_address(address), port))
        made.listen(CLIENTS)
    except OSError as error:
        made.close()
        taken = error.errno == errno.EADDRINUSE
        words = "the address and port are in use (choose another port, as --metrics)" if taken else explain(error)
        raise TcpError(f"metrics on {format_address(address)} port {port}: {words}") from None
    made.setblocking(False)
    return made


class _Metrics:
    """All clients."""

    def __init__(self, server: ReflectorServer) -> None:
        self._server = server
        self._turns = Turns()
        self._clients: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        task = asyncio.current_task()
        self._clients.add(task)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._answer(reader, writer)
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

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) > CLIENTS:
            await _refuse(reader, writer, "503 Service Unavailable")
            return
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            await _refuse(reader, writer, "431 Request Header Fields Too Large")
            return
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            await _refuse(reader, writer, "400 Bad Request")
        elif words[0] not in (b"GET", b"HEAD"):
            await _refuse(reader, writer, "405 Method Not Allowed", "Allow: GET, HEAD\r\n")
        elif words[1].split(b"?", 1)[0] != b"/metrics":
            await _refuse(reader, writer, "404 Not Found")
        else:
            await self._send(writer, body=words[0] == b"GET", chunked=words[2] != b"HTTP/1.0")

    async def _send(self, writer: asyncio.StreamWriter, *, body: bool, chunked: bool) -> None:
        coding = "Transfer-Encoding: chunked\r\n" if chunked else ""
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {_TEXT}\r\n{coding}{_CLOSE}\r\n".encode())
        pieces = _Pieces(exposition(self._server))
        while body and not pieces.over:
            data = await self._turns.slice(pieces.some)
            if data:
                writer.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            await writer.drain()
        if body and chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


_CLOSE = "Connection: close\r\n"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class _Pieces:
    """Text that is being made."""

    def __init__(self, text: Generator[bytes | None, None, None]) -> None:
        self._text = text
        self.over = False

    def some(self, late: Callable[[], bool]) -> bytes:
        found: list[bytes] = []
        size = 0
        while size < _CHUNK and not late():
            try:
                piece = next(self._text)
            except StopIteration:
                self.over = True
                break
            if piece:
                found.append(piece)
                size += len(piece)
        return b"".join(found)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: str, more: str = "") -> None:
    """What was not read yet is read, for a moment: a socket that is closed before takes the answer back."""
    text = f"{status[4:]}; the metrics are at /metrics\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n{more}{_CLOSE}\r\n"
    writer.write((head + text).encode())
    writer.write_eof()
    async with asyncio.timeout(_LINGER):
        while await reader.read(_LONGEST):
            pass
