"""How fast the speaker writes routes into the kernel, beside `ip -batch` in the same run.

    python bench/kernel_routes.py [--json] [--routes 10000] [--runs 3]

Makes a network namespace of its own, with two uplinks, and writes the same /30 routes with two next hops each,
from an empty table, in turn: `KernelRoutes.sync` (reading the kernel included) and `ip -batch` (its start
included, writing its file not). Then what happens most: nothing (`sync` of the same set) and a dead switch
(`apply` of the set with one next hop). Medians. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import netns

from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.kernel_routes import METRIC, PROTOCOL, KernelRoutes
from peering.prefixes import Prefix, format_prefix, pack_address

GATEWAYS = ("10.50.0.2", "10.51.0.2")
_MOST = 1 << 20


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def own_namespace() -> Iterator[None]:
    """Moves this process into a new namespace with the links d0 and d1, whose other ends are in it too."""
    name = f"ul-bench-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        netns.setns(name)
        for n in (0, 1):
            _ip("link", "add", f"d{n}", "type", "veth", "peer", "name", f"p{n}")
            _ip("addr", "add", f"10.5{n}.0.1/24", "dev", f"d{n}")
            _ip("link", "set", f"d{n}", "up")
            _ip("link", "set", f"p{n}", "up")
        yield
    finally:
        _ip("netns", "del", name)


def prefixes(count: int) -> list[Prefix]:
    """`count` different /30 inside 100.64.0.0/10."""
    return [bytes((30,)) + (0x64400000 + 4 * n).to_bytes(4) for n in range(count)]


def seconds(act: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def count_routes() -> int:
    """What `ip` sees of our protocol."""
    words = ["ip", "-o", "route", "show", "proto", str(PROTOCOL)]
    return len(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines())


def run_sync(wanted: list[Prefix]) -> tuple[float, float, float]:
    """Seconds from empty, unchanged, and after the loss of a next hop."""
    both = tuple(Nexthop(pack_address(g), socket.if_nametoindex(f"d{n}")) for n, g in enumerate(GATEWAYS))
    desired, shrunk = (dict.fromkeys(wanted, KernelRoute(ways)) for ways in (both, both[:1]))
    with KernelRoutes() as kernel:
        from_empty = seconds(lambda: kernel.sync(desired))
        _expect(len(wanted))
        unchanged = seconds(lambda: kernel.sync(desired))
        dead_switch = seconds(lambda: kernel.apply(shrunk))
        kernel.sync({})
    _expect(0)
    return from_empty, unchanged, dead_switch


def run_ip_batch(wanted: list[Prefix]) -> float:
    """Seconds of `ip -batch` from empty."""
    hops = " ".join(f"nexthop via {gateway}" for gateway in GATEWAYS)
    tail = f"proto {PROTOCOL} metric {METRIC} {hops}"
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "routes"
        batch.write_text("".join(f"route replace {format_prefix(p)} {tail}\n" for p in wanted))
        taken = seconds(lambda: _ip("-batch", str(batch)))
    _expect(len(wanted))
    _ip("route", "flush", "proto", str(PROTOCOL))
    _expect(0)
    return taken


def _expect(count: int) -> None:
    found = count_routes()
    if found != count:
        sys.exit(f"{found} routes in the kernel instead of {count}")


def measure(routes: int, runs: int) -> dict[str, float]:
    """Medians of `runs` runs, the contenders in turn."""
    wanted = prefixes(routes)
    syncs, batches = [], []
    for _ in range(runs):
        syncs.append(run_sync(wanted))
        batches.append(run_ip_batch(wanted))
    from_empty, unchanged, dead_switch = (statistics.median(column) for column in zip(*syncs, strict=True))
    batch = statistics.median(batches)
    return {
        "routes": routes,
        "runs": runs,
        "routes_per_s": round(routes / from_empty),
        "ip_batch_routes_per_s": round(routes / batch),
        "ratio": round(batch / from_empty, 2),
        "unchanged_ms": round(unchanged * 1e3, 1),
        "nexthop_lost_ms": round(dead_switch * 1e3, 1),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Routes written into the kernel per second, beside ip -batch.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--routes", type=int, default=10000, help="how many (default 10000)")
    parser.add_argument("--runs", type=int, default=3, help="how often (default 3)")
    options = parser.parse_args()
    if not 1 <= options.routes <= _MOST or options.runs < 1:
        parser.error(f"--routes must be 1 to {_MOST}, --runs at least 1")
    if os.geteuid():
        parser.error("network namespaces need root")
    return options


def main() -> None:
    options = _arguments()
    with own_namespace():
        figures = measure(options.routes, options.runs)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{options.routes} routes, two next hops each, median of {options.runs} runs")
    print(f"  KernelRoutes.sync    {figures['routes_per_s']:>9,.0f} routes/s   ({figures['ratio']} x ip -batch)")
    print(f"  ip -batch            {figures['ip_batch_routes_per_s']:>9,.0f} routes/s")
    print(f"  sync, nothing to do  {figures['unchanged_ms']:>9} ms")
    print(f"  next hop lost        {figures['nexthop_lost_ms']:>9} ms")


if __name__ == "__main__":
    main()
