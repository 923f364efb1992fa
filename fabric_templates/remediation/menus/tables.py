"""How a platform of menus is read, and what of it is ours: `menus/PLATFORM.yml`."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fabric_templates.remediation import table_files


class Menu(BaseModel):
    """One menu.

    - `kind`: `items` have a name and are changed; `entries` are there or not; `groups` are items that count together,
      some in their order, and are removed and added together.
    - `key`: the properties that name an item, an entry or a group. The first one of `named` that an item has says by
      its prefix whether it is ours.
    - `defaults`: what is as good as not said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["items", "entries", "groups"]
    key: tuple[str, ...]
    named: str
    defaults: dict[str, str] = {}


class MenuReading(BaseModel):
    """One platform, its menus in the order in which one refers to another.

    - `instance`: the menu of the BGP instance, whose property `asn` is the AS. `connections`: that of the neighbours,
      whose property `neighbor` is the address.
    - `addresses`: properties that are shown with and without the length of a host. `times`: durations. `sets`: lists
      without an order. `rules`: texts in which spaces do not count.
    - `secrets`: passwords. They are shown as they were given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: str
    menus: dict[str, Menu]
    instance: str
    asn: str
    connections: str
    neighbor: str
    addresses: frozenset[str]
    times: frozenset[str]
    sets: frozenset[str]
    rules: frozenset[str]
    secrets: frozenset[str]
    prefix: str = Field(min_length=1)


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    return table_files.names(__package__)


@cache
def load(platform: str) -> MenuReading:
    """The table of a platform of `names()`."""
    return table_files.load(__package__, platform, MenuReading)
