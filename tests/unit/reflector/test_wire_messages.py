"""Every kind of message in one list: bytes to value, value to bytes, whole, byte by byte and in random cuts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from exabgp.bgp.message.notification import Notification as Exabgp
from hypothesis import given
from hypothesis import strategies as st

from reflector.wire import framing
from reflector.wire.capabilities import AddPath, Capabilities, GracefulRestart, LongLived
from reflector.wire.errors import (
    Cease,
    ErrorCode,
    FsmError,
    HeaderError,
    OpenError,
    RefreshError,
    ResetSession,
    UpdateError,
)
from reflector.wire.framing import Framer, encode_message
from reflector.wire.notification import Notification, decode_notification, shutdown
from reflector.wire.open_message import OpenMessage, decode_open
from reflector.wire.packing import encode_end_of_rib, encode_updates
from reflector.wire.route_refresh import RouteRefresh, decode_route_refresh
from reflector.wire.update import Update
from tests.unit.reflector.wire_messages import (
    EVPN,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    PREFIX,
    PREFIX6,
    V4,
    V6,
    decoded,
    pieces,
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


def _update(name: str, body: str, value: dict[str, Any]) -> Case:
    return Case(name, _message(2, body), value, _update_value, _update_message)


def _message(kind: int, body: str) -> str:
    data = bytes.fromhex(body)
    return "ff" * 16 + f"{19 + len(data):04x}{kind:02x}" + data.hex()


def _update_value(body: bytes) -> dict[str, Any]:
    """What an UPDATE says, in values that compare: the block by its bytes."""
    found: Update = decoded(body)
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


ROUTER_ID = bytes((10, 0, 0, 1))
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
    _update("End-of-RIB of EVPN", "0000 0006 800f03 0019 46", _says(end=EVPN)),
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
        "EVPN announcement",
        f"0000 0026 800e16 0019 46 04 0a000001 00 0308 0102030405060708 0201aa {BASE}",
        _says(
            announced=[(EVPN, NEXT_HOP[3:], [bytes.fromhex("03080102030405060708"), bytes.fromhex("0201aa")])],
            attributes=bytes.fromhex(BASE).hex(),
        ),
    ),
]


MESSAGES = [bytes.fromhex(case.message) for case in CASES]


def _fed(data: bytes, seed: int, max_length: int = framing.MAX_LENGTH) -> tuple[list[framing.Message], str]:
    """What a framer gives for data that comes in cuts, and the error it ends with."""
    framer = Framer(max_length)
    found: list[framing.Message] = []
    try:
        for piece in pieces(data, seed):
            found += framer.feed(piece)
    except ResetSession as reset:
        return found, f"{reset.code}/{reset.subcode} {reset.data.hex()}"
    return found, ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decode_and_encode(case: Case) -> None:
    message = bytes.fromhex(case.message)
    ((_, body),) = Framer().feed(message)
    assert case.decode(body) == case.value
    assert case.encode(case.value) == message


@pytest.mark.parametrize("seed", range(12))
def test_any_cut_gives_the_same_messages(seed: int) -> None:
    stream = b"".join(MESSAGES)
    found, error = _fed(stream, seed)
    assert error == ""
    assert [(m[18], m[19:]) for m in MESSAGES] == found
    assert all(case.decode(body) == case.value for case, (_, body) in zip(CASES, found, strict=True))


BAD_HEADERS = {
    "marker": ("fe" + "ff" * 15 + "0013 04", "1/1 "),
    "marker before length": ("00" * 16 + "0012 04", "1/1 "),
    "too short": ("ff" * 16 + "0012 04", "1/2 0012"),
    "too long": ("ff" * 16 + "1001 02", "1/2 1001"),
    "a long OPEN": ("ff" * 16 + "1001 01", "1/2 1001"),
    "unknown type": ("ff" * 16 + "0013 06", "1/3 06"),
    "unknown type, as long as can be": ("ff" * 16 + "1000 06", "1/3 06"),
    "unknown type, too long": ("ff" * 16 + "1001 06", "1/2 1001"),
    "type 0": ("ff" * 16 + "0013 00", "1/3 00"),
    "short OPEN": ("ff" * 16 + "001c 01", "1/2 001c"),
    "short UPDATE": ("ff" * 16 + "0016 02", "1/2 0016"),
    "short NOTIFICATION": ("ff" * 16 + "0014 03", "1/2 0014"),
    "KEEPALIVE with a body": ("ff" * 16 + "0014 04", "1/2 0014"),
    "zeros": ("00" * 4096, "1/1 "),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
@pytest.mark.parametrize("seed", range(4))
def test_bad_header_ends_it_behind_the_good_messages(name: str, seed: int) -> None:
    header, error = BAD_HEADERS[name]
    good = MESSAGES[:3]
    found = _fed(b"".join(good) + bytes.fromhex(header), seed)
    assert found == ([(m[18], m[19:]) for m in good], error)


def test_extended_length_once_it_is_negotiated() -> None:
    long_update = encode_message(framing.UPDATE, bytes(20000))
    assert _fed(long_update, 0) == ([], "1/2 4e33")
    for seed in range(4):
        assert _fed(long_update, seed, framing.MAX_EXTENDED_LENGTH) == ([(2, bytes(20000))], "")
    framer = Framer()
    assert list(framer.feed(MESSAGES[0])) == [(1, MESSAGES[0][19:])]
    framer.max_length = framing.MAX_EXTENDED_LENGTH
    assert list(framer.feed(long_update)) == [(2, bytes(20000))]


def test_an_open_is_never_extended() -> None:
    """RFC 8654, 4."""
    assert _fed(bytes.fromhex("ff" * 16 + "1001 01"), 0, framing.MAX_EXTENDED_LENGTH) == ([], "1/2 1001")


@given(st.lists(st.binary(max_size=60)), st.integers(0, 1000))
def test_whatever_comes_cuts_change_nothing(junk: list[bytes], seed: int) -> None:
    data = b"".join(piece + MESSAGES[len(piece) % len(MESSAGES)] for piece in junk)
    assert _fed(data, seed) == _fed(data, 0)


def test_a_body_that_no_message_can_hold() -> None:
    with pytest.raises(ValueError):
        encode_message(framing.UPDATE, bytes(65517))


def test_reasons_of_a_shutdown() -> None:
    assert shutdown("maintenance").reason == "maintenance"
    assert shutdown("reset", Cease.ADMINISTRATIVE_RESET).reason == "reset"
    assert Notification(6, 3, b"\3abc").reason == ""
    assert Notification(6, 2, b"\5abc").reason == "", "shorter than it says"
    assert Notification(6, 2, b"\2\xff\xfe").reason == "\ufffd\ufffd"
    longest = shutdown("é" * 200)
    assert longest.data[0] == 254, "cut between characters"
    assert longest.reason == "é" * 127


@pytest.mark.parametrize(
    ("notification", "name"),
    [
        (Notification(6, 2), "cease, administrative shutdown"),
        (Notification(3, 11), "update message, malformed as path"),
        (Notification(4), "hold timer expired"),
        (Notification(6, 77), "cease, subcode 77"),
        (Notification(99, 1), "code 99, subcode 1"),
        (Notification(5, 3), "finite state machine, established"),
    ],
)
def test_names_of_notifications(notification: Notification, name: str) -> None:
    assert notification.name == name


SUBCODES = {
    1: HeaderError,
    2: OpenError,
    3: UpdateError,
    5: FsmError,
    6: Cease,
    7: RefreshError,
}
#: (code, subcode) that ExaBGP has no word for: RFC 9234, 8538, 9384.
UNKNOWN_TO_EXABGP = {(2, 11), (6, 9), (6, 10)}


def test_numbers_of_errors_are_those_that_exabgp_knows() -> None:
    """First words compared: theirs are the RFCs' titles, ours their shorter names."""
    ours = {(code, int(member)): member.name for code, names in SUBCODES.items() for member in names}
    for key, name in ours.items():
        if key not in UNKNOWN_TO_EXABGP:
            theirs = Exabgp._str_subcode[key].lower().replace("-", "").replace("_", " ")
            shared = [word for word in name.lower().split("_") if word in theirs]
            assert shared, f"{key}: {name} | {theirs}"


def test_a_notification_never_raises() -> None:
    for size in range(4):
        assert decode_notification(bytes((6, 2, 9))[:size]).code in (0, ErrorCode.CEASE)


def test_long_data_of_a_notification_is_cut() -> None:
    assert len(encode_message(framing.NOTIFICATION, Notification(3, 1, bytes(9000)).encode())) == 4096


@pytest.mark.parametrize("body", ["", "000100", "0001 01 01 00", "0002 02 01 0000"])
def test_route_refresh_of_a_wrong_length(body: str) -> None:
    """RFC 7313, 5: the answer holds the whole message."""
    message = encode_message(framing.ROUTE_REFRESH, bytes.fromhex(body))
    ((_, found),) = Framer().feed(message)
    with pytest.raises(ResetSession) as reset:
        decode_route_refresh(found)
    assert (reset.value.code, reset.value.subcode, reset.value.data) == (7, 1, message)


def test_route_refresh_with_filters_is_a_request() -> None:
    assert decode_route_refresh(bytes.fromhex("0001 00 01 01 80 0000")) == RouteRefresh(V4)
