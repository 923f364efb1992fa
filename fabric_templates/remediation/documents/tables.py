"""How a platform's document is read, what of it is ours and in which form the remedy is: `documents/PLATFORM.yml`.

A place in a document is written as the keys that lead to it. An entry of a list, or an object, is one key with its own
name in brackets: `neighbor[10.1.1.1]`. In a pattern `*` is any text, `{vrf}` and `{key}` are what the place is about,
and a `{name}` of the plan's settings stands for its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from fabric_templates.remediation import table_files

Path = tuple[str, ...]


class Place(NamedTuple):
    """What stands for `{vrf}`, empty where the platform has none, and `{key}`."""

    vrf: str
    key: str


class Announced(BaseModel):
    """`places` of what is announced. It is ours where it is `named` in lists of ours, too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places: tuple[Path, ...]
    named: tuple[Path, ...]


class DocumentReading(BaseModel):
    """One platform.

    - `form`: a JSON patch, set and delete lines, objects for the APIC, or the whole file.
    - `modules`: what is left out before names, a regular expression. `keys`: of a list, or a class of objects, what
      makes the name of one; of several ways the first that fits.
    - `asn`: the AS of the instance. `neighbors`: a neighbour or a listen range. `members`: lists of neighbours that are
      ours because of it. `announced`: networks and aggregates. `routes`: static routes.
    - `options`: what is rendered for some plans only, and so is ours without being in the plan. `theirs` is never ours.
    - `own`: names of ours, where not only what is `owned` is; `mention`: values that name something of ours. Both are
      regular expressions.
    - `shared`: lists of names, ours and those of others. `unordered`: lists whose order says nothing.
    - `defaults`: values that say nothing, by name. `printed`: the attributes that are compared, where there are others.
    - `secrets`: passwords. They can be compared where they are `secrets_shown`; where they are not, `secrets_present`
      tells whether one sees that there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: str
    form: Literal["patch", "lines", "objects", "file"]
    modules: str = ""
    keys: dict[str, tuple[tuple[str, ...], ...]] = {}
    asn: tuple[Path, ...] = ()
    neighbors: tuple[Path, ...]
    members: tuple[Path, ...] = ()
    announced: tuple[Announced, ...] = ()
    routes: tuple[Path, ...] = ()
    options: tuple[Path, ...] = ()
    theirs: tuple[Path, ...] = ()
    owned: tuple[Path, ...] = ()
    own: str | None = "^UNDERLAY-"
    mention: str = "^UNDERLAY-"
    shared: tuple[Path, ...] = ()
    unordered: frozenset[str] = frozenset()
    defaults: dict[str, tuple[str, ...]] = {}
    printed: dict[str, frozenset[str]] = {}
    secrets: frozenset[str] = frozenset()
    secrets_shown: bool = False
    secrets_present: bool = True

    @property
    def networks(self) -> tuple[Path, ...]:
        """The places of everything that is announced."""
        return tuple(pattern for one in self.announced for pattern in one.places)

    def is_own(self, key: str) -> bool:
        """Whether a key of a place has a name of ours in it."""
        return self.own is not None and any(re.search(self.own, word) for word in re.split(r"[\[\]|]", key))


def place(path: Path, patterns: Iterable[Path]) -> Place | None:
    """What the first of the patterns is about that `path` is at or below."""
    return next((found for pattern in patterns if (found := _matched(pattern, path))), None)


def depth(path: Path, patterns: Iterable[Path]) -> int | None:
    """How many keys lead to the place of the first of the patterns that `path` is at or below."""
    return next((len(pattern) for pattern in patterns if _matched(pattern, path)), None)


def _matched(pattern: Path, path: Path) -> Place | None:
    if len(path) < len(pattern):
        return None
    found: dict[str, str] = {}
    for wanted, key in zip(pattern, path, strict=False):
        if wanted == key:
            continue
        match = _expression(wanted).fullmatch(key)
        if match is None:
            return None
        found |= match.groupdict()
    return Place(found.get("vrf", ""), found.get("key", ""))


@cache
def _expression(key: str) -> re.Pattern[str]:
    signs = {"*": ".*" if key == "*" else "[^|]*", "{vrf}": "(?P<vrf>[^|]*)", "{key}": "(?P<key>[^|]*)"}
    return re.compile("".join(signs.get(part, re.escape(part)) for part in re.split(r"(\*|\{vrf\}|\{key\})", key)))


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    return table_files.names(__package__)


def load(platform: str, settings: Mapping[str, str]) -> DocumentReading:
    """The table of a platform of `names()`, for a Switch with these settings."""
    return _load(platform, tuple(sorted(settings.items())))


@cache
def _load(platform: str, settings: tuple[tuple[str, str], ...]) -> DocumentReading:
    text = table_files.text(__package__, platform)
    for name, value in settings:
        text = text.replace(f"<{name}>", value)
    return DocumentReading.model_validate(yaml.safe_load(text))
