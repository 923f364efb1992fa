"""Routes that outlive their session (RFC 4724, 9494), and peers that come back as others than they were."""

from __future__ import annotations

from typing import Any

import pytest

from reflector.session.restart import Retention
from reflector.wire.capabilities import AddPath
from reflector.wire.communities import LLGR_STALE, NO_LLGR
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from tests.unit.reflector.engine_world import BOTH, Lab, Path, Speaker, capabilities, ipv4, ipv6, peer_of
from tests.unit.reflector.policy_samples import keys

A, B, C = keys("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
SIX = bytes.fromhex("40fd00000000000001")
HOP = Path(ipv4(50))
RESTARTS = capabilities(restart=120)
LASTS = capabilities(restart=120, stale=3600)
MINUTES = {IPV4_UNICAST: Retention(120, 0)}
LONG = {IPV4_UNICAST: Retention(120, 3600)}


def lab() -> tuple[Lab, Speaker, Speaker]:
    """A peer that has announced A and B and can restart, and one that watches."""
    made = Lab()
    peer, watcher = made.speaker(peer_of(2), theirs=LASTS), made.speaker(peer_of(9), theirs=LASTS)
    peer.announce(HOP, [A, B])
    peer.end_of_rib()
    made.settle()
    assert known(watcher) == {A, B}
    watcher.updates = 0
    return made, peer, watcher


def known(speaker: Speaker) -> set[bytes]:
    return {key for _, key in speaker.told}


def stale(speaker: Speaker) -> set[bytes]:
    """What it was told to be a last resort."""
    return {key for (_, key), path in speaker.told.items() if LLGR_STALE in path.communities}


# Graceful restart.


def test_routes_of_a_peer_that_restarts_stay_and_nobody_hears_of_it() -> None:
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    made.settle()
    assert (known(watcher), watcher.updates) == ({A, B}, 0)


def test_routes_of_a_peer_that_goes_are_gone_and_so_is_the_peer() -> None:
    made, peer, watcher = lab()
    peer.down()
    made.settle()
    assert known(watcher) == set()
    assert list(made.engine.peers) == [watcher.peer.address]


def test_they_stay_until_the_restart_time_is_over() -> None:
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    assert made.engine.deadline() == 130
    made.engine.timer(129.9)
    made.settle()
    assert known(watcher) == {A, B}
    made.wait(130)
    assert known(watcher) == set()
    assert list(made.engine.peers) == [watcher.peer.address]
    assert made.engine.deadline() == float("inf")


def test_what_a_peer_does_not_say_again_goes_with_its_end_of_rib() -> None:
    """And what it says again unchanged is told to nobody."""
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    made.settle()
    assert (known(watcher), watcher.updates) == ({A, B}, 0)
    peer.end_of_rib()
    made.settle()
    assert (known(watcher), watcher.updates) == ({A}, 1)


def test_what_a_peer_says_otherwise_is_told_once() -> None:
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP._replace(med=5), [A, B])
    peer.end_of_rib()
    made.settle()
    assert watcher.updates == 1
    assert {path.med for path in watcher.told.values()} == {5}


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(capabilities(restart=120, forwarding=False), id="forwarding state not kept"),
        pytest.param(capabilities(families=(IPV6_UNICAST,), restart=120), id="family not in the session"),
        pytest.param(capabilities(), id="no graceful restart any more"),
    ],
)
def test_what_the_peer_has_not_kept_goes_with_its_open(theirs: Any) -> None:
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(theirs, now=20)
    made.settle()
    assert known(watcher) == set()
    assert made.engine.deadline() == float("inf")


def test_a_peer_that_never_ends_its_rib_is_not_waited_for_forever() -> None:
    """Three hold times (of 90 s) after it came back."""
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    made.settle()
    assert made.engine.deadline() == 290
    made.wait(290)
    assert known(watcher) == {A}
    assert peer.state in made.engine.peers.values()


def test_the_restart_time_no_longer_runs_when_the_peer_is_back() -> None:
    made, peer, watcher = lab()
    peer.down({IPV4_UNICAST: Retention(1000, 0)}, now=10)
    peer.up(RESTARTS, now=20)
    assert made.engine.deadline() == 1010
    peer.end_of_rib()
    made.settle()
    assert known(watcher) == set()
    assert made.engine.deadline() == float("inf")


def test_an_end_of_rib_without_a_restart_takes_nothing_away() -> None:
    made, peer, watcher = lab()
    peer.end_of_rib()
    made.settle()
    assert known(watcher) == {A, B}


def test_a_second_restart_ends_what_was_stale_since_the_first() -> None:
    """RFC 4724, 4.2: it goes, or a peer that never finishes would keep it alive for ever."""
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    peer.down(MINUTES, now=30)
    made.settle()
    assert known(watcher) == {A}
    assert made.engine.deadline() == 150


def test_families_have_their_own_times() -> None:
    made = Lab()
    peer, watcher = (made.speaker(peer_of(n), theirs=capabilities(families=BOTH, restart=120)) for n in (2, 9))
    peer.announce(HOP, [A])
    peer.announce(Path(ipv6(50)), [SIX], IPV6_UNICAST)
    made.settle()
    peer.down({IPV4_UNICAST: Retention(10, 0), IPV6_UNICAST: Retention(20, 0)})
    made.wait(10)
    assert known(watcher) == {SIX}
    made.wait(20)
    assert known(watcher) == set()


# The peer comes back as another.


def test_a_peer_with_another_router_id_is_another_peer() -> None:
    """Nothing of what it said as the one it was stays, and the tie-breaks know its new name."""
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.router_id = ipv4(77)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    made.settle()
    assert {key: path.originator for (_, key), path in watcher.told.items()} == {A: ipv4(77)}


def test_a_peer_of_another_kind_is_another_peer() -> None:
    """A client becomes a non-client: what is told of it, and what it is told, is that of a non-client."""
    made, peer, _ = lab()
    other = made.speaker(peer_of(3, client=False))
    peer.down(MINUTES, now=10)
    peer.peer = peer_of(2, client=False)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    other.announce(HOP, [C])
    made.settle()
    assert (known(other), known(peer)) == (set(), set())


def test_a_peer_of_another_as_is_another_peer() -> None:
    """Its paths begin with its AS as it is now (RFC 4271, 6.3), and not as it was."""
    made = Lab()
    peer = made.speaker(peer_of(2, 0), 65001, capabilities(65001, restart=120))
    watcher = made.speaker(peer_of(9))
    peer.announce(Path(ipv4(50), (65001,)), [A])
    made.settle()
    peer.down(MINUTES, now=10)
    peer.asn = 65002
    peer.up(capabilities(65002, restart=120), now=20)
    made.settle()
    assert known(watcher) == set()
    peer.announce(Path(ipv4(50), (65002,)), [B])
    peer.announce(Path(ipv4(50), (65001,)), [C])
    made.settle()
    assert known(watcher) == {B}


def test_a_family_that_is_new_in_the_second_session() -> None:
    made, peer, watcher = lab()
    for speaker in (peer, watcher):
        speaker.down()
        speaker.up(capabilities(families=BOTH))
    peer.announce(HOP, [A])
    peer.announce(Path(ipv6(50)), [SIX], IPV6_UNICAST)
    made.settle()
    assert known(watcher) == {A, SIX}
    assert sorted(watcher.ends) == sorted(BOTH)


def test_a_family_that_is_not_in_the_second_session() -> None:
    """Its routes go even where they would have outlived the first."""
    made = Lab()
    peer, watcher = (made.speaker(peer_of(n), theirs=capabilities(families=BOTH, restart=120)) for n in (2, 9))
    peer.announce(HOP, [A])
    peer.announce(Path(ipv6(50)), [SIX], IPV6_UNICAST)
    made.settle()
    peer.down(dict.fromkeys(BOTH, Retention(120, 0)))
    peer.up(RESTARTS)
    made.settle()
    assert known(watcher) == {A}


@pytest.mark.parametrize("first", [True, False])
def test_path_identifiers_are_there_or_not_as_negotiated_each_time(first: bool) -> None:
    """What was said with them is not what is said without, so it does not outlive the session."""
    paths, plain = capabilities(add_path=AddPath.SEND, restart=120), RESTARTS
    made = Lab()
    peer, watcher = made.speaker(peer_of(2), theirs=paths if first else plain), made.speaker(peer_of(9))
    number = b"\0\0\0\7"
    peer.announce(HOP, [A, B], path_id=number if first else None)
    made.settle()
    assert known(watcher) == {A, B}
    peer.down(MINUTES)
    peer.up(plain if first else paths)
    peer.announce(HOP, [A], path_id=None if first else number)
    made.settle()
    assert known(watcher) == {A}
    peer.withdraw([A], path_id=None if first else number)
    made.settle()
    assert known(watcher) == set()


def test_path_identifiers_are_sent_or_not_as_negotiated_each_time() -> None:
    made, _, watcher = lab()
    watcher.down()
    watcher.up(capabilities(add_path=AddPath.RECEIVE))
    made.settle()
    assert {key[4:] for key in known(watcher)} == {A, B}
    watcher.down()
    watcher.up()
    made.settle()
    assert known(watcher) == {A, B}
    assert len(made.engine.groups) == 2


# Long-lived graceful restart (RFC 9494).


def test_after_the_restart_time_routes_are_a_last_resort() -> None:
    """4.2: they have the community LLGR_STALE; nothing else about them is another than it was."""
    made, peer, watcher = lab()
    before = dict(watcher.told)
    peer.down(LONG, now=10)
    assert made.engine.deadline() == 130
    made.wait(130)
    assert {key: path._replace(communities=()) for key, path in watcher.told.items()} == before
    assert stale(watcher) == {A, B}
    assert made.engine.deadline() == 3730


def test_who_does_not_know_long_lived_routes_is_not_told_of_them() -> None:
    """4.3."""
    made, peer, _ = lab()
    other = made.speaker(peer_of(8), theirs=RESTARTS)
    peer.down(LONG, now=10)
    made.settle()
    assert known(other) == {A, B}
    made.wait(130)
    assert known(other) == set()


def test_any_other_path_is_better_than_a_last_resort() -> None:
    """4.3: whatever its local preference."""
    made, peer, watcher = lab()
    other = made.speaker(peer_of(3))
    other.announce(HOP._replace(local_pref=1, as_path=(1, 2, 3)), [A])
    peer.down(LONG, now=10)
    made.settle()
    assert watcher.told[IPV4_UNICAST, A].as_path == ()
    made.wait(130)
    assert watcher.told[IPV4_UNICAST, A].as_path == (1, 2, 3)
    assert stale(watcher) == {B}


def test_a_route_that_must_not_live_long_goes() -> None:
    """4.2: NO_LLGR."""
    made, peer, watcher = lab()
    peer.announce(HOP._replace(communities=(NO_LLGR,)), [B])
    peer.down(LONG, now=10)
    made.wait(130)
    assert known(watcher) == {A}


def test_what_came_as_a_last_resort_is_marked_once() -> None:
    """From a reflector that keeps it for a client of its own."""
    made, peer, watcher = lab()
    peer.announce(HOP._replace(communities=(LLGR_STALE,)), [B])
    peer.down(LONG, now=10)
    made.wait(130)
    assert watcher.told[IPV4_UNICAST, B].communities == (LLGR_STALE,)


def test_a_last_resort_has_its_time_too() -> None:
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    made.wait(3729)
    assert known(watcher) == {A, B}
    made.wait(3730)
    assert known(watcher) == set()
    assert list(made.engine.peers) == [watcher.peer.address]


def test_without_a_restart_time_routes_are_a_last_resort_at_once() -> None:
    made, peer, watcher = lab()
    peer.down({IPV4_UNICAST: Retention(0, 3600)}, now=10)
    made.settle()
    assert stale(watcher) == {A, B}
    assert made.engine.deadline() == 3610


def test_a_last_resort_stays_until_the_end_of_rib_of_a_peer_that_kept_it() -> None:
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    peer.up(LASTS, now=140)
    peer.announce(HOP, [A])
    made.settle()
    assert (known(watcher), stale(watcher)) == ({A, B}, {B})
    peer.end_of_rib()
    made.settle()
    assert (known(watcher), stale(watcher)) == ({A}, set())


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(RESTARTS, id="no long-lived capability"),
        pytest.param(capabilities(restart=120, stale=3600, forwarding=False), id="forwarding state not kept"),
    ],
)
def test_a_last_resort_goes_with_the_open_of_a_peer_that_did_not_keep_it(theirs: Any) -> None:
    """4.2: also when the peer can restart gracefully otherwise."""
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    peer.up(theirs, now=140)
    made.settle()
    assert known(watcher) == set()


def test_a_peer_that_restarts_again_and_again_does_not_make_its_routes_live_longer() -> None:
    """4.2: what is stale stays, its time goes on until the peer has said everything; what came since is stale, too."""
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    for now in (140, 1000, 3000):
        peer.up(LASTS, now)
        peer.announce(HOP, [C])
        peer.down(LONG, now + 10)
        made.settle()
        assert stale(watcher) == {A, B, C}
        assert made.engine.deadline() == 3730
    made.wait(3730)
    assert known(watcher) == set()


def test_a_second_restart_within_the_restart_time_takes_nothing_away_from_who_may_live_long() -> None:
    """4.2; but the time in which the routes may be a last resort still ends when it would have."""
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    peer.up(LASTS, now=20)
    peer.announce(HOP, [A])
    peer.down(LONG, now=3700)
    made.settle()
    assert (known(watcher), stale(watcher)) == ({A, B}, set())
    assert made.engine.deadline() == 3730
    made.wait(3730)
    assert known(watcher) == set()


def test_time_that_ends_while_the_peer_says_its_routes_ends_when_it_goes_again() -> None:
    """4.2: then what it did not say goes at once, and what it said has its own time."""
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    peer.up(LASTS, now=3720)
    peer.announce(HOP, [A])
    made.wait(3900)
    assert known(watcher) == {A, B}
    peer.down(LONG, now=3900)
    made.settle()
    assert (known(watcher), stale(watcher)) == ({A}, set())
    assert made.engine.deadline() == 4020


def test_a_synchronized_session_begins_a_new_time() -> None:
    made, peer, watcher = lab()
    peer.down(LONG, now=10)
    made.wait(130)
    peer.up(LASTS, now=140)
    peer.announce(HOP, [A])
    peer.end_of_rib()
    peer.down(LONG, now=150)
    made.settle()
    assert (known(watcher), stale(watcher)) == ({A}, set())
    made.wait(270)
    assert stale(watcher) == {A}
    assert made.engine.deadline() == 3870


def test_paths_with_identifiers_become_a_last_resort_each() -> None:
    made = Lab()
    peer = made.speaker(peer_of(2), theirs=capabilities(add_path=AddPath.SEND, restart=120, stale=3600))
    watcher = made.speaker(peer_of(9), theirs=capabilities(add_path=AddPath.RECEIVE, restart=120, stale=3600))
    peer.announce(HOP, [A], path_id=b"\0\0\0\1")
    peer.announce(HOP._replace(med=5, communities=(NO_LLGR,)), [A], path_id=b"\0\0\0\2")
    made.settle()
    assert len(watcher.told) == 2
    peer.down(LONG)
    made.wait(120)
    assert [path.med for path in watcher.told.values()] == [None]
    assert len(stale(watcher)) == 1


# A refresh by the peer (RFC 7313, 4).


def test_what_is_not_said_again_between_the_borders_goes() -> None:
    made, peer, watcher = lab()
    assert peer.state is not None
    made.engine.refresh_begins(peer.state, IPV4_UNICAST)
    peer.announce(HOP, [A, C])
    made.settle()
    assert known(watcher) == {A, B, C}
    made.engine.refresh_ends(peer.state, IPV4_UNICAST)
    made.settle()
    assert (known(watcher), watcher.updates) == ({A, C}, 2)


def test_what_is_withdrawn_between_the_borders_is_gone_at_once() -> None:
    made, peer, watcher = lab()
    assert peer.state is not None
    made.engine.refresh_begins(peer.state, IPV4_UNICAST)
    peer.withdraw([A])
    made.settle()
    assert known(watcher) == {B}
    made.engine.refresh_ends(peer.state, IPV4_UNICAST)
    made.settle()
    assert known(watcher) == set()


def test_an_end_without_a_beginning_takes_nothing_away() -> None:
    made, peer, watcher = lab()
    assert peer.state is not None
    made.engine.refresh_ends(peer.state, IPV4_UNICAST)
    made.engine.refresh_begins(peer.state, IPV6_UNICAST)
    made.engine.refresh_ends(peer.state, IPV6_UNICAST)
    made.settle()
    assert known(watcher) == {A, B}


def test_borders_before_the_end_of_rib_are_not_heeded() -> None:
    """Of a peer that can restart; what is stale since its restart waits for the End-of-RIB."""
    made, peer, watcher = lab()
    peer.down(MINUTES, now=10)
    peer.up(RESTARTS, now=20)
    peer.announce(HOP, [A])
    assert peer.state is not None
    made.engine.refresh_begins(peer.state, IPV4_UNICAST)
    made.engine.refresh_ends(peer.state, IPV4_UNICAST)
    made.settle()
    assert known(watcher) == {A, B}
    made.engine.refresh_begins(peer.state, IPV4_UNICAST)
    peer.end_of_rib()
    made.settle()
    assert known(watcher) == {A}


def test_a_session_that_is_lost_between_the_borders_leaves_everything() -> None:
    made, peer, watcher = lab()
    assert peer.state is not None
    made.engine.refresh_begins(peer.state, IPV4_UNICAST)
    peer.announce(HOP, [A])
    peer.down(MINUTES, now=10)
    made.settle()
    assert known(watcher) == {A, B}
