"""What came while the last ones were served is served together, and never with what was read before it came.

A hundred pods start at once. To read what the admin declared and to write a block for each of them takes a hundred
times as long as for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Crowd(Generic[T, R]):
    """`serve` gets all who wait and answers each, in their order; an exception is for the one it stands for."""

    def __init__(self, serve: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._serve = serve
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def join(self, one: T) -> R:
        """The answer for this one. Raises the exception that stands for it, or that `serve` has raised for all."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve_all())
        answer: R = await future
        return answer

    async def _serve_all(self) -> None:
        while self._waiting:
            served, self._waiting = self._waiting, []
            answers: Sequence[R | Exception]
            try:
                answers = await self._serve([one for one, _ in served])
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                answers = [error] * len(served)
            for (_, future), answer in zip(served, answers, strict=True):
                _tell(future, answer)


def _tell(future: asyncio.Future[R], answer: R | Exception) -> None:
    if future.done():
        return  # who asked has given up
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
