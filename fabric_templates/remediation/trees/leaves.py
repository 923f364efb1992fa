"""A tree as the set of its leaves: the keys that lead to each, and its value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fabric_templates.remediation.trees.tables import Path

Leaves = dict[Path, str]


def leaves(tree: Any) -> Leaves:
    """{path: value}. A list of values is a leaf for each of them, and so is a map with nothing in it, both with an
    empty value. Maps in a list count as one, which is how NVUE writes its parts."""
    return dict(_leaves(tree, ()))


def _leaves(tree: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
        if not tree:
            yield path, ""
    elif isinstance(tree, list):
        for value in tree:
            if isinstance(value, dict):
                yield from _leaves(value, path)
            else:
                yield (*path, str(value)), ""
    else:
        yield path, str(tree)
