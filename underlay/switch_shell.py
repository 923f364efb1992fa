"""The shell of a switch: scripts run by `PREFIX sh -s`, where the prefix (`ssh tor-1a sudo`) says how to get there."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass

import typer

from underlay.output import Refused

_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Said:
    """What a script ended with; `text` is all that it printed, `output` without what went to stderr."""

    code: int
    output: str
    text: str


class SwitchShell:
    """Each script is a process of its own, with the script as its standard input, so nothing has to be quoted twice."""

    def __init__(self, via: str) -> None:
        try:
            self._argv = (*shlex.split(via), "sh", "-s")
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--via") from error

    def run(self, script: str) -> Said:
        """Refuses where the shell cannot be reached at all, or does not answer in time."""
        try:
            done = subprocess.run(
                self._argv, input=script, capture_output=True, check=False, timeout=_SECONDS, encoding="utf-8"
            )
        except OSError as error:
            raise Refused(message=f"error: {self._argv[0]}: cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise Refused(message=f"error: {self._argv[0]}: did not end within {_SECONDS} seconds") from error
        return Said(done.returncode, done.stdout, (done.stdout + done.stderr).strip())

    def good(self, script: str, what: str) -> str:
        """What it prints; refuses with `what` where it fails."""
        said = self.run(script)
        if said.code:
            raise Refused(message=f"error: {what}: exit code {said.code}: {said.text or 'no message'}")
        return said.output
