"""What of the paths is ours; the rules are those of `remediation.ownership`.

One is narrower: a group that others made stays theirs where it has a policy of ours, since its neighbours are in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.words.tables import Path, Places, WordReading, key_of, matched


@dataclass(frozen=True, slots=True)
class Split:
    """`ours` of what runs; keys of `foreign` neighbours and `networks`; `taken` neighbours were made by hand."""

    ours: tuple[Path, ...]
    foreign: tuple[str, ...]
    networks: tuple[str, ...]
    taken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Marks:
    """By what else one knows that a line is ours: neighbours, and prefixes that our lists name, for each `Origin`."""

    neighbors: set[str]
    originated: tuple[set[str], ...]


def split(running: Iterable[Path], wanted: Iterable[Path], table: WordReading) -> Split:
    """`running` taken apart. Other VRFs are nobody's concern here."""
    running, wanted = tuple(running), frozenset(wanted)
    known, planned = _keys(running, table.neighbors), _keys(wanted, table.neighbors)
    mentioned = _keys((path for path in running if _mentions(path)), table.neighbors)
    owned = planned | mentioned
    marks = _Marks(owned, tuple(_keys(running, one.named) for one in table.originates))
    networks = set[str]()
    for one, named in zip(table.originates, marks.originated, strict=True):
        networks |= _keys(running, one.places) - _keys(wanted, one.places) - named
    return Split(
        ours=tuple(path for path in running if path in wanted or _is_ours(path, table, marks)),
        foreign=tuple(sorted(known - owned)),
        networks=tuple(sorted(networks)),
        taken=tuple(sorted(known & planned - mentioned)),
    )


def mark(path: Path, table: WordReading) -> int:
    """How many words lead to the thing of ours that `path` is in: what is above it is shared with others."""
    origins = chain.from_iterable(one.places for one in table.originates)
    places = (*table.owned, *table.neighbors, *origins, *table.routes, *table.options)
    return min((len(place) for place in places if matched(place, path)), default=len(path))


def _is_ours(path: Path, table: WordReading, marks: _Marks) -> bool:
    if any(matched(place, path) for place in (*table.owned, *table.options)):
        return True
    destination = key_of(path, table.routes) or ""
    if key_of(path, table.neighbors) in marks.neighbors or destination.rpartition("/")[0] in marks.neighbors:
        return True
    origins = zip(table.originates, marks.originated, strict=True)
    return any(key_of(path, one.places) in named for one, named in origins)


def _mentions(path: Path) -> bool:
    return any(word.startswith(PREFIX) for word in path)


def _keys(paths: Iterable[Path], places: Places) -> set[str]:
    return {key for path in paths if (key := key_of(path, places)) is not None}
