"""All places where a reflector listens: opened, closed and given their keys as a configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from peering.prefixes import Address, Prefix
from reflector.configuration import ReflectorConfiguration
from reflector.engine.claims import Log
from reflector.server.desired_peer import Passwords, host_prefix, password_of
from reflector.server.listener import PAUSE, Incoming, Listener
from reflector.server.syn import shared_minimum_ttl
from reflector.server.tcp_options import TcpError


class Listeners:
    """`on_incoming(listener, incoming)` gets every connection that comes in."""

    def __init__(self, log: Log, on_incoming: Callable[[Listener, Incoming], None]) -> None:
        self._log = log
        self._on_incoming = on_incoming
        self._open: dict[tuple[Address, int], Listener] = {}
        self._deaf = False

    def configure(self, configuration: ReflectorConfiguration, passwords: Passwords) -> None:
        """Takes the whole desired set, in a running loop. Raises TcpError at the end for what could not be done."""
        loop = asyncio.get_running_loop()
        wanted = [(address, configuration.port) for address in configuration.addresses]
        for place in [place for place in self._open if place not in wanted]:
            self._close(self._open.pop(place))
        keys = _keys(configuration, passwords)
        failed: TcpError | None = None
        for place in wanted:
            try:
                if place not in self._open:
                    listener = self._open[place] = Listener(*place)
                    loop.add_reader(listener.fileno(), self._accept, listener)
                self._open[place].set_keys(keys)
                self._open[place].set_minimum_ttl(_shared_ttl(configuration, len(place[0])))
            except TcpError as error:
                failed = error
        if failed is not None:
            raise failed

    def stop(self) -> None:
        """Lets nobody in any more."""
        self._deaf = True
        for listener in self._open.values():
            asyncio.get_running_loop().remove_reader(listener.fileno())

    def close(self) -> None:
        for listener in self._open.values():
            self._close(listener)
        self._open.clear()

    def _close(self, listener: Listener) -> None:
        asyncio.get_running_loop().remove_reader(listener.fileno())
        listener.close()

    def _accept(self, listener: Listener) -> None:
        accepted = listener.accept_all()
        for incoming in accepted.connections:
            self._on_incoming(listener, incoming)
        if accepted.exhausted:
            self._log("no-file-descriptors", pause=PAUSE)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            loop.call_later(PAUSE, self._resume, listener)

    def _resume(self, listener: Listener) -> None:
        if listener in self._open.values() and not self._deaf:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)


def _keys(configuration: ReflectorConfiguration, passwords: Passwords) -> dict[Prefix, bytes | None]:
    """By prefix, the password of who comes in from there."""
    keys = {one.prefix: password_of(one, passwords) for one in configuration.ranges}
    keys |= {host_prefix(address): password_of(peer, passwords) for address, peer in configuration.peers.items()}
    return keys


def _shared_ttl(configuration: ReflectorConfiguration, size: int) -> int:
    """Of all who may come in by an address of this size."""
    peers = [peer.transport for address, peer in configuration.peers.items() if len(address) == size]
    return shared_minimum_ttl([*peers, *(r.transport for r in configuration.ranges if len(r.prefix) == size + 1)])
