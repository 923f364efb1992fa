"""What speakers with nothing to do cost an API server, and how soon a change is known to all of them.

    python bench/kubernetes.py [--speakers 1000] [--seconds 60] [--few 40] [--faster 60] [--runs 3] [--json]

The server is the stand-in of tests/kube_api, in a process of its own, which counts its requests. Of speakers there are
the real stores in some other processes: every watch of a node's agent, one password each, and the renewed report.

First, few speakers whose watches and reports end so many times as soon (`--faster`), for twice as long as the longest
watch lasts: requests per speaker and minute of theirs. Beside it stands what it must be at least: each watch begun anew
every 45 minutes, the middle of what it asks for, and a report every 45 s.

Then all speakers with the times as they are, for `--seconds`: what the server holds and does for them, and how long it
takes until each was told of a new BGPPeer. Beside it, when the server, which is Python, had sent that to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# In place of this folder, where this file would be taken for the client's package.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.children import Child, child  # noqa: E402
from bench.figures import Figure, table, to_json  # noqa: E402
from peering.resources.observed import RENEWAL_S  # noqa: E402
from peering.store.kubernetes import follower  # noqa: E402

_SERVER, _SPEAKERS = "bench.kubernetes_server", "bench.kubernetes_speakers"
_PROCESSES = 4
_MOST = 2.0
_UNDERLAY = "underlay.io/v1alpha1"
#: So long a change may take to reach all.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The processes of one measurement."""

    server: Child
    speakers: list[Child]

    async def look(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.server.ask({"do": "look"})
        return found

    async def ask_all(self, key: str) -> list[Any]:
        """What every speaker says. Raises RuntimeError for one that is broken."""
        answers = await asyncio.gather(*(one.ask() for one in self.speakers))
        if broken := [error for said in answers for error in said["broken"]]:
            raise RuntimeError(broken[0])
        return [value for said in answers for value in said[key]]


def main() -> None:
    """The command."""
    arguments = _arguments()
    runs = [asyncio.run(_run(arguments)) for _ in range(arguments.runs)]
    figures = _figures(runs, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps({"speakers": arguments.speakers, **to_json(figures)}) + "\n")
        return
    sys.stdout.write(table(figures) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--speakers", type=int, default=1000, help="with the times as they are")
    parser.add_argument("--seconds", type=float, default=60, help="for which these are counted")
    parser.add_argument("--few", type=int, default=40, help="speakers whose times pass faster")
    parser.add_argument("--faster", type=float, default=60, help="how much")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> dict[str, float]:
    async with _stage(arguments.few, arguments.faster) as stage:
        found = await _idle(stage, arguments)
    async with _stage(arguments.speakers, 1) as stage:
        return {**found, **await _crowd(stage, arguments)}


@asynccontextmanager
async def _stage(speakers: int, faster: float) -> AsyncIterator[Stage]:
    """A server with a small declaration, and so many speakers that know it."""
    with tempfile.TemporaryDirectory(prefix="bench-kubernetes-") as folder:
        kubeconfig = f"{folder}/kubeconfig"
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(child(_SERVER, kubeconfig))
            await server.ask({"do": "put", "documents": _declaration(speakers)})
            shares = [speakers * (one + 1) // _PROCESSES - speakers * one // _PROCESSES for one in range(_PROCESSES)]
            children, first = [], 0
            for share in shares:
                words = (kubeconfig, str(first), str(share), str(faster))
                children.append(await stack.enter_async_context(child(_SPEAKERS, *words)))
                first += share
            stage = Stage(server, children)
            await stage.ask_all("watches")
            yield stage


def _declaration(speakers: int) -> list[dict[str, Any]]:
    """Enough for a speaker to know what it has to watch: its Node, its block, and that no mesh is wanted."""
    documents = [
        _document("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}),
        {
            **_document("Secret", "bench-passwords", {}),
            "apiVersion": "v1",
            "metadata": {"name": "bench-passwords", "namespace": "underlay-system"},
        },
    ]
    for number in range(speakers):
        node, cidr = f"node-{number}", f"10.{number // 1024}.{number // 4 % 256}.{number % 4 * 64}/26"
        labels = {"underlay.io/node": node, "underlay.io/type": "host"}
        affinity = _document("BlockAffinity", f"{node}-block", {"node": node, "cidr": cidr, "state": "confirmed"})
        affinity["metadata"]["labels"] = labels
        documents += [{**_document("Node", node, {}), "apiVersion": "v1"}, affinity]
    return documents


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": _UNDERLAY, "kind": kind, "metadata": {"name": name, "uid": name}, "spec": spec}


async def _idle(stage: Stage, arguments: argparse.Namespace) -> dict[str, float]:
    """Counted when the first watches, which began at one moment, have come apart."""
    longest = follower._WATCH_S[1] / arguments.faster
    await asyncio.sleep(longest)
    before = await stage.look()
    await asyncio.sleep(2 * longest)
    after = await stage.look()
    minutes = (after["at"] - before["at"]) * arguments.faster / 60
    watches = await stage.ask_all("watches")
    return {
        "per_minute": (after["requests"] - before["requests"]) / minutes / arguments.few,
        "watches": sum(watches) / len(watches),
        "least": sum(watches) / len(watches) * 120 / sum(follower._WATCH_S) + 60 / RENEWAL_S,
    }


async def _crowd(stage: Stage, arguments: argparse.Namespace) -> dict[str, float]:
    before = await stage.look()
    await asyncio.sleep(arguments.seconds)
    after = await stage.look()
    elapsed = after["at"] - before["at"]
    began = await stage.server.ask({"do": "put", "documents": [_document("BGPPeer", "bench", {"peerIP": "10.0.0.1"})]})
    told = await _told(stage)
    return {
        "crowd_per_minute": (after["requests"] - before["requests"]) * 60 / elapsed / arguments.speakers,
        "open": after["watches"],
        "rss": after["rssMib"],
        "cpu": 100 * (after["cpuS"] - before["cpuS"]) / elapsed,
        "last_told": max(told) - began,
        "last_sent": await stage.server.ask({"do": "sent"}) - began,
    }


async def _told(stage: Stage) -> list[float]:
    """When each speaker was told of the change."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            told: list[float] = await stage.ask_all("toldAt")
            if all(told):
                return told
            await asyncio.sleep(0.5)


def _figures(runs: list[dict[str, float]], arguments: argparse.Namespace) -> list[Figure]:
    def values(name: str) -> tuple[float, ...]:
        return tuple(run[name] for run in runs)

    few, many = f"{arguments.few} speakers, time × {arguments.faster:g}", f"{arguments.speakers:,} speakers"
    return [
        Figure("idleRequestsPerMinute", f"{few}: requests of one", "/min", values("per_minute"), at_most=_MOST),
        Figure("leastRequestsPerMinute", "– the least: watches and reports renewed", "/min", values("least")),
        Figure("watchesOfSpeaker", "– watches of one, each a connection", "", values("watches")),
        Figure("crowdRequestsPerMinute", f"{many}: requests of one", "/min", values("crowd_per_minute"), at_most=_MOST),
        Figure("openWatches", "– watches that are open", "", values("open")),
        Figure("serverRssMib", "– memory of the stand-in, RSS", "MiB", values("rss")),
        Figure("serverCpuPercent", "– CPU of the stand-in, of one core", "%", values("cpu")),
        Figure("changeToAllS", "– from a new BGPPeer until all know it", "s", values("last_told")),
        Figure("changeSentS", "– until the stand-in had sent it to the last", "s", values("last_sent")),
    ]


if __name__ == "__main__":
    main()
