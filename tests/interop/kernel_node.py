"""A namespace that stands for a node with two uplinks, for tests of the kernel side of the speaker."""

from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.kernel_routes import PROTOCOL
from bgp_speaker.route_monitor import Disturbance, RouteMonitor
from peering.prefixes import Prefix, pack_address

T = TypeVar("T")
Routes = dict[Prefix, KernelRoute]
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _setns(path: str) -> None:
    with Path(path).open("rb") as namespace:
        if _LIBC.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Node:
    """A namespace with two uplinks, d0 and d1, whose other ends p0 and p1 are in it too."""

    name: str
    ifindex: dict[str, int]

    def ip(self, command: str, *, family: str = "-4") -> str:
        words = ["ip", "-n", self.name, family, *command.split()]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def routes(self, command: str = f"route show proto {PROTOCOL}", family: str = "-4") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ip(f"-j {command}", family=family) or "[]")
        return found

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that are opened inside stay there; the test process itself does not."""
        home = f"/proc/{os.getpid()}/ns/net"
        with Path(home).open("rb") as old:
            _setns(f"/run/netns/{self.name}")
            try:
                yield
            finally:
                if _LIBC.setns(old.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")

    def open(self, make: Callable[[], T]) -> T:
        with self.inside():
            return make()

    def via(self, *links: str) -> tuple[Nexthop, ...]:
        return tuple(Nexthop(pack_address(f"10.5{n[1]}.0.2"), self.ifindex[n]) for n in links)

    def via6(self, *links: str) -> tuple[Nexthop, ...]:
        return tuple(Nexthop(pack_address(f"fd5{n[1]}::2"), self.ifindex[n]) for n in links)


@contextmanager
def made_node() -> Iterator[Node]:
    """A node with its links up; removed exactly."""
    name = f"ul-kr-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        made = Node(name, {})
        made.ip("link set lo up")
        made.ip("addr add 10.0.0.1/32 dev lo")
        made.ip("addr add fd00::1/128 dev lo", family="-6")
        for n in (0, 1):
            made.ip(f"link add d{n} type veth peer name p{n}")
            for end in ("d", "p"):  # no link-local addresses, whose detection of duplicates would change links later
                made.ip(f"link set {end}{n} addrgenmode none")
            made.ip(f"addr add 10.5{n}.0.1/24 dev d{n}")
            made.ip(f"addr add fd5{n}::1/64 dev d{n} nodad", family="-6")
            made.ip(f"link set p{n} up")
            made.ip(f"link set d{n} up")
        links = json.loads(made.ip("-j link show"))
        made.ifindex.update({link["ifname"]: link["ifindex"] for link in links})
        wait_for(lambda: all(link["operstate"] == "UP" for link in made.routes("link show type veth")))
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


def next_disturbance(monitor: RouteMonitor) -> Disturbance:
    """What the monitor says next; nothing, if it says nothing for a while."""
    readable, _, _ = select.select([monitor], [], [], 1)
    return monitor.drain() if readable else Disturbance()


def prefixes(count: int) -> list[Prefix]:
    return [bytes((30, 100, 64 + (n >> 14), (n >> 6) & 255, (n & 63) << 2)) for n in range(count)]


def many(count: int, nexthops: tuple[Nexthop, ...]) -> Routes:
    return dict.fromkeys(prefixes(count), KernelRoute(nexthops))


def gateways(route: dict[str, Any]) -> set[str]:
    hops = route.get("nexthops", [route])
    return {hop["gateway"] if "gateway" in hop else hop["via"]["host"] for hop in hops}


def foreign_state(node: Node) -> list[str]:
    routes = [line for line in node.ip("-o route show").splitlines() if f"proto {PROTOCOL}" not in line]
    objects = [line for line in node.ip("nexthop show").splitlines() if f"proto {PROTOCOL}" not in line]
    assert routes
    return routes + objects
