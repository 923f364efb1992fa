"""Every family through an engine: what a client says reaches the others byte for byte, and goes as it came.

NLRI, next hops and attributes are compared as bytes of messages. A reflector adds ORIGINATOR_ID and CLUSTER_LIST
(RFC 4456, 8), and LOCAL_PREF where there is none (RFC 4271, 5.1.5); all else of an iBGP peer is none of its business.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import pytest

from reflector.engine.engine import Engine
from reflector.wire.attributes import (
    CLUSTER_LIST,
    LOCAL_PREF,
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    NEXT_HOP,
    ORIGINATOR_ID,
    Attribute,
    walk,
)
from reflector.wire.families import FAMILIES, FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.update import decode_update
from tests.unit.reflector.engine_world import (
    ASN,
    CACHES,
    Line,
    capabilities,
    configuration,
    ipv4,
    new_engine,
    peer_of,
    settle,
)
from tests.unit.reflector.random_updates import random_update
from tests.unit.reflector.wire_cases import CASES
from tests.unit.reflector.wire_messages import AS_PATH, EVERYTHING, ORIGIN, attribute, reach, update

ALL = tuple(FAMILIES)
#: 192.0.2.2 speaks, 192.0.2.1 is the reflector, and its cluster.
SPEAKER, LISTENER, LATE = 2, 3, 4
ADDED = {ORIGINATOR_ID: ipv4(SPEAKER), CLUSTER_LIST: ipv4(1)}
_NOT_SHARED = (NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI)

Place = tuple[Family, bytes]


class Said(NamedTuple):
    """A route as bytes: its NLRI, next hop, and attributes without those of the reflector: (code, kind, value)."""

    nlri: bytes
    next_hop: bytes
    attributes: tuple[Attribute, ...]


def attributes_of(body: bytes) -> list[Attribute]:
    """Those of an UPDATE's body that are not NLRI or next hop; of the flags what is not a matter of form."""
    start = 4 + int.from_bytes(body[:2])
    size = int.from_bytes(body[start - 2 : start])
    found = walk(body[start : start + size])
    return sorted((code, flags & 0xC0, value) for code, flags, value in found if code not in _NOT_SHARED)


def routes_of(body: bytes, attributes: list[Attribute]) -> dict[Place, Said]:
    found = decode_update(body, EVERYTHING, CACHES[False, True])
    return {
        place_of(family, nlri): Said(nlri, next_hop, tuple(attributes))
        for family, next_hop, keys in found.announced
        for nlri in keys
    }


def withdrawn_by(body: bytes) -> set[Place]:
    found = decode_update(body, EVERYTHING, CACHES[False, True])
    return {place_of(family, nlri) for family, keys in found.withdrawn for nlri in keys}


def place_of(family: Family, nlri: bytes) -> Place:
    """What tells routes apart: the NLRI without labels."""
    key = FAMILIES[family].route_key
    return family, key(nlri) if key else nlri


class Listener(Line):
    """Somebody who keeps the bytes that it is told."""

    def __init__(self, engine: Engine, number: int, *, client: bool = True) -> None:
        super().__init__(engine, peer_of(number, client=client))
        self.held: dict[Place, Said] = {}
        self.up(capabilities(ASN, ALL))

    def on_update(self, body: bytes) -> None:
        for place in withdrawn_by(body):
            del self.held[place]
        attributes = attributes_of(body)
        added = {code: value for code, _, value in attributes if code in ADDED}
        for place, said in routes_of(body, [one for one in attributes if one[0] not in ADDED]).items():
            assert added == ADDED
            self.held[place] = said


def expected(body: bytes) -> dict[Place, Said]:
    """What an announcement of somebody who is no reflector says, with the preference that routes have by default."""
    attributes = attributes_of(body)
    if LOCAL_PREF not in [code for code, _, _ in attributes]:
        attributes = sorted([*attributes, (LOCAL_PREF, 0x40, (100).to_bytes(4))])
    return routes_of(body, attributes)


def fabric(*, client: bool = True) -> tuple[Listener, Listener]:
    """One that will speak, and one that listens."""
    engine = new_engine(configuration(1, peer_of(SPEAKER), peer_of(LISTENER, client=client)))
    return Listener(engine, SPEAKER), Listener(engine, LISTENER, client=client)


def speak(speaker: Listener, listener: Listener, body: bytes) -> None:
    assert speaker.state is not None
    speaker.engine.update(speaker.state, body)
    settle([speaker.engine], [speaker, listener])
    assert speaker.held == {}, "nobody is told its own routes"


def body_of(name: str) -> bytes:
    return bytes.fromhex(next(case.message for case in CASES if case.name == name))[19:]


#: The list of messages has them announced and withdrawn.
NAMES = [name for name, family in FAMILY_BY_NAME.items() if family not in (IPV4_UNICAST, IPV6_UNICAST)]


@pytest.mark.parametrize("client", [True, False], ids=["client", "non-client"])
@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_reflected_byte_for_byte_and_withdrawn_as_it_came(name: str, client: bool) -> None:
    speaker, listener = fabric(client=client)
    announced, gone = body_of(f"{name} announced"), body_of(f"{name} withdrawn")
    speak(speaker, listener, announced)
    assert listener.held == expected(announced) != {}
    late = Listener(speaker.engine, LATE)
    settle([speaker.engine], [late])
    assert late.held == listener.held, "the snapshot says the same"
    speak(speaker, listener, gone)
    assert listener.held == {}


@pytest.mark.parametrize("block", range(6))
def test_any_routes_of_any_family_with_any_attributes(block: int) -> None:
    """One after the other; what comes later takes the place of what was said of the same route before."""
    for seed in range(60 * block, 60 * (block + 1)):
        chance, (speaker, listener) = Random(seed), fabric()
        wanted: dict[Place, Said] = {}
        for _ in range(chance.randrange(1, 6)):
            body = random_update(chance)
            if not _reflected_before(body):
                speak(speaker, listener, body)
                for place in withdrawn_by(body):
                    wanted.pop(place, None)
                wanted |= expected(body)
        assert listener.held == wanted, seed


def _reflected_before(body: bytes) -> bool:
    """Or it has our own AS in its path, or a community that everybody knows: policy has tests of its own."""
    block = decode_update(body, EVERYTHING, CACHES[False, True]).block
    if block is None:
        return False
    known = any(community >> 16 == 0xFFFF for community in block.communities)
    return bool(block.originator_id or block.cluster_list or ASN in block.as_path or known)


def test_of_unknown_attributes_the_transitive_ones_travel_along() -> None:
    """RFC 4271, 5."""
    evpn, nlri = FAMILY_BY_NAME["l2vpn-evpn"], b"\3\2\xab\xcd"
    unknown = attribute(98, b"for you only", 0x80) + attribute(99, b"as it came", 0xC0)
    speaker, listener = fabric()
    speak(speaker, listener, update(ORIGIN + AS_PATH + unknown + reach(evpn, ipv4(2), nlri)))
    (said,) = listener.held.values()
    assert [one for one in said.attributes if one[0] > 90] == [(99, 0xC0, b"as it came")]
