"""What the store declares for one reflector, read again and again. Nothing is done twice that need not be.

Every change in the cluster wakes a reflector: documents of a known version are not read again, where only blocks
changed nothing is compiled, and what is equal to what was there before is the same object as before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from peering.compile import Compiler
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.session import Plan, SecretKeyRef
from peering.snapshot import Snapshot
from peering.store.passwords import resolve
from peering.store.protocol import Store
from peering.store.resources import Loader
from reflector.declaration import Declaration, declaration_of, errors_of
from reflector.server.tcp_options import LONGEST_PASSWORD

_READ = (*PLAN_KINDS, "BlockAffinity")
#: What a change of wakes a reflector. Secrets are read by name, and only those that it needs.
WATCHED = (*_READ, "Secret")


@dataclass(frozen=True, slots=True)
class Reading:
    """`declaration` is None where there is no such reflector.

    `errors` concern it; `unreadable` are documents that may have been a part of it.
    """

    declaration: Declaration | None
    errors: tuple[Problem, ...] = ()
    unreadable: tuple[Problem, ...] = ()


class PlanReader:
    """Reads what concerns RouteReflector `name`."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._loader = Loader(store)
        self._compiler = Compiler()
        self._inputs: tuple[Resource, ...] = ()
        self._compiled = Plan()
        self._declaration: Declaration | None = None

    async def read(self) -> Reading:
        """Raises StoreError, OSError."""
        resources, _, unreadable = await self._loader.load(_READ)
        declared = tuple(r for r in resources if r.kind in PLAN_KINDS)
        if not self._inputs or not _same(self._inputs, declared):
            self._inputs, self._compiled = declared, self._compiler.plan(Snapshot(declared))
        declaration = declaration_of(self._name, self._compiled, Snapshot(resources))
        if declaration != self._declaration:
            self._declaration = declaration
        errors = errors_of(self._name, self._compiled)
        if any(problem.object == f"RouteReflector/{self._name}" for problem in unreadable):
            errors = tuple(problem for problem in errors if problem.code != "unknown-reflector")  # it is, but wrongly
        return Reading(self._declaration, errors, tuple(unreadable))

    async def passwords(
        self, wanted: Collection[SecretKeyRef]
    ) -> tuple[dict[SecretKeyRef, bytes], tuple[Problem, ...]]:
        """The values of those that can be used, and why the others cannot: their sessions stay down."""
        found = {ref: value.encode() for ref, value in (await resolve(self._store, wanted)).items()}
        usable = {ref: value for ref, value in found.items() if len(value) <= LONGEST_PASSWORD}
        return usable, tuple(_unusable(self._name, wanted, found))


def _unusable(name: str, wanted: Collection[SecretKeyRef], found: Mapping[SecretKeyRef, bytes]) -> list[Problem]:
    problems = []
    for ref in sorted(wanted, key=lambda one: (one.name, one.key)):
        where = f"Secret/{ref.name}", f"stringData[{ref.key}]"
        if ref not in found:
            message = f"is not there, and sessions of RouteReflector/{name} stay down without it"
            problems.append(Problem("warning", "missing-secret", *where, message, "apply the Secret"))
        elif len(found[ref]) > LONGEST_PASSWORD:
            message = f"is longer than {LONGEST_PASSWORD} octets, and sessions of RouteReflector/{name} stay down"
            problems.append(Problem("warning", "reflector-cannot", *where, message, "TCP-MD5 takes a shorter one"))
    return problems


def _same(one: Sequence[Resource], other: Sequence[Resource]) -> bool:
    """Whether they are the same objects; the loader keeps what did not change."""
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
