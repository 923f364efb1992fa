"""The stand-in for an API server in a process of its own, for bench/kubernetes.py and bench/kubernetes_memory.py.

It says where it is, then obeys: `put` objects, `look` at what it was asked and at itself, count the `statuses` that
somebody has written, `sent` when it had last told somebody of a change.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.children import allow_many_files, answer, memory_mib, questions
from tests.kube_api import watching
from tests.kube_api.apply import Owners
from tests.kube_api.objects import key_of
from tests.kube_api.server import ApiServer


class Server:
    """The stand-in, and what the benchmark wants of it."""

    def __init__(self) -> None:
        self._server = ApiServer()
        self._sent = 0.0
        self._send = watching._send
        watching._send = self._sending

    async def run(self, kubeconfig: Path) -> None:
        async with self._server:
            self._server.kubeconfig(kubeconfig)
            async for question in questions():
                answer(await self._obey(**question))

    async def _obey(self, do: str, documents: list[dict[str, Any]] | None = None) -> Any:
        if do == "put":
            return await self._put(documents or [])
        if do == "statuses":
            return sum("conditions" in one.get("status", {}) for one in self._server.objects.documents.values())
        return self._look() if do == "look" else self._sent

    async def _put(self, documents: list[dict[str, Any]]) -> float:
        """As somebody with kubectl would, but not looked at: there are hundreds of thousands. When it began."""
        began = time.monotonic()
        kinds = {(one.api_version, one.kind): one for one in self._server.registry.found.values()}
        for document in documents:
            found = kinds[document["apiVersion"], document["kind"]]
            metadata = document["metadata"]
            key = key_of(found, metadata.get("namespace", ""), metadata["name"])
            await self._server.objects.keep(key, document, Owners())
        return began

    def _look(self) -> dict[str, Any]:
        self._server.queries.clear()
        times = os.times()
        return {
            "requests": sum(self._server.requests.values()),
            "watches": len(self._server._watches),
            "at": time.monotonic(),
            "cpuS": times.user + times.system,
            "rssMib": memory_mib("self"),
        }

    async def _sending(self, response: Any, what: str, document: Any) -> None:
        await self._send(response, what, document)
        if what != "BOOKMARK":
            self._sent = time.monotonic()


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(Server().run(Path(sys.argv[1])))
