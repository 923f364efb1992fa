"""A daemon's file against the plan's, as a unified diff: what `patch` takes, and what people read.

Such a daemon has no lines that change a part of what it runs: the file is changed, looked at by the daemon's own parser
and loaded as a whole. So what is said is how the file changes. What others wrote into it keeps its place and its text,
and so does what of ours differs in comments and spaces alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from fabric_templates.remediation.blocks.ownership import is_ours, name_of, split
from fabric_templates.remediation.blocks.statements import Statement, statements
from fabric_templates.remediation.blocks.tables import FileReading, load
from fabric_templates.remediation.notes import Remedy, as_differs, empty, not_read, notes
from fabric_templates.render import Passwords, render
from peering.session import SwitchPlan

_HIDDEN = "<hidden>"
_CONTEXT = 3


def compare(name: str, plan: SwitchPlan, running: str, passwords: Passwords | None) -> Remedy:
    """What leads the file `running` of `Switch/NAME` to its plan. Raises RenderRefused as `render` does."""
    where, table = f"Switch/{name}", load(plan.platform.partition("@")[0])
    wanted, _ = statements("\n".join(render(name, plan, passwords=passwords).values()), table)
    try:
        there, end = statements(running if passwords is not None else _hidden(running, table), table)
    except ValueError as error:
        return Remedy((), (not_read(where, str(error), table.show),))
    if not there:
        return Remedy((), (empty(where, table.show),))
    if any(table.includes.match(one.said) for one in there) and not any(is_ours(one, table) for one in there):
        return Remedy((), (not_read(where, f"it includes {table.file}, which holds what is ours", table.show),))
    asn = _other_asn(there, wanted, table)
    if asn is not None:
        return Remedy((), (as_differs(where, asn, plan.asn),))
    goal = wanted if passwords is not None else tuple(_without_secrets(one, table) for one in wanted)
    parts = split(there, goal, table)
    new = (*_merged(there, parts.theirs, goal, wanted, table), _New("", end, end))
    old = "".join(one.before + one.text for one in there) + end
    return Remedy(tuple(_diff(old, new, table.file)), tuple(notes(where, parts)))


def _hidden(text: str, table: FileReading) -> str:
    return table.secrets.sub(rf'\g<before>"{_HIDDEN}"', text)


def _without_secrets(statement: Statement, table: FileReading) -> Statement:
    ((hidden,), _) = statements(_hidden(statement.text, table), table)
    return Statement(statement.before, hidden.text, hidden.words)


def _other_asn(running: Sequence[Statement], wanted: Sequence[Statement], table: FileReading) -> str | None:
    """The AS of what is ours, where none of it has one of the plan."""
    found, planned = ([m["key"] for one in some for m in _asns(one, table)] for some in (running, wanted))
    return found[0] if found and planned and not {*found} & {*planned} else None


def _asns(statement: Statement, table: FileReading) -> Iterator[re.Match[str]]:
    if is_ours(statement, table):
        yield from table.asn.finditer(statement.said)


@dataclass(frozen=True, slots=True)
class _New:
    """A statement of the new file; `real` is `text` with its passwords or what stands for them."""

    before: str
    text: str
    real: str


def _merged(
    there: Sequence[Statement],
    theirs: Sequence[Statement | None],
    goal: Sequence[Statement],
    wanted: Sequence[Statement],
    table: FileReading,
) -> Iterator[_New]:
    """The new file: `goal` in its order, and `theirs` in theirs, both where the running file has them."""
    known, planned = ([name_of(one, table) or one.said for one in some] for some in (there, goal))
    for tag, start, end, first, last in SequenceMatcher(None, known, planned, autojunk=False).get_opcodes():
        if tag != "equal":
            # Ours comes first: bgpd wants the AS before all neighbours, and what is ours may be used by others.
            ours = zip(goal[first:last], wanted[first:last], strict=True)
            yield from (_New(g.before, g.text, w.text) for g, w in ours)
            yield from (_New(one.before, one.text, one.text) for one in theirs[start:end] if one)
            continue
        for old, g, w in zip(there[start:end], goal[first:last], wanted[first:last], strict=True):
            text, real = (old.text, old.text) if old.words == g.words else (g.text, w.text)
            yield _New(old.before, text, real)


def _diff(old: str, new: Sequence[_New], file: str) -> Iterator[str]:
    """None where nothing changes."""
    before = old.splitlines()
    after = "".join(one.before + one.text for one in new).splitlines()
    real = "".join(one.before + one.real for one in new).splitlines()
    if before == after:
        return
    changes = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(_CONTEXT)
    yield from (f"--- {file}", f"+++ {file}")
    for group in changes:
        yield _where(group)
        for tag, start, end, first, last in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[start:end])
                continue
            yield from (f"-{line}" for line in before[start:end])
            yield from (f"+{line}" for line in real[first:last])


def _where(group: Sequence[tuple[str, int, int, int, int]]) -> str:
    """`@@ -12,6 +12,7 @@`: the first line and how many there are, before and after. Neither file is without any."""
    sides = ((group[0][1], group[-1][2]), (group[0][3], group[-1][4]))
    old, new = (f"{start + 1},{end - start}" for start, end in sides)
    return f"@@ -{old} +{new} @@"
