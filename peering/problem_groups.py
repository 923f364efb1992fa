"""Many problems that say the same of many objects, put together for a person.

A rack whose switch lost its subnets is one mistake and has a problem for each of its nodes. Each of them stays a
problem of its own (a node's status shows its own, `apply` compares one by one); only where they are printed they become
one line that names the first and counts the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from peering.problems import Problem

#: So many alike are still printed one by one.
_FEW = 3
#: Names that are told after the first.
_NAMED = 3


def together(problems: Iterable[Problem]) -> list[Problem]:
    """In the order given; those that differ only in their object's name are one, at the place of the first."""
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for problem in problems:
        kind = problem.object.partition("/")[0]
        key = (problem.severity, problem.code, kind, problem.path, problem.message, problem.hint)
        groups.setdefault(key, []).append(problem)
    return [one for group in groups.values() for one in (group if len(group) <= _FEW else [_as_one(group)])]


def _as_one(group: list[Problem]) -> Problem:
    first, *others = group
    names = [problem.object.partition("/")[2] or problem.object for problem in others]
    more = ", ..." if len(names) > _NAMED else ""
    same = f"; the same goes for {len(names)} others: {', '.join(names[:_NAMED])}{more}"
    return replace(first, message=first.message + same)
