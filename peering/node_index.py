"""Nodes by label: which of thousands a selector selects, without asking each of them."""

from __future__ import annotations

from collections.abc import Mapping

from peering.resource import Resource
from peering.selectors import parse_selector


class NodeIndex:
    """The nodes of one snapshot. Label values are indexed the first time a selector is anchored at their label."""

    def __init__(self, nodes: Mapping[str, Resource]) -> None:
        self._nodes = nodes
        self._by_label: dict[str, dict[str, list[str]]] = {}

    def select(self, selector: str | None) -> list[str]:
        """The names that the selector selects, in order; None selects all, as Calico's absent selector does."""
        parsed = parse_selector(selector or "")
        candidates = self._nodes if parsed.anchor is None else self._with_label(*parsed.anchor)
        return [name for name in candidates if parsed.matches(self._nodes[name].labels)]

    def _with_label(self, label: str, wanted: frozenset[str]) -> list[str]:
        values = self._by_label.get(label)
        if values is None:
            values = self._by_label[label] = {}
            for name, node in self._nodes.items():
                if label in node.labels:
                    values.setdefault(node.labels[label], []).append(name)
        return sorted(name for value in wanted for name in values.get(value, ()))
