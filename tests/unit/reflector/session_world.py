"""Two neighbours in memory, and everything that a network can do to what they say to each other.

The world is the shell that a server would be: it dials when it is asked to, hands bytes over in any pieces, tells of
ends and resets, calls timers, and keeps the contract of `machine.py` and `neighbor.py` while it does so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from reflector.session.events import ConnectWanted, Event, SessionClosed, SessionUp
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.session.settings import SessionSettings
from reflector.session.states import State
from reflector.wire.errors import ErrorCode

_HONEST_ENDS = (ErrorCode.HOLD_TIMER_EXPIRED, ErrorCode.CEASE)


@dataclass(eq=False)
class Wire:
    """A TCP connection. By side: its session, what is on the way to it, whether it is open, what it will find out."""

    sessions: tuple[Session, Session]
    to: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    is_open: list[bool] = field(default_factory=lambda: [True, True])
    told_of_end: list[bool] = field(default_factory=lambda: [False, False])

    def send(self, side: int, data: bytes) -> None:
        if self.is_open[1 - side]:
            self.to[1 - side].extend(data)
        else:
            self.told_of_end[side] = True  # a reset answers what nobody reads

    def close(self, side: int, *, silently: bool = False) -> None:
        self.is_open[side] = False
        self.to[side].clear()
        if silently:
            self.to[1 - side].clear()
        else:
            self.told_of_end[1 - side] = True


class World:
    """Side 0 and side 1."""

    def __init__(self, settings: tuple[SessionSettings, SessionSettings], seed: int) -> None:
        random = Random(seed)
        self.now = 1000.0
        self.ends = tuple(Neighbor(each, random=random.random) for each in settings)
        self.seen: tuple[list[tuple[Session, Event]], ...] = ([], [])
        self.dials: dict[Session, int] = {}
        self.wires: list[Wire] = []
        for side in (0, 1):
            self.ends[side].start(self.now)
            self.service(side)

    # What may happen, in any order. Each takes any number and uses it to choose among what there is.

    def answer(self, number: int) -> None:
        """A dialing session gets its connection, or a refusal if the other end takes none."""
        if not self.dials:
            return
        dialer = list(self.dials)[number % len(self.dials)]
        side = self.dials.pop(dialer)
        taker = self.ends[1 - side].accept(self.now)
        if taker is None:
            dialer.connection_lost(self.now)
        else:
            self.wires.append(Wire((dialer, taker) if side == 0 else (taker, dialer)))
            dialer.connected(self.now, incoming=False)
        self.service(0)
        self.service(1)

    def refuse(self, number: int) -> None:
        """An attempt to connect fails."""
        if self.dials:
            dialer = list(self.dials)[number % len(self.dials)]
            side = self.dials.pop(dialer)
            dialer.connection_lost(self.now)
            self.service(side)

    def deliver(self, number: int) -> None:
        """One side reads some bytes of a connection, perhaps all, or finds out about its end."""
        self.wires = [wire for wire in self.wires if any(wire.is_open)]
        if self.wires:
            wire, side = self.wires[number // 2 % len(self.wires)], number % 2
            self.read(wire, side, 1 + number // 7 % 40 if number % 3 else 1 << 20)

    def drop(self, number: int) -> None:
        """A connection breaks: for both ends at once, or for one end, and the other learns it when it next sends."""
        if self.wires:
            wire, side = self.wires[number // 3 % len(self.wires)], number % 2
            if wire.is_open[side]:
                wire.close(side, silently=bool(number % 3))
                wire.sessions[side].connection_lost(self.now)
                self.service(side)

    def wait(self, number: int) -> None:
        """Time passes, a little or a lot, and the timers are looked at late."""
        self.tick((0.1, 1.0, 4.0, 11.0, 70.0, 300.0)[number % 6])

    def reset(self, number: int) -> None:
        """The operator of one side resets the session."""
        self.ends[number % 2].reset(self.now)
        self.service(number % 2)

    def stop(self, number: int) -> None:
        """The operator of one side stops it for some time."""
        self.ends[number % 2].stop(self.now, restart_after=20.0)
        self.service(number % 2)

    # The shell.

    def read(self, wire: Wire, side: int, size: int) -> bool:
        """Whether there was anything."""
        session = wire.sessions[side]
        if not wire.is_open[side]:
            return False
        data = bytes(wire.to[side][:size])
        del wire.to[side][:size]
        if data:
            session.receive(data, self.now)
        elif wire.told_of_end[side] and not wire.to[side]:
            wire.is_open[side] = False
            session.connection_lost(self.now)
        else:
            return False
        self.service(side)
        return True

    def exchange(self) -> bool:
        """Everything that is on the way arrives, and nothing that is sent meanwhile; whether there was anything."""
        under_way = [(wire, side, len(wire.to[side])) for wire in self.wires for side in (0, 1)]
        arrived = [self.read(*each) for each in under_way]
        return any(arrived)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for side in (0, 1):
            for session in self.ends[side].timer(self.now):
                wire = self.wire_of(session, side)
                while wire and self.read(wire, side, 1 << 20):
                    pass
                session.timer(self.now, serviced=True)
            self.service(side)

    def service(self, side: int) -> None:
        ended = self.ends[side].take_ended()
        for session in [*ended, *self.ends[side].sessions]:
            for event in session.events():
                self.seen[side].append((session, event))
                if isinstance(event, ConnectWanted):
                    self.dials[session] = side
            data, wire = session.data_to_send(), self.wire_of(session, side)
            if data and wire:
                wire.send(side, data)
                session.sent(self.now)
        for session in ended:
            self.dials.pop(session, None)
            wire = self.wire_of(session, side)
            if wire and wire.is_open[side]:
                wire.close(side)

    def wire_of(self, session: Session, side: int) -> Wire | None:
        return next((wire for wire in reversed(self.wires) if wire.sessions[side] is session), None)

    # What should be.

    def check(self) -> None:
        """What holds at every moment."""
        for side in (0, 1):
            neighbor = self.ends[side]
            established = [s for s in neighbor.sessions if s.state is State.ESTABLISHED]
            assert len(established) <= 1
            assert len(neighbor.sessions) <= 4
            assert bool(neighbor.sessions) is neighbor.running
            assert all(s.state is not State.IDLE for s in neighbor.sessions)
            self._check_events(side, established)

    def _check_events(self, side: int, established: list[Session]) -> None:
        """One session is up at a time, each comes up once and ends once, and ends before the next comes up."""
        up: Session | None = None
        over: set[Session] = set()
        for session, event in self.seen[side]:
            assert session not in over
            if isinstance(event, SessionUp):
                assert up is None
                up = session
            elif isinstance(event, SessionClosed):
                assert (event.state is State.ESTABLISHED) is (session is up)
                # Neither end ever finds fault with what the other says, or when.
                assert event.notification is None or event.notification.code in _HONEST_ENDS
                up = None if session is up else up
                over.add(session)
        assert established == ([up] if up else [])

    def settle(self) -> None:
        """Lets everything that is under way arrive, and time pass, until both ends agree."""
        for _ in range(3000):
            while self.dials or self.exchange():
                self.answer(0)
            self.check()
            if self.agree():
                return
            self.tick(max(0.0, min(end.deadline() for end in self.ends) - self.now))
        raise AssertionError(f"{[end.state for end in self.ends]} after 3000 rounds")

    def agree(self) -> bool:
        """Both ends have one session, over the same connection, and it is up."""
        left = [end.sessions for end in self.ends]
        return any(
            left == [[wire.sessions[0]], [wire.sessions[1]]]
            and all(session.state is State.ESTABLISHED for session in wire.sessions)
            and wire.is_open == [True, True]
            for wire in self.wires
        )
