"""What a benchmark found: a figure is several measurements of one thing, told as median and range. Pure."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_KEY = re.compile(r"[a-z][a-zA-Z0-9]*")


@dataclass(frozen=True, slots=True)
class Figure:
    """`key` is lowerCamelCase and ends with the unit. `at_most` and `at_least` are targets; most figures have none.

    Raises ValueError for a figure without measurements, or with a key that scripts could not use.
    """

    key: str
    label: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.key}: nothing was measured")
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"{self.key!r} is not lowerCamelCase")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        """The target in words, and that it was missed if it was; empty without one."""
        words = [f"{sign} {_number(t)}" for sign, t in (("≤", self.at_most), ("≥", self.at_least)) if t is not None]
        return ", ".join(words) + ("" if self.holds else " MISSED")

    @property
    def holds(self) -> bool:
        """Whether the median keeps the target; true without one."""
        too_much = self.at_most is not None and self.median > self.at_most
        too_little = self.at_least is not None and self.median < self.at_least
        return not too_much and not too_little

    def to_json(self) -> dict[str, float]:
        """Median, least and greatest, each under a key of its own."""
        found = {"": self.median, "Min": min(self.values), "Max": max(self.values)}
        return {self.key + suffix: round(value, 4) for suffix, value in found.items()}

    def row(self) -> tuple[str, ...]:
        span = f"{_number(min(self.values))}–{_number(max(self.values))}"
        return (self.label, f"{_number(self.median)} {self.unit}", span, str(len(self.values)), self.target)


def to_json(figures: Iterable[Figure]) -> dict[str, float]:
    """All figures in one object. Raises ValueError when two have the same key."""
    merged: dict[str, float] = {}
    for figure in figures:
        for key, value in figure.to_json().items():
            if key in merged:
                raise ValueError(f"two figures are called {key}")
            merged[key] = value
    return merged


def table(figures: Iterable[Figure]) -> str:
    """One line per figure, columns aligned."""
    rows = [("", "median", "min–max", "runs", "target"), *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(w) if n in (0, 4) else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
