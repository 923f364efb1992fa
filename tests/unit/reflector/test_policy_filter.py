"""BGPFilters on blocks and lists of prefixes, against the filter that judges one route at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.prefixes import format_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import Direction, Route, SessionType, compile_filters
from reflector.policy.block_filter import BlockFilter, has_rules
from reflector.policy.refusal import Refusal
from reflector.rib.route import Key
from reflector.wire.as_path import SEQUENCE, SET
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST, Family
from tests.unit.reflector.policy_samples import ACCEPT, REJECT, block, filters, keys, values, wire

#: By family: prefixes that rules name, and others in, around and beside them.
NAMED = {
    IPV4_UNICAST: ["0.0.0.0/0", "10.0.0.0/8", "10.64.0.0/10", "10.64.3.0/26", "10.64.3.64/26", "192.168.0.0/16"],
    IPV6_UNICAST: ["::/0", "fd00::/8", "fd00:1::/32", "fd00:1:0:3::/64", "fd00:1:0:4::/64", "2001:db8::/32"],
}
OTHERS = {
    IPV4_UNICAST: [
        "10.64.3.7/32",
        "10.64.3.70/32",
        "10.64.3.0/24",
        "10.65.0.0/16",
        "11.0.0.0/8",
        "9.0.0.0/8",
        "8.0.0.0/6",
    ],
    IPV6_UNICAST: ["fd00:1:0:3::7/128", "fd00:1:0:3::/72", "fd00:1::/48", "fe00::/8", "fc00::/7", "fd00:1:0:5::/64"],
}
VERSION = {IPV4_UNICAST: "V4", IPV6_UNICAST: "V6"}
NAME: dict[Family, Any] = {IPV4_UNICAST: "ipv4-unicast", IPV6_UNICAST: "ipv6-unicast"}
SMALL, LARGE = "65000:1", "65000:1:2"

OPERATIONS = st.one_of(
    st.sampled_from([SMALL, LARGE, "no-export", "65000:9", "1:2:3"]).map(lambda one: {"addCommunity": {"value": one}}),
    st.lists(st.integers(1, 3), min_size=1, max_size=3).map(lambda asns: {"prependASPath": {"prefix": asns}}),
    st.sampled_from([1, 512]).map(lambda one: {"setPriority": {"value": one}}),
    st.sampled_from([0, 7]).map(lambda one: {"setMED": {"value": one}}),
    st.sampled_from([0, 200]).map(lambda one: {"setLocalPreference": {"value": one}}),
)


@st.composite
def rules(draw: st.DrawFn, family: Family) -> dict[str, Any]:
    rule: dict[str, Any] = {"action": draw(st.sampled_from(["Accept", "Reject"]))}
    if draw(st.integers(0, 3)):
        rule["cidr"] = draw(st.sampled_from(NAMED[family]))
        rule["matchOperator"] = draw(st.sampled_from(["In", "NotIn", "Equal", "NotEqual"]))
        bounds = sorted(draw(st.tuples(st.integers(0, 32), st.integers(0, 32))))
        named = {"min": bounds[0], "max": bounds[1] * (4 if family == IPV6_UNICAST else 1)}
        chosen = draw(st.sets(st.sampled_from(["min", "max"])))
        rule |= {"prefixLength": {name: named[name] for name in chosen}} if chosen else {}
    options: dict[str, st.SearchStrategy[Any]] = {
        "source": st.just("RemotePeers"),
        "interface": st.sampled_from(["*", "eth*"]),
        "peerType": st.sampled_from(["eBGP", "iBGP"]),
        "communities": st.sampled_from([SMALL, LARGE, "no-export"]).map(lambda one: {"values": [one]}),
        "asPathPrefix": st.lists(st.integers(1, 2), min_size=1, max_size=2),
        "priority": st.sampled_from([1024, 2147483647 - 200]),
    }
    for name in draw(st.sets(st.sampled_from(sorted(options)), max_size=2)):
        rule[name] = draw(options[name])
    if rule["action"] == "Accept":
        rule["operations"] = draw(st.lists(OPERATIONS, max_size=3))
    return rule


def blocks() -> st.SearchStrategy[AttributeBlock]:
    segments = st.lists(
        st.tuples(st.sampled_from([SEQUENCE, SEQUENCE, SET]), st.lists(st.integers(1, 3), min_size=1).map(tuple)),
        max_size=2,
    ).map(tuple)
    return st.builds(
        lambda as_path, communities, large, med, local_pref: block(
            as_path=as_path,
            communities=communities or None,
            large_communities=large or None,
            med=med,
            local_pref=local_pref,
            extended_communities=(b"\0\2\0\1\0\0\0\7",),
        ),
        segments,
        st.sets(st.sampled_from([65000 << 16 | 1, 0xFFFFFF01, 7])).map(lambda found: tuple(sorted(found))),
        st.sets(st.sampled_from([(65000, 1, 2), (1, 1, 1)])).map(lambda found: tuple(sorted(found))),
        st.sampled_from([None, 0, 5]),
        st.sampled_from([None, 100, 200]),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Family, list[list[dict[str, Any]]], list[Key]]:
    family = draw(st.sampled_from([IPV4_UNICAST, IPV6_UNICAST]))
    written = draw(st.lists(st.lists(rules(family), max_size=5), max_size=3))
    prefixes = draw(st.lists(st.sampled_from(NAMED[family] + OTHERS[family]), min_size=1, max_size=15, unique=True))
    return family, written, keys(*prefixes)


def packed(key: Key, family: Family) -> bytes:
    return key.ljust(5 if family == IPV4_UNICAST else 17, b"\0")


def seen(one: AttributeBlock, prefix: bytes) -> Route:
    """The block as the filter for single routes takes it; communities of both kinds, the small ones first."""
    small = tuple(divmod(number, 1 << 16) for number in one.communities)
    return Route(prefix, one.as_path, (*small, *one.large_communities), one.med, one.local_pref)


@given(cases(), blocks(), st.sampled_from(["import", "export"]), st.sampled_from(["ebgp", "ibgp"]))
def test_lists_are_judged_as_single_routes_are(
    case: tuple[Family, list[list[dict[str, Any]]], list[Key]],
    one: AttributeBlock,
    direction: Direction,
    session_type: SessionType,
) -> None:
    family, written, given_keys = case
    field = direction + VERSION[family]
    named = tuple((f"f{n}", BGPFilterSpec.model_validate({field: some})) for n, some in enumerate(written))
    tested = BlockFilter(named, direction, family, session_type)
    plain = compile_filters(named, direction, NAME[family], session_type)
    parts = tested.partition(given_keys)
    assert sorted(key for _, some in parts for key in some) == sorted(given_keys)
    for prefix_class, some in parts:
        outcome = tested.decide(one, prefix_class)
        for key in some:
            assert tested.class_of(key) == prefix_class
            check(one, outcome, plain.decide(seen(one, packed(key, family))), format_prefix(packed(key, family)))


def check(before: AttributeBlock, outcome: AttributeBlock | Refusal, verdict: Any, prefix: str) -> None:
    if verdict is None:
        assert outcome is before, prefix
    elif not verdict.accepted:
        assert outcome == Refusal("filter", verdict.place), prefix
    else:
        assert isinstance(outcome, AttributeBlock), prefix
        after = verdict.route
        assert outcome.as_path == after.as_path, prefix
        assert (outcome.med, outcome.local_pref) == (after.med, after.local_preference), prefix
        assert set(seen(outcome, b"").communities) == set(after.communities), prefix
        named = ("as_path", "med", "local_pref", "communities", "large_communities")
        rest = [{k: v for k, v in values(each).items() if k not in named} for each in (before, outcome)]
        assert rest[0] == rest[1], prefix
        assert outcome.as_path_length - before.as_path_length == len(after.as_path) - len(before.as_path), prefix
        assert outcome.segments[len(outcome.segments) - len(before.segments) + 1 :] == before.segments[1:], prefix


CONDITIONS: list[tuple[dict[str, Any], AttributeBlock, AttributeBlock]] = [
    (
        {"communities": {"values": [SMALL]}},
        block(communities=(65000 << 16 | 1,)),
        block(communities=(65000 << 16 | 2,)),
    ),
    (
        {"communities": {"values": [LARGE]}},
        block(large_communities=((65000, 1, 2),)),
        block(large_communities=((1, 65000, 2),)),
    ),
    ({"asPathPrefix": [1, 2]}, block(1, 2, 3), block(1, 3, 2)),
    ({"priority": 512}, block(local_pref=2147483647 - 512), block(local_pref=512)),
    ({"priority": 1024}, block(), block(local_pref=100)),
    ({"source": "RemotePeers"}, block(), block(1)),
]


@pytest.mark.parametrize(("condition", "matching", "other"), CONDITIONS)
def test_a_condition_on_attributes_leaves_the_next_rules_their_say(
    condition: dict[str, Any], matching: AttributeBlock, other: AttributeBlock
) -> None:
    """Prefixes that differ only for a rule behind one whose conditions fail are still told apart."""
    second = {"cidr": "10.1.0.0/16", "matchOperator": "In"}
    written = filters("importV4", ACCEPT | condition, REJECT | second)
    tested = BlockFilter(written, "import", IPV4_UNICAST, "ibgp")
    for prefix, is_second in (("10.1.0.0/24", True), ("10.2.0.0/24", False)):
        assert tested.decide(matching, tested.class_of(wire(prefix))) is matching
        refused = is_second and "source" not in condition
        assert isinstance(tested.decide(other, tested.class_of(wire(prefix))), Refusal) is refused


def test_an_interface_is_not_known() -> None:
    written = filters("importV4", ACCEPT | {"interface": "*"}, REJECT | {"cidr": "10.1.0.0/16", "matchOperator": "In"})
    tested = BlockFilter(written, "import", IPV4_UNICAST, "ibgp")
    assert isinstance(tested.decide(block(), tested.class_of(wire("10.1.0.0/24"))), Refusal)


def test_operations_keep_what_is_there() -> None:
    added = [{"addCommunity": {"value": one}} for one in ("65000:9", "1:2:3", "65000:9", "no-export")]
    tested = BlockFilter(filters("importV4", ACCEPT | {"operations": added}), "import", IPV4_UNICAST, "ibgp")
    before = block(1, communities=(7, 0xFFFFFF01), large_communities=((9, 9, 9),), extended_communities=(bytes(8),))
    after = tested.decide(before, tested.every)
    assert isinstance(after, AttributeBlock)
    assert values(after) == values(before) | {
        "communities": (7, 0xFFFFFF01, 65000 << 16 | 9),
        "large_communities": ((9, 9, 9), (1, 2, 3)),
    }


@pytest.mark.parametrize("family", ["ipv4-multicast", "ipv4-vpn", "l2vpn-evpn"])
def test_families_other_than_unicast_have_no_filters(family: str) -> None:
    tested = BlockFilter(filters("importV4", REJECT), "import", FAMILY_BY_NAME[family], "ibgp")
    one, some = block(1), [b"\x18\x0a\x00\x00"]
    assert not has_rules(filters("importV4", REJECT), "import", FAMILY_BY_NAME[family], "ibgp")
    assert has_rules(filters("importV4", REJECT), "import", IPV4_UNICAST, "ibgp")
    assert tested.partition(some) == [(tested.every, some)]
    assert tested.decide(one, tested.every) is one


def test_rules_behind_one_that_decides_make_no_classes() -> None:
    inside = [REJECT | {"cidr": f"10.{n}.0.0/16", "matchOperator": "In"} for n in range(16)]
    first = ACCEPT | {"cidr": "10.0.0.0/8", "matchOperator": "In"}
    some = keys(*(f"10.{n}.0.0/24" for n in range(16)))
    assert len(BlockFilter(filters("importV4", first, *inside), "import", IPV4_UNICAST, "ibgp").partition(some)) == 1
    conditional = first | {"communities": {"values": ["1:1"]}}
    tested = BlockFilter(filters("importV4", conditional, *inside), "import", IPV4_UNICAST, "ibgp")
    assert len(tested.partition(some)) == 16


def test_equal_attributes_are_the_same_block_while_it_is_used() -> None:
    tested = BlockFilter(
        filters("importV4", ACCEPT | {"operations": [{"setMED": {"value": 7}}]}), "import", IPV4_UNICAST, "ibgp"
    )
    first, second = block(1, med=1), block(1, med=2)
    assert tested.decide(first, tested.every) is tested.decide(second, tested.every)


def test_a_prefix_without_rules_does_not_stand_for_those_with() -> None:
    """The class of the prefixes that no rule names has a sample of its own, not just any prefix."""
    tested = BlockFilter(
        filters("importV4", REJECT | {"cidr": "0.0.0.0/0", "matchOperator": "Equal"}), "import", IPV4_UNICAST, "ibgp"
    )
    one = block(1)
    assert tested.decide(one, tested.class_of(wire("10.0.0.0/8"))) is one
    assert tested.decide(one, tested.class_of(wire("0.0.0.0/0"))) == Refusal("filter", "BGPFilter/f spec.importV4[0]")
