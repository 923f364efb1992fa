"""What becomes of announced routes: each rule by the section that asks for it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from reflector.policy.import_policy import ImportPolicy, ImportTerms, import_policy
from reflector.policy.refusal import Refusal
from reflector.rib.route import Kind
from reflector.wire.as_path import CONFED_SEQUENCE, SEQUENCE, SET
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.communities import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_ADVERTISE, NO_EXPORT
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST, Family
from tests.unit.reflector.policy_samples import (
    ACCEPT,
    CLUSTER,
    LOCAL,
    NEXT_HOP,
    OTHER,
    PEER,
    REJECT,
    ROUTER,
    block,
    filters,
    keys,
    values,
)

KEYS = keys("10.1.0.0/24", "10.2.0.0/24")


def terms(kind: Kind = "client", **fields: Any) -> ImportTerms:
    given: dict[str, Any] = {
        "family": IPV4_UNICAST,
        "kind": kind,
        "local_asn": LOCAL,
        "peer_asn": PEER if kind == "ebgp" else LOCAL,
        "router_id": ROUTER,
        "cluster_id": CLUSTER,
        "allow_as_in": 0,
        "filters": (),
    }
    return ImportTerms(**given | fields)


def outcome(one: AttributeBlock, kind: Kind = "client", **fields: Any) -> AttributeBlock | Refusal:
    """What becomes of two prefixes, which is the same for both."""
    policy = ImportPolicy(terms(kind, **fields))
    for _ in range(2):  # the second time from memory
        found = policy.apply(one, NEXT_HOP, KEYS)
        assert len(found) == 1
        assert found[0][1] is KEYS
    return found[0][0]


def code(found: AttributeBlock | Refusal) -> str | None:
    return found.code if isinstance(found, Refusal) else None


LOOPS: list[tuple[str, dict[str, Any], dict[Kind, str | None]]] = [
    (
        "RFC 4456, 8: our own ORIGINATOR_ID",
        {"originator_id": ROUTER},
        {"client": "own-originator-id", "non-client": "own-originator-id"},
    ),
    ("another's ORIGINATOR_ID", {"originator_id": CLUSTER}, {"client": None, "non-client": None}),
    (
        "RFC 4456, 8: our own cluster",
        {"cluster_list": (NEXT_HOP, CLUSTER)},
        {"client": "own-cluster-id", "non-client": "own-cluster-id"},
    ),
    ("other clusters", {"cluster_list": (NEXT_HOP, ROUTER)}, {"client": None, "non-client": None}),
    (
        "RFC 4271, 9.1.2: our own AS",
        {"as_path": ((SEQUENCE, (PEER, LOCAL)),)},
        {"client": "own-as-in-path", "ebgp": "own-as-in-path"},
    ),
    (
        "our own AS in a set",
        {"as_path": ((SEQUENCE, (PEER,)), (SET, (OTHER, LOCAL)))},
        {"client": "own-as-in-path", "ebgp": "own-as-in-path"},
    ),
    ("other AS", {"as_path": ((SEQUENCE, (PEER, OTHER)),)}, {"client": None, "ebgp": None}),
]


@pytest.mark.parametrize(("text", "attributes", "expected"), LOOPS, ids=[row[0] for row in LOOPS])
def test_loops(text: str, attributes: dict[str, Any], expected: dict[Kind, str | None]) -> None:
    one = block(**attributes)
    for kind, wanted in expected.items():
        found = outcome(one, kind)
        assert code(found) == wanted, kind
        assert wanted is not None or found is one


@pytest.mark.parametrize("kind", ["client", "ebgp"])
@pytest.mark.parametrize(("times", "allowed"), [(0, 0), (1, 1), (2, 2), (1, 0), (2, 1), (3, 2)])
def test_our_own_as_may_be_in_the_path_as_often_as_allowed(kind: Kind, times: int, allowed: int) -> None:
    found = outcome(block(PEER, *[LOCAL] * times), kind, allow_as_in=allowed)
    assert code(found) == (None if times <= allowed else "own-as-in-path")


FIRST: list[tuple[tuple[Any, ...], bool]] = [
    (((SEQUENCE, (PEER, OTHER)),), True),
    (((SEQUENCE, (PEER, PEER)), (SET, (OTHER,))), True),
    (((SEQUENCE, (OTHER, PEER)),), False),
    (((SET, (PEER,)),), False),
    (((CONFED_SEQUENCE, (OTHER,)), (SEQUENCE, (PEER,))), False),
    ((), False),
]


@pytest.mark.parametrize(("path", "fits"), FIRST)
def test_an_ebgp_peer_puts_its_own_as_first(path: tuple[Any, ...], fits: bool) -> None:
    """RFC 4271, 6.3. Of iBGP peers nobody asks it."""
    one = block(as_path=path)
    assert code(outcome(one, "ebgp")) == (None if fits else "first-as")
    assert outcome(one, "client") is one


def test_refusals_say_why() -> None:
    texts = [
        outcome(block(OTHER), "ebgp"),
        outcome(block(), "ebgp"),
        outcome(block(PEER, LOCAL), "ebgp"),
        outcome(block(), filters=filters("importV4", ACCEPT | {"asPathPrefix": [1]}, REJECT, name="no-bogons")),
    ]
    assert texts == [
        Refusal("first-as", f"the path begins with {OTHER}; the peer's AS is {PEER}"),
        Refusal("first-as", f"the path is empty; the peer's AS is {PEER}"),
        Refusal("own-as-in-path", f"our own AS {LOCAL} is in the path 1 times, 0 allowed"),
        Refusal("filter", "BGPFilter/no-bogons spec.importV4[1]"),
    ]


@pytest.mark.parametrize("family", ["ipv4-unicast", "ipv4-vpn"])
def test_graceful_shutdown_of_a_neighbouring_as(family: str) -> None:
    """RFC 8326, 4.1: LOCAL_PREF goes down at the border, of all families; inside the AS nobody touches it."""
    fields = {"family": FAMILY_BY_NAME[family]}
    one = block(PEER, communities=(7, GRACEFUL_SHUTDOWN))
    found = outcome(one, "ebgp", **fields)
    assert isinstance(found, AttributeBlock)
    assert values(found) == values(one) | {"local_pref": 0}
    untouched: list[tuple[Kind, tuple[int, ...]]] = [("client", (7, GRACEFUL_SHUTDOWN)), ("ebgp", (7,)), ("ebgp", ())]
    for kind, attributes in untouched:
        same = block(PEER, communities=attributes or None)
        assert outcome(same, kind, **fields) is same


def test_a_filter_does_not_prefer_what_is_being_shut_down() -> None:
    prefers = filters("importV4", ACCEPT | {"operations": [{"setLocalPreference": {"value": 300}}]})
    shut = outcome(block(PEER, communities=(GRACEFUL_SHUTDOWN,)), "ebgp", filters=prefers)
    other = outcome(block(PEER), "ebgp", filters=prefers)
    assert isinstance(shut, AttributeBlock)
    assert isinstance(other, AttributeBlock)
    assert (shut.local_pref, other.local_pref) == (0, 300)
    drains = filters("importV4", ACCEPT | {"operations": [{"addCommunity": {"value": "graceful-shutdown"}}]})
    drained = outcome(block(PEER), "ebgp", filters=drains)
    assert isinstance(drained, AttributeBlock)
    assert (drained.local_pref, drained.communities) == (0, (GRACEFUL_SHUTDOWN,))


BLACKHOLES: list[tuple[Kind, Family, tuple[int, ...], tuple[int, ...]]] = [
    ("ebgp", IPV4_UNICAST, (BLACKHOLE, 7), (BLACKHOLE, 7, NO_EXPORT)),
    ("ebgp", IPV6_UNICAST, (BLACKHOLE,), (BLACKHOLE, NO_EXPORT)),
    ("ebgp", IPV4_UNICAST, (NO_EXPORT, BLACKHOLE), (NO_EXPORT, BLACKHOLE)),
    ("ebgp", IPV4_UNICAST, (NO_ADVERTISE, BLACKHOLE), (NO_ADVERTISE, BLACKHOLE)),
    ("ebgp", FAMILY_BY_NAME["ipv4-vpn"], (BLACKHOLE,), (BLACKHOLE,)),
    ("client", IPV4_UNICAST, (BLACKHOLE,), (BLACKHOLE,)),
]


@pytest.mark.parametrize(("kind", "family", "before", "after"), BLACKHOLES)
def test_a_black_hole_stays_in_our_as(
    kind: Kind, family: Family, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    """RFC 7999, 3.2. One of our own AS is meant for neighbours and may leave it."""
    found = outcome(block(PEER, communities=before), kind, family=family)
    assert isinstance(found, AttributeBlock)
    assert found.communities == after


def test_prefixes_with_different_verdicts_are_told_apart() -> None:
    written = filters(
        "importV4",
        REJECT | {"cidr": "10.2.0.0/16", "matchOperator": "In"},
        ACCEPT | {"cidr": "10.3.0.0/16", "matchOperator": "In", "operations": [{"setMED": {"value": 5}}]},
        REJECT | {"cidr": "10.4.0.0/16", "matchOperator": "In"},
        ACCEPT | {"cidr": "10.5.0.0/16", "matchOperator": "In"},
    )
    one = block(med=1)
    policy = ImportPolicy(terms(filters=written))
    given_keys = keys(*(f"10.{n}.{m}.0/24" for n in (4, 2, 1, 3, 5) for m in (0, 1)))
    found = {code(what) or str(what.med): set(some) for what, some in policy.apply(one, NEXT_HOP, given_keys)}  # type: ignore[union-attr]
    refused = [some for what, some in policy.apply(one, NEXT_HOP, given_keys) if isinstance(what, Refusal)]
    assert len(refused) == 2, "by place"
    assert found["5"] == set(keys("10.3.0.0/24", "10.3.1.0/24"))
    assert found["1"] == set(keys("10.1.0.0/24", "10.1.1.0/24", "10.5.0.0/24", "10.5.1.0/24")), (
        "one row for one outcome"
    )


def test_prefixes_with_one_verdict_stay_together() -> None:
    written = filters("importV4", REJECT | {"cidr": "10.2.0.0/16", "matchOperator": "In"})
    policy, one = ImportPolicy(terms(filters=written)), block(med=1)
    for prefixes, wanted in ((("10.1.0.0/24", "10.3.1.0/24"), None), (("10.2.0.0/24", "10.2.1.0/24"), "filter")):
        given_keys = keys(*prefixes)
        ((found, some),) = policy.apply(one, NEXT_HOP, given_keys)
        assert (code(found), some) == (wanted, given_keys)


def test_loops_come_before_filters() -> None:
    accepts = filters("importV4", ACCEPT)
    assert code(outcome(block(originator_id=ROUTER), filters=accepts)) == "own-originator-id"


def test_filters_are_those_of_the_type_of_session() -> None:
    written = filters("importV4", REJECT | {"peerType": "eBGP"})
    one = block(PEER)
    assert code(outcome(one, "ebgp", filters=written)) == "filter"
    assert outcome(one, "client", filters=written) is one
    assert outcome(one, "non-client", filters=written) is one


def test_memory_ends_with_the_block() -> None:
    """Blocks that nobody uses any more are not kept, nor those made of them."""
    written = filters(
        "importV4",
        ACCEPT | {"cidr": "10.1.0.0/16", "matchOperator": "In"},
        ACCEPT | {"operations": [{"setMED": {"value": 5}}]},
    )
    policy = ImportPolicy(terms(filters=written))
    one = block(PEER)
    found = policy.apply(one, NEXT_HOP, KEYS)
    left = [weakref.ref(what) for what, _ in found] + [weakref.ref(one)]
    assert len({id(ref()) for ref in left}) == 2, "the block itself, and a changed one"
    del one, found
    gc.collect()
    assert [ref() for ref in left] == [None, None, None]


def test_a_route_that_is_judged_again_is_the_same() -> None:
    """So that a change of policy that changes nothing for a route tells nobody anything."""
    written = filters("importV4", ACCEPT | {"operations": [{"setMED": {"value": 5}}]})
    more = filters("importV4", REJECT | {"asPathPrefix": [99]}, ACCEPT | {"operations": [{"setMED": {"value": 5}}]})
    one = block(PEER)
    first = outcome(one, filters=written)
    assert outcome(block(PEER), filters=written) is first
    assert outcome(one, filters=more) is first


def test_peers_with_equal_terms_share_a_policy() -> None:
    assert import_policy(terms(filters=filters("importV4", REJECT))) is import_policy(
        terms(filters=filters("importV4", REJECT))
    )
    assert import_policy(terms()) is not import_policy(terms(allow_as_in=1))
