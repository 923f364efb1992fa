"""Values of parsed JSON with the type that they must have; TypeError otherwise. A boolean is no number here."""

from __future__ import annotations

from typing import Any


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {value!r}")
    return value


def int_of(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"number expected, not {value!r}")
    return value


def list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"list expected, not {value!r}")
    return value
