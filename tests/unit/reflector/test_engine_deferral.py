"""After a restart of our own nothing is told before the peers have said what they know (RFC 4724, 4.1)."""

from __future__ import annotations

from reflector.engine.deferral import LONGEST, QUIET
from reflector.wire.families import IPV4_UNICAST
from tests.unit.reflector.engine_world import BOTH, Lab, Path, Speaker, capabilities, ipv4, peer_of
from tests.unit.reflector.policy_samples import keys

A, B = keys("10.0.0.0/24", "10.0.1.0/24")
HOP = Path(ipv4(50))
RESTARTS = capabilities(restart=120)
ONE, TWO = peer_of(2), peer_of(3)


def lab() -> tuple[Lab, Speaker]:
    """A reflector that has restarted, with two named peers, of which one has come back."""
    made = Lab(ONE, TWO, restarting=True)
    one = made.speaker(ONE, theirs=RESTARTS)
    one.announce(HOP, [A])
    one.end_of_rib()
    return made, one


def tell(made: Lab, now: float) -> None:
    made.now = now
    made.engine.publish(now)
    for speaker in made.speakers:
        speaker.take()


def test_nothing_is_told_before_everybody_is_back_and_has_said_everything() -> None:
    made, one = lab()
    tell(made, 10)
    assert one.ends == []
    made.now = 11
    two = made.speaker(TWO, theirs=RESTARTS)
    two.announce(HOP, [B])
    tell(made, 11 + QUIET)
    assert (one.told, one.ends, two.ends) == ({}, [], [])
    two.end_of_rib()
    tell(made, 12 + QUIET)
    assert (set(one.told), one.ends) == ({(IPV4_UNICAST, B)}, [IPV4_UNICAST])
    assert (set(two.told), two.ends) == ({(IPV4_UNICAST, A)}, [IPV4_UNICAST])


def test_the_user_knows_that_it_has_to_ask_again() -> None:
    made, one = lab()
    assert made.engine.publish(0.0) is None
    assert made.engine.waiting
    assert one.state is not None
    assert one.state.outbox.idle


def test_every_family_of_a_peer_is_waited_for() -> None:
    made = Lab(ONE, restarting=True)
    one = made.speaker(ONE, theirs=capabilities(families=BOTH, restart=120))
    one.end_of_rib(BOTH[0])
    tell(made, 2 * QUIET)
    assert one.ends == []
    one.end_of_rib(BOTH[1])
    tell(made, 3 * QUIET)
    assert sorted(one.ends) == sorted(BOTH)


def test_somebody_who_just_came_in_may_not_be_the_last() -> None:
    """Dynamic neighbours stand in no list: a moment without a new one is the sign."""
    made, one = lab()
    made.now = 8
    two = made.speaker(TWO, theirs=RESTARTS)
    two.end_of_rib()
    tell(made, 8 + QUIET - 0.1)
    assert one.ends == []
    tell(made, 8 + QUIET)
    assert one.ends == [IPV4_UNICAST]


def test_who_was_up_before_is_waited_for_and_stands_in_no_list() -> None:
    made = Lab(ONE, restarting=True, were_up=[ONE.address, TWO.address])
    one = made.speaker(ONE, theirs=RESTARTS)
    one.end_of_rib()
    tell(made, 2 * QUIET)
    assert one.ends == []
    two = made.speaker(TWO, theirs=RESTARTS)
    two.end_of_rib()
    tell(made, 4 * QUIET)
    assert one.ends == two.ends == [IPV4_UNICAST]


def test_who_was_up_before_and_does_not_come_back_is_not_waited_for_longer_than_others() -> None:
    made = Lab(ONE, restarting=True, were_up=[TWO.address])
    one = made.speaker(ONE, theirs=RESTARTS)
    one.end_of_rib()
    tell(made, LONGEST - 1)
    assert one.ends == []
    tell(made, 2 * LONGEST)
    assert one.ends == [IPV4_UNICAST]


def test_a_peer_that_cannot_mark_its_end_is_not_waited_for() -> None:
    made, one = lab()
    made.speaker(TWO, theirs=capabilities())
    tell(made, QUIET)
    assert one.ends == [IPV4_UNICAST]


def test_a_peer_that_restarts_itself_is_not_waited_for() -> None:
    """RFC 4724, 4.1: the R bit; it waits for us."""
    made, one = lab()
    made.speaker(TWO, theirs=capabilities(restart=120, restarting=True))
    tell(made, QUIET)
    assert one.ends == [IPV4_UNICAST]


def test_a_peer_that_goes_again_is_waited_for_again() -> None:
    made, one = lab()
    two = made.speaker(TWO, theirs=RESTARTS)
    two.end_of_rib()
    two.down()
    tell(made, QUIET)
    assert one.ends == []


def test_who_does_not_come_back_is_not_waited_for_for_ever() -> None:
    made, one = lab()
    tell(made, 0)
    tell(made, LONGEST - 0.1)
    assert one.ends == []
    tell(made, LONGEST)
    assert one.ends == [IPV4_UNICAST]


def test_without_named_peers_somebody_has_to_be_there() -> None:
    made = Lab(restarting=True)
    tell(made, QUIET)
    made.now = 2 * QUIET
    one = made.speaker(ONE, theirs=RESTARTS)
    one.announce(HOP, [A])
    one.end_of_rib()
    tell(made, 2 * QUIET)
    assert one.ends == []
    tell(made, 3 * QUIET)
    assert one.ends == [IPV4_UNICAST]


def test_it_is_over_once_and_for_all() -> None:
    made, one = lab()
    tell(made, 0)
    tell(made, LONGEST)
    late = made.speaker(TWO, theirs=RESTARTS)
    tell(made, LONGEST)
    assert (set(late.told), late.ends, one.ends) == ({(IPV4_UNICAST, A)}, [IPV4_UNICAST], [IPV4_UNICAST])


def test_who_has_not_restarted_waits_for_nobody() -> None:
    made = Lab(ONE, TWO)
    one = made.speaker(ONE, theirs=RESTARTS)
    tell(made, 0)
    assert one.ends == [IPV4_UNICAST]
