"""`delete` and `set` lines of SR Linux from one document to another, for one candidate.

A list of values is deleted before it is set, as setting adds to what is there. Entries that count in their order are
said again, all of those of a policy, where the order would be another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from fabric_templates.remediation.documents.goal import owned_depth
from fabric_templates.remediation.documents.reading import Leaves, entry
from fabric_templates.remediation.documents.tables import DocumentReading, Path

_WORD = re.compile(r"[A-Za-z0-9_./:-]+")
_ORDERED = "statement"


def lines(running: Leaves, goal: Leaves, table: DocumentReading) -> tuple[str, ...]:
    """Deletions first; none where the documents are equal."""
    running, goal = _without_keys(running, table), _without_keys(goal, table)
    again = _disordered(running, goal)
    there = {p: v for p, v in running.items() if not any(p[: len(q)] == q for q in again)}
    gone = [path for path in running if path not in goal]
    changed = [path for path, value in goal.items() if there.get(path) != value]
    lists = [path for path in changed if isinstance(there.get(path), list)]
    deleted = {*_shortest(gone, goal, table), *lists}
    deleted = {p for p in deleted if not any(p[: len(q)] == q for q in again)} | again
    return (
        *(f"delete / {_words(path)}" for path in sorted(deleted)),
        *(f"set / {_words(path)}{_value(goal[path])}" for path in changed),
    )


def _without_keys(found: Leaves, table: DocumentReading) -> Leaves:
    """The leaves that are not the name of the entry that they are in, which its path says; an entry with nothing else
    is one leaf."""
    kept = {path: value for path, value in found.items() if not _is_key(path, table)}
    named: Leaves = {path[:-1]: {} for path in found if _is_key(path, table)}
    full = {path[:length] for path in (*kept, *named) for length in range(1, len(path))}
    return kept | {path: value for path, value in named.items() if path not in full}


def _is_key(path: Path, table: DocumentReading) -> bool:
    name, of_entry = entry(path[-2]) if len(path) > 1 else ("", "")
    return bool(of_entry) and any(path[-1] in keys for keys in table.keys.get(name, ()))


def _disordered(running: Leaves, goal: Leaves) -> set[Path]:
    """The lists whose entries would be in another order, by what has them."""
    there, wanted = _orders(running), _orders(goal)
    found = set()
    for path, order in there.items():
        staying = [one for one in order if one in wanted.get(path, ())]
        new = [one for one in wanted.get(path, ()) if one not in staying]
        if [*staying, *new] != wanted.get(path, []):
            found.add(path)
    return found


def _orders(found: Leaves) -> dict[Path, list[str]]:
    orders: dict[Path, list[str]] = {}
    for path in found:
        for number, key in enumerate(path):
            if entry(key)[0] == _ORDERED and entry(key)[1]:
                known = orders.setdefault(path[:number], [])
                known += [] if key in known else [key]
    return orders


def _shortest(gone: Iterable[Path], goal: Leaves, table: DocumentReading) -> Iterator[Path]:
    """The places to delete: as high as nothing that stays is below, and not above what is ours."""
    kept = {path[:n] for path in goal for n in range(1, len(path) + 1)}
    for path in gone:
        lengths = range(owned_depth(path, table), len(path) + 1)
        yield next((path[:n] for n in lengths if path[:n] not in kept), path)


def _words(path: Path) -> str:
    words = (word for key in path for word in (entry(key)[0], *entry(key)[1].split(" ")) if word)
    return " ".join(map(_word, words))


def _word(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _value(value: Any) -> str:
    if value == {}:
        return ""
    return f" [ {' '.join(map(_word, value))} ]" if isinstance(value, list) else f" {_word(value)}"
