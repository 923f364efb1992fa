"""Who may announce what: refused or only reported, and conditions that begin and end once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peering.prefixes import pack_prefix
from reflector.configuration import Owners, OwnershipMode
from reflector.session.restart import Retention
from reflector.wire.capabilities import AddPath
from reflector.wire.families import IPV4_UNICAST
from tests.unit.reflector.engine_world import Lab, Path, Speaker, capabilities, ipv4, peer_of
from tests.unit.reflector.policy_samples import wire

BLOCK, OTHER, SHARED, NOBODYS = "10.0.0.0/24", "10.0.1.0/24", "10.96.0.0/16", "172.16.0.0/12"
HOP = Path(ipv4(50))
A, B, C = (peer_of(number, owner=f"node/{name}") for number, name in ((2, "a"), (3, "b"), (4, "c")))
ALIVE = {IPV4_UNICAST: Retention(120, 0)}


def owners(**by_prefix: str) -> Owners:
    """`owners(block="a b", other="b")`: who owns what; SHARED is shared."""
    places = {"block": BLOCK, "other": OTHER}
    named = {
        pack_prefix(places[key]): frozenset(f"node/{n}" for n in names.split()) for key, names in by_prefix.items()
    }
    return Owners(named, frozenset({pack_prefix(SHARED)}))


OWNED = owners(block="a", other="b")


def lab(mode: OwnershipMode, owned: Owners = OWNED) -> tuple[Lab, Speaker, Speaker, Speaker]:
    made = Lab(ownership=mode, owners=owned)
    one, two, three = (made.speaker(peer, theirs=capabilities(restart=120)) for peer in (A, B, C))
    return made, one, two, three


def say(speaker: Speaker, *prefixes: str) -> None:
    speaker.announce(HOP, [wire(prefix) for prefix in prefixes])


def known(speaker: Speaker) -> set[bytes]:
    return {key for _, key in speaker.told}


def conditions(made: Lab) -> list[str]:
    """What was said of blocks, in order."""
    return [name for name, _ in made.events]


# Who is judged.


def test_a_client_that_passes_on_routes_of_others_is_not_judged() -> None:
    """A reflector below this one has no owner's name: its blocks are those of its own clients."""
    made, one, two, _ = lab("enforce")
    below = made.speaker(replace(peer_of(9), owner=""))
    say(below, BLOCK, NOBODYS)
    made.settle()
    assert {wire(BLOCK), wire(NOBODYS)} <= known(one)
    assert conditions(made) == []
    made.configure(A, B, C, peer_of(9, owner="node/d"), ownership="enforce", owners=OWNED)
    made.settle()
    assert known(two) == set(), "an owner's name makes it a client like the others"
    assert conditions(made).count("foreign-block") == 2


# Modes.


def test_in_mode_off_nothing_is_asked() -> None:
    made, one, two, three = lab("off")
    say(one, BLOCK)
    say(two, BLOCK, NOBODYS)
    made.settle()
    assert made.events == []
    assert known(three) == {wire(BLOCK), wire(NOBODYS)}


def test_in_mode_report_everything_is_told_and_what_is_foreign_is_said() -> None:
    made, _, two, three = lab("report")
    say(two, OTHER, BLOCK, NOBODYS)
    made.settle()
    assert known(three) == {wire(OTHER), wire(BLOCK), wire(NOBODYS)}
    fields = {"client": "192.0.2.3", "mode": "report"}
    assert conditions(made) == ["foreign-block", "foreign-block"]
    assert sorted(made.said("foreign-block"), key=str) == [
        {"prefix": BLOCK, "owners": ["node/a"], **fields},
        {"prefix": NOBODYS, "owners": [], **fields},
    ]
    assert made.engine.claims.refusals == 0


def test_in_mode_enforce_what_is_foreign_is_told_to_nobody() -> None:
    made, _, two, three = lab("enforce")
    say(two, OTHER, BLOCK)
    made.settle()
    assert known(three) == {wire(OTHER)}
    assert made.engine.claims.refusals == 1
    assert two.state is not None
    assert [row.why.code for row in two.state.families[IPV4_UNICAST].refused.values()] == ["foreign-block"]


@pytest.mark.parametrize("mode", ["report", "enforce"])
def test_a_condition_is_said_once_however_often_the_route_comes(mode: OwnershipMode) -> None:
    made, _, two, _ = lab(mode)
    for med in range(3):
        two.announce(HOP._replace(med=med), [wire(BLOCK)])
        made.settle()
    two.withdraw([wire(BLOCK)])
    two.withdraw([wire(BLOCK)])
    made.settle()
    assert conditions(made) == ["foreign-block", "foreign-block-over"]
    assert made.engine.claims.refusals == (mode == "enforce")


@pytest.mark.parametrize("kept", [False, True])
def test_a_condition_ends_when_the_routes_of_a_client_end(kept: bool) -> None:
    """Not with its session, if its routes outlive that."""
    made, _, two, _ = lab("enforce")
    say(two, BLOCK)
    two.down(ALIVE if kept else {})
    made.settle()
    assert conditions(made) == ["foreign-block"] + ["foreign-block-over"] * (not kept)
    made.wait(120)
    assert conditions(made) == ["foreign-block", "foreign-block-over"]
    assert made.engine.claims.foreign == {}


def test_a_service_address_may_have_many_announcers() -> None:
    made, one, two, three = lab("enforce")
    say(one, SHARED, "10.96.7.7/32")
    say(two, SHARED, "10.96.7.7/32")
    made.settle()
    assert made.events == []
    assert known(three) == {wire(SHARED), wire("10.96.7.7/32")}


def test_only_clients_are_asked() -> None:
    """Non-clients bring the routes of other reflectors, eBGP peers those of other ASes."""
    made, *_, three = lab("enforce")
    other = made.speaker(peer_of(7, client=False))
    outside = made.speaker(peer_of(8, 65001), 65001)
    say(other, BLOCK)
    outside.announce(Path(ipv4(50), (65001,)), [wire(OTHER)])
    made.settle()
    assert known(three) == {wire(BLOCK), wire(OTHER)}
    assert made.events == []


def test_one_path_of_a_foreign_block_keeps_the_condition() -> None:
    """Of a client that sends several: it announces the block as long as it sends one of them."""
    made = Lab(ownership="enforce", owners=OWNED)
    one = made.speaker(A)
    two = made.speaker(B, theirs=capabilities(add_path=AddPath.SEND))
    first, second = b"\0\0\0\1", b"\0\0\0\2"
    say(one, BLOCK)
    for path_id in (first, second):
        two.announce(HOP, [wire(BLOCK)], path_id=path_id)
    two.withdraw([wire(BLOCK)], path_id=first)
    made.settle()
    assert conditions(made) == ["foreign-block", "duplicate-announcer"]
    two.withdraw([wire(BLOCK)], path_id=second)
    made.settle()
    assert Counter(conditions(made)) == Counter(
        ["foreign-block", "duplicate-announcer", "foreign-block-over", "duplicate-announcer-over"]
    )


# Two announcers of one block.


@pytest.mark.parametrize("mode", ["report", "enforce"])
def test_a_second_announcer_is_said(mode: OwnershipMode) -> None:
    """Also where nothing changes in any table, since the second one is refused."""
    made, one, two, _ = lab(mode)
    say(one, BLOCK)
    made.settle()
    say(two, BLOCK)
    assert made.engine.waiting
    made.settle()
    expected = {"prefix": BLOCK, "owners": ["node/a"], "clients": ["192.0.2.2", "192.0.2.3"]}
    assert made.said("duplicate-announcer") == [expected]
    assert made.engine.claims.duplicates == {(IPV4_UNICAST, wire(BLOCK)): ("192.0.2.2", "192.0.2.3")}


@pytest.mark.parametrize("mode", ["report", "enforce"])
@pytest.mark.parametrize("how", ["owner withdraws", "owner goes", "other withdraws", "other goes"])
def test_a_second_announcer_ends_when_one_of_the_two_does(mode: OwnershipMode, how: str) -> None:
    made, one, two, _ = lab(mode)
    say(two, BLOCK)
    say(one, BLOCK)
    made.settle()
    gone = one if how.startswith("owner") else two
    if how.endswith("goes"):
        gone.down()
    else:
        gone.withdraw([wire(BLOCK)])
    made.settle()
    assert made.engine.claims.duplicates == {}
    counted = Counter(conditions(made))
    assert (counted["duplicate-announcer"], counted["duplicate-announcer-over"]) == (1, 1)


def test_two_that_do_not_own_a_block_are_two_announcers_of_it() -> None:
    made, _, two, three = lab("enforce")
    say(two, BLOCK)
    say(three, BLOCK)
    made.settle()
    assert made.engine.claims.duplicates == {(IPV4_UNICAST, wire(BLOCK)): ("192.0.2.3", "192.0.2.4")}


def test_a_third_announcer_is_no_other_condition() -> None:
    made, one, two, three = lab("report")
    for speaker in (one, two, three):
        say(speaker, BLOCK)
        made.settle()
    two.withdraw([wire(BLOCK)])
    made.settle()
    assert made.engine.claims.duplicates == {(IPV4_UNICAST, wire(BLOCK)): ("192.0.2.2", "192.0.2.4")}
    assert Counter(conditions(made)) == Counter({"foreign-block": 2, "duplicate-announcer": 1, "foreign-block-over": 1})


def test_two_owners_of_a_block_are_meant_to_be() -> None:
    """Before a third one comes, and when it is gone."""
    made, one, two, three = lab("report", owners(block="a b"))
    say(one, BLOCK)
    say(two, BLOCK)
    made.settle()
    assert made.events == []
    say(three, BLOCK)
    made.settle()
    three.withdraw([wire(BLOCK)])
    made.settle()
    assert made.engine.claims.duplicates == {}
    assert made.said("duplicate-announcer-over") == [{"prefix": BLOCK, "owners": ["node/a", "node/b"]}]


def test_what_nobody_owns_has_no_second_announcer() -> None:
    made, one, two, _ = lab("report")
    say(one, NOBODYS)
    say(two, NOBODYS)
    made.settle()
    assert conditions(made) == ["foreign-block", "foreign-block"]


# Other owners, other modes.


def test_another_mode_takes_effect_in_place() -> None:
    """What is foreign goes, or comes back; it is foreign all the time, so nothing begins or ends."""
    made, _, two, three = lab("report")
    say(two, BLOCK)
    made.settle()
    made.configure(ownership="enforce")
    assert known(three) == set()
    assert made.engine.claims.refusals == 1
    made.configure(ownership="report")
    assert known(three) == {wire(BLOCK)}
    assert conditions(made) == ["foreign-block"]


def test_in_mode_off_all_conditions_end() -> None:
    made, one, two, three = lab("enforce")
    say(one, BLOCK)
    say(two, BLOCK, NOBODYS)
    made.settle()
    made.configure(ownership="off")
    assert known(three) == {wire(BLOCK), wire(NOBODYS)}
    assert (made.engine.claims.foreign, made.engine.claims.duplicates) == ({}, {})
    assert Counter(conditions(made)) == Counter(
        {"foreign-block": 2, "duplicate-announcer": 1, "foreign-block-over": 2, "duplicate-announcer-over": 1}
    )


def test_a_block_that_moves_takes_its_condition_along() -> None:
    """The owner is another now: the old one's route goes, the new one's comes, without a word from either."""
    made, one, two, three = lab("enforce")
    say(one, BLOCK)
    two.announce(HOP._replace(med=7), [wire(BLOCK)])
    made.settle()
    assert three.told[IPV4_UNICAST, wire(BLOCK)].med is None
    made.events.clear()
    made.configure(owners=owners(block="b", other="b"))
    assert three.told[IPV4_UNICAST, wire(BLOCK)].med == 7
    assert [(name, fields["client"]) for name, fields in made.events] == [
        ("foreign-block", "192.0.2.2"),
        ("foreign-block-over", "192.0.2.3"),
    ]
    assert list(made.engine.claims.duplicates.values()) == [("192.0.2.2", "192.0.2.3")]


def test_a_client_under_another_name_is_judged_by_it() -> None:
    """Also by what it said under the old one, if that outlives its session."""
    made, _, two, _ = lab("enforce")
    say(two, OTHER)
    two.down(ALIVE)
    two.peer = peer_of(3, owner="node/c")
    made.configure(two.peer)
    assert made.said("foreign-block") == [
        {"prefix": OTHER, "owners": ["node/b"], "client": "192.0.2.3", "mode": "enforce"}
    ]
    two.up(capabilities(restart=120))
    two.peer = B
    two.down(ALIVE)
    two.up(capabilities(restart=120))
    assert conditions(made) == ["foreign-block", "foreign-block-over"]


# Anything, in any order.

PREFIXES = [BLOCK, OTHER, NOBODYS]
SITUATIONS: list[tuple[OwnershipMode, Owners]] = [
    (mode, owned)
    for mode in ("off", "report", "enforce")
    for owned in (OWNED, owners(block="a b"), owners(block="b", other="c"))
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2), st.sets(st.sampled_from(PREFIXES), min_size=1)),
        st.tuples(st.just("withdraw"), st.integers(0, 2), st.sets(st.sampled_from(PREFIXES), min_size=1)),
        st.tuples(st.just("flap"), st.integers(0, 2)),
        st.tuples(st.just("configure"), st.sampled_from(SITUATIONS)),
        st.just(("settle",)),
    ),
    max_size=20,
)
NAMES = ("a", "b", "c")


class Bookkeeper:
    """What is said by whom, and so what is foreign, and what has two announcers."""

    def __init__(self, situation: tuple[OwnershipMode, Owners]) -> None:
        self.situation = situation
        self.said: tuple[set[str], ...] = (set(), set(), set())

    def foreign(self) -> set[tuple[str, int]]:
        mode, owned = self.situation
        if mode == "off":
            return set()
        return {
            (prefix, who)
            for who, said in enumerate(self.said)
            for prefix in said
            if f"node/{NAMES[who]}" not in owned.by_prefix.get(pack_prefix(prefix), ())
        }

    def duplicates(self) -> dict[str, list[str]]:
        foreign = self.foreign()
        found = {}
        for prefix in PREFIXES:
            who = [number for number, said in enumerate(self.said) if prefix in said]
            owned = pack_prefix(prefix) in self.situation[1].by_prefix
            if owned and len(who) > 1 and any((prefix, number) in foreign for number in who):
                found[prefix] = [f"192.0.2.{number + 2}" for number in who]
        return found

    def told(self, who: int) -> set[bytes]:
        """What a client knows: what others say that is not refused."""
        refused = self.foreign() if self.situation[0] == "enforce" else set()
        winners = {}
        for prefix in PREFIXES:
            usable = [n for n, said in enumerate(self.said) if prefix in said and (prefix, n) not in refused]
            if usable:
                winners[prefix] = min(usable)
        return {wire(prefix) for prefix, winner in winners.items() if winner != who}


def open_conditions(made: Lab, begin: str, of: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
    """What began and is not over; each begins and ends in turns."""
    state: Counter[tuple[Any, ...]] = Counter()
    for name, fields in made.events:
        step: Mapping[str, Literal[1, -1]] = {begin: 1, f"{begin}-over": -1}
        if name in step:
            about = tuple(fields[key] for key in of)
            state[about] += step[name]
            assert state[about] in (0, 1), (name, about)
    return +state


@settings(max_examples=1000)
@given(st.sampled_from(SITUATIONS), STEPS)
def test_conditions_begin_and_end_once_each(situation: tuple[OwnershipMode, Owners], steps: list[Any]) -> None:
    made, *speakers = lab(*situation)
    book = Bookkeeper(situation)
    for what, *rest in [*steps, ("settle",)]:
        if what == "settle":
            made.settle()
        elif what == "configure":
            (book.situation,) = rest
            made.configure(ownership=book.situation[0], owners=book.situation[1])
        elif what == "flap":
            made.speakers[rest[0]].down()
            made.speakers[rest[0]].up(capabilities(restart=120))
            book.said[rest[0]].clear()
        elif what == "say":
            say(speakers[rest[0]], *sorted(rest[1]))
            book.said[rest[0]].update(rest[1])
        else:
            speakers[rest[0]].withdraw([wire(prefix) for prefix in sorted(rest[1])])
            book.said[rest[0]].difference_update(rest[1])
    expected = {(prefix, f"192.0.2.{who + 2}") for prefix, who in book.foreign()}
    assert set(open_conditions(made, "foreign-block", ("prefix", "client"))) == expected
    assert {about for (about,) in open_conditions(made, "duplicate-announcer", ("prefix",))} == set(book.duplicates())
    found = made.engine.claims.duplicates
    assert {key: list(clients) for (_, key), clients in found.items()} == {
        wire(prefix): clients for prefix, clients in book.duplicates().items()
    }
    assert [known(speaker) for speaker in speakers] == [book.told(who) for who in range(3)]
