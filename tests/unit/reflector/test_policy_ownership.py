"""Who may announce what, against a plain search for the longest owned prefix around a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.prefixes import contains, pack_prefix
from reflector.configuration import Owners, OwnershipMode
from reflector.policy.ownership import Ownership
from reflector.rib.route import Key
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST, Family
from tests.unit.reflector.policy_samples import keys, wire

NAMES = ("node/a", "node/b", "10.0.0.7")


def owners(shared: str = "", **by_name: str) -> Owners:
    """`owners(a="10.1.0.0/24 10.2.0.0/24")`: prefixes of `node/a`."""
    by_prefix: dict[bytes, frozenset[str]] = {}
    for name, prefixes in by_name.items():
        for prefix in map(pack_prefix, prefixes.split()):
            by_prefix[prefix] = by_prefix.get(prefix, frozenset()) | {f"node/{name}"}
    return Owners(by_prefix, frozenset(map(pack_prefix, shared.split())))


def foreign(held: Owners, name: str, prefixes: str, mode: OwnershipMode = "enforce") -> list[Key]:
    family = IPV6_UNICAST if ":" in prefixes else IPV4_UNICAST
    return Ownership(mode, held).foreign(f"node/{name}", family, keys(*prefixes.split()))


BLOCKS = owners(
    a="10.1.0.0/26 10.3.0.0/16 fd00:1::/64 10.9.0.0/24",
    b="10.1.0.64/26 10.3.7.0/24 fd00:2::/64 10.9.0.0/24",
    shared="10.96.0.0/12",
)
CASES: list[tuple[str, str, str, str]] = [
    ("an own block", "a", "10.1.0.0/26", ""),
    ("host routes in it", "a", "10.1.0.7/32 10.1.0.63/32", ""),
    ("another's block", "a", "10.1.0.64/26", "10.1.0.64/26"),
    ("host routes in that", "a", "10.1.0.64/32 10.1.0.1/32", "10.1.0.64/32"),
    ("what covers blocks of both", "a", "10.1.0.0/25", "10.1.0.0/25"),
    ("what nobody owns", "a", "192.0.2.0/24 0.0.0.0/0", "192.0.2.0/24 0.0.0.0/0"),
    ("more specific of an own aggregate", "a", "10.3.1.0/24 10.3.8.0/24", ""),
    ("another's block in an own aggregate", "a", "10.3.7.0/24 10.3.7.1/32", "10.3.7.0/24 10.3.7.1/32"),
    ("what covers that, in the aggregate", "a", "10.3.6.0/23", ""),
    ("a block of another in the aggregate of a third", "b", "10.3.7.0/24 10.3.6.0/23", "10.3.6.0/23"),
    ("a block of two", "a", "10.9.0.0/24 10.9.0.1/32", ""),
    ("a block of two, the other", "b", "10.9.0.0/24 10.9.0.1/32", ""),
    ("a shared prefix", "a", "10.96.0.0/12 10.96.0.1/32", ""),
    ("what covers a shared prefix", "a", "10.64.0.0/10", "10.64.0.0/10"),
    ("somebody without blocks", "c", "10.1.0.0/26 10.96.0.1/32", "10.1.0.0/26"),
    ("IPv6", "a", "fd00:1::/64 fd00:1::7/128", ""),
    ("IPv6 of another", "a", "fd00:2::/64 fd00:1::7/128 ::/0", "fd00:2::/64 ::/0"),
]


@pytest.mark.parametrize(("text", "name", "announced", "expected"), CASES, ids=[row[0] for row in CASES])
def test_rules(text: str, name: str, announced: str, expected: str) -> None:
    assert foreign(BLOCKS, name, announced) == keys(*expected.split())


def test_what_lies_in_a_shared_prefix_is_everybodys_even_if_owned() -> None:
    held = owners(a="10.96.1.0/24 10.96.0.0/11", shared="10.96.0.0/12 10.112.7.0/24")
    assert foreign(held, "b", "10.96.1.0/24 10.96.1.1/32 10.112.7.0/24 10.96.0.0/12") == []
    assert foreign(held, "b", "10.112.8.0/24") == keys("10.112.8.0/24")


def test_modes_and_families() -> None:
    assert foreign(BLOCKS, "a", "192.0.2.0/24", "report") == keys("192.0.2.0/24")
    assert foreign(BLOCKS, "a", "192.0.2.0/24", "off") == []
    for name in ("ipv4-multicast", "ipv4-vpn", "l2vpn-evpn"):
        assert Ownership("enforce", BLOCKS).foreign("node/a", FAMILY_BY_NAME[name], keys("192.0.2.0/24")) == []
    assert Ownership("enforce", BLOCKS).foreign("node/a", IPV4_UNICAST, []) == []


OWNERS_OF: list[tuple[str, set[str]]] = [
    ("10.1.0.0/26", {"node/a"}),
    ("10.1.0.65/32", {"node/b"}),
    ("10.9.0.0/24", {"node/a", "node/b"}),
    ("10.3.7.9/32", {"node/b"}),
    ("10.2.0.0/15", set()),
    ("10.97.0.0/16", set()),
    ("fd00:2::1/128", {"node/b"}),
]


@pytest.mark.parametrize(("prefix", "expected"), OWNERS_OF)
def test_owners_of(prefix: str, expected: set[str]) -> None:
    family = IPV6_UNICAST if ":" in prefix else IPV4_UNICAST
    assert Ownership("report", BLOCKS).owners_of(family, wire(prefix)) == expected


def test_owners_of_what_is_not_judged() -> None:
    assert Ownership("off", BLOCKS).owners_of(IPV4_UNICAST, wire("10.1.0.0/26")) == frozenset()
    assert Ownership("report", BLOCKS).owners_of(FAMILY_BY_NAME["ipv4-vpn"], wire("10.1.0.0/26")) == frozenset()


LONG_CASES: list[tuple[str, str, list[str], list[str]]] = [
    (
        "a block of another between the first and the last",
        "a",
        [f"10.3.{n}.0/24" for n in range(20)],
        ["10.3.7.0/24"],
    ),
    (
        "a prefix around an own block, and host routes in it",
        "a",
        ["10.1.0.0/24", *(f"10.1.0.{n}/32" for n in range(8))],
        ["10.1.0.0/24"],
    ),
    (
        "from an own block to that of another behind it",
        "a",
        [f"10.1.0.{n}/32" for n in range(60, 68)],
        [f"10.1.0.{n}/32" for n in range(64, 68)],
    ),
    (
        "to behind the last block",
        "a",
        [f"10.9.{n}.0/28" for n in range(8)],
        [f"10.9.{n}.0/28" for n in range(1, 8)],
    ),
    ("all of one length in an own aggregate", "a", [f"10.3.200.{n}/32" for n in range(20)], []),
    (
        "all of one length in that of another",
        "c",
        [f"10.3.200.{n}/32" for n in range(6)],
        [f"10.3.200.{n}/32" for n in range(6)],
    ),
    (
        "not in order",
        "a",
        ["10.3.9.0/24", "10.3.6.0/23", "10.3.7.0/24", "10.3.8.0/24", "10.3.1.1/32", "10.3.7.1/32"],
        ["10.3.7.0/24", "10.3.7.1/32"],
    ),
]


@pytest.mark.parametrize(("text", "name", "announced", "expected"), LONG_CASES, ids=[row[0] for row in LONG_CASES])
def test_many_prefixes_at_once(text: str, name: str, announced: list[str], expected: list[str]) -> None:
    for some in (announced, announced[::-1]):
        assert sorted(foreign(BLOCKS, name, " ".join(some))) == sorted(keys(*expected))


# Against a plain search. Few addresses, so that prefixes often cover each other.


def packed_prefixes(bits: int) -> st.SearchStrategy[bytes]:
    def make(length: int, top: int, low: int) -> bytes:
        number = (10 << 24 | top << 16 | low) << (bits - 32)
        return bytes((length,)) + (number >> (bits - length) << (bits - length)).to_bytes(bits // 8, "big")

    lengths = st.sampled_from([0, 6, 8, 14, 15, 16, 24, 26, 30, 31, 32] + ([33, 48, 64, 128] if bits == 128 else []))
    return st.builds(make, lengths, st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 64, 65, 128, 256, 257]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Family, Owners, list[bytes]]:
    family, bits = draw(st.sampled_from([(IPV4_UNICAST, 32), (IPV6_UNICAST, 128)]))
    prefixes = packed_prefixes(bits)
    by_prefix = draw(st.dictionaries(prefixes, st.frozensets(st.sampled_from(NAMES), max_size=2), max_size=12))
    shared = draw(st.frozensets(prefixes.filter(lambda prefix: prefix[0] > 8), max_size=2))
    return family, Owners(by_prefix, shared), draw(st.lists(prefixes, max_size=25))


def plainly_foreign(held: Owners, name: str, prefix: bytes) -> bool:
    if any(contains(one, prefix) for one in held.shared):
        return False
    around = [one for one in held.by_prefix if contains(one, prefix)]
    return not around or name not in held.by_prefix[max(around)]  # of nested prefixes the longest has the first byte


@given(cases(), st.sampled_from(NAMES))
def test_against_a_plain_search(case: tuple[Family, Owners, list[bytes]], name: str) -> None:
    family, held, announced = case
    found = Ownership("enforce", held).foreign(name, family, [key_of(prefix) for prefix in announced])
    assert sorted(found) == sorted(key_of(prefix) for prefix in announced if plainly_foreign(held, name, prefix))


@given(cases(), st.sampled_from(NAMES), st.integers(0, 3))
def test_lists_of_one_length_against_a_plain_search(
    case: tuple[Family, Owners, list[bytes]], name: str, top: int
) -> None:
    """Many neighbours of one length, as a peer with a table announces them."""
    family, held, _ = case
    bits = 32 if family == IPV4_UNICAST else 128
    announced = [
        bytes((30,)) + ((10 << 24 | top << 16 | low) << (bits - 32)).to_bytes(bits // 8, "big")
        for low in range(0, 300, 4)
    ]
    for count in (1, 5, len(announced)):
        some = announced[-count:]
        found = Ownership("enforce", held).foreign(name, family, [key_of(prefix) for prefix in some])
        assert sorted(found) == sorted(key_of(prefix) for prefix in some if plainly_foreign(held, name, prefix))


def key_of(prefix: bytes) -> Key:
    return prefix[: 1 + (prefix[0] + 7) // 8]


def test_families_do_not_mix() -> None:
    """0.0.0.0/0 and ::/0 are one key on the wire, and two prefixes."""
    assert wire("0.0.0.0/0") == wire("::/0")
    held = owners(a="0.0.0.0/0", b="::/0")
    assert foreign(held, "a", "0.0.0.0/0 10.0.0.0/8") == []
    assert foreign(held, "a", "::/0") == keys("::/0")
    assert foreign(held, "b", "::/0 fd00::/8") == []
