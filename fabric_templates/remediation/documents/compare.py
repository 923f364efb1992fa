"""A running document against the plan's."""

from __future__ import annotations

from itertools import takewhile

from fabric_templates.remediation.documents import objects, patches, set_lines, whole_file
from fabric_templates.remediation.documents.goal import goal
from fabric_templates.remediation.documents.reading import Leaves, any_tree, json_tree, leaves
from fabric_templates.remediation.documents.tables import DocumentReading, load, place
from fabric_templates.remediation.notes import Remedy, as_differs, empty, not_read, notes
from fabric_templates.render import Passwords, render
from peering.problems import Problem
from peering.session import SwitchPlan


def compare(name: str, plan: SwitchPlan, running: str, passwords: Passwords | None) -> Remedy:
    """What leads `Switch/NAME`, of a platform that has a table, from `running` to its plan. Raises RenderRefused."""
    where, platform = f"Switch/{name}", plan.platform.partition("@")[0]
    table = load(platform, {one.name: one.value for one in plan.settings})
    if not running.strip():
        return Remedy((), (empty(where, table.show),))
    text = "".join(render(name, plan, passwords=passwords).values())
    wanted = read(text, table)
    try:
        there = _seen(read(running, table), table)
    except ValueError as error:
        return Remedy((), (not_read(where, str(error), table.show),))
    refused = _objection(where, plan, there, wanted, table)
    if refused:
        return Remedy((), (refused,))
    shown = passwords is not None
    target = goal(there, wanted, table, compare_secrets=shown and table.secrets_shown)
    forms = {
        "patch": lambda: patches.patch(there, target.leaves),
        "lines": lambda: set_lines.lines(there, target.leaves, table),
        "objects": lambda: objects.post(there, target.leaves, table),
        "file": lambda: whole_file.file(there, target.leaves, wanted, table, head=_head(text), with_secrets=shown),
    }
    return Remedy(forms[table.form](), tuple(notes(where, target)))


def _head(text: str) -> str:
    """What the rendered file says before its first setting: of GoBGP what has to be said at the command line."""
    return "\n".join(takewhile(lambda line: line.startswith("#"), text.splitlines()))


def _seen(there: Leaves, table: DocumentReading) -> Leaves:
    """Without passwords, where a switch does not always show them."""
    return {p: value for p, value in there.items() if table.secrets_present or p[-1] not in table.secrets}


def read(text: str, table: DocumentReading) -> Leaves:
    """The leaves of a text. Raises ValueError where it is none of the platform's."""
    if table.form == "objects":
        return objects.read(text, table)
    tree = any_tree(text) if table.form == "file" else json_tree(text)
    return leaves(tree, table)


def _objection(where: str, plan: SwitchPlan, there: Leaves, wanted: Leaves, table: DocumentReading) -> Problem | None:
    """Why nothing is said to the switch."""
    if not there or there == {(): {}}:
        return empty(where, table.show)
    if table.form == "objects" and not {path[:1] for path in there} & {path[:1] for path in wanted}:
        return not_read(where, "it is another tenant", table.show)
    places = (path for path in wanted if place(path, table.asn))
    others = (str(there[path]) for path in places if path in there and str(there[path]) != str(wanted[path]))
    return next((as_differs(where, asn, plan.asn) for asn in others), None)
