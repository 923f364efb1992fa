"""How a node leaves the fabric's paths before it goes (RFC 8326), as a state. Pure; time is an argument.

    state      what is announced                          what ends it
    serving    all that the node has                      a drain is wanted: draining
    draining   the same, with GRACEFUL_SHUTDOWN           every peer was told for the settle time: drained
    drained    what nobody else serves, in the same way   nothing but the end of the wish

Without a wish each of them is serving at once. BGP acknowledges nothing: that a peer was told is known when ExaBGP took
the line, and that the fabric has moved is believed after the settle time. A peer that comes up while the node is
draining starts the time again; one that comes up later hears at once what is left. After a restart of the agent a
drain begins again, with routes that others already hold for the last resort.

What is left: blocks in which a pod has its address, podCIDRs in which one has or may have, borrowed addresses, and what
is announced for services unless other nodes announce it too. `Everything` leaves nothing. Loopbacks always stay:
sessions stand on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from peering.drain_wish import Extent
from peering.resources.ipam import IPAMBlockSpec

Phase = Literal["serving", "draining", "drained"]


@dataclass(frozen=True, slots=True)
class Draining:
    """`told_since`: since when every peer has been told, in seconds of a clock that never goes back; None: not all."""

    phase: Phase = "serving"
    told_since: float | None = None


SERVING = Draining()


def wanted(state: Draining, is_wanted: bool) -> Draining:
    """After the wish was read."""
    if not is_wanted:
        return SERVING
    return Draining("draining") if state.phase == "serving" else state


def told(state: Draining, *, everybody: bool, now: float) -> Draining:
    """After peers were told, or after one came that was not."""
    if state.phase != "draining":
        return state
    if not everybody:
        return replace(state, told_since=None)
    return state if state.told_since is not None else replace(state, told_since=now)


def passed(state: Draining, settle: float, now: float) -> Draining:
    """After time went by."""
    since = state.told_since
    return Draining("drained") if since is not None and now - since >= settle else state


@dataclass(frozen=True, slots=True)
class Held:
    """What a node announces beside its loopbacks; prefixes."""

    blocks: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


def left(held: Held, extent: Extent | None, unused: Collection[str], shared: Collection[str]) -> Held:
    """Of a drained node: `unused` are blocks and podCIDRs without a pod, `shared` what others announce for services."""
    if extent == "Everything":
        return Held()
    return Held(
        blocks=tuple(block for block in held.blocks if block not in unused),
        borrowed=held.borrowed,
        services=tuple(prefix for prefix in held.services if prefix not in shared),
    )


def unused_blocks(blocks: Iterable[IPAMBlockSpec], node: str) -> frozenset[str]:
    """Blocks of which the node has no address in use. What others have borrowed they announce themselves."""
    return frozenset(one.cidr for one in blocks if all(given.node not in ("", node) for given in one.allocations))
