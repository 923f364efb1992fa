"""What of a tree is ours; the rules are those of `remediation.ownership`, said of places in a tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.trees.leaves import Leaves
from fabric_templates.remediation.trees.tables import Path, TreeReading, matched

#: The prefix lists of what the switch itself originates, and of what it announces: there an aggregate has an entry.
_ORIGINATED, _ANNOUNCED = f"{PREFIX}OWN-", f"{PREFIX}ANNOUNCE-"


@dataclass(frozen=True, slots=True)
class Split:
    """`ours` of the running tree; keys of `foreign` neighbours and `networks`; `taken` neighbours were made by hand."""

    ours: Leaves
    foreign: tuple[str, ...]
    networks: tuple[str, ...]
    taken: tuple[str, ...]


def split(running: Leaves, wanted: Leaves, table: TreeReading) -> Split:
    """`running` taken apart. Other VRFs than those of the plan are nobody's concern here."""
    known, planned = _places(running, table.neighbors), _places(wanted, table.neighbors)
    mentioned = {p for path, value in running.items() if _mentions(path, value) for p in _place(path, table.neighbors)}
    owned = planned | mentioned
    originated = _originated(running)
    networks = _places(running, table.networks) - _places(wanted, table.networks)
    vrfs = {place[:-1] for place in planned}
    return Split(
        ours={p: v for p, v in running.items() if p in wanted or _is_ours(p, table, owned, originated)},
        foreign=tuple(sorted(place[-1] for place in known - owned if place[:-1] in vrfs)),
        networks=tuple(sorted(n[-1] for n in networks if n[-1] not in originated and n[:-1] in vrfs)),
        taken=tuple(sorted(place[-1] for place in known & planned - mentioned)),
    )


def _originated(running: Iterable[Path]) -> set[str]:
    """What our lists name; of what is announced only whole prefixes, below which there is nothing."""
    own = {word for path in running if any(_ORIGINATED in key for key in path) for word in path if "/" in word}
    return own | {path[-1] for path in running if any(_ANNOUNCED in key for key in path) and "/" in path[-1]}


def mark(path: Path, table: TreeReading) -> int:
    """How many keys lead to the thing of ours that `path` is in: what is above it is shared with others."""
    for number, key in enumerate(path, 1):
        if key.startswith(PREFIX):
            return number
    about = chain(table.neighbors, table.networks, table.routes, table.options)
    return next((len(pattern) for pattern in about if matched(pattern, path)), len(path))


def _is_ours(path: Path, table: TreeReading, owned: set[Path], originated: set[str]) -> bool:
    if any(key.startswith(PREFIX) for key in path) or any(matched(option, path) for option in table.options):
        return True
    if any(place in owned for place in _place(path, table.neighbors)):
        return True
    addresses = {place[-1] for place in owned}
    to_neighbor = any(place[-1].rpartition("/")[0] in addresses for place in _place(path, table.routes))
    return to_neighbor or any(place[-1] in originated for place in _place(path, table.networks))


def _mentions(path: Path, value: str) -> bool:
    return any(text.startswith(PREFIX) for text in (*path, value))


def _places(leaves: Iterable[Path], patterns: Iterable[Path]) -> set[Path]:
    patterns = tuple(patterns)
    return {place for path in leaves for place in _place(path, patterns)}


def _place(path: Path, patterns: Iterable[Path]) -> list[Path]:
    return [found for pattern in patterns if (found := matched(pattern, path))]
