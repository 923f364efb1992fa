"""A JSON patch (RFC 6902) from one document to another.

`config apply-patch` of SONiC refuses a table without rows, and adding to a table that is not there is no patch at all:
so the last row goes with its table, and the first one comes with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fabric_templates.remediation.documents.reading import Leaves, tree
from fabric_templates.remediation.documents.tables import Path

_ESCAPES = str.maketrans({"~": "~0", "/": "~1"})


def patch(running: Leaves, goal: Leaves) -> tuple[str, ...]:
    """One operation a line, removals first; none where the documents are equal."""
    operations = sorted(_operations(tree(running), tree(goal), ()), key=lambda one: one["op"] != "remove")
    if not operations:
        return ()
    *others, last = (json.dumps(one, ensure_ascii=False) for one in operations)
    return ("[", *(f"  {one}," for one in others), f"  {last}", "]")


def _operations(one: dict[str, Any], other: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    for key in sorted(one.keys() | other.keys()):
        place = {"path": "".join(f"/{part.translate(_ESCAPES)}" for part in (*path, key))}
        if key not in other:
            yield {"op": "remove"} | place
        elif key not in one:
            yield {"op": "add"} | place | {"value": other[key]}
        elif isinstance(one[key], dict) and isinstance(other[key], dict):
            yield from _operations(one[key], other[key], (*path, key))
        elif one[key] != other[key]:
            yield {"op": "replace"} | place | {"value": other[key]}
