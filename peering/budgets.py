"""What a switch of each platform is known to take: `budgets.yaml`, read once."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Model):
    """A number and where it is from."""

    most: int = Field(ge=1)
    source: str = Field(min_length=1)


class Budget(_Model):
    """Of one switch. `ecmp_paths` are next hops of one route; None where nothing is known."""

    sessions: Figure | None = None
    ecmp_paths: Figure | None = Field(default=None, alias="ecmpPaths")
    routes: Figure | None = None


def budget_of(platform: str) -> Budget | None:
    """The budget of a platform; None where nothing is known of it."""
    return _budgets().get(platform)


@cache
def _budgets() -> dict[str, Budget]:
    text = resources.files("peering").joinpath("budgets.yaml").read_text(encoding="utf-8")
    return {platform: Budget.model_validate(raw) for platform, raw in yaml.safe_load(text).items()}
