"""What a peer says too much of, or wrong: prefix limits (RFC 4486, 4) and faults in UPDATEs."""

from __future__ import annotations

from typing import Any

import pytest

from reflector.engine.engine import PrefixLimitExceeded
from reflector.wire.errors import ResetSession
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from tests.unit.reflector.engine_world import ASN, BOTH, Lab, Path, Speaker, capabilities, ipv4, ipv6, peer_of
from tests.unit.reflector.policy_samples import REJECT, filters, keys

HOP = Path(ipv4(50))
MANY = keys(*(f"10.0.{n}.0/24" for n in range(20)))
SIX = [bytes((64, 0xFD, 0, 0, 0, 0, 0, 0, n)) for n in range(20)]


def lab(**policy: Any) -> tuple[Lab, Speaker]:
    made = Lab()
    return made, made.speaker(peer_of(2, max_prefixes=8, **policy), theirs=capabilities(families=BOTH))


def test_a_limit_is_warned_of_once() -> None:
    """From three quarters on, in each session and family."""
    made, peer = lab()
    peer.announce(HOP, MANY[:5])
    assert made.events == []
    peer.announce(HOP, MANY[5:6])
    peer.announce(HOP, MANY[6:8])
    expected = {"peer": "192.0.2.2", "family": "ipv4-unicast", "prefixes": 6, "limit": 8}
    assert made.events == [("prefix-limit-near", expected)]
    peer.announce(Path(ipv6(50)), SIX[:6], IPV6_UNICAST)
    peer.down()
    peer.up()
    peer.announce(HOP, MANY[:6])
    assert [fields["family"] for fields in made.said("prefix-limit-near")] == [
        "ipv4-unicast",
        "ipv6-unicast",
        "ipv4-unicast",
    ]


def test_a_limit_that_is_exceeded_ends_the_session() -> None:
    """With the family and the limit in the NOTIFICATION: 6/1, and AFI, SAFI, number in its data."""
    made, peer = lab()
    peer.announce(HOP, MANY[:8])
    with pytest.raises(PrefixLimitExceeded, match="more than 8 prefixes of ipv4-unicast") as caught:
        peer.announce(HOP, MANY[8:9])
    assert (caught.value.peer, caught.value.limit) == (peer.state, 8)
    notice = caught.value.notice
    assert (notice.code, notice.subcode, notice.data) == (6, 1, b"\0\1\1\0\0\0\x08")
    assert made.said("prefix-limit") == [{"peer": "192.0.2.2", "family": "ipv4-unicast", "limit": 8}]


def test_families_are_counted_apart() -> None:
    _, peer = lab()
    peer.announce(HOP, MANY[:8])
    peer.announce(Path(ipv6(50)), SIX[:8], IPV6_UNICAST)
    with pytest.raises(PrefixLimitExceeded) as caught:
        peer.announce(Path(ipv6(50)), SIX[8:9], IPV6_UNICAST)
    assert caught.value.notice.data == b"\0\2\1\0\0\0\x08"


def test_refused_prefixes_are_counted_too() -> None:
    _, peer = lab(import_filters=filters("importV4", REJECT))
    peer.announce(HOP, MANY[:8])
    with pytest.raises(PrefixLimitExceeded):
        peer.announce(HOP, MANY[8:9])


def test_what_replaces_or_was_withdrawn_is_not_counted() -> None:
    made, peer = lab()
    for med in range(3):
        peer.announce(HOP._replace(med=med), MANY[:8])
    peer.withdraw(MANY[:4])
    peer.announce(HOP, MANY[10:14])
    assert made.said("prefix-limit") == []


def test_what_was_said_up_to_the_limit_was_told_until_the_session_ends() -> None:
    made, peer = lab()
    watcher = made.speaker(peer_of(9))
    peer.announce(HOP, MANY[:8])
    made.settle()
    with pytest.raises(PrefixLimitExceeded):
        peer.announce(HOP, MANY[8:9])
    peer.down()
    made.settle()
    assert watcher.told == {}


def test_without_a_limit_there_is_none() -> None:
    made = Lab()
    made.speaker(peer_of(2)).announce(HOP, MANY)
    assert made.events == []


# Faults.


def test_a_fault_is_counted_always_and_logged_when_it_is_another() -> None:
    """An eBGP peer that sends LOCAL_PREF is not heeded in that (RFC 4271, 5.1.5)."""
    made = Lab()
    peer = made.speaker(peer_of(2, 65001), 65001)
    for number in range(3):
        peer.announce(Path(ipv4(50), (65001,), local_pref=number), MANY[:1])
    peer.announce(Path(ipv4(50), (65001,), originator=ipv4(7)), MANY[:1])
    assert peer.state is not None
    assert (peer.state.faults, peer.state.updates) == (4, 4)
    logged = made.said("update-fault")
    assert [fields["peer"] for fields in logged] == ["192.0.2.2"] * 2
    assert ["LOCAL_PREF" in fields["faults"][0] for fields in logged] == [True, False]


def test_what_cannot_be_read_ends_the_session_and_what_came_before_stays_until_then() -> None:
    made = Lab()
    peer, watcher = made.speaker(peer_of(2)), made.speaker(peer_of(9))
    peer.announce(HOP, MANY[:1])
    with pytest.raises(ResetSession):
        peer.say([bytes(19) + b"\0\5\0\0"])
    made.settle()
    assert set(watcher.told) == {(IPV4_UNICAST, MANY[0])}


def test_our_own_address_is_no_next_hop() -> None:
    """RFC 4271, 6.3: the routes are not usable; the session stays (RFC 7606, 7.3)."""
    made = Lab()
    peer, watcher = made.speaker(peer_of(2)), made.speaker(peer_of(9))
    peer.announce(HOP, MANY[:2])
    made.settle()
    peer.announce(Path(ipv4(1)), MANY[:1])
    made.settle()
    assert set(watcher.told) == {(IPV4_UNICAST, MANY[1])}


def test_attributes_are_read_as_the_session_means_them() -> None:
    """AS numbers of two or of four bytes, iBGP or eBGP: sessions of all kinds at once."""
    made = Lab()
    far = made.speaker(peer_of(2, 4200000001), 4200000001, capabilities(4200000001))
    old = made.speaker(peer_of(4, 65001), 65001, capabilities(65001, four_octet=False))
    near, watcher = made.speaker(peer_of(3)), made.speaker(peer_of(9))
    far.announce(Path(ipv4(50), (4200000001, 7)), MANY[:1])
    old.announce(Path(ipv4(51), (65001, 8)), MANY[1:2])
    near.announce(HOP._replace(local_pref=300), MANY[:1])
    made.settle()
    assert set(near.told) == {(IPV4_UNICAST, MANY[1])}
    assert far.told[IPV4_UNICAST, MANY[0]].as_path == (ASN,)
    assert far.told[IPV4_UNICAST, MANY[1]].as_path == (ASN, 65001, 8)
    assert watcher.told[IPV4_UNICAST, MANY[0]].local_pref == 300
    near.down()
    made.settle()
    assert watcher.told[IPV4_UNICAST, MANY[0]].as_path == (4200000001, 7)
    assert old.told[IPV4_UNICAST, MANY[0]].as_path == (ASN, 4200000001, 7)
