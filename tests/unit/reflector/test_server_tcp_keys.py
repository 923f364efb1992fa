"""Which keys the listening socket gets: the right one for every address, and few."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peering.prefixes import Prefix, contains, pack_prefix
from reflector.server.md5_keys import Keys, listening_keys

Wanted = dict[Prefix, bytes | None]
ROOM = 100


def keys(wanted: dict[str, bytes | None], room: int = ROOM) -> dict[Prefix, bytes]:
    return listening_keys({pack_prefix(prefix): key for prefix, key in wanted.items()}, room)


def packed(expected: dict[str, bytes]) -> dict[Prefix, bytes]:
    return {pack_prefix(prefix): key for prefix, key in expected.items()}


def longest_match(table: Keys | Wanted, address: bytes) -> tuple[Prefix, bytes | None] | None:
    """As the kernel finds a key."""
    host = bytes((8 * len(address),)) + address
    fitting = [prefix for prefix in table if contains(prefix, host)]
    best = max(fitting, default=None)
    return None if best is None else (best, table[best])


def test_what_can_be_said_is_said_as_it_is() -> None:
    wanted: dict[str, bytes | None] = {"10.0.0.1/32": b"a", "10.0.0.3/32": b"a", "10.1.0.0/16": b"b", "fd00::/64": b"c"}
    assert keys(wanted) == packed({p: k for p, k in wanted.items() if k})
    twice: dict[str, bytes | None] = {"10.0.0.0/8": b"a", "10.0.0.1/32": b"a", "11.0.0.0/8": None, "11.0.0.1/32": b"b"}
    assert keys(twice) == packed({p: k for p, k in twice.items() if k})


def test_who_has_no_password_has_no_key() -> None:
    assert keys({"10.0.0.1/32": None, "10.1.0.0/16": None, "fd00::1/128": b""}) == {}
    assert keys({}) == {}


def test_where_room_is_short_a_longer_prefix_with_the_same_password_has_no_key() -> None:
    assert keys({"10.0.0.0/8": b"a", "10.0.0.1/32": b"a"}, room=1) == packed({"10.0.0.0/8": b"a"})
    assert keys({"10.0.0.0/25": b"a", "10.0.0.128/25": b"a"}, room=1) == packed({"10.0.0.0/24": b"a"})


def test_a_neighbour_without_a_password_in_a_range_with_one() -> None:
    assert keys({"10.0.0.0/30": b"a", "10.0.0.1/32": None}) == packed({"10.0.0.0/32": b"a", "10.0.0.2/31": b"a"})


def test_more_than_there_is_room_for_is_joined_over_addresses_that_nobody_has() -> None:
    wanted: dict[str, bytes | None] = {f"10.0.{n}.1/32": b"a" for n in range(200)}
    assert keys(wanted, room=200) == packed(dict.fromkeys(wanted, b"a"))
    assert keys(wanted, room=199) == packed({"10.0.0.0/16": b"a"})
    around = {"10.0.0.0/17": b"a", "10.0.128.0/18": b"a", "10.0.192.0/21": b"a", "10.0.254.1/32": b"b"}
    assert keys(wanted | {"10.0.254.1/32": b"b", "10.0.255.1/32": None}) == packed(around)


def test_ten_thousand_neighbours_with_one_password() -> None:
    wanted: Wanted = {b"\x80" + (n << 64 | 1).to_bytes(16): b"a" for n in range(10_000)}
    assert len(listening_keys(wanted, ROOM)) == 1


def test_with_passwords_of_their_own_there_is_nothing_to_join() -> None:
    wanted: dict[str, bytes | None] = {f"10.0.{n}.1/32": str(n).encode() for n in range(200)}
    assert keys(wanted) == packed({p: k for p, k in wanted.items() if k})


_PREFIXES = st.integers(24, 32).flatmap(
    lambda length: st.integers(0, (1 << (length - 24)) - 1).map(
        lambda value: bytes((length, 10, 0, 0, value << (32 - length)))
    )
)
_WANTED: st.SearchStrategy[Wanted] = st.dictionaries(_PREFIXES, st.sampled_from([None, b"a", b"b"]), max_size=12)


@given(_WANTED)
def test_every_neighbour_has_its_own_key(wanted: Wanted) -> None:
    exact, joined = listening_keys(wanted, 1000), listening_keys(wanted, 0)
    assert len(joined) <= len(exact)
    for last in range(256):
        address = bytes((10, 0, 0, last))
        needed = longest_match(wanted, address)
        found = longest_match(exact, address)
        assert (found[1] if found else None) == (needed[1] if needed else None)
        if needed is not None:
            found = longest_match(joined, address)
            assert (found[1] if found else None) == needed[1]


@given(_WANTED)
def test_no_key_too_many(wanted: Wanted) -> None:
    """Without neighbours that have no key, there are never more keys than prefixes."""
    wanted = {prefix: key or b"c" for prefix, key in wanted.items()}
    assert len(listening_keys(wanted, 1000)) <= len(wanted)
    one = dict.fromkeys(wanted, b"a")
    assert len(listening_keys(one, 0)) == bool(one)
