"""The list of messages that decoding and encoding, framing and fuzzing are tested with: bytes and what they say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from reflector.wire import framing
from reflector.wire.capabilities import AddPath, Capabilities, GracefulRestart, LongLived
from reflector.wire.families import FAMILY_BY_NAME, Family
from reflector.wire.framing import encode_message
from reflector.wire.negotiated import Negotiated
from reflector.wire.notification import Notification, decode_notification, shutdown
from reflector.wire.open_message import OpenMessage, decode_open
from reflector.wire.packing import encode_end_of_rib, encode_updates
from reflector.wire.route_refresh import RouteRefresh, decode_route_refresh
from reflector.wire.update import Update
from tests.unit.reflector.wire_messages import (
    EVERYTHING,
    EVPN,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    PREFIX,
    PREFIX6,
    V4,
    V6,
    attribute,
    decoded,
)


class Case(NamedTuple):
    """`decode` makes `value` of a body; `encode` makes the whole message of `value` again."""

    name: str
    message: str
    value: Any
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _open(name: str, body: str, value: OpenMessage) -> Case:
    return Case(name, _message(1, body), value, decode_open, lambda v: encode_message(framing.OPEN, v.encode()))


def _notification(name: str, body: str, value: Notification) -> Case:
    return Case(
        name,
        _message(3, body),
        value,
        decode_notification,
        lambda v: encode_message(framing.NOTIFICATION, v.encode()),
    )


def _refresh(name: str, body: str, value: RouteRefresh) -> Case:
    return Case(
        name,
        _message(5, body),
        value,
        decode_route_refresh,
        lambda v: encode_message(framing.ROUTE_REFRESH, v.encode()),
    )


def _update(name: str, body: str, value: dict[str, Any], negotiated: Negotiated = EVERYTHING) -> Case:
    return Case(name, _message(2, body), value, partial(_update_value, negotiated=negotiated), _update_message)


def _message(kind: int, body: str) -> str:
    data = bytes.fromhex(body)
    return "ff" * 16 + f"{19 + len(data):04x}{kind:02x}" + data.hex()


def _update_value(body: bytes, negotiated: Negotiated) -> dict[str, Any]:
    """What an UPDATE says, in values that compare: the block by its bytes."""
    found: Update = decoded(body, negotiated=negotiated)
    assert found.faults == ()
    attributes = found.block.raw.hex() if found.block else None
    return {
        "withdrawn": found.withdrawn,
        "announced": found.announced,
        "attributes": attributes,
        "end_of_rib": found.end_of_rib,
    }


def _update_message(value: dict[str, Any]) -> bytes:
    if value["end_of_rib"]:
        return encode_end_of_rib(value["end_of_rib"])
    messages = [m for family, keys in value["withdrawn"] for m in encode_updates(family, keys, ())]
    for family, next_hop, keys in value["announced"]:
        messages += encode_updates(family, (), [(next_hop, bytes.fromhex(value["attributes"]), keys)])
    return b"".join(messages)


def _says(
    withdrawn: list[Any] | None = None,
    announced: list[Any] | None = None,
    attributes: str | None = None,
    end: Any = None,
) -> dict[str, Any]:
    return {"withdrawn": withdrawn or [], "announced": announced or [], "attributes": attributes, "end_of_rib": end}


def _routes(name: str, next_hop: str, *nlri: str) -> list[Case]:
    """A family's routes announced, withdrawn, and said to be all."""
    family, keys = FAMILY_BY_NAME[name], [bytes.fromhex(text) for text in nlri]
    address, field = bytes.fromhex(next_hop), b"".join(keys)
    head = family.packed + bytes((len(address),)) + address + b"\0"
    reach = (attribute(14, head + field, 0x80) + bytes.fromhex(BASE)).hex()
    unreach, end = (attribute(15, family.packed + rest, 0x80).hex() for rest in (field, b""))
    said = _says(announced=[(family, address, keys)], attributes=bytes.fromhex(BASE).hex())
    return [
        _update(f"{name} announced", f"0000 {len(reach) // 2:04x} {reach}", said),
        _update(f"{name} withdrawn", f"0000 {len(unreach) // 2:04x} {unreach}", _says([(family, keys)])),
        _update(f"End-of-RIB of {name}", f"0000 {len(end) // 2:04x} {end}", _says(end=family)),
    ]


ROUTER_ID = bytes((10, 0, 0, 1))
#: Everything that an announcement may say beside its next hop, by type code.
ALL_ATTRIBUTES = (
    "400101 02 400214 0202 0000fde8 00011170 0102 00000001 00000002 800404 00000007 400504 00000064 400600"
    "c00708 00011170 0a000001 c00808 fde80001 ffffff01 800904 0a000002 800a08 0a000003 0a000004 c01008 0002fde800000001"
    "c01609 0006000000 0a000001 c01708 0008 0004 01020304 801801 00 c01914 0002" + "fd" * 18 + "801a0b 01000b"
    "0000000000000005 801d05 0400 0001 00 c0200c 000000010000000200000003 c02304 0000fde8 c0280a 01 0007 00000000000003"
    "e06306 6f7061717565 c08008 0000fde8 40010100"
)
WITH_PATHS = Negotiated(families=(V4, V6), add_path_receive=frozenset((V4, V6)))
BOTH_NEXT_HOPS = Negotiated(families=(V4, V6), extended_next_hop=frozenset(((V4, 2),)))
BASE = "40010100 400206 02010000fde8"
CASES = [
    _open("old speaker", "04 fde8 005a 0a000001 00", OpenMessage(65000, 90, ROUTER_ID)),
    _open(
        "families and AS numbers of four bytes",
        "04 5ba0 0000 0a000001 18 0216 0104 0001 0001 0104 0002 0001 0200 4104 fffffff0 4600",
        OpenMessage(
            0xFFFFFFF0,
            0,
            ROUTER_ID,
            Capabilities(
                multiprotocol=(V4, V6), route_refresh=True, four_octet_as=0xFFFFFFF0, enhanced_route_refresh=True
            ),
        ),
    ),
    _open(
        "restart, paths, next hops, long messages",
        "04 fde8 00b4 0a000001 44 0242"
        "0104 0001 0001 050c 0001 0001 0002 0019 0046 0002 0600 400a c078 0001 01 80 0002 01 00 4104 0000fde8"
        "4508 0001 01 03 0002 01 01 4707 0001 01 80 015180 4905 03 727231 00",
        OpenMessage(
            65000,
            180,
            ROUTER_ID,
            Capabilities(
                multiprotocol=(V4,),
                extended_next_hop=((V4, 2), (EVPN, 2)),
                extended_message=True,
                graceful_restart=GracefulRestart(120, {V4: True, V6: False}, restarting=True, notification=True),
                four_octet_as=65000,
                add_path={V4: AddPath.BOTH, V6: AddPath.RECEIVE},
                long_lived={V4: LongLived(86400, forwarding=True)},
                host_name=("rr1", ""),
            ),
        ),
    ),
    _open(
        "a capability that is not known",
        "04 fde8 005a 0a000001 07 0205 c803 010203",
        OpenMessage(65000, 90, ROUTER_ID, Capabilities(unknown=((200, b"\1\2\3"),))),
    ),
    _open(
        "extended optional parameters",
        "04 fde8 005a 0a000001 ff ff 0104 02 0101 c8ff" + "aa" * 255,
        OpenMessage(65000, 90, ROUTER_ID, Capabilities(unknown=((200, b"\xaa" * 255),))),
    ),
    Case("KEEPALIVE", _message(4, ""), b"", bytes, lambda v: encode_message(framing.KEEPALIVE, v)),
    _notification("hold timer", "04 00", Notification(4)),
    _notification("bad length", "01 02 0012", Notification(1, 2, b"\0\x12")),
    _notification("shutdown with a reason", "06 02 04 c3bc6f21", shutdown("üo!")),
    _refresh("request", "0001 00 01", RouteRefresh(V4)),
    _refresh("border", "0002 02 01", RouteRefresh(V6, 2)),
    _update("End-of-RIB of IPv4", "0000 0000", _says(end=V4)),
    _update("withdrawal", "0007 18 0a0102 10 0a01 0000", _says([(V4, [PREFIX, bytes.fromhex("100a01")])])),
    _update(
        "announcement",
        f"0000 0014 {BASE} 400304 0a000001 18 0a0102 00 20 0a000001",
        _says(
            announced=[(V4, NEXT_HOP[3:], [PREFIX, b"\0", bytes.fromhex("200a000001")])],
            attributes=bytes.fromhex(BASE).hex(),
        ),
    ),
    _update(
        "IPv6 announcement",
        f"0000 0035 800e1e 0002 01 10 {IPV6_NEXT_HOP.hex()} 00 {PREFIX6.hex()} {BASE} 400504 00000064",
        _says(announced=[(V6, IPV6_NEXT_HOP, [PREFIX6])], attributes=bytes.fromhex(f"{BASE} 40050400000064").hex()),
    ),
    _update("IPv6 withdrawal", f"0000 000f 800f0c 0002 01 {PREFIX6.hex()}", _says([(V6, [PREFIX6])])),
    _update(
        "every attribute",
        f"0000 {16 + len(bytes.fromhex(ALL_ATTRIBUTES)):04x} 800e0d 0001 02 04 0a000001 00 18 0a0102" + ALL_ATTRIBUTES,
        _says(
            announced=[(Family(1, 2), NEXT_HOP[3:], [PREFIX])],
            attributes=bytes.fromhex(ALL_ATTRIBUTES).hex(),
        ),
    ),
    _update(
        "IPv4 over IPv6",
        f"0000 002d 800e1d 0001 01 10 {IPV6_NEXT_HOP.hex()} 00 {PREFIX.hex()} 18 0a0103 {BASE}",
        _says(
            announced=[(V4, IPV6_NEXT_HOP, [PREFIX, bytes.fromhex("180a0103")])],
            attributes=bytes.fromhex(BASE).hex(),
        ),
        BOTH_NEXT_HOPS,
    ),
    _update(
        "IPv6 with a link-local next hop",
        f"0000 003e 800e2e 0002 01 20 {IPV6_NEXT_HOP.hex()} fe80{'00' * 13}07 00 {PREFIX6.hex()} {BASE}",
        _says(
            announced=[(V6, IPV6_NEXT_HOP + bytes.fromhex("fe80" + "00" * 13 + "07"), [PREFIX6])],
            attributes=bytes.fromhex(BASE).hex(),
        ),
    ),
    _update(
        "paths",
        f"0000 0014 {BASE} 400304 0a000001 00000001 18 0a0102 fffffffe 18 0a0102",
        _says(
            announced=[(V4, NEXT_HOP[3:], [b"\0\0\0\1" + PREFIX, b"\xff\xff\xff\xfe" + PREFIX])],
            attributes=bytes.fromhex(BASE).hex(),
        ),
        WITH_PATHS,
    ),
    _update("a path withdrawn", "0008 00000007 18 0a0102 0000", _says([(V4, [b"\0\0\0\7" + PREFIX])]), WITH_PATHS),
    _update(
        "an IPv6 path withdrawn",
        f"0000 0013 800f10 0002 01 00000007 {PREFIX6.hex()}",
        _says([(V6, [b"\0\0\0\7" + PREFIX6])]),
        WITH_PATHS,
    ),
    *_routes("ipv4-multicast", "0a000001", "18 0a0102"),
    *_routes("ipv6-multicast", "fd" * 16, "40 fd00000100000001", "00"),
    *_routes("ipv4-labelled-unicast", "0a000001", "30 000011 0a0102", "38 000021 0a010203"),
    *_routes("ipv6-labelled-unicast", "fd" * 16, "58 000011 fd00000000000001"),
    *_routes("ipv4-mvpn", "0a000001", "0604 01020304"),
    *_routes("ipv6-mvpn", "fd" * 16, "0700"),
    *_routes("l2vpn-vpls", "0a000001", "0011 0001c0a8c901007b000500010008029ce1"),
    *_routes("l2vpn-evpn", "0a000001", "0308 0102030405060708", "0201aa"),
    *_routes("link-state", "0a000001", "0001 0003 aabbcc"),
    *_routes("link-state-vpn", "0000000000000000 0a000001", "0001 0003 aabbcc", "0002 0000"),
    *_routes("ipv4-sr-policy", "0a000001", "60 000000010000006401020304"),
    *_routes("ipv6-sr-policy", "fd" * 16, "c0 0000000100000064" + "fd" * 16),
    *_routes("ipv4-mup", "0a000001", "01 0001 03 0a0b0c", "01 0002 00"),
    *_routes("ipv6-mup", "fd" * 16, "01 0001 03 0a0b0c"),
    *_routes("ipv4-vpn", "0000000000000000 0a000001", "70 03e811 0000fde800000001 0a0000"),
    *_routes("ipv6-vpn", "00" * 8 + "fd" * 16 + "00" * 8 + "fe80" + "00" * 14, "78 000011 00000c8f22c6db3d fd000000"),
    *_routes("ipv4-multicast-vpn", "0000000000000000 0a000001", "70 03e811 0000fde800000001 0a0000"),
    *_routes("ipv6-multicast-vpn", "00" * 8 + "fd" * 16, "78 000011 00000c8f22c6db3d fd000000"),
    *_routes("ipv4-flowspec", "", "05 01180a0102", "f0f1" + "03" * 241),
    *_routes("ipv6-flowspec", "", "05 01180000fd"),
    *_routes("ipv4-flowspec-vpn", "", "0b 0000fde800000001 038106"),
    *_routes("ipv6-flowspec-vpn", "", "0b 0000fde800000001 038106"),
    *_routes("l2vpn-flowspec-vpn", "", "0b 0000fde800000001 0e8106"),
]


MESSAGES = [bytes.fromhex(case.message) for case in CASES]
