"""YAML and JSON text to resources: multi-document, `List` kinds, files and folders mixed; every problem collected.

A document that cannot be read does not hide the others: after a mistake of syntax reading goes on at the next `---`.
A key given twice in one mapping is a mistake (plain YAML loaders keep the last one in silence). The same object in
two places is one too, because which of them would win depends on the order of files.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from peering.manifest_yaml import SyntaxMistake, yaml_documents
from peering.problems import Problem
from peering.resource import Resource, parse_resource
from peering.resources.fields import kind_of

_SUFFIXES = (".yaml", ".yml", ".json")
_STDIN = "-"
_NO_RESOURCE = "of a folder, files that end in .yaml, .yml or .json are read"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_manifests(paths: Iterable[str | Path]) -> tuple[list[Resource], list[Problem]]:
    """Every resource in the files and folders (`*.yaml`, `*.yml`, `*.json`), and every problem found.

    `-` is standard input.
    """
    resources: list[Resource] = []
    problems: list[Problem] = []
    origin: dict[str, str] = {}
    for path in paths:
        found_here, wrong_before = 0, len(problems)
        for source, text in _texts(str(path), problems):
            found, wrong = parse_manifests(text, source)
            found_here += len(found)
            problems += wrong
            for resource in found:
                if resource.ref in origin:
                    problems.append(_twice(resource, origin[resource.ref], source))
                else:
                    origin[resource.ref] = source
                    resources.append(resource)
        if not found_here and len(problems) == wrong_before:
            problems.append(_file_problem(str(path), "holds no resource", _NO_RESOURCE))
    return resources, problems


def parse_manifests(text: str, source: str) -> tuple[list[Resource], list[Problem]]:
    """The resources of one text, which may hold several documents and `List`s."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    read = _json_documents if source.endswith(".json") else yaml_documents
    for number, document in enumerate(read(text), start=1):
        if isinstance(document, SyntaxMistake):
            problems.append(_file_problem(source, document.message, document.hint))
            continue
        for parsed in _parsed(document, f"{source} document {number}"):
            if isinstance(parsed, Resource):
                resources.append(parsed)
            else:
                problems += parsed
    return resources, problems


def _parsed(document: Any, place: str) -> Iterator[Resource | list[Problem]]:
    """The resource of a document; of a `List`, those of its items."""
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str) or not kind.endswith("List"):
        yield parse_resource(document, place)
        return
    items = document.get("items")
    if not isinstance(items, list):
        message = f"expected a list of resources, found {kind_of(items)}"
        yield [Problem("error", "not-a-resource", place, "items", message)]
        return
    for index, item in enumerate(items):
        if isinstance(item, dict) and kind != "List" and "kind" not in item:
            item = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List"), **item}
        yield parse_resource(item, f"{place} items[{index}]")


def _json_documents(text: str) -> Iterator[Any]:
    """One JSON text; where it is none, what YAML makes of it, for people write YAML into `.json`, too."""
    try:
        yield json.loads(text, object_pairs_hook=_once)
    except _KeyTwice as twice:
        yield SyntaxMistake(f"is no valid JSON: {twice}")
    except RecursionError:
        yield SyntaxMistake("is no valid JSON: it nests too deep")
    except ValueError as error:
        documents = list(yaml_documents(text))
        if not any(isinstance(document, SyntaxMistake) for document in documents):
            yield from documents
        elif isinstance(error, json.JSONDecodeError):
            yield SyntaxMistake(f"is no valid JSON: line {error.lineno}, column {error.colno}: {error.msg}")
        else:
            yield SyntaxMistake("is no valid JSON: it holds a number of too many digits")


class _KeyTwice(Exception):
    """A key given twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _KeyTwice(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return read


def _texts(path: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Each file of the path with its text."""
    if path == _STDIN:
        text = _decoded(sys.stdin.buffer.read(), "standard input", problems)
        if text is not None:
            yield "standard input", text
        return
    for file in _files(path, problems):
        try:
            content = file.read_bytes()
        except OSError as error:
            problems.append(_file_problem(str(file), f"cannot be read: {error.strerror or error}"))
            continue
        text = _decoded(content, str(file), problems)
        if text is not None:
            yield str(file), text


def _decoded(content: bytes, source: str, problems: list[Problem]) -> str | None:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "it is UTF-16" if content.startswith(_UTF16) else f"line {line} is not UTF-8"
        problems.append(_file_problem(source, f"cannot be read: {what}", "save it as UTF-8"))
        return None


def _files(path: str, problems: list[Problem]) -> list[Path]:
    try:
        return _files_of(Path(path))
    except FileNotFoundError:
        problems.append(_file_problem(path, "does not exist"))
    except (OSError, ValueError) as error:
        problems.append(_file_problem(path, f"cannot be read: {getattr(error, 'strerror', None) or error}"))
    return []


def _files_of(path: Path) -> list[Path]:
    if stat.S_ISDIR(path.stat().st_mode):
        return sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    return [path]


def _twice(resource: Resource, first: str, second: str) -> Problem:
    message = f"is declared twice in {first}" if first == second else f"is declared in {first} and again in {second}"
    return Problem("error", "declared-twice", resource.ref, "", message, "keep one of them")


def _file_problem(file: str, message: str, hint: str = "") -> Problem:
    return Problem("error", "unreadable-manifest", file, "", message, hint)
