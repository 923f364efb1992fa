"""Reference cycles are looked for in quiet moments, and then for certain."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from reflector.server import garbage
from reflector.server.garbage import ALL, LOOK, OLDER, TOO_MANY, WORTH_IT, GarbageCollection
from tests.unit.reflector.server_world import run


class Gc:
    """Python's, as far as it is used."""

    def __init__(self) -> None:
        self.young = 0
        self.collected: list[int] = []

    def get_count(self) -> tuple[int, int, int]:
        return self.young, 0, 0

    def collect(self, generation: int) -> None:
        self.collected.append(generation)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Gc:
    made = Gc()
    monkeypatch.setattr(garbage, "gc", made)
    return made


@pytest.fixture
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize(
    ("young", "quiet", "collected"),
    [
        (WORTH_IT - 1, True, []),
        (WORTH_IT, True, [0]),
        (TOO_MANY - 1, False, []),
        (TOO_MANY, False, [0]),
    ],
)
def test_it_waits_for_quiet_unless_there_is_too_much(fake: Gc, young: int, quiet: bool, collected: list[int]) -> None:
    fake.young = young
    GarbageCollection(lambda: quiet).look()
    assert fake.collected == collected


def test_now_and_then_it_looks_at_what_has_survived(fake: Gc) -> None:
    fake.young = WORTH_IT
    one = GarbageCollection(lambda: True)
    for _ in range(ALL):
        one.look()
    assert fake.collected.count(2) == 1
    assert fake.collected.count(1) == ALL // OLDER - 1


class Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.mark.usefixtures("as_before")
def test_while_it_is_in_force_cycles_go_at_a_look_and_at_no_other_time() -> None:
    async def scenario() -> None:
        busy = True
        one = GarbageCollection(lambda: not busy)
        loop = asyncio.get_running_loop()
        one.start(loop)
        ended = asyncio.Event()
        gone = weakref.ref(Cycle(), lambda _: ended.set())
        kept = [[number] for number in range(2 * WORTH_IT)]
        assert gone() is not None
        one.look()
        assert gone() is not None
        busy = False
        loop.ahead += LOOK  # type: ignore[attr-defined]
        await asyncio.wait_for(ended.wait(), 10)
        one.stop()
        assert gc.isenabled()
        del kept

    run(scenario())
