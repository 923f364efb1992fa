"""The running configuration of a switch, from where a person has it: a file, or a command that prints it.

Each way is a function that gives the text or refuses. One that asks the switch itself would be another.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import typer

from underlay.output import Refused

_SECONDS = 60


def running_config(file: Path | None, command: str | None) -> str:
    """The text, from exactly one of the two."""
    if (file is None) == (command is None):
        raise typer.BadParameter("give one of --running and --running-command", param_hint="--running")
    return _from_command(command) if command is not None else _from_file(file or Path("-"))


def _from_file(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except OSError as error:
        raise Refused(message=f"error: {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused(message=f"error: {path}: is not UTF-8") from error


def _from_command(command: str) -> str:
    """What the command prints; no shell is in between."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--running-command") from error
    if not words:
        raise typer.BadParameter("is empty", param_hint="--running-command")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS, encoding="utf-8")
    except OSError as error:
        raise Refused(message=f"error: {words[0]}: cannot be run: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refused(message=f"error: {words[0]}: printed what is not UTF-8") from error
    except subprocess.TimeoutExpired as error:
        raise Refused(message=f"error: {words[0]}: did not end within {_SECONDS} seconds") from error
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        raise Refused(message=f"error: {words[0]}: ended with exit code {done.returncode}: {said}")
    return done.stdout
