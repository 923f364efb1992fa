"""The stand-in for the API server, in a thread of this process, reached from network namespaces without any link.

A socket stays in the namespace that it was made in. So one is made in each, at the same port of 127.0.0.1, and all are
handed to one server: to a process in a namespace it is on its own machine, and one kubeconfig is right everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from containerlab.namespaces import NETNS_DIR
from tests.kube_api.server import ApiServer

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_PATIENCE_S = 30.0


def listening_in(namespace: str, port: int) -> socket.socket:
    """A socket that listens at 127.0.0.1 of a namespace. The thread that enters it does nothing else ever after."""

    def make() -> socket.socket:
        with (NETNS_DIR / namespace).open("rb") as entered:
            if _LIBC.setns(entered.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {namespace}")
        return socket.create_server(("127.0.0.1", port), backlog=128)

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(make).result()


class StandIn:
    """Use as `with`. `server` belongs to its own thread: what a test does to it goes through `run`."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._namespaces = tuple(namespaces)
        self.server = ApiServer()
        self.server.elsewhere = lambda port: [listening_in(one, port) for one in self._namespaces]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.server.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Every connection is cut, and until the end of the block nobody listens: dialing is refused."""
        self.run(self.server.stop())
        try:
            yield
        finally:
            self.run(self.server.start())

    # As somebody with kubectl

    def put(self, document: dict[str, Any], group: str = "underlay.io") -> None:
        """Makes or replaces an object. Its kept status stays."""
        self.run(self.server.put(document, group))

    def remove(self, plural: str, name: str, group: str = "underlay.io", namespace: str = "") -> None:
        self.run(self.server.remove(plural, name, group, namespace))

    def get(self, plural: str, name: str, group: str = "underlay.io", namespace: str = "") -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            return self.server.kept(plural, name, group, namespace)

        return self.run(ask())

    def names(self, plural: str) -> set[str]:
        """Of our own kinds."""

        async def ask() -> set[str]:
            return {one["metadata"]["name"] for one in self.server.objects.of(self.server.resource(plural))}

        return self.run(ask())

    def watches(self, plural: str) -> list[dict[str, str]]:
        """What the watches of a resource have asked for, up to now: the words of their queries."""

        async def ask() -> list[dict[str, str]]:
            return [query for verb, name, _, query in self.server.queries if (verb, name) == ("watch", plural)]

        return self.run(ask())


@contextmanager
def kubeconfig(stand_in: StandIn, folder: Path) -> Iterator[None]:
    """All that is started meanwhile finds the stand-in by KUBECONFIG."""
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(stand_in.server.kubeconfig(folder / "kubeconfig"))
    try:
        yield
    finally:
        with contextlib.suppress(KeyError):
            del os.environ["KUBECONFIG"]
        if before is not None:
            os.environ["KUBECONFIG"] = before
