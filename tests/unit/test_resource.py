"""Documents to resources: what comes out reads back the same, and every document gives a resource or problems."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peering.problems import ordered
from peering.resource import Resource, is_name, parse_resource
from peering.resources.catalog import kind_named
from peering.selectors import MAX_DEPTH, SelectorError, parse_selector
from tests.unit.samples import nodes, sample

Document = dict[str, Any]

_CALICO, _OURS = "projectcalico.org/v3", "underlay.io/v1alpha1"


def document(kind: str, spec: Document, version: str = _OURS, **metadata: Any) -> Document:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x", **metadata}, "spec": spec}


PEER = document(
    "BGPPeer",
    {
        "peerIP": "10.9.9.9",
        "asNumber": 65001,
        "nodeSelector": "all()",
        "password": {"secretKeyRef": {"name": "a", "key": "b"}},
        "keepaliveTime": "3s",
    },
    _CALICO,
)
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "x"},
    "stringData": {"a": "b"},
    "data": {"c": "eA=="},
}
DOCUMENTS = [r.to_document() for r in (*sample("dual-tor"), *sample("dual-tor-ibgp"), *nodes())] + [PEER, SECRET]


def problems_of(wrong: Document) -> list[str]:
    parsed = parse_resource(wrong)
    assert not isinstance(parsed, Resource)
    return [problem.line() for problem in parsed]


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_a_document_reads_back_as_what_it_was(number: int) -> None:
    first = parse_resource(DOCUMENTS[number])
    assert isinstance(first, Resource)
    assert parse_resource(json.loads(json.dumps(first.to_document()))) == first


@pytest.mark.parametrize("text", ["a", "a.b-c", "1", "a" * 253])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a..b", "a.-b", "A", "a_b", "a" * 254, "a\n", "a/b", "é"])
def test_what_is_no_name(text: str) -> None:
    assert not is_name(text)
    assert problems_of({**PEER, "metadata": {"name": text}})[0].startswith("input: BGPPeer metadata.name: ")


@pytest.mark.parametrize(
    ("bgp", "said"),
    [
        ({"ipv4Address": "fd00::1"}, "ipv4Address: fd00::1/128 is no IPv4 address"),
        ({"ipv6Address": "10.0.0.1"}, "ipv6Address: 10.0.0.1/32 is no IPv6 address"),
    ],
)
def test_an_address_in_the_field_of_the_other_family(bgp: Document, said: str) -> None:
    """It would become the router ID, or the source of sessions of the wrong family."""
    assert problems_of(document("Node", {"bgp": bgp})) == [f"Node/x spec.bgp.{said}"]


def test_two_fabric_peers_with_one_address() -> None:
    peers = [{"name": name, "address": "fd00::1", "asNumber": 65000} for name in ("spine-1", "spine-2")]
    peers[1]["address"] = "fd00:0::1"
    said = problems_of(document("Switch", {"asNumber": 65001, "fabricPeers": peers}))
    assert said == ["Switch/x spec.fabricPeers[1].address: fd00::1 is the address of two"]


def test_wrong_values_do_not_hide_fields_that_exclude_each_other() -> None:
    spec = {"node": "a", "nodeSelector": "rack ==", "peerIP": "x", "peerSelector": "all()", "holdTime": 1}
    found = [line.split(": ", 1)[0] for line in problems_of(document("BGPPeer", spec))]
    wrong = ["nodeSelector", "peerIP", "holdTime"]
    excluding = ["nodeSelector", "peerSelector", "peerIP"]
    assert found == [f"BGPPeer/x spec.{field}" for field in (*wrong, *excluding)]


def test_a_misspelt_field_is_not_missed_twice() -> None:
    assert problems_of(document("BGPPeer", {"peerIp": "10.0.0.1", "asNumber": 65000})) == [
        "BGPPeer/x spec.peerIp: is no field of this kind (did you mean peerIP?)"
    ]


def test_all_mistakes_between_fields_are_told_with_their_places() -> None:
    other = {"action": "Reject", "cidr": "10.0.0.0/8"}
    rules = [{"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"}, other]
    assert problems_of(document("BGPFilter", {"exportV4": rules, "importV4": rules[:1]})) == [
        "BGPFilter/x spec.exportV4[1].cidr: cidr needs matchOperator"
    ]
    other["matchOperator"] = "In"
    assert problems_of(document("BGPFilter", {"exportV6": rules[1:], "importV4": rules[:1]})) == [
        "BGPFilter/x spec.importV4[0].cidr: fd00::/8 is an IPv6 prefix",
        "BGPFilter/x spec.exportV6[0].cidr: 10.0.0.0/8 is an IPv4 prefix",
    ]


def test_what_is_null_was_not_written() -> None:
    parsed = parse_resource(
        document("Rack", {"nodeSelector": "all()", "switches": ["a"], "holdTime": None, "bfd": None})
    )
    assert isinstance(parsed, Resource)
    assert parsed.to_document()["spec"] == {"nodeSelector": "all()", "switches": ["a"]}
    assert problems_of(document("Rack", {"nodeSelector": "all()", "switches": None})) == [
        "Rack/x spec.switches: is required"
    ]
    assert problems_of(document("Rack", {"nodeSelector": "all()", "switches": ["a"], "switch": None}))


def test_durations_are_written_with_their_unit() -> None:
    rack = parse_resource(document("Rack", {"nodeSelector": "all()", "switches": ["a"], "holdTime": 9}))
    profile = parse_resource(document("BFDProfile", {"receiveInterval": 50, "transmitInterval": "1s"}))
    assert isinstance(rack, Resource)
    assert isinstance(profile, Resource)
    assert rack.to_document()["spec"]["holdTime"] == "9s"
    assert profile.to_document()["spec"] == {"receiveInterval": "50ms", "transmitInterval": "1000ms"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("switches", "Switch"),
        ("Switch", "Switch"),
        ("sw", "Switch"),
        ("ipamconfig", "IPAMConfiguration"),
        ("rr", "RouteReflector"),
    ],
)
def test_kinds_by_every_name(text: str, kind: str) -> None:
    found = kind_named(text)
    assert found is not None
    assert found.name == kind
    assert kind_named("nonsense") is None


@pytest.mark.parametrize("off", ["off", False])
def test_off_is_a_word_and_not_false(off: object) -> None:
    parsed = parse_resource(document("RouteReflector", {"addresses": ["10.0.0.1"], "ownership": off}))
    assert isinstance(parsed, Resource)
    assert parsed.to_document()["spec"]["ownership"] == "off"


@pytest.mark.parametrize("seconds", [65536, "19h", "999999999s"])
def test_a_keepalive_time_is_bounded(seconds: object) -> None:
    changed = copy.deepcopy(PEER)
    changed["spec"]["keepaliveTime"] = seconds
    (line,) = problems_of(changed)
    assert line.startswith("BGPPeer/x spec.keepaliveTime: keepaliveTime is at most 65535s")


def test_more_prefixes_than_a_switch_can_count() -> None:
    rack = {"nodeSelector": "all()", "switches": ["a"], "maxPrefixes": 1 << 32}
    (line,) = problems_of(document("Rack", rack))
    assert line.startswith("Rack/x spec.maxPrefixes: 4294967296 is above 4294967295")


@pytest.mark.parametrize("encoded", ["é", "====", "/w==", "a"])
def test_data_that_is_no_text_in_base64(encoded: str) -> None:
    assert problems_of({**SECRET, "data": {"c": encoded}}) == [
        "Secret/x data[c]: is not text in base64 (stringData takes text as it is)"
    ]


@pytest.mark.parametrize("text", ["!" * 5000 + "has(a)", "(" * 5000 + "has(a)" + ")" * 5000, "!(" * 40 + "a"])
def test_a_selector_that_nests_too_deep(text: str) -> None:
    with pytest.raises(SelectorError, match="nests deeper than"):
        parse_selector(text)


def test_a_selector_as_deep_as_may_be() -> None:
    deep = parse_selector("(" * MAX_DEPTH + "has(a)" + ")" * MAX_DEPTH)
    assert (deep({"a": ""}), deep({})) == (True, False)
    assert parse_selector(" && ".join(["!has(b)", "(has(a))"] * MAX_DEPTH))({"a": ""})


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every spot of a document."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def replaced(original: Document, path: tuple[str | int, ...], value: object) -> object:
    if not path:
        return value
    changed: Any = copy.deepcopy(original)
    spot = changed
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    return changed


SPOTS = [(one, path) for one in DOCUMENTS for path in paths(one)]
NASTY = [
    1 << 20000,
    -1,
    2**32,
    1.5,
    float("nan"),
    float("inf"),
    None,
    True,
    b"bytes",
    {1, 2},
    (1, 2),
    datetime.date(2001, 1, 1),
    "",
    "x" * 300,
    "a\nb",
    "\ud800",
    "１２",
    "²",
    "²s",
    "1.²",
    "9" * 5000,
    "9" * 5000 + "s",
    "0.0.0.0/0",
    "::",
    "fe80::1%eth0/64",
    "10.0.0.1:²",
    "[::1]",
    "(" * 3000,
    [],
    {},
    [None],
    {None: 1, 2: 3},
    "10.0.0.1/33",
    "fd00::1",
]
#: Not the first: Hypothesis would print it.
LEAVES = st.sampled_from(NASTY[1:]) | st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def assert_read_or_refused(value: object) -> None:
    parsed = parse_resource(value, "test")
    if isinstance(parsed, Resource):
        assert parse_resource(json.loads(json.dumps(parsed.to_document()))) == parsed
        return
    assert parsed
    for problem in ordered(parsed):
        assert problem.line().isprintable()
        json.dumps(problem.to_json())


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_a_nasty_value_at_any_spot_of_any_document(nasty: object) -> None:
    for original, path in SPOTS[::7]:
        assert_read_or_refused(replaced(original, path, nasty))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(SPOTS), VALUES)
def test_any_value_at_any_spot(spot: tuple[Document, tuple[str | int, ...]], value: object) -> None:
    assert_read_or_refused(replaced(spot[0], spot[1], value))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([s for s in SPOTS if s[1]]), st.text(max_size=6) | st.sampled_from([1, None, "\n"]), VALUES)
def test_any_key_beside_any_spot(spot: tuple[Document, tuple[str | int, ...]], key: object, value: object) -> None:
    original, path = spot
    parent: Any = copy.deepcopy(original)
    changed = parent
    for step in path[:-1]:
        parent = parent[step]
    if isinstance(parent, dict):
        parent[key] = value
    assert_read_or_refused(changed)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_any_value_as_a_document(value: object) -> None:
    assert_read_or_refused(value)
