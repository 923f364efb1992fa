"""What a document is to become: what others have in it, and of ours what the plan says.

The rules are those of `remediation.ownership`, said of places in a document. The goal is worked out first and whole, so
that a form of the remedy has nothing to decide: it leads from one document to the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.documents.reading import Leaves
from fabric_templates.remediation.documents.tables import Announced, DocumentReading, Path, Place, depth, place


@dataclass(frozen=True, slots=True)
class Goal:
    """`leaves` of the document as it should be, ours in the plan's order. Keys of `foreign` neighbours and `networks`,
    which are left alone; `taken` are neighbours of the plan that were made by hand."""

    leaves: Leaves
    foreign: tuple[str, ...]
    networks: tuple[str, ...]
    taken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Marks:
    """By what else one knows that a place is ours: neighbours, and what our lists name as announced by the switch."""

    neighbors: frozenset[Place]
    announced: frozenset[Place]


def goal(running: Leaves, wanted: Leaves, table: DocumentReading, *, compare_secrets: bool) -> Goal:
    """Where `running` should lead to."""
    known, planned = _places(running, table.neighbors), _places(wanted, table.neighbors)
    given = _given(running, table)
    ours = frozenset(place for kind in table.announced for place in _named(running, kind))
    marks = _Marks(frozenset(planned | given), ours)
    instances = {"", *(found.vrf for found in _places(wanted, table.asn))}
    networks = _places(running, table.networks) - _places(wanted, table.networks) - ours
    kept = {p: v for p, v in running.items() if p not in wanted and _stays(p, v, table, marks)}
    said = {p: _value(p, v, running, table, compare_secrets) for p, v in wanted.items() if _is_said(p, running, table)}
    return Goal(
        leaves=kept | said,
        foreign=tuple(sorted(found.key for found in known - marks.neighbors if found.vrf in instances)),
        networks=tuple(sorted(found.key for found in networks if found.vrf in instances)),
        taken=tuple(sorted(found.key for found in known & planned - given)),
    )


def owned_depth(path: Path, table: DocumentReading) -> int:
    """How many keys lead to the thing of ours that `path` is in: what is above it is shared with others."""
    own = next((number for number, key in enumerate(path, 1) if table.is_own(key)), None)
    about = (*table.neighbors, *table.owned, *table.networks, *table.routes, *table.options)
    return own or depth(path, about) or len(path)


def same(one: Any, other: Any, name: str, table: DocumentReading) -> bool:
    """Whether two values of the leaf `name` mean the same."""
    if name in table.unordered:
        return sorted(_texts(one)) == sorted(_texts(other))
    return _text(one) == _text(other)


def _stays(path: Path, value: Any, table: DocumentReading, marks: _Marks) -> bool:
    """Of what is in a document and not in the plan."""
    return not _is_ours(path, value, table, marks) or _text(value) in table.defaults.get(path[-1], ())


def _is_ours(path: Path, value: Any, table: DocumentReading, marks: _Marks) -> bool:
    if place(path, table.theirs):
        return False
    neighbor = place(path, table.neighbors)
    if neighbor:
        return neighbor in marks.neighbors
    if any(map(table.is_own, path)) or place(path, (*table.owned, *table.options)):
        return True
    network, route = place(path, table.networks), place(path, table.routes)
    if network:
        return network in marks.announced
    return route is not None and (_mentions(path, value, table) or _leads_to_one(route, marks.neighbors))


def _leads_to_one(route: Place, neighbors: Iterable[Place]) -> bool:
    try:
        network = ip_network(route.key)
    except ValueError:
        return False
    return network.num_addresses == 1 and route._replace(key=str(network.network_address)) in neighbors


def _is_said(path: Path, running: Leaves, table: DocumentReading) -> bool:
    """Whether a leaf of the plan can be in the goal: not a password that the switch never shows, of what is there."""
    hidden = path[-1] in table.secrets and not table.secrets_present
    return not hidden or path[:-1] not in running


def _value(path: Path, wanted: Any, running: Leaves, table: DocumentReading, compare_secrets: bool) -> Any:
    """The plan's value, or that of the switch where it means the same or cannot be compared."""
    if path not in running:
        return wanted
    there = running[path]
    if path[-1] in table.secrets and not compare_secrets:
        return there
    if place(path, table.shared) and isinstance(there, list):
        wanted = _shared(there, wanted)
    return there if same(there, wanted, path[-1], table) else wanted


def _shared(there: list[Any], wanted: list[Any]) -> list[Any]:
    """Our names in place of those of ours that are there, and the others where they were, before or behind."""
    first = next((n for n, one in enumerate(there) if str(one).startswith(PREFIX)), len(there))
    before, behind = (
        [one for one in some if not str(one).startswith(PREFIX)] for some in (there[:first], there[first:])
    )
    return [*before, *wanted, *behind]


def _given(running: Leaves, table: DocumentReading) -> set[Place]:
    """Neighbours that refer to something of ours, or that a list of ours names."""
    mentioned = {n for p, v in running.items() if (n := place(p, table.neighbors)) and _mentions(p, v, table)}
    lists = (value for path, value in running.items() if place(path, table.members))
    return mentioned | {Place("", name) for members in lists for name in _texts(members)}


def _mentions(path: Path, value: Any, table: DocumentReading) -> bool:
    words = (*path, *_texts(value), *(word for key in path for word in re.split(r"[\[\]]", key)))
    return any(re.search(table.mention, word) for word in words)


def _named(running: Leaves, kind: Announced) -> set[Place]:
    """Of what is announced that which our lists name."""
    named = {found.key for found in _places(running, kind.named)}
    return {found for found in _places(running, kind.places) if found.key in named}


def _places(leaves: Iterable[Path], patterns: Iterable[Path]) -> set[Place]:
    patterns = tuple(patterns)
    return {found for path in leaves if (found := place(path, patterns))}


def _texts(value: Any) -> list[str]:
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
