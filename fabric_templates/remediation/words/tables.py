"""How a platform of `set` lines is read, and what of it is ours: `words/PLATFORM.yml`.

A place is written as the words that lead to it; `*` is any word, `NAME*` one that begins so, `{key}` the one that it is
about.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fabric_templates.remediation import table_files

Path = tuple[str, ...]
KEY = "{key}"


def _words(value: object) -> object:
    return tuple(value.split()) if isinstance(value, str) else value


Place = Annotated[Path, BeforeValidator(_words)]
Places = tuple[Place, ...]


class Origin(BaseModel):
    """`places` of what the switch announces of its own, and the lists of ours by whose prefixes (`named`) one knows
    that it is ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places: Places
    named: Places


class WordReading(BaseModel):
    """One platform.

    - `asn`: the AS of the instance. `neighbors`: a neighbour, or a listen range. `routes`: static routes.
    - `owned`: what is ours by its name. `options`: what is rendered for some plans only, and so is ours without being
      in the plan.
    - `single`: words, with those before them, that one value follows: another one takes its place.
    - `ordered`: entries that count in the order in which they were said.
    - `lists`: words that are not said without the name of an entry after them.
    - `units`: words that are taken away together or not at all; the last one begins them.
    - `apart`: words after which a line says several things: a value, flags, and these words with a value each.
    - `secrets`: words that a password follows. `secretsShown`: whether it is shown as it was given.
    - `quote`: what a text stands in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: str
    asn: Places
    neighbors: Places
    originates: tuple[Origin, ...]
    routes: Places
    owned: Places
    options: Places = ()
    single: Places
    ordered: Places = ()
    lists: frozenset[str]
    units: Places = ()
    apart: dict[str, tuple[str, ...]] = {}
    secrets: frozenset[str]
    secrets_shown: bool = Field(False, alias="secretsShown")
    quote: str


def matched(pattern: Path, path: Path) -> bool:
    """Whether `path` is at the place or below it."""
    return len(path) >= len(pattern) and all(map(_is, pattern, path))


def key_of(path: Path, places: Iterable[Path]) -> str | None:
    """The word that the first place that matches is about."""
    return next((path[place.index(KEY)] for place in places if matched(place, path)), None)


def _is(pattern: str, word: str) -> bool:
    if pattern == KEY:
        return True
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    return table_files.names(__package__)


@cache
def load(platform: str) -> WordReading:
    """The table of a platform of `names()`."""
    return table_files.load(__package__, platform, WordReading)
