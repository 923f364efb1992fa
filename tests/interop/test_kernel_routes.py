"""Our routes in a real kernel, beside everybody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from bgp_speaker.kernel_route import BLACKHOLE, KernelRoute, Nexthop
from bgp_speaker.kernel_routes import METRIC, PROTOCOL, KernelRoutes
from bgp_speaker.route_monitor import RouteMonitor
from bgp_speaker.uplinks import connected_interface, read_local_addresses, read_uplinks
from peering.prefixes import pack_address, pack_prefix
from tests.interop.kernel_node import Node, foreign_state, gateways, made_node, many, prefixes, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def node() -> Iterator[Node]:
    with made_node() as made:
        yield made


@pytest.fixture
def kernel(node: Node) -> Iterator[KernelRoutes]:
    with node.open(KernelRoutes) as routes:
        yield routes


def test_five_thousand_routes_with_two_nexthops(node: Node, kernel: KernelRoutes) -> None:
    desired = many(5000, node.via("d0", "d1"))
    result = kernel.sync(desired)
    assert (len(result.added), result.changed, result.removed, result.failed) == (5000, (), (), ())
    seen = node.routes()
    assert len(seen) == 5000
    assert all(gateways(route) == {"10.50.0.2", "10.51.0.2"} for route in seen)
    assert {route["metric"] for route in seen} == {METRIC}
    assert kernel.read() == desired
    assert kernel.sync({}).removed == tuple(desired)
    assert (node.routes(), node.ip("nexthop show")) == ([], "")


def test_before_any_route_there_is_no_table(node: Node) -> None:
    """A table that never had a route does not exist; dumping it is refused."""
    with node.open(lambda: KernelRoutes(table=4321)) as kernel:
        assert kernel.read() == {}
        desired = many(3, node.via("d0"))
        assert len(kernel.sync(desired).added) == 3
        assert len(node.routes("route show table 4321")) == 3
        assert node.routes() == []
        assert kernel.read() == desired


def test_foreign_routes_are_never_touched(node: Node, kernel: KernelRoutes) -> None:
    """Same prefix with another metric, same prefix and metric, appended and prepended; foreign next hops."""
    node.ip("nexthop add id 77 via 10.50.0.9 dev d0 proto static")
    node.ip(f"nexthop add id {PROTOCOL << 20} via 10.50.0.8 dev d0 proto static")
    for metric in (10, METRIC + 1):
        node.ip(f"route add 100.64.0.0/30 via 10.50.0.9 proto static metric {metric}")
    node.ip(f"route add 100.64.0.4/30 nhid 77 proto bird metric {METRIC}")
    node.ip("route add 203.0.113.0/24 nhid 77 proto bird")
    foreign = foreign_state(node)
    result = kernel.sync(many(4, node.via("d0", "d1")))
    assert len(result.added) == 3
    assert dict(result.failed)[prefixes(2)[1]] == "somebody else's route has this prefix and metric"
    assert foreign_state(node) == foreign
    node.ip(f"route prepend 100.64.0.8/30 via 10.50.0.9 proto static metric {METRIC}")
    node.ip(f"route append 100.64.0.12/30 via 10.50.0.9 proto static metric {METRIC}")
    foreign = foreign_state(node)
    desired = many(4, node.via("d0", "d1")) | dict.fromkeys(prefixes(4)[2:], KernelRoute(node.via("d1")))
    for last in (desired, {}):
        kernel.apply(last)
        assert foreign_state(node) == foreign
    assert node.routes() == []


def test_one_bad_route_among_a_hundred(node: Node, kernel: KernelRoutes) -> None:
    host_bits = bytes((24, 100, 64, 0, 1))
    for bad, route, words in (
        (host_bits, KernelRoute(node.via("d0")), "prefix"),
        (prefixes(200)[150], KernelRoute((Nexthop(pack_address("10.50.0.2"), 9999),)), "10.50.0.2 on link 9999"),
        (prefixes(200)[150], KernelRoute(node.via("d0"), pack_address("192.0.2.77")), "EINVAL"),
        (pack_prefix("2001:db8::/64"), KernelRoute(node.via("d0")), "family"),
        (b"", KernelRoute(node.via("d0")), "packed prefix"),
    ):
        result = kernel.sync(many(99, node.via("d0", "d1")) | {bad: route})
        assert (len(result.added), result.removed) == (99, ())
        ((failed, message),) = result.failed
        assert failed == bad
        assert words.lower() in message.lower()
        assert len(node.routes()) == 99
        kernel.sync({})


def test_nexthop_on_a_dead_link_is_left_out_and_reported(node: Node, kernel: KernelRoutes) -> None:
    node.ip("link set d1 down")
    desired = many(10, node.via("d0", "d1")) | dict.fromkeys(prefixes(20)[10:], KernelRoute(node.via("d1")))
    result = kernel.sync(desired)
    assert {prefix for prefix, _ in result.failed} == set(desired)
    assert all("on link" in message for _, message in result.failed)
    assert kernel.read() == many(10, node.via("d0"))
    assert kernel.apply(desired).messages == 1, "known failures are tried again, without a dump"
    node.ip("link set d1 up")
    assert kernel.apply(desired).failed == ()
    assert kernel.read() == desired


def test_route_that_cannot_be_written_keeps_the_old_one(node: Node, kernel: KernelRoutes) -> None:
    old = many(10, node.via("d0"))
    kernel.sync(old)
    node.ip("link set d1 down")
    assert len(kernel.apply(many(10, node.via("d1"))).failed) == 10
    bad_source = KernelRoute(node.via("d0"), pack_address("192.0.2.77"))
    assert len(kernel.apply(dict.fromkeys(old, bad_source)).failed) == 10
    assert kernel.read() == old
    elsewhere = KernelRoute((Nexthop(pack_address("10.50.0.3"), node.ifindex["d0"]),))
    moved = dict.fromkeys(prefixes(5), elsewhere)
    assert len(kernel.apply(many(10, node.via("d1")) | moved).failed) == 5
    assert kernel.read() == old | moved, "the others of its group do not take it along"


def test_restart_adopts_what_is_there(node: Node, kernel: KernelRoutes) -> None:
    desired = (
        many(1000, node.via("d0", "d1"))
        | dict.fromkeys(prefixes(1500)[1000:], KernelRoute(node.via("d1"), pack_address("10.0.0.1")))
        | {pack_prefix("10.244.0.0/26"): BLACKHOLE, pack_prefix("0.0.0.0/0"): KernelRoute(node.via("d0", "d1"))}
        | {pack_prefix("fd99::/64"): KernelRoute(node.via6("d0", "d1")), pack_prefix("fd98::/64"): BLACKHOLE}
        | {pack_prefix("::/0"): KernelRoute(node.via6("d1"), pack_address("fd00::1"))}
    )
    assert kernel.sync(desired).failed == ()
    kernel.close()
    with node.open(lambda: RouteMonitor(PROTOCOL, 0)) as everything, node.open(KernelRoutes) as restarted:
        for call in (restarted.sync, restarted.apply):
            result = call(desired)
            assert (bool(result), result.failed, result.messages) == (False, (), 0)
        assert not everything.drain()
        restarted.sync({})
        assert everything.drain(), "a monitor without an own port sees our changes"


def test_ten_thousand_routes_shrink_and_grow_with_few_messages(node: Node, kernel: KernelRoutes) -> None:
    kernel.sync(many(10000, node.via("d0", "d1")))
    for links in (["d1"], ["d0", "d1"], ["d0"]):
        result = kernel.apply(many(10000, node.via(*links)))
        assert (len(result.changed), result.failed) == (10000, ())
        assert result.messages <= 3
        assert kernel.read() == many(10000, node.via(*links))


def test_routes_that_part_ways_are_rewritten(node: Node, kernel: KernelRoutes) -> None:
    kernel.sync(many(1000, node.via("d0", "d1")))
    desired = many(1000, node.via("d0", "d1")) | many(300, node.via("d0")) | many(100, node.via("d1"))
    result = kernel.apply(desired)
    assert (len(result.changed), result.failed) == (300, ())
    assert kernel.read() == desired
    assert len(node.routes()) == 1000


def test_blackhole_becomes_a_route_and_back(node: Node, kernel: KernelRoutes) -> None:
    for block, way in (("10.244.0.0/26", node.via("d0")), ("fd99::/64", node.via6("d0"))):
        prefix, family = pack_prefix(block), "-6" if ":" in block else "-4"
        for route in (BLACKHOLE, KernelRoute(way), BLACKHOLE):
            kernel.apply({prefix: route})
            assert kernel.read() == {prefix: route}
            (seen,) = node.routes(family=family)
            assert (seen.get("type") == "blackhole") == (route == BLACKHOLE)


def test_ipv6_with_two_nexthops_moves_without_loss(node: Node, kernel: KernelRoutes) -> None:
    prefixes = [pack_prefix(f"fd99:{n:x}::/64") for n in range(500)]
    for links in (["d0", "d1"], ["d1"], ["d0", "d1"]):
        desired = dict.fromkeys(prefixes, KernelRoute(node.via6(*links)))
        assert kernel.apply(desired).failed == ()
        assert kernel.read() == desired
    mixed = desired | dict.fromkeys(prefixes[:7], KernelRoute(node.via6("d0")))
    assert kernel.apply(mixed).failed == ()
    assert kernel.read() == mixed
    assert len(node.routes(family="-6")) == 500


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_preferred_source(node: Node, kernel: KernelRoutes, family: str) -> None:
    four = family == "-4"
    prefix = pack_prefix("203.0.113.0/24" if four else "fd99::/64")
    way, source = (node.via("d0", "d1"), "10.0.0.1") if four else (node.via6("d0", "d1"), "fd00::1")
    for route in (KernelRoute(way, pack_address(source)), KernelRoute(way), KernelRoute(way, pack_address(source))):
        assert kernel.apply({prefix: route}).failed == ()
        (seen,) = node.routes(family=family)
        assert seen.get("prefsrc") == (source if route.source else None)
        assert kernel.read() == {prefix: route}
    bad = KernelRoute(way, pack_address("192.0.2.77" if four else "2001:db8::77"))
    assert [failed for failed, _ in kernel.apply({prefix: bad}).failed] == [prefix]
    assert kernel.read() == {prefix: route}, "the old one is back"


def test_ipv4_over_ipv6_gateway(node: Node, kernel: KernelRoutes) -> None:
    way = (*node.via6("d0"), *node.via("d1"))
    desired = {pack_prefix("203.0.113.0/24"): KernelRoute(way), pack_prefix("198.51.100.0/24"): KernelRoute(way[:1])}
    assert kernel.sync(desired).failed == ()
    assert kernel.read() == desired
    by_prefix = {route["dst"]: gateways(route) for route in node.routes()}
    assert by_prefix == {"203.0.113.0/24": {"fd50::2", "10.51.0.2"}, "198.51.100.0/24": {"fd50::2"}}


def test_routes_of_another_metric_are_taken_over(node: Node, kernel: KernelRoutes) -> None:
    with node.open(lambda: KernelRoutes(metric=333)) as older:
        older.sync(many(50, node.via("d0", "d1")))
    node.ip(f"route add 100.64.0.0/30 via 10.50.0.2 proto {PROTOCOL} metric {METRIC}")
    desired = many(50, node.via("d0", "d1"))
    assert kernel.sync(desired).failed == ()
    assert {route["metric"] for route in node.routes()} == {METRIC}
    assert len(node.routes()) == 50
    assert kernel.sync(desired).messages == 0


def test_uplinks_as_the_kernel_has_them(node: Node) -> None:
    node.ip("link set d1 mtu 1400")
    node.ip("link set p1 down")
    wait_for(lambda: "LOWER_UP" not in node.ip("link show d1"))
    links = node.open(lambda: asyncio.run(read_uplinks()))
    by_name = {link.name: link for link in links}
    assert set(by_name) == {"d0", "p0", "d1", "p1"}
    d0, d1 = by_name["d0"], by_name["d1"]
    assert (d0.ifindex, d0.up, d0.mtu) == (node.ifindex["d0"], True, 1500)
    assert (d1.up, d1.mtu) == (False, 1400)
    assert {(pack_address("10.50.0.1"), 24), (pack_address("fd50::1"), 64)} <= set(d0.addresses)
    assert connected_interface(links, pack_address("10.50.0.2")) == node.ifindex["d0"]
    assert connected_interface(links, pack_address("10.51.0.2")) is None
    local = node.open(lambda: asyncio.run(read_local_addresses()))
    assert {pack_address("10.0.0.1"), pack_address("fd00::1"), pack_address("10.50.0.1")} <= local
