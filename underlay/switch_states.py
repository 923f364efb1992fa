"""What a switch says of its sessions, from where a person has it: its shell, a file, or the lab.

Each switch is asked apart from the others, and one that does not answer spoils nothing: it has a problem instead.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from fabric_templates.verification import sources
from fabric_templates.verification.pairs import Heard, of_switch
from fabric_templates.verification.sections import head
from fabric_templates.verification.sources import Source
from peering.problems import Problem
from peering.session import SwitchPlan

_SECONDS = 60
_AT_ONCE = 16


class Unreachable(Exception):
    """A switch does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """How commands get to a switch: words that go before them, and for a shell lines that go ahead of a script."""

    prefix: tuple[str, ...]
    before: str = ""

    def shell(self, script: str) -> str:
        return _run((*self.prefix, "sh", "-s"), self.before + script)

    def line(self, command: str) -> str:
        """One line for the switch's own command line."""
        return _run((*self.prefix, command), "")

    def state(self, source: Source) -> str:
        """The output of all commands, each below its name."""
        if source.via == "shell":
            return self.shell(source.script())
        return _one_by_one(source, self.line)

    def routes(self, source: Source, neighbor: str) -> str:
        return self.shell(source.routes_script(neighbor))


@dataclass(frozen=True, slots=True)
class Login:
    """A switch that somebody is logged in to: `show` gives what it prints for a line. Raises Unreachable."""

    show: Callable[[str], str]

    def state(self, source: Source) -> str:
        return _one_by_one(source, self.show)

    def routes(self, source: Source, neighbor: str) -> str:
        return self.show(source.routes_script(neighbor).strip())


def _one_by_one(source: Source, run: Callable[[str], str]) -> str:
    """The first command has to answer; the others may be unknown there."""
    needed, *others = source.lines.items()
    parts = [f"{head(needed[0])}\n{run(needed[1])}"]
    for name, line in others:
        with suppress(Unreachable):
            parts.append(f"{head(name)}\n{run(line)}")
    return "\n".join(parts)


#: How a switch is asked; None where it is not to be.
Ways = Callable[[str], Way | Login | None]
#: The text for a switch; None where it is not to be asked. Raises Unreachable.
Ask = Callable[[str, Source], str | None]


def via(text: str) -> Callable[[str], Way]:
    """Of `ssh {switch} sudo`: the way to a switch by its name."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--via") from error
    return lambda switch: Way(tuple(word.replace("{switch}", switch) for word in words))


def saved(given: list[str]) -> dict[str, Path]:
    """Of `SWITCH=FILE`s."""
    found = {}
    for one in given:
        switch, equals, path = one.partition("=")
        if not (switch and equals and path):
            raise typer.BadParameter(f"{one!r} is not SWITCH=FILE", param_hint="--state")
        found[switch] = Path(path)
    return found


def read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Unreachable(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unreachable(f"{path}: is not UTF-8") from error


def hear(switches: Mapping[str, SwitchPlan], ask: Ask) -> tuple[dict[str, Heard], list[Problem]]:
    """What each says, by its name, and what is wrong with those that say nothing."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = pool.map(lambda name: _hear_one(name, switches[name], ask), switches)
        answers = dict(zip(switches, told, strict=True))
    heard = {name: answer for name, answer in answers.items() if isinstance(answer, Heard)}
    return heard, [answer for answer in answers.values() if isinstance(answer, Problem)]


def _hear_one(name: str, plan: SwitchPlan, ask: Ask) -> Heard | Problem:
    where, source = f"Switch/{name}", sources.find(plan.platform)
    if source is None:
        known = ", ".join(sources.names())
        message = f"the state of platform {plan.platform!r} is not read; its sessions are judged by their other ends"
        return Problem("warning", "platform-not-verified", where, "spec.platform", message, f"read are {known}")
    try:
        text = ask(name, source)
    except Unreachable as error:
        message = f"does not answer, its sessions are judged by their other ends: {error}"
        return Problem(
            "error", "switch-unreachable", where, "", message, "look at the way to it, and whether the switch is up"
        )
    if text is None:
        message = "was not asked, its sessions are judged by their other ends"
        return Problem(
            "info", "switch-not-asked", where, "", message, "say how with --via or --driver, or give --state"
        )
    try:
        ends, kernel = sources.read(plan.platform, text)
    except ValueError as error:
        hint = f"give the output of: {source.first}"
        return Problem("error", "switch-state-unreadable", where, "", f"its state cannot be read: {error}", hint)
    return of_switch(plan, ends, kernel)


def _run(argv: tuple[str, ...], script: str) -> str:
    try:
        done = subprocess.run(argv, input=script, capture_output=True, check=False, timeout=_SECONDS, encoding="utf-8")
    except OSError as error:
        raise Unreachable(f"{argv[0]}: cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{argv[0]}: did not end within {_SECONDS} seconds") from error
    except UnicodeDecodeError as error:
        raise Unreachable(f"{argv[0]}: printed what is not UTF-8") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Unreachable(f"exit code {done.returncode}: {said}")
    return done.stdout
