"""`prefixLimit: ipam`: how many prefixes a node may announce follows from what IPAM may hand it."""

from __future__ import annotations

from typing import Any

import pytest

from fabric_templates.render import render
from peering.resource import Resource
from tests.unit.declarations import NO_MESH, compiled, configuration, declare
from tests.unit.test_plan_designs import EBGP, NODES, rack

STRICT = declare("IPAMConfiguration", "default", strictAffinity=True)
FOUR = declare("IPPool", "four", cidr="10.244.0.0/16", blockSize=26)
SIX = declare("IPPool", "six", cidr="fd00:10:244::/48", blockSize=122)
SMALL = declare("IPPool", "small", cidr="10.245.0.0/24", blockSize=26)
HIDDEN = declare("IPPool", "hidden", cidr="10.246.0.0/16", disableBGPExport=True)
SERVICES: dict[str, Any] = {"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}], "nodeToNodeMeshEnabled": False}


def limits(*resources: Resource, **spec: Any) -> set[int | None]:
    """Of every session of a switch."""
    found = compiled(*EBGP, *NODES, rack(nodeASNumber=65101, **spec), *resources)
    return {session.max_prefixes for session in found.switches["tor-a"].sessions}


@pytest.mark.parametrize(
    ("resources", "limit"),
    [
        ((FOUR, STRICT), 2 * (1 + 20 + 1)),
        ((FOUR, SIX, STRICT), 2 * (1 + 20 + 1)),
        ((FOUR, SMALL, STRICT), 2 * (1 + 20 + 1 + 4 + 1)),
        ((FOUR, HIDDEN, STRICT), 2 * (1 + 20 + 1)),
        ((FOUR, declare("IPAMConfiguration", "default", strictAffinity=True, maxBlocksPerHost=3)), 2 * (1 + 3 + 1)),
        ((FOUR,), 2 * (1 + 20 + 1) + 256),
        ((STRICT,), 2),
    ],
)
def test_the_limit_is_what_a_node_may_have_doubled(resources: tuple[Resource, ...], limit: int) -> None:
    assert limits(NO_MESH, *resources, prefixLimit="ipam") == {limit}


def test_ranges_and_addresses_of_services_count() -> None:
    assert limits(configuration(**SERVICES), FOUR, STRICT, prefixLimit="ipam") == {2 * (1 + 20 + 1 + 1) + 256}


def test_a_number_that_is_written_wins_and_without_either_there_is_none() -> None:
    assert limits(NO_MESH, FOUR, prefixLimit="ipam", maxPrefixes=64) == {64}
    assert limits(NO_MESH, FOUR) == {None}


def test_the_switch_is_told_with_its_warning() -> None:
    whole = rack(nodeASNumber=65101, prefixLimit="ipam")
    for listening in (whole, rack(nodeASNumber=65101, prefixLimit="ipam", neighbors="listen")):
        tor = compiled(*EBGP, *NODES, listening, NO_MESH, FOUR, SIX, STRICT).switches["tor-a"]
        assert "maximum-prefix 44 80 restart 5" in render("tor-a", tor)["frr.conf"]
