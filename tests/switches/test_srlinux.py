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

RELEASES = ("24.7", "25.3")


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
    before, since = (tree_of(r)["srl_nokia-routing-policy:routing-policy"] for r in RELEASES)
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


#: The designs as far as the platform can say them: the other golden files refuse
#: GTSM and long-lived graceful restart.
FEWER = {"ttlSecurity": "no", "longLived": "none"}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize("name", ["ebgp-as-per-rack", "ebgp-as-per-node", "ibgp-tor-reflects"])
def test_golden_of_what_it_can_say(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER, "srlinux@25.3"))
    for file, text in files.items():
        equals_golden(GOLDEN / "srlinux" / name / file, text)
