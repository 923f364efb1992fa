"""Calico's selector language: `rack == 'r1' && has(gpu) || !(zone in {'a', 'b'})`.

A selector is parsed once into a predicate over a label mapping. The grammar is Calico's
(`libcalico-go/lib/selector`): `==`, `!=`, `in`, `not in`, `has()`, `contains`, `starts with`, `ends with`,
`!`, `&&`, `||`, parentheses, `all()` and `global()`. As there, `!=` and `not in` are true for a label that
is absent. The empty selector matches everything, as `all()` does.

Most selectors of a fabric ask one label for a value or a few. A parsed selector knows such an *anchor*, so that an
index over labels finds the few candidates among thousands of nodes (node_index.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

#: Brackets and negations inside each other; far more than a person writes, far less than the stack holds.
MAX_DEPTH = 64

Labels = Mapping[str, str]
Predicate = Callable[[Labels], bool]


@dataclass(frozen=True, slots=True)
class ParsedSelector:
    """`matches(labels)`; whatever it matches has the label of `anchor`, with one of its values, when there is one.

    `labels` are all that it asks for.
    """

    matches: Predicate
    anchor: tuple[str, frozenset[str]] | None = None
    labels: frozenset[str] = frozenset()

    def __call__(self, labels: Labels) -> bool:
        return self.matches(labels)


_EVERYTHING = ParsedSelector(lambda labels: True)

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"[^"]*"|'[^']*')
        |(?P<op>==|!=|&&|\|\||[!(){},])
        |(?P<word>[a-zA-Z0-9_./-]+))""",
    re.VERBOSE,
)


class SelectorError(ValueError):
    """The text is not a selector; the message says where."""


@lru_cache(maxsize=4096)
def parse_selector(text: str) -> ParsedSelector:
    """The selector of a text. Raises SelectorError."""
    if not text.strip():
        return _EVERYTHING
    parser = _Parser(_tokens(text), text)
    selector = parser.disjunction()
    if parser.peek() is not None:
        raise SelectorError(f"unexpected {parser.peek()!r} in selector {text!r}")
    return replace(selector, labels=frozenset(parser.labels))


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise SelectorError(f"cannot read selector {text!r} at column {position + 1}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind].strip("'\"") if kind == "string" else match[kind]))
        position = match.end()
    return tokens


def _equals(label: str, value: str) -> Predicate:
    return lambda labels: labels.get(label) == value


def _differs(label: str, value: str) -> Predicate:
    return lambda labels: labels.get(label) != value


def _contains(label: str, value: str) -> Predicate:
    return lambda labels: label in labels and value in labels[label]


def _starts(label: str, value: str) -> Predicate:
    return lambda labels: label in labels and labels[label].startswith(value)


def _ends(label: str, value: str) -> Predicate:
    return lambda labels: label in labels and labels[label].endswith(value)


_COMPARISONS: dict[str, Callable[[str, str], Predicate]] = {
    "==": _equals,
    "!=": _differs,
    "contains": _contains,
    "starts with": _starts,
    "ends with": _ends,
}


class _Parser:
    """Recursive descent, one method per level of precedence: `||`, `&&`, `!`, term."""

    def __init__(self, tokens: list[tuple[str, str]], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._next = 0
        self._depth = 0
        self.labels: set[str] = set()

    def _found(self) -> str:
        """The next token, for messages."""
        token = self.peek()
        return "the end" if token is None else repr(token)

    def peek(self) -> str | None:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def disjunction(self) -> ParsedSelector:
        terms = [self._conjunction()]
        while self._accept("||"):
            terms.append(self._conjunction())
        return terms[0] if len(terms) == 1 else ParsedSelector(lambda labels: any(t.matches(labels) for t in terms))

    def _conjunction(self) -> ParsedSelector:
        terms = [self._negation()]
        while self._accept("&&"):
            terms.append(self._negation())
        if len(terms) == 1:
            return terms[0]
        anchor = next((t.anchor for t in terms if t.anchor), None)
        return ParsedSelector(lambda labels: all(t.matches(labels) for t in terms), anchor)

    def _negation(self) -> ParsedSelector:
        if self._accept("!"):
            inner = self._nested(self._negation).matches
            return ParsedSelector(lambda labels: not inner(labels))
        return self._term()

    def _term(self) -> ParsedSelector:
        if self._accept("("):
            inner = self._nested(self.disjunction)
            self._expect(")")
            return inner
        word = self._take("word")
        if word in ("all", "global") and self._accept("("):
            self._expect(")")
            return _EVERYTHING
        if word == "has" and self._accept("("):
            label = self._take("word")
            self.labels.add(label)
            self._expect(")")
            return ParsedSelector(lambda labels: label in labels)
        return self._comparison(word)

    def _nested(self, parse: Callable[[], ParsedSelector]) -> ParsedSelector:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SelectorError(f"nests deeper than {MAX_DEPTH} levels: selector {self._text[:40]!r}...")
        inner = parse()
        self._depth -= 1
        return inner

    def _comparison(self, label: str) -> ParsedSelector:
        self.labels.add(label)
        operator = self._operator(label)
        if operator in ("in", "not in"):
            values = self._set()
            wanted = operator == "in"
            anchor = (label, values) if wanted else None
            return ParsedSelector(lambda labels: (labels.get(label) in values) is wanted, anchor)
        if operator not in _COMPARISONS:
            raise SelectorError(f"unknown operator {operator!r} in selector {self._text!r}")
        value = self._take("string")
        anchor = (label, frozenset((value,))) if operator == "==" else None
        return ParsedSelector(_COMPARISONS[operator](label, value), anchor)

    def _operator(self, label: str) -> str:
        first = self.peek()
        if first is None:
            raise SelectorError(f"nothing follows {label!r} in selector {self._text!r}")
        self._next += 1
        second = {"not": "in", "starts": "with", "ends": "with"}.get(first)
        if second is None:
            return first
        self._expect(second)
        return f"{first} {second}"

    def _set(self) -> frozenset[str]:
        self._expect("{")
        values = set()
        while not self._accept("}"):
            values.add(self._take("string"))
            if self.peek() != "}":
                self._expect(",")
        return frozenset(values)

    def _accept(self, text: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] in (("op", text), ("word", text)):
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise SelectorError(f"expected {text!r}, found {self._found()} in selector {self._text!r}")

    def _take(self, kind: str) -> str:
        if self._next >= len(self._tokens) or self._tokens[self._next][0] != kind:
            wanted = "a quoted value" if kind == "string" else "a label name"
            raise SelectorError(f"expected {wanted}, found {self._found()} in selector {self._text!r}")
        self._next += 1
        return self._tokens[self._next - 1][1]
