"""One thread beside an event loop, for what may have to wait; a process that ends does not wait for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions one after the other. Without a daemon, a process could not end while another keeps a lock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns or raises. If this is cancelled before its turn, it is never run."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_all, name=self._name, daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._work.put((future, function))
        return await asyncio.wrap_future(future)

    def end(self) -> None:
        """The thread ends after what it was given until now."""
        self._work.put(None)
        self._thread = None

    def _run_all(self) -> None:
        while (item := self._work.get()) is not None:
            future, function = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                    future.set_exception(error)
            del item, future, function
