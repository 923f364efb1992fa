"""Which answers belong to which request: a scripted kernel in place of the real one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from bgp_speaker import netlink_codec as codec
from bgp_speaker.netlink_codec import Message, Request
from bgp_speaker.netlink_socket import DumpError, NetlinkSocket

Answer = Callable[[list[Message]], list[bytes]]
ROUTE = Request(codec.RTM_NEWROUTE, 0, bytes(12))
DUMP = Request(codec.RTM_GETROUTE, codec.NLM_F_DUMP, bytes(12))


class ScriptedSocket:
    """Answers each send with what the script says."""

    def __init__(self, script: Answer) -> None:
        self.script, self.queue, self.sends = script, list[bytes](), 0

    def send(self, data: bytes) -> None:
        self.sends += 1
        self.queue += self.script(list(codec.messages(data)))

    def recv(self, size: int) -> bytes:
        return self.queue.pop(0)

    def setsockopt(self, *_: int) -> None:
        """Whatever the option is."""

    bind = setsockopt

    def getsockname(self) -> tuple[int, int]:
        return 77, 0


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], tuple[NetlinkSocket, ScriptedSocket]]:
    def make(script: Answer) -> tuple[NetlinkSocket, ScriptedSocket]:
        inner = ScriptedSocket(script)
        monkeypatch.setattr(socket, "socket", lambda *_: inner)
        return NetlinkSocket(), inner

    return make


Scripted = Callable[[Answer], tuple[NetlinkSocket, ScriptedSocket]]


def _message(kind: int, sequence: int, body: bytes = b"", flags: int = 0) -> bytes:
    return codec.HEADER.pack(16 + len(body), kind, flags, sequence, 77) + body


def _verdict(sequence: int, errno: int = 0) -> bytes:
    body = struct.pack("=i", -errno) + codec.HEADER.pack(16, 0, 0, sequence, 0)
    return _message(codec.NLMSG_ERROR, sequence, body, codec.NLM_F_CAPPED)


def test_refusals_are_named_by_index_and_only_the_last_asks_for_an_answer(scripted: Scripted) -> None:
    def refuse_every_hundredth(sent: list[Message]) -> list[bytes]:
        assert [bool(m.flags & codec.NLM_F_ACK) for m in sent] == [False] * (len(sent) - 1) + [True]
        refused = [_verdict(m.sequence, 22) for m in sent if m.sequence % 100 == 0 and m is not sent[-1]]
        return [*refused, _verdict(sent[-1].sequence, 17 if sent[-1].sequence % 100 == 0 else 0)]

    netlink, inner = scripted(refuse_every_hundredth)
    refused = netlink.execute([ROUTE] * 1234)
    assert {index: error.errno for index, error in refused.items()} == {
        n - 1: 17 if n in (500, 1000) else 22 for n in range(100, 1234, 100)
    }
    assert inner.sends == 3
    assert netlink.port == 77


def test_nothing_to_do_sends_nothing(scripted: Scripted) -> None:
    netlink, inner = scripted(lambda sent: [])
    assert (netlink.execute([]), inner.sends) == ({}, 0)


def test_answers_to_an_exchange_that_was_broken_off_are_not_taken_for_ours(scripted: Scripted) -> None:
    netlink, inner = scripted(lambda sent: [_verdict(sent[-1].sequence)])
    netlink.execute([ROUTE] * 3)
    inner.queue.append(_verdict(2, 22) + _verdict(3))
    assert netlink.execute([ROUTE]) == {}
    assert inner.queue == []


def _dump_answers(sent: list[Message], flags: int) -> list[bytes]:
    sequence = sent[0].sequence
    routes = _message(codec.RTM_NEWROUTE, sequence, bytes(12), flags) * 2
    return [routes, _message(codec.NLMSG_DONE, sequence, bytes(4), flags)]


def test_interrupted_dump_is_asked_for_again(scripted: Scripted) -> None:
    interrupted = iter([codec.NLM_F_DUMP_INTR, codec.NLM_F_DUMP_INTR, 0])
    netlink, inner = scripted(lambda sent: _dump_answers(sent, next(interrupted)))
    assert [m.type for m in netlink.dump(DUMP)] == [codec.RTM_NEWROUTE] * 2
    assert inner.sends == 3


def test_dump_that_is_always_interrupted_gives_up(scripted: Scripted) -> None:
    netlink, _ = scripted(lambda sent: _dump_answers(sent, codec.NLM_F_DUMP_INTR))
    with pytest.raises(DumpError, match="faster"):
        netlink.dump(DUMP)


@pytest.mark.parametrize("kind", [codec.NLMSG_ERROR, codec.NLMSG_DONE])
def test_refused_dump_says_why(scripted: Scripted, kind: int) -> None:
    def refuse(sent: list[Message]) -> list[bytes]:
        body = struct.pack("=i", -2) + codec.HEADER.pack(16, 0, 0, 0, 0)
        return [_message(kind, sent[0].sequence, body, codec.NLM_F_CAPPED)]

    netlink, _ = scripted(refuse)
    with pytest.raises(DumpError, match="ENOENT") as caught:
        netlink.dump(DUMP)
    assert caught.value.errno == 2
