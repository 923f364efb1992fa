"""UPDATEs of every supported attribute and family from a random number generator, and ways to damage them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from reflector.wire.families import Family
from tests.unit.reflector.wire_messages import attribute, reach, unreach, update

Make = Callable[[Random], bytes]


def _bytes(chance: Random, *sizes: int) -> bytes:
    return chance.randbytes(chance.choice(sizes))


def _asn(chance: Random, width: int) -> bytes:
    asn = chance.choice((1, 23456, 64512, 65535, 65536, 4200000000))
    return (asn if asn < 1 << 8 * width else 23456).to_bytes(width, "big")


def path(chance: Random, width: int, *, kinds: tuple[int, ...] = (1, 2, 2, 2)) -> bytes:
    """Segments of an AS path."""
    segments = []
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        count = chance.choice((1, 1, 2, 3, 7))
        asns = b"".join(_asn(chance, width) for _ in range(count))
        segments.append(bytes((chance.choice(kinds), count)) + asns)
    return b"".join(segments)


def _address(chance: Random) -> bytes:
    return bytes((chance.choice((10, 172, 192, 198)),)) + chance.randbytes(3)


def _list(size: int) -> Make:
    return lambda chance: chance.randbytes(size * chance.choice((1, 1, 2, 5, 30)))


def _tlv(chance: Random, length_size: int) -> bytes:
    """A length and so many bytes."""
    value = chance.randbytes(chance.choice((1, 4, 20)))
    return len(value).to_bytes(length_size, "big") + value


#: Optional attributes: code -> flags, value.
OPTIONAL: dict[int, tuple[int, Make]] = {
    4: (0x80, lambda c: c.randbytes(4)),
    5: (0x40, lambda c: c.randbytes(4)),
    6: (0x40, lambda c: b""),
    8: (0xC0, _list(4)),
    9: (0x80, _address),
    10: (0x80, _list(4)),
    16: (0xC0, lambda c: b"".join(b"\0\2" + c.randbytes(6) for _ in range(c.choice((1, 3))))),
    22: (0xC0, lambda c: bytes((c.choice((0, 1)), 6)) + c.randbytes(3) + _address(c)),
    23: (0xC0, lambda c: b"\0\x08" + _tlv(c, 2)),
    24: (0x80, lambda c: c.randbytes(c.choice((36, 44)))),
    25: (0xC0, lambda c: b"".join(b"\0\2" + c.randbytes(18) for _ in range(c.choice((1, 2))))),
    26: (0x80, lambda c: b"\1\0\x0b" + c.randbytes(8)),
    32: (0xC0, _list(12)),
    35: (0xC0, lambda c: _asn(c, 4)),
    40: (0xC0, lambda c: b"\1\0\7\0\0\0" + c.randbytes(4)),
    128: (0xC0, lambda c: _asn(c, 4) + attribute(1, b"\0") + attribute(5, c.randbytes(4))),
    99: (0xC0, lambda c: c.randbytes(c.choice((0, 1, 40, 300)))),
}


def _prefix(chance: Random, bits: int) -> bytes:
    length = chance.choice((0, 8, 24, bits, chance.randint(0, bits)))
    spare = bits - length
    number = chance.getrandbits(bits) >> spare << spare
    return bytes((length,)) + number.to_bytes(bits // 8, "big")[: (length + 7) // 8]


def _labelled(bits: int) -> Make:
    def make(chance: Random) -> bytes:
        prefix = _prefix(chance, bits)
        return bytes((prefix[0] + 24,)) + chance.randbytes(2) + b"\x01" + prefix[1:]

    return make


def _vpn(bits: int) -> Make:
    def make(chance: Random) -> bytes:
        prefix = _prefix(chance, bits)
        distinguisher = b"\0\0" + chance.randbytes(6)
        return bytes((prefix[0] + 88,)) + chance.randbytes(2) + b"\x01" + distinguisher + prefix[1:]

    return make


def _evpn(chance: Random) -> bytes:
    distinguisher, tag = b"\0\1" + chance.randbytes(6), chance.randbytes(4)
    kind = chance.choice((2, 3))
    if kind == 3:
        value = distinguisher + tag + b"\x20" + chance.randbytes(4)
    else:
        segment = b"\0" + chance.randbytes(9)
        value = distinguisher + segment + tag + b"\x30" + chance.randbytes(6) + b"\0" + chance.randbytes(2) + b"\x01"
    return bytes((kind, len(value))) + value


def _flow(destination: bytes, distinguisher: bytes = b"") -> Make:
    """Flow rules: a destination, some with a protocol."""

    def make(chance: Random) -> bytes:
        rules = distinguisher + destination + chance.randbytes(2)
        if chance.random() < 0.5:
            rules += b"\x03\x81" + chance.randbytes(1)
        return bytes((len(rules),)) + rules

    return make


_FLOW_4, _FLOW_6 = b"\x01\x18\x0a", b"\x01\x18\x00\xfd"
_DISTINGUISHER = b"\0\1\x0a\0\0\1\0\x05"


def _mvpn(size: int) -> Make:
    """A source that is active, by addresses of so many bytes."""

    def make(chance: Random) -> bytes:
        source, group = (bytes((8 * size,)) + chance.randbytes(size) for _ in range(2))
        value = b"\0\1" + chance.randbytes(6) + source + group
        return bytes((5, len(value))) + value

    return make


def _mup(bits: int) -> Make:
    """An interwork segment, or a direct one."""

    def make(chance: Random) -> bytes:
        kind = chance.choice((1, 2))
        where = _prefix(chance, bits) if kind == 1 else chance.randbytes(bits // 8)
        value = _DISTINGUISHER + where
        return bytes((1, 0, kind, len(value))) + value

    return make


def _link_state(distinguisher: bytes = b"") -> Make:
    """A node: its AS and its identifier in the IGP."""

    def make(chance: Random) -> bytes:
        descriptors = b"\2\0\0\4" + _asn(chance, 4) + b"\2\3\0\4" + _address(chance)
        value = b"\3" + bytes(8) + b"\1\0" + len(descriptors).to_bytes(2, "big") + descriptors
        return b"\0\1" + (len(distinguisher) + len(value)).to_bytes(2, "big") + distinguisher + value

    return make


def _vpls(chance: Random) -> bytes:
    return b"\0\x11" + b"\0\1" + chance.randbytes(6) + chance.randbytes(6) + chance.randbytes(2) + b"\x01"


_V4: Make = _address
_V6: Make = lambda c: b"\xfd" + c.randbytes(15)  # noqa: E731

#: Family -> one NLRI, a next hop.
FAMILIES: dict[Family, tuple[Make, Make]] = {
    Family(1, 1): (lambda c: _prefix(c, 32), _V4),
    Family(2, 1): (lambda c: _prefix(c, 128), _V6),
    Family(1, 2): (lambda c: _prefix(c, 32), _V4),
    Family(2, 2): (lambda c: _prefix(c, 128), _V6),
    Family(1, 4): (_labelled(32), _V4),
    Family(2, 4): (_labelled(128), _V6),
    Family(1, 128): (_vpn(32), lambda c: bytes(8) + _V4(c)),
    Family(2, 128): (_vpn(128), lambda c: bytes(8) + _V6(c)),
    Family(1, 133): (_flow(_FLOW_4), lambda c: b""),
    Family(2, 133): (_flow(_FLOW_6), lambda c: b""),
    Family(1, 134): (_flow(_FLOW_4, _DISTINGUISHER), lambda c: b""),
    Family(2, 134): (_flow(_FLOW_6, _DISTINGUISHER), lambda c: b""),
    Family(25, 70): (_evpn, _V4),
    Family(25, 65): (_vpls, _V4),
    Family(1, 5): (_mvpn(4), _V4),
    Family(2, 5): (_mvpn(16), _V6),
    Family(1, 85): (_mup(32), _V4),
    Family(2, 85): (_mup(128), _V6),
    Family(16388, 71): (_link_state(), _V4),
    Family(16388, 72): (_link_state(_DISTINGUISHER), lambda c: bytes(8) + _V4(c)),
}


def _field(chance: Random, make: Make, path_ids: bool) -> bytes:
    count = 1 if make is _vpls else chance.choice((1, 1, 2, 5))  # ExaBGP reads no second one
    return b"".join((chance.randbytes(4) if path_ids else b"") + make(chance) for _ in range(count))


def _attributes(chance: Random, four_octet: bool) -> list[bytes]:
    width = 4 if four_octet else 2
    found = [attribute(1, bytes((chance.randrange(3),))), attribute(2, path(chance, width))]
    for code in chance.sample(sorted(OPTIONAL), chance.randrange(6)):
        flags, make = OPTIONAL[code]
        found.append(attribute(code, make(chance), flags, extended=chance.random() < 0.1))
    if chance.random() < 0.3:
        found.append(attribute(7, _asn(chance, width) + _address(chance), 0xC0))
    if not four_octet and chance.random() < 0.5:
        found.append(attribute(17, path(chance, 4) or b"\2\1\0\1\0\0", 0xC0))
    if not four_octet and chance.random() < 0.3:
        found.append(attribute(18, _asn(chance, 4) + _address(chance), 0xC0))
    return found


def random_update(chance: Random, *, four_octet: bool = True, path_ids: bool = False) -> bytes:
    """The body of a valid UPDATE: a withdrawal or an announcement of one family, or both of IPv4 unicast."""
    family = chance.choice((Family(1, 1), *FAMILIES))
    make, next_hop = FAMILIES[family]
    kind = chance.choice(("announce", "announce", "announce", "withdraw", "end"))
    if kind == "end":
        return update() if family == Family(1, 1) else update(unreach(family, b""))
    nlri = _field(chance, make, path_ids)
    if kind == "withdraw":
        return update(withdrawn=nlri) if family == Family(1, 1) else update(unreach(family, nlri))
    attributes = _attributes(chance, four_octet)
    if family != Family(1, 1):
        attributes.insert(chance.choice((0, len(attributes))), reach(family, next_hop(chance), nlri))
        return update(b"".join(attributes))
    attributes.append(attribute(3, next_hop(chance)))
    chance.shuffle(attributes)
    gone = _field(chance, make, path_ids) if chance.random() < 0.2 else b""
    return update(b"".join(attributes), nlri, gone)


def damaged(chance: Random, body: bytes) -> bytes:
    """Bytes changed, put in, taken out or doubled: mostly within one of the three fields, whose length is put right."""
    if chance.random() < 0.2:
        return _hurt(chance, body)
    gone_end = 2 + int.from_bytes(body[:2], "big")
    nlri_start = gone_end + 2 + int.from_bytes(body[gone_end : gone_end + 2], "big")
    fields = [body[gone_end + 2 : nlri_start], body[nlri_start:], body[2:gone_end]]
    hurt = chance.choice([n for n, field in enumerate(fields) if field] or [0])
    fields[hurt] = _hurt(chance, fields[hurt])
    return update(*fields)


def _hurt(chance: Random, data: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data = data[:place] + chance.randbytes(1) + data[place + 1 :]
            case 1:
                data = data[:place] + bytes((chance.choice((0, 1, 4, 0x40, 0x80, 0xC0, 0xFF)),)) + data[place + 1 :]
            case 2:
                data = data[:place] + data[place + 1 :]
            case 3:
                data = data[:place] + chance.randbytes(1) + data[place:]
            case 4:
                data = data[:place]
            case _:
                end = min(len(data), place + chance.randrange(8))
                data = data[:end] + data[place:end] + data[end:]
    return data
