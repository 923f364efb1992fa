"""NVIDIA's OpenAPI of NVUE as the Pydantic models of PyPI's nvueschema, one module for each release.

The models pass over a key that they do not know, so `unknown` walks the tree beside them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


@cache
def model(release: str) -> type[BaseModel]:
    """The root of the tree in a release, `5.14`."""
    module = importlib.import_module(f"nvueschema.models.v{release.replace('.', '_')}")
    root: type[BaseModel] = module.NvueConfig
    return root


def complaints(tree: Any, release: str) -> list[str]:
    """Every value that the release's schema refuses, and every key that it does not have."""
    root = model(release)
    found = [f"/{path} is not known" for path in _unknown(tree, root)]
    try:
        root.model_validate(tree)
    except ValidationError as error:
        found += [f"/{'/'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return found


def _unknown(tree: Any, node: type[BaseModel], path: str = "") -> Iterator[str]:
    if not isinstance(tree, dict):
        yield path  # a value where the schema has more of the tree
        return
    fields = {field.alias or name: field.annotation for name, field in node.model_fields.items()}
    for key, value in tree.items():
        here = f"{path}/{key}".lstrip("/")
        if key not in fields:
            yield here
        else:
            yield from _below(value, fields[key], here)


def _below(value: Any, annotation: Any, path: str) -> Iterator[str]:
    """A field is more of the tree, a map of names to more of the tree, or a value that the model itself looks at."""
    inner = next(_models(annotation), None)
    if inner is None:
        return
    if _is_map(annotation):
        for name, one in value.items():
            yield from _unknown(one, inner, f"{path}/{name}")
    else:
        yield from _unknown(value, inner, path)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models(one)


def _is_map(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict or any(map(_is_map, get_args(annotation)))
