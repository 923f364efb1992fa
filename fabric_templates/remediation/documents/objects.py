"""Objects of the APIC as leaves, and what to post to it.

An object has a class, attributes and children. Among those inside its parent it is known by its class and some of its
attributes. A post names the objects on the way to what changes and says of these only what is new: attributes that it
does not say stay as they are, so one that goes is given the value that it has without anybody's word. An object with
`status: deleted` goes with all that is in it. What the APIC makes by itself is of classes, or has attributes, that the
table does not know, or is a relation that leads nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fabric_templates.remediation.documents.reading import Leaves, entry, json_tree, named
from fabric_templates.remediation.documents.tables import DocumentReading, Path

_ROOT = "fvTenant"


def read(text: str, table: DocumentReading) -> Leaves:
    """The leaves of a tenant, as the APIC answers or as it is posted: each object as a map, and its attributes. Raises
    ValueError where there is no tenant with children."""
    tree = json_tree(text)
    objects = tree.get("imdata", [tree])
    tenant = next((one[_ROOT] for one in objects if isinstance(one, dict) and _ROOT in one), None)
    if not isinstance(tenant, dict) or not tenant.get("children"):
        raise ValueError(f"it is no {_ROOT} with children")
    try:
        return dict(_leaves(_ROOT, tenant, (), table))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"something in the {_ROOT} is no object") from error


def _leaves(kind: str, content: dict[str, Any], path: Path, table: DocumentReading) -> Iterator[tuple[Path, Any]]:
    attributes = content.get("attributes", {})
    keys = table.keys[kind][0]
    name = named(keys, [attributes.get(key, "") for key in keys]) if keys else ""
    here = (*path, f"{kind}[{name}]" if keys else kind)
    said = {key: attributes[key] for key in attributes if key in table.printed.get(kind, ()) and key not in keys}
    if _leads_nowhere(kind, said):
        return
    yield here, {}
    for key, value in said.items():
        if str(value) not in table.defaults.get(key, ()):
            yield (*here, key), _flags(value) if key in table.unordered else value
    for child in content.get("children", ()):
        for inside, its in child.items():
            if inside in table.keys:
                yield from _leaves(inside, its, here, table)


def _leads_nowhere(kind: str, said: dict[str, Any]) -> bool:
    return "Rs" in kind and bool(said) and not any(said.values())


def _flags(value: Any) -> list[str]:
    return [flag for flag in str(value).split(",") if flag]


def post(running: Leaves, goal: Leaves, table: DocumentReading) -> tuple[str, ...]:
    """The JSON for `/api/mo/uni.json`; nothing where the documents are equal."""
    staying = {path[:length] for path in goal for length in range(1, len(path) + 1)}
    gone = {p for p, value in running.items() if value == {} and p not in staying}
    unsaid = {p: table.defaults.get(p[-1], ("",))[0] for p in running.keys() - staying if p[:-1] in staying}
    unsaid = {p: value for p, value in unsaid.items() if p not in gone}
    changed = {path: value for path, value in goal.items() if _is_news(path, value, running)}
    tops = {path for path in gone if path[:-1] in staying}
    if not (tops or unsaid or changed):
        return ()
    root: dict[str, Any] = {}
    for path in (*sorted(tops), *unsaid, *changed):
        value = {**unsaid, **changed}.get(path, {})
        _object(root, path if value == {} else path[:-1], table)
        if value != {}:
            _object(root, path[:-1], table)["attributes"][path[-1]] = _attribute(value)
        elif path in tops:
            _object(root, path, table)["attributes"]["status"] = "deleted"
    return tuple(json.dumps(root["children"][0], indent=2, ensure_ascii=False).splitlines())


def _is_news(path: Path, value: Any, running: Leaves) -> bool:
    """An attribute that an object does not show is empty."""
    if path in running:
        return bool(running[path] != value)
    return bool(value) or value == {} or path[:-1] not in running


def _object(root: dict[str, Any], path: Path, table: DocumentReading) -> dict[str, Any]:
    """The object at a place of a post, made where it is not there yet, with those that it is in."""
    here = root
    for key in path:
        kind, name = entry(key)
        naming = _naming(table.keys[kind][0], name)
        children = here.setdefault("children", [])
        found = next((c[kind] for c in children if kind in c and naming.items() <= c[kind]["attributes"].items()), None)
        if found is None:
            found = {"attributes": dict(naming)}
            children.append({kind: found})
        here = found
    return here


def _naming(keys: tuple[str, ...], name: str) -> dict[str, str]:
    """The attributes of an object's name, as `named` wrote it."""
    words = name.split(" ")
    return dict(zip(keys, (words[0], *words[2::2]), strict=True)) if keys else {}


def _attribute(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
