"""A speaker as a process, on a view that a test wrote: python -m tests.interop.speaker_process FOLDER NODE.

FOLDER has the pickled NodeView (`NODE.view`), which is read again when anything in the store changes, the store and the
run directory. Everything else is the real thing.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import sys
import time
from pathlib import Path

from bgp_speaker.agent import Speaker
from bgp_speaker.node_view import NodeView
from peering.resource import Resource
from peering.store.protocol import Store
from peering.store.sqlite import SqliteStore


class PickledView:
    """Stands for ViewReader; the name of the node is also that of the file."""

    def __init__(self, folder: Path, node: str) -> None:
        self._path = folder / f"{node}.view"

    async def read(self) -> NodeView:
        view = pickle.loads(self._path.read_bytes())
        assert isinstance(view, NodeView)
        return view


async def _no_blocks(store: Store, node: Resource, pools: tuple[Resource, ...]) -> None:
    """The view has them already."""


def _say(line: str) -> None:
    sys.stderr.write(f"{time.time():.3f} {line}\n")
    sys.stderr.flush()


async def main(folder: Path, node: str) -> None:
    store = SqliteStore(folder / "store.db")
    speaker = Speaker(node, store, folder / f"run-{node}", _no_blocks, _say, "root")
    speaker._reader = PickledView(folder, node)  # type: ignore[assignment]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, speaker.stop)
    await speaker.run()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
