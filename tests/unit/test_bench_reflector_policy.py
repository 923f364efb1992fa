"""The files of the runs with policy: they must let through all that rrbench announces, and nothing else."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bench.reflector_contenders import underlay, underlay_with_policy
from bench.reflector_policy import METRICS_ADDRESS
from bench.reflector_scenarios import SCENARIOS, Scenario
from peering.prefixes import contains, format_address, pack_address, pack_prefix
from peering.route_filter import Direction, Route, compile_filters
from peering.session import Family
from reflector.configuration import ReflectorConfiguration
from underlay.reflector_options import Given
from underlay.reflector_sources import desired_of

SMALL = [
    Scenario("mesh", 7, 4, events=(1, 2, 1)),
    Scenario("odd", 5, 3, events=(1, 2, 1)),
    Scenario("ipv6", 6, 4, ipv6=True, events=(1, 2, 1)),
    Scenario("many", 3, 300, events=(1, 1, 1)),
    Scenario("table", 4, 1000, table=True, sets=10),
    Scenario("attacks", 4, 4, attacks=("zeros",)),
]
each = pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.name)


def configured(folder: Path, scenario: Scenario) -> ReflectorConfiguration:
    """What the reflector makes of the options and files that it is started with; no problem, no warning."""
    launch = underlay_with_policy(folder, scenario)
    for name, text in launch.files.items():
        (folder / name).write_text(text)
    options = dict(zip(launch.argv[4::2], launch.argv[5::2], strict=True))
    assert options.pop("--metrics") == launch.metrics == METRICS_ADDRESS
    given = Given(
        listen=[options["--listen"]],
        asn=options["--as"],
        router_id=options["--router-id"],
        accept=[options["--accept"]],
        owners=Path(options["--owners"]),
        ownership="enforce" if options["--ownership"] == "enforce" else None,
        filters=Path(options["--filters"]),
        max_prefixes=options["--max-prefixes"],
    )
    desired, problems = desired_of(given)
    assert problems == []
    assert desired is not None
    return desired.configuration


def announced(scenario: Scenario) -> Iterator[tuple[int, str]]:
    """Client and prefix, as rrbench.c: prefix k of all is BASE + 64 k."""
    base = ipaddress.ip_address("fd10::" if scenario.ipv6 else "16.0.0.0")
    for k in range(scenario.prefixes * (1 if scenario.table else scenario.clients)):
        client = 0 if scenario.table else k // scenario.prefixes
        yield client, f"{base + 64 * k}/{122 if scenario.ipv6 else 26}"


@each
def test_every_client_and_late_joiner_comes_in_and_may_say_what_it_says(tmp_path: Path, scenario: Scenario) -> None:
    (one,) = configured(tmp_path, scenario).ranges
    first = ipaddress.ip_address("fd00:c8::1:1" if scenario.ipv6 else "10.201.0.1")
    for client in range(scenario.clients + scenario.joiners):
        assert contains(one.prefix, pack_prefix(str(first + client)))
    assert one.policy.max_prefixes is not None
    assert scenario.prefixes <= one.policy.max_prefixes


def test_the_limit_that_attackers_meet_is_that_of_the_requirement(tmp_path: Path) -> None:
    (one,) = configured(tmp_path, SCENARIOS["attacks"]).ranges
    assert one.policy.max_prefixes == 100
    assert contains(one.prefix, bytes((32,)) + pack_address("10.202.0.1"))


@each
def test_ownership_is_enforced_and_every_prefix_has_one_owner_who_announces_it(
    tmp_path: Path, scenario: Scenario
) -> None:
    configuration = configured(tmp_path, scenario)
    assert configuration.ownership == "enforce"
    owned = configuration.owners.by_prefix
    lengths = {prefix[0] for prefix in owned}
    first = ipaddress.ip_address("fd00:c8::1:1" if scenario.ipv6 else "10.201.0.1")
    for client, prefix in announced(scenario):
        around = {pack_prefix(str(ipaddress.ip_network(prefix).supernet(new_prefix=length))) for length in lengths}
        address = format_address(pack_address(str(first + client)))
        assert {owned[one] for one in around if one in owned} == {frozenset({address})}


@each
def test_in_a_mesh_blocks_are_announced_as_they_are(tmp_path: Path, scenario: Scenario) -> None:
    owned = set(configured(tmp_path, scenario).owners.by_prefix)
    assert ({pack_prefix(prefix) for _, prefix in announced(scenario)} == owned) is not scenario.table


@each
def test_the_filters_pass_what_is_announced_and_nothing_else(tmp_path: Path, scenario: Scenario) -> None:
    (one,) = configured(tmp_path, scenario).ranges
    family: Family = "ipv6-unicast" if scenario.ipv6 else "ipv4-unicast"
    default = "::/0" if scenario.ipv6 else "0.0.0.0/0"
    strange = ["2001:db8::/32", "fd10::/128"] if scenario.ipv6 else ["198.18.0.7/32", "16.0.0.0/32"]
    filters = {"import": one.policy.import_filters, "export": one.policy.export_filters}
    for direction in get_args(Direction):
        judge = compile_filters(filters[direction], direction, family, "ibgp")
        for _, prefix in announced(scenario):
            route = Route(pack_prefix(prefix), communities=((65000, 7),))
            verdict = judge.decide(route)
            assert verdict is not None
            assert verdict.accepted
            assert verdict.route == route
        for prefix in (default, *strange):
            verdict = judge.decide(Route(pack_prefix(prefix)))
            assert verdict is not None
            assert not verdict.accepted


def test_it_is_ours_with_more_options(tmp_path: Path) -> None:
    """So that the two are compared in nothing else."""
    plain, policy = underlay(tmp_path, SMALL[0]), underlay_with_policy(tmp_path, SMALL[0])
    assert policy.argv[: len(plain.argv)] == plain.argv
    assert json.loads(policy.files["filters.yaml"])["kind"] == "BGPFilter"
