"""Desired against actual, as whole sets: what to add, change and remove, taken last and in one place.

Rooms hand each other whole desired sets; whoever does I/O computes the difference to what is there with
this, right before it acts. Pure memory, no I/O, keys in a deterministic order. The idea is Calico's
`felix/deltatracker`, without the incremental part: the sets of one node are small enough to compare whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Delta(Generic[K, V]):
    """`added` and `changed` hold the desired value, `removed` the actual one."""

    added: dict[K, V]
    changed: dict[K, V]
    removed: dict[K, V]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def delta(desired: Mapping[K, V], actual: Mapping[K, V]) -> Delta[K, V]:
    """The steps from `actual` to `desired`; equal values are no step."""
    return Delta(
        added={k: v for k, v in desired.items() if k not in actual},
        changed={k: v for k, v in desired.items() if k in actual and actual[k] != v},
        removed={k: v for k, v in actual.items() if k not in desired},
    )
