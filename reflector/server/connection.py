"""One TCP connection in the server's loop: bytes in to its session, bytes out from its outbox. Thin.

The loop calls `readable` and `writable`; a connection is written to by whoever has something for it. When the kernel
takes no more, the loop is asked to say when it does, and nobody else is kept waiting.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from reflector.log.outbox import Cursor, Outbox
from reflector.server.tcp_options import explain
from reflector.session.machine import Session

if TYPE_CHECKING:
    from reflector.server.neighbour import Neighbour

#: Bytes read at a time; more than glibc takes from the heap would cost a system call for memory each time.
_READ = 65536
#: Seconds, and bytes, that the other end may still say after our last word.
_LINGER = 1.0
_LINGER_BYTES = 16 << 20


class Connection:
    """`on_data(connection, data)` gets what came, `on_end(connection, reason)` learns that no more will.

    `on_room(connection)` learns that a connection which was blocked has taken all that there was for it.
    """

    __slots__ = (
        "_loop",
        "_number",
        "_on_data",
        "_on_end",
        "_on_room",
        "blocked",
        "neighbour",
        "open",
        "outbox",
        "session",
        "socket",
        "ticket",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: socket.socket,
        neighbour: Neighbour,
        session: Session,
        on_data: Callable[[Connection, bytes], None],
        on_end: Callable[[Connection, str], None],
        on_room: Callable[[Connection], None],
        ticket: int | None = None,
    ) -> None:
        self.socket = opened
        self.neighbour = neighbour
        self.session = session
        self.ticket = ticket
        self.outbox = Outbox()
        self.open = True
        self.blocked = False
        self._loop = loop
        self._number = opened.fileno()
        self._on_data = on_data
        self._on_end = on_end
        self._on_room = on_room
        loop.add_reader(self._number, self.readable)

    def readable(self) -> bool:
        """Takes what came, once; whether there was anything."""
        if not self.open:
            return False
        try:
            data = self.socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._on_end(self, explain(error))
            return False
        if not data:
            self._on_end(self, "closed by the peer")
            return False
        self._on_data(self, data)
        return True

    def write(self, now: float) -> None:
        """Gives the kernel what it takes of the outbox."""
        outbox, session = self.outbox, self.session
        single = outbox.single()
        if single is not None and self._write_single(*single, now):
            return
        views = outbox.views()
        while views:
            try:
                count = self.socket.sendmsg(views)
            except (BlockingIOError, InterruptedError):
                self._block(now)
                return
            except OSError as error:
                self._on_end(self, explain(error))
                return
            outbox.wrote(count)
            session.sent(now)
            views = outbox.views()
        if self.blocked:
            self.blocked = False
            self._loop.remove_writer(self._number)

    def _write_single(self, cursor: Cursor, view: memoryview, now: float) -> bool:
        """Whether the kernel took it whole; if not, it is for the long way."""
        try:
            count = self.socket.send(view)
        except OSError:
            return False
        if count != len(view):
            self.outbox.begin_at(cursor, view[count:])
            return False
        cursor.position += 1
        self.session.sent(now)
        return True

    def _block(self, now: float) -> None:
        self.session.blocked(now)
        if not self.blocked:
            self.blocked = True
            self._loop.add_writer(self._number, self._writable)

    def _writable(self) -> None:
        if self.open:
            self.write(self._loop.time())
            if not self.blocked:
                self._on_room(self)

    def close(self) -> None:
        """The last bytes that the kernel takes at once, then the end.

        A socket that is closed with bytes unread sends a reset, which makes the other end forget the NOTIFICATION that
        it has not read yet. So after one, what still comes is read and thrown away for a moment.
        """
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self._number)
        if self.blocked:
            self._loop.remove_writer(self._number)
        views = self.outbox.views()
        try:
            if views:
                self.socket.sendmsg(views, (), socket.MSG_MORE)  # the end of the stream goes with it in one segment
                self.socket.shutdown(socket.SHUT_WR)
                _Lingering(self._loop, self.socket)
                return
        except OSError:
            pass  # the peer will find out without being told
        self.socket.close()


class _Lingering:
    """A socket that has said its last word and waits for the end of the other side, for `_LINGER` seconds at most."""

    def __init__(self, loop: asyncio.AbstractEventLoop, closing: socket.socket) -> None:
        self._loop = loop
        self._socket = closing
        self._left = _LINGER_BYTES
        _lingering.add(self)
        loop.add_reader(closing, self._readable)
        self._timer = loop.call_later(_LINGER, self._close)

    def _readable(self) -> None:
        try:
            count = len(self._socket.recv(_READ))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        self._left -= count
        if not count or self._left < 0:
            self._timer.cancel()
            self._close()

    def _close(self) -> None:
        _lingering.discard(self)
        self._loop.remove_reader(self._socket)
        self._socket.close()


_lingering: set[_Lingering] = set()


async def last_words_heard() -> None:
    """Waits until the other ends have taken leave as well, half of `_LINGER` at most."""
    for _ in range(25):
        if not _lingering:
            return
        await asyncio.sleep(_LINGER / 50)
