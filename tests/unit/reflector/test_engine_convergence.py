"""Two engines that are each other's peers, and speakers of all kinds around them, against naive reflectors.

Whatever is said, taken back, lost and found again, and however slowly anybody reads, in the end every speaker knows
what `naive_reflector.py` says it should. Engines hear each other by the bytes that they send.

Where paths of several neighbouring ASes have MEDs, reflectors need not agree at all (RFC 3345): a MED takes a path out
that would have hidden another. So either all paths of a run come from one AS, or none has a MED.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reflector.rib.route import Kind
from reflector.session.restart import Retention
from reflector.wire.communities import LLGR_STALE, NO_ADVERTISE, NO_EXPORT
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.update import decode_update
from tests.unit.reflector.engine_world import (
    ASN,
    BOTH,
    CACHES,
    Line,
    Path,
    Speaker,
    address_in,
    capabilities,
    configuration,
    ipv4,
    new_engine,
    peer_of,
)
from tests.unit.reflector.naive_reflector import NaivePeer, NaiveReflector, Place, agree

PLACES: list[Place] = [(IPV4_UNICAST, bytes((24, 10, 0, n))) for n in range(3)]
PLACES.append((IPV6_UNICAST, bytes.fromhex("40fd00000000000001")))
#: (kind, AS) of the speakers of each engine.
SPEAKERS: list[tuple[Kind, int]] = [
    ("client", ASN),
    ("client", ASN),
    ("non-client", ASN),
    ("ebgp", 65001),
    ("ebgp", 65002),
]
FOREVER = Retention(10**6, 0)


class Trunk(Line):
    """An engine as a peer of another: what it is told goes into the session that the other has with this one."""

    other: Trunk

    def on_update(self, body: bytes) -> None:
        if self.other.state is None:
            return
        end = decode_update(body, self.terms, CACHES[False, True]).end_of_rib
        if end is None:
            self.engine_there.update(self.other.state, body)
        else:
            self.engine_there.end_of_rib(self.other.state, end)

    @property
    def engine_there(self) -> Any:
        return self.other.engine


@dataclass(eq=False)
class World:
    """`kinds`: how the first engine sees the second, and the second the first. The same clusters, or one each."""

    kinds: tuple[Kind, Kind]
    one_cluster: bool
    ring_bytes: int
    naive: list[NaiveReflector] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.speakers: list[tuple[Speaker, NaivePeer]] = []
        self.trunks: list[Trunk] = []
        self.stale: dict[Speaker, set[Place]] = {}
        for number in (1, 2):
            self._make(number)
        self.trunks[0].other, self.trunks[1].other = self.trunks[1], self.trunks[0]
        first, second = self.naive
        self.joined = {first.peers[0]: (second, second.peers[0]), second.peers[0]: (first, first.peers[0])}
        self.engines = [trunk.engine for trunk in self.trunks]
        for trunk in self.trunks:
            trunk.up(capabilities(families=BOTH))

    def _make(self, number: int) -> None:
        cluster = ipv4(1 if self.one_cluster else number)
        kind = self.kinds[number - 1]
        trunk = peer_of(3 - number, client=kind == "client")
        # A node is a peer of both reflectors: the same router ID, and an address of its own for each.
        peers = [
            peer_of(10 * number + index, asn, client=kind == "client") for index, (kind, asn) in enumerate(SPEAKERS)
        ]
        engine = new_engine(configuration(number, trunk, *peers, cluster_id=cluster), ring_bytes=self.ring_bytes)
        naive = NaiveReflector(number, ipv4(number), cluster)
        naive.peers.append(NaivePeer(kind, trunk.address, ipv4(3 - number)))
        self.naive.append(naive)
        self.trunks.append(Trunk(engine, trunk, router_id=ipv4(3 - number)))
        for index, (peer, (speaker_kind, asn)) in enumerate(zip(peers, SPEAKERS, strict=True)):
            router_id = ipv4(100 + index)
            speaker = Speaker(engine, peer, asn, router_id)
            speaker.up(capabilities(asn, BOTH, restart=120))
            mirror = NaivePeer(speaker_kind, peer.address, router_id, asn)
            naive.peers.append(mirror)
            self.speakers.append((speaker, mirror))

    # What may happen.

    def announce(self, who: int, place: Place, path: Path) -> None:
        speaker, mirror = self._speaker(who)
        if speaker.state is None:
            return
        if mirror.kind == "ebgp":
            path = path._replace(
                local_pref=None, as_path=(speaker.asn, *path.as_path[1:]), originator=None, clusters=()
            )
        path = path._replace(next_hop=address_in(place[0], 200 + who % 20))
        speaker.announce(path, [place[1]], place[0])
        mirror.said[place] = path
        self.stale.get(speaker, set()).discard(place)

    def withdraw(self, who: int, place: Place) -> None:
        speaker, mirror = self._speaker(who)
        if speaker.state is not None:
            speaker.withdraw([place[1]], place[0])
            mirror.said.pop(place, None)
            self.stale.get(speaker, set()).discard(place)

    def flap(self, who: int, lasting: bool) -> None:
        """A session ends, and its routes with it, or they last; or the session comes up again."""
        speaker, mirror = self._speaker(who)
        if speaker.state is None:
            speaker.up(capabilities(speaker.asn, BOTH, restart=120))
            return
        before = self.stale.pop(speaker, set())
        if lasting:
            for place in before:
                del mirror.said[place]
            self.stale[speaker] = set(mirror.said)
        else:
            mirror.said.clear()
        speaker.down(dict.fromkeys(BOTH, FOREVER) if lasting else {})

    def end(self, who: int, family: Family) -> None:
        """A speaker has said everything again: what is stale still is gone."""
        speaker, mirror = self._speaker(who)
        if speaker.state is not None:
            speaker.end_of_rib(family)
            stale = self.stale.get(speaker, set())
            for place in [place for place in stale if place[0] == family]:
                stale.discard(place)
                del mirror.said[place]

    def refresh(self, who: int, family: Family) -> None:
        """A speaker has forgotten what it was told of a family, and asks for it."""
        speaker, _ = self._speaker(who)
        if speaker.state is not None:
            speaker.engine.refresh_requested(speaker.state, family)

    def read(self, who: int, count: int) -> None:
        self._speaker(who)[0].take(count)

    def hear(self, which: int, count: int) -> None:
        """An engine reads some bytes of what the other has for it."""
        self.trunks[which].take(count)

    def publish(self, which: int) -> None:
        self.engines[which].publish(0.0)

    def part(self) -> None:
        """The engines lose each other, or find each other again."""
        up = self.trunks[0].state is not None
        for trunk, naive in zip(self.trunks, self.naive, strict=True):
            naive.peers[0].up = not up
            if up:
                trunk.down()
            else:
                trunk.up(capabilities(families=BOTH))

    def _speaker(self, who: int) -> tuple[Speaker, NaivePeer]:
        return self.speakers[who % len(self.speakers)]

    # What should be.

    def check(self) -> None:
        lines = [*self.trunks, *(speaker for speaker, _ in self.speakers)]
        for _ in range(100):
            for engine in self.engines:
                engine.publish(0.0)
            if not sum(line.take() for line in lines) and not any(engine.waiting for engine in self.engines):
                break
        else:
            raise AssertionError("they never come to rest")
        agree(self.naive, self.joined)
        for speaker, mirror in self.speakers:
            if speaker.state is not None:
                naive = self.naive[0] if mirror in self.naive[0].peers else self.naive[1]
                assert speaker.told == naive.tells(mirror)


def paths(one_as: bool) -> st.SearchStrategy[Path]:
    """What a speaker may say; loops too."""
    first = [(65001,)] if one_as else [(), (), (65001,), (65002,)]
    later = [(), (), (7,), (ASN,)]
    return st.builds(
        Path,
        next_hop=st.just(b""),
        as_path=st.sampled_from([one + other for one in first for other in later]),
        local_pref=st.sampled_from([None, None, 100, 200]),
        med=st.sampled_from([None, 0, 5] if one_as else [None]),
        origin=st.sampled_from([0, 0, 2]),
        originator=st.sampled_from([None, None, None, ipv4(1), ipv4(2), ipv4(9)]),
        clusters=st.sampled_from([(), (), (), (ipv4(1),), (ipv4(2), ipv4(9))]),
        communities=st.sampled_from([(), (), (), (NO_ADVERTISE,), (NO_EXPORT,), (LLGR_STALE,)]),
    )


def steps(one_as: bool) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    who, which, place = st.integers(0, 2 * len(SPEAKERS) - 1), st.integers(0, 1), st.sampled_from(PLACES)
    family, count = st.sampled_from(BOTH), st.integers(1, 200)
    announcing = st.tuples(st.just("announce"), who, place, paths(one_as))
    return st.lists(
        st.one_of(
            announcing,
            announcing,
            st.tuples(st.just("withdraw"), who, place),
            st.tuples(st.just("flap"), who, st.booleans()),
            st.tuples(st.just("end"), who, family),
            st.tuples(st.just("refresh"), who, family),
            st.tuples(st.just("read"), who, count),
            st.tuples(st.just("hear"), which, count),
            st.tuples(st.just("publish"), which),
            st.just(("part",)),
        ),
        max_size=25,
    )


@settings(max_examples=2000)
@given(
    st.sampled_from([("non-client", "non-client"), ("client", "non-client")]),
    st.booleans(),
    st.sampled_from([1, 300, 1 << 20]),
    st.one_of(steps(True), steps(False)),
)
def test_two_engines_converge_to_the_tables_of_naive_reflectors(
    kinds: tuple[Kind, Kind], one_cluster: bool, ring_bytes: int, steps: list[tuple[Any, ...]]
) -> None:
    world = World(kinds, one_cluster, ring_bytes)
    for what, *arguments in steps:
        getattr(world, what)(*arguments)
    world.check()
