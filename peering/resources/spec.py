"""The base of all models of resources: how mistakes are found and told.

pydantic finds what is wrong with single fields and says where. What fields demand of each other is said by `RULES`
and by `mistakes()`; both give the place of each mistake and all of them are collected, so that an admin corrects a
manifest once. Mistakes of values hide those between values, but not those of which fields may stand together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from peering.resources.rules import Rule

#: Where in the object, as manifests write it, and what is wrong there.
Mistake = tuple[tuple[str | int, ...], str]

#: pydantic's error type of our own mistakes; the message is in their context, under "said".
MISTAKE = "mistake"


class Spec(BaseModel):
    """A `spec` or a part of one: unknown fields are mistakes, and nothing changes after it was read.

    `RULES` say what fields demand of each other; here they are checked, in the CRDs they are CEL. `ELSEWHERE` are
    fields of relatives (Calico Enterprise, older versions) that are none here, each with what to write instead.
    `EXAMPLE` shows the form where something else than fields was written.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    EXAMPLE: ClassVar[str] = ""

    def mistakes(self) -> Iterator[Mistake]:
        """What is wrong between fields that are right by themselves, and is not one of `RULES`."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _collected(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        value = _without_nulls(cls, value)
        try:
            spec = handler(value)
        except ValidationError as error:
            known = error.errors(include_url=False)
            misspelt = any(detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1 for detail in known)
            judged = [rule for rule in cls.RULES if rule.asks == "set" or (rule.asks == "unset" and not misspelt)]
            raise _together(known, list(_broken(judged, _given(cls, value)))) from None
        found = [*_broken(cls.RULES, spec), *spec.mistakes()]
        if found:
            raise _together([], found)
        return spec


def _without_nulls(model: type[Spec], value: Any) -> Any:
    """A field that is null is one that was not written, as Kubernetes and Calico read it."""
    if not isinstance(value, dict) or not any(part is None for part in value.values()):
        return value
    known = {name for python, field in model.model_fields.items() for name in (python, field.alias)}
    return {name: part for name, part in value.items() if part is not None or name not in known}


def _given(model: type[Spec], value: Any) -> SimpleNamespace:
    """What was written, without a look at the values, in the shape that rules ask."""
    raw = value if isinstance(value, dict) else {}
    written = {name: raw.get(field.alias or name, raw.get(name)) for name, field in model.model_fields.items()}
    present = {name: value for name, value in written.items() if value not in (None, "")}
    return SimpleNamespace(model_fields_set=set(present), **present)


def _broken(rules: Iterable[Rule], spec: Any) -> Iterator[Mistake]:
    for rule in rules:
        if rule.holds is not None and not rule.holds(spec):
            yield ((rule.field,) if rule.field else ()), rule.message


def _together(known: list[ErrorDetails], found: list[Mistake]) -> ValidationError:
    """One error of pydantic's for all mistakes; the models around this one put their places in front."""
    lines = [_again(detail) for detail in known]
    lines += [_line(path, message) for path, message in found]
    return ValidationError.from_exception_data("spec", lines, hide_input=True)


def _line(path: tuple[str | int, ...], message: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(MISTAKE, "{said}", {"said": message}), loc=path, input=None)


def _again(detail: ErrorDetails) -> InitErrorDetails:
    if detail["type"] == MISTAKE:
        return _line(detail["loc"], detail["msg"])
    line = InitErrorDetails(type=detail["type"], loc=detail["loc"], input=detail["input"])
    if "ctx" in detail:
        line["ctx"] = detail["ctx"]
    return line
