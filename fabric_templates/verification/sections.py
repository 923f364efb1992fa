"""Several outputs in one text: each after a line `### NAME`. What comes before the first such line has no name.

So a file that somebody saved, a script's output and what a driver brings are the same thing.
"""

from __future__ import annotations

import re

_HEAD = re.compile(r"^### (\S+)[ \t]*\r?$", re.MULTILINE)


def head(name: str) -> str:
    """The line that begins an output."""
    return f"### {name}"


def sections(text: str) -> dict[str, str]:
    """Name -> output; the empty name where the text has no heads."""
    before, *rest = _HEAD.split(text)
    found = dict(zip(rest[::2], rest[1::2], strict=True))
    return found if found else {"": before}
