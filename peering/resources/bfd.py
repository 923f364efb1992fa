"""BFDProfile: how fast a silent neighbour is noticed (RFC 5880), by name for racks, peers and reflectors."""

from __future__ import annotations

from pydantic import Field

from peering.resources.fields import Flag, Milliseconds, Spec, WholeNumber


class BFDProfileSpec(Spec):
    """Intervals and multiplier of BFD sessions; racks, peers and reflectors name a profile in `bfd`."""

    receive_interval: Milliseconds = 300
    """The shortest interval at which packets are taken."""
    transmit_interval: Milliseconds = 300
    """The shortest interval at which packets are sent; the slower end decides."""
    detect_multiplier: WholeNumber = Field(default=3, ge=2, le=255)
    """So many packets missing in a row mean that the neighbour is gone."""
    passive_mode: Flag = False
    """Say nothing until the other end speaks."""
    minimum_ttl: WholeNumber = Field(default=254, ge=1, le=255, alias="minimumTTL")
    """Of multihop sessions: packets with a lower TTL are dropped (RFC 5883)."""

    @property
    def detection_ms(self) -> int:
        """How long silence lasts until the session is down, when both ends have this profile."""
        return self.detect_multiplier * max(self.receive_interval, self.transmit_interval)
