"""What iproute2 and ping print, read. The texts are cut down from what they printed in the lab."""

from __future__ import annotations

import json

import pytest

from containerlab import node_outputs
from containerlab.node_outputs import Hop, PingSeen, RouteSeen, SessionSeen


def test_the_last_reason_is_not_told_of_a_session_that_is_up() -> None:
    up = SessionSeen("tor", "10.1.1.1", "Established", "Hold Timer Expired")
    down = SessionSeen("tor", "eth3", "Active", "Cease/Peer Unconfigured", "node-1")
    assert (up.line(), down.line()) == (
        "tor: 10.1.1.1 Established", "tor: eth3 (node-1) Active, Cease/Peer Unconfigured",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"dst": "default",
             "nexthops": [{"gateway": "10.0.0.1", "dev": "eth1"}, {"gateway": "10.0.0.3", "dev": "eth2"}]},
            RouteSeen("default", "unicast", (Hop("10.0.0.1", "eth1"), Hop("10.0.0.3", "eth2"))),
        ),
        ({"dst": "10.5.0.0/24", "gateway": "10.0.0.1", "dev": "eth1"},
         RouteSeen("10.5.0.0/24", "unicast", (Hop("10.0.0.1", "eth1"),))),
        ({"dst": "10.5.0.7", "dev": "veth1"}, RouteSeen("10.5.0.7/32", "unicast", (Hop("", "veth1"),))),
        ({"dst": "fd00::7", "dev": "veth1"}, RouteSeen("fd00::7/128", "unicast", (Hop("", "veth1"),))),
        ({"dst": "10.5.0.0/24", "via": {"family": "inet6", "host": "fe80::1"}, "dev": "eth1"},
         RouteSeen("10.5.0.0/24", "unicast", (Hop("fe80::1", "eth1"),))),
        ({"type": "blackhole", "dst": "10.6.0.0/24"}, RouteSeen("10.6.0.0/24", "blackhole", ())),
        ({"type": "unreachable", "dst": "default", "dev": "lo"}, RouteSeen("default", "unreachable", ())),
        ({"dst": "10.7.0.0/24", "nhid": 3},
         RouteSeen("10.7.0.0/24", "unicast", (Hop("10.0.0.1", "eth1"), Hop("10.0.0.3", "eth2")))),
        ({"dst": "10.7.0.0/24", "nhid": 9}, RouteSeen("10.7.0.0/24", "unicast", ())),
    ],
)  # fmt: skip
def test_routes_of_a_kernel(row: dict[str, object], expected: RouteSeen) -> None:
    objects = [
        {"id": 1, "gateway": "10.0.0.1", "dev": "eth1"}, {"id": 2, "gateway": "10.0.0.3", "dev": "eth2"},
        {"id": 3, "group": [{"id": 1}, {"id": 2}]},
    ]  # fmt: skip
    assert node_outputs.kernel_routes(json.dumps([row]), json.dumps(objects)) == [expected]


def test_the_longest_match_is_taken() -> None:
    routes = [RouteSeen(prefix, "unicast", ()) for prefix in ("default", "10.0.0.0/8", "10.5.0.0/24", "10.0.0.0/16")]
    found = node_outputs.longest(routes)
    assert found is not None
    assert found.prefix == "10.5.0.0/24"
    assert node_outputs.longest([]) is None


def test_next_hops_are_named_by_their_address_or_else_by_the_link() -> None:
    route = RouteSeen("default", "unicast", (Hop("10.0.0.1", "eth1"), Hop("fe80::1", "eth2"), Hop("10.9.9.9", "x")))
    found = node_outputs.named(route, {"10.0.0.1": "spine-1", "eth1": "wrong", "eth2": "spine-2"})
    assert [hop.neighbor for hop in found.hops] == ["spine-1", "spine-2", ""]
    assert found.line() == "default via spine-1 (10.0.0.1 eth1), spine-2 (fe80::1 eth2), 10.9.9.9 x"


def test_addresses_of_a_pod_without_link_local_ones() -> None:
    links = [
        {"addr_info": []},
        {"addr_info": [
            {"family": "inet6", "local": "fe80::1", "scope": "link"},
            {"family": "inet", "local": "10.244.0.5", "scope": "global"},
            {"family": "inet6", "local": "fd00::5", "scope": "global"},
            {"family": "inet", "local": "10.244.0.6", "scope": "global"},
        ]},
    ]  # fmt: skip
    assert node_outputs.global_addresses(json.dumps(links)) == {4: "10.244.0.5", 6: "fd00::5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 packets transmitted, 4 received, 20% packet loss, time 812ms", PingSeen(5, 4)),
        ("5 packets transmitted, 5 packets received, 0% packet loss", PingSeen(5, 5)),
        ("3 packets transmitted, 0 received, +3 errors, 100% packet loss", PingSeen(3, 0)),
    ],
)
def test_the_summary_of_ping(text: str, expected: PingSeen) -> None:
    assert node_outputs.ping(f"PING 10.0.0.1\n\n--- 10.0.0.1 ping statistics ---\n{text}\n") == expected


def test_what_is_no_summary_of_ping_is_told() -> None:
    with pytest.raises(ValueError, match="not found"):
        node_outputs.ping("sh: ping: not found\n")
