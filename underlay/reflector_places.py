"""What a reflector serves beside its sessions, as the process runs it: an admin socket, metrics."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from reflector.plan_follower import Log
from reflector.server import admin_socket, metrics_server
from reflector.server.server import ReflectorServer
from reflector.server.tcp_options import TcpError
from underlay.reflector_options import Endpoint


class AdminSocket:
    """One that nobody asked for, at the place where commands look, is not worth an end: then `required` is False."""

    def __init__(self, path: Path, log: Log, *, required: bool) -> None:
        self._path = path
        self._log = log
        self._required = required
        self._listening: socket.socket | None = None

    def open(self) -> None:
        try:
            self._listening = admin_socket.listen(self._path)
        except TcpError as error:
            if self._required:
                raise
            self._log("no-admin-socket", level="warning", error=str(error))

    async def serve(self, server: ReflectorServer) -> None:
        listening, self._listening = self._listening, None
        if listening is None:
            await asyncio.Event().wait()
        await admin_socket.serve_admin(server, self._path, listening)

    def close(self) -> None:
        """What was served has been removed already; by now the path may be another's."""
        if self._listening is not None:
            admin_socket.discard(self._path, self._listening)


class Metrics:
    """For Prometheus."""

    def __init__(self, place: Endpoint) -> None:
        self._place = place
        self._listening: socket.socket | None = None

    def open(self) -> None:
        self._listening = metrics_server.listen(self._place.address, self._place.port)

    async def serve(self, server: ReflectorServer) -> None:
        await metrics_server.serve_metrics(server, self._place.address, self._place.port, self._listening)

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
