"""A document as the set of its leaves, and the document of such a set.

A leaf is what has nothing below it that could be somebody else's: a value, a list, or a map that is empty. Entries of a
list that have a name are apart, each under its own key, so that they can have different owners.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fabric_templates.remediation.documents.tables import DocumentReading, Path

Leaves = dict[Path, Any]
#: YAML without its guesses, as it is rendered: `on` and `1:30` are text. The loader in C, where it is there, is faster.
_LOADER: type[yaml.SafeLoader] = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
_LOADER.yaml_implicit_resolvers = {
    first: [("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"))] for first in "tf"
} | {first: [("tag:yaml.org,2002:int", re.compile("^-?(?:0|[1-9][0-9]*)$"))] for first in "-0123456789"}
_ENTRY = re.compile(r"([\w-]+)\[(.*)\]", re.DOTALL)


def json_tree(text: str) -> Any:
    """A map, or the only one that a JSON-RPC server answered. Raises ValueError where it is no JSON, or no map."""
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise ValueError("it is no JSON") from error
    answers = tree.get("result") if isinstance(tree, dict) and "jsonrpc" in tree else None
    return _map(answers[0] if isinstance(answers, list) and len(answers) == 1 else tree)


def any_tree(text: str) -> Any:
    """JSON, TOML or YAML, whichever it is. Raises ValueError where it is none of them."""
    for parse in (json.loads, tomllib.loads):
        try:
            return _map(parse(text))
        except ValueError:
            continue
    try:
        return _map(yaml.load(text, _LOADER))
    except yaml.YAMLError as error:
        raise ValueError("it is neither JSON nor TOML nor YAML") from error


def _map(tree: Any) -> Any:
    if not isinstance(tree, dict):
        raise ValueError("it is no tree of settings")
    return tree


def leaves(tree: Any, table: DocumentReading) -> Leaves:
    """{path: value}, in the order of the document."""
    return dict(_leaves(tree, (), table))


def _leaves(tree: Any, path: Path, table: DocumentReading) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, _bare(str(key), table)), table)
        if not tree:
            yield path, {}
    elif isinstance(tree, list) and (names := _names(path[-1], tree, table)):
        for name, one in zip(names, tree, strict=True):
            yield from _leaves(one, (*path[:-1], f"{path[-1]}[{name}]"), table)
    elif tree != [] or path[-1] not in table.keys:
        yield path, [_bare(one, table) for one in tree] if isinstance(tree, list) else _bare(tree, table)


def _bare(value: Any, table: DocumentReading) -> Any:
    return re.sub(f"^(?:{table.modules})", "", value) if table.modules and isinstance(value, str) else value


def _names(name: str, entries: list[Any], table: DocumentReading) -> list[str]:
    """The entries' names, none where they have none."""
    for keys in table.keys.get(name, ()):
        found = [[_bare(_at(entry, key.split(".")), table) for key in keys] for entry in entries]
        if found and all(value is not None for values in found for value in values):
            return [named(keys, values) for values in found]
    return []


def named(keys: tuple[str, ...], values: list[Any]) -> str:
    """`10.0.0.0/8 mask-length-range exact`: the first value, then keys and values of the others."""
    first, *others = map(str, values)
    return " ".join([first, *(f"{key} {value}" for key, value in zip(keys[1:], others, strict=True))])


def _at(entry: Any, keys: list[str]) -> Any:
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


def entry(key: str) -> tuple[str, str]:
    """`neighbor[10.1.1.1]` -> ("neighbor", "10.1.1.1"); what is no entry has an empty name."""
    match = _ENTRY.fullmatch(key)
    return (match[1], match[2]) if match else (key, "")


def tree(found: Mapping[Path, Any]) -> dict[str, Any]:
    """The maps of leaves; entries are under their keys."""
    root: dict[str, Any] = {}
    for path, value in found.items():
        above = root
        for key in path[:-1]:
            if not isinstance(above.get(key), dict):
                above[key] = {}
            above = above[key]
        if value == {}:
            above.setdefault(path[-1], {})
        else:
            above[path[-1]] = value
    return root


def with_lists(maps: Any) -> Any:
    """A tree with its entries in lists again."""
    if not isinstance(maps, dict):
        return maps
    found: dict[str, Any] = {}
    for key, value in maps.items():
        name, of_entry = entry(key)
        if of_entry:
            found.setdefault(name, []).append(with_lists(value))
        else:
            found[key] = with_lists(value)
    return found
