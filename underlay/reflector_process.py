"""One running reflector: the server, what it is told to be, and signals.

    source ─► desired set ─► ReflectorServer
    SIGHUP ─► the source looks again          SIGTERM, SIGINT ─► the end

The first desired set starts the server; a later one changes it in place. The source may fail as it likes: the server
stays what it was told to be last.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Protocol

from peering.prefixes import Address
from peering.session import SecretKeyRef
from reflector.configuration import ReflectorConfiguration
from reflector.desired import Desired
from reflector.plan_follower import Log, NothingToRun
from reflector.restart_marker import TOUCH_S, RestartMarker
from reflector.server.tcp_options import TcpError
from underlay.output import Refused
from underlay.reflector_sources import Source, log_problems

#: What a peer reads in the NOTIFICATION (RFC 9003).
GOODBYE = "the reflector is stopped"


class Server(Protocol):
    """What of ReflectorServer is used here."""

    async def run(self) -> None: ...

    def configure(self, configuration: ReflectorConfiguration, passwords: Mapping[SecretKeyRef, bytes]) -> None: ...

    def stop(self, *, graceful: bool = False, reason: str = "") -> None: ...

    def up(self) -> Collection[Address]: ...


#: ReflectorServer, or what stands for it.
MakeServer = Callable[..., Server]


class Beside(Protocol):
    """What is served beside the sessions: an admin socket, metrics.

    `open` takes its place, before anything else begins, and raises TcpError when it cannot; `serve` works until it is
    cancelled; `close` comes last, served or not.
    """

    def open(self) -> None: ...

    async def serve(self, server: Any) -> None: ...

    def close(self) -> None: ...


class ReflectorProcess:
    """`marker` None: no start is a restart. With `graceful` the end is silent, so that peers keep our routes."""

    def __init__(
        self,
        source: Source,
        make_server: MakeServer,
        log: Log,
        *,
        marker: RestartMarker | None = None,
        graceful: bool = False,
        beside: tuple[Beside, ...] = (),
    ) -> None:
        self._source = source
        self._make_server = make_server
        self._log = log
        self._marker = marker
        self._graceful = graceful
        self._beside = beside
        self._server: Server | None = None
        self._told: Desired | None = None
        self._refused: NothingToRun | None = None
        self._begun = asyncio.Event()
        self._serving = self._stopping = False

    async def run(self) -> None:
        """Serves until it is stopped. Raises Refused when there is nothing to serve, or it cannot listen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.look)
        following = asyncio.ensure_future(self._source.run(self._hear))
        begun = asyncio.ensure_future(self._begun.wait())
        try:
            await _first_of(following, begun)
            if self._refused is not None:
                raise Refused(self._refused.problems)
            if self._server is not None and not self._stopping:
                await self._serve(self._server, following)
        finally:
            begun.cancel()
            await _cancelled(following)

    def stop(self) -> None:
        """Ends `run`."""
        if not self._stopping:
            self._stopping = True
            self._begun.set()
            if self._serving and self._server is not None:
                if self._marker is not None and self._graceful:
                    with suppress(OSError):
                        self._marker.touch(self._server.up())
                self._server.stop(graceful=self._graceful, reason=GOODBYE)

    def look(self) -> None:
        """Has everything read again that may have changed."""
        self._log("reading-again")
        self._source.look()

    def _hear(self, told: Desired | NothingToRun) -> None:
        if self._stopping or self._refused is not None:
            return
        if isinstance(told, NothingToRun):
            if self._server is None:
                self._refused = told
                self._begun.set()
            else:
                log_problems(self._log, told.problems)
        elif told != self._told:
            self._told = told
            if self._server is not None:
                self._configure(self._server, told)
                return
            restarting = self._is_restart(told.configuration)
            were_up = self._marker.were_up() if self._marker is not None and restarting else ()
            self._server = self._make_server(
                told.configuration, told.passwords, self._log, restarting=restarting, were_up=were_up
            )
            self._begun.set()

    def _configure(self, server: Server, told: Desired) -> None:
        try:
            server.configure(told.configuration, told.passwords)
        except TcpError as error:
            self._log("cannot-listen", level="error", error=str(error))
        self._log("configured", origin=told.origin, peers=len(told.configuration.peers))

    def _is_restart(self, configuration: ReflectorConfiguration) -> bool:
        """Whether peers may still have the routes that we gave them before."""
        age = self._marker.age() if self._marker is not None else None
        sessions = [peer.session for peer in configuration.peers.values()]
        sessions += [one.session for one in configuration.ranges]
        return age is not None and age <= max((one.graceful_restart_time for one in sessions), default=0)

    async def _serve(self, server: Server, following: asyncio.Future[None]) -> None:
        """A place that cannot be had is found before anything is said to anybody."""
        with ExitStack() as places:
            try:
                for one in self._beside:
                    one.open()
                    places.callback(one.close)
                await self._serve_all(server, following)
            except TcpError as error:
                raise Refused(message=f"error: {error}") from error

    async def _serve_all(self, server: Server, following: asyncio.Future[None]) -> None:
        serving = asyncio.ensure_future(server.run())
        await asyncio.sleep(0)  # it can be stopped once it has begun
        if serving.done():
            serving.result()  # it could not begin
        self._serving = True
        if self._stopping and not serving.done():
            server.stop(graceful=self._graceful, reason=GOODBYE)
        others = [asyncio.ensure_future(beside.serve(server)) for beside in self._beside]
        others.append(asyncio.ensure_future(self._mark(server)))
        try:
            await _first_of(serving, following, *others)
        finally:
            for other in others:
                await _cancelled(other)
            if not serving.done():  # a bug of ours elsewhere: peers may keep the routes until we are back
                server.stop(graceful=True)
                await _cancelled(serving)
        if self._marker is not None and not self._graceful:
            self._marker.remove()

    async def _mark(self, server: Server) -> None:
        if self._marker is None:
            await asyncio.Event().wait()
            return
        said = ""
        while True:
            try:
                self._marker.touch(server.up())
            except OSError as error:
                if str(error) != said:
                    said = str(error)
                    self._log("no-restart-marker", level="warning", file=str(self._marker.path), error=error.strerror)
            await asyncio.sleep(TOUCH_S)


async def _first_of(*tasks: asyncio.Future[Any]) -> None:
    """Until one of them is over; what it raised is raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
