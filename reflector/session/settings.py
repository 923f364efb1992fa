"""What one session is configured with: the plan's values in the form that the machine uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from peering import session as plan
from peering.prefixes import pack_address
from reflector.session.timers import Random, jittered
from reflector.wire.capabilities import AddPath
from reflector.wire.families import FAMILY_BY_NAME, Family

PeerType = Literal["ibgp", "ebgp", "any"]

#: The plan's word for what we do with several paths per prefix.
ADD_PATH: dict[str | None, AddPath | None] = {
    None: None,
    "send": AddPath.SEND,
    "receive": AddPath.RECEIVE,
    "both": AddPath.BOTH,
}

#: How far the wait between attempts to connect may grow, in seconds.
LONGEST_RETRY = 60.0

#: What a dynamic neighbour is offered: of these it gets what it offers itself. Chosen so that the OPEN stays below the
#: 255 bytes of optional parameters that a peer without RFC 9072 reads.
DYNAMIC_FAMILIES: tuple[Family, ...] = tuple(
    FAMILY_BY_NAME[name]
    for name in (
        "ipv4-unicast",
        "ipv6-unicast",
        "ipv4-labelled-unicast",
        "ipv6-labelled-unicast",
        "ipv4-vpn",
        "ipv6-vpn",
        "ipv4-flowspec",
        "ipv6-flowspec",
        "ipv4-flowspec-vpn",
        "ipv6-flowspec-vpn",
        "l2vpn-evpn",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """One session as we want it; times in seconds. Equal settings, whatever their names, make the same session.

    `peer_asn` 0 takes any AS that fits `peer_type`. `router_id` is four bytes. `hold_time` is what we offer, 0 for no
    keepalives; a peer's below `minimum_hold_time` is refused, except 0. `keepalive_time` is our interval at most, a
    third of the negotiated hold time without it. `open_time` is how long the peer may take for its OPEN (RFC 4271, 8
    suggests four minutes). `connect_retry` is the first wait between attempts to connect, doubled with each failure up
    to `connect_retry_max`. `send_hold_time` is how long the peer may take nothing of what waits for it; twice the hold
    time and at least 8 minutes without it (RFC 9687, 6). `graceful_restart_time` 0: no graceful restart, neither our
    own nor as helper. With `notification_restart` a NOTIFICATION leaves routes in place too (RFC 8538).
    """

    name: str = field(compare=False)
    local_asn: int
    router_id: bytes
    peer_asn: int = 0
    peer_type: PeerType = "any"
    passive: bool = False
    families: tuple[Family, ...] = DYNAMIC_FAMILIES
    add_path: AddPath | None = None
    hold_time: int = 90
    minimum_hold_time: int = 3
    keepalive_time: int | None = None
    open_time: float = 240.0
    connect_retry: float = 5.0
    connect_retry_max: float = LONGEST_RETRY
    send_hold_time: float | None = None
    graceful_restart_time: int = 120
    long_lived_stale_time: int | None = None
    notification_restart: bool = True

    def __post_init__(self) -> None:
        if len(self.router_id) != 4 or self.router_id == bytes(4):
            raise ValueError(f"{self.name}: a router ID is four bytes, not all zero (RFC 6286)")

    @classmethod
    def from_plan(cls, session: plan.Session, router_id: str, **options: Any) -> SessionSettings:
        """A named neighbour. `options` are fields that the plan does not know, such as `open_time`.

        Raises ValueError when the plan gives no router ID.
        """
        if session.connect_retry is not None:
            longest = max(session.connect_retry, LONGEST_RETRY)
            options = {"connect_retry": session.connect_retry, "connect_retry_max": longest, **options}
        return cls(
            name=session.name,
            local_asn=session.local_asn,
            router_id=pack_address(router_id),
            peer_asn=session.peer_asn,
            peer_type=session.type,
            passive=session.passive,
            families=tuple(FAMILY_BY_NAME[name] for name in session.families),
            add_path=ADD_PATH[session.add_paths],
            hold_time=session.hold_time,
            keepalive_time=session.keepalive_time,
            graceful_restart_time=session.graceful_restart_time,
            long_lived_stale_time=session.long_lived_stale_time,
            **options,
        )

    @classmethod
    def for_range(
        cls, listen_range: plan.ListenRange, name: str, local_asn: int, router_id: str, **options: Any
    ) -> SessionSettings:
        """A neighbour that came in from a range and stands in no plan; `name` is its own, as its address."""
        return cls(
            name=name,
            local_asn=local_asn,
            router_id=pack_address(router_id),
            peer_asn=listen_range.peer_asn,
            passive=True,
            **options,
        )

    def accepts_asn(self, asn: int) -> bool:
        """Whether a peer of this AS is the one that is meant."""
        if self.peer_asn:
            return asn == self.peer_asn
        return self.peer_type == "any" or (asn == self.local_asn) is (self.peer_type == "ibgp")

    def retry_delay(self, failures: int, random: Random) -> float:
        """How long to wait after so many failed attempts in a row."""
        # Beyond 2**16 every delay is at its maximum, and an exponent that grows for weeks overflows a float.
        return jittered(min(self.connect_retry_max, self.connect_retry * 2.0 ** min(failures, 16)), random)

    def keepalive_interval(self, hold_time: float) -> float:
        """Between KEEPALIVEs, without jitter, with the negotiated hold time; `inf` for none where that is `inf`."""
        third = hold_time / 3
        return min(self.keepalive_time, third) if self.keepalive_time and third < inf else third

    def send_hold(self, hold_time: int) -> float:
        """How long what waits may wait, with the negotiated hold time."""
        return max(480.0, 2 * hold_time) if self.send_hold_time is None else self.send_hold_time
