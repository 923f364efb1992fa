"""BGPFilter: each condition and operation by itself, and whole filters against a plain reading of the rules."""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.dead_rules import never_matches
from peering.prefixes import format_prefix, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec, FilterRule
from peering.route_filter import Route, SessionType, Verdict, compile_filters, named_filters, parse_community

ACCEPT: dict[str, Any] = {"action": "Accept"}
REJECT: dict[str, Any] = {"action": "Reject"}


def spec(*rules: dict[str, Any], field: str = "importV4") -> BGPFilterSpec:
    return BGPFilterSpec.model_validate({field: list(rules)})


def decide(rule: dict[str, Any], route: Route, session_type: SessionType = "ebgp") -> Verdict | None:
    return compile_filters((("f", spec(rule)),), "import", "ipv4-unicast", session_type).decide(route)


def route(prefix: str = "10.1.0.0/16", **fields: Any) -> Route:
    return Route(pack_prefix(prefix), **fields)


PREFIX_CASES = [
    ({"cidr": "10.0.0.0/8", "matchOperator": "In"}, "10.0.0.0/8 10.1.0.0/16 10.1.1.1/32", "11.0.0.0/8 0.0.0.0/0"),
    ({"cidr": "10.0.0.0/8", "matchOperator": "NotIn"}, "11.0.0.0/8 0.0.0.0/0", "10.0.0.0/8 10.1.1.1/32"),
    ({"cidr": "10.0.0.0/8", "matchOperator": "Equal"}, "10.0.0.0/8", "10.0.0.0/9 0.0.0.0/0 11.0.0.0/8"),
    ({"cidr": "10.0.0.0/8", "matchOperator": "NotEqual"}, "10.0.0.0/9 0.0.0.0/0", "10.0.0.0/8"),
    (
        {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 16, "max": 24}},
        "10.1.0.0/16 10.1.1.0/24",
        "10.0.0.0/8 10.1.1.0/25 10.0.0.0/15 11.0.0.0/16",
    ),
    (
        {"cidr": "10.0.0.0/8", "matchOperator": "NotIn", "prefixLength": {"max": 24}},
        "11.0.0.0/24 10.1.1.0/25 10.1.1.1/32",
        "10.0.0.0/8 10.1.1.0/24",
    ),
    # A lower bound under the CIDR's own length widens nothing.
    ({"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 4}}, "10.0.0.0/8", "8.0.0.0/5 0.0.0.0/4"),
    ({"cidr": "10.0.0.0/8", "matchOperator": "Equal", "prefixLength": {"max": 24}}, "10.0.0.0/8", "10.0.0.0/16"),
]


@pytest.mark.parametrize(("rule", "taken", "left"), PREFIX_CASES)
def test_prefix_conditions(rule: dict[str, Any], taken: str, left: str) -> None:
    for prefix in taken.split():
        assert decide(REJECT | rule, route(prefix)) is not None, prefix
    for prefix in left.split():
        assert decide(REJECT | rule, route(prefix)) is None, prefix


ATTRIBUTE_CASES = [
    ({"source": "RemotePeers"}, {"from_peer": True}, {"from_peer": False}),
    ({"interface": "eth*"}, {"interface": "eth12"}, {"interface": "xeth1"}),
    ({"interface": "eth?"}, {"interface": "eth1"}, {"interface": "eth12"}),
    ({"interface": "eth?"}, {"interface": "eth1"}, {"interface": "eth"}),
    ({"interface": "*"}, {"interface": "bond0"}, {"interface": None}),
    ({"interface": "e.h1"}, {"interface": "e.h1"}, {"interface": "eth1"}),
    ({"communities": {"values": ["65000:100"]}}, {"communities": ((1, 2), (65000, 100))}, {"communities": ((1, 100),)}),
    ({"communities": {"values": ["1:2:3"]}}, {"communities": ((1, 2, 3),)}, {"communities": ((1, 2), (2, 3))}),
    ({"communities": {"values": ["no-export"]}}, {"communities": ((65535, 65281),)}, {}),
    ({"asPathPrefix": [65001]}, {"as_path": (65001,)}, {"as_path": ()}),
    ({"asPathPrefix": [1, 2]}, {"as_path": (1, 2, 3)}, {"as_path": (1, 3, 2)}),
    ({"priority": 1024}, {}, {"local_preference": 100}),
    ({"priority": 512}, {"local_preference": 2147483647 - 512}, {}),
]


@pytest.mark.parametrize(("rule", "matching", "other"), ATTRIBUTE_CASES)
def test_attribute_conditions(rule: dict[str, Any], matching: dict[str, Any], other: dict[str, Any]) -> None:
    assert decide(REJECT | rule, route(**matching)) is not None
    assert decide(REJECT | rule, route(**other)) is None


def test_a_rule_for_a_type_of_session_is_of_no_other() -> None:
    assert decide(REJECT | {"peerType": "iBGP"}, route(), "ibgp") is not None
    assert decide(REJECT | {"peerType": "iBGP"}, route(), "ebgp") is None


OPERATION_CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"addCommunity": {"value": "65000:7"}}, {"communities": ((1, 2),)}, {"communities": ((1, 2), (65000, 7))}),
    ({"addCommunity": {"value": "65000:7"}}, {"communities": ((65000, 7),)}, {"communities": ((65000, 7),)}),
    ({"prependASPath": {"prefix": [1, 2]}}, {"as_path": (3,)}, {"as_path": (1, 2, 3)}),
    ({"setPriority": {"value": 512}}, {}, {"local_preference": 2147483135}),
    ({"setMED": {"value": 0}}, {"med": 5}, {"med": 0}),
    ({"setLocalPreference": {"value": 0}}, {}, {"local_preference": 0}),
]


@pytest.mark.parametrize(("operation", "before", "after"), OPERATION_CASES)
def test_operations(operation: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    verdict = decide(ACCEPT | {"operations": [operation]}, route(**before))
    assert verdict is not None
    assert verdict.accepted
    assert verdict.route == route(**after)


def test_operations_follow_each_other_and_the_input_stays() -> None:
    before = route(as_path=(9,))
    steps = [{"prependASPath": {"prefix": [2]}}, {"prependASPath": {"prefix": [1]}}, {"setMED": {"value": 3}}]
    verdict = decide(ACCEPT | {"operations": steps}, before)
    assert verdict is not None
    assert (verdict.route.as_path, verdict.route.med) == ((1, 2, 9), 3)
    assert before == route(as_path=(9,))


def test_the_first_match_decides_across_filters_and_says_where() -> None:
    first = spec(REJECT | {"cidr": "10.9.0.0/16", "matchOperator": "In"})
    second = spec(REJECT | {"peerType": "iBGP"}, ACCEPT | {"cidr": "10.0.0.0/8", "matchOperator": "In"}, REJECT)
    filters = named_filters(["a", "b"], {"b": second, "a": first})
    compiled = compile_filters(filters, "import", "ipv4-unicast", "ebgp")
    expected = {
        "10.9.1.0/24": (False, "BGPFilter/a spec.importV4[0]"),
        "10.1.0.0/16": (True, "BGPFilter/b spec.importV4[1]"),
        "11.0.0.0/8": (False, "BGPFilter/b spec.importV4[2]"),
    }
    verdicts = {prefix: compiled.decide(route(prefix)) for prefix in expected}
    assert {p: (v.accepted, v.place) for p, v in verdicts.items() if v} == expected


def test_a_filter_that_does_not_exist_lets_nothing_through() -> None:
    filters = named_filters(["open", "gone"], {"open": spec(ACCEPT | {"cidr": "10.0.0.0/8", "matchOperator": "In"})})
    for family, inside, outside in (
        ("ipv4-unicast", pack_prefix("10.1.0.0/16"), pack_prefix("11.0.0.0/8")),
        ("ipv6-unicast", None, pack_prefix("fd00::/64")),
    ):
        compiled = compile_filters(filters, "import", family, "ebgp")
        refused = compiled.decide(Route(outside))
        assert refused is not None
        assert (refused.accepted, refused.filter) == (False, "gone")
        if inside is not None:
            accepted = compiled.decide(Route(inside))
            assert accepted is not None
            assert accepted.accepted


def test_directions_and_families_have_their_own_rules() -> None:
    both = BGPFilterSpec.model_validate({"importV4": [REJECT], "exportV6": [ACCEPT]})
    v6 = Route(pack_prefix("fd00::/64"))
    assert compile_filters((("f", both),), "export", "ipv4-unicast", "ebgp").decide(route()) is None
    assert compile_filters((("f", both),), "import", "ipv6-unicast", "ebgp").decide(v6) is None
    verdict = compile_filters((("f", both),), "export", "ipv6-unicast", "ebgp").decide(v6)
    assert verdict is not None
    assert verdict.place == "BGPFilter/f spec.exportV6[0]"


def test_no_filters_decide_nothing() -> None:
    empty = compile_filters((), "import", "ipv4-unicast", "ebgp")
    assert not empty
    assert empty.decide(route()) is None


# Whole filters. CIDRs of at most 4 bits, so that one prefix of each length for each value of the first 4 bits
# stands for all prefixes there are.

UNIVERSE = [
    str(ipaddress.ip_network((top << 28 & (0xFFFFFFFF << (32 - length)), length)))
    for length in range(33)
    for top in range(0, 16, 1 << max(0, 4 - length))
]
CIDRS = st.sampled_from([p for p in UNIVERSE if int(p.split("/")[1]) <= 4])
LENGTHS = st.one_of(st.none(), st.integers(0, 32))


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {"action": draw(st.sampled_from(["Accept", "Reject"]))}
    if draw(st.booleans()):
        rule["cidr"] = draw(CIDRS)
        rule["matchOperator"] = draw(st.sampled_from(["In", "NotIn", "Equal", "NotEqual"]))
        low, high = draw(LENGTHS), draw(LENGTHS)
        if not (low is not None and high is not None and low > high):
            bounds = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
            rule |= {"prefixLength": bounds} if bounds else {}
    options: dict[str, st.SearchStrategy[Any]] = {
        "source": st.just("RemotePeers"),
        "interface": st.sampled_from(["*", "eth*", "eth1"]),
        "peerType": st.sampled_from(["eBGP", "iBGP"]),
        "communities": st.sampled_from(["1:1", "1:2"]).map(lambda one: {"values": [one]}),
        "asPathPrefix": st.lists(st.integers(1, 2), min_size=1, max_size=2),
        "priority": st.sampled_from([1024, 512]),
    }
    for name in draw(st.sets(st.sampled_from(sorted(options)), max_size=2)):
        rule[name] = draw(options[name])
    return rule


ROUTES = st.builds(
    Route,
    prefix=st.sampled_from(UNIVERSE).map(pack_prefix),
    as_path=st.lists(st.integers(1, 2), max_size=3).map(tuple),
    communities=st.sets(st.sampled_from([(1, 1), (1, 2)])).map(lambda found: tuple(sorted(found))),
    local_preference=st.sampled_from([None, 2147483647 - 512]),
    from_peer=st.booleans(),
    interface=st.sampled_from([None, "eth0", "eth1", "bond0"]),
)
FILTERS = st.lists(rules(), max_size=6)
TYPES = st.sampled_from(["ebgp", "ibgp"])


def plainly_matches(rule: FilterRule, one: Route, session_type: str) -> bool:
    """The rule, read word by word with other means than the code under test has."""
    network = ipaddress.ip_network(format_prefix(one.prefix))
    conditions = []
    if rule.cidr is not None:
        cidr = ipaddress.ip_network(rule.cidr)
        low = rule.prefix_length.min if rule.prefix_length else None
        high = rule.prefix_length.max if rule.prefix_length else None
        fits = (low is None or network.prefixlen >= low) and (high is None or network.prefixlen <= high)
        equal, inside = network == cidr, network.subnet_of(cidr)  # type: ignore[arg-type]
        table = {"Equal": equal and fits, "In": inside and fits}
        table |= {"NotEqual": not table["Equal"], "NotIn": not table["In"]}
        conditions.append(table[str(rule.match_operator)])
    conditions += [one.from_peer] if rule.source else []
    if rule.interface:
        conditions.append(one.interface is not None and fnmatch.fnmatchcase(one.interface, rule.interface))
    conditions += [rule.peer_type.lower() == session_type] if rule.peer_type else []
    if rule.communities:
        wanted = rule.communities.values[0]
        conditions.append(wanted in [":".join(map(str, community)) for community in one.communities])
    pairs = zip(rule.as_path_prefix, [*one.as_path, *[0] * 9], strict=False)
    conditions += [asn == found for asn, found in pairs]
    if rule.priority:
        priority = 1024 if one.local_preference is None else 2147483647 - one.local_preference
        conditions.append(rule.priority == priority)
    return all(conditions)


@given(FILTERS, st.lists(ROUTES, min_size=1, max_size=8), TYPES)
def test_the_compiled_filter_decides_as_its_rules_read(
    written: list[dict[str, Any]], routes: list[Route], session_type: SessionType
) -> None:
    parsed = spec(*written)
    compiled = compile_filters((("f", parsed),), "import", "ipv4-unicast", session_type)
    for one in routes:
        hits = [i for i, rule in enumerate(parsed.import_v4) if plainly_matches(rule, one, session_type)]
        verdict = compiled.decide(one)
        assert (verdict.rule if verdict else None) == (hits[0] if hits else None)
        if verdict:
            assert verdict.accepted is (parsed.import_v4[hits[0]].action == "Accept")


# Rules that never decide.


def everything_of(types: set[str]) -> list[tuple[Route, str]]:
    """A route of each prefix there is, for rules whose only other condition is `peerType`."""
    return [(route(prefix), one) for prefix in UNIVERSE for one in sorted(types)]


PREFIX_RULES = rules().map(
    lambda rule: {k: v for k, v in rule.items() if k in ("action", "cidr", "matchOperator", "prefixLength", "peerType")}
)


@given(st.lists(PREFIX_RULES, max_size=5), st.sets(TYPES, min_size=1))
def test_dead_rules_by_prefix_are_exactly_those_that_never_decide(
    written: list[dict[str, Any]], types: set[SessionType]
) -> None:
    typeless = [{k: v for k, v in rule.items() if k != "peerType" or len(types) == 1} for rule in written]
    parsed = spec(*typeless)
    deciding = set()
    for one, session_type in everything_of(set(types)):
        matching = (i for i, r in enumerate(parsed.import_v4) if plainly_matches(r, one, session_type))
        deciding.add(next(matching, None))
    alive = {i for i in range(len(written)) if i in deciding}
    assert {dead.rule for dead in never_matches(parsed, types)} == set(range(len(written))) - alive


@given(FILTERS, st.lists(ROUTES, min_size=10, max_size=40), st.sets(TYPES, min_size=1))
def test_no_rule_that_decides_is_called_dead(
    written: list[dict[str, Any]], routes: list[Route], types: set[SessionType]
) -> None:
    parsed = spec(*written)
    dead = {one.rule for one in never_matches(parsed, types)}
    for session_type in types:
        compiled = compile_filters((("f", parsed),), "import", "ipv4-unicast", session_type)
        verdicts = [compiled.decide(one) for one in routes]
        assert not dead & {verdict.rule for verdict in verdicts if verdict}


EBGP_ONLY: tuple[SessionType, ...] = ("ebgp",)

DEAD_CASES: list[tuple[list[dict[str, Any]], list[tuple[int, str, tuple[int, ...]]]]] = [
    (
        [REJECT | {"cidr": "10.0.0.0/16", "matchOperator": "In", "prefixLength": {"max": 8}}, REJECT],
        [(0, "no-prefix", ())],
    ),
    ([REJECT | {"cidr": "0.0.0.0/0", "matchOperator": "NotIn"}], [(0, "no-prefix", ())]),
    (
        [
            REJECT | {"cidr": "10.0.0.0/9", "matchOperator": "In"},
            REJECT | {"cidr": "192.0.2.0/24", "matchOperator": "In"},
            ACCEPT | {"cidr": "10.128.0.0/9", "matchOperator": "In"},
            ACCEPT | {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 9}},
        ],
        [(3, "shadowed", (0, 2))],
    ),
    ([REJECT | {"peerType": "iBGP"}, REJECT, ACCEPT], [(0, "no-session", ()), (2, "shadowed", (1,))]),
    ([REJECT | {"interface": "eth*"}, ACCEPT | {"interface": "eth1"}], [(1, "shadowed", (0,))]),
    ([REJECT | {"asPathPrefix": [1]}, ACCEPT | {"asPathPrefix": [1, 2]}], [(1, "shadowed", (0,))]),
    ([REJECT | {"asPathPrefix": [1, 2]}, ACCEPT | {"asPathPrefix": [1]}], []),
    ([REJECT | {"source": "RemotePeers"}, ACCEPT], []),
]


@pytest.mark.parametrize(("written", "expected"), DEAD_CASES)
def test_dead_rules_say_why(written: list[dict[str, Any]], expected: list[tuple[int, str, tuple[int, ...]]]) -> None:
    found = never_matches(spec(*written), EBGP_ONLY)
    assert [(dead.rule, dead.reason, dead.by) for dead in found] == expected


def test_dead_rules_of_ipv6_and_their_path() -> None:
    rule = REJECT | {"cidr": "fd00::/64", "matchOperator": "Equal", "prefixLength": {"min": 65}}
    assert [dead.path for dead in never_matches(spec(rule, field="exportV6"))] == ["spec.exportV6[0]"]


def test_communities_by_name() -> None:
    assert parse_community("graceful-shutdown") == (65535, 0)
    assert parse_community("1:2:3") == (1, 2, 3)
