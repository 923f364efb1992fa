"""Command lines: grouped, chunked, canonical, and never with anything in them that was not checked."""

from __future__ import annotations

from typing import Any

import pytest

from bgp_speaker.exabgp_commands import (
    BULK,
    Announcement,
    announce_lines,
    difference,
    end_of_rib_lines,
    parse_announced,
    route_refresh_lines,
    withdraw_lines,
)

A, B, C = "10.0.0.1", "10.0.0.2", "fd00::1"


def announcements(*prefixes: str, **options: Any) -> dict[str, Announcement]:
    return {p: Announcement(p, **options) for p in prefixes}


def test_neighbours_with_the_same_announcement_share_a_line() -> None:
    desired = {A: announcements("10.1.0.0/26", "10.1.1.0/26"), B: announcements("10.1.0.0/26")}
    assert difference(desired, {}) == [
        "neighbor 10.0.0.1 , neighbor 10.0.0.2 announce attributes next-hop self nlri 10.1.0.0/26",
        "neighbor 10.0.0.1 announce attributes next-hop self nlri 10.1.1.0/26",
    ]


def test_difference_announces_before_it_withdraws() -> None:
    actual = {A: announcements("10.1.0.0/26", "10.2.0.0/26"), B: announcements("10.1.0.0/26")}
    desired = {A: {**announcements("10.2.0.0/26", med=5), **announcements("10.3.0.0/26")}}
    assert difference(desired, actual) == [
        "neighbor 10.0.0.1 announce attributes next-hop self nlri 10.3.0.0/26",
        "neighbor 10.0.0.1 announce attributes next-hop self med 5 nlri 10.2.0.0/26",
        "neighbor 10.0.0.1 , neighbor 10.0.0.2 withdraw attributes nlri 10.1.0.0/26",
    ]
    assert difference(actual, actual) == []


def test_at_most_45_prefixes_of_one_family_in_a_line() -> None:
    v4 = [Announcement(f"10.1.{i}.0/24") for i in range(100)]
    v6 = [Announcement(f"fd01:0:0:{i:x}::/64", next_hop="fd00::9") for i in range(50)]
    lines = announce_lines({A: [*v4, *v6]})
    counts = [len(line.partition(" nlri ")[2].split()) for line in lines]
    assert counts == [BULK, BULK, 10, BULK, 5]
    for line in lines:
        assert len({":" in prefix for prefix in line.partition(" nlri ")[2].split()}) == 1
    withdrawn = withdraw_lines({A: [a.prefix for a in (*v4, *v6)]})
    assert [len(line.partition(" nlri ")[2].split()) for line in withdrawn] == counts


def test_all_attributes_in_canonical_form() -> None:
    announcement = Announcement(
        "FD00:1::/64",
        next_hop="FD00::0:1",
        communities=("no-export", "65100:007", "65100:7", "graceful-shutdown"),
        large_communities=("65100:1:4294967295",),
        local_preference=200,
        med=0,
        as_path=(65100, 4200000000),
    )
    assert announce_lines({"FD00::0:2": [announcement]}) == [
        "neighbor fd00::2 announce attributes next-hop fd00::1 local-preference 200 med 0 "
        "as-path [ 65100 4200000000 ] community [ 65100:7 65535:0 65535:65281 ] large-community [ 65100:1:4294967295 ] "
        "nlri fd00:1::/64"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefix": "10.0.0.1/24"},
        {"prefix": "10.0.0.0/33"},
        {"prefix": "10.0.0.0/24\nshutdown"},
        {"prefix": ""},
        {"prefix": "10.0.0.0/24", "next_hop": "itself"},
        {"prefix": "10.0.0.0/24", "next_hop": "10.0.0.1 med 3"},
        {"prefix": "10.0.0.0/24", "communities": ("65100",)},
        {"prefix": "10.0.0.0/24", "communities": ("65536:1",)},
        {"prefix": "10.0.0.0/24", "communities": ("1:2 ] nlri",)},
        {"prefix": "10.0.0.0/24", "communities": ("1:-2",)},
        {"prefix": "10.0.0.0/24", "communities": ("1:²",)},
        {"prefix": "10.0.0.0/24", "large_communities": ("1:2",)},
        {"prefix": "10.0.0.0/24", "large_communities": ("1:2:4294967296",)},
        {"prefix": "10.0.0.0/24", "med": -1},
        {"prefix": "10.0.0.0/24", "local_preference": 1 << 32},
        {"prefix": "10.0.0.0/24", "as_path": (65100, 1 << 32)},
    ],
)
def test_what_is_not_valid_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Announcement(**arguments)


def test_next_hop_self_needs_a_session_of_the_same_family() -> None:
    for neighbor, prefix in ((A, "fd01::/64"), (C, "10.1.0.0/24")):
        with pytest.raises(ValueError, match="next hop"):
            announce_lines({neighbor: [Announcement(prefix)]})
    assert len(announce_lines({A: [Announcement("fd01::/64", next_hop="fd00::9")]})) == 1


@pytest.mark.parametrize("neighbor", ["*", "10.0.0.1 , neighbor 10.0.0.2", "", "10.0.0.1\n"])
def test_neighbours_are_addresses(neighbor: str) -> None:
    with pytest.raises(ValueError):
        announce_lines({neighbor: [Announcement("10.1.0.0/24")]})
    with pytest.raises(ValueError):
        withdraw_lines({neighbor: ["10.1.0.0/24"]})
    with pytest.raises(ValueError):
        end_of_rib_lines([neighbor], ["ipv4-unicast"])


def test_families() -> None:
    assert end_of_rib_lines([B, A], ["ipv4-unicast", "ipv6-unicast"]) == [
        "neighbor 10.0.0.1 , neighbor 10.0.0.2 announce eor ipv4 unicast",
        "neighbor 10.0.0.1 , neighbor 10.0.0.2 announce eor ipv6 unicast",
    ]
    assert route_refresh_lines([C], ["ipv6-unicast"]) == ["neighbor fd00::1 announce route-refresh ipv6 unicast"]
    assert end_of_rib_lines([], ["ipv4-unicast"]) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("10.201.0.2 ipv4 unicast 100.64.0.0/26 next-hop 10.201.0.1", ("10.201.0.2", "100.64.0.0/26")),
        ("fd00::2 ipv6 unicast 2001:db8:9::/64 next-hop fd99::1", ("fd00::2", "2001:db8:9::/64")),
        ("fd00::2 ipv6 flow 2001:db8:9::/64", None),
        ("10.201.0.2 ipv4 unicast", None),
        ("neighbor ipv4 unicast 10.0.0.0/8", None),
        ("", None),
    ],
)
def test_answers_about_what_is_announced(line: str, expected: tuple[str, str] | None) -> None:
    assert parse_announced(line) == expected
