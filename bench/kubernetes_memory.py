"""What the processes of a large cluster hold in memory: the controller as it is, and what of a speaker grows.

    python bench/kubernetes_memory.py [--nodes 5000] [--racks 250] [--pods 30] [--runs 3] [--json]

The API server is the stand-in, in a process of its own, with every object of such a cluster: Nodes of Kubernetes, a
block with its affinity for each, a handle for each pod, and a report. `underlay controller` runs on it until it has
freed the block of a node that is gone, for which it has to look at everything twice, and has written the statuses of
all objects that have one; then it rests.
A speaker's store and view are those of one node; once more with a BGPPeer that selects its peers among the nodes, as
with reflectors on nodes: then it has to know all of them.

Memory is USS, and beside it the most RSS that there was at one time, as often as it was looked at; both with all
processes that the process has begun and that are there. From both is taken what the same has on an empty cluster, which
is beside them, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

# In place of this folder, where bench/kubernetes.py would be taken for the client's package.
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from bench.children import Child, child, memory_mib, peak_mib, together, unique_mib  # noqa: E402
from bench.figures import Figure, table, to_json  # noqa: E402
from bench.kubernetes_cluster import Document, cluster, stored  # noqa: E402

_CONTROLLER_MIB, _SPEAKER_MIB = 150, 60
_NODE, _GONE = "node-1", "node-that-is-gone"
_BLOCK = "100.127.255.0/26"
_LABELS = {"underlay.io/node": _GONE, "underlay.io/type": "host"}
#: Objects that are put at once.
_AT_ONCE = 2000
_PEER_OF_NODES = stored("BGPPeer", "nodes", {"nodeSelector": "all()", "peerSelector": "has(reflector)"})
_PATIENCE_S = 900.0
#: After which what was let go of at the end of the work has gone.
_REST_S = 15.0
#: Between two looks at something.
_LOOK_S = 0.2
#: The kinds that are told statuses.
_TOLD = frozenset(("BGPPeer", "IPPool", "Rack", "RouteReflector", "Switch"))


def main() -> None:
    """The command."""
    arguments = _arguments()
    runs = [asyncio.run(_run(arguments)) for _ in range(arguments.runs)]
    figures = _figures(runs)
    if arguments.json:
        sys.stdout.write(json.dumps({"nodes": arguments.nodes, **to_json(figures)}) + "\n")
        return
    sys.stdout.write(table(figures) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--racks", type=int, default=250)
    parser.add_argument("--pods", type=int, default=30, help="of each node")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> dict[str, float]:
    empty = await _measure(cluster(1, 1, 0, 0))
    full = await _measure(cluster(arguments.nodes, arguments.racks, 3, arguments.pods))
    grown = {f"{key} grown": full[key] - empty[key] for key in full}
    return {
        **grown,
        **{f"{key} empty": value for key, value in empty.items()},
        "seconds": full["seconds"],
        "told": full["told"],
    }


async def _measure(documents: Iterable[Document]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-kubernetes-") as folder:
        kubeconfig = f"{folder}/kubeconfig"
        async with child("bench.kubernetes_server", kubeconfig) as server:
            told = await _put(server, documents)
            speaker = await _speaker(kubeconfig)
            await _put(server, _leftover())
            controller = await _controller(kubeconfig, server, told)
            await _put(server, [_PEER_OF_NODES])
            return {"speaker": speaker, "knowing": await _speaker(kubeconfig), **controller}


async def _put(server: Child, documents: Iterable[Document]) -> int:
    """How many of them are to be told a status."""
    waiting, told = iter(documents), 0
    while some := [*islice(waiting, _AT_ONCE)]:
        await server.ask({"do": "put", "documents": some})
        told += sum(one["kind"] in _TOLD for one in some)
    return told


def _leftover() -> list[Document]:
    """The block of a node that is gone."""
    affinity = {"node": _GONE, "cidr": _BLOCK, "state": "confirmed"}
    return [
        stored("IPAMBlock", "100-127-255-0-26", {"cidr": _BLOCK, "affinity": f"host:{_GONE}"}, _LABELS),
        stored("BlockAffinity", f"{_GONE}-100-127-255-0-26", affinity, _LABELS),
    ]


async def _speaker(kubeconfig: str) -> float:
    async with asyncio.timeout(_PATIENCE_S), child("bench.kubernetes_view", kubeconfig, _NODE) as speaker:
        await speaker.ask()
        await asyncio.sleep(_REST_S / 5)
        return together(speaker.pid, unique_mib)


async def _controller(kubeconfig: str, server: Child, statuses: int) -> dict[str, float]:
    """Until it says that it has freed the block, and so many objects have a status."""
    began = time.monotonic()
    async with asyncio.timeout(_PATIENCE_S), _running_controller(kubeconfig) as process, _peak(process.pid) as peak:
        assert process.stderr is not None
        while f"block {_BLOCK}".encode() not in (line := await process.stderr.readline()):
            sys.stderr.write(line.decode())
            if not line:
                raise RuntimeError(f"the controller has ended ({await process.wait()})")
        seconds = time.monotonic() - began
        while await server.ask({"do": "statuses"}) < statuses:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(_LOOK_S)
        told = time.monotonic() - began
        await asyncio.sleep(max(_REST_S, told))
        used = together(process.pid, unique_mib)
    return {"controller": used, "peak": peak[0], "seconds": seconds, "told": told}


@asynccontextmanager
async def _peak(pid: int) -> AsyncIterator[list[float]]:
    """One number, the most RSS of the process and of those that it begins."""
    most = [0.0]

    async def look() -> None:
        while True:
            most[0] = max(most[0], peak_mib(pid), together(pid, memory_mib))
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.ensure_future(look())
    try:
        yield most
    finally:
        looking.cancel()


@asynccontextmanager
async def _running_controller(kubeconfig: str) -> AsyncIterator[asyncio.subprocess.Process]:
    words = ("-m", "underlay", "controller", "--store", "kubernetes", "--grace", "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, env={**os.environ, "KUBECONFIG": kubeconfig}, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _figures(runs: list[dict[str, Any]]) -> list[Figure]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(run[name] for run in runs)

    return [
        Figure(
            "controllerGrownMib",
            "the controller, beyond an empty cluster's",
            "MiB",
            values("controller grown"),
            at_most=_CONTROLLER_MIB,
        ),
        Figure("controllerPeakGrownMib", "– the most, RSS", "MiB", values("peak grown")),
        Figure("controllerEmptyMib", "– on an empty cluster", "MiB", values("controller empty")),
        Figure("controllerFreedS", "– from its start until it had freed a block", "s", values("seconds")),
        Figure("controllerToldS", "– until it had told all statuses, too", "s", values("told")),
        Figure(
            "speakerGrownMib",
            "a speaker of a rack, in the same way",
            "MiB",
            values("speaker grown"),
            at_most=_SPEAKER_MIB,
        ),
        Figure(
            "knowingSpeakerGrownMib",
            "– one that has to know all nodes",
            "MiB",
            values("knowing grown"),
            at_most=_SPEAKER_MIB,
        ),
        Figure("speakerEmptyMib", "– on an empty cluster, without BGP", "MiB", values("speaker empty")),
    ]


if __name__ == "__main__":
    main()
