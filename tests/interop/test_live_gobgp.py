"""What only GoBGP of the live daemons is asked: IPv4 over an IPv6 session (RFC 8950), offered without a line."""

from __future__ import annotations

import pytest

from tests.interop.exabgp_node import ExaBgpNode
from tests.interop.netns_daemons import Network, eventually
from tests.interop.test_live_switches import NODE, SETTLE, SPINE, SWITCH, a_switch, plan_for, to_node, to_spine

pytestmark = pytest.mark.lab

BLOCK = "10.244.1.0/26"
OPTIONS = (
    "capability { nexthop enable; } family { ipv4 unicast; } nexthop { ipv4 unicast ipv6; } "
    f"announce {{ ipv4 {{ unicast {BLOCK} next-hop fd00:1:1::1; }} }}"
)


def test_ipv4_goes_over_an_ipv6_session() -> None:
    with Network() as network:
        tor, node, up = (network.namespace(name) for name in ("tor", "node", "spine"))
        network.link(tor, node, "rack1", {"fd00:1:1::/127": "fd00:1:1::1/127"})
        network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
        ends = ("fd00:1:1::1", NODE, "fd00:1:1::", SWITCH)
        below = ExaBgpNode(network, node, ends, options=OPTIONS)
        above = ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), ("0.0.0.0/0",))
        session = to_node(
            local_address=ends[2],
            peer_address=ends[0],
            families=("ipv4-unicast", "ipv6-unicast"),
        )
        a_switch(network, tor, plan_for("gobgp", session, to_spine()), "")
        eventually(lambda: BLOCK in above.routes() and "0.0.0.0/0" in below.routes(), SETTLE)
        assert above.routes()[BLOCK]["next-hop"] == "10.254.1.1"
        assert below.routes()["0.0.0.0/0"]["next-hop"] == "fd00:1:1::"
