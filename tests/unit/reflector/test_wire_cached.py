"""What the caches remember changes nothing: the same bytes mean the same, whatever came before, in any session."""

from __future__ import annotations

from random import Random

import pytest

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attribute_reader import take_apart
from reflector.wire.errors import ResetSession
from reflector.wire.negotiated import Negotiated
from reflector.wire.update import decode_update
from tests.unit.reflector.rfc7606_rules import (
    BASE,
    MP_BASE,
    with_next_hop,
)
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVERYTHING,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    ORIGIN,
    OTHER_PREFIX,
    PREFIX,
    PREFIX6,
    V4,
    V6,
    attribute,
    reach,
    unreach,
    update,
)

LOOPBACK = {
    "127.0.0.1": (with_next_hop("7f000001"), PREFIX, True),
    "0.0.0.0": (with_next_hop("00000000"), PREFIX, False),
    "224.0.0.1": (with_next_hop("e0000001"), PREFIX, False),
    "::1": (MP_BASE + reach(V6, bytes(15) + b"\1", PREFIX6), b"", True),
    "::": (MP_BASE + reach(V6, bytes(16), PREFIX6), b"", False),
    "127.0.0.1 in MP_REACH_NLRI": (MP_BASE + reach(V4, b"\x7f\0\0\1", PREFIX), b"", True),
}


@pytest.mark.parametrize("name", LOOPBACK)
def test_a_session_over_loopback_may_have_such_next_hops(name: str) -> None:
    """As somebody does who tries all of it on one machine. The second time comes from the cache."""
    attributes, nlri, usable = LOOPBACK[name]
    for loopback, routes in ((True, usable), (False, False)):
        cache = AttributeCache(external=False, loopback=loopback)
        for body in (update(BASE, PREFIX), update(attributes, nlri), update(attributes, nlri)):
            found = decode_update(body, EVERYTHING, cache)
        assert bool(found.announced) is routes
        assert bool(found.withdrawn) is not routes


#: What looks like a NEXT_HOP and is none, in front of the true one, behind it, or without one.
_LOOKS_SO = bytes.fromhex("400304 0a000009")
LOOKALIKES = {
    "an AS number": ORIGIN + attribute(2, b"\2\2" + _LOOKS_SO + b"\1") + NEXT_HOP,
    "behind": BASE + attribute(99, _LOOKS_SO, 0xC0),
    "only": ORIGIN + AS_PATH + attribute(99, _LOOKS_SO, 0xC0),
    "true one first": NEXT_HOP + ORIGIN + AS_PATH + attribute(99, _LOOKS_SO, 0xC0),
    "cut short": ORIGIN + AS_PATH + NEXT_HOP[:-1],
    "twice": BASE + NEXT_HOP,
    "behind MP_REACH_NLRI": reach(V6, IPV6_NEXT_HOP, PREFIX6) + BASE + attribute(99, bytes(90), 0xC0),
    "behind MP_UNREACH_NLRI": unreach(V6, PREFIX6) + BASE + attribute(99, bytes(60), 0xC0),
    "across two attributes": ORIGIN + AS_PATH + attribute(99, b"a\x40", 0xC0) + b"\x03\x04\x0a\0\0\1" + NEXT_HOP,
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_looks_like_a_next_hop_is_none(name: str, seed: int) -> None:
    """Whatever is taken out of these attributes, and what is left was seen before: the cache is right."""
    attributes = LOOKALIKES[name]
    places = [at for at in range(len(attributes)) if attributes.startswith(NEXT_HOP[:3], at)]
    rests = [take_apart(attributes).rest, *(attributes[:at] + attributes[at + 7 :] for at in places)]
    bodies = [update(rest[:at] + NEXT_HOP + rest[at:], PREFIX) for rest in rests for at in range(len(rest) + 1)]
    bodies += [update(other, PREFIX) for other in (BASE, *LOOKALIKES.values())] * 3
    Random(seed).shuffle(bodies)
    cache = AttributeCache(external=False)
    for body in bodies:
        assert _meaning(body, cache) == _meaning(body, AttributeCache(external=False))


def _meaning(body: bytes, cache: AttributeCache) -> object:
    """What an UPDATE leads to, in values that compare."""
    try:
        found = decode_update(body, EVERYTHING, cache)
    except ResetSession as reset:
        return str(reset)
    return found._replace(block=None), found.block and found.block.raw


def test_a_session_without_ipv4_does_not_learn_from_one_with_it() -> None:
    """The cache is shared."""
    cache = AttributeCache(external=False)
    assert len(decode_update(update(BASE, PREFIX), EVERYTHING, cache).announced) == 1
    assert decode_update(update(BASE, PREFIX), Negotiated(families=(V6,)), cache).announced == []
    assert len(decode_update(update(BASE, PREFIX), EVERYTHING, cache).announced) == 1


def test_what_is_withdrawn_beside_an_announcement_is_not_passed_over() -> None:
    """Though the same attributes came before, in an UPDATE that only announces; and the other way round."""
    both, alone = update(BASE, PREFIX, OTHER_PREFIX), update(BASE, PREFIX)
    for bodies in ((alone, both), (both, alone, both)):
        cache = AttributeCache(external=False)
        found = [decode_update(body, EVERYTHING, cache) for body in bodies]
        withdrawn = [one.withdrawn for one in found]
        assert withdrawn == [[(V4, [OTHER_PREFIX])] if body is both else [] for body in bodies]
        assert all(one.announced == [(V4, NEXT_HOP[3:], [PREFIX])] for one in found)
