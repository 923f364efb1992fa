"""A stand-in and stores on it, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from peering.store.interest import Interest
from peering.store.kubernetes import connect
from peering.store.kubernetes.location import Location
from peering.store.kubernetes.store import KubernetesStore
from tests.kube_api.resources import calico_definitions, our_definitions
from tests.kube_api.server import ApiServer

T = TypeVar("T")
NAMESPACE = "underlay-system"


class Cluster:
    """Use as `async with`: the stores are closed before the server is."""

    def __init__(self, folder: Path, token: str = "", *, calico: bool = False) -> None:
        self.server = ApiServer([*our_definitions(), *(calico_definitions() if calico else [])], token)
        self._kubeconfig = folder / "kubeconfig"
        self._calico = calico
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        await self._stack.enter_async_context(self.server)
        self.server.kubeconfig(self._kubeconfig)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def store(self, interests: Iterable[Interest] | None = None, last_seen: Path | None = None) -> KubernetesStore:
        """One more process, so to say."""
        location = Location(namespace=NAMESPACE, calico_crds=self._calico)
        store = KubernetesStore(location, interests, lambda where: connect.connect(where, self._kubeconfig), last_seen)
        self._stack.push_async_callback(store.close)
        return store


def run(story: Callable[[], Awaitable[Any]], at_most: float = 60.0) -> None:
    """One story in a loop of its own."""

    async def told() -> None:
        async with asyncio.timeout(at_most):
            await story()

    asyncio.run(told())


async def until(condition: Callable[[], bool], at_most: float = 15.0) -> None:
    """Waits for something that another task brings about."""
    async with asyncio.timeout(at_most):
        while not condition():  # noqa: ASYNC110 - the conditions are those of a server, without an event to wait for
            await asyncio.sleep(0.005)
