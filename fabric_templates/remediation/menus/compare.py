"""A running export against the plan's file: what to remove, to set and to add.

What refers to a list or chain changes before those go that are not used any more, and after those came that it will
use. A chain that changes is removed and said again: while it is empty, it rejects. Sessions stay where the neighbour
has the same properties; a property that cannot be unset with certainty makes the neighbour go and come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

from fabric_templates.remediation.menus.forms import compared
from fabric_templates.remediation.menus.ownership import split
from fabric_templates.remediation.menus.reading import Item, items
from fabric_templates.remediation.menus.tables import Menu, MenuReading, load
from fabric_templates.remediation.notes import Remedy, as_differs, empty, notes
from fabric_templates.render import Passwords, render
from peering.session import SwitchPlan

Groups = dict[tuple[str, ...], list[Item]]
Form = Callable[[Item], dict[str, str]]


def compare(name: str, plan: SwitchPlan, running: str, passwords: Passwords | None) -> Remedy:
    """What leads `Switch/NAME` from the export `running` to its plan. Raises RenderRefused as `render` does."""
    where, table = f"Switch/{name}", load(plan.platform.partition("@")[0])
    there = items(running)
    if not there:
        return Remedy((), (empty(where, table.show),))
    wanted = items("\n".join(render(name, plan, passwords=passwords).values()))
    parts = split(there, wanted, table)
    asn = next((item.values.get(table.asn) for item in parts.ours if item.menu == table.instance), None)
    if asn is not None and asn != str(plan.asn):
        return Remedy((), (as_differs(where, asn, plan.asn),))
    lines = remedy(parts.ours, wanted, table, secrets=passwords is not None)
    return Remedy(tuple(lines), tuple(notes(where, parts)))


def remedy(ours: Sequence[Item], wanted: Sequence[Item], table: MenuReading, *, secrets: bool) -> Iterator[str]:
    """The lines."""
    last: list[list[str]] = []
    form = partial(compared, table=table, secrets=secrets)
    for path, menu in table.menus.items():
        known, goal = (_groups([one for one in some if one.menu == path], menu, form) for some in (ours, wanted))
        gone = [_removed(path, menu, known[key][0]) for key in known if key not in goal]
        # A neighbour goes before another one of its address comes; what is referred to goes last.
        if menu.kind == "items":
            yield from gone
        else:
            last.insert(0, gone)
        yield from (line for key, some in goal.items() for line in _changes(path, menu, known.get(key, []), some, form))
    yield from chain.from_iterable(last)


def _groups(some: Sequence[Item], menu: Menu, form: Form) -> Groups:
    found: Groups = {}
    for item in some:
        found.setdefault(tuple(form(item).get(name, "") for name in menu.key), []).append(item)
    return found


def _changes(path: str, menu: Menu, known: Sequence[Item], goal: Sequence[Item], form: Form) -> Iterator[str]:
    there, wanted = [form(item) for item in known], [form(item) for item in goal]
    if there == wanted:
        return
    settable = menu.kind == "items" and len(there) == len(wanted) == 1
    if settable and all(name in wanted[0] or name in menu.defaults for name in there[0]):
        yield _set(path, menu, goal[0], there[0], wanted[0])
        return
    if known:
        yield _removed(path, menu, known[0])
    yield from (f"{_command(path)} add {' '.join(item.said.values())}" for item in goal)


def _set(path: str, menu: Menu, goal: Item, there: dict[str, str], wanted: dict[str, str]) -> str:
    changed = [goal.said[name] for name, value in wanted.items() if there.get(name) != value]
    back = (name for name in there if name not in wanted)
    words = (*changed, *(goal.said.get(name, f"{name}={menu.defaults[name]}") for name in back))
    return f"{_command(path)} set {_found(menu, goal)} {' '.join(words)}"


def _removed(path: str, menu: Menu, item: Item) -> str:
    return f"{_command(path)} remove {_found(menu, item)}"


def _found(menu: Menu, item: Item) -> str:
    words = (f'{name}="{item.values.get(name) or ""}"' for name in menu.key)
    return f"[find where {' '.join(words)}]"


def _command(path: str) -> str:
    return f"/{path.replace(' ', '/')}"
