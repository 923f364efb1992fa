"""What a server is to be, and the part of it that changed: how it travels between processes. Pure.

The configuration of a large fabric is ten thousand neighbours; what changes is one of them. Only that is sent, so that
the process that keeps the sessions is busy for a moment and not for half a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from peering.delta import delta
from peering.prefixes import Address
from peering.session import SecretKeyRef
from reflector.configuration import Owners, Peer, ReflectorConfiguration

Origin = Literal["store", "saved", "options"]


@dataclass(frozen=True, slots=True)
class Desired:
    """`passwords` are those that are known; a session whose password is not stays down.

    `origin` is where it is from: the store, the disk while the store is away, or the command line.
    """

    configuration: ReflectorConfiguration
    passwords: Mapping[SecretKeyRef, bytes] = field(default_factory=dict, repr=False)
    origin: Origin = "store"


@dataclass(frozen=True, slots=True)
class Change:
    """From one desired set to the next: `rest` has neither peers nor owners. `owners` None: as they were."""

    rest: Desired
    peers: Mapping[Address, Peer]
    gone: tuple[Address, ...]
    owners: Owners | None


def change(before: Desired | None, after: Desired) -> Change:
    """What `changed` makes `after` of, given `before`; without that, everything."""
    known = before.configuration if before else None
    peers = delta(after.configuration.peers, known.peers if known else {})
    owners = after.configuration.owners
    return Change(
        rest=replace(after, configuration=replace(after.configuration, peers={}, owners=Owners())),
        peers={**peers.added, **peers.changed},
        gone=tuple(peers.removed),
        owners=None if known and known.owners == owners else owners,
    )


def changed(before: Desired | None, step: Change) -> Desired:
    """The inverse of `change`. What did not change is the same object as before."""
    known = before.configuration if before else _NOTHING
    gone = frozenset(step.gone)
    kept = {address: peer for address, peer in known.peers.items() if address not in gone}
    configuration = replace(
        step.rest.configuration,
        peers={**kept, **step.peers},
        owners=known.owners if step.owners is None else step.owners,
    )
    return replace(step.rest, configuration=configuration)


_NOTHING = ReflectorConfiguration(name="", asn=0, router_id=b"", cluster_id=b"", addresses=())
