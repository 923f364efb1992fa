"""YAML text to resources: multi-document, `List` kinds, files and folders mixed; every problem collected.

A document that cannot be read does not hide the others. A key given twice in one mapping is a mistake
(plain YAML loaders keep the last one in silence). The same object in two places is one too, because which of
them would win depends on the order of files.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from peering.problems import Problem
from peering.resource import Resource, parse_resource

_SUFFIXES = (".yaml", ".yml", ".json")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice in one mapping, and says where a value does not fit its tag."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML lets KeyError, AttributeError and others out for `!!bool maybe`, `!!timestamp now`, `2001-13-01`."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            reason = f"this is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(getattr(key_node, "value", ""))
            if key in seen and key != "<<":
                reason = f"key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, reason, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_manifests(paths: Iterable[str | Path]) -> tuple[list[Resource], list[Problem]]:
    """Every resource in the files and folders (`*.yaml`, `*.yml`, `*.json`), and every problem found."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    origin: dict[str, str] = {}
    for file in _files(paths, problems):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(_file_problem(str(file), f"cannot be read: {_reason(error)}"))
            continue
        found, wrong = parse_manifests(text, str(file))
        problems += wrong
        for resource in found:
            if resource.ref in origin:
                problems.append(_twice(resource, origin[resource.ref], str(file)))
            else:
                origin[resource.ref] = str(file)
                resources.append(resource)
    return resources, problems


def parse_manifests(text: str, source: str) -> tuple[list[Resource], list[Problem]]:
    """The resources of one text, which may hold several documents and `List`s."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    try:
        documents = list(yaml.load_all(text, _StrictLoader))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        return [], [_file_problem(source, f"is no valid YAML: {_yaml_reason(error)}")]
    for number, document in enumerate(_flatten(documents), start=1):
        parsed = parse_resource(document, f"{source} document {number}")
        if isinstance(parsed, Resource):
            resources.append(parsed)
        else:
            problems += parsed
    return resources, problems


def _flatten(documents: Iterable[Any]) -> Iterator[Any]:
    """Empty documents dropped, `List` kinds opened."""
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else None
        if isinstance(kind, str) and kind.endswith("List"):
            items = document.get("items")
            yield from items if isinstance(items, list) else [items]
        elif document is not None:
            yield document


def _files(paths: Iterable[str | Path], problems: list[Problem]) -> Iterator[Path]:
    for path in map(Path, paths):
        try:
            yield from _files_of(path)
        except FileNotFoundError:
            problems.append(_file_problem(str(path), "does not exist"))
        except OSError as error:
            problems.append(_file_problem(str(path), f"cannot be read: {_reason(error)}"))


def _files_of(path: Path) -> list[Path]:
    if stat.S_ISDIR(path.stat().st_mode):
        return sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    return [path]


def _yaml_reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = str(getattr(error, "problem", None) or error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {reason}" if mark else reason


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "not UTF-8"


def _twice(resource: Resource, first: str, second: str) -> Problem:
    message = f"is declared twice in {first}" if first == second else f"is declared in {first} and again in {second}"
    return Problem("error", "declared-twice", resource.ref, "", message, "keep one of them")


def _file_problem(file: str, message: str) -> Problem:
    return Problem("error", "unreadable-manifest", file, "", message)
