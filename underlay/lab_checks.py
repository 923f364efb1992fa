"""Runs expectations against a lab: looks until a check is true or its time is over, and plays scenarios through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from containerlab import expectation_verdicts as verdicts
from containerlab.expectation_verdicts import Verdict
from containerlab.expectations import (
    Check,
    Command,
    Expectation,
    Expectations,
    NoPing,
    NoRoute,
    Phase,
    Ping,
    Route,
    Scenario,
    Sessions,
    Traffic,
)
from underlay.junit import Outcome, Status
from underlay.lab_failures import Broken
from underlay.lab_reach import CannotTell, each, run
from underlay.lab_traffic import MARGIN_S, Flows
from underlay.lab_view import LabView

_POLL_S = 0.25

Look = Callable[[LabView, Any], Awaitable[Verdict]]


async def sessions(view: LabView, what: Sessions) -> Verdict:
    return verdicts.sessions(what, await view.sessions(what.node))


async def route(view: LabView, what: Route) -> Verdict:
    found = []
    for place in what.node:
        for version in what.versions():
            seen = view.route_to(place, version, what.to) if what.to else view.route(place, version, what.prefix or "")
            found.append(verdicts.route(what, place, version, await seen))
    return verdicts.together(found)


async def no_route(view: LabView, what: NoRoute) -> Verdict:
    places = [(place, version) for place in what.node for version in what.versions()]
    return verdicts.together([verdicts.no_route(what, p, v, await view.route(p, v, what.prefix)) for p, v in places])


async def ping(view: LabView, what: Ping | NoPing) -> Verdict:
    async def one(source: str, target: str, version: int) -> Verdict:
        address = await view.address(target, version)
        seen = await view.ping(source, address, what.count, what.size if isinstance(what, Ping) else None)
        return verdicts.ping(what, source, target if target == address else f"{target} ({address})", seen)

    return verdicts.together(await each(one(*pair) for pair in what.pairs()))


async def command(view: LabView, what: Command) -> Verdict:
    found = []
    for place in what.node:
        done = await run(view.reach, place, what.run)
        found.append(verdicts.command(what, place, done.code, done.stdout + done.stderr))
    return verdicts.together(found)


async def traffic(view: LabView, what: Traffic) -> Verdict:
    measured = Measured(view, [what])
    await measured.begin()
    try:
        await asyncio.sleep(what.for_)
        return await measured.verdict(what)
    finally:
        await measured.end()


LOOKS: Mapping[type[Expectation], Look] = {
    Sessions: sessions,
    Route: route,
    NoRoute: no_route,
    Ping: ping,
    NoPing: ping,
    Command: command,
    Traffic: traffic,
}
_ONCE = (Traffic,)
"""Measured, not looked at: a second try would not make the first one better."""


class Measured:
    """Traffic of several kinds, each with its flows."""

    def __init__(self, view: LabView, wanted: Sequence[Traffic]) -> None:
        pairs = [(what, pair) for what in wanted for pair in what.pairs()]
        self._flows = [(what, Flows(view, what, *pair, number)) for number, (what, pair) in enumerate(pairs)]

    async def begin(self) -> None:
        """Until all of it goes, and a moment longer. Raises CannotTell; then none goes."""
        try:
            for _, flows in self._flows:
                await flows.start()
            if self._flows:
                await asyncio.sleep(MARGIN_S)
        except BaseException:
            await self.end()
            raise

    async def end(self) -> None:
        for _, flows in self._flows:
            await flows.abort()

    async def verdict(self, what: Traffic) -> Verdict:
        """Ends the flows of `what` and judges them. Raises CannotTell."""
        own = [flows for wanted, flows in self._flows if wanted is what]
        results = await each(flows.stop() for flows in own)
        said = [
            verdicts.traffic(what, flows.source, f"{flows.target} (IPv{flows.version})", result)
            for flows, result in zip(own, results, strict=True)
        ]
        return verdicts.together(said)


Tell = Callable[[Outcome], None]
Act = Callable[[], Awaitable[None]]


async def play(view: LabView, expected: Expectations, tell: Tell) -> None:
    """Every test, in order; `tell` has its outcome as soon as it is known."""
    for step in expected.steps:
        if isinstance(step, Check):
            tell(await _until(view, step))
        else:
            await _scenario(view, step, tell)


def skip(expected: Expectations, why: str, tell: Tell) -> None:
    """All tests as not reached."""
    for step in expected.steps:
        if isinstance(step, Check):
            tell(Outcome(step.name, "skipped", message=why))
        else:
            for name, phase in _phases(step):
                tell(Outcome(name, "skipped", 0.0, why, (), step.name))
                _skip_phase(phase, step.name, why, tell)


async def _until(view: LabView, check: Check, group: str = "") -> Outcome:
    began = time.monotonic()
    deadline, once = began + check.within, isinstance(check.what, _ONCE)
    while True:
        try:
            verdict = await LOOKS[type(check.what)](view, check.what)
            status: Status = "passed" if verdict.ok else "failed"
        except CannotTell as error:
            verdict, status = Verdict(False, str(error), error.seen), "error"
        if verdict.ok or once or time.monotonic() + _POLL_S > deadline:
            break
        await asyncio.sleep(_POLL_S)
    took = time.monotonic() - began
    late = f" (still so after {took:.0f} s)" if status == "failed" and not once else ""
    return Outcome(check.name, status, took, verdict.message + late, verdict.seen, group)


async def _scenario(view: LabView, scenario: Scenario, tell: Tell) -> None:
    broken = Broken(view, scenario.failure)
    (failing, first), (mending, second) = _phases(scenario)
    try:
        if await _phase(view, first, failing, broken.make, scenario.name, tell):
            await _phase(view, second, mending, broken.mend, scenario.name, tell)
        else:
            why = "nothing was broken"
            tell(Outcome(mending, "skipped", 0.0, why, (), scenario.name))
            _skip_phase(second, scenario.name, why, tell)
    finally:
        # We are interrupted, or only a part of it could be broken; else it is mended already.
        with suppress(CannotTell):
            await broken.mend()


def _phases(scenario: Scenario) -> tuple[tuple[str, Phase], tuple[str, Phase]]:
    title = scenario.failure.title()
    return (f"fail: {title}", scenario.broken), (f"recover: {title}", scenario.mended)


async def _phase(view: LabView, phase: Phase, name: str, act: Act, group: str, tell: Tell) -> bool:
    """Does `act` while traffic goes, and looks at what it has led to. False if it could not be done."""
    measured, trouble = await _measuring(view, phase)
    try:
        done = await _done(name, act, group)
        tell(done)
        if done.status != "passed":
            _skip_phase(phase, group, "what it is about did not happen", tell)
            return False
        for check in phase.then:
            tell(await _until(view, check, group))
        if measured is not None and phase.traffic:
            await asyncio.sleep(MARGIN_S)
        for check in phase.traffic:
            tell(await _judged(check, measured, trouble, group))
        return True
    finally:
        if measured is not None:
            await measured.end()


async def _measuring(view: LabView, phase: Phase) -> tuple[Measured | None, CannotTell | None]:
    measured = Measured(view, [check.what for check in phase.traffic if isinstance(check.what, Traffic)])
    try:
        await measured.begin()
    except CannotTell as error:
        return None, error
    return measured, None


async def _done(name: str, act: Act, group: str) -> Outcome:
    began = time.monotonic()
    try:
        await act()
    except CannotTell as error:
        return Outcome(name, "error", time.monotonic() - began, str(error), error.seen, group)
    return Outcome(name, "passed", time.monotonic() - began, group=group)


async def _judged(check: Check, measured: Measured | None, trouble: CannotTell | None, group: str) -> Outcome:
    try:
        if measured is None or not isinstance(check.what, Traffic):
            raise trouble or CannotTell("nothing was measured")
        verdict = await measured.verdict(check.what)
    except CannotTell as error:
        return Outcome(check.name, "error", 0.0, str(error), error.seen, group)
    return Outcome(check.name, "passed" if verdict.ok else "failed", 0.0, verdict.message, verdict.seen, group)


def _skip_phase(phase: Phase, group: str, why: str, tell: Tell) -> None:
    for check in (*phase.then, *phase.traffic):
        tell(Outcome(check.name, "skipped", 0.0, why, (), group))
