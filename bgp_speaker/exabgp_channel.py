"""The agent's end of the unix socket to ExaBGP's shim: commands down, events up.

Protocol. The shim dials and says hello (lines lost, ExaBGP's PID). ExaBGP answers each command with a bare
`done` or `error` without saying which, so one command is in flight at a time. After every (re)connect the
answers to a former agent's commands may still come: a barrier, `show neighbor json`, is sent, and since ExaBGP
answers such queries in order, everything before its JSON array is old. An array that nobody waits for is the
answer to a former agent's barrier, and the `done` after it belongs to it.

Order of what the owner hears: `on_ready` (the hello and the neighbours as they are now), then the events that
arrived since the hello, then every further event as it comes. Callbacks are synchronous and must be short:
nothing is read meanwhile, but the shim buffers 64 MiB, so ExaBGP does not wait.

Faults. An acknowledgement that does not come within 10 s closes the connection (the shim dials again and
the barrier sorts things out); the second time in a row ExaBGP is reported stuck. Whoever waits for an answer
when the connection goes gets `Disconnected`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgp_speaker.exabgp_commands import SHOW_NEIGHBORS
from bgp_speaker.exabgp_events import Done, Error, Event, Reply, ShimHello, decode

ACK_TIMEOUT = 10.0
HELLO_TIMEOUT = 5.0
_CHUNK = 1 << 18
_MAX_LINE = 64 << 20
_STUCK_AFTER = 2


class Disconnected(ConnectionError):
    """The shim is not connected, or went away before it answered."""


@dataclass(slots=True)
class _Exchange:
    """The command in flight. A barrier ignores acknowledgements until its array has come."""

    barrier: bool
    wants_array: bool
    answer: asyncio.Future[bool]
    lines: list[str] = field(default_factory=list)
    items: list[Any] | None = None


@dataclass(slots=True)
class _Link:
    """One connection of a shim."""

    writer: asyncio.StreamWriter
    hello: ShimHello
    held: list[Event] | None = field(default_factory=list)
    stale_acks: int = 0


class Channel:
    """Listens on `path`. `admit(pid)` says whether the ExaBGP that connects is the right one."""

    def __init__(
        self,
        path: Path,
        *,
        admit: Callable[[int], bool],
        on_ready: Callable[[ShimHello, list[Any]], None],
        on_event: Callable[[Event], None],
        on_stuck: Callable[[], None],
        ack_timeout: float = ACK_TIMEOUT,
    ) -> None:
        self._path = path
        self._admit = admit
        self._on_ready = on_ready
        self._on_event = on_event
        self._on_stuck = on_stuck
        self._ack_timeout = ack_timeout
        self._server: asyncio.Server | None = None
        self._link: _Link | None = None
        self._exchange: _Exchange | None = None
        self._one_at_a_time = asyncio.Lock()
        self._ready = asyncio.Condition()
        self._timeouts = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """ExaBGP's process ID while the channel is ready for commands."""
        return self._link.hello.exabgp_pid if self._link is not None and self._link.held is None else None

    async def listen(self, uid: int, gid: int) -> None:
        """Starts to listen; only that user (and root) can connect."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=_CHUNK, backlog=4)
        os.chmod(self._path, 0o600)
        os.chown(self._path, uid, gid)

    async def close(self) -> None:
        """Stops listening and hangs up. ExaBGP goes on."""
        if self._server is not None:
            self._server.close()
        self._hang_up(self._link)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_ready(self, pid: int, within: float) -> bool:
        """Until the ExaBGP of that process ID is ready for commands; False after `within` seconds."""
        try:
            async with asyncio.timeout(within), self._ready:
                await self._ready.wait_for(lambda: self.pid == pid)
        except TimeoutError:
            return False
        return True

    async def command(self, line: str) -> bool:
        """Sends one command, after a barrier that is under way; True for `done`, False for `error`."""
        return (await self._perform(line, wants_array=False))[0]

    async def query(self, line: str) -> list[str]:
        """The lines of text with which ExaBGP answers. Raises ValueError when it refuses."""
        done, exchange = await self._perform(line, wants_array=False)
        if not done:
            raise ValueError(f"ExaBGP does not understand {line!r}")
        return exchange.lines

    async def query_json(self, line: str) -> list[Any]:
        """The JSON array with which ExaBGP answers. Raises ValueError when it refuses."""
        done, exchange = await self._perform(line, wants_array=True)
        if not done or exchange.items is None:
            raise ValueError(f"ExaBGP does not understand {line!r}")
        return exchange.items

    async def send_all(self, lines: Iterable[str]) -> list[str]:
        """One line after the other; the lines that were refused."""
        return [line for line in lines if not await self.command(line)]

    async def _perform(self, line: str, *, wants_array: bool) -> tuple[bool, _Exchange]:
        async with self._one_at_a_time:
            if self._link is None or self._link.held is not None:
                raise Disconnected("ExaBGP is not connected")
            return await self._exchange_with(self._link, line, barrier=False, wants_array=wants_array)

    async def _exchange_with(
        self, link: _Link, line: str, *, barrier: bool, wants_array: bool
    ) -> tuple[bool, _Exchange]:
        if "\n" in line or not line.isascii():
            raise ValueError(f"not a command line: {line!r}")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        exchange = self._exchange = _Exchange(barrier, wants_array, answer)
        try:
            link.writer.write(line.encode("ascii") + b"\n")
            async with asyncio.timeout(self._ack_timeout):
                done = await answer
        except TimeoutError:
            self._timed_out(link)
            raise Disconnected(f"no answer within {self._ack_timeout:g} s") from None
        finally:
            self._exchange = None
            if not answer.done() or answer.cancelled():
                self._hang_up(link)
        self._timeouts = 0
        return done, exchange

    def _timed_out(self, link: _Link) -> None:
        self._hang_up(link)
        self._timeouts += 1
        if self._timeouts >= _STUCK_AFTER:
            self._timeouts = 0
            self._on_stuck()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a shim, from hello to end of file."""
        link: _Link | None = None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                hello = decode(await reader.readline())
            if isinstance(hello, ShimHello) and self._admit(hello.exabgp_pid):
                self._hang_up(self._link)
                link = self._link = _Link(writer, hello)
                self._spawn(self._barrier(link))
                await self._read(reader, link)
        except (OSError, ValueError, TimeoutError):
            pass
        finally:
            self._hang_up(link)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, link: _Link) -> None:
        rest = b""
        while link is self._link and len(rest) < _MAX_LINE:
            data = await reader.read(_CHUNK)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line:
                    self._take(link, decode(line))

    def _take(self, link: _Link, event: Event) -> None:
        if isinstance(event, Done | Error):
            self._acknowledge(link, isinstance(event, Done))
        elif isinstance(event, Reply):
            self._collect(link, event)
        elif link.held is not None:
            link.held.append(event)
        else:
            self._on_event(event)

    def _acknowledge(self, link: _Link, done: bool) -> None:
        exchange = self._exchange
        if link.stale_acks:
            link.stale_acks -= 1
        elif exchange is None or (exchange.barrier and exchange.items is None):
            return
        elif not exchange.answer.done():
            exchange.answer.set_result(done)

    def _collect(self, link: _Link, reply: Reply) -> None:
        exchange = self._exchange
        if reply.items is None:
            if exchange is not None:
                exchange.lines.append(reply.text)
        elif exchange is not None and exchange.wants_array and exchange.items is None:
            exchange.items = reply.items
        else:
            link.stale_acks += 1

    async def _barrier(self, link: _Link) -> None:
        try:
            async with self._one_at_a_time:
                _, exchange = await self._exchange_with(link, SHOW_NEIGHBORS, barrier=True, wants_array=True)
        except Disconnected:
            return
        held, link.held = link.held, None
        self._on_ready(link.hello, exchange.items or [])
        for event in held or ():
            self._on_event(event)
        async with self._ready:
            self._ready.notify_all()

    def _hang_up(self, link: _Link | None) -> None:
        if link is None:
            return
        link.writer.close()
        if link is not self._link:
            return
        self._link = None
        if self._exchange is not None and not self._exchange.answer.done():
            self._exchange.answer.set_exception(Disconnected("the connection to ExaBGP was lost"))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
