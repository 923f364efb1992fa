"""Names that lead nowhere: filters, BFD profiles, Secrets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from peering.problems import Problem
from peering.resource import Resource
from peering.resources.bfd import BFDProfileSpec
from peering.resources.fabric import Management
from peering.resources.fields import Password
from peering.resources.observed import SecretSpec
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Declared:
    """What other resources may refer to by name."""

    filters: frozenset[str]
    bfd_profiles: Mapping[str, BFDProfileSpec]
    secrets: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Declared:
        secrets = snapshot.specs("Secret", SecretSpec)
        return cls(
            filters=frozenset(snapshot.all("BGPFilter")),
            bfd_profiles=snapshot.specs("BFDProfile", BFDProfileSpec),
            secrets=frozenset((name, key) for name, secret in secrets.items() for key in secret.values),
        )


def unknown_filter(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """Calico skips a filter that does not exist; the session is then open."""
    names: tuple[str, ...] = getattr(resource.spec, "filters", ())
    for index, name in enumerate(names):
        if name not in declared.filters:
            path, message = f"spec.filters[{index}]", f"there is no BGPFilter/{name}: nothing passes this session"
            hint = _known(name, declared.filters)
            yield Problem("error", "unknown-filter", resource.ref, path, message, hint)


def unknown_bfd_profile(resource: Resource, declared: Declared) -> Iterator[Problem]:
    name: str | None = getattr(resource.spec, "bfd", None)
    if name is not None and name not in declared.bfd_profiles:
        message = f"there is no BFDProfile/{name}: these sessions go without BFD"
        hint = _known(name, declared.bfd_profiles)
        yield Problem("error", "unknown-bfd-profile", resource.ref, "spec.bfd", message, hint)


def missing_secret(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """No session goes without its password; it waits for it."""
    for field, name in (("password", "password"), ("node_mesh_password", "nodeMeshPassword")):
        password: Password | None = getattr(resource.spec, field, None)
        if password is None:
            continue
        ref = password.secret_key_ref
        if (ref.name, ref.key) not in declared.secrets:
            message = f"there is no key {ref.key!r} in Secret/{ref.name}"
            hint = f"apply a Secret {ref.name} with the key {ref.key}; until then these sessions stay down"
            path = f"spec.{name}.secretKeyRef"
            yield Problem("warning", "missing-secret", resource.ref, path, message, hint)


def missing_login(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """Of a Switch: nobody could log in to it."""
    management: Management | None = getattr(resource.spec, "management", None)
    if management is None or management.secret_ref is None:
        return
    name = management.secret_ref.name
    if name not in {secret for secret, _ in declared.secrets}:
        message, hint = f"there is no Secret/{name}", "apply it with the keys username and password"
        yield Problem("warning", "missing-secret", resource.ref, "spec.management.secretRef", message, hint)


def _known(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"declared: {', '.join(sorted(known)) or 'none'}"
