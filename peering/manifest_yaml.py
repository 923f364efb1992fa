"""YAML documents of a manifest, read as Kubernetes' tools read them, and mistakes of syntax with their place.

Where PyYAML differs from them, theirs holds: `65000:50` is text and no number to base 60, `2026-01-01` is text and no
date. Aliases and merges may make a small text huge, so merged keys are kept once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_NEXT_DOCUMENT = re.compile(r"^(?:%[^\n]*\n)*---(?=\s|$)", re.MULTILINE)
_TAB = "found character '\\t'"
_LONGEST_NUMBER = 4000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class SyntaxMistake:
    """In place of a document that could not be read."""

    message: str
    hint: str = ""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice in one mapping, and says where a value does not fit its tag."""

    def __init__(self, text: str, first_line: int) -> None:
        super().__init__(text)
        self.line = first_line
        self._flat: dict[int, yaml.Node] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML lets KeyError, AttributeError and others out for `!!bool maybe` or `!!timestamp now`."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            too_long = node.tag == f"{_TAG}int" and len(str(node.value)) > _LONGEST_NUMBER
            reason = "this number has too many digits" if too_long else f"this is no {node.tag.rpartition(':')[2]}"
            raise _mistake(reason, node) from None

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merges `<<` into a mapping, and keeps of each key the last: PyYAML keeps all, and copies of copies grow."""
        if id(node) in self._flat:
            return
        self._flat[id(node)] = node
        _refuse_key_twice(node)
        super().flatten_mapping(node)
        last = {(k.tag, k.value) if isinstance(k, yaml.ScalarNode) else id(k): (k, value) for k, value in node.value}
        node.value = list(last.values())


def _mistake(reason: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)


def _refuse_key_twice(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = str(getattr(key_node, "value", ""))
        if key in seen and key != "<<":
            raise _mistake(f"key {key[:60]!r} is given twice", key_node)
        seen.add(key)


#: Plain words that are numbers; PyYAML's own also take `65000:50` for one.
_NUMBERS = {
    f"{_TAG}int": re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z"),
    f"{_TAG}float": re.compile(
        r"([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in rows if tag != f"{_TAG}timestamp"]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def yaml_documents(text: str) -> Iterator[Any]:
    """Each document that is not empty, or the mistake in its place, with lines and columns of the whole text."""
    for first_line, part in _parts(text):
        try:
            loader = _Loader(part, first_line)
            while loader.check_data():  # type: ignore[no-untyped-call]
                document = loader.get_data()
                if document is not None:
                    yield document
        except yaml.reader.ReaderError as error:
            yield _unprintable(part, first_line, error)
        except RecursionError:
            yield SyntaxMistake(f"is no valid YAML: it nests too deep (from line {first_line + 1})")
        except (yaml.YAMLError, ValueError, TypeError) as error:
            yield _syntax_mistake(error)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text cut before each `---` and the directives (`%YAML`) above it, with the number of lines before."""
    cuts = [match.start() for match in _NEXT_DOCUMENT.finditer(text)]
    start = line = 0
    for cut in [*cuts, len(text)]:
        part = text[start:cut]
        yield line, part
        start, line = cut, line + part.count("\n")


def _unprintable(part: str, first_line: int, error: yaml.reader.ReaderError) -> SyntaxMistake:
    before = part[: error.position]
    line, column = first_line + before.count("\n") + 1, error.position - before.rfind("\n")
    message = f"line {line}, column {column}: the character U+{error.character:04X} may not stand in YAML"
    return SyntaxMistake(f"is no valid YAML: {message}", "is it a text file?")


def _syntax_mistake(error: Exception) -> SyntaxMistake:
    mark = getattr(error, "problem_mark", None)
    reason = str(getattr(error, "problem", None) or error).splitlines()[0]
    reason = reason.replace("'<stream end>'", "the end of the document")
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    hint = "indent with spaces, not with tabs" if reason.startswith(_TAB) else ""
    return SyntaxMistake(f"is no valid YAML: {where}{reason}", hint)
