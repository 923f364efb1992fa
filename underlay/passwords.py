"""The passwords of a snapshot, by reference: what a rendered configuration needs, and what restarts sessions."""

from __future__ import annotations

from peering.resources.observed import SecretSpec
from peering.session import SecretKeyRef
from peering.snapshot import Snapshot


def passwords_of(snapshot: Snapshot) -> dict[SecretKeyRef, str]:
    """Every value of every Secret of the snapshot, by reference."""
    secrets = snapshot.specs("Secret", SecretSpec)
    return {SecretKeyRef(name, key): value for name, s in secrets.items() for key, value in s.values.items()}


def rekeyed(before: Snapshot, after: Snapshot) -> frozenset[SecretKeyRef]:
    """The passwords that have another value afterwards, or none: sessions with them do not stay up."""
    now = passwords_of(after)
    return frozenset(ref for ref, value in passwords_of(before).items() if now.get(ref) != value)
