"""Filters, ownership and the like change in place: no session is reset, and only what is different is told.

The proof is an engine that never knew the configuration before: after any changes, in any order with what peers say and
with slow readers, everybody knows what it would have been told by that one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peering.prefixes import pack_prefix
from reflector.configuration import Owners, Peer, PeerPolicy
from reflector.session.restart import Retention
from reflector.wire.capabilities import AddPath, Capabilities
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST
from tests.unit.reflector.engine_world import (
    ASN,
    Lab,
    Path,
    Speaker,
    capabilities,
    ipv4,
    peer_of,
    reconfigured,
)
from tests.unit.reflector.policy_samples import ACCEPT, REJECT, filters, keys

A, B, C = keys("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
HOP = Path(ipv4(50))
FAR = Path(ipv4(60), (65001,))
HALF = {"cidr": "10.0.0.0/24", "matchOperator": "Equal"}
NOT_A = filters("exportV4", {**REJECT, **HALF})
NOT_A_IN = filters("importV4", {**REJECT, **HALF})
BETTER = filters("importV4", {**ACCEPT, "operations": [{"setLocalPreference": {"value": 300}}]}, name="better")


def known(speaker: Speaker) -> set[bytes]:
    return {key for _, key in speaker.told}


def lab() -> tuple[Lab, Speaker, Speaker, Speaker]:
    """One that says A and B, and two that are told."""
    made = Lab()
    one, two, three = (made.speaker(peer_of(number)) for number in (2, 3, 4))
    one.announce(HOP, [A, B])
    made.settle()
    for speaker in (one, two, three):
        speaker.updates = 0
    return made, one, two, three


# What changes, and nothing else.


def test_another_export_filter_is_told_to_its_peer_alone() -> None:
    made, one, two, three = lab()
    made.configure(peer_of(3, export_filters=NOT_A), one.peer, three.peer)
    assert (known(two), known(three)) == ({B}, {A, B})
    assert [speaker.updates for speaker in (one, two, three)] == [0, 1, 0]
    made.configure(two.peer)
    assert (known(two), two.updates) == ({A, B}, 2)
    assert len(made.engine.groups) == 1


def test_another_import_filter_is_applied_to_what_was_said() -> None:
    """And what it refused is there again without it, though its peer says nothing."""
    made, _, two, three = lab()
    made.configure(peer_of(2, import_filters=NOT_A_IN))
    assert (known(two), known(three)) == ({B}, {B})
    made.configure(peer_of(2))
    assert (known(two), known(three)) == ({A, B}, {A, B})
    assert [two.updates, three.updates] == [2, 2]


def test_the_same_configuration_changes_nothing() -> None:
    made, one, two, three = lab()
    made.configure(*(peer_of(number) for number in (2, 3, 4)))
    assert [speaker.updates for speaker in (one, two, three)] == [0, 0, 0]
    assert not made.engine.waiting


def test_another_filter_with_the_same_outcome_is_told_to_nobody() -> None:
    made, one, two, three = lab()
    elsewhere = {"cidr": "172.16.0.0/12", "matchOperator": "In"}
    made.configure(
        peer_of(2, import_filters=filters("importV4", {**REJECT, **elsewhere})),
        peer_of(3, export_filters=filters("exportV4", {**REJECT, **elsewhere})),
    )
    assert [speaker.updates for speaker in (one, two, three)] == [0, 0, 0]


def test_our_as_in_a_path_is_allowed_afterwards() -> None:
    made, _, two, _ = lab()
    far = made.speaker(peer_of(5, 65001), 65001)
    far.announce(FAR._replace(as_path=(65001, ASN)), [C])
    made.settle()
    assert known(two) == {A, B}
    made.configure(peer_of(5, 65001, allow_as_in=1))
    assert known(two) == {A, B, C}
    made.configure(peer_of(5, 65001))
    assert known(two) == {A, B}


def test_another_next_hop() -> None:
    made, _, two, three = lab()
    made.configure(peer_of(3, next_hop="self"))
    assert {path.next_hop for path in two.told.values()} == {ipv4(1)}
    assert {path.next_hop for path in three.told.values()} == {HOP.next_hop}
    made.configure(addresses=(ipv4(11),))
    assert {path.next_hop for path in two.told.values()} == {ipv4(11)}


def test_another_cluster() -> None:
    """What a route with our new cluster ID was said is a loop now, and everybody is told the new one."""
    made, _, two, three = lab()
    three.announce(HOP._replace(clusters=(ipv4(77),)), [C])
    made.settle()
    assert known(two) == {A, B, C}
    made.configure(cluster_id=ipv4(77))
    assert known(two) == {A, B}
    assert {path.clusters for path in (*two.told.values(), *three.told.values())} == {(ipv4(77),)}


def test_more_and_fewer_paths() -> None:
    made = Lab()
    several = capabilities(add_path=AddPath.RECEIVE)
    for number in (2, 3, 4):
        made.speaker(peer_of(number)).announce(HOP._replace(med=number), [A])
    watcher = made.speaker(peer_of(9), theirs=several)
    made.settle()
    assert sorted(path.med or 0 for path in watcher.told.values()) == [2, 3, 4]
    for limit, expected in ((1, [2]), (2, [2, 3]), (None, [2, 3, 4])):
        made.configure(peer_of(9, add_path_limit=limit))
        assert sorted(path.med or 0 for path in watcher.told.values()) == expected


def test_a_peer_that_is_away_is_judged_as_well() -> None:
    """Its routes outlive its session; of one whose AS is in no configuration, too."""
    made = Lab()
    watcher = made.speaker(peer_of(9))
    away = made.speaker(peer_of(2, 0), 65001, capabilities(65001, restart=120))
    away.announce(FAR, [A, B])
    made.settle()
    away.down({IPV4_UNICAST: Retention(120, 0)})
    made.configure(peer_of(2, 0, import_filters=NOT_A_IN))
    assert known(watcher) == {B}
    made.wait(120)
    assert known(watcher) == set()


@pytest.mark.parametrize("path_id", [b"", b"\0\0\0\1"])
def test_a_last_resort_stays_one_when_it_is_judged_again(path_id: bytes) -> None:
    made = Lab()
    lasting = capabilities(restart=120, stale=3600)
    theirs = capabilities(restart=120, stale=3600, add_path=AddPath.SEND if path_id else None)
    watcher, away = made.speaker(peer_of(9), theirs=lasting), made.speaker(peer_of(2), theirs=theirs)
    away.announce(HOP, [A, B], path_id=path_id)
    away.end_of_rib()
    away.down({IPV4_UNICAST: Retention(0, 3600)})
    made.settle()
    before, updates = dict(watcher.told), watcher.updates
    made.configure(peer_of(2, allow_as_in=1))
    assert (watcher.told, watcher.updates) == (before, updates)
    made.configure(peer_of(2, import_filters=NOT_A_IN))
    assert watcher.told == {place: path for place, path in before.items() if place[1] == B}


def test_a_labelled_route_is_judged_again_with_its_label() -> None:
    family = FAMILY_BY_NAME["ipv4-labelled-unicast"]
    made = Lab()
    labelled = capabilities(families=(family,))
    one, two = made.speaker(peer_of(2), theirs=labelled), made.speaker(peer_of(3), theirs=labelled)
    nlri = bytes.fromhex("30 000101 0a0000".replace(" ", ""))
    one.announce(HOP, [nlri], family)
    made.settle()
    assert list(two.nlri.values()) == [nlri]
    made.configure(cluster_id=ipv4(77))
    assert list(two.nlri.values()) == [nlri]
    assert {path.clusters for path in two.told.values()} == {(ipv4(77),)}
    one.withdraw([nlri], family)
    made.settle()
    assert two.told == {}


# Anything, in any order, against an engine that is new.

IMPORTS: list[Any] = [(), NOT_A_IN, BETTER, (*NOT_A_IN, *BETTER)]
EXPORTS: list[Any] = [
    (),
    NOT_A,
    filters("exportV4", {**REJECT, "peerType": "eBGP"}),
    filters("exportV4", {**REJECT, "asPathPrefix": [65001]}, {**ACCEPT, "operations": [{"setMED": {"value": 9}}]}),
]
POLICIES = st.builds(
    PeerPolicy,
    next_hop=st.sampled_from(["auto", "auto", "self", "keep"]),
    allow_as_in=st.sampled_from([0, 0, 1]),
    as_override=st.booleans(),
    prepend=st.sampled_from([0, 0, 1]),
    import_filters=st.sampled_from(IMPORTS),
    export_filters=st.sampled_from(EXPORTS),
    add_path_limit=st.sampled_from([None, 1, 2]),
)
OWNERS = Owners({pack_prefix("10.0.0.0/24"): frozenset({"192.0.2.2"}), pack_prefix("10.0.1.0/24"): frozenset({"x"})})
FIELDS = st.sampled_from(
    [
        {"ownership": "enforce", "owners": OWNERS},
        {"ownership": "enforce", "owners": Owners()},
        {"ownership": "report", "owners": OWNERS},
        {"ownership": "off"},
        {"cluster_id": ipv4(77)},
        {"cluster_id": ipv4(1)},
        {"addresses": (ipv4(11),)},
    ]
)
SEVERAL = capabilities(add_path=AddPath.BOTH, restart=120, stale=3600)
#: (AS, capabilities, client) of each peer.
PEERS: list[tuple[int, Capabilities, bool]] = [
    (ASN, capabilities(restart=120, stale=3600), True),
    (ASN, SEVERAL, True),
    (ASN, capabilities(restart=120), False),
    (65001, capabilities(65001, restart=120), True),
]
PATHS = [
    HOP,
    HOP._replace(as_path=(65001,), med=5),
    HOP._replace(as_path=(65001, ASN), local_pref=200),
    HOP._replace(clusters=(ipv4(77),)),
    HOP._replace(next_hop=ipv4(51), local_pref=50),
]
WHO = st.integers(0, len(PEERS) - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("announce"), WHO, st.sets(st.sampled_from([A, B, C]), min_size=1), st.sampled_from(PATHS), WHO
        ),
        st.tuples(st.just("withdraw"), WHO, st.sampled_from([A, B, C]), WHO),
        st.tuples(st.just("policy"), WHO, POLICIES),
        st.tuples(st.just("fields"), FIELDS),
        st.tuples(st.just("flap"), WHO, st.sampled_from([None, Retention(1000, 0), Retention(0, 1000)])),
        st.tuples(st.just("read"), WHO, st.integers(1, 150)),
        st.just(("publish",)),
    ),
    max_size=20,
)


class Run:
    """An engine whose configuration changes, and what its peers have said up to now."""

    def __init__(self, ring_bytes: int) -> None:
        self.lab = Lab(*(_peer(number) for number in range(len(PEERS))), ring_bytes=ring_bytes)
        self.said: list[dict[tuple[bytes, bytes], Path]] = [{} for _ in PEERS]
        self.away: dict[int, Retention] = {}
        for number, (asn, theirs, _) in enumerate(PEERS):
            self.lab.speaker(_peer(number), asn, theirs)

    def announce(self, who: int, some: set[bytes], path: Path, number: int) -> None:
        speaker, path_id = self.lab.speakers[who], _path_id(who, number)
        if speaker.state is not None:
            path = path._replace(local_pref=None, clusters=()) if speaker.asn != ASN else path
            speaker.announce(path, sorted(some), path_id=path_id)
            self.said[who].update({(path_id, key): path for key in some})

    def withdraw(self, who: int, key: bytes, number: int) -> None:
        speaker, path_id = self.lab.speakers[who], _path_id(who, number)
        if speaker.state is not None:
            speaker.withdraw([key], path_id=path_id)
            self.said[who].pop((path_id, key), None)

    def policy(self, who: int, policy: PeerPolicy) -> None:
        speaker = self.lab.speakers[who]
        speaker.peer = replace(speaker.peer, policy=replace(policy, client=PEERS[who][2]))
        self._configure()

    def fields(self, fields: dict[str, Any]) -> None:
        self._configure(**fields)

    def flap(self, who: int, retention: Retention | None) -> None:
        """A session ends, and what was said stays or goes; or it comes up, and everything is said anew."""
        speaker = self.lab.speakers[who]
        if speaker.state is None:
            speaker.up(PEERS[who][1])
            if self.away.pop(who, None):
                speaker.end_of_rib()
            self.said[who].clear()
            return
        speaker.end_of_rib()
        speaker.down({IPV4_UNICAST: retention} if retention else {})
        if retention is not None:
            self.away[who] = retention
        else:
            self.said[who].clear()

    def read(self, who: int, count: int) -> None:
        self.lab.speakers[who].take(count)

    def publish(self) -> None:
        self.lab.engine.publish(0.0)

    def _configure(self, **fields: Any) -> None:
        peers = {speaker.peer.address: speaker.peer for speaker in self.lab.speakers}
        engine = self.lab.engine
        engine.configure(reconfigured(engine.configuration, *peers.values(), **fields), peers)

    def again(self) -> Lab:
        """An engine that has always been configured as this one is now, with peers that say what these have said."""
        configuration = self.lab.engine.configuration
        values = ("cluster_id", "addresses", "ownership", "owners")
        made = Lab(*configuration.peers.values(), **{name: getattr(configuration, name) for name in values})
        for who, (speaker, (asn, theirs, _)) in enumerate(zip(self.lab.speakers, PEERS, strict=True)):
            fresh = made.speaker(speaker.peer, asn, theirs)
            for (path_id, key), path in self.said[who].items():
                fresh.announce(path, [key], path_id=path_id)
            if speaker.state is None:
                fresh.down({IPV4_UNICAST: self.away[who]} if who in self.away else {})
        return made


def _peer(number: int) -> Peer:
    asn, _, client = PEERS[number]
    return peer_of(2 + number, asn, client=client)


def _path_id(who: int, number: int) -> bytes:
    return number.to_bytes(4, "big") if PEERS[who][1] is SEVERAL else b""


def table(speaker: Speaker) -> Counter[tuple[bytes, Path]]:
    """What a speaker knows, without the numbers that the engine gave to paths."""
    start = 4 if speaker.terms.add_path_receive else 0
    return Counter((key[start:], path) for (_, key), path in speaker.told.items())


@settings(max_examples=1000)
@given(STEPS, st.sampled_from([1, 300, 1 << 20]))
def test_nobody_can_tell_that_the_configuration_was_another(steps: list[Any], ring_bytes: int) -> None:
    run = Run(ring_bytes)
    for what, *arguments in steps:
        getattr(run, what)(*arguments)
    run.lab.settle()
    fresh = run.again()
    fresh.settle()
    assert [table(speaker) for speaker in run.lab.speakers] == [table(speaker) for speaker in fresh.speakers]
    assert {place: {source.name for source in who} for place, who in run.lab.engine.claims.foreign.items()} == {
        place: {source.name for source in who} for place, who in fresh.engine.claims.foreign.items()
    }
    assert run.lab.engine.claims.duplicates == fresh.engine.claims.duplicates
