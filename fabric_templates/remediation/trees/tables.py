"""How a platform's tree is read, and what of it is ours: `trees/PLATFORM.yml`.

A place in the tree is written as the keys that lead to it; `*` is any key, `{key}` the one that it is about.
"""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, ConfigDict

from fabric_templates.remediation import table_files

Path = tuple[str, ...]
KEY = "{key}"


class TreeReading(BaseModel):
    """One platform.

    - `asn`: the AS of the instance. `neighbors`: a neighbour, or a listen range. `networks`: what is announced.
      `routes`: static routes.
    - `options`: what is rendered for some plans only, and so is ours without being in the plan.
    - `secrets`: keys of passwords, which switches show in a form of their own.
    - `set`, `unset`: the lines of the remedy; `skip` keys at the beginning are not in `{path}`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: str
    asn: tuple[Path, ...]
    neighbors: tuple[Path, ...]
    networks: tuple[Path, ...]
    routes: tuple[Path, ...]
    options: tuple[Path, ...] = ()
    secrets: tuple[str, ...]
    set: str
    unset: str
    skip: int = 0


def matched(pattern: Path, path: Path) -> Path | None:
    """What stands for `*` and `{key}`, where `path` is at the place or below it."""
    if len(path) < len(pattern):
        return None
    pairs = list(zip(pattern, path, strict=False))
    if any(wanted not in ("*", KEY, found) for wanted, found in pairs):
        return None
    return tuple(found for wanted, found in pairs if wanted in ("*", KEY))


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    return table_files.names(__package__)


@cache
def load(platform: str) -> TreeReading:
    """The table of a platform of `names()`."""
    return table_files.load(__package__, platform, TreeReading)
