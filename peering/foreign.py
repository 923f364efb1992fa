"""Documents of other systems whose shape is not ours: what a reader makes of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from peering.problems import Problem

Document = dict[str, Any]


@dataclass(slots=True)
class Reading:
    """`spec` is in the shape of our kind and not yet judged.

    `places` says where in the document a part of it was, so that problems are shown there; `problems` are what the
    reader itself found, not yet with the name of the object.
    """

    spec: Any
    places: dict[tuple[str | int, ...], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place_of(self, loc: tuple[str | int, ...]) -> str | None:
        """The path in the document of a part of the spec, by its nearest known place; None where none is known."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.places:
                return self.places[loc[:length]]
        return None
