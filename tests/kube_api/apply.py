"""Server-side apply: each field has owners, and who applies another value to another's field is refused unless forced.

Owners are kept as sets of paths to leaves. A leaf is whatever is no map, or a list without keys; a list with keys
(`x-kubernetes-list-type: map`) is a map of its items. A map that was written empty is owned as its own member ".".
Only those that applied lose what they leave out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.kube_api.errors import Refused

Document = dict[str, Any]
Path = tuple[Any, ...]
_UNOWNED = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"), ("metadata", "uid")}
_SERVERS = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")


@dataclass
class Owners:
    """Who owns which fields of one object: by (manager, operation)."""

    fields: dict[tuple[str, str], set[Path]] = field(default_factory=dict)

    def copy(self) -> Owners:
        return Owners({who: set(paths) for who, paths in self.fields.items()})

    def as_managed_fields(self, now: str) -> list[Document]:
        """As `metadata.managedFields` shows them, fields in FieldsV1."""
        return [
            {"manager": name, "operation": how, "time": now, "fieldsType": "FieldsV1", "fieldsV1": _tree(paths)}
            for (name, how), paths in sorted(self.fields.items())
            if paths
        ]

    def wrote(self, manager: str, old: Document, new: Document, schema: Document | None) -> None:
        """After a write that is no apply: the writer owns what changed, nobody what is gone."""
        before, after = leaves(old, schema), leaves(new, schema)
        changed = {path for path, value in after.items() if path not in before or before[path] != value}
        for who in self.fields:
            self.fields[who] = {path for path in self.fields[who] if path in after} - changed
        if changed:
            self.fields.setdefault((manager, "Update"), set()).update(changed)


def applied(
    old: Document, wanted: Document, manager: str, owners: Owners, schema: Document | None, *, force: bool
) -> Document:
    """The object after an apply; `owners` are changed. Raises Refused (409) with the fields that others own."""
    wants, has = leaves(wanted, schema), leaves(old, schema)
    me = (manager, "Apply")
    theirs = {
        path: who
        for who, paths in owners.fields.items()
        for path in paths
        if who != me and path in wants and has.get(path) != wants[path]
    }
    if theirs and not force:
        said = ", ".join(f'conflict with "{who[0]}": {_shown(path)}' for path, who in sorted(theirs.items(), key=str))
        raise Refused(409, f"Apply failed with {len(theirs)} conflicts: {said}")
    for path, who in theirs.items():
        owners.fields[who].discard(path)
    result = copy.deepcopy(old)
    for path in sorted(owners.fields.get(me, set()) - set(wants), key=_is_key):
        if not any(path in paths for who, paths in owners.fields.items() if who != me):
            _remove(result, path)
    for path, value in wants.items():
        _put(result, path, value)
    owners.fields[me] = set(wants)
    return result


def leaves(document: Document, schema: Document | None) -> dict[Path, Any]:
    """Path -> value of everything that can be owned."""
    found: dict[Path, Any] = {}
    _collect(document, schema or {}, (), found)
    servers = {("metadata", name) for name in _SERVERS}
    return {path: value for path, value in found.items() if path not in _UNOWNED and path[:2] not in servers}


def _collect(value: Any, schema: Document, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            child = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            _collect(item, child if isinstance(child, dict) else {}, (*path, name), found)
    elif isinstance(value, list) and value and schema.get("x-kubernetes-list-type") == "map":
        for item in value:
            key = tuple((name, item.get(name)) for name in schema["x-kubernetes-list-map-keys"])
            _collect(item, schema["items"], (*path, key), found)
    elif isinstance(value, dict) and path:
        found[*path, "."] = "map"
    elif isinstance(value, list) and schema.get("x-kubernetes-list-type") == "map":
        found[*path, "."] = "list"
    else:
        found[path] = value


def _step(node: Any, step: Any, *, make: bool) -> Any:
    """The child of a map, or the item of a list with this key; None where there is none and none is to be made."""
    if isinstance(step, tuple):
        for item in node:
            if all(item.get(name) == value for name, value in step):
                return item
        if make:
            node.append(dict(step))
        return node[-1] if make else None
    return node.setdefault(step, {}) if make else node.get(step)


def _put(root: Document, path: Path, value: Any) -> None:
    """A map or a list with keys that is to be empty only has to be there."""
    node: Any = root
    is_empty = path[-1] == "."
    steps = path[:-1] if is_empty else path
    for index, step in enumerate(steps[:-1]):
        if isinstance(steps[index + 1], tuple) and not isinstance(node.get(step), list):
            node[step] = []
        node = _step(node, step, make=True)
    if is_empty:
        node.setdefault(steps[-1], [] if value == "list" else {})
    else:
        node[steps[-1]] = copy.deepcopy(value)


def _is_key(path: Path) -> bool:
    """Whether an item of a list is found by this leaf: it goes last."""
    return len(path) > 1 and isinstance(path[-2], tuple) and path[-1] in dict(path[-2])


def _remove(root: Document, path: Path) -> None:
    """The leaf, and what it leaves empty above it."""
    if path[-1] == ".":
        return
    nodes: list[Any] = [root]
    for step in path[:-1]:
        below = _step(nodes[-1], step, make=False)
        if below is None:
            return
        nodes.append(below)
    for node, step in zip(reversed(nodes), reversed(path), strict=True):
        if isinstance(step, tuple):
            item = _step(node, step, make=False)
            if item is None or set(item) - {name for name, _ in step}:
                return
            node.remove(item)
        else:
            if node.get(step) and node is not nodes[-1]:
                return
            node.pop(step, None)


def _shown(path: Path) -> str:
    return "".join(f"[{dict(step)}]" if isinstance(step, tuple) else f".{step}" for step in path)


def _tree(paths: set[Path]) -> Document:
    tree: Document = {}
    for path in sorted(paths, key=str):
        node = tree
        for step in path:
            node = node.setdefault(f"k:{dict(step)}" if isinstance(step, tuple) else f"f:{step}", {})
    return tree
