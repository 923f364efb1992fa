"""A switch's running configuration against its plan: the lines to say to the switch, and what stands beside them.

running ─► tree ─► ours ─────────────┐
              └──► of others: told   ├─► neighbours that go ─► the platform's engine ─► lines
plan ────► rendered ─► tree ─────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from fabric_templates.remediation import hierarchy, reload, secrets, tables
from fabric_templates.remediation.blocks import compare as blocks
from fabric_templates.remediation.blocks import tables as block_tables
from fabric_templates.remediation.documents import compare as documents
from fabric_templates.remediation.documents import tables as document_tables
from fabric_templates.remediation.line_tree import Line, parse, printed
from fabric_templates.remediation.menus import compare as menus
from fabric_templates.remediation.menus import tables as menu_tables
from fabric_templates.remediation.neighbors import leaving
from fabric_templates.remediation.notes import Remedy, as_differs, empty, not_read, notes
from fabric_templates.remediation.ownership import split
from fabric_templates.remediation.tables import Reading
from fabric_templates.remediation.trees import compare as settings
from fabric_templates.remediation.trees import tables as tree_tables
from fabric_templates.remediation.words import compare as words
from fabric_templates.remediation.words import tables as word_tables
from fabric_templates.render import Passwords, render
from peering.problems import Problem, errors
from peering.session import SwitchPlan

_CODE = "platform-not-compared"


def unreadable(name: str, plan: SwitchPlan) -> Problem | None:
    """Why running configurations of the platform are not compared."""
    known = sorted((*tables.names(), *tree_tables.names(), *_others()))
    if _platform(plan) in known:
        return None
    message = f"running configurations of platform {plan.platform!r} are not compared"
    hint = f"compared are those of {', '.join(known)}"
    return Problem("error", _CODE, f"Switch/{name}", "spec.platform", message, hint)


def compare(name: str, plan: SwitchPlan, running: str, *, passwords: Passwords | None = None) -> Remedy:
    """What leads `Switch/NAME` from the configuration `running` to its plan.

    Passwords are compared where they are given and the switch shows them; otherwise only that there is one. Raises
    RenderRefused as `render` does.
    """
    refused = unreadable(name, plan)
    if refused:
        return Remedy((), (refused,))
    if _platform(plan) in tree_tables.names():
        return _compare_trees(name, plan, running, passwords)
    if _platform(plan) in _others():
        return _others()[_platform(plan)](name, plan, running, passwords)
    table = tables.load(_platform(plan))
    there, wanted = line_trees(name, plan, running, passwords)
    problems = tuple(_objections(f"Switch/{name}", plan, there, table))
    if errors(problems):
        return Remedy((), problems)
    real = secrets.originals(wanted, table)
    if passwords is None or not table.secrets_shown:
        there, wanted = secrets.hidden(there, table), secrets.hidden(wanted, table)
    parts = split(there, wanted, table)
    lines = secrets.revealed(remedy_of(parts.ours, wanted, table), real, table)
    return Remedy(tuple(printed(lines)), (*problems, *notes(f"Switch/{name}", parts)))


@cache
def _others() -> dict[str, Callable[[str, SwitchPlan, str, Passwords | None], Remedy]]:
    """Platforms that are neither indented lines nor a tree -> who compares them."""
    kinds = (
        (block_tables, blocks),
        (document_tables, documents),
        (menu_tables, menus),
        (word_tables, words),
    )
    return {platform: engine.compare for reading, engine in kinds for platform in reading.names()}


def _compare_trees(name: str, plan: SwitchPlan, running: str, passwords: Passwords | None) -> Remedy:
    where, table = f"Switch/{name}", tree_tables.load(_platform(plan))
    if not running.strip():
        return Remedy((), (empty(where, table.show),))
    wanted = settings.read("\n".join(render(name, plan, passwords=passwords).values()))
    try:
        there = settings.read(running)
    except ValueError as error:
        return Remedy((), (not_read(where, str(error), table.show),))
    asn = settings.other_asn(there, wanted, table)
    if asn is not None:
        return Remedy((), (as_differs(where, asn, plan.asn),))
    lines, parts = settings.remedy(there, wanted, table)
    return Remedy(lines, tuple(notes(where, parts)))


def line_trees(
    name: str, plan: SwitchPlan, running: str, passwords: Passwords | None
) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """What the switch runs and what the plan wants of it, without what does not count."""
    table = tables.load(_platform(plan))
    wanted = "\n".join(render(name, plan, passwords=passwords).values())
    return _same(parse(running, table), table), _same(parse(wanted, table), table)


def remedy_of(ours: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    """What leads from one tree, all of it ours, to another."""
    parts = leaving(ours, wanted, table)
    engine: Callable[[Sequence[Line], Sequence[Line], Reading], tuple[Line, ...]]
    engine = reload.remedy if table.engine == "reload" else hierarchy.remedy
    first, last = ([reload.closed(line, table) for line in lines] for lines in (parts.neighbors, parts.groups))
    return (*first, *engine(parts.left, wanted, table), *last)


def _platform(plan: SwitchPlan) -> str:
    return plan.platform.partition("@")[0]


def _same(lines: Iterable[Line], table: Reading, above: str = "") -> tuple[Line, ...]:
    """The lines without what does not count, and with what is not shown."""
    found = []
    for line in lines:
        text = line.text
        for pattern, replacement in table.same:
            text = pattern.sub(replacement, text)
        below = (*_same(line.below, table, text), *_implied(line, table, above))
        found.append(replace(line, text=text, below=below))
    return tuple(found)


def _implied(line: Line, table: Reading, above: str) -> Iterator[Line]:
    said = {table.slot(below.text) for below in line.below}
    for around, section, text in table.implied:
        if around.match(above) and section.match(line.text) and table.slot(text) not in said:
            yield Line(text)


def _objections(where: str, plan: SwitchPlan, running: Sequence[Line], table: Reading) -> Iterator[Problem]:
    if not running:
        yield empty(where, table.show)
    found = (table.instance.match(line.text) for line in running)
    for asn in (match["asn"] for match in found if match and match["asn"] != str(plan.asn)):
        yield as_differs(where, asn, plan.asn)
