"""What an API server would reckon a CEL rule to cost at most, before it takes the definition.

Kubernetes adds up steps: reading a name or a field, a call of an operator, a tenth of a step for every character or
item that a comparison may look at, ten for a list that is written out. A rule inside of lists counts as often as they
may have items. This estimate counts both sides of every alternative, where Kubernetes counts the dearer one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

#: Of one rule, and of all rules of a definition (apiextensions-apiserver).
RULE_LIMIT, DEFINITION_LIMIT = 10_000_000, 100_000_000
#: The largest request, and the fewest bytes that an item of a list without a bound takes in it.
_REQUEST, _SMALLEST_ITEM = 3 * 1024 * 1024, 2
_BYTES_PER_CHARACTER = 4
#: `in` takes a whole step for each item of a list, however small.
_ITEM = 10
_TOKENS = re.compile(r"'[^']*'|\"[^\"]*\"|[A-Za-z_][A-Za-z0-9_]*|\d+|==|!=|<=|>=|&&|\|\||[-+*/%!<>?:().,\[\]]")
_ITERATING = re.compile(r"\.(all|exists|exists_one|map|filter)\(")
#: A comparison and what stands beside it; CEL of ours has spaces there.
_COMPARISON = re.compile(r"(\S+) (?:==|!=|<|>|<=|>=|in) (\S+)")
_FIELD = re.compile(r"[(!]*(?:self|oldSelf)\.(\w+)\)*")
_FREE = {"(", ")", ".", ",", ":", "]", "has", "true", "false"}


def rules_of(schema: Schema, path: str = "", times: int = 1) -> Iterator[tuple[str, str, Schema, int]]:
    """Every rule with its path, the schema it stands in, and how many times it may be judged in one object."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule["rule"], schema, times
    for name, child in schema.get("properties", {}).items():
        yield from rules_of(child, f"{path}.{name}", times)
    for word, bound in (("items", "maxItems"), ("additionalProperties", "maxProperties")):
        if isinstance(schema.get(word), dict):
            yield from rules_of(schema[word], f"{path}[]", times * int(schema.get(bound, _REQUEST // _SMALLEST_ITEM)))


def cost(rule: str, schema: Schema) -> int:
    """Of judging the rule once. Raises ValueError for what is not reckoned here: rules that iterate."""
    if _ITERATING.search(rule):
        raise ValueError(f"{rule}: the cost of rules that iterate is not reckoned")
    steps = 0
    for token in _TOKENS.findall(rule):
        if token == "[":
            steps += 10
        elif token not in _FREE and token[0] not in "'\"0123456789":
            steps += 1
    for operands in _COMPARISON.findall(rule):
        fields = [found[1] for found in map(_FIELD.fullmatch, operands) if found]
        steps += max((math.ceil(_size(schema["properties"][name]) / 10) for name in fields), default=0)
    return steps


def _size(schema: Schema) -> int:
    """How much a comparison of the value may have to look at."""
    largest = _REQUEST // _SMALLEST_ITEM
    match schema.get("type"):
        case "string" if "enum" in schema:
            return max(map(len, schema["enum"])) * _BYTES_PER_CHARACTER
        case "string":
            return int(schema.get("maxLength", largest)) * _BYTES_PER_CHARACTER
        case "array":
            return int(schema.get("maxItems", largest)) * max(_size(schema["items"]), _ITEM)
        case "object":
            return largest
        case _:
            return 1
