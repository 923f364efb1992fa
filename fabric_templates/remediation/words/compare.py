"""Running lines against the plan's: what to delete, what to activate and what to set, in one candidate configuration.

What is deleted goes as a whole where nothing in it stays. Entries whose order counts and would come out in another one
are deleted and said again: a commit carries out no more than the difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from fabric_templates.remediation.notes import Remedy, as_differs, empty, not_read, notes
from fabric_templates.remediation.words.ownership import mark, split
from fabric_templates.remediation.words.reading import Paths, printed, read
from fabric_templates.remediation.words.tables import KEY, Path, WordReading, key_of, load, matched
from fabric_templates.render import Passwords, render
from peering.session import SwitchPlan

_HIDDEN = "<hidden>"
#: What is shown in place of a password.
_MASK = re.compile(r"\*{2,}|<hidden>")


def compare(name: str, plan: SwitchPlan, running: str, passwords: Passwords | None) -> Remedy:
    """What leads `Switch/NAME` from the configuration `running` to its plan. Raises RenderRefused as `render` does."""
    where, table = f"Switch/{name}", load(plan.platform.partition("@")[0])
    wanted = read("\n".join(render(name, plan, passwords=passwords).values()), table)
    try:
        there = read(running, table)
    except ValueError as error:
        return Remedy((), (not_read(where, str(error), table.show),))
    if not there.said:
        return Remedy((), (empty(where, table.show),))
    asn = next((key for path in there.said if (key := key_of(path, table.asn)) and key[0].isdigit()), None)
    if asn is not None and asn != str(plan.asn):
        return Remedy((), (as_differs(where, asn, plan.asn),))
    compared = passwords is not None and table.secrets_shown
    known = _shown(there.said, wanted.said, compared, table)
    goal = {_comparable(path, compared, table): path for path in wanted.said}
    parts = split(known, goal, table)
    lines = remedy(Paths(known, there.inactive), parts.ours, goal, table)
    return Remedy(tuple(lines), tuple(notes(where, parts)))


def _comparable(path: Path, compared: bool, table: WordReading) -> Path:
    hide = len(path) > 1 and path[-2] in table.secrets and not compared
    return (*path[:-1], _HIDDEN) if hide else path


def _shown(running: Iterable[Path], wanted: Iterable[Path], compared: bool, table: WordReading) -> tuple[Path, ...]:
    """The running paths as they are compared. Of a password that is masked it is known that there is one."""
    passwords = {path[:-1]: path for path in wanted if path[-2] in table.secrets}
    found = []
    for path in (_comparable(path, compared, table) for path in running):
        masked = len(path) > 1 and path[-2] in table.secrets and _MASK.fullmatch(path[-1])
        found.append(passwords.get(path[:-1], path) if compared and masked else path)
    return tuple(found)


def remedy(there: Paths, ours: Iterable[Path], goal: Mapping[Path, Path], table: WordReading) -> Iterator[str]:
    """The lines. `goal` are the paths that are wanted, as they are compared -> as they are to be said."""
    ours, running = tuple(ours), frozenset(there.said)
    remade = tuple(_disordered(ours, goal, table))
    taken = {slot for path in goal if (slot := _slot(path, table))}
    gone = [p for p in ours if p not in goal and _slot(p, table) not in taken and not _is_below(p, remade)]
    staying = {*running, *goal} - {*gone}
    for path in (*remade, *_shortest(gone, staying, table)):
        yield printed("delete", path, table)
    for path in there.inactive:
        if any(_is_below(one, (path,)) for one in goal):
            yield printed("activate", path, table)
    for path, said in goal.items():
        if path not in running or _is_below(path, remade):
            yield printed("set", said, table)


def _slot(path: Path, table: WordReading) -> Path:
    """What is about one value, without it."""
    above = path[:-1]
    return above if any(matched(words, above[-len(words) :]) for words in table.single) else ()


def _is_below(path: Path, places: Iterable[Path]) -> bool:
    return any(path[: len(place)] == place for place in places)


def _disordered(ours: Iterable[Path], goal: Iterable[Path], table: WordReading) -> Iterator[Path]:
    """The places whose entries would not come out in the order that is wanted if the new ones were said last."""
    there, wanted = _entries(ours, table), _entries(goal, table)
    for place, entries in there.items():
        goals = wanted.get(place, [])
        left = [entry for entry in entries if entry in goals]
        if left + [entry for entry in goals if entry not in left] != goals:
            yield place[:-1] if place[-1] in table.lists else place


def _entries(paths: Iterable[Path], table: WordReading) -> dict[Path, list[str]]:
    found: dict[Path, dict[str, None]] = {}
    for path in paths:
        for pattern in table.ordered:
            if matched(pattern, path):
                start = pattern.index(KEY)
                found.setdefault(path[:start], {})[path[start]] = None
    return {place: list(entries) for place, entries in found.items()}


def _shortest(gone: Iterable[Path], staying: set[Path], table: WordReading) -> Iterator[Path]:
    """What to delete: as high as nothing that stays is below, and not above what is ours."""
    kept = {path[:n] for path in staying for n in range(1, len(path) + 1)}
    found: dict[Path, None] = {}
    for path in gone:
        lengths = (n for n in range(mark(path, table), len(path) + 1) if not _cuts(n, path, table))
        found[next((path[:n] for n in lengths if path[:n] not in kept), path)] = None
    yield from found


def _cuts(length: int, path: Path, table: WordReading) -> bool:
    """Whether the first `length` words of the path cannot be said alone."""
    units = (unit for unit in table.units if matched(unit, path))
    return path[length - 1] in table.lists or any(len(unit) <= length < len(path) for unit in units)
