"""The log, the split horizon and the merge for slow readers, against the naive reflector of `log_fabric.py`.

Ours must leave every client with the table of the naive one, whatever is announced, withdrawn, dropped, joined or asked
for again, and however slowly anybody reads.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector.log.group import UpdateGroup
from reflector.log.outbox import Outbox
from tests.unit.reflector.log_fabric import BLOCKS, PREFIXES, RULES, Block, Client, Fabric, Form, run, steps

RING_BYTES = st.sampled_from([1, 200, 1 << 20])


@settings(max_examples=2000)
@given(steps(Form(), RULES[:1], [None]), RING_BYTES)
def test_every_client_ends_with_the_table_of_the_naive_reflector(steps: list[tuple[Any, ...]], ring_bytes: int) -> None:
    fabric = Fabric(ring_bytes)
    for _ in range(3):
        fabric.join()
    for step in steps:
        run(fabric, step)
    fabric.check()


def two() -> tuple[Fabric, Client, Client]:
    fabric = Fabric()
    return fabric, fabric.join(), fabric.join()


def test_nobody_is_sent_its_own_routes() -> None:
    fabric, one, other = two()
    fabric.announce(one, PREFIXES)
    fabric.publish()
    assert (one.outbox.views(), len(other.outbox.views())) == ([], 1)


def test_all_others_are_sent_the_very_same_bytes() -> None:
    fabric, one, other = two()
    third = fabric.join()
    fabric.announce(one, PREFIXES)
    fabric.publish()
    assert other.outbox.views()[0].obj is third.outbox.views()[0].obj


def test_who_lost_the_best_path_to_another_is_told_of_it_and_who_won_it_to_forget() -> None:
    """The few bytes that are not the same for all: `+` to the loser, `-` to the winner, and once each."""
    fabric, one, other = two()
    third = fabric.join()
    fabric.announce(one, PREFIXES[:1])
    fabric.drain()
    fabric.announce(other, PREFIXES[:1], BLOCKS[1])
    fabric.publish()
    assert [client.text[:1] for client in (one, other, third)] == [b"+", b"-", b"+"]
    assert [client.text.count(b"\n") for client in (one, other, third)] == [1, 1, 1]


def test_nobody_is_told_to_forget_what_it_was_never_told() -> None:
    """What the group's policy hides is no path that anybody lost."""
    fabric, one, other = two()
    third = fabric.join()
    hidden = BLOCKS[2]
    fabric.announce(one, PREFIXES[:2], hidden)
    fabric.publish()
    fabric.withdraw(one, PREFIXES[:1])
    fabric.publish()
    assert [client.text for client in (one, other, third)] == [b""] * 3
    fabric.withdraw(one, PREFIXES[1:2])
    fabric.announce(other, PREFIXES[1:2])
    fabric.publish()
    assert other.text == b""
    assert one.text == third.text != b""
    assert not third.text.startswith(b"-")


def test_a_change_back_before_the_batch_is_no_change() -> None:
    fabric, one, other = two()
    fabric.announce(one, PREFIXES[:1])
    fabric.drain()
    fabric.announce(one, PREFIXES[:1], BLOCKS[1])
    fabric.announce(one, PREFIXES[:1])
    fabric.publish()
    assert other.outbox.idle


def test_joiners_share_a_snapshot() -> None:
    fabric, one, _ = two()
    fabric.announce(one, PREFIXES)
    late = [fabric.join() for _ in range(3)]
    assert len({id(client.outbox.views()[0].obj) for client in late}) == 1


def test_a_snapshot_is_shared_while_the_table_changes_a_little() -> None:
    """Who joins after a change gets the old snapshot and the change, not the whole table once more."""
    fabric, one, _ = two()
    fabric.announce(one, PREFIXES)
    early = fabric.join()
    fabric.announce(one, PREFIXES[:1], BLOCKS[1])
    late = fabric.join()
    first, *behind = late.outbox.views()
    assert first.obj is early.outbox.views()[0].obj
    assert sum(bytes(view).count(b"\n") for view in behind) == 1
    fabric.check()


def test_a_snapshot_is_made_anew_when_its_log_is_longer_than_the_table() -> None:
    """Or who joins would be told a history, and not the table."""
    fabric, one, early = two()
    fabric.announce(one, PREFIXES[:1])
    fabric.join()
    sent = 0
    while sent <= 1 << 20:
        fabric.announce(one, PREFIXES[:1], Block(as_path_length=10**4000 + sent))
        fabric.publish()
        sent += len(early.text)
        early.outbox.wrote(len(early.text))
    late = fabric.join()
    assert late.text.count(b"\n") == 1


def test_who_asks_for_everything_again_is_not_led_through_what_was() -> None:
    """By what it has it forwards: what has moved must not go back for a moment, nor one that is gone return."""
    fabric, one, other = two()
    third = fabric.join()
    fabric.announce(one, PREFIXES[:3])
    fabric.drain()
    fabric.announce(one, PREFIXES[:1], BLOCKS[1])
    fabric.drain()
    fabric.withdraw(one, PREFIXES[1:2])
    fabric.drain()
    for client in (other, third):
        fabric.tell_again(client, borders=False)
    assert other.text.count(b"+") == 2
    assert b"-" not in other.text
    assert other.outbox.views()[0].obj is third.outbox.views()[0].obj, "who asks at once is told the same"


def test_a_slow_reader_is_told_the_present_and_not_the_past() -> None:
    """A hundred changes of one prefix cost a reader that slept through them one message."""
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    for number in range(100):
        fabric.announce(one, PREFIXES[:1], BLOCKS[number % 2])
        fabric.publish()
    assert slow.outbox.behind()
    fabric.catch_up(slow)
    assert slow.text.count(b"\n") == 1
    fabric.check()


def test_nobody_is_told_what_is_not_published() -> None:
    fabric, one, other = two()
    fabric.announce(one, PREFIXES[:1])
    group, elsewhere = fabric.group(RULES[0], None), fabric.group(RULES[1], None)
    with pytest.raises(ValueError, match="not published"):
        group.join(Outbox(), None)
    with pytest.raises(ValueError, match="not published"):
        group.catch_up(other.outbox, other.cursor)
    with pytest.raises(ValueError, match="not published"):
        group.tell_again(other.outbox, other.cursor)
    with pytest.raises(ValueError, match="not published"):
        elsewhere.take_over(other.outbox, other.cursor, group)


def test_an_own_message_goes_first_but_never_into_another() -> None:
    fabric, one, other = two()
    fabric.announce(one, PREFIXES)
    fabric.publish()
    (view,) = other.outbox.views()
    other.outbox.wrote(5)
    other.outbox.say(b"own\n")
    assert bytes(view[:5]) + other.text == bytes(view) + b"own\n"


def test_own_messages_keep_their_order() -> None:
    fabric, one, other = two()
    fabric.announce(one, PREFIXES[:1])
    fabric.publish()
    for message in (b"first\n", b"second\n", b"third\n"):
        other.outbox.say(message)
    assert other.text.startswith(b"first\nsecond\nthird\n+")


def test_no_more_pieces_than_asked_for() -> None:
    fabric, one, other = two()
    for key in PREFIXES:
        fabric.announce(one, [key])
        fabric.publish()
    assert [len(other.outbox.views(limit)) for limit in (1, 2, 4, 100)] == [1, 2, 4, 6]
    assert len(other.text.splitlines()) == 6


def test_the_end_of_a_session_leaves_nothing_but_the_rest_of_a_message() -> None:
    """What the socket took a part of is finished, or the NOTIFICATION behind it could not be read."""
    fabric, one, other = two()
    for key in PREFIXES:
        fabric.announce(one, [key])
        fabric.publish()
    whole = bytes(other.outbox.views()[0])
    other.outbox.wrote(5)
    other.outbox.clear()
    other.outbox.say(b"own\n")
    assert other.text == whole[5:] + b"own\n"
    one.outbox.say(b"lost\n")
    one.outbox.clear()
    assert one.outbox.idle


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_for_slow_readers_is_given_back(seed: int) -> None:
    """Once nobody is behind, nothing is remembered but the ring."""
    chance = random.Random(seed)
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    for _ in range(50):
        fabric.announce(one, [chance.choice(PREFIXES)], chance.choice(BLOCKS))
        fabric.publish()
    fabric.drain()
    fabric.announce(one, PREFIXES[:1], Block(local_pref=7))
    fabric.publish()
    assert slow.outbox.views()
    assert remembered(fabric.group(RULES[0], None)) == 1


def test_what_is_kept_for_a_slow_reader_is_bounded_by_the_table_and_the_ring() -> None:
    """However long it sleeps; and it is given back when the sleeper leaves."""
    fabric = Fabric(ring_bytes=500)
    one, slow = fabric.join(), fabric.join()
    for number in range(300):
        fabric.announce(one, PREFIXES, BLOCKS[number % 2])
        fabric.publish()
    group = fabric.group(RULES[0], None)
    assert remembered(group) == len(PREFIXES)
    assert len(group._log._ring) <= 4
    fabric.drop(slow)
    for number in range(20):
        fabric.announce(one, PREFIXES[:1], BLOCKS[number % 2])
        fabric.drain()
    assert not group._log._left


def remembered(group: UpdateGroup) -> int:
    """How many slots a log remembers for whoever has lost its place."""
    return len(group._log.changed_since(0))
