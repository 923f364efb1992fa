"""What an engine shows of itself: against what its peers said and were told, and against the order of best path."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.bestpath import choose
from peering.prefixes import format_address, pack_prefix
from peering.route_filter import Named
from reflector.configuration import Owners
from reflector.engine import answer, views
from reflector.engine.answer import Json, Rows
from reflector.engine.attribute_view import attributes_view, block_of, community_text, path_text
from reflector.engine.engine import Engine
from reflector.engine.path_choice import choose_path
from reflector.engine.text import format_key, key_of
from reflector.rib.route import Source
from reflector.rib.selection import ranked
from reflector.session.restart import Retention
from reflector.wire.as_path import CONFED_SEQUENCE, CONFED_SET, SEQUENCE, SET
from reflector.wire.capabilities import AddPath, Capabilities
from reflector.wire.communities import GRACEFUL_SHUTDOWN, LLGR_STALE, NO_EXPORT
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family
from tests.unit.reflector.engine_world import (
    ASN,
    BOTH,
    Path,
    Speaker,
    capabilities,
    configuration,
    ipv4,
    ipv6,
    new_engine,
    peer_of,
    settle,
)
from tests.unit.reflector.policy_samples import block, filters, keys, wire
from tests.unit.reflector.test_selection import BLOCK, path, routes

T = TypeVar("T")
PREFIX = "10.1.0.0/24"
EVPN = Family(25, 70)


def taken(rows: Rows) -> tuple[list[Json], Json]:
    """All rows, and what stands at the end."""
    found: list[Json] = []
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            return found, end.value
        if row is not None:
            found.append(row)


def result(work: Generator[Any, None, T]) -> T:
    """What a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class Peers:
    """A reflector with speakers whose sessions are up; speaker n is 192.0.2.n."""

    def __init__(self, *numbers: int, policies: dict[int, dict[str, Any]] | None = None, **fields: Any) -> None:
        asns = {number: 65000 + number if number >= 90 else ASN for number in numbers}
        peers = {n: peer_of(n, asns[n], **(policies or {}).get(n, {})) for n in numbers}
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.engine: Engine = new_engine(configuration(1, *peers.values(), **fields), self._noted)
        self.speakers = {n: Speaker(self.engine, peer, asns[n]) for n, peer in peers.items()}
        for number, speaker in self.speakers.items():
            speaker.up(capabilities(asns[number], BOTH, restart=120, stale=3600))
        self.settle()

    def _noted(self, event: str, **fields: Any) -> None:
        self.log.append((event, fields))

    def settle(self) -> None:
        settle([self.engine], self.speakers.values())

    def say(self, number: int, *prefixes: str, **attributes: Any) -> None:
        speaker = self.speakers[number]
        if number >= 90:
            attributes["as_path"] = (speaker.asn, *attributes.get("as_path", ()))
        for prefix in prefixes:
            family, key = key_of(prefix)
            next_hop = ipv4(number) if family.afi == 1 else ipv6(number)
            speaker.announce(Path(next_hop, **attributes), [key], family)
        self.settle()

    def paths(self, prefix: str) -> tuple[list[Json], Json]:
        return taken(views.paths_view(self.engine, *key_of(prefix)))

    def state(self, number: int) -> Any:
        return self.engine.peers[ipv4(number)]


def told(speaker: Speaker) -> set[tuple[str, str, tuple[int, ...], int | None, str | None]]:
    """What arrived at a speaker, as it read it."""
    return {
        (
            format_key(family, key),
            format_address(path.next_hop),
            path.as_path,
            path.local_pref,
            format_address(path.originator) if path.originator else None,
        )
        for (family, key), path in speaker.told.items()
    }


# Best path.


@given(st.lists(BLOCK, min_size=1, max_size=6), st.randoms())
def test_the_choice_is_that_of_the_table_and_of_the_named_steps(blocks: list[Any], random: Any) -> None:
    found = routes(blocks)
    named = choose(map(path, found))
    assert named is not None
    random.shuffle(found)
    choice = choose_path(found)
    assert choice.best is ranked(found)[0]
    assert (choice.best.source.address, choice.reason) == (named.best.peer, named.reason)
    assert set(choice.lost) == set(found) - {choice.best}


@given(st.lists(BLOCK, min_size=2, max_size=5))
def test_who_is_said_to_have_lost_at_a_step_makes_no_difference_behind_it(blocks: list[Any]) -> None:
    """A path that went at a step is not missed by what comes after: without it the same path is best."""
    found = routes(blocks)
    choice = choose_path(found)
    last = list(choice.lost)[-1]
    assert choice.lost[last] == choice.reason
    assert choose_path([route for route in found if route is not last]).best is choice.best


def test_of_several_paths_of_one_peer_the_lowest_identifier_is_best() -> None:
    source = Source("a", "client", ipv4(1), ipv4(1))
    high, low = (source.route(block(65001), ipv4(9), bytes((0, 0, 0, n))) for n in (7, 3))
    choice = choose_path([high, low])
    assert (choice.best, choice.reason, choice.lost) == (low, "path identifier", {high: "path identifier"})
    assert ranked([high, low])[0] is low


def test_a_stale_path_is_the_last_resort_whatever_it_is_worth() -> None:
    fresh, stale = (Source(name, "client", ipv4(n), ipv4(n)) for n, name in ((1, "a"), (2, "b")))
    one = fresh.route(block(1, 2, 3), ipv4(1))
    other = stale.route(block(local_pref=900, communities=(LLGR_STALE,)), ipv4(2))
    assert choose_path([other, one]).lost == {other: "long-lived stale"}


# Paths to a prefix.


def test_all_paths_to_a_prefix_with_the_winner_and_what_each_loser_lost_by() -> None:
    peers = Peers(11, 12, 91)
    peers.say(11, PREFIX, local_pref=200)
    peers.say(12, PREFIX, local_pref=200, as_path=(65009,))
    peers.say(91, PREFIX)
    rows, end = peers.paths(PREFIX)
    assert [(row["from"], row["kind"], row["best"], row["lostBy"]) for row in rows] == [
        ("192.0.2.11", "client", True, None),
        ("192.0.2.12", "client", False, "AS path length"),
        ("192.0.2.91", "ebgp", False, "local preference"),
    ]
    assert (end["match"], end["reason"], end["duplicateAnnouncers"]) == (PREFIX, "AS path length", [])
    assert rows[2] | {"best": 0} == rows[2] | {"best": 0, "asPath": "65091", "nextHop": "192.0.2.91", "stale": None}


def test_one_path_is_best_because_it_is_the_only_one() -> None:
    peers = Peers(11)
    peers.say(11, PREFIX)
    assert peers.paths(PREFIX)[1]["reason"] == "only path"


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("10.1.0.7", "10.1.0.0/24"),
        ("10.1.0.0/25", "10.1.0.0/24"),
        ("10.1.0.128/25", "10.1.0.128/25"),
        ("10.1.0.200", "10.1.0.128/25"),
        ("10.1.1.1", "10.0.0.0/8"),
        ("10.0.0.0/7", None),
        ("11.0.0.1", None),
        ("fd00::1", "::/0"),
        ("fd00:1:2::/48", "fd00:1::/33"),
    ],
)
def test_the_longest_prefix_around_what_is_asked_for_is_shown(asked: str, match: str | None) -> None:
    peers = Peers(11)
    peers.say(11, "10.0.0.0/8", "10.1.0.0/24", "10.1.0.128/25", "::/0", "fd00:1::/33")
    rows, end = peers.paths(asked)
    assert end["match"] == match
    assert len(rows) == (match is not None)


def only_to(prefix: str, action: str) -> Named:
    return filters("importV4", {"action": action, "cidr": prefix, "matchOperator": "In"}, name="no-bogons")


def test_a_refused_path_is_shown_with_the_reason_also_where_it_is_the_only_one() -> None:
    peers = Peers(11, 12, policies={11: {"import_filters": only_to("10.1.0.0/16", "Reject")}})
    peers.say(11, PREFIX)
    rows, end = peers.paths("10.1.0.9")
    assert [(row["accepted"], row["best"], row["refusal"]) for row in rows] == [
        (False, False, {"code": "filter", "text": "BGPFilter/no-bogons spec.importV4[0]"})
    ]
    assert (end["match"], end["reason"]) == (PREFIX, None)
    peers.say(12, PREFIX)
    rows, end = peers.paths(PREFIX)
    assert [(row["from"], row["accepted"]) for row in rows] == [("192.0.2.12", True), ("192.0.2.11", False)]
    assert end["reason"] == "only path"


def test_a_path_that_policy_changed_has_what_came_beside_it() -> None:
    changing = filters("importV4", {"action": "Accept", "operations": [{"addCommunity": {"value": "65000:1"}}]})
    peers = Peers(11, 91, policies={11: {"import_filters": changing}})
    peers.say(11, PREFIX)
    peers.say(91, "10.2.0.0/24", communities=(GRACEFUL_SHUTDOWN,))
    (row,) = peers.paths(PREFIX)[0]
    assert (row["communities"], row["received"]["communities"]) == (["65000:1"], [])
    (row,) = peers.paths("10.2.0.0/24")[0]
    assert (row["localPreference"], row["received"]["localPreference"]) == (0, None)


def owned(mode: str, *numbers: int) -> Peers:
    """The block 10.1.0.0/24 belongs to 192.0.2.11."""
    policies = {number: {"owner": f"node/{number}"} for number in numbers}
    belongs = Owners({pack_prefix(PREFIX): frozenset(("node/11",))})
    return Peers(*numbers, policies=policies, ownership=mode, owners=belongs)


def test_a_block_of_somebody_else_is_shown_refused_with_its_owner() -> None:
    peers = owned("enforce", 11, 12)
    peers.say(12, PREFIX)
    (row,), end = peers.paths(PREFIX)
    assert (row["from"], row["foreign"], row["refusal"]["code"]) == ("192.0.2.12", True, "foreign-block")
    assert (end["owners"], end["duplicateAnnouncers"]) == (["node/11"], [])
    peers.say(11, PREFIX)
    rows, end = peers.paths(PREFIX)
    assert [row["foreign"] for row in rows] == [False, True]
    assert end["duplicateAnnouncers"] == ["192.0.2.11", "192.0.2.12"]


def test_what_is_only_reported_is_in_use_and_marked() -> None:
    peers = owned("report", 11, 12)
    peers.say(12, PREFIX)
    (row,), end = peers.paths(PREFIX)
    assert (row["accepted"], row["best"], row["foreign"], end["owners"]) == (True, True, True, ["node/11"])


def test_stale_paths_are_marked_in_both_phases() -> None:
    peers = Peers(11, 12)
    peers.say(11, PREFIX)
    peers.speakers[11].down({IPV4_UNICAST: Retention(120, 3600)}, now=10.0)
    assert peers.paths(PREFIX)[0][0]["stale"] == "stale"
    peers.engine.timer(131.0)
    (row,) = peers.paths(PREFIX)[0]
    assert (row["stale"], row["communities"]) == ("long-lived", ["llgr-stale"])
    assert list(views._about_peer(peers.state(11))) == [
        {
            "condition": "stale-routes",
            "neighbor": "192.0.2.11",
            "family": "ipv4-unicast",
            "prefixes": 1,
            "longLived": True,
        }
    ]


def several(number: int) -> Peers:
    """A peer that sends and takes several paths for each prefix."""
    peers = Peers(11, number)
    peers.speakers[11].down()
    peers.speakers[11].up(capabilities(ASN, BOTH, add_path=AddPath.BOTH))
    peers.settle()
    return peers


def test_several_paths_of_one_peer_are_told_apart_by_their_identifiers() -> None:
    peers = several(12)
    for number, local_pref in ((5, 100), (6, 200), (7, 100)):
        path_id = bytes((0, 0, 0, number))
        peers.speakers[11].announce(Path(ipv4(11), local_pref=local_pref), [wire(PREFIX)], path_id=path_id)
    peers.settle()
    rows, end = peers.paths(PREFIX)
    assert [(row["pathID"], row["lostBy"]) for row in rows] == [
        (6, None),
        (5, "local preference"),
        (7, "local preference"),
    ]
    assert end["reason"] == "local preference"


def test_a_refused_path_of_a_peer_with_several_is_found() -> None:
    peers = several(12)
    path = Path(ipv4(11), clusters=(ipv4(1),))
    peers.speakers[11].announce(path, keys(PREFIX, "10.9.0.0/16"), path_id=bytes((0, 0, 0, 5)))
    (row,), end = peers.paths("10.1.0.1")
    assert (row["pathID"], row["refusal"]["code"], end["match"]) == (5, "own-cluster-id", PREFIX)


# Tables.


def test_what_a_peer_said_is_shown_as_it_came_with_what_became_of_it() -> None:
    reject = only_to("10.1.0.0/16", "Reject")
    peers = Peers(11, 12, policies={11: {"import_filters": reject}})
    peers.say(11, "10.1.0.0/24", "10.2.0.0/24", "fd00::/64", communities=(NO_EXPORT,), med=7)
    rows, _ = taken(views.routes_in(peers.state(11), views.everything))
    assert {(row["prefix"], row["family"], row["accepted"]) for row in rows} == {
        ("10.1.0.0/24", "ipv4-unicast", False),
        ("10.2.0.0/24", "ipv4-unicast", True),
        ("fd00::/64", "ipv6-unicast", True),
    }
    assert all((row["communities"], row["med"]) == (["no-export"], 7) for row in rows)
    rows, _ = taken(views.routes_in(peers.state(11), views.everything, only_refused=True))
    assert [(row["prefix"], row["refusal"]["code"]) for row in rows] == [("10.1.0.0/24", "filter")]
    rows, _ = taken(views.routes_in(peers.state(11), views.within(*key_of("10.2.0.0/15"))))
    assert [row["prefix"] for row in rows] == ["10.2.0.0/24"]


def test_the_whole_table_has_a_row_for_each_prefix_with_its_best_path() -> None:
    peers = Peers(11, 12)
    peers.say(11, PREFIX, "fd00::/64")
    peers.say(12, PREFIX, local_pref=300)
    rows, _ = taken(views.routes_view(peers.engine, views.everything))
    assert {(row["prefix"], row["from"], row["paths"]) for row in rows} == {
        (PREFIX, "192.0.2.12", 2),
        ("fd00::/64", "192.0.2.11", 1),
    }
    rows, _ = taken(views.routes_view(peers.engine, views.within(*key_of("fd00::/16"))))
    assert [row["prefix"] for row in rows] == ["fd00::/64"]


MANY = ["10.1.0.0/24", "10.1.1.0/24", "10.2.0.0/16", "fd00::/64", "fd00:0:0:1::/64"]
SAYING = st.tuples(
    st.sampled_from([11, 12, 13, 91, 92]),
    st.sampled_from(MANY),
    st.fixed_dictionaries(
        {"local_pref": st.sampled_from([None, 50, 200]), "communities": st.sampled_from([(), (NO_EXPORT,)])}
    ),
)


@given(st.lists(SAYING, max_size=15))
def test_what_a_peer_is_said_to_be_told_is_what_arrived_there(sayings: list[tuple[int, str, dict[str, Any]]]) -> None:
    hidden = filters("exportV4", {"action": "Reject", "cidr": "10.1.0.0/24", "matchOperator": "Equal"})
    peers = Peers(
        11, 12, 13, 91, 92,
        policies={12: {"export_filters": hidden}, 13: {"client": False}, 92: {"next_hop": "keep", "prepend": 2}},
    )  # fmt: skip
    for number, prefix, attributes in sayings:
        peers.say(number, prefix, **({**attributes, "local_pref": None} if number >= 90 else attributes))
    for number, speaker in peers.speakers.items():
        rows, _ = taken(views.routes_out(peers.engine, peers.state(number), views.everything))
        shown = {
            (
                row["prefix"],
                row["nextHop"],
                tuple(map(int, row["asPath"].split())),
                row["localPreference"],
                row["originatorID"],
            )
            for row in rows
        }
        assert shown == told(speaker)
        assert len(rows) == len(shown)
        assert sum(result(views.advertised(peers.engine, peers.state(number))).values()) == len(shown)


def test_several_paths_are_shown_as_told_with_their_identifiers() -> None:
    peers = several(12)
    peers.say(12, PREFIX)
    rows, _ = taken(views.routes_out(peers.engine, peers.state(11), views.everything))
    arrived = {int.from_bytes(place[:4]) for _, place in peers.speakers[11].told}
    assert {row["pathID"] for row in rows} == arrived
    assert None not in arrived


def test_a_peer_with_narrow_as_numbers_is_shown_the_true_path() -> None:
    peers = Peers(11, 12)
    peers.speakers[12].down()
    peers.speakers[12].up(Capabilities(multiprotocol=BOTH))
    peers.speakers[11].announce(Path(ipv4(11), (4_200_000_000,)), keys(PREFIX))
    rows, _ = taken(views.routes_out(peers.engine, peers.state(12), views.everything))
    assert [row["asPath"] for row in rows] == ["4200000000"]


def test_nothing_is_told_to_a_peer_that_is_not_up() -> None:
    peers = Peers(11, 12)
    peers.say(12, PREFIX)
    state = peers.state(12)
    peers.speakers[12].down({IPV4_UNICAST: Retention(60, 0)})
    assert taken(views.routes_out(peers.engine, state, views.everything)) == ([], {})


def test_nlri_that_are_no_prefixes_are_shown_in_hexadecimal() -> None:
    peers = Peers(11, 12)
    for speaker in peers.speakers.values():
        speaker.down()
        speaker.up(capabilities(ASN, (EVPN,)))
    nlri = bytes.fromhex("0311") + bytes(17)
    peers.speakers[11].announce(Path(ipv4(11)), [nlri], EVPN)
    peers.settle()
    rows, _ = taken(views.routes_view(peers.engine, views.everything))
    assert [(row["prefix"], row["family"]) for row in rows] == [(nlri.hex(), "l2vpn-evpn")]
    rows, _ = taken(views.routes_out(peers.engine, peers.state(12), views.everything))
    assert [row["pathID"] for row in rows] == [None]
    assert taken(views.routes_view(peers.engine, views.within(IPV6_UNICAST, b"\0")))[0] == []


def test_conditions_are_those_that_hold_now() -> None:
    peers = owned("enforce", 11, 12)
    peers.say(12, PREFIX)
    peers.say(11, PREFIX)
    rows, _ = taken(views.conditions_view(peers.engine))
    about = {"prefix": PREFIX, "family": "ipv4-unicast", "owners": ["node/11"]}
    assert rows == [
        {"condition": "foreign-block", **about, "clients": ["192.0.2.12"]},
        {"condition": "duplicate-announcer", **about, "clients": ["192.0.2.11", "192.0.2.12"]},
    ]
    peers.speakers[12].withdraw(keys(PREFIX))
    peers.settle()
    assert taken(views.conditions_view(peers.engine)) == ([], {})


def test_a_peer_near_its_limit_is_a_condition() -> None:
    peers = Peers(11, policies={11: {"max_prefixes": 4}})
    peers.say(11, *(f"10.0.{n}.0/24" for n in range(3)))
    rows, _ = taken(views.conditions_view(peers.engine))
    assert [(row["condition"], row["prefixes"], row["limit"]) for row in rows] == [("prefix-limit-near", 3, 4)]


# Attributes.


def test_paths_are_written_with_their_sets_and_confederations() -> None:
    segments = ((CONFED_SEQUENCE, (1, 2)), (CONFED_SET, (3,)), (SEQUENCE, (65001, 65002)), (SET, (5, 6)))
    assert path_text(segments) == "(1 2) [3] 65001 65002 {5 6}"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0xFFFFFF01, "no-export"), (0xFFFF029A, "blackhole"), (0xFC000064, "64512:100"), (0xFFFF0001, "65535:1")],
)
def test_communities_have_the_names_that_everybody_knows(value: int, written: str) -> None:
    assert community_text(value) == written


def test_all_attributes_are_shown_and_those_that_are_only_passed_on_in_hexadecimal() -> None:
    one = block(
        65001,
        origin=2,
        med=5,
        local_pref=300,
        atomic_aggregate=True,
        aggregator=(65001, ipv4(1)),
        communities=(0xFC000064,),
        originator_id=ipv4(7),
        cluster_list=(ipv4(8), ipv4(9)),
        extended_communities=(bytes.fromhex("0002fc0000000064"),),
        large_communities=((1, 2, 3),),
        aigp=bytes.fromhex("01000b0000000000000005"),
    )
    assert attributes_view(one) == {
        "origin": "incomplete",
        "asPath": "65001",
        "med": 5,
        "localPreference": 300,
        "communities": ["64512:100"],
        "largeCommunities": ["1:2:3"],
        "originatorID": "192.0.2.7",
        "clusterList": ["192.0.2.8", "192.0.2.9"],
        "extendedCommunities": ["0002fc0000000064"],
        "atomicAggregate": True,
        "aggregator": "AS65001 192.0.2.1",
        "others": {"AIGP": "01000b0000000000000005"},
    }
    assert attributes_view(block_of(one.raw)) == attributes_view(one)


# Slices.


@given(st.integers(0, 32), st.integers(0, 0xFFFFFFFF), st.integers(0, 32), st.integers(0, 0xFFFFFFFF))
def test_inside_and_around_are_each_others_inverse(outer: int, start: int, inner: int, address: int) -> None:
    if inner % 2:
        address = start ^ address >> outer  # near each other
    one, other = _key(outer, start), _key(inner, address)
    assert answer.inside(one)(other) is (one in answer.around(other))


def _key(length: int, number: int) -> bytes:
    masked = number >> (32 - length) << (32 - length)
    return bytes((length,)) + masked.to_bytes(4, "big")[: (length + 7) // 8]


def listed_with(table: dict[int, int], disturb: Any) -> list[int]:
    work = answer.listed(table)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return list(end.value)
        disturb()


def test_keys_are_listed_as_they_were_at_one_moment_whatever_happens_meanwhile() -> None:
    table = dict.fromkeys(range(35_000))
    assert listed_with(table, lambda: None)[::-1] == list(range(35_000))  # type: ignore[arg-type]
    assert listed_with(table, lambda: table.pop(next(iter(table))))[::-1] == list(table)  # type: ignore[arg-type]


def test_what_is_looked_through_gives_way_now_and_then() -> None:
    found = list(answer.taken(list(range(2_000))))
    assert [one for one in found if one is not None] == list(range(1_999, -1, -1))
    assert found.count(None) == 2_000 // answer.PIECE


def test_rows_are_not_made_of_what_went_meanwhile() -> None:
    peers = Peers(11)
    peers.say(11, *(f"10.0.{n}.0/24" for n in range(200)))
    rows = views.routes_view(peers.engine, views.everything)
    first = [next(rows) for _ in range(10)]
    peers.speakers[11].down()
    peers.settle()
    assert len([row for row in first if row]) >= 9
    assert taken(rows)[0] == []
