"""Releases of network operating systems, put in order.

Vendors write them as `5.16`, `24.10.1`, `10.4(3)`, `24.4R1-S2`, `4.32.0F`: numbers, most important first, whatever
stands between them.
"""

from __future__ import annotations

import re

Release = tuple[int, ...]


def release(text: str) -> Release:
    """`"10.4(3)"` -> `(10, 4, 3)`; an empty tuple where there is no number, or something that no release has in it."""
    if not re.fullmatch(r"[0-9][0-9A-Za-z.()+-]*", text, re.ASCII):
        return ()
    return tuple(int(digits) for digits in re.findall(r"[0-9]+", text))
