"""What a peer is configured with and what its session agreed on, as its speaker reads it: one test for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peering.prefixes import pack_address
from reflector.configuration import Peer
from reflector.wire.attributes import encode_attribute
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.framing import MAX_EXTENDED_LENGTH, MAX_LENGTH
from reflector.wire.packing import encode_updates
from tests.unit.reflector.engine_world import (
    ASN,
    BOTH,
    Lab,
    Path,
    Speaker,
    attributes,
    capabilities,
    ipv4,
    ipv6,
    peer_of,
)
from tests.unit.reflector.policy_samples import keys

A, B, C = keys("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
SIX = bytes.fromhex("40fd00000000000001")
OTHER_AS, THIRD_AS = 65001, 65002
HOP = Path(ipv4(50))
PLAIN = capabilities(ASN, BOTH)
LONG = replace(PLAIN, extended_message=True)
IPV6_NEXT_HOPS = replace(PLAIN, extended_next_hop=((IPV4_UNICAST, 2),))


def far_peer(number: int = 5, asn: int = OTHER_AS, **policy: Any) -> Peer:
    return peer_of(number, asn, **policy)


def told_path(peer: Peer, path: Path, asn: int = OTHER_AS) -> Path:
    """What a speaker of another AS reads of a client's path."""
    made = Lab(peer)
    client, far = made.speaker(peer_of(2)), made.speaker(peer, asn)
    client.announce(path, [A])
    made.settle()
    return far.told[IPV4_UNICAST, A]


# What is configured.


def test_our_as_goes_in_front_as_often_as_said() -> None:
    assert told_path(far_peer(), HOP).as_path == (ASN,)
    assert told_path(far_peer(prepend=2), HOP).as_path == (ASN, ASN, ASN)


def test_the_as_of_the_peer_is_overridden_where_that_is_said() -> None:
    path = HOP._replace(as_path=(THIRD_AS, OTHER_AS, OTHER_AS))
    assert told_path(far_peer(), path).as_path == (ASN, THIRD_AS, OTHER_AS, OTHER_AS)
    assert told_path(far_peer(as_override=True), path).as_path == (ASN, THIRD_AS, ASN, ASN)


def test_the_as_that_is_overridden_is_the_one_that_the_peer_has() -> None:
    """A peer of a range may have any AS, which only its OPEN says."""
    path = HOP._replace(as_path=(OTHER_AS, THIRD_AS))
    for asn, expected in ((OTHER_AS, (ASN, ASN, THIRD_AS)), (THIRD_AS, (ASN, OTHER_AS, ASN))):
        assert told_path(far_peer(asn=0, as_override=True), path, asn).as_path == expected


def test_a_session_may_be_that_of_another_as_of_ours() -> None:
    """Its own `local_asn` goes in front, is a loop, and says who is of the same AS."""
    peer = far_peer()
    peer = replace(peer, session=replace(peer.session, local_asn=64999))
    assert told_path(peer, HOP).as_path == (64999,)
    made = Lab(peer)
    watcher, far = made.speaker(peer_of(2)), made.speaker(peer, OTHER_AS)
    far.announce(HOP._replace(as_path=(OTHER_AS, 64999)), [A])
    far.announce(HOP._replace(as_path=(OTHER_AS, ASN)), [B])
    made.settle()
    assert set(watcher.told) == {(IPV4_UNICAST, B)}


def test_our_router_id_and_our_cluster_are_two_loops() -> None:
    """RFC 4456, 8: each by itself, and a route of neither comes through."""
    made = Lab(cluster_id=ipv4(77))
    client, watcher = made.speaker(peer_of(2)), made.speaker(peer_of(3))
    client.announce(HOP._replace(originator=ipv4(1)), [A])
    client.announce(HOP._replace(clusters=(ipv4(77),)), [B])
    client.announce(HOP._replace(originator=ipv4(77), clusters=(ipv4(1),)), [C])
    made.settle()
    assert set(watcher.told) == {(IPV4_UNICAST, C)}
    assert watcher.told[IPV4_UNICAST, C].clusters == (ipv4(77), ipv4(1))


def _self_next_hop(family: Family, local: bytes | None, *addresses: bytes) -> bytes | None:
    """What `next_hop: self` writes for a session from that address, of a reflector that listens on those."""
    peer = peer_of(3, next_hop="self")
    peer = replace(peer, transport=replace(peer.transport, local_address=local))
    made = Lab(peer, addresses=addresses)
    client, watcher = made.speaker(peer_of(2), theirs=PLAIN), made.speaker(peer, theirs=PLAIN)
    key = A if family == IPV4_UNICAST else SIX
    client.announce(HOP if family == IPV4_UNICAST else Path(ipv6(50)), [key], family)
    made.settle()
    told = watcher.told.get((family, key))
    return told.next_hop if told else None


@pytest.mark.parametrize(
    ("family", "local", "addresses", "expected"),
    [
        (IPV4_UNICAST, ipv4(9), (ipv4(1), ipv6(1)), ipv4(9)),
        (IPV4_UNICAST, None, (ipv6(1), ipv4(1)), ipv4(1)),
        (IPV4_UNICAST, ipv6(9), (ipv6(1), ipv4(1)), ipv4(1)),
        (IPV4_UNICAST, None, (bytes(4), ipv4(1)), ipv4(1)),
        (IPV4_UNICAST, None, (bytes(4), bytes(16)), None),
        (IPV6_UNICAST, ipv4(9), (ipv4(1), ipv6(1)), ipv6(1)),
        (IPV6_UNICAST, ipv6(9), (ipv4(1), ipv6(1)), ipv6(9)),
        (IPV6_UNICAST, None, (ipv4(1),), None),
    ],
)
def test_next_hop_self_is_an_address_of_the_family(
    family: Family, local: bytes | None, addresses: tuple[bytes, ...], expected: bytes | None
) -> None:
    """The session's own before those that are listened on, and never one that stands for any; else nothing is told."""
    assert _self_next_hop(family, local, *addresses) == expected


# What was agreed on.


def long_route(size: int) -> list[bytes]:
    """A prefix with an unknown attribute of so many bytes."""
    raw = attributes(HOP) + encode_attribute(99, 0xC0, bytes(size))
    return encode_updates(IPV4_UNICAST, [], [(HOP.next_hop, raw, [A])], MAX_EXTENDED_LENGTH)


def test_longer_messages_go_to_those_who_take_them() -> None:
    """RFC 8654. Others are told to forget what they were told before."""
    made = Lab()
    speaker, long, short = (made.speaker(peer_of(n), theirs=theirs) for n, theirs in ((2, LONG), (3, LONG), (4, PLAIN)))
    speaker.announce(HOP, [A])
    made.settle()
    assert set(long.told) == set(short.told) == {(IPV4_UNICAST, A)}
    speaker.say(long_route(6000))
    made.settle()
    assert (set(long.told), set(short.told)) == ({(IPV4_UNICAST, A)}, set())
    late = made.speaker(peer_of(5), theirs=PLAIN)
    made.settle()
    assert (late.told, late.ends) == ({}, [IPV4_UNICAST, IPV6_UNICAST])


@pytest.mark.parametrize(("theirs", "limit"), [(LONG, MAX_EXTENDED_LENGTH), (PLAIN, MAX_LENGTH)])
def test_many_prefixes_fill_messages_of_the_length_that_was_agreed_on(theirs: Any, limit: int) -> None:
    made = Lab()
    speaker, reader = made.speaker(peer_of(2), theirs=LONG), made.speaker(peer_of(3), theirs=theirs)
    made.settle()
    before = reader.updates
    speaker.announce(HOP, [b"\x20" + n.to_bytes(4) for n in range(5000)])
    made.settle()
    assert len(reader.told) == 5000
    assert reader.updates - before == -(-5000 * 5 // (limit - 80))


def four_over_six(*theirs: Any) -> list[set[bytes]]:
    """Prefixes that peers with these capabilities are told, of one with an IPv4 and one with an IPv6 next hop."""
    made = Lab()
    speaker = made.speaker(peer_of(2), theirs=IPV6_NEXT_HOPS)
    readers = [made.speaker(peer_of(3 + n), theirs=one) for n, one in enumerate(theirs)]
    speaker.announce(HOP, [A])
    speaker.announce(Path(ipv6(50)), [B])
    made.settle()
    for reader in readers:
        assert {path.next_hop for path in reader.told.values()} <= {ipv4(50), ipv6(50)}
    return [{key for _, key in reader.told} for reader in readers]


def test_ipv6_next_hops_of_ipv4_go_to_those_who_take_them() -> None:
    """RFC 8950, 4."""
    assert four_over_six(IPV6_NEXT_HOPS, PLAIN) == [{A, B}, {A}]


def test_ipv6_next_hops_are_agreed_on_for_each_family() -> None:
    """Those of VPNs say nothing of unicast."""
    vpn = replace(PLAIN, extended_next_hop=((FAMILY_BY_NAME["ipv4-vpn"], 2),))
    assert four_over_six(vpn) == [{A}]


def test_an_ipv6_next_hop_that_was_not_agreed_on_withdraws() -> None:
    made = Lab()
    speaker, reader = made.speaker(peer_of(2), theirs=PLAIN), made.speaker(peer_of(3), theirs=IPV6_NEXT_HOPS)
    speaker.announce(HOP, [A, B])
    speaker.announce(Path(ipv6(50)), [B])
    made.settle()
    assert set(reader.told) == {(IPV4_UNICAST, A)}


def test_an_older_speaker_is_told_and_understood() -> None:
    """RFC 6793: the true path through a peer with AS numbers of two bytes, in both directions."""
    made = Lab()
    old = capabilities(ASN, four_octet=False)
    speaker, reader = made.speaker(peer_of(2), theirs=old), made.speaker(peer_of(3), theirs=old)
    new = made.speaker(peer_of(4))
    speaker.announce(HOP._replace(as_path=(7, 4200000000, 8)), [A])
    made.settle()
    seen: list[Speaker] = [reader, new]
    assert [one.told[IPV4_UNICAST, A].as_path for one in seen] == [(7, 4200000000, 8)] * 2


def test_an_address_of_ours_is_no_next_hop_in_any_family() -> None:
    made = Lab(addresses=(ipv4(1), pack_address("2001:db8::1")))
    speaker, reader = made.speaker(peer_of(2), theirs=PLAIN), made.speaker(peer_of(3), theirs=PLAIN)
    speaker.announce(Path(ipv4(1)), [A])
    speaker.announce(Path(ipv6(1)), [SIX], IPV6_UNICAST)
    speaker.announce(HOP, [B])
    made.settle()
    assert set(reader.told) == {(IPV4_UNICAST, B)}
