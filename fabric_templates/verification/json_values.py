"""Values out of JSON that somebody else wrote: of the type that is asked for, or None. Never an exception."""

from __future__ import annotations

import json
from typing import Any


def tree(text: str) -> Any:
    """Raises ValueError with a line that a person can read."""
    try:
        return json.loads(text)
    except ValueError as error:
        said = next((line for line in text.splitlines() if line.strip()), "nothing")
        raise ValueError(f"expected JSON, found {said.strip()[:80]!r}") from error


def at(value: Any, *path: str | int) -> Any:
    """What is at the path; None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def rows(value: Any) -> dict[str, dict[str, Any]]:
    """The members of an object that are objects."""
    return {str(k): v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def number(value: Any) -> int | None:
    """A number, also one that is written as text: Junos and gRPC write 64 bits so."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def total(counts: list[int | None]) -> int | None:
    """None where nothing is counted."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
