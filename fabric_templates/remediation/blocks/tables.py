"""How a daemon's file is read, and what of it is ours: `blocks/PLATFORM.yml`.

Patterns are looked for from the beginning of a statement, whose words have one space between them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fabric_templates.remediation import table_files
from fabric_templates.remediation.tables import KeyPattern, Patterns


class FileReading(BaseModel):
    """One daemon.

    - `file`: the file that is ours. `string`: what a text in quotes looks like. `ends`: what ends a statement outside
      of brackets.
    - `named`: how a statement begins that is ours by its name. `slots`: likewise one that is there once, and ours.
      `owned`: other statements of ours.
    - `sessions`: statements that have neighbours, and `neighbor` each of them, with a group `key`. `rules`: statements
      about one neighbour.
    - `includes`: a statement that reads our file.
    - `asn`: where the AS stands in what is ours, with a group `key`. `networks`: what is announced.
    - `secrets`: a password with what stands before it, with groups `before` and `secret`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    show: str
    file: str
    string: str
    ends: Literal["line", "semicolon"]
    named: Patterns
    slots: Patterns
    owned: Patterns
    sessions: re.Pattern[str]
    neighbor: KeyPattern
    rules: KeyPattern | None = None
    includes: re.Pattern[str]
    asn: KeyPattern
    networks: KeyPattern | None = None
    secrets: re.Pattern[str]


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    return table_files.names(__package__)


@cache
def load(platform: str) -> FileReading:
    """The table of a platform of `names()`."""
    return table_files.load(__package__, platform, FileReading)
