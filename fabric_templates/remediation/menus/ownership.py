"""What of the menus is ours; the rules are those of `remediation.ownership`, said of items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabric_templates.remediation.menus.reading import Item
from fabric_templates.remediation.menus.tables import MenuReading


@dataclass(frozen=True, slots=True)
class Split:
    """`ours` of the running items; keys of `foreign` neighbours; `taken` neighbours were made by hand. What others
    announce is at their neighbours, so there are no `networks`."""

    ours: tuple[Item, ...]
    foreign: tuple[str, ...]
    taken: tuple[str, ...]
    networks: tuple[str, ...] = ()


def split(running: Sequence[Item], wanted: Iterable[Item], table: MenuReading) -> Split:
    """`running` taken apart."""
    known = [item for item in running if item.menu == table.connections]
    planned = {_key(item, table) for item in wanted if item.menu == table.connections}
    mentioned = [item for item in known if any(value.startswith(table.prefix) for value in item.values.values())]
    by_hand = [item for item in known if item not in mentioned]
    taken = [item for item in by_hand if _key(item, table) in planned]
    return Split(
        ours=tuple(item for item in running if _is_named(item, table) or item in mentioned or item in taken),
        foreign=tuple(sorted({_key(item, table) for item in by_hand if item not in taken})),
        taken=tuple(sorted(_key(item, table) for item in taken)),
    )


def _is_named(item: Item, table: MenuReading) -> bool:
    return item.menu in table.menus and item.values.get(table.menus[item.menu].named, "").startswith(table.prefix)


def _key(item: Item, table: MenuReading) -> str:
    """The neighbour's address, of a range with its length; the name where it has none."""
    address = item.values.get(table.neighbor, item.values.get("name", "?"))
    host = "/128" if ":" in address else "/32"
    return address.removesuffix(host)
