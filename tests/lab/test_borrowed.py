"""A pod with an address of another node's block: its /32 and /128 in the switches, in the kernels, and by ping."""

from __future__ import annotations

import json

import pytest

from ipam.block_order import address_at
from peering.prefixes import host_prefix
from tests.lab.running_lab import RunningLab, wait_until

EDGE = {4: "203.0.113.10", 6: "2001:db8:ffff::10"}


@pytest.mark.parametrize(
    ("borrower", "elsewhere"), [("node-2", "node-3"), ("node-4", "node-2")], ids=["same rack", "another rack"]
)
def test_a_borrowed_address_is_reached_and_the_block_stays_its_owners(
    each_lab: RunningLab, borrower: str, elsewhere: str
) -> None:
    """Nodes of the borrower's rack need no route of their own, but for the owner: it has a blackhole."""
    owner = "node-1"
    blocks = {6 if ":" in cidr else 4: cidr for cidr in each_lab.blocks(owner)}
    wanted = {version: address_at(cidr, 41) for version, cidr in blocks.items()}
    hosts = {host_prefix(address) for address in wanted.values()}
    before, discarded = each_lab.all_connections(), each_lab.blackholes(owner)
    pod = each_lab.add_pod(borrower, "borrower", {"underlay.io/ipAddrs": json.dumps(list(wanted.values()))})
    try:
        peers = {s: set(each_lab.routes_from_nodes(s)) for s in each_lab.switches()}
        near = [s for s in peers if any(p.peer == f"node/{borrower}" for p in each_lab.plan().switches[s].sessions)]
        assert len(near) == 2
        for switch in near:
            wait_until(f"{switch} has it", lambda s=switch: hosts <= set(each_lab.routes_from_nodes(s)))  # type: ignore[misc]
        for node in (owner, elsewhere):
            for version, address in wanted.items():
                if node != borrower:
                    wait_until(
                        f"{node} has a route to {address}",
                        lambda n=node, v=version, a=address: len(each_lab.learned_routes(n, v).get(a, ())) == 2,  # type: ignore[misc]
                    )
        each_lab.wait_converged()
        for version, address in wanted.items():
            for source in (each_lab.pod(owner).namespace, each_lab.pod("node-3").namespace, pod.namespace):
                to = EDGE[version] if source == pod.namespace else address
                assert each_lab.run(source, "ping", "-n", "-c", "1", "-W", "5", to).returncode == 0, (source, to)
        assert each_lab.blackholes(owner) == discarded
        assert each_lab.underlay("ipam", "check").returncode == 0
    finally:
        each_lab.del_pod(pod)
    for node in each_lab.nodes():
        for version, address in wanted.items():
            wait_until(
                f"{node} has no route to {address}",
                lambda n=node, v=version, a=address: a not in each_lab.learned_routes(n, v),  # type: ignore[misc]
            )
    assert not any(hosts & set(each_lab.routes_from_nodes(s)) for s in each_lab.switches())
    each_lab.wait_converged()
    assert each_lab.all_connections() == before
