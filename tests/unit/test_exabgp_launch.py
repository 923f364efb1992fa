"""What the launcher changes in ExaBGP: who wins when two connections meet, and what a busy port costs."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from exabgp.bgp.fsm import FSM
from exabgp.logger import log
from exabgp.reactor import listener, loop, peer

from bgp_speaker import exabgp_launch

LOWER, HIGHER = "10.0.0.9", "10.0.0.10"
TAKEN, REFUSED = "taken", True


class Peer:
    """As much of ExaBGP's Peer as is asked."""

    def __init__(
        self,
        state: int,
        local: str = LOWER,
        remote: str = HIGHER,
        *,
        passive: bool = False,
        gr: tuple[bool, bool] = (True, True),
    ) -> None:
        self.fsm = state
        received = SimpleNamespace(capabilities=SimpleNamespace(announced=lambda _: gr[1]))
        connection = SimpleNamespace(direction="incoming" if passive else "outgoing", local=local, peer=remote)
        self.proto: Any = SimpleNamespace(connection=connection, negotiated=SimpleNamespace(received_open=received))
        self.neighbor = {"passive": passive, "capability": {"graceful-restart": 120 if gr[0] else False}}
        self.resets: list[str] = []

    def _reset(self, reason: str) -> None:
        self.resets.append(reason)
        self.fsm = FSM.IDLE

    def handle_connection(self, connection: object) -> object:
        """ExaBGP's own: refuses when the session is up."""
        return "already established" if self.fsm == FSM.ESTABLISHED else TAKEN


@pytest.fixture
def _patched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patched(Peer):
        pass

    monkeypatch.setattr(peer, "Peer", Patched)
    exabgp_launch.settle_collisions()


def made(*arguments: Any, **options: Any) -> Any:
    return peer.Peer(*arguments, **options)


@pytest.mark.usefixtures("_patched")
@pytest.mark.parametrize("state", [FSM.CONNECT, FSM.OPENSENT])
def test_of_two_connections_that_of_the_higher_address_stays_at_both_ends(state: int) -> None:
    assert made(state, LOWER, HIGHER).handle_connection(None) == TAKEN
    assert made(state, HIGHER, LOWER).handle_connection(None) is REFUSED
    assert made(state, "fd00::9", "fd00::10").handle_connection(None) == TAKEN
    assert made(state, "fd00::10", "fd00::9").handle_connection(None) is REFUSED


@pytest.mark.usefixtures("_patched")
def test_what_we_did_not_open_is_no_collision() -> None:
    incoming = made(FSM.OPENSENT, HIGHER, LOWER)
    incoming.proto.connection.direction = "incoming"
    assert incoming.handle_connection(None) == TAKEN
    waiting = made(FSM.IDLE, HIGHER, LOWER)
    waiting.proto = None
    assert waiting.handle_connection(None) == TAKEN


@pytest.mark.usefixtures("_patched")
def test_a_peer_that_only_dials_and_dials_anew_has_lost_its_session() -> None:
    up = made(FSM.ESTABLISHED, passive=True)
    assert up.handle_connection(None) == TAKEN
    assert up.resets == ["the peer connected anew"]


@pytest.mark.usefixtures("_patched")
@pytest.mark.parametrize(
    "options", [{}, {"passive": True, "gr": (False, True)}, {"passive": True, "gr": (True, False)}]
)
def test_a_session_that_is_up_is_not_given_up_otherwise(options: dict[str, Any]) -> None:
    up = made(FSM.ESTABLISHED, **options)
    assert up.handle_connection(None) == "already established"
    assert up.resets == []


class Reactor:
    """Listens as `answers` say, one after the other."""

    answers: list[bool]
    tries = 0

    def _listen_for_neighbors(self) -> bool:
        self.tries += 1
        return self.answers.pop(0)


class Listener:
    """Has no connection to offer."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def incoming(self) -> bool:
        return False


def test_an_address_that_cannot_be_listened_on_is_tried_again_and_does_not_stop_exabgp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(loop, "Reactor", type("Patched", (Reactor,), {}))
    monkeypatch.setattr(listener, "Listener", type("Patched", (Listener,), {}))
    said: list[str] = []
    monkeypatch.setattr(log, "info", lambda line, _: said.append(line()))
    exabgp_launch.listen_again()
    reactor: Any = loop.Reactor()
    accepting: Any = listener.Listener(reactor)
    reactor.answers = [False, False, True, True]
    assert reactor._listen_for_neighbors() is True
    now += exabgp_launch.LISTEN_AGAIN - 0.1
    assert accepting.incoming() is False
    assert reactor.tries == 1
    now += 0.1
    accepting.incoming()
    accepting.incoming()
    assert (reactor.tries, said) == (2, [])
    now += exabgp_launch.LISTEN_AGAIN
    accepting.incoming()
    now += 10 * exabgp_launch.LISTEN_AGAIN
    accepting.incoming()
    assert (reactor.tries, said) == (3, ["listening on every address now"])


def test_where_the_names_are_missing_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((peer, "Peer"), (loop, "Reactor"), (listener, "Listener")):
        monkeypatch.delattr(module, name)
    for change in (
        exabgp_launch.settle_collisions,
        exabgp_launch.listen_again,
        exabgp_launch.listen_before_the_address_is_there,
    ):
        change()
    assert not hasattr(peer, "Peer")
