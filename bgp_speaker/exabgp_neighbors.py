"""What `show neighbor json` says about each neighbour, for an agent that was away. Pure.

ExaBGP prints "state": "down" during the first second of a session (it derives it from the uptime in whole
seconds): the state of its machine, `fsm`, is what counts. The peer's restart time is not in it, only
whether it announced graceful restart at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from peering.session import Family

_FAMILIES: dict[str, Family] = {"ipv4 unicast": "ipv4-unicast", "ipv6 unicast": "ipv6-unicast"}


@dataclass(frozen=True, slots=True)
class NeighborState:
    """One neighbour now. `uptime` in seconds, 0 when down; `families` are the negotiated ones."""

    peer: str
    local: str
    asn: int
    up: bool
    uptime: int
    families: tuple[Family, ...]
    router_id: str | None
    hold_time: int | None
    graceful_restart: bool


def neighbor_states(items: Iterable[Any]) -> tuple[NeighborState, ...]:
    """The answer's array. Raises ValueError when its shape is not ExaBGP 5's."""
    try:
        return tuple(_state(item) for item in items)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the answer to show neighbor json: {error!r}") from error


def _state(item: Mapping[str, Any]) -> NeighborState:
    peer, up = item["peer"], item["fsm"] == "ESTABLISHED"
    return NeighborState(
        peer=str(peer["address"]),
        local=str(item["local"]["address"]),
        asn=int(peer["as"]),
        up=up,
        uptime=int(item["duration"]) if up and item["state"] == "up" else 0,
        families=tuple(_FAMILIES[name] for name in item["families"] if name in _FAMILIES),
        router_id=peer["id"],
        hold_time=peer["hold"],
        graceful_restart=bool(peer["capabilities"]["graceful-restart"]),
    )
