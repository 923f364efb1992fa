"""A file as it should be, where a platform has one and no other way: its head tells what is another than before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from fabric_templates.remediation.documents.goal import owned_depth
from fabric_templates.remediation.documents.reading import Leaves, entry, tree, with_lists
from fabric_templates.remediation.documents.tables import DocumentReading, Path, place

_HIDDEN = "<secret>"
_NO_PASSWORDS = "# Passwords are left out: for a file to load say --with-secrets."
#: Seen with gobgpd 3.10, which reads the file again on SIGHUP.
_RESTART = (
    "# gobgpd has to be started again for this: a reload takes what is added, what is removed and policies, but of all",
    "# neighbors that change only the first one.",
)


def file(
    running: Leaves, goal: Leaves, wanted: Leaves, table: DocumentReading, *, head: str, with_secrets: bool
) -> tuple[str, ...]:
    """The file in YAML; nothing where the documents are equal. Without `with_secrets` passwords are what they are in
    `wanted`, those of others are left out, and the head says so, after `head`."""
    if running == goal:
        return ()
    shown = goal if with_secrets else {p: _unseen(p, value, wanted, table) for p, value in goal.items()}
    said = [*head.splitlines(), *(f"# {change}" for change in _changes(running, goal, table))]
    said += _RESTART if _needs_restart(running, goal, table) else ()
    said += [_NO_PASSWORDS] if not with_secrets and any(path[-1] in table.secrets for path in shown) else []
    text = yaml.safe_dump(with_lists(tree(shown)), sort_keys=True, allow_unicode=True, width=200)
    return (*said, *text.splitlines())


def _unseen(path: Path, value: Any, wanted: Leaves, table: DocumentReading) -> Any:
    return wanted.get(path, _HIDDEN) if path[-1] in table.secrets else value


def _needs_restart(running: Leaves, goal: Leaves, table: DocumentReading) -> bool:
    """Whether the instance itself or several neighbours that stay are another than before."""
    differing = [path for path in {**running, **goal} if running.get(path) != goal.get(path)]
    before, after = ({place(path, table.neighbors) for path in some} for some in (running, goal))
    changed = {place(path, table.neighbors) for path in differing} & before & after
    return len(changed - {None}) > 1 or any(path[:2] == ("global", "config") for path in differing)


def _changes(running: Leaves, goal: Leaves, table: DocumentReading) -> Iterator[str]:
    """`removed`, `added` and `changed` with the place: the whole thing of ours where all of it goes or is new."""
    before, after = _above(running), _above(goal)
    places = {
        "removed": {_whole(path, after, table) for path in running if path not in goal},
        "added": {_whole(path, before, table) for path in goal if path not in running},
        "changed": {path for path, value in goal.items() if path in running and running[path] != value},
    }
    for word, paths in places.items():
        yield from (f"{word}: {_words(path)}" for path in sorted(paths))


def _above(found: Iterable[Path]) -> set[Path]:
    return {path[:length] for path in found for length in range(1, len(path) + 1)}


def _whole(path: Path, others: set[Path], table: DocumentReading) -> Path:
    lengths = range(min(owned_depth(path, table), len(path)), len(path) + 1)
    return next((path[:n] for n in lengths if path[:n] not in others), path)


def _words(path: Path) -> str:
    return " ".join(" ".join(filter(None, entry(key))) for key in path)
