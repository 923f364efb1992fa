"""What is wrong with what was declared, as data: one `Problem` per mistake, collected, never first-error-only.

A problem names the object and the path inside it, says what is wrong, and gives a hint that tells the
reader what to do. `lint`, `apply`, status conditions and every command print the same line:

    KIND/NAME spec.path: what is wrong (hint)

`error` refuses the change, `warning` lets it pass and is printed, `info` is printed by `lint` and with `--verbose`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `code` is kebab-case and stable; `object` is `Kind/name` or a file; `path` may be empty."""

    severity: Severity
    code: str
    object: str
    path: str
    message: str
    hint: str = ""

    def line(self) -> str:
        """The one line a person reads."""
        where = f"{self.object} {self.path}".rstrip()
        hint = f" ({self.hint})" if self.hint else ""
        return _printable(f"{where}: {self.message}{hint}")

    def to_json(self) -> dict[str, str]:
        """The shape of `problems[]` in `underlay plan -o json`."""
        return {
            "severity": self.severity,
            "code": self.code,
            "object": self.object,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


def _printable(text: str) -> str:
    """A field's name or a file's may hold line ends, terminal sequences, lone surrogates: shown, never acted out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then by object and path: the same order whatever order they were found in."""
    return tuple(sorted(set(problems), key=lambda p: (_ORDER[p.severity], p.object, p.path, p.code, p.message)))


def errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Only those that refuse the change."""
    return tuple(p for p in problems if p.severity == "error")
