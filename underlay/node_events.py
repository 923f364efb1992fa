"""Errors of Nodes as events: Nodes of a cluster have no condition of ours, and a speaker sees its own alone.

Two Nodes with one address, say, which no speaker knows of. Each error is told when it comes up, and again while it
lasts, since a cluster forgets events after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from peering.problems import Problem, errors
from peering.store.protocol import Event, Store

_AGAIN_S = 1800.0
_NODE = "Node"


class NodeEvents:
    """Of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[Problem, float] = {}

    def tell(self, problems: Mapping[str, Sequence[Problem]], elapsed: float) -> None:
        """`problems` are by object (`Kind/name`), `elapsed` are seconds of a clock that never jumps."""
        known = self._told
        found = [p for ref, of_it in problems.items() if ref.startswith(f"{_NODE}/") for p in errors(of_it)]
        self._told = {problem: known.get(problem, -_AGAIN_S) for problem in found}
        for problem, at in self._told.items():
            if elapsed - at >= _AGAIN_S:
                self._told[problem] = elapsed
                self._store.tell(_NODE, problem.object.partition("/")[2], _event(problem))


def _event(problem: Problem) -> Event:
    """`duplicate-address` is the reason `DuplicateAddress`."""
    reason = "".join(word.capitalize() for word in problem.code.split("-"))
    hint = f" ({problem.hint})" if problem.hint else ""
    return Event(reason, f"{problem.path}: {problem.message}{hint}".removeprefix(": "), is_warning=True)
