"""Configurations that are a tree: what templates print as YAML becomes one document, in one form.

A template prints one YAML document for each feature, each from the root of the tree (`---` between them), so that
features stay apart in the templates though the platform nests them. Here they are merged: maps by key, lists one after
the other; two different values for one place are an error. Then the tree is written with its keys sorted.

The YAML is that of JSON: `true`, `false`, `null` and whole numbers are what they look like, everything else is text.
So `on`, `1:30` or `65001:100` need no quotes; text from outside goes through the filter `quoted`, whatever it looks
like. Everything wrong is a ValueError with the line, so a broken template is an error and no broken file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import yaml

Tree = Any
"""Maps with text as keys, lists, text, whole numbers, true, false, null."""


#: Those of the C library are about three times as fast, and not in every build of PyYAML. Both say the same.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FastDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_FastLoader):  # type: ignore[misc]
    """YAML without its guesses, and without keys that are said twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: a key that is no text")
            key.tag = "tag:yaml.org,2002:str"
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is said twice")
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node, yaml.ScalarNode) and not node.style and not node.value:
            raise ValueError(f"line {node.start_mark.line + 1}: a key without a value; write {{}}, [] or null")
        return super().construct_scalar(node)


for _tag, _pattern, _first in (
    ("bool", "true|false", "tf"),
    ("int", "-?(0|[1-9][0-9]*)", "-0123456789"),
    ("null", "null", "n"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def quoted(value: object) -> str:
    """A text as YAML and JSON write it, whatever is in it."""
    return json.dumps(str(value))


def document(printed: str, form: Literal["json", "yaml"]) -> str:
    """What a template printed as one document with sorted keys. Raises ValueError where it is none.

    Lines with `#` at the beginning are kept as the head of a YAML document; JSON has no comments.
    """
    tree = read(printed)
    if form == "json":
        return json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    head = re.match(r"(?:#.*\n)*", printed)
    text: str = yaml.dump(tree, Dumper=_FastDumper, sort_keys=True, allow_unicode=True, width=200)
    return (head[0] if head else "") + text


def read(printed: str) -> Tree:
    """The documents of a text merged into one tree. Raises ValueError."""
    try:
        found = list(_documents(_Loader(printed)))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not found:
        return {}
    tree = found[0]
    for one in found[1:]:
        tree = _merged(tree, one, "")
    return tree


def _documents(loader: _Loader) -> Iterator[Tree]:
    """Each document that is not empty: a feature that is not asked for prints none."""
    while loader.check_node():
        node = loader.get_node()
        if isinstance(node, yaml.ScalarNode) and not node.style and not node.value:
            continue
        yield loader.construct_document(node)


def _merged(one: Tree, other: Tree, path: str) -> Tree:
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: _merged(one[key], other[key], f"{path}/{key}") for key in one.keys() & other.keys()}
        return one | other | both
    if isinstance(one, list) and isinstance(other, list):
        return one + other
    if one != other or type(one) is not type(other):
        raise ValueError(f"{path or 'the root'} is said twice, as {one!r} and {other!r}")
    return one
