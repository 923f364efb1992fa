"""Every kind of message in one list: bytes to value, value to bytes, whole, byte by byte and in random cuts."""

from __future__ import annotations

import pytest
from exabgp.bgp.message.notification import Notification as Exabgp
from hypothesis import given
from hypothesis import strategies as st

from reflector.wire import framing
from reflector.wire.attributes import AS4_AGGREGATOR, AS4_PATH, ROWS, walk
from reflector.wire.attributes import NEXT_HOP as NEXT_HOP_CODE
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
from reflector.wire.families import FAMILIES
from reflector.wire.framing import Framer, encode_message
from reflector.wire.notification import Notification, decode_notification, shutdown
from reflector.wire.route_refresh import RouteRefresh, decode_route_refresh
from tests.unit.reflector.wire_cases import ALL_ATTRIBUTES, CASES, MESSAGES, Case
from tests.unit.reflector.wire_messages import (
    V4,
    pieces,
)


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


def test_every_family_and_every_attribute_is_in_the_list() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    said = [case.value for case in CASES if isinstance(case.value, dict)]
    for part in ("announced", "withdrawn"):
        assert {routes[0] for value in said for routes in value[part]} == set(FAMILIES)
    codes = {code for code, _, _ in walk(bytes.fromhex(ALL_ATTRIBUTES))}
    assert set(ROWS) - codes == {NEXT_HOP_CODE, AS4_PATH, AS4_AGGREGATOR}


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


def test_a_hard_reset_says_what_it_stands_for() -> None:
    """RFC 8538, 3.1: as daemons send it that are shut down with a reason."""
    inner = shutdown("new kernel")
    hard = Notification(6, 9, inner.encode())
    assert hard.enclosed == inner
    assert (hard.name, hard.reason) == ("cease, hard reset (cease, administrative shutdown)", "new kernel")
    for bare in (Notification(6, 9), Notification(6, 9, b"\6")):
        assert (bare.enclosed, bare.name, bare.reason) == (None, "cease, hard reset", "")
    assert shutdown("a").enclosed is None
    nested = Notification(6, 9, b"\6\x09" * 2000)
    assert (nested.name, nested.reason) == ("cease, hard reset", "")


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
