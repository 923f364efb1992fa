"""What others and crashes do to our routes: seen by the monitor, healed by a sync, without a gap where possible."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp_speaker.kernel_route import KernelRoute
from bgp_speaker.kernel_routes import METRIC, PROTOCOL, TABLE, KernelRoutes
from bgp_speaker.netlink_codec import RouteWriter
from bgp_speaker.netlink_socket import NetlinkSocket
from bgp_speaker.route_monitor import Disturbance, RouteMonitor
from peering.prefixes import pack_prefix
from tests.interop.kernel_node import Node, foreign_state, made_node, many, next_disturbance, prefixes, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def node() -> Iterator[Node]:
    with made_node() as made:
        yield made


@pytest.fixture
def kernel(node: Node) -> Iterator[KernelRoutes]:
    with node.open(KernelRoutes) as routes:
        yield routes


@pytest.fixture
def monitor(node: Node, kernel: KernelRoutes) -> Iterator[RouteMonitor]:
    with node.open(lambda: RouteMonitor(PROTOCOL, kernel.port)) as opened:
        yield opened


def test_deleted_by_somebody_is_seen_and_just_that_repaired(
    node: Node, kernel: KernelRoutes, monitor: RouteMonitor
) -> None:
    desired = many(500, node.via("d0", "d1"))
    kernel.sync(desired)
    assert not monitor.drain(), "our own changes are no disturbance"
    node.ip("route del 100.64.0.4/30")
    assert next_disturbance(monitor) == Disturbance(routes=True)
    assert kernel.apply(desired).messages == 0, "only a sync looks"
    result = kernel.sync(desired)
    assert result.added == result.repaired == (prefixes(2)[1],)
    assert result.messages == 1
    assert not monitor.drain()
    assert kernel.read() == desired
    node.ip("route del 100.64.0.8/30")
    result = kernel.sync(many(501, node.via("d0", "d1")))
    assert result.repaired == (prefixes(3)[2],)
    assert set(result.added) == {prefixes(3)[2], prefixes(501)[500]}


def test_nexthops_flushed_by_somebody(node: Node, kernel: KernelRoutes, monitor: RouteMonitor) -> None:
    desired = many(2000, node.via("d0", "d1"))
    kernel.sync(desired)
    node.ip(f"nexthop flush proto {PROTOCOL}")
    assert next_disturbance(monitor).routes
    assert node.routes() == []
    result = kernel.sync(desired)
    assert len(result.repaired) == 2000
    assert kernel.read() == desired


def test_replaced_by_somebody_is_seen_and_reported(node: Node, kernel: KernelRoutes, monitor: RouteMonitor) -> None:
    """The kernel tells of the new route only, which is not ours."""
    desired = many(3, node.via("d0"))
    kernel.sync(desired)
    node.ip(f"route replace 100.64.0.4/30 via 10.51.0.2 proto bird metric {METRIC}")
    assert next_disturbance(monitor) == Disturbance(routes=True)
    assert [prefix for prefix, _ in kernel.sync(desired).failed] == [prefixes(2)[1]]
    assert len(node.routes()) == 2


def test_foreign_changes_are_no_disturbance(node: Node, monitor: RouteMonitor) -> None:
    node.ip("route add 198.51.100.0/24 via 10.50.0.2 proto static")
    node.ip("nexthop add id 5 via 10.50.0.2 dev d0 proto static")
    assert not monitor.drain()


def test_lost_events_count_as_everything(node: Node, kernel: KernelRoutes) -> None:
    kernel.sync(many(1, node.via("d0")))
    lines = [
        f"route add 100.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32 dev d0 proto {PROTOCOL}" for n in range(20000)
    ]
    with node.open(lambda: RouteMonitor(PROTOCOL, kernel.port, buffer=4096)) as monitor:
        subprocess.run(["ip", "-n", node.name, "-batch", "-"], input="\n".join(lines), check=True, text=True)
        seen = next_disturbance(monitor)
    assert (seen.overrun, seen.routes, seen.links) == (True, True, True)
    desired = many(100, node.via("d0", "d1"))
    assert kernel.sync(desired).failed == ()
    assert kernel.read() == desired
    assert len(node.routes()) == 100, "routes of our protocol in a foreign form are gone"


def test_our_own_burst_never_overruns_the_monitor(node: Node, kernel: KernelRoutes) -> None:
    with node.open(lambda: RouteMonitor(PROTOCOL, kernel.port, buffer=4096)) as monitor:
        kernel.sync(many(5000, node.via("d0", "d1")))
        assert not monitor.drain()


@pytest.mark.parametrize("break_it", ["link set d1 down", "link set p1 down"], ids=["admin", "carrier"])
def test_link_down_and_up(node: Node, kernel: KernelRoutes, monitor: RouteMonitor, break_it: str) -> None:
    """The kernel deletes the link's next hops itself and says nothing of it: only the link is reported."""
    desired = many(1000, node.via("d0", "d1"))
    desired |= dict.fromkeys(prefixes(1100)[1000:], KernelRoute(node.via("d1")))
    kernel.sync(desired)
    node.ip(break_it)
    wait_for(lambda: node.ifindex["d1"] in monitor.drain().ifindexes)
    wait_for(lambda: len(node.routes()) == 1000)
    shrunk = many(1000, node.via("d0"))
    result = kernel.apply(shrunk)
    assert (len(result.changed), len(result.removed), result.failed) == (1000, 100, ()), "gone counts as deleted"
    assert kernel.apply(shrunk).messages == 0
    assert kernel.read() == shrunk
    node.ip(break_it.replace("down", "up"))
    wait_for(lambda: "LOWER_UP" in node.ip("link show d1"))
    assert kernel.sync(desired).failed == ()
    assert kernel.read() == desired


def test_link_that_flapped_unseen(node: Node, kernel: KernelRoutes) -> None:
    """Desired stays the same, the kernel's objects do not; what is remembered is wrong, and a sync heals it."""
    desired = many(100, node.via("d0", "d1"))
    kernel.sync(desired)
    node.ip("link set d1 down")
    node.ip("link set d1 up")
    result = kernel.sync(desired)
    assert len(result.repaired) == 100
    assert result.messages <= 2
    assert kernel.read() == desired


def test_apply_finds_its_memory_wrong_and_looks(node: Node, kernel: KernelRoutes) -> None:
    kernel.sync(many(10, node.via("d0", "d1")))
    node.ip(f"nexthop flush proto {PROTOCOL}")
    desired = many(20, node.via("d0", "d1"))
    assert kernel.apply(desired).failed == ()
    assert kernel.read() == desired


def test_duplicate_that_a_dead_writer_left(node: Node, kernel: KernelRoutes) -> None:
    """A kill between writing the new route and deleting the old one leaves both."""
    on_one, on_both = prefixes(9)[7:]
    stay = {on_one: KernelRoute(node.via("d0")), on_both: KernelRoute(node.via("d0", "d1"))}
    old, new = many(5, node.via("d0")) | stay, many(5, node.via("d0", "d1")) | stay
    kernel.sync(old)
    (nhid,) = {route["nhid"] for route in node.routes("route show 100.64.0.32/30")}
    writer = RouteWriter(PROTOCOL, TABLE, METRIC)
    for desired in (new, old):
        with node.open(NetlinkSocket) as socket:
            assert socket.execute([writer.add(p, nhid, None, append=True) for p in prefixes(5)]) == {}
        assert len(node.routes()) == 12
        with node.open(KernelRoutes) as restarted:
            assert restarted.sync(desired).failed == ()
            assert restarted.read() == desired
        assert len(node.routes()) == 7
        kernel.sync(old)


def test_table_that_changes_all_the_time_is_read_all_the_same(node: Node, kernel: KernelRoutes) -> None:
    desired = many(3000, node.via("d0", "d1"))
    kernel.sync(desired)
    lines = "\n".join(f"route {verb} 198.18.0.0/30 dev d0 proto static" for _ in range(5000) for verb in ("add", "del"))
    words = ["ip", "-n", node.name, "-batch", "-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, text=True) as churn:
        assert churn.stdin is not None
        churn.stdin.write(lines)
        churn.stdin.close()
        assert kernel.read() == desired
        assert churn.wait() == 0


_PROBE = """
import socket, sys
kind = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
print("ready", flush=True)
lost = tried = 0
for line in iter(lambda: open(sys.argv[2]).read(), "stop"):
    with socket.socket(kind, socket.SOCK_DGRAM) as probe:
        tried += 1
        lost += probe.connect_ex((sys.argv[1], 9)) != 0
print(tried, lost)
"""


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_no_packet_falls_between_two_routes(node: Node, kernel: KernelRoutes, tmp_path: Path, family: str) -> None:
    """A socket asks for the route all the time while it moves from group to group, and in place."""
    via = node.via if family == "-4" else node.via6
    moving, address = ("100.64.0.0/30", "100.64.0.1") if family == "-4" else ("fd99::/64", "fd99::1")
    others = ["100.64.1.0/30", "100.64.2.0/30"] if family == "-4" else ["fd99:1::/64", "fd99:2::/64"]
    sets = [via("d0", "d1"), via("d0"), via("d1")]
    fixed = {pack_prefix(other): KernelRoute(way) for other, way in zip(others, sets, strict=False)}
    kernel.sync(fixed | {pack_prefix(moving): KernelRoute(sets[0])})
    (tmp_path / "word").write_text("go")
    words = ["ip", "netns", "exec", node.name, sys.executable, "-c", _PROBE, address, str(tmp_path / "word")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        assert probe.stdout.readline() == "ready\n"
        for turn in range(2000):
            alone = turn % 4 == 0  # with the others there, groups of all three sets are kept; alone, one is replaced
            others_now = {} if alone else fixed
            assert kernel.apply(others_now | {pack_prefix(moving): KernelRoute(sets[turn % 3])}).failed == ()
        (tmp_path / "word").write_text("stop")
        tried, lost = map(int, probe.stdout.read().split())
    assert tried > 100
    assert lost == 0


_WRITER = """
from bgp_speaker.kernel_routes import KernelRoutes
from tests.interop.kernel_node import many
from bgp_speaker.kernel_route import Nexthop
from peering.prefixes import pack_address
import sys
a, b = (Nexthop(pack_address(f"10.5{n}.0.2"), int(sys.argv[1 + n])) for n in (0, 1))
print("ready", flush=True)
with KernelRoutes() as kernel:
    while True:
        for count, ways in ((20000, (a, b)), (20000, (a,)), (15000, (b,)), (20000, (b,))):
            half = many(count // 2, (a, b))
            kernel.sync({**many(count, ways), **half})
"""


def test_writer_killed_in_mid_write(node: Node, kernel: KernelRoutes) -> None:
    node.ip("route add 203.0.113.0/24 via 10.50.0.9 proto static")
    node.ip(f"route add 100.64.0.0/30 via 10.50.0.9 proto static metric {METRIC + 1}")
    foreign = foreign_state(node)
    desired = many(20000, node.via("d0", "d1"))
    words = ["ip", "netns", "exec", node.name, sys.executable, "-c", _WRITER]
    words += [str(node.ifindex["d0"]), str(node.ifindex["d1"])]
    rng = random.Random(20)
    for _ in range(8):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.05, 0.5))  # a random moment is the point here
            writer.kill()
        assert foreign_state(node) == foreign
        assert kernel.sync(desired).failed == ()
        assert kernel.read() == desired
        assert len(node.routes()) == len(desired)
