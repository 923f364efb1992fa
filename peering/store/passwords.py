"""Passwords by reference: read by name only, at the moment a daemon's configuration is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from peering.resources.observed import SecretSpec
from peering.session import Plan, SecretKeyRef, Session
from peering.store.protocol import Store
from peering.store.resources import find


def references(sessions: Iterable[Session]) -> set[SecretKeyRef]:
    """The passwords that the sessions refer to."""
    return {session.password for session in sessions if session.password is not None}


def all_sessions(plan: Plan) -> list[Session]:
    """Every session of every end."""
    ends: list[tuple[Session, ...]] = [speaker.sessions for speaker in plan.speakers.values()]
    ends += [reflector.sessions for reflector in plan.reflectors.values()]
    ends += [switch.sessions for switch in plan.switches.values()]
    return [session for sessions in ends for session in sessions]


async def resolve(store: Store, wanted: Iterable[SecretKeyRef]) -> dict[SecretKeyRef, str]:
    """The values of those that exist. A missing one is left out: its session must stay down, not go without."""
    values = {}
    for reference in wanted:
        secret = await find(store, "Secret", reference.name)
        value = cast(SecretSpec, secret.spec).values.get(reference.key) if secret else None
        if value:
            values[reference] = value
    return values
