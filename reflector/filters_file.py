"""`--filters FILE`: the policy of all clients, where there is no store.

BGPFilters as they are applied to a cluster, Calico's way: YAML documents, or a List. All of them hold for every client,
in both directions, in the order in which they are written. All mistakes are found at once, each with its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from peering.lint.filters import dead_rules_of
from peering.manifests import read_manifests
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import Named, SessionType
from reflector.plan_objections import interface_rules

_KIND = "BGPFilter"
#: Of the sessions with clients.
_TYPES: tuple[SessionType, ...] = ("ibgp",)


def read_filters(path: Path) -> tuple[Named, list[Problem]]:
    """The filters, and all that is wrong with them; those of a file with an error are not to be used."""
    if str(path) == "-":
        message = "standard input cannot be read again at SIGHUP"
        return (), [Problem("error", "unreadable-file", "--filters", "", message, "name a file")]
    resources, problems = read_manifests([path])
    problems += [_foreign(one, path) for one in resources if one.kind != _KIND]
    filters = tuple((one.name, cast(BGPFilterSpec, one.spec)) for one in resources if one.kind == _KIND)
    for name, spec in filters:
        problems += dead_rules_of(f"{_KIND}/{name}", spec, _TYPES)
        problems += interface_rules("a reflector", name, spec)
    return filters, problems


def _foreign(resource: Resource, path: Path) -> Problem:
    message = f"is in {path}, where only {_KIND} belongs"
    return Problem("error", "bad-value", resource.ref, "kind", message, "take it out: it needs a store, and --name")
