"""What of a file is ours; the rules are those of `remediation.ownership`, said of statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.blocks.statements import Statement, without
from fabric_templates.remediation.blocks.tables import FileReading
from fabric_templates.remediation.tables import KeyPattern

_ORIGINATED = f"{PREFIX}OWN-"


@dataclass(frozen=True, slots=True)
class Split:
    """`theirs` are, for each statement, what stays of it if it is not in the plan; keys of `foreign` neighbours and
    `networks`; `taken` neighbours were made by hand."""

    theirs: tuple[Statement | None, ...]
    foreign: tuple[str, ...]
    networks: tuple[str, ...]
    taken: tuple[str, ...]


def split(running: Sequence[Statement], wanted: Iterable[Statement], table: FileReading) -> Split:
    """`running` taken apart."""
    wanted = tuple(wanted)
    known, planned = neighbors(running, table), neighbors(wanted, table)
    mentioned = neighbors((s for s in running if _is_session(s, table) and _mentions(s)), table)
    owned = planned | mentioned
    originated = {word for s in running if _ORIGINATED in s.header for word in s.words if "/" in word}
    networks = _found(wanted, table.networks)
    return Split(
        theirs=tuple(_theirs(s, owned, networks | originated, table) for s in running),
        foreign=tuple(sorted(known - owned)),
        networks=tuple(sorted(_found(running, table.networks) - networks - originated)),
        taken=tuple(sorted(known & planned - mentioned)),
    )


def name_of(statement: Statement, table: FileReading) -> str | None:
    """What a statement of ours is called, or is about: another one of that name takes its place."""
    found = (pattern.match(statement.said) for pattern in (*table.named, *table.slots))
    return next((match[0].replace("'", "") for match in found if match), None)


def is_ours(statement: Statement, table: FileReading) -> bool:
    """Whether it is ours by what it says, whoever its neighbours are."""
    owned = any(pattern.match(statement.said) for pattern in table.owned)
    return owned or name_of(statement, table) is not None


def neighbors(found: Iterable[Statement], table: FileReading) -> set[str]:
    """The keys of the neighbours."""
    return {key for statement in found for key in _keys(statement, table)}


def _theirs(statement: Statement, owned: set[str], networks: set[str], table: FileReading) -> Statement | None:
    if is_ours(statement, table):
        return None
    if _found((statement,), table.rules) & owned or _found((statement,), table.networks) & networks:
        return None
    keys = set(_keys(statement, table))
    if not keys & owned:
        return statement
    return without(statement, owned, table) if keys - owned else None


def _is_session(statement: Statement, table: FileReading) -> bool:
    return bool(table.sessions.match(statement.said))


def _keys(statement: Statement, table: FileReading) -> Iterator[str]:
    if _is_session(statement, table):
        yield from (match["key"] for match in table.neighbor.finditer(statement.said))


def _mentions(statement: Statement) -> bool:
    return any(word.strip("\"'").startswith(PREFIX) for word in statement.words)


def _found(statements: Iterable[Statement], pattern: KeyPattern | None) -> set[str]:
    matches = (pattern.match(statement.said) for statement in statements) if pattern else ()
    return {match["key"] for match in matches if match}
