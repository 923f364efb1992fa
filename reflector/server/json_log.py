"""What happens, as lines: one for each event, for a person or for a machine. Never raises, and holds no password.

text: `2026-01-31T12:00:00.123Z session-up peer=10.0.0.1`
json: `{"time": "2026-01-31T12:00:00.123Z", "level": "info", "event": "session-up", "peer": "10.0.0.1"}`

A log that cannot be written (a pipe without a reader, a full disk) loses its lines; the sessions go on.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TextIO

from peering.prefixes import format_address
from peering.session import SecretKeyRef

Form = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

#: What somebody has to look at, though nobody said so when it was told.
WARNINGS = frozenset({"foreign-block", "duplicate-announcer", "prefix-limit", "prefix-limit-near"})

_SECRET = re.compile(r"password|secret", re.IGNORECASE)
_HIDDEN = "***"
#: What needs no quotes in a line of text.
_PLAIN = re.compile(r"[!#-<>-~]+")
_DEEPEST = 8


class EventLog:
    """Writes to `stream`; `clock` gives Unix time in seconds."""

    def __init__(self, stream: TextIO, form: Form = "text", clock: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._write = _AS[form]
        self._clock = clock

    def __call__(self, event: str, *, level: Level | None = None, **fields: Any) -> None:
        """One line; without a level a warning if the event is one of `WARNINGS`.

        Fields are what JSON has, and what is turned into it: addresses, tuples, sets, dataclasses.
        """
        grade = level or ("warning" if event in WARNINGS else "info")
        line = self._write(_time(self._clock()), grade, event, {k: _safe(k, v) for k, v in fields.items()})
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(line + "\n")
            self._stream.flush()


def _as_json(when: str, level: Level, event: str, values: Mapping[str, Any]) -> str:
    head = {"time": when, "level": level, "event": event}
    return json.dumps({**head, **values, **head})


def _as_text(when: str, level: Level, event: str, values: Mapping[str, Any]) -> str:
    shown = values if level == "info" else {"level": level, **values}
    return " ".join((when, event, *(f"{name}={_word(value)}" for name, value in shown.items())))


_AS: dict[Form, Callable[[str, Level, str, Mapping[str, Any]], str]] = {"json": _as_json, "text": _as_text}


def _word(value: Any) -> str:
    """A value without blanks, quotes and `=` as it is, any other as JSON: a line stays one line."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(value)


def _time(now: float) -> str:
    """RFC 3339, in UTC, with milliseconds."""
    milliseconds = int(now * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{whole}.{milliseconds % 1000:03}Z"


def _safe(name: str, value: Any) -> Any:
    """As `_value`, and something to read where a field cannot be: the event itself is not lost for it."""
    try:
        return _value(name, value)
    except Exception:  # noqa: BLE001  whatever the text of a foreign object raises
        return f"({type(value).__name__})"


def _value(name: str, value: Any, depth: int = 0) -> Any:
    """What JSON can hold. What is called a password is hidden; where one is and whether there is one is not."""
    if isinstance(value, SecretKeyRef):
        return f"{value.name}/{value.key}"
    if value is None or isinstance(value, bool):
        return value
    if _SECRET.search(name):
        return _HIDDEN
    if isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return format_address(value) if len(value) in (4, 16) else value.hex()
    if depth >= _DEEPEST:
        return "..."
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _value(one.name, getattr(value, one.name), depth + 1) for one in fields(value)}
    if isinstance(value, Mapping):
        return {_text(key): _value(_text(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_value(name, item, depth + 1) for item in value), key=str)
    if isinstance(value, Iterable):
        return [_value(name, item, depth + 1) for item in value]
    return str(value)


def _text(key: Any) -> str:
    return key if isinstance(key, str) else str(_value("", key))
