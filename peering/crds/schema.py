"""A model as Kubernetes' structural schema: OpenAPI v3 with a type at every node, no references, no alternatives.

pydantic's JSON schema is the source. What Kubernetes does not take is turned into what it does: references are put in
place, "or null" is dropped (a field may be left out instead), defaults are told in the description and not applied,
because a rule asks whether a field was written. `Spec.RULES` become `x-kubernetes-validations`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, get_args

from pydantic.fields import FieldInfo

from peering.resources.fields import Spec
from peering.resources.rules import Rule

Schema = dict[str, Any]

_REFERENCE = "#/$defs/"
#: Keywords that are taken over as they are.
_KEPT = (
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "x-kubernetes-int-or-string",
)


def structural_schema(model: type[Spec]) -> Schema:
    """The schema of a spec, nested models included."""
    return _Structural(model).of_model(model)


def summary(model: type[Spec]) -> str:
    """The first paragraph of the model's docstring."""
    return " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())


def field_docs(model: type[Spec]) -> dict[str, str]:
    """Field name -> the docstring below it, be it in a model that this one extends."""
    above = model.__base__
    docs = field_docs(above) if above is not None and issubclass(above, Spec) and above is not Spec else {}
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            docs[field.target.id] = str(ast.literal_eval(below.value))
    return docs


class _Structural:
    """One model's schema by pydantic with all that it refers to."""

    def __init__(self, model: type[Spec]) -> None:
        self._whole = model.model_json_schema(by_alias=True)
        self._models = {found.__name__: found for found in _models_in(model)}

    def of_model(self, model: type[Spec]) -> Schema:
        own = self._whole["$defs"][model.__name__] if self._whole.get("title") != model.__name__ else self._whole
        docs = field_docs(model)
        schema: Schema = {"type": "object", "description": summary(model)}
        if own.get("required"):
            schema["required"] = own["required"]
        schema["properties"] = {
            field.alias or name: {
                "description": _description(docs.get(name, ""), field),
                **_without_description(self._node(own["properties"][field.alias or name])),
            }
            for name, field in model.model_fields.items()
        }
        if model.RULES:
            schema["x-kubernetes-validations"] = [_validation(rule) for rule in model.RULES]
        return schema

    def _node(self, schema: Schema) -> Schema:
        if "$ref" in schema:
            return self.of_model(self._models[schema["$ref"].removeprefix(_REFERENCE)])
        alternatives = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if alternatives:
            (only,) = alternatives
            return self._node(only)
        node = {word: schema[word] for word in _KEPT if word in schema}
        if "const" in schema:
            node["enum"] = [schema["const"]]
        if schema.get("type") == "array":
            node["items"] = self._node(schema["items"])
        if isinstance(schema.get("additionalProperties"), dict):
            node["additionalProperties"] = self._node(schema["additionalProperties"])
        return node


def _without_description(schema: Schema) -> Schema:
    return {word: value for word, value in schema.items() if word != "description"}


def _models_in(model: type[Spec]) -> set[type[Spec]]:
    found = {model}
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, Spec) and part not in found:
                found |= _models_in(part)
    return found


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *(inner for part in get_args(annotation) for inner in _parts(part))]


def _description(text: str, field: FieldInfo) -> str:
    """What the field means and its default, where it is one that a manifest could say."""
    default = field.default
    if field.is_required() or default is None or default == () or isinstance(default, Spec):
        return text
    written = str(default).lower() if isinstance(default, bool) else _as_written(field)
    return f"{text} Default: {written}."


def _as_written(field: FieldInfo) -> str:
    if isinstance(field.default, tuple):
        return ", ".join(map(str, field.default))
    serializers = [found for found in field.metadata if hasattr(found, "when_used")]
    return str(serializers[0].func(field.default)) if serializers else str(field.default)


def _validation(rule: Rule) -> Schema:
    validation = {"rule": rule.cel, "message": rule.message}
    return {**validation, "fieldPath": f".{rule.field}"} if rule.field else validation
