"""Just enough HTTP for probes and Prometheus: GET of a few paths, in the loop of the process that is asked about.

That it answers at all is the proof that the loop turns, and that is all a liveness probe should know: a process that
waits for its store, or for a switch, is not helped by being killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

_LONGEST_REQUEST = 8192
_PATIENCE_S = 5.0
_RETRY_S = 1.0
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path says now."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK


Paths = Mapping[str, Callable[[], Answer]]


def alive() -> Answer:
    """For `/livez`."""
    return Answer(b"ok\n")


def unless(reason: str) -> Answer:
    """For `/readyz`: 503 with the reason, if there is one."""
    if reason:
        return Answer(f"{reason}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE)
    return alive()


async def keep_serving(address: str, port: int, paths: Paths, log: Callable[[str], None]) -> None:
    """Serves until it is cancelled. A port that somebody else has is told once and tried again: it ends no session."""
    said = ""
    while True:
        try:
            await serve_health(address, port, paths)
        except OSError as error:
            if str(error) != said:
                said = str(error)
                log(f"health: {error} (trying again)")
        await asyncio.sleep(_RETRY_S)


async def serve_health(address: str, port: int, paths: Paths) -> None:
    """Serves until it is cancelled. Raises OSError when it cannot listen."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                writer.write(_response(await reader.readuntil(b"\r\n\r\n"), paths))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, port, limit=_LONGEST_REQUEST)
    async with server:
        await server.serve_forever()


def _response(request: bytes, paths: Paths) -> bytes:
    words = request.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        answer = Answer(b"only GET\n", HTTPStatus.METHOD_NOT_ALLOWED)
    else:
        found = paths.get(words[1].partition(b"?")[0].decode("ascii", "replace"))
        answer = found() if found else Answer(f"{', '.join(sorted(paths))}\n".encode(), HTTPStatus.NOT_FOUND)
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {_TEXT}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if words[:1] == [b"HEAD"] else answer.body)
