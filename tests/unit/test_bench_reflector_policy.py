"""The declaration of the runs with policy: it must let through all that rrbench announces, and nothing else."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest

from bench.reflector_policy import ATTACKERS, REFLECTOR, documents, write_store
from bench.reflector_scenarios import SCENARIOS, Scenario
from peering.compile import plan
from peering.prefixes import pack_prefix
from peering.problems import errors
from peering.resource import Resource, parse_resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec
from peering.route_filter import Direction, Route, compile_filters
from peering.session import Family, Session
from peering.snapshot import Snapshot
from peering.store.sqlite import SqliteStore

SMALL = [
    Scenario("mesh", 7, 4, events=(1, 2, 1)),
    Scenario("odd", 5, 3, events=(1, 2, 1)),
    Scenario("ipv6", 6, 4, ipv6=True, events=(1, 2, 1)),
    Scenario("many", 3, 300, events=(1, 1, 1)),
    Scenario("table", 4, 1000, table=True, sets=10),
    Scenario("attacks", 4, 4, attacks=("zeros",)),
]
each = pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.name)


def resources(scenario: Scenario) -> list[Resource]:
    found = [parse_resource(document) for document in documents(scenario)]
    assert not [one for one in found if not isinstance(one, Resource)]
    return cast(list[Resource], found)


def announced(scenario: Scenario) -> Iterator[tuple[int, str]]:
    """Client and prefix, as rrbench.c: prefix k of all is BASE + 64 k."""
    base = ipaddress.ip_address("fd10::" if scenario.ipv6 else "16.0.0.0")
    for k in range(scenario.prefixes * (1 if scenario.table else scenario.clients)):
        client = 0 if scenario.table else k // scenario.prefixes
        yield client, f"{base + 64 * k}/{122 if scenario.ipv6 else 26}"


def sessions(scenario: Scenario) -> dict[str, Session]:
    """By the client's address."""
    compiled = plan(Snapshot(resources(scenario)))
    assert not errors(compiled.problems)
    return {session.peer_address: session for session in compiled.reflectors[REFLECTOR].sessions}


@each
def test_every_client_and_late_joiner_is_a_neighbour_by_name(scenario: Scenario) -> None:
    found = sessions(scenario)
    first = ipaddress.ip_address("fd00:c8::1:1" if scenario.ipv6 else "10.201.0.1")
    for client in range(scenario.clients + scenario.joiners):
        session = found.pop(str(first + client))
        assert session.peer == f"node/node-{client}"
        assert (session.rr_client, session.peer_asn, session.passive) == (True, 64512, True)
        assert session.families == (("ipv6-unicast",) if scenario.ipv6 else ("ipv4-unicast",))
        assert session.import_filters == session.export_filters == ("clients",)
        assert session.max_prefixes is not None
        assert scenario.prefixes <= session.max_prefixes
    assert len(found) == (ATTACKERS if scenario.attacks else 0)


def test_the_limit_that_attackers_meet_is_that_of_the_requirement() -> None:
    assert {session.max_prefixes for session in sessions(SCENARIOS["attacks"]).values()} == {100}


@each
def test_ownership_is_enforced_and_every_prefix_has_one_owner_who_announces_it(scenario: Scenario) -> None:
    all_of_them = resources(scenario)
    assert plan(Snapshot(all_of_them)).reflectors[REFLECTOR].ownership == "enforce"
    owned: dict[str, str] = {}
    for one in all_of_them:
        if isinstance(one.spec, BlockAffinitySpec):
            assert one.spec.state == "confirmed"
            assert one.spec.cidr not in owned
            owned[one.spec.cidr] = one.spec.node
    blocks = {one.spec.cidr: one.spec.affinity for one in all_of_them if isinstance(one.spec, IPAMBlockSpec)}
    assert blocks == {cidr: f"host:{node}" for cidr, node in owned.items()}
    lengths = {int(cidr.partition("/")[2]) for cidr in owned}
    for client, prefix in announced(scenario):
        around = {str(ipaddress.ip_network(prefix).supernet(new_prefix=length)) for length in lengths}
        assert {owned[cidr] for cidr in around if cidr in owned} == {f"node-{client}"}


@each
def test_in_a_mesh_blocks_are_announced_as_they_are(scenario: Scenario) -> None:
    blocks = {one.spec.cidr for one in resources(scenario) if isinstance(one.spec, BlockAffinitySpec)}
    assert ({prefix for _, prefix in announced(scenario)} == blocks) is not scenario.table


@each
def test_the_filters_pass_what_is_announced_and_nothing_else(scenario: Scenario) -> None:
    (rules,) = [one for one in resources(scenario) if isinstance(one.spec, BGPFilterSpec)]
    family: Family = "ipv6-unicast" if scenario.ipv6 else "ipv4-unicast"
    default = "::/0" if scenario.ipv6 else "0.0.0.0/0"
    strange = ["2001:db8::/32", "fd10::/128"] if scenario.ipv6 else ["198.18.0.7/32", "16.0.0.0/32"]
    for direction in get_args(Direction):
        judge = compile_filters(((rules.name, cast(BGPFilterSpec, rules.spec)),), direction, family, "ibgp")
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


def test_the_store_has_all_of_it(tmp_path: Path) -> None:
    scenario = SMALL[0]
    write_store(tmp_path / "store.db", scenario)

    async def names() -> set[tuple[str, str]]:
        store = SqliteStore(tmp_path / "store.db")
        try:
            stored, _ = await store.snapshot({document["kind"] for document in documents(scenario)})
        finally:
            await store.close()
        return {(one.kind, one.name) for one in stored}

    assert asyncio.run(names()) == {(d["kind"], d["metadata"]["name"]) for d in documents(scenario)}
