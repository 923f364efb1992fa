"""What of a switch's configuration is ours, and what others made by hand.

Ours is what the table says (names with our prefix, options of the instance that we print), what the plan says, and a
neighbour that the plan has or that refers to a name of ours: once we made it, or somebody gave it into our hands. So is
the host route to such a neighbour, and a line that says otherwise what the plan says (another router ID). The rest is
left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.line_tree import Line, every
from fabric_templates.remediation.tables import Reading

#: The prefix lists of what the switch itself originates, and of what it announces: there an aggregate has an entry.
_ORIGINATED, _ANNOUNCED = f"{PREFIX}OWN-", f"{PREFIX}ANNOUNCE-"
#: (`network` or `aggregate`, prefix)
Stated = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Marks:
    """By what else one knows that a line is ours: neighbours, lists that our route maps use, prefixes that our lists
    name as originated or announced here."""

    neighbors: frozenset[str]
    lists: frozenset[str]
    originated: frozenset[Stated]


@dataclass(frozen=True, slots=True)
class Split:
    """`ours` of the running configuration; keys of `foreign` neighbours and `networks`; `taken` are neighbours that the
    plan has and that were made by hand."""

    ours: tuple[Line, ...]
    foreign: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


def split(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> Split:
    """`running` taken apart."""
    mentioned, known, planned = _keys_with_our_names(running, table), keys(running, table), keys(wanted, table)
    marks = _Marks(frozenset(planned | mentioned), frozenset(_used(running, table)), frozenset(_originated(running)))
    announced = _networks(running, table) - _networks(wanted, table) - marks.originated
    return Split(
        ours=_ours(running, wanted, table, marks),
        foreign=tuple(sorted(known - marks.neighbors)),
        taken=tuple(sorted(known & planned - mentioned)),
        networks=tuple(sorted(prefix for _, prefix in announced)),
    )


def keys(lines: Iterable[Line], table: Reading) -> set[str]:
    """The neighbours and peer-groups of the BGP instance."""
    return {key for line in _instance(lines, table) for key in _keys_of(line, table)}


def _instance(lines: Iterable[Line], table: Reading) -> Iterator[Line]:
    for line in lines:
        if table.instance.match(line.text):
            yield from line.below


def _keys_of(line: Line, table: Reading) -> Iterator[str]:
    key = table.key(line.text)
    if key is not None:
        yield key
    elif table.is_container(line.text):
        for below in line.below:
            yield from _keys_of(below, table)


def _keys_with_our_names(running: Iterable[Line], table: Reading) -> set[str]:
    """Neighbours that are in a group of ours or have a policy of ours."""
    found = set()
    for path in every(_instance(running, table)):
        if table.key(path[0]) is None and not table.is_container(path[0]):
            continue
        key = next((k for k in (table.key(text) for text in path) if k is not None), None)
        if key is not None and any(word.startswith(PREFIX) for word in path[-1].split()):
            found.add(key)
    return found


def _ours(
    running: Iterable[Line], wanted: Sequence[Line], table: Reading, marks: _Marks, *, in_instance: bool = False
) -> tuple[Line, ...]:
    said = {line.text: line for line in wanted}
    claimed = {table.claim(line.text) for line in wanted}
    found = []
    for line in running:
        inside = in_instance or bool(table.instance.match(line.text))
        key = table.key(line.text) if in_instance else None
        if key is not None:
            found += [line] if key in marks.neighbors else []
        elif table.is_container(line.text):
            there = said[line.text].below if line.text in said else ()
            below = _ours(line.below, there, table, marks, in_instance=inside)
            found += [replace(line, below=below)] if below or line.text in said else []
        elif table.claim(line.text) in claimed or _is_marked(line.text, table, marks, in_instance):
            found.append(line)
    return tuple(found)


def _is_marked(text: str, table: Reading, marks: _Marks, in_instance: bool) -> bool:
    if table.is_owned(text) or table.destination(text) in marks.neighbors:
        return True
    numbered = table.numbered.match(text) if table.numbered else None
    if numbered:
        return numbered["key"] in marks.lists
    return in_instance and _stated(text, table) in marks.originated


def _used(running: Iterable[Line], table: Reading) -> set[str]:
    """The lists without a name that something of ours refers to."""
    texts = (path[-1] for path in every(running) if table.is_owned(path[0]))
    return {found["key"] for found in map(table.uses.match, texts) if found} if table.uses else set()


def _originated(running: Iterable[Line]) -> Iterator[Stated]:
    """What stands in our lists: of what is announced only whole prefixes, which have no words behind them."""
    for path in every(running):
        words = [word.rstrip(",") for word in path[-1].split()]
        if _ORIGINATED in path[0]:
            yield from (("network", word) for word in words if "/" in word)
        elif _ANNOUNCED in path[0] and "/" in words[-1]:
            yield "aggregate", words[-1]


def _networks(lines: Iterable[Line], table: Reading) -> set[Stated]:
    found = (_stated(path[-1], table) for path in every(_instance(lines, table)) if _plain(path[:-1], table))
    return {one for one in found if one is not None}


def _stated(text: str, table: Reading) -> Stated | None:
    """`network 10.0.1.1 mask 255.255.255.255` -> `("network", "10.0.1.1/32")`."""
    for kind, pattern in (("network", table.networks), ("aggregate", table.aggregates)):
        found = pattern.match(text) if pattern else None
        if found:
            return _prefixed(kind, found["key"].replace(" mask ", " ").replace(" ", "/"))
    return None


def _prefixed(kind: str, text: str) -> Stated | None:
    try:
        return kind, str(ip_network(text))
    except ValueError:
        return None


def _plain(above: Sequence[str], table: Reading) -> bool:
    return all(table.is_container(text) for text in above)
