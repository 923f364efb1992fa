"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902: add, replace, remove, test)."""

from __future__ import annotations

import copy
from typing import Any

from tests.kube_api.errors import Refused


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with the patch merged in; null removes."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """The target after all operations. Raises Refused (422) when one cannot be done, a failed test among them."""
    patched = copy.deepcopy(target)
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        try:
            _operate(patched, steps, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Refused(422, f"the server rejected our request due to an error in our request: {error}") from None
    return patched


def _operate(node: Any, steps: list[str], operation: dict[str, Any]) -> None:
    for step in steps[:-1]:
        node = node[int(step)] if isinstance(node, list) else node[step]
    last: Any = steps[-1]
    if isinstance(node, list):
        last = len(node) if last == "-" else int(last)
    match operation["op"]:
        case "add" if isinstance(node, list):
            node.insert(last, operation["value"])
        case "add":
            node[last] = operation["value"]
        case "replace":
            if last not in node if isinstance(node, dict) else last >= len(node):
                raise KeyError(operation["path"])
            node[last] = operation["value"]
        case "remove":
            del node[last]
        case "test":
            if node[last] != operation["value"]:
                raise ValueError(f"testing {operation['path']} failed")
        case other:
            raise ValueError(f"no operation {other}")
