"""The tables of a folder: PLATFORM.yml beside the module that says their shape."""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import yaml
from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def names(package: str) -> tuple[str, ...]:
    """The platforms that have one, sorted."""
    files = resources.files(package).iterdir()
    return tuple(sorted(f.name.removesuffix(".yml") for f in files if f.name.endswith(".yml")))


def text(package: str, platform: str) -> str:
    """That of a platform of `names()`, as it is written."""
    return resources.files(package).joinpath(f"{platform}.yml").read_text("utf-8")


def load(package: str, platform: str, shape: type[M]) -> M:
    """The same, read."""
    return shape.model_validate(yaml.safe_load(text(package, platform)))
