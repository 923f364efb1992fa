"""How long a pod waits for its addresses: the CNI plugin as a process alone, many ADDs at once, many real pods at once.

    python bench/cni.py [--pods 110] [--runs 3] [--alone 100] [--at-a-time 4] [--real] [--json]

The agent's CNI service runs in a process of its own on a new SQLite file, with one IPPool of IPv4. Alone: the plugin is
run again and again, from its start until it has ended. At once: so many requests are sent to the agent's socket
in one moment, and each waits for its answer; and so many plugins are started in one moment, which have to share the
cores for their interpreters, too. At a runtime's pace: as many plugins, of which never more than `--at-a-time` run.
Beside each stands what an interpreter takes that does nothing (`python3 -IS -c pass`), started in the same way right
before. With `--real` (as root, with the reference CNI plugins) so many namespaces get a pod by the whole list: `ptp`,
its IPAM, the default route.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Figure, table, to_json
from ipam.cni_service import CniService
from ipam.cni_socket import serve_cni
from ipam.conflist import Conflist, install_plugin
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec
from peering.store.resources import put
from peering.store.sqlite import SqliteStore

NODE = "bench-1"
_ROOT = str(Path(__file__).resolve().parents[1])
POOL = Resource("IPPool", "bench-v4", IPPoolSpec(cidr="198.18.0.0/15"))
_CNI = Path("/usr/lib/cni")
_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
_BARE = (_PYTHON, "-IS", "-c", "pass")
_MS = 1000.0
_READY_S = 30.0


class Place:
    """Where the agent of one run keeps its things."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store.db"
        self.conflist = Conflist(1500, "1.0.0", "bench", folder / "run" / "agent.sock", folder / "queue")
        self.plugin = install_plugin(folder / "bin", _PYTHON)

    def config(self, index: int) -> dict[str, Any]:
        """What the plugin of that place in the list gets on stdin."""
        document = self.conflist.document()
        plugin: dict[str, Any] = document["plugins"][index]
        return {**plugin, "cniVersion": document["cniVersion"], "name": document["name"]}


def main() -> None:
    """The command."""
    arguments = _arguments()
    figures = asyncio.run(_measure(arguments))
    sys.stdout.write((json.dumps(to_json(figures)) if arguments.json else table(figures)) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--pods", type=int, default=110, help="that start at once")
    parser.add_argument("--alone", type=int, default=100, help="plugins, one after the other")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--at-a-time", type=int, default=4, help="plugins of a runtime that takes its time")
    parser.add_argument("--real", action="store_true", help="real pods, too; as root")
    return parser.parse_args()


async def _measure(arguments: argparse.Namespace) -> list[Figure]:
    runs = [await _run(arguments) for _ in range(arguments.runs)]

    def values(key: str) -> tuple[float, ...]:
        return tuple(run[key] for run in runs)

    many, paced = f"{arguments.pods} at once", f"{arguments.pods}, {arguments.at_a_time} at a time"
    figures = [
        Figure("aloneP50Ms", "underlay-ipam alone, median", "ms", values("aloneP50"), at_most=30),
        Figure("bareP50Ms", "– an interpreter that does nothing", "ms", values("bareP50")),
        Figure("answerP50Ms", f"the agent's answer, {many}, median", "ms", values("answerP50")),
        Figure("answerP99Ms", f"the agent's answer, {many}, 99 %", "ms", values("answerP99"), at_most=100),
        Figure("pacedP50Ms", f"underlay-ipam as processes, {paced}, median", "ms", values("pacedP50")),
        Figure("pacedP99Ms", f"underlay-ipam as processes, {paced}, 99 %", "ms", values("pacedP99")),
        Figure("barePacedP99Ms", "– interpreters that do nothing", "ms", values("barePacedP99")),
        Figure("pluginsP99Ms", f"underlay-ipam as processes, {many}, 99 %", "ms", values("pluginsP99")),
        Figure("bareP99Ms", "– interpreters that do nothing", "ms", values("bareP99")),
    ]
    if arguments.real:
        figures.append(Figure("realPodsS", f"{arguments.pods} real pods", "s", values("real"), at_most=15))
    return figures


async def _run(arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-cni-") as folder:
        place = Place(Path(folder))
        async with _agent(place):
            bare = [await _timed(_bare()) for _ in range(arguments.alone)]
            alone = [await _timed(_plugin(place, f"alone-{n}")) for n in range(arguments.alone)]
            answers = await _all(_answer(place, f"answer-{n}") for n in range(arguments.pods))
            bare_paced = await _paced((_bare() for _ in range(arguments.pods)), arguments.at_a_time)
            paced = await _paced((_plugin(place, f"paced-{n}") for n in range(arguments.pods)), arguments.at_a_time)
            bare_many = await _all(_bare() for _ in range(arguments.pods))
            plugins = await _all(_plugin(place, f"plugin-{n}") for n in range(arguments.pods))
            found = {
                "bareP50": statistics.median(bare) * _MS,
                "aloneP50": statistics.median(alone) * _MS,
                "answerP50": statistics.median(answers) * _MS,
                "answerP99": _percentile_99(answers) * _MS,
                "barePacedP99": _percentile_99(bare_paced) * _MS,
                "pacedP50": statistics.median(paced) * _MS,
                "pacedP99": _percentile_99(paced) * _MS,
                "bareP99": _percentile_99(bare_many) * _MS,
                "pluginsP99": _percentile_99(plugins) * _MS,
            }
            if arguments.real:
                found["real"] = await _real(place, arguments.pods)
            return found


def _percentile_99(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _all(works: Iterable[Awaitable[object]]) -> list[float]:
    return list(await asyncio.gather(*map(_timed, works)))


async def _paced(works: Iterable[Awaitable[object]], at_a_time: int) -> list[float]:
    """Each from its own start, which waits until fewer are under way."""
    free = asyncio.Semaphore(at_a_time)

    async def one(work: Awaitable[object]) -> float:
        async with free:
            return await _timed(work)

    return list(await asyncio.gather(*map(one, works)))


@asynccontextmanager
async def _agent(place: Place) -> AsyncIterator[None]:
    store = SqliteStore(place.store)
    await put(store, Resource("Node", NODE, NodeSpec()))
    await put(store, POOL)
    await store.close()
    code = "import bench.cni, pathlib, sys; bench.cni.serve(bench.cni.Place(pathlib.Path(sys.argv[1])))"
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(place.store.parent), env={**os.environ, "PYTHONPATH": _ROOT}
    )
    try:
        deadline = time.monotonic() + _READY_S
        while not place.conflist.socket.exists():
            if time.monotonic() > deadline or agent.returncode is not None:
                raise RuntimeError("the agent does not begin")
            await asyncio.sleep(0.01)
        await _plugin(place, "first")
        yield
    finally:
        agent.kill()
        await agent.wait()


def serve(place: Place) -> None:
    """The agent's CNI service alone."""

    def log(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    service = CniService(SqliteStore(place.store), NODE, place.conflist.queue, log)
    asyncio.run(serve_cni(service, place.conflist.socket))


async def _answer(place: Place, container: str) -> None:
    request = {"command": "ADD", "containerID": container, "ifname": "eth0", "config": place.config(0)}
    reader, writer = await asyncio.open_unix_connection(str(place.conflist.socket))
    writer.write(json.dumps(request).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    if "result" not in json.loads(answer):
        raise RuntimeError(answer.decode())


async def _bare() -> None:
    process = await asyncio.create_subprocess_exec(
        *_BARE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await process.communicate(b"{}")


async def _plugin(place: Place, container: str) -> None:
    await _call((str(place.plugin),), container, "/run/netns/none", place.config(0))


async def _call(command: tuple[str, ...], container: str, netns: str, config: dict[str, Any]) -> Any:
    variables = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_NETNS": netns}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **variables, "CNI_PATH": f"{_CNI}:{Path(command[-1]).parent}:{config.pop('path', '')}"},
    )
    stdout, _ = await process.communicate(json.dumps(config).encode())
    if process.returncode:
        raise RuntimeError(stdout.decode())
    return json.loads(stdout)


async def _real(place: Place, count: int) -> float:
    """Seconds until so many pods, whose namespaces are there before, have all that the list gives them."""
    node = f"bench-cni-{os.getpid()}"
    pods = [f"{node}-{n}" for n in range(count)]
    try:
        for name in (node, *pods):
            subprocess.run(("ip", "netns", "add", name), check=True)  # noqa: ASYNC221 - nothing else runs meanwhile
        return await _timed(asyncio.gather(*(_pod(place, node, pod) for pod in pods)))
    finally:
        for name in (*pods, node):
            subprocess.run(("ip", "netns", "delete", name), check=False)  # noqa: ASYNC221 - as above


async def _pod(place: Place, node: str, pod: str) -> None:
    netns, path = f"/run/netns/{pod}", str(place.plugin.parent)
    inside = ("ip", "netns", "exec", node)
    result = await _call((*inside, str(_CNI / "ptp")), pod, netns, {**place.config(0), "path": path})
    behind = {**place.config(1), "prevResult": result}
    await _call((*inside, str(place.plugin)), pod, netns, behind)


if __name__ == "__main__":
    main()
