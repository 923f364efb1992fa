"""There and back: what a push says to a switch, and what takes it back if sessions do not come up.

The way back is worked out before the first line is said, from what the switch runs, and limited to what is ours: what
others change in between stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric_templates.remediation import secrets, tables
from fabric_templates.remediation.compare import compare, line_trees, remedy_of
from fabric_templates.remediation.line_tree import Line, every, printed
from fabric_templates.remediation.ownership import split
from fabric_templates.remediation.reload import negated
from fabric_templates.remediation.tables import Reading
from fabric_templates.render import Passwords
from peering.problems import Problem, errors
from peering.session import SwitchPlan


@dataclass(frozen=True, slots=True)
class Ways:
    """Lines with real passwords, to be kept from sight; `shown` is `forth` without them. All empty where the switch
    runs the plan, or `problems` has an error."""

    forth: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def ways(name: str, plan: SwitchPlan, running: str, passwords: Passwords) -> Ways:
    """From `running` to the plan of `Switch/NAME`, and back. For platforms that show passwords as they were given."""
    problems = compare(name, plan, running, passwords=passwords).problems
    if errors(problems):
        return Ways(problems=problems)
    table = tables.load(plan.platform.partition("@")[0])
    there, wanted = line_trees(name, plan, running, passwords)
    ours = split(there, wanted, table).ours
    forth = remedy_of(ours, wanted, table)
    return Ways(
        forth=tuple(printed(forth)),
        back=tuple(printed(_back(there, ours, wanted, table))) if forth else (),
        shown=tuple(printed(secrets.hidden(forth, table))),
        problems=problems,
    )


def _back(there: Sequence[Line], ours: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    """A switch that had no BGP instance has none afterwards."""
    if any(table.instance.match(line.text) for line in there):
        return remedy_of(wanted, ours, table)
    instances = [line for line in wanted if table.instance.match(line.text)]
    others = [line for line in wanted if line not in instances]
    return (*(Line(negated(line.text)) for line in instances), *remedy_of(others, ours, table))


def is_back(name: str, plan: SwitchPlan, before: str, after: str, passwords: Passwords) -> bool:
    """Whether what is ours in `after` is what it was in `before`, whatever order it is shown in."""
    table = tables.load(plan.platform.partition("@")[0])
    states = []
    for running in (before, after):
        there, wanted = line_trees(name, plan, running, passwords)
        states.append(set(every(split(there, wanted, table).ours)))
    return states[0] == states[1]
