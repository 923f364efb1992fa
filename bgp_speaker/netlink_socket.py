"""A plain rtnetlink socket: requests out, many to a send; refusals and dumps in.

The kernel works a send off before it returns, so the answers are there when they are read. Only the last
message of a send asks for an acknowledgement: the others are answered only when they are refused, which
names them by their sequence number. A socket belongs to the network namespace that it was opened in.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from types import TracebackType

from bgp_speaker.netlink_codec import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    NetlinkError,
    Request,
    messages,
    pack,
    parse_error,
)

_SOL_NETLINK = 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 10, 11, 12
_SO_RCVBUFFORCE = 33
_RECEIVE = 1 << 17  # no netlink message to us is longer
_PER_SEND = 500  # messages; 40 kB, while the send buffer takes 200 kB by default
_BUFFER = 8 << 20  # refusals of one send, one to a packet, with a wide margin
_DUMP_TRIES = 5


class DumpError(OSError):
    """The kernel refused a dump, or the table changed under each of several tries."""


class NetlinkSocket:
    """Synchronous requests. Raises OSError when the socket itself fails, never for a refused request."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        self._sequence = 0

    def close(self) -> None:
        """The kernel's side needs no farewell."""
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def execute(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        """Sends all, in order, refused ones notwithstanding; the refusals by index into `requests`."""
        refused: dict[int, NetlinkError] = {}
        for start in range(0, len(requests), _PER_SEND):
            for index, error in self._send(requests[start : start + _PER_SEND]).items():
                refused[start + index] = error
        return refused

    def dump(self, request: Request) -> list[Message]:
        """The answers to a dump that was not interrupted by changes. Raises DumpError."""
        for _ in range(_DUMP_TRIES):
            answers = list(self._dump_once(request))
            if not any(answer.flags & NLM_F_DUMP_INTR for answer in answers):
                return [answer for answer in answers if answer.type != NLMSG_DONE]
        raise DumpError("the kernel's table changes faster than it can be read")

    def _send(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        first, last = self._sequence + 1, self._sequence + len(requests)
        packed = [pack(r, sequence, ack=sequence == last) for sequence, r in enumerate(requests, first)]
        self._sequence = last
        self._socket.send(b"".join(packed))
        refused: dict[int, NetlinkError] = {}
        for answer in self._answers(first):
            error = parse_error(answer) if answer.type == NLMSG_ERROR else None
            if error:
                refused[answer.sequence - first] = error
            if answer.sequence == last:
                break
        return refused

    def _dump_once(self, request: Request) -> Iterator[Message]:
        self._sequence += 1
        self._socket.send(pack(request, self._sequence))
        for answer in self._answers(self._sequence):
            if answer.type in (NLMSG_DONE, NLMSG_ERROR):
                error = parse_error(answer)
                if error:
                    raise DumpError(error.errno, str(error))
            yield answer
            if answer.type == NLMSG_DONE:
                return

    def _answers(self, first: int) -> Iterator[Message]:
        """Messages as they come, without the rest of an exchange that was broken off."""
        while True:
            for message in messages(self._socket.recv(_RECEIVE)):
                if message.sequence >= first:
                    yield message
