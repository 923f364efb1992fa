"""What the fields of one object demand of each other, said once for both readers of it.

A rule has a Python predicate, which judges manifests here, and the same condition in CEL, which the generated CRDs
carry to an API server (Kubernetes calls it `x-kubernetes-validations`). The constructors make both from the same
field names, so that they cannot drift apart. A field counts as set when it was written and is not null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """`holds(spec)` and `cel` (over `self`, the spec) say the same. `message` is read by the admin.

    `field` is where the mistake is shown, as manifests write it; empty, it is the object. `asks` tells what must be
    known to judge it: all values, or only which fields are set; "set" rules are broken by a field that is there,
    "unset" ones by one that is missing. A rule with `keeps(old, new)` instead of `holds` is about a change (`oldSelf`).
    """

    message: str
    cel: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""
    asks: Literal["values", "set", "unset"] = "values"
    keeps: Callable[[Any, Any], bool] | None = None


def camel(model: type[Any], name: str) -> str:
    """The name of a model's field as manifests write it."""
    return model.model_fields[name].alias or to_camel(name)


def is_set(spec: Any, name: str) -> bool:
    """Whether the manifest gives the field a value."""
    return name in spec.model_fields_set and getattr(spec, name) is not None


def exclusive(first: str, second: str, *, names: tuple[str, str] | None = None) -> Rule:
    """Not both fields. `names`: how manifests write them, where that is no plain camelCase."""
    one, other = names or (to_camel(first), to_camel(second))
    return Rule(
        f"{one} and {other} exclude each other",
        f"!has(self.{one}) || !has(self.{other})",
        lambda spec: not (is_set(spec, first) and is_set(spec, second)),
        field=other,
        asks="set",
    )


def requires(field: str, *needed: str, names: tuple[str, ...] | None = None) -> Rule:
    """`field` only together with one of `needed`."""
    one, *others = names or (to_camel(field), *map(to_camel, needed))
    return Rule(
        f"{one} needs {' or '.join(others)}",
        f"!has(self.{one}) || {' || '.join(f'has(self.{other})' for other in others)}",
        lambda spec: not is_set(spec, field) or any(is_set(spec, other) for other in needed),
        field=one,
        asks="unset",
    )


def one_of(*fields: str, names: tuple[str, ...] | None = None) -> Rule:
    """At least one of the fields."""
    shown = names or tuple(map(to_camel, fields))
    return Rule(
        f"needs {', '.join(shown[:-1])} or {shown[-1]}",
        " || ".join(f"has(self.{name})" for name in shown),
        lambda spec: any(is_set(spec, name) for name in fields),
        asks="unset",
    )


def exactly_one(what: str, *fields: str, names: tuple[str, ...] | None = None) -> Rule:
    """One of the fields and no other; `what` names the object."""
    shown = names or tuple(map(to_camel, fields))
    return Rule(
        f"{what} has exactly one of {', '.join(shown)}",
        " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in shown) + " == 1",
        lambda spec: sum(is_set(spec, name) for name in fields) == 1,
        asks="unset",
    )


def immutable(field: str, *, name: str | None = None) -> Rule:
    """The field keeps the value it was created with."""
    shown = name or to_camel(field)
    return Rule(
        f"{shown} cannot change; make another object instead",
        f"has(self.{shown}) == has(oldSelf.{shown}) && (!has(self.{shown}) || self.{shown} == oldSelf.{shown})",
        field=shown,
        keeps=lambda old, new: bool(getattr(old, field) == getattr(new, field)),
    )
