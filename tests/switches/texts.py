"""A platform's text of every case, and what a pattern finds in one: for platforms that no parser here reads whole."""

from __future__ import annotations

import re
from functools import cache

from fabric_templates.render import render
from tests.switches.matrix import PASSWORDS, cases


@cache
def texts(platform: str) -> tuple[str, ...]:
    """Of a platform with one file."""
    files = (render("tor-1a", plan, passwords=PASSWORDS) for plan in cases(platform).values())
    return tuple(text for (text,) in (one.values() for one in files))


def said(pattern: str, text: str) -> set[str]:
    """What the pattern's group is, wherever it matches; a line begins and ends at `^` and `$`."""
    return set(re.findall(pattern, text, re.MULTILINE))
