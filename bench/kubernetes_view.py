"""One speaker's view of a large cluster in a process of its own, for bench/kubernetes_memory.py: no BGP, no kernel.

The store and the reader of the agent (bgp_speaker/node_view.py), which follow and compile what a node's agent does.
Answers when it has the view.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.children import answer, questions
from bgp_speaker.node_view import ViewReader
from peering.store.interest import speaker_interests
from peering.store.kubernetes import connect
from peering.store.kubernetes.location import Location
from peering.store.kubernetes.store import KubernetesStore


async def _run(kubeconfig: Path, node: str) -> None:
    location = Location(namespace="underlay-system")
    store = KubernetesStore(location, speaker_interests(node), lambda where: connect.connect(where, kubeconfig))
    reader = ViewReader(store, node)
    view = await reader.read()
    async for _ in questions():
        view = await reader.read()
        answer({"sessions": len(view.plan.sessions) if view.plan else 0, "blocks": len(view.blocks)})
    await store.close()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2]))
