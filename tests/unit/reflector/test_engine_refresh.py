"""Peers that ask for everything again (RFC 2918, 7313), fast and slow, and those that go while they wait."""

from __future__ import annotations

import pytest

from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from reflector.wire.route_refresh import BEGIN, END
from tests.unit.reflector.engine_world import BOTH, Lab, Path, Speaker, capabilities, ipv4, ipv6, peer_of
from tests.unit.reflector.policy_samples import keys

A, B, C = keys("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
SIX = bytes.fromhex("40fd00000000000001")
HOP = Path(ipv4(50))


def lab(*, borders: bool, ring_bytes: int | None = None) -> tuple[Lab, Speaker, Speaker]:
    """A peer that has announced a prefix of each family, and one that will ask."""
    made = Lab(ring_bytes=ring_bytes)
    both = capabilities(families=BOTH, borders=borders)
    peer, asker = made.speaker(peer_of(2), theirs=both), made.speaker(peer_of(9), theirs=both)
    peer.announce(HOP, [A, B])
    peer.announce(Path(ipv6(50)), [SIX], IPV6_UNICAST)
    made.settle()
    assert len(asker.told) == 3
    return made, peer, asker


def ask(made: Lab, asker: Speaker) -> None:
    assert asker.state is not None
    made.engine.refresh_requested(asker.state, IPV4_UNICAST)


@pytest.mark.parametrize("borders", [False, True])
def test_a_family_is_told_again(borders: bool) -> None:
    """And no other; between borders if both ends know them."""
    made, peer, asker = lab(borders=borders)
    asker.announce(HOP, [C])
    made.settle()
    asker.forget()
    ask(made, asker)
    assert made.engine.waiting
    made.settle()
    assert set(asker.told) == {(IPV4_UNICAST, A), (IPV4_UNICAST, B)}
    assert asker.borders == ([(IPV4_UNICAST, BEGIN), (IPV4_UNICAST, END)] if borders else [])
    assert (known(peer), peer.borders) == ({C}, [])


def test_what_is_not_between_the_borders_is_gone() -> None:
    """What the peer holds by mistake, it loses: that is what the borders are for."""
    made, _, asker = lab(borders=True)
    asker.told[IPV4_UNICAST, C] = HOP
    asker.nlri[IPV4_UNICAST, C] = C
    ask(made, asker)
    made.settle()
    assert known(asker) == {A, B, SIX}


@pytest.mark.parametrize("borders", [False, True])
def test_a_slow_peer_that_asks(borders: bool) -> None:
    """It has lost its place in the log: it is told what has gone since, too."""
    made, peer, asker = lab(borders=borders, ring_bytes=1)
    for med in range(5):
        peer.announce(HOP._replace(med=med), [B])
        made.engine.publish(0.0)
    peer.withdraw([A])
    made.engine.publish(0.0)
    assert asker.state is not None
    assert any(member.cursor.lost for member in asker.state.memberships.values())
    ask(made, asker)
    made.engine.publish(0.0)
    made.settle()
    assert known(asker) == {B, SIX}
    assert asker.told[IPV4_UNICAST, B].med == 4


def test_changes_that_come_with_the_request() -> None:
    made, peer, asker = lab(borders=True)
    asker.forget()
    peer.withdraw([A])
    ask(made, asker)
    peer.announce(HOP, [C])
    made.settle()
    assert known(asker) == {B, C}


def test_a_peer_that_asks_and_goes() -> None:
    made, _, asker = lab(borders=True)
    ask(made, asker)
    asker.down()
    made.settle()
    ask_of = asker.up(capabilities(families=(IPV6_UNICAST,)))
    made.engine.refresh_requested(ask_of, IPV4_UNICAST)
    made.settle()
    assert known(asker) == {SIX}
    assert asker.borders == []


def test_a_peer_that_asks_before_it_was_told_anything() -> None:
    """It gets the table once, with its End-of-RIB, and then what it asked for."""
    made, _, _ = lab(borders=True)
    late = made.speaker(peer_of(3), theirs=capabilities(families=BOTH))
    ask(made, late)
    made.settle()
    assert known(late) == {A, B, SIX}
    assert sorted(late.ends) == sorted(BOTH)
    assert late.borders == [(IPV4_UNICAST, BEGIN), (IPV4_UNICAST, END)]


def test_a_session_that_comes_and_goes_and_comes_before_anything_is_told() -> None:
    """One table, one End-of-RIB for each family."""
    made, peer, _ = lab(borders=True)
    late = made.speaker(peer_of(3), theirs=capabilities(families=BOTH))
    late.announce(HOP, [C])
    late.down()
    late.up(capabilities(families=BOTH))
    made.settle()
    assert known(late) == {A, B, SIX}
    assert sorted(late.ends) == sorted(BOTH)
    assert (C in known(peer)) is False


def known(speaker: Speaker) -> set[bytes]:
    return {key for _, key in speaker.told}
