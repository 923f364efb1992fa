"""A route that a switch took from a neighbour, in no daemon's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """As the switch's table has it; communities as `65535:0`, large ones as `65101:1:1`."""

    local_preference: int | None
    communities: frozenset[str]
    large: frozenset[str] = frozenset()
