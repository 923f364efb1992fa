"""The figures of the running lab: a block to its switches, 10,000 routes into a node's kernel, idle cost, bring-up.

    python bench/lab.py [--json] [--runs 5] [--routes 10000] [--idle-seconds 30]

Makes the dual-tor lab under a name and in a run directory of its own, removes it at the end and on any failure, and
touches no other lab. What is measured and how is told in docs/benchmarks.md. Needs root, FRR and BIRD, and a quiet
machine: the whole fabric shares its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, table, to_json  # noqa: E402
from bench.measured_lab import NODE, TORS, CpuClock, MeasuredLab, declaration, memory  # noqa: E402
from bench.witness import Witness, watch  # noqa: E402
from bgp_speaker.kernel_routes import PROTOCOL  # noqa: E402
from bgp_speaker.netlink_codec import RTM_DELROUTE  # noqa: E402
from containerlab.runner import LabFailed  # noqa: E402
from ipam.claims import release_block  # noqa: E402
from ipam.new_blocks import ensure_blocks  # noqa: E402
from peering.prefixes import Prefix, pack_prefix  # noqa: E402
from peering.resource import Resource  # noqa: E402
from peering.store.protocol import Conflict, Document, NotFound, Stored, StoreError  # noqa: E402
from peering.store.resources import find  # noqa: E402
from peering.store.sqlite import SqliteStore  # noqa: E402
from underlay.output import Refused  # noqa: E402

RUN_DIR = Path("/run/underlay-bench")
CLAIMS = 20
_FRR_PROTOCOL = 186
_GIVE_UP_S, _QUIET_S, _PAUSES_S = 60.0, 0.3, (0.3, 0.6)


class Failed(Exception):
    """Something that is to be measured did not happen; the message is for a person."""


def measure(lab: MeasuredLab, options: argparse.Namespace) -> list[Figure]:
    """All figures, the lab left running."""
    figures = bring_up(lab, options.runs)
    lab.put_routes_in_store()
    say(f"idle for {options.idle_seconds:g} s")
    figures += idle(lab, options.idle_seconds)
    figures += claims(lab, CLAIMS)
    figures += far_routes(lab, options.routes, options.runs)
    return figures + kernel_writing(options.routes, options.runs)


def bring_up(lab: MeasuredLab, runs: int) -> list[Figure]:
    """From nothing to all sessions, all routes with both next hops, and pods; the last lab stays."""
    seconds = []
    for number in range(runs):
        say(f"bring-up {number + 1} of {runs}")
        if number:
            _down(lab)
        began = time.monotonic()
        lab.up()
        seconds.append(time.monotonic() - began)
    return [Figure("bringUpS", "lab up to converged", "s", tuple(seconds), at_most=20)]


def idle(lab: MeasuredLab, seconds: float) -> list[Figure]:
    """What the speaker of a node costs while nothing happens; every node is one measurement."""
    pids = {node: lab.speaker_pids(node) for node in lab.nodes()}
    clocks = {node: CpuClock(of_node) for node, of_node in pids.items()}
    time.sleep(seconds)
    cpu = {
        node: {n: 100 * used / clock.elapsed() for n, used in clock.used().items()} for node, clock in clocks.items()
    }
    held = [[memory(pid) for pid in of_node.values()] for of_node in pids.values()]
    rss, pss = (tuple(sum(getattr(one, kind) for one in of_node) for of_node in held) for kind in ("rss", "pss"))
    total = tuple(sum(of_node.values()) for of_node in cpu.values())
    parts = [
        Figure(f"{name}IdleCpuPercent", f"  of it {name}", "%", tuple(of_node[name] for of_node in cpu.values()))
        for name in ("agent", "exabgp", "shim")
    ]
    return [
        Figure("idleRssMiB", "speaker, ExaBGP, shim: RSS", "MiB", rss, at_most=120),
        Figure("idlePssMiB", "  PSS", "MiB", pss),
        Figure("idleCpuPercent", "speaker, ExaBGP, shim: idle CPU", "% of a core", total, at_most=1),
        *parts,
    ]


class ClaimStore(SqliteStore):
    """The store as IPAM sees it; notes when the write that confirms or gives up a block began."""

    began = 0.0

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        if kind == "BlockAffinity" and document["spec"].get("state") != "pending":
            self.began = time.monotonic()
        return await super().update(kind, name, document, version)


@dataclass
class Claims:
    """Milliseconds, one entry per claim; `frr` has one per claim and ToR."""

    total: list[float] = field(default_factory=list)
    speaker: list[float] = field(default_factory=list)
    frr: list[float] = field(default_factory=list)
    released: list[float] = field(default_factory=list)


def claims(lab: MeasuredLab, count: int) -> list[Figure]:
    """A block is claimed the way IPAM does it; when is it a route in both ToRs? Then it is released again."""
    found = Claims()
    store = ClaimStore(lab.fabric.store_path)
    witnesses = [Witness(lab.namespace(tor)) for tor in TORS]
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        try:
            node, pool = loop.run_until_complete(_node_and_pool(store))
            for number in range(count):
                say(f"claim {number + 1} of {count}")
                before = set(loop.run_until_complete(ensure_blocks(store, node, [])))
                time.sleep(random.uniform(*_PAUSES_S))
                _clear(witnesses)
                owned = loop.run_until_complete(ensure_blocks(store, node, [pool]))
                (block,) = set(owned) - before
                _note_claim(found, witnesses, pack_prefix(block), store.began)
                time.sleep(random.uniform(*_PAUSES_S))
                _clear(witnesses)
                # The speaker sees that the block is being given up, and may bring that to its end first.
                with contextlib.suppress(NotFound, Conflict):
                    loop.run_until_complete(release_block(store, NODE, block))
                _note_release(found, witnesses, pack_prefix(block), store.began)
        finally:
            for witness in witnesses:
                witness.close()
            loop.run_until_complete(store.close())
    return [
        Figure("claimToBothTorsMs", "block claimed to route in both ToRs", "ms", tuple(found.total), at_most=150),
        Figure("claimToUpdateMs", "  of it until the UPDATE is there", "ms", tuple(found.speaker)),
        Figure("updateToTorRouteMs", "  of it FRR, UPDATE to kernel route", "ms", tuple(found.frr)),
        Figure("releaseToGoneMs", "block released to gone from both ToRs", "ms", tuple(found.released)),
    ]


async def _node_and_pool(store: SqliteStore) -> tuple[Resource, Resource]:
    """The node, and the spare pool as if it were enabled."""
    node, pool = await find(store, "Node", NODE), await find(store, "IPPool", "spare")
    assert node is not None
    assert pool is not None
    spec = pool.spec.model_copy(update={"disabled": False})
    return node, Resource(pool.kind, pool.name, spec)


def _note_claim(found: Claims, witnesses: Sequence[Witness], block: Prefix, began: float) -> None:
    if not watch(witnesses, lambda: all(w.wrote(block) for w in witnesses), _GIVE_UP_S):
        raise Failed("a claimed block did not reach both ToRs")
    arrived = [at for witness in witnesses if (at := witness.update_with(block)) is not None]
    written = [at for witness in witnesses if (at := witness.wrote(block)) is not None]
    if len(arrived) < len(witnesses):
        raise Failed("a block became a route in a ToR that heard of it from nobody")
    found.total.append(1e3 * (max(written) - began))
    found.speaker.append(1e3 * (max(arrived) - began))
    found.frr += [1e3 * (w - a) for w, a in zip(written, arrived, strict=True)]


def _note_release(found: Claims, witnesses: Sequence[Witness], block: Prefix, began: float) -> None:
    def gone() -> list[float]:
        return [at for witness in witnesses if (at := witness.wrote(block, RTM_DELROUTE)) is not None]

    if not watch(witnesses, lambda: len(gone()) == len(witnesses), _GIVE_UP_S):
        raise Failed("a released block stayed in a ToR")
    found.released.append(1e3 * (max(gone()) - began))


def _clear(witnesses: Sequence[Witness]) -> None:
    for witness in witnesses:
        witness.clear()


@dataclass
class Run:
    """One announcement of all far routes; seconds, and CPU seconds by process."""

    end_to_end: float
    from_edge: float
    sending: float
    behind: float
    frr: list[float]
    updates: int
    cpu: dict[str, float]
    withdrawn: float


def far_routes(lab: MeasuredLab, routes: int, runs: int) -> list[Figure]:
    """The edge announces; when does a node's kernel have all of it with two next hops?"""
    node, tors = Witness(lab.namespace(NODE)), [Witness(lab.namespace(tor)) for tor in TORS]
    try:
        done = []
        for number in range(runs):
            say(f"{routes} routes, run {number + 1} of {runs}")
            done.append(_far_run(lab, routes, node, tors))
    finally:
        for witness in (node, *tors):
            witness.close()

    def column(name: str) -> tuple[float, ...]:
        return tuple(getattr(run, name) for run in done)

    cpu = [
        Figure(f"farRoutes{name.capitalize()}CpuS", f"  CPU time of {name}", "s", tuple(run.cpu[name] for run in done))
        for name in done[0].cpu
    ]
    return [
        Figure(
            "farRoutesToKernelS",
            f"{routes:,} routes, ToR's first UPDATE to kernel",
            "s",
            column("end_to_end"),
            at_most=10,
        ),
        Figure("farRoutesSendingS", "  of it until the ToRs' last UPDATE", "s", column("sending")),
        Figure("farRoutesBehindS", "  of it from the last UPDATE to the last route", "s", column("behind")),
        *cpu,
        Figure("farRoutesUpdateSegments", "  TCP segments with UPDATEs, both ToRs", "", column("updates")),
        Figure(
            "farRoutesFrrS",
            "FRR on a ToR: first UPDATE to kernel, the same routes",
            "s",
            tuple(s for r in done for s in r.frr),
        ),
        Figure("farRoutesFromEdgeS", "the edge's command to the node's kernel", "s", column("from_edge")),
        Figure("farRoutesWithdrawnS", "ToR's first withdrawal to gone from the kernel", "s", column("withdrawn")),
    ]


def _far_run(lab: MeasuredLab, routes: int, node: Witness, tors: Sequence[Witness]) -> Run:
    witnesses = [node, *tors]
    _clear(witnesses)
    clock = CpuClock(lab.speaker_pids(NODE))
    began = time.monotonic()
    lab.announce_far_routes(True)
    _until_settled(lab, node, witnesses, (routes, routes))
    cpu = clock.used()
    arrived = [packet.at for packet in node.updates()]
    ended = max(change.at for change in node.changes(PROTOCOL))
    frr = [max(c.at for c in tor.changes(_FRR_PROTOCOL)) - tor.updates()[0].at for tor in tors]
    _clear(witnesses)
    lab.announce_far_routes(False)
    _until_settled(lab, node, witnesses, (0, 0))
    withdrawn = max(change.at for change in node.changes(PROTOCOL)) - node.updates()[0].at
    return Run(
        end_to_end=ended - arrived[0],
        from_edge=ended - began,
        sending=arrived[-1] - arrived[0],
        behind=ended - arrived[-1],
        frr=frr,
        updates=len(arrived),
        cpu=cpu,
        withdrawn=withdrawn,
    )


def _until_settled(lab: MeasuredLab, node: Witness, witnesses: Sequence[Witness], wanted: tuple[int, int]) -> None:
    """Looks into the kernel only when it has said nothing for a while, so that looking costs the speaker nothing."""
    looked_at: float | None = None

    def settled() -> bool:
        nonlocal looked_at
        last = node.last_change()
        if last is None or last == looked_at or time.monotonic() - last < _QUIET_S:
            return False
        looked_at = last
        return lab.far_routes_at(NODE) == wanted

    if not watch(witnesses, settled, _GIVE_UP_S, pause=_QUIET_S):
        raise Failed(f"{NODE} has {lab.far_routes_at(NODE)} of {wanted} routes (all, with two next hops)")


def kernel_writing(routes: int, runs: int) -> list[Figure]:
    """bench/kernel_routes.py, which needs a process of its own because it moves into another namespace."""
    ours, batch = [], []
    for number in range(runs):
        say(f"kernel routes, run {number + 1} of {runs}")
        argv = [
            sys.executable,
            str(ROOT / "bench" / "kernel_routes.py"),
            "--json",
            "--runs",
            "1",
            "--routes",
            str(routes),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_GIVE_UP_S, check=False)
        if done.returncode:
            raise Failed(f"bench/kernel_routes.py: {done.stderr.strip()}")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        ours.append(told["routes_per_s"])
        batch.append(told["ip_batch_routes_per_s"])
    return [
        Figure("kernelRoutesPerS", "kernel writing alone", "routes/s", tuple(ours), at_least=20_000),
        Figure("ipBatchRoutesPerS", "  ip -batch, the same routes", "routes/s", tuple(batch)),
    ]


@contextlib.contextmanager
def own_lab(routes: int) -> Iterator[MeasuredLab]:
    """A lab of our own, removed whatever happens."""
    with tempfile.TemporaryDirectory(prefix="underlay-bench-") as folder:
        lab = MeasuredLab(f"b{os.getpid()}", RUN_DIR, declaration(Path(folder)), routes)
        try:
            yield lab
        finally:
            _down(lab)


def _down(lab: MeasuredLab) -> None:
    left = lab.down()
    if RUN_DIR.exists() and not any(RUN_DIR.iterdir()):
        RUN_DIR.rmdir()
    if left:
        raise Failed(f"not removed: {', '.join(left)}")


def machine() -> str:
    """What the figures depend on, in one line."""
    frr = subprocess.run(["/usr/lib/frr/bgpd", "--version"], capture_output=True, text=True, check=False).stdout
    parts = [f"{os.cpu_count()} cores", f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    parts += [f"ExaBGP {version('exabgp')}", f"FRR {(frr.split() or ['?'])[2 if len(frr.split()) > 2 else 0]}"]
    return ", ".join(parts)


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Exits with 2 for what cannot be measured."""
    parser = argparse.ArgumentParser(description="Measures the running dual-tor lab; see docs/benchmarks.md.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--runs", type=int, default=5, help="how often everything is repeated (default 5)")
    parser.add_argument("--routes", type=int, default=10_000, help="how many routes the edge announces (default 10000)")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="how long idle CPU is counted (default 30)")
    options = parser.parse_args(argv)
    if options.runs < 1 or not 1 <= options.routes <= 65_536 or options.idle_seconds <= 0:
        parser.error("--runs is at least 1, --routes 1 to 65536, --idle-seconds more than 0")
    return options


def main() -> int:
    options = arguments()
    if os.geteuid() != 0:
        say("error: namespaces need root (run with sudo)")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = load()
    try:
        with own_lab(options.routes) as lab:
            figures = measure(lab, options)
    except (Failed, LabFailed, Refused, StoreError, AssertionError, OSError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
        return 1
    print(f"{machine()}; load before {before}, after {load()}")
    print(table(figures))
    if options.json:
        print(json.dumps(to_json(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
