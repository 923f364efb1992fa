"""Runs `underlay` inside the test process, with the exit code and both streams that a shell would see."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from unittest import mock

from underlay import cli


@dataclass(frozen=True)
class Result:
    """What a shell would see."""

    exit_code: int
    stdout: str
    stderr: str


def run_underlay(*arguments: str) -> Result:
    """`underlay ARGUMENTS...`."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("sys.argv", ["underlay", *arguments]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())
