"""Ansible's parsers of a running configuration, those of the resource modules (`state: parsed`), without Ansible.

They are in the collections arista.eos, cisco.nxos, cisco.ios and cisco.iosxr of PyPI's ansible. A line that they do not
know they leave out without a word, so they prove values and no syntax.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from ipaddress import ip_network
from typing import Any

Data = dict[str, Any]


@cache
def _template(module: str, name: str) -> Any:
    collection, _, file = module.rpartition(".")
    system = collection.rpartition(".")[2]
    path = f"ansible_collections.{collection}.plugins.module_utils.network.{system}.rm_templates.{file}"
    return getattr(importlib.import_module(path), name)


def parsed(module: str, name: str, lines: Iterable[str]) -> Data:
    """What a parser finds: `parsed("arista.eos.bgp_global", "Bgp_globalTemplate", lines)`."""
    parser = _template(module, name)(lines=list(lines))
    parser._template = _remembering(module, name)
    return parser.parse()  # type: ignore[no-any-return]


@cache
def _remembering(module: str, name: str) -> Any:
    """A parser's own templating, which compiles an expression for every line, with a memory of those it has seen."""
    template = _template(module, name)(lines=[])._template
    template.env.from_string = cache(template.env.from_string)
    return template


#: What every configuration says, whatever the plan: how many paths are used, and what follows from a limit.
PATHS, WARN_PERCENT, RESTART_MINUTES = 16, 80, 5


def unlike(where: str, found: Data, wanted: Data) -> list[str]:
    """A complaint for each value that is another one."""
    return [
        f"{where} {name}: {found.get(name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]


def prefix_entries(entries: Iterable[tuple[str, str, int | None, int | None]]) -> frozenset[tuple[str, int, int]]:
    """(prefix, shortest, longest) of what is permitted; given are (action, prefix, ge, le)."""
    found = set()
    for action, prefix, ge, le in entries:
        network = ip_network(prefix)
        longest = network.max_prefixlen if ge is not None else network.prefixlen
        if action == "permit":
            found.add((str(network), network.prefixlen if ge is None else ge, longest if le is None else le))
    return frozenset(found)


def flattened(module: str, text: str) -> list[str]:
    """The lines as a module's own facts code prepares them for its parser: each with the block that it is inside of."""
    collection, _, name = module.rpartition(".")
    system = collection.rpartition(".")[2]
    path = f"ansible_collections.{collection}.plugins.module_utils.network.{system}.facts.{name}.{name}"
    facts = getattr(importlib.import_module(path), f"{name.capitalize()}Facts")
    lines = facts._flatten_config(facts.__new__(facts), text)
    return lines.splitlines() if isinstance(lines, str) else list(lines)


def blocks_flattened(collection: str, text: str, word: str) -> list[str]:
    """The lines, those inside of a block that begins with `word` each with its block, as the collection does it."""
    system = collection.rpartition(".")[2]
    path = f"ansible_collections.{collection}.plugins.module_utils.network.{system}.utils.utils"
    return str(importlib.import_module(path).flatten_config(text, word)).splitlines()
