"""A running tree against the plan's: what to set and to unset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from shlex import quote

import yaml

from fabric_templates.remediation.trees.leaves import Leaves, leaves
from fabric_templates.remediation.trees.ownership import Split, mark, split
from fabric_templates.remediation.trees.tables import Path, TreeReading, matched

#: Every value is the text that it is written as. The one in C, where it is there, is faster.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(text: str) -> Leaves:
    """The leaves of a JSON or YAML text. Raises ValueError where it is neither, or no tree."""
    try:
        tree = yaml.load(text, _LOADER)
    except yaml.YAMLError as error:
        raise ValueError("it is neither JSON nor YAML") from error
    if not isinstance(tree, (dict, list)):
        raise ValueError("it is no tree of settings")
    return leaves(tree)


def other_asn(running: Leaves, wanted: Leaves, table: TreeReading) -> str | None:
    """The AS that the switch runs, where it is not that of the plan."""
    places = (path for path in wanted if any(matched(pattern, path) for pattern in table.asn))
    return next((running[path] for path in places if running.get(path, wanted[path]) != wanted[path]), None)


def remedy(running: Leaves, wanted: Leaves, table: TreeReading) -> tuple[tuple[str, ...], Split]:
    """(lines, what is whose). Passwords are not compared."""
    parts = split(running, wanted, table)
    gone = [path for path in parts.ours if path not in wanted]
    changed = [path for path, value in wanted.items() if path not in running or _differs(path, value, running, table)]
    lines = (
        *(_line(table.unset, path, "", table) for path in _shortest(gone, {*running, *wanted} - {*gone}, table)),
        *(_line(table.set, path, wanted[path], table) for path in sorted(changed)),
    )
    return lines, parts


def _differs(path: Path, value: str, running: Leaves, table: TreeReading) -> bool:
    return path[-1] not in table.secrets and running[path] != value


def _shortest(gone: Iterable[Path], staying: set[Path], table: TreeReading) -> Iterator[Path]:
    """The places to unset: as high as nothing that stays is below, and not above what is ours."""
    kept = {path[:n] for path in staying for n in range(1, len(path) + 1)}
    found = set()
    for path in gone:
        lengths = range(mark(path, table), len(path) + 1)
        found.add(next((path[:n] for n in lengths if path[:n] not in kept), path))
    yield from sorted(found)


def _line(template: str, path: Path, value: str, table: TreeReading) -> str:
    words = (*path[table.skip :], *((value,) if value else ()))
    return template.replace("{path}", " ".join(quote(word) for word in words))
