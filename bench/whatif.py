"""How long what-if takes for a fabric of 5,000 nodes: one failure, and every single one.

    python bench/whatif.py [--json] [--nodes N] [--racks R] [--reflectors K]

The fabric is made in memory (fabric_sample.py); compiling its session graph is measured too, reading files is not.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.fabric_sample import fabric
from bench.figures import Figure, table, to_json
from peering.compile import Compiler
from peering.snapshot import Snapshot
from peering.whatif.answers import answer
from peering.whatif.every import every_single_failure
from peering.whatif.fabric import fabric_of
from peering.whatif.failures import Failures
from peering.whatif.ways import Ways

T = TypeVar("T")

#: Seconds that all single failures of the whole fabric may take, from the snapshot on.
TARGET_S = 30.0


def main() -> None:
    """The command."""
    arguments = _arguments()
    snapshot = Snapshot(fabric(arguments.nodes, arguments.racks, arguments.reflectors))
    figures = measure(snapshot)
    print(json.dumps(to_json(figures)) if arguments.json else table(figures))


def measure(snapshot: Snapshot) -> list[Figure]:
    """One run: the parts, and the whole that the target is for."""
    graph_s, graph = _timed(lambda: Compiler().graph(snapshot)[0])
    ways_s, ways = _timed(lambda: Ways(fabric_of(graph)))
    switch = next(name for name in sorted(graph.switches))
    one_s, _ = _timed(lambda: answer(ways, [Failures(ways.fabric).named(f"Switch/{switch}")]))
    every_s, sorts = _timed(lambda: list(every_single_failure(ways)))
    failures = sum(len(one.names) for one in sorts)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("graphS", "compiling the session graph", "s", (graph_s,)),
        Figure("modelS", "taking the fabric apart", "s", (ways_s,)),
        Figure("oneFailureS", "one switch fails", "s", (one_s,)),
        Figure("everyFailureS", "every single failure", "s", (every_s,)),
        Figure("totalS", "all of it", "s", (graph_s + ways_s + one_s + every_s,), at_most=TARGET_S),
        Figure("failures", "single failures", "", (float(failures),)),
        Figure("sorts", "sorts of them, each computed once", "", (float(len(sorts)),)),
        Figure("peakMb", "peak memory", "MB", (peak_mb,)),
    ]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--racks", type=int, default=250)
    parser.add_argument("--reflectors", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
