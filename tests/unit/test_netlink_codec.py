"""rtnetlink messages: what is packed, against the layouts of the kernel's headers, and what is read back."""

from __future__ import annotations

import struct

import pytest

from bgp_speaker import netlink_codec as codec
from bgp_speaker.kernel_route import BLACKHOLE, KernelRoute, Nexthop, refusal
from bgp_speaker.netlink_codec import Message, RouteEntry, RouteWriter
from peering.prefixes import pack_address, pack_prefix

WRITER = RouteWriter(protocol=201, table=254, metric=20)
V4, V6 = pack_prefix("10.1.2.0/24"), pack_prefix("fd00:1::/64")
SOURCE = pack_address("10.0.0.1")


def _only(data: bytes) -> Message:
    (message,) = codec.messages(data)
    return message


def _error(errno: int, *, flags: int = codec.NLM_F_CAPPED, rest: bytes = b"", sequence: int = 7) -> bytes:
    refused = codec.HEADER.pack(16, codec.RTM_NEWROUTE, 5, sequence, 0)
    body = struct.pack("=i", -errno) + refused + rest
    return codec.HEADER.pack(16 + len(body), codec.NLMSG_ERROR, flags, sequence, 99) + body


def test_route_over_group_is_packed_as_the_kernel_reads_it() -> None:
    packed = codec.pack(WRITER.add(V4, 4711, SOURCE, append=False), sequence=3, ack=True)
    header = struct.pack("=IHHII", 68, 24, 0x1 | 0x4 | 0x400 | 0x200, 3, 0)
    rtmsg = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 201, 0, 1, 0)
    attributes = (
        struct.pack("=HH4s", 8, 1, bytes((10, 1, 2, 0)))
        + struct.pack("=HHI", 8, 15, 254)
        + struct.pack("=HHI", 8, 6, 20)
        + struct.pack("=HHI", 8, 30, 4711)
        + struct.pack("=HH4s", 8, 7, SOURCE)
    )
    assert packed == header + rtmsg + attributes


def test_adding_never_replaces() -> None:
    """NLM_F_REPLACE would hit whatever route of that prefix and metric stands first."""
    for append in (False, True):
        assert not WRITER.add(V4, 1, None, append=append).flags & codec.NLM_F_REPLACE


@pytest.mark.parametrize(
    ("prefix", "nhid", "source"),
    [
        (V4, 5, None),
        (V4, 5, SOURCE),
        (V4, 0, None),
        (pack_prefix("0.0.0.0/0"), 5, SOURCE),
        (pack_prefix("10.1.2.3/32"), 1 << 31, None),
        (V6, 5, None),
        (V6, 0, None),
        (pack_prefix("::/0"), 6, pack_address("fd00::1")),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_what_is_added_reads_back_as_its_entry(prefix: bytes, nhid: int, source: bytes | None) -> None:
    for table in (254, 5000):
        writer = RouteWriter(201, table, 20)
        message = _only(codec.pack(writer.add(prefix, nhid, source, append=True), 1))
        assert codec.parse_route(message) == writer.entry(prefix, nhid, source)
        assert writer.owns_form(codec.parse_route(message))


def test_deletion_names_protocol_metric_and_object() -> None:
    request = WRITER.delete(WRITER.entry(V4, 9, None))
    entry = codec.parse_route(_only(codec.pack(request, 1)))
    assert request.type == codec.RTM_DELROUTE
    assert (entry.protocol, entry.metric, entry.nhid, entry.prefix) == (201, 20, 9, V4)


def test_route_of_another_form_is_deleted_by_its_own_path() -> None:
    gateway = codec.attribute(5, pack_address("10.9.9.9"))
    stray = RouteEntry(V4, 201, 254, 33, 1, 0, None, gateway)
    assert not WRITER.owns_form(stray)
    entry = codec.parse_route(_only(codec.pack(WRITER.delete(stray), 1)))
    assert (entry.metric, entry.path) == (33, gateway)


def test_default_route_without_destination_attribute() -> None:
    """The kernel leaves RTA_DST out for a prefix of length 0."""
    rtmsg = struct.pack("=BBBBBBBBI", 10, 0, 0, 0, 254, 201, 0, 1, 0)
    message = _only(codec.HEADER.pack(28, 24, 0, 1, 0) + rtmsg)
    assert codec.parse_route(message).prefix == pack_prefix("::/0")


def test_nexthops_and_groups_read_back() -> None:
    for gateway in ("10.0.0.1", "fe80::1"):
        nexthop = Nexthop(pack_address(gateway), 12)
        entry = codec.parse_nexthop(_only(codec.pack(codec.add_nexthop(40, nexthop, 201), 1)))
        assert entry == codec.NexthopEntry(40, 201, nexthop, ())
    group = codec.parse_nexthop(_only(codec.pack(codec.set_group(41, (40, 7), 201, replace=True), 1)))
    assert group == codec.NexthopEntry(41, 201, None, ((40, 1), (7, 1)))


def test_weights_are_seen() -> None:
    members = codec.attribute(2, struct.pack("=IBBH", 40, 2, 1, 0))
    body = struct.pack("=BBBBI", 0, 0, 201, 0, 0) + codec.attribute(1, struct.pack("=I", 41)) + members
    message = _only(codec.HEADER.pack(16 + len(body), codec.RTM_NEWNEXTHOP, 0, 1, 0) + body)
    assert codec.parse_nexthop(message).members == ((40, 259),)


def test_group_replacing_does_not_create() -> None:
    """A group that is gone must be noticed, not made anew without its routes."""
    assert codec.set_group(1, (2,), 201, replace=True).flags == codec.NLM_F_REPLACE
    assert codec.set_group(1, (2,), 201, replace=False).flags == codec.NLM_F_CREATE | codec.NLM_F_EXCL


def test_dump_asks_for_one_protocol_and_table() -> None:
    body = WRITER.dump(codec.AF_INET6).body
    assert struct.unpack_from("=BBBBBBBBI", body)[:6] == (10, 0, 0, 0, 254, 201)


def test_acknowledgement_is_no_error() -> None:
    assert codec.parse_error(_only(_error(0))) is None


def test_extended_acknowledgement_gives_the_text() -> None:
    text = codec.attribute(1, b"Nexthop device is not up\0")
    error = codec.parse_error(_only(_error(100, flags=codec.NLM_F_CAPPED | codec.NLM_F_ACK_TLVS, rest=text)))
    assert error == codec.NetlinkError(100, "Nexthop device is not up")
    assert str(error) == "Nexthop device is not up (ENETDOWN)"


def test_text_behind_an_echoed_request() -> None:
    """Without NLM_F_CAPPED the whole refused message stands between the error and its text."""
    refused = codec.pack(WRITER.add(V4, 1, None, append=True), 7)
    body = struct.pack("=i", -22) + refused + codec.attribute(1, b"bad\0")
    data = codec.HEADER.pack(16 + len(body), codec.NLMSG_ERROR, codec.NLM_F_ACK_TLVS, 7, 99) + body
    assert codec.parse_error(_only(data)) == codec.NetlinkError(22, "bad")


def test_error_without_text_has_a_name() -> None:
    assert str(codec.parse_error(_only(_error(17)))) == "EEXIST"
    assert str(codec.NetlinkError(4095, "")) == "error 4095"


def test_one_buffer_holds_several_messages_of_odd_length() -> None:
    odd = codec.HEADER.pack(19, codec.NLMSG_DONE, 0, 1, 5) + b"abc\0"
    found = list(codec.messages(odd + _error(1, sequence=2)))
    assert [(m.type, m.sequence, m.port, m.end - m.start) for m in found] == [(3, 1, 5, 3), (2, 2, 99, 20)]


def test_a_length_that_does_not_advance_ends_the_walk() -> None:
    assert list(codec.messages(bytes(64))) == []


def test_route_normalises_its_nexthops() -> None:
    a, b = Nexthop(pack_address("10.0.0.1"), 2), Nexthop(pack_address("10.0.0.2"), 1)
    assert KernelRoute((b, a, b)) == KernelRoute((a, b))
    assert KernelRoute((), SOURCE) == BLACKHOLE


@pytest.mark.parametrize(
    ("route", "size", "words"),
    [
        (BLACKHOLE, 4, ""),
        (KernelRoute((Nexthop(pack_address("fe80::1"), 1),), SOURCE), 4, ""),
        (KernelRoute((Nexthop(pack_address("10.0.0.1"), 1),)), 16, "gateway"),
        (KernelRoute((Nexthop(pack_address("fe80::1"), 1),), SOURCE), 16, "source"),
        (KernelRoute((Nexthop(b"abc", 1),)), 4, "gateway"),
        (BLACKHOLE, 3, "packed prefix"),
    ],
)
def test_what_the_kernel_can_never_take(route: KernelRoute, size: int, words: str) -> None:
    found = refusal(route, size)
    assert words in found
    assert bool(found) == bool(words)
