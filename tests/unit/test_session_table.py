"""The session table: up or down, since when and why, and what a row of the status says."""

from __future__ import annotations

from bgp_speaker.session_table import SessionTable
from peering.compile import plan
from peering.resources.observed import PeerStatus
from peering.session import Session
from tests.unit.samples import dual_tor

SESSIONS = plan(dual_tor()).speakers["node-1"].sessions
PEER = SESSIONS[0].peer_address


def row(
    table: SessionTable,
    session: Session = SESSIONS[0],
    *,
    omitted: str | None = None,
    received: int = 0,
    refused: int = 0,
    announced: int = 0,
    note: str = "",
) -> PeerStatus:
    why = {} if omitted is None else {session.name: omitted}
    peer = session.peer_address
    (found,) = table.status([session], why, {peer: received}, {peer: refused}, {peer: announced}, {session.name: note})
    return found


def test_a_session_that_nothing_was_heard_of_never_came_up() -> None:
    found = row(SessionTable(), announced=3)
    assert (found.session, found.peer, found.peer_address) == ("tor-1a-ipv4", "switch/tor-1a", PEER)
    assert (found.state, found.since, found.reason, found.announced) == ("Idle", 0.0, "never came up", 0)


def test_since_is_the_last_change_and_not_the_last_word() -> None:
    table = SessionTable()
    assert table.set_state(PEER, True, "", 100.0)
    assert not table.set_state(PEER, True, "", 200.0)
    assert (row(table).state, row(table).since, row(table).reason) == ("Established", 100.0, "")
    assert table.set_state(PEER, False, "hold timer expired", 300.0)
    assert not table.set_state(PEER, False, "connection refused", 400.0)
    assert (row(table).state, row(table).since, row(table).reason) == ("Idle", 300.0, "connection refused")


def test_the_first_word_is_news_only_when_it_is_up() -> None:
    assert not SessionTable().set_state(PEER, False, "not up yet", 1.0)
    assert SessionTable().set_state(PEER, True, "", 1.0)


def test_up_are_those_that_are_up_now() -> None:
    table = SessionTable()
    table.set_state("10.0.0.1", True, "", 1.0)
    table.set_state("10.0.0.2", False, "", 1.0)
    table.set_state("10.0.0.3", True, "", 1.0)
    assert table.up() == ["10.0.0.1", "10.0.0.3"]
    table.keep_only(["10.0.0.2", "10.0.0.3"])
    assert table.up() == ["10.0.0.3"]
    table.all_down("ExaBGP ended", 2.0)
    assert table.up() == []


def test_the_death_of_exabgp_ends_only_what_was_up() -> None:
    table = SessionTable()
    table.set_state(PEER, True, "", 1.0)
    table.all_down("ExaBGP ended", 5.0)
    table.all_down("ExaBGP ended", 9.0)
    assert (row(table).since, row(table).reason) == (5.0, "ExaBGP ended")


def test_accepted_is_what_was_received_without_what_was_refused() -> None:
    table = SessionTable()
    table.set_state(PEER, True, "", 1.0)
    found = row(table, received=10, refused=3, announced=2)
    assert (found.received, found.accepted, found.announced) == (10, 7, 2)


def test_routes_that_are_kept_for_a_restarting_peer_count_and_announcements_do_not() -> None:
    table = SessionTable()
    table.set_state(PEER, False, "closed", 1.0)
    found = row(table, received=10, announced=2)
    assert (found.state, found.received, found.announced) == ("Idle", 10, 0)


def test_a_session_that_was_left_out_has_nothing_of_the_one_with_its_address() -> None:
    table = SessionTable()
    table.set_state(PEER, True, "", 1.0)
    found = row(table, omitted="its password is not known", received=10, refused=1, announced=2)
    assert (found.state, found.reason) == ("Idle", "its password is not known")
    assert (found.received, found.accepted, found.announced) == (0, 0, 0)


def test_a_note_is_told_of_a_session_that_is_up_and_beside_why_one_is_down() -> None:
    table = SessionTable()
    table.set_state(PEER, True, "", 1.0)
    assert row(table, note="BGPFilter/x is missing").reason == "BGPFilter/x is missing"
    table.set_state(PEER, False, "closed", 2.0)
    assert row(table, note="BGPFilter/x is missing").reason == "closed; BGPFilter/x is missing"
    assert row(table, omitted="its password is not known", note="x").reason == "its password is not known"
