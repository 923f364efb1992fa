"""The reflector's codec under any bytes: it understands them or raises ResetSession, and what it understood it can say.

    python -m tests.fuzz.wire_codec [SECONDS]     random bytes and damaged messages, until something is wrong

`coverage.py` runs the same under atheris, and keeps the corpus.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from random import Random

from reflector.wire import framing
from reflector.wire.as_path import has_confederation, prepend
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attributes import walk
from reflector.wire.errors import ErrorCode, ResetSession
from reflector.wire.families import FAMILIES, IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.framing import Framer, encode_message
from reflector.wire.negotiated import Negotiated, negotiate
from reflector.wire.notification import decode_notification, notification_of
from reflector.wire.open_message import OpenMessage, decode_open, without_host_name
from reflector.wire.packing import encode_updates
from reflector.wire.route_refresh import decode_route_refresh
from reflector.wire.update import Update, decode_update

_ALL = tuple(FAMILIES)
_FAMILIES = (_ALL, (IPV4_UNICAST,), (IPV6_UNICAST,), ())
_ID = b"\x0a\0\0\1"


def fuzz_one(data: bytes) -> None:
    """The first byte says what was negotiated, the second what kind of message the rest is; 0 to 4: a stream of them.

    Raises AssertionError, or whatever else the codec should not have raised.
    """
    if len(data) < 2:
        return
    choice, kind, body = data[0], data[1], data[2:]
    families = _FAMILIES[choice & 3]
    four_octet, external = bool(choice & 4), bool(choice & 8)
    negotiated = Negotiated(
        families=families,
        four_octet=four_octet,
        add_path_receive=frozenset(families) if choice & 16 else frozenset(),
        extended_next_hop=frozenset(((IPV4_UNICAST, 2), (IPV6_UNICAST, 1))) if choice & 32 else frozenset(),
    )
    cache = AttributeCache(external=external, four_octet=four_octet, loopback=bool(choice & 64))
    if kind < 5:
        _stream(body, negotiated, cache)
    else:
        _message(kind % 5 + 1, body, negotiated, cache)


def _stream(data: bytes, negotiated: Negotiated, cache: AttributeCache) -> None:
    framer = Framer(framing.MAX_EXTENDED_LENGTH)
    messages = []
    try:
        for message in framer.feed(data):
            messages.append(message)
    except ResetSession as reset:
        _check_reset(reset)
    for kind, body in messages:
        _message(kind, body, negotiated, cache)


def _message(kind: int, body: bytes, negotiated: Negotiated, cache: AttributeCache) -> None:
    try:
        if kind == framing.OPEN:
            opened = decode_open(body)
            shared, host_name = without_host_name(body)
            alone = decode_open(shared).capabilities
            assert replace(alone, host_name=host_name or alone.host_name, unknown=()) == replace(
                opened.capabilities, unknown=()
            ), "an OPEN that says something else without a host name"
            assert decode_open(opened.encode()) == opened, "an OPEN that reads otherwise when it is said again"
            negotiate(OpenMessage(65000, 90, _ID), opened)
        elif kind == framing.UPDATE:
            _update(body, negotiated, cache)
        elif kind == framing.NOTIFICATION:
            found = decode_notification(body)
            assert isinstance(found.name + found.reason, str)
        elif kind == framing.ROUTE_REFRESH:
            assert decode_route_refresh(body).encode() == body[:4]
    except ResetSession as reset:
        _check_reset(reset)


def _check_reset(reset: ResetSession) -> None:
    """It can be sent: a code and a subcode that exist, and one line for the log."""
    assert reset.code in ErrorCode.__members__.values()
    assert "subcode" not in notification_of(reset).name
    assert reset.reason
    assert "\n" not in reset.reason
    assert len(encode_message(framing.NOTIFICATION, notification_of(reset).encode())) <= framing.MAX_LENGTH


def _update(body: bytes, negotiated: Negotiated, cache: AttributeCache) -> None:
    found = decode_update(body, negotiated, cache)
    assert decode_update(body, negotiated, cache) == found, "another answer from the cache"
    assert (found.block is None) == (not found.announced)
    for family in (*(f for f, _ in found.withdrawn), *(f for f, _, _ in found.announced)):
        assert family in negotiated.families
    for family, keys in found.withdrawn:
        _said_again(family, keys, encode_updates(family, keys, (), framing.MAX_EXTENDED_LENGTH), negotiated, cache)
    if found.block is not None:
        _announced(found, found.block, negotiated, cache)


def _announced(found: Update, block: AttributeBlock, negotiated: Negotiated, cache: AttributeCache) -> None:
    """All that is made of a block is in order, and its routes read the same when they are said again."""
    changed = block.rewritten(as_path=prepend(block.segments, (64512, 4200000000)), med=1, communities=None)
    for made in (block, changed):
        for four_octet in (True, False):
            for raw in (made.encoded(four_octet=four_octet), made.reflected(_ID, _ID, four_octet=four_octet)):
                codes = [code for code, _, _ in walk(raw)]
                assert codes == sorted(set(codes))
    if has_confederation(block.segments) and not cache.four_octet:
        return  # segments of a confederation may get lost on the way through an older speaker (RFC 6793, 4.2.3)
    attributes = block.encoded(four_octet=cache.four_octet)
    for family, next_hop, keys in found.announced:
        messages = encode_updates(family, (), [(next_hop, attributes, keys)], framing.MAX_EXTENDED_LENGTH)
        again = _said_again(family, keys, messages, negotiated, cache)
        assert all(update.block is block for update in again if update.announced), "another block"


def _said_again(
    family: Family, keys: list[bytes], messages: list[bytes], negotiated: Negotiated, cache: AttributeCache
) -> list[Update]:
    updates = []
    for message in messages:
        ((kind, body),) = Framer(framing.MAX_EXTENDED_LENGTH).feed(message)
        assert kind == framing.UPDATE
        updates.append(decode_update(body, negotiated, cache))
    said = [(f, key) for u in updates for f, ks in (*u.withdrawn, *((f, ks) for f, _, ks in u.announced)) for key in ks]
    assert sorted(said) == sorted((family, key) for key in keys)
    return updates


def main() -> None:
    from tests.unit.reflector.random_updates import damaged, random_update  # noqa: PLC0415 (only here)

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    end, seed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        chance = Random(seed)
        four_octet, path_ids = chance.random() < 0.5, chance.random() < 0.3
        body = damaged(chance, random_update(chance, four_octet=four_octet, path_ids=path_ids))
        choice = 4 * four_octet | 16 * path_ids | chance.choice((0, 0, 0, 1, 2, 3)) | chance.choice((0, 8, 32, 40))
        try:
            fuzz_one(bytes((choice, 6)) + body)
            fuzz_one(chance.randbytes(chance.randrange(200)))
        except BaseException:
            sys.stderr.write(f"seed {seed}\n")
            raise
        seed += 1
    sys.stdout.write(f"{seed} damaged UPDATEs\n")


if __name__ == "__main__":
    main()
