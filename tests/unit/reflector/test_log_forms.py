"""The same proof for everything that a group may be told: several paths, labels, policies that look at prefixes.

And for what happens to a member of a group while it is up: it asks for everything again, or its policy is exchanged.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.reflector.log_fabric import (
    BLOCKS,
    LABELS,
    PATH_IDS,
    PREFIXES,
    RULES,
    Client,
    Fabric,
    Form,
    Rules,
    run,
    steps,
)

RING_BYTES = st.sampled_from([1, 200, 1 << 20])
FORMS = [Form(several=several, labels=labels) for several in (False, True) for labels in (False, True)]
SEVERAL = Form(several=True)


def names(form: Form) -> str:
    return f"{'several' if form.several else 'best'}{'-labels' if form.labels else ''}"


@pytest.mark.parametrize("form", FORMS, ids=names)
def test_every_client_ends_with_the_table_of_the_naive_reflector(form: Form) -> None:
    """Clients of three policies, of which one is by prefix, and which are exchanged at any time."""

    @settings(max_examples=1000)
    @given(steps(form, RULES, [None, 1, 2] if form.several else [None]), RING_BYTES)
    def holds(steps: list[tuple[Any, ...]], ring_bytes: int) -> None:
        fabric = Fabric(ring_bytes, form)
        for rules in RULES:
            fabric.join(rules)
        for step in steps:
            run(fabric, step)
        fabric.check()

    holds()


# Several paths (RFC 7911).


def three(form: Form = SEVERAL, limit: int | None = None) -> tuple[Fabric, Client, Client, Client]:
    fabric = Fabric(form=form)
    return fabric, fabric.join(limit=limit), fabric.join(limit=limit), fabric.join(limit=limit)


def test_paths_of_one_prefix_have_identifiers_of_their_own() -> None:
    """Also where two peers chose the same ones."""
    fabric, one, other, third = three()
    for client in (one, other):
        for path_id in PATH_IDS[:2]:
            fabric.announce(client, PREFIXES[:1], path_id=path_id)
    fabric.check()
    assert len(third.told) == 4


def test_a_path_that_changes_keeps_its_identifier() -> None:
    fabric, one, other, _ = three()
    fabric.announce(one, PREFIXES[:1], path_id=PATH_IDS[0])
    fabric.check()
    before = other.told
    fabric.announce(one, PREFIXES[:1], BLOCKS[1], path_id=PATH_IDS[0])
    fabric.publish()
    assert other.text.count(b"\n") == 1
    fabric.check()
    assert other.told.keys() == before.keys()


def test_of_several_paths_the_best_are_told() -> None:
    fabric, one, other, third = three(limit=1)
    fabric.announce(one, PREFIXES[:1], BLOCKS[0])
    fabric.announce(other, PREFIXES[:1], BLOCKS[1])
    fabric.check()
    assert [len(client.told) for client in (one, other, third)] == [1, 0, 1]


def test_no_path_of_a_client_comes_back_to_it() -> None:
    fabric, one, other, _ = three()
    for client in (one, other):
        fabric.announce(client, PREFIXES[:1], path_id=PATH_IDS[0])
    fabric.publish()
    assert [client.text.count(b"\n") for client in (one, other)] == [1, 1]


# Labels (RFC 8277): the NLRI is more than what tells routes apart.


def test_a_route_is_withdrawn_with_the_label_it_was_told_with() -> None:
    fabric = Fabric(form=Form(labels=True))
    one, other = fabric.join(), fabric.join()
    fabric.announce(one, PREFIXES[:1], label=LABELS[1])
    fabric.drain()
    fabric.withdraw(one, PREFIXES[:1])
    fabric.publish()
    assert other.text == b"-" + (LABELS[1] + PREFIXES[0]).hex().encode() + b"\n"


def test_another_label_is_another_route() -> None:
    fabric = Fabric(form=Form(labels=True))
    one, other = fabric.join(), fabric.join()
    for label in LABELS:
        fabric.announce(one, PREFIXES[:1], label=label)
        fabric.check()
        assert other.told[PREFIXES[0]].startswith(label.hex().encode())


# A policy is exchanged.

OTHER = Rules(marked=frozenset(PREFIXES[:1]))


def test_only_what_is_told_otherwise_is_told_again() -> None:
    fabric = Fabric()
    one, other = fabric.join(), fabric.join()
    fabric.announce(one, PREFIXES)
    fabric.drain()
    fabric.move(other, OTHER, None)
    assert other.text.count(b"\n") == 1
    fabric.move(other, RULES[1], None)
    fabric.drain()
    fabric.move(other, RULES[0], None)
    assert other.text == b""


def test_what_a_new_policy_hides_is_withdrawn() -> None:
    fabric = Fabric()
    one, other = fabric.join(), fabric.join()
    fabric.announce(one, PREFIXES, BLOCKS[1])
    fabric.drain()
    fabric.move(other, RULES[1], None)
    assert other.text.count(b"-") == len(PREFIXES)


def test_a_slow_member_is_told_what_went_away_while_it_slept() -> None:
    """And what its new policy says otherwise; but nothing of what is as it was."""
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    fabric.announce(one, PREFIXES)
    fabric.drain()
    for number in range(3):
        fabric.announce(one, PREFIXES[1:2], BLOCKS[number % 2])
        fabric.publish()
    fabric.withdraw(one, PREFIXES[1:2])
    fabric.publish()
    assert slow.cursor.lost
    fabric.move(slow, OTHER, None)
    assert slow.text.splitlines() == [
        b"-" + PREFIXES[1].hex().encode(),
        b"+" + PREFIXES[0].hex().encode() + b" 00000001 marked " + BLOCKS[0].text(),
    ]
    fabric.check()


def test_more_or_fewer_paths() -> None:
    """Another number of paths per prefix: what is told on top, and what is taken back, and nothing else."""
    fabric, one, other, third = three()
    fabric.announce(one, PREFIXES[:1], BLOCKS[0])
    fabric.announce(other, PREFIXES[:1], BLOCKS[1])
    fabric.drain()
    fabric.move(third, RULES[0], 1)
    assert third.text[:1] + third.text[-1:] == b"-\n"
    assert third.text.count(b"\n") == 1
    fabric.check()
    fabric.move(third, RULES[0], 2)
    assert third.text[:1] == b"+"
    assert third.text.count(b"\n") == 1
    fabric.check()


# A member asks for everything again.


def test_everything_is_told_again_between_the_borders() -> None:
    """So that what is not, is gone (RFC 7313); from the same bytes that joiners get."""
    fabric = Fabric()
    one, other = fabric.join(), fabric.join()
    fabric.announce(one, PREFIXES)
    fabric.drain()
    fabric.tell_again(other, borders=True)
    begin, whole, end = other.outbox.views()
    assert (bytes(begin), bytes(whole).count(b"\n"), bytes(end)) == (b"begin\n", len(PREFIXES), b"end\n")
    assert fabric.join().outbox.views()[0].obj is whole.obj
    fabric.check()


def test_who_has_lost_its_place_is_not_told_again_before_it_has_caught_up() -> None:
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    for number in range(3):
        fabric.announce(one, PREFIXES[:1], BLOCKS[number % 2])
        fabric.publish()
    assert slow.group.tell_again(slow.outbox, slow.cursor) is False
    assert slow.text == b""
