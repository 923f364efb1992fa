"""How long the plan of a large fabric takes, and how much memory: whole, and after one changed node label.

    python bench/plan.py [--json] [--nodes 5000] [--racks 250] [--reflectors 3] [--runs 5]

The fabric has two switches in each rack, every node peers with both and with every reflector. Two things are measured,
in a process of their own for each run: `plan()` of the whole snapshot from nothing, lint included, and the plan after
one node got another label, by the compiler that made the first one (what a speaker and a controller do). Beside them,
for scale, reading the same declaration: parsing every resource. Peak RSS is that of the process with the declaration,
the plan and the interpreter in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.fabric_sample import fabric  # noqa: E402
from bench.figures import Figure, table, to_json  # noqa: E402
from peering.compile import Compiler  # noqa: E402
from peering.session import Plan, Session  # noqa: E402
from peering.snapshot import Snapshot  # noqa: E402

_MIB = 1024


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        sys.stdout.write(json.dumps(_measure(arguments.nodes, arguments.racks, arguments.reflectors)))
        return
    runs = [_run(sys.argv[1:]) for _ in range(arguments.runs)]
    figures = _figures(runs)
    if arguments.json:
        sys.stdout.write(json.dumps(to_json(figures)) + "\n")
        return
    sizes = f"{arguments.nodes} nodes, {arguments.racks} racks, {2 * arguments.racks} switches, "
    sys.stdout.write(f"{sizes}{arguments.reflectors} reflectors: {int(runs[0]['sessions'])} ends of sessions\n")
    sys.stdout.write(table(figures) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of the plan of a large fabric.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--racks", type=int, default=250)
    parser.add_argument("--reflectors", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(arguments: list[str]) -> dict[str, float]:
    """One run in a process of its own: memory is not given back, and caches are not warm."""
    command = [sys.executable, __file__, "--child", *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _measure(nodes: int, racks: int, reflectors: int) -> dict[str, float]:
    started = time.perf_counter()
    snapshot = Snapshot(fabric(nodes, racks, reflectors))
    read = time.perf_counter()
    compiler = Compiler()
    compiled = compiler.plan(snapshot)
    planned = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    node = snapshot.all("Node")[f"node-{nodes // 2}"]
    changed = replace(node, labels={**node.labels, "maintenance": "yes"})
    begun = time.perf_counter()
    compiler.plan(snapshot.with_changes([changed]))
    ended = time.perf_counter()
    return {
        "read": read - started,
        "plan": planned - read,
        "change": ended - begun,
        "rss": peak / _MIB,
        "sessions": sum(len(sessions) for sessions in _sessions(compiled)),
    }


def _sessions(compiled: Plan) -> Iterator[tuple[Session, ...]]:
    for ends in (compiled.speakers, compiled.switches, compiled.reflectors):
        for end in ends.values():
            yield end.sessions


def _figures(runs: list[dict[str, float]]) -> list[Figure]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(run[name] for run in runs)

    return [
        Figure("planS", "plan of everything, lint included", "s", values("plan"), at_most=2),
        Figure("labelChangeS", "plan after one node's label changed", "s", values("change"), at_most=0.3),
        Figure("peakRssMib", "peak RSS after the first plan", "MiB", values("rss"), at_most=400),
        Figure("readS", "for scale: parsing the declaration", "s", values("read")),
    ]


if __name__ == "__main__":
    main()
