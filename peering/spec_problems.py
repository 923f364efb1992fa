"""What pydantic found wrong in a spec, as problems in an admin's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import ErrorDetails

from peering.problems import Problem
from peering.resources.fields import Spec, kind_of, shown
from peering.resources.spec import MISTAKE

Path = tuple[str | int, ...]

#: pydantic's error types of a value of the wrong type: what was expected.
_WRONG_TYPES = {
    "model_type": "expected fields",
    "model_attributes_type": "expected fields",
    "dict_type": "expected fields",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "bool_type": "expected true or false",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
}
#: What to do, by what was expected and what was found.
_QUOTES = {
    ("expected a list", "text"): "a list is written [a, b]",
    ("expected text", "a number"): "put it in quotes",
    ("expected text", "true or false"): "put it in quotes",
    ("expected a whole number", "text"): "write it without quotes",
    ("expected a whole number", "a number"): "write it without a fraction",
    ("expected true or false", "text"): "write it without quotes",
}
#: Other error types, with the words of their context.
_OUT_OF_BOUNDS = {
    "greater_than_equal": "{value} is below {ge}",
    "less_than_equal": "{value} is above {le}",
    "too_short": "must not be empty",
    "too_long": "has more items than {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_unicode": "is text that is not Unicode",
    "recursion_loop": "contains itself",
    "invalid_key": "has a key that is not text",
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def spec_problems(
    ref: str, model: type[Spec], details: list[ErrorDetails], place_of: Callable[[Path], str | None]
) -> list[Problem]:
    """All of pydantic's errors. `place_of` knows the parts of the spec that are not where our models have them."""
    return [
        spec_problem(ref, place_of(detail["loc"]) or path_of(detail["loc"], "spec"), model, detail)
        for detail in details
        if not _follows_from_items(detail, details)
    ]


def _follows_from_items(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """A list seems too short when its items could not be read."""
    inside = len(detail["loc"])
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > inside and other["loc"][:inside] == detail["loc"] for other in details
    )


def spec_problem(ref: str, path: str, model: type[Spec], detail: ErrorDetails) -> Problem:
    """One of pydantic's errors. `path` is where it is shown, `model` that of the whole spec."""
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return unknown_field(ref, path, str(detail["loc"][-1]), model_at(model, detail["loc"][:-1]))
    if kind == "missing":
        return Problem("error", "missing-field", ref, path, "is required")
    if kind in _WRONG_TYPES:
        expected, found = _WRONG_TYPES[kind], kind_of(value)
        hint = _example(model_at(model, detail["loc"])) if expected == "expected fields" else ""
        hint = hint or _QUOTES.get((expected, found), "")
        return Problem("error", "wrong-type", ref, path, f"{expected}, found {found}", hint)
    if kind == "literal_error":
        return _no_choice(ref, path, value, re.findall(r"'([^']*)'", str(detail["ctx"]["expected"])))
    if kind == "too_long" and isinstance(value, str):
        kind = "string_too_long"
    if kind in _OUT_OF_BOUNDS:
        words = {"value": shown(value), **detail.get("ctx", {})}
        return Problem("error", "bad-value", ref, path, _OUT_OF_BOUNDS[kind].format(**words))
    message = detail["msg"] if kind == MISTAKE else detail["msg"].removeprefix("Value error, ")
    return Problem("error", "bad-value", ref, path, message)


def _no_choice(ref: str, path: str, value: Any, choices: list[str]) -> Problem:
    hint = f"did you mean {near}?" if isinstance(value, str) and (near := nearest(value, choices)) else ""
    known = f"none of {', '.join(choices)}" if len(choices) > 1 else f"not {choices[0]}"
    return Problem("error", "bad-value", ref, path, f"{shown(value)} is {known}", hint)


def _example(model: type[Spec] | None) -> str:
    return f"write {model.EXAMPLE}" if model is not None and model.EXAMPLE else ""


def unknown_field(ref: str, path: str, name: str, model: type[Spec] | None) -> Problem:
    """A field that the model does not have: what to write instead, if that is known."""
    known = [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
    elsewhere = {} if model is None else model.ELSEWHERE
    return unknown_name(ref, path, name, known, elsewhere.get(name, ""))


def unknown_name(ref: str, path: str, name: str, known: Iterable[str], hint: str = "") -> Problem:
    """A field by its name alone; without a hint the nearest one that is `known` is suggested."""
    near = nearest(name, known)
    hint = hint or (f"did you mean {near}?" if near else f"known here: {', '.join(known)}")
    return Problem("error", "unknown-field", ref, path, "is no field of this kind", hint)


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The known name that is most like the text, in whatever case, or None."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(text.lower()[:100], by_lower, 1, 0.6)
    return by_lower[near[0]] if near else None


def path_of(parts: Iterable[str | int], start: str = "") -> str:
    """`spec.uplinks[0].addresses`; names that are no plain words stand in brackets."""
    path = start
    for part in parts:
        if isinstance(part, str) and _PLAIN.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{part}]"
    return path


def model_at(model: type[Spec], loc: Path) -> type[Spec] | None:
    """The model that the fields at `loc` belong to, found by walking aliases and container items."""
    current: Any = model
    for part in (p for p in loc if isinstance(p, str)):
        fields = {f.alias or n: f for n, f in current.model_fields.items()}
        if part not in fields:
            return None
        candidates = [fields[part].annotation]
        while candidates and not (isinstance(candidates[0], type) and issubclass(candidates[0], Spec)):
            candidates = [*getattr(candidates[0], "__args__", ()), *candidates[1:]]
        if not candidates:
            return None
        current = candidates[0]
    return current  # type: ignore[no-any-return]
