"""Everything declared at one moment: the only input of `plan()`.

Immutable. Two snapshots with the same resources are the same, in whatever order they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, cast

from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.fields import Spec

S = TypeVar("S", bound=Spec)


class Snapshot:
    """Resources by kind and name."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        by_kind: dict[str, dict[str, Resource]] = {}
        for resource in sorted(resources, key=lambda r: r.ref):
            by_kind.setdefault(resource.kind, {})[resource.name] = resource
        self._by_kind = by_kind

    def all(self, kind: str) -> Mapping[str, Resource]:
        """The resources of a kind by name, in the order of names."""
        return self._by_kind.get(kind, {})

    def get(self, kind: str, name: str) -> Resource | None:
        return self.all(kind).get(name)

    def specs(self, kind: str, spec: type[S]) -> dict[str, S]:
        """The specs of a kind by name; `spec` is its model."""
        return {name: cast(S, resource.spec) for name, resource in self.all(kind).items()}

    def with_changes(self, changed: Iterable[Resource], removed: Iterable[str] = ()) -> Snapshot:
        """A snapshot with resources put in (by ref) and refs taken out."""
        merged = {r.ref: r for resources in self._by_kind.values() for r in resources.values()}
        merged.update({r.ref: r for r in changed})
        for ref in removed:
            merged.pop(ref, None)
        return Snapshot(merged.values())

    def configuration(self) -> BGPConfigurationSpec:
        """BGPConfiguration/default, or its defaults."""
        default = self.get("BGPConfiguration", "default")
        return cast(BGPConfigurationSpec, default.spec) if default else BGPConfigurationSpec()

    def __iter__(self) -> Iterator[Resource]:
        return (r for resources in self._by_kind.values() for r in resources.values())
