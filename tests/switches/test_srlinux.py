"""What is only true of SR Linux. No schema of it is in a package, so names are looked at against each other only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fabric_templates.render import render
from tests.switches.matrix import BASE, PASSWORDS, build, cases
from tests.switches.scenarios import SCENARIOS

RELEASES = ("24.3", "24.7", "25.3")


@cache
def trees(release: str) -> list[tuple[str, Any]]:
    plans = cases(f"srlinux@{release}").items()
    return [(name, json.loads(render("tor-1a", plan, passwords=PASSWORDS)["underlay.json"])) for name, plan in plans]


def tree_of(release: str, **options: str) -> Any:
    return json.loads(render("tor-1a", build(BASE | options, f"srlinux@{release}"))["underlay.json"])


def bgp_of(tree: Any) -> Any:
    (instance,) = tree["srl_nokia-network-instance:network-instance"]
    return instance["protocols"]["srl_nokia-bgp:bgp"]


def every(node: Any, key: str) -> Iterator[Any]:
    """Every value of a key, wherever it is; of lists each one."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield from value if isinstance(value, list) else (value,)
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


@pytest.mark.parametrize("release", RELEASES)
def test_every_name_that_is_used_is_defined_once(release: str) -> None:
    for case, tree in trees(release):
        policies, bgp = tree["srl_nokia-routing-policy:routing-policy"], bgp_of(tree)
        defined = {kind: [one["name"] for one in policies.get(kind, ())] for kind in policies}
        for kind, names in defined.items():
            assert len(names) == len(set(names)), (case, kind)
        for key in ("import-policy", "export-policy"):
            assert set(every(bgp, key)) <= set(defined["policy"]), (case, key)
        statements = [one["statement"] for one in policies["policy"]]
        for key, kind in (
            ("prefix-set", "prefix-set"),
            ("community-set", "community-set"),
            ("remove", "community-set"),
        ):
            assert set(every(statements, key)) <= set(defined.get(kind, ())), (case, key)
        paths = {one for one in every(statements, "as-path-set") if isinstance(one, str)}
        assert paths <= set(defined.get("as-path-set", ())), case
        groups = {one["group-name"] for one in bgp["group"]}
        assert set(every(bgp, "peer-group")) <= groups, case
        chains = [
            one["name"]
            for one in tree.get("srl_nokia-system:system", {})
            .get("srl_nokia-keychains:authentication", {})
            .get("keychain", ())
        ]
        assert sorted(every(bgp, "keychain")) == sorted(chains), case


@pytest.mark.parametrize("release", RELEASES)
def test_every_group_has_both_policies_in_each_family_that_is_on(release: str) -> None:
    """SR Linux drops what an eBGP session without a policy brings; a range's group may have its exports with itself."""
    for case, tree in trees(release):
        for group in bgp_of(tree)["group"]:
            on = [one for one in group["afi-safi"] if one["admin-state"] == "enable"]
            assert on, case
            assert all(one["import-policy"] and one["export-policy"] for one in on), (case, group["group-name"])
        policies = tree["srl_nokia-routing-policy:routing-policy"]["policy"]
        for one in policies:
            final = "next-policy" if one["name"].startswith("UNDERLAY-NEXT-HOP") else "reject"
            assert one["default-action"] == {"policy-result": final}


def test_an_as_path_has_its_place_of_the_release() -> None:
    before, since = (tree_of(r)["srl_nokia-routing-policy:routing-policy"] for r in ("24.10", "25.3"))
    nodes = [{one["name"]: one for one in tree["as-path-set"]}["UNDERLAY-NODES"] for tree in (before, since)]
    assert nodes == [
        {"name": "UNDERLAY-NODES", "expression": "65101+"},
        {"name": "UNDERLAY-NODES", "regex-mode": "asn", "as-path-set-member": ["65101+"]},
    ]
    assert "prefix" not in set(every_key(before["policy"]))
    assert "prefix" in set(every_key(since["policy"]))


def every_key(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from every_key(value)


@pytest.mark.parametrize(
    ("community", "stripped"),
    [
        ("0:1", True),
        ("64512:100", True),
        ("65534:9", True),
        ("65535:0", False),
        ("65535:65281", False),
        ("5:65535", True),
    ],
)
def test_the_expression_of_communities_ends_before_the_well_known_ones(community: str, stripped: bool) -> None:
    sets = tree_of("25.3")["srl_nokia-routing-policy:routing-policy"]["community-set"]
    (members,) = [one["member"] for one in sets if one["name"] == "UNDERLAY-STRIP"]
    assert any(re.search(member, community) for member in members) is stripped


def test_own_addresses_go_to_the_fabric_and_not_to_nodes() -> None:
    policies = {p["name"]: p for p in tree_of("25.3")["srl_nokia-routing-policy:routing-policy"]["policy"]}
    own = {name: [s["name"] for s in p["statement"] if s["name"].endswith("-own")] for name, p in policies.items()}
    assert own["UNDERLAY-FABRIC-OUT-V4"] == ["10-own"]
    assert own["UNDERLAY-NODES-OUT-V4"] == []


@pytest.mark.parametrize("release", RELEASES)
def test_what_another_module_adds_has_that_module_before_its_name(release: str) -> None:
    """RFC 7951, section 4: BGP, static routes, their next hops and aggregates are all added to network-instance."""
    added = set()
    for _, tree in trees(release):
        (instance,) = tree["srl_nokia-network-instance:network-instance"]
        added |= {*instance, *instance["protocols"]} - {"name", "protocols"}
    parts = ("bgp", "static-routes", "next-hop-groups", "aggregate-routes")
    assert added == {f"srl_nokia-{part}:{part}" for part in parts}


def test_before_24_7_a_session_has_one_policy_for_what_it_is_sent() -> None:
    """Its group's, or one that sets the next hop too, where the list of 24.7 begins with a policy for that."""
    before, since = (tree_of(r, **SCENARIOS["ibgp-tor-reflects"] | FEWER) for r in ("24.3", "24.7"))
    one, several = ([f.get("export-policy") for f in every(bgp_of(t)["neighbor"], "afi-safi")] for t in (before, since))
    assert all(policy is None or isinstance(policy, str) for policy in one)
    assert one == [listed and listed[1] + listed[0].removeprefix("UNDERLAY-NEXT-HOP") for listed in several]
    steps = set(filter(None, one))
    assert {policy.partition("-OUT-")[2][3:] for policy in steps} == {"SELF", "SELF-ALL"}
    for policy in before["srl_nokia-routing-policy:routing-policy"]["policy"]:
        accepted = [s for s in policy["statement"] if s.get("match", {}).get("protocol") == "srl_nokia-common:bgp"]
        own = [s["name"] for s in accepted if "next-hop" in s["action"].get("bgp", {})]
        plain = [s["name"] for s in accepted if not s["name"].endswith("-external")]
        expected = {"SELF": [f"{name}-external" for name in plain], "SELF-ALL": plain}
        assert own == expected.get(policy["name"].partition("-OUT-")[2][3:], []), policy["name"]


#: The designs as far as the platform can say them: the other golden files refuse
#: GTSM and long-lived graceful restart.
FEWER = {"ttlSecurity": "no", "longLived": "none"}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("srlinux@25.3", "ebgp-as-per-rack"),
        ("srlinux@25.3", "ebgp-as-per-node"),
        ("srlinux@25.3", "ibgp-tor-reflects"),
        ("srlinux@24.3", "ibgp-tor-reflects"),
    ],
)
def test_golden_of_what_it_can_say(platform: str, name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER, platform))
    for file, text in files.items():
        equals_golden(GOLDEN / platform.removesuffix("@25.3") / name / file, text)
