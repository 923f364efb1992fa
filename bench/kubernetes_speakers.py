"""The stores of many idle speakers in one process, for bench/kubernetes.py: real watches, real reports, no BGP.

Each is what a node's agent does with its store while nothing happens: it follows what it watches, reads the one
password of its sessions, and renews its report. With `faster`, the times of watches and reports pass so many times as
fast. Answers with the moments at which each speaker was told of the last BGPPeer.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import traceback
from pathlib import Path

from bench.children import allow_many_files, answer, questions
from bgp_speaker.node_status import StatusWriter
from bgp_speaker.node_view import WATCHED
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec, PeerStatus
from peering.store.interest import speaker_interests
from peering.store.kubernetes import connect, follower
from peering.store.kubernetes.location import Location
from peering.store.kubernetes.store import KubernetesStore

#: So many begin at the same time.
_AT_ONCE = 20
_SESSIONS = 4
_START_S = 600.0


class IdleSpeaker:
    """One node's."""

    def __init__(self, node: str, kubeconfig: Path, faster: float) -> None:
        location = Location(namespace="underlay-system")
        self._store = KubernetesStore(
            location, speaker_interests(node), lambda where: connect.connect(where, kubeconfig)
        )
        self._node = node
        self._faster = faster
        self.told_at = 0.0

    async def begin(self) -> None:
        """Until all that it wants was read once."""
        _, self._since = await self._store.snapshot(WATCHED)
        await self._store.get("Secret", "bench-passwords")

    async def follow(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            async for changes in self._store.watch(WATCHED, self._since):
                if any(change.kind == "BGPPeer" for change in changes):
                    self.told_at = time.monotonic()

    async def _report(self) -> None:
        """As the agent, which looks every second whether it is time."""
        writer, report = StatusWriter(self._store, self._node), _report_of(self._node)
        await asyncio.sleep(random.uniform(0, RENEWAL_S) / self._faster)
        began = time.time()
        while True:
            await writer.write(report, began + (time.time() - began) * self._faster)
            await asyncio.sleep(1 / self._faster)

    @property
    def watches(self) -> int:
        return len(self._store._following._followers)

    async def end(self) -> None:
        await self._store.close()


def _report_of(node: str) -> BGPNodeStatusSpec:
    row = {"local_address": "10.0.0.1", "peerASN": 65000, "state": "Established", "since": 1.0, "received": 1000}
    rows = (
        PeerStatus(session=f"tor-{one}", peer=f"Switch/tor-{one}", peer_address=f"10.0.0.{one}", **row)
        for one in range(_SESSIONS)
    )
    return BGPNodeStatusSpec(node=node, sessions=tuple(rows), blocks=("10.1.0.0/26",), kernel_routes=1000)


async def _run(kubeconfig: Path, first: int, count: int, faster: float) -> None:
    shortest, longest = follower._WATCH_S
    follower._WATCH_S = (shortest / faster, longest / faster)  # type: ignore[assignment]
    follower._AGAIN_S /= faster
    speakers = [IdleSpeaker(f"node-{number}", kubeconfig, faster) for number in range(first, first + count)]
    room = asyncio.Semaphore(_AT_ONCE)

    async def begin(speaker: IdleSpeaker) -> None:
        async with room:
            await speaker.begin()

    async with asyncio.timeout(_START_S):
        await asyncio.gather(*map(begin, speakers))
    tasks = [asyncio.ensure_future(speaker.follow()) for speaker in speakers]
    async for _ in questions():
        broken = [task.exception() for task in tasks if task.done()]
        answer(
            {
                "toldAt": [one.told_at for one in speakers],
                "watches": [one.watches for one in speakers],
                "broken": ["".join(traceback.format_exception(error)) for error in broken],
            }
        )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*(speaker.end() for speaker in speakers))


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
