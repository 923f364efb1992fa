"""What two OPENs make of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from reflector.wire.capabilities import AddPath, GracefulRestart, LongLived
from reflector.wire.families import FAMILIES, IPV4_UNICAST, Family, FamilyRow
from reflector.wire.framing import MAX_EXTENDED_LENGTH, MAX_LENGTH
from reflector.wire.nlri import Splitter
from reflector.wire.open_message import OpenMessage


class Carried(NamedTuple):
    """A negotiated family, how its NLRI fields are cut in this session, and its row."""

    family: Family
    split: Splitter
    row: FamilyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """The terms of one session, seen from our end. Times in seconds, lengths in bytes with the header.

    `families` are in our order. Path identifiers are in what we receive of the families in `add_path_receive`, and must
    be in what we send of those in `add_path_send`. `graceful_restart` and `long_lived` are what the peer said, for
    the negotiated families. `carried` is what is needed to read the families, by their three bytes on the wire.
    """

    families: tuple[Family, ...] = (IPV4_UNICAST,)
    hold_time: int = 90
    four_octet: bool = True
    max_receive_length: int = MAX_LENGTH
    max_send_length: int = MAX_LENGTH
    route_refresh: bool = False
    enhanced_route_refresh: bool = False
    add_path_receive: frozenset[Family] = frozenset()
    add_path_send: frozenset[Family] = frozenset()
    extended_next_hop: frozenset[tuple[Family, int]] = frozenset()
    graceful_restart: GracefulRestart | None = None
    long_lived: Mapping[Family, LongLived] = field(default_factory=dict)
    carried: Mapping[bytes, Carried] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = [(family, FAMILIES[family]) for family in self.families if family in FAMILIES]
        carried = {
            family.packed: Carried(family, row.split_paths if family in self.add_path_receive else row.split, row)
            for family, row in rows
        }
        object.__setattr__(self, "carried", carried)


def negotiate(local: OpenMessage, remote: OpenMessage) -> Negotiated:
    """The terms after `local` was sent and `remote` came. Without any common family `families` is empty.

    A speaker without the multiprotocol capability has IPv4 unicast (RFC 4760, 8).
    """
    ours, theirs = local.capabilities, remote.capabilities
    their_families = theirs.multiprotocol or (IPV4_UNICAST,)
    families = tuple(f for f in (ours.multiprotocol or (IPV4_UNICAST,)) if f in their_families)
    restart = theirs.graceful_restart
    return Negotiated(
        families=families,
        hold_time=min(local.hold_time, remote.hold_time),
        four_octet=ours.four_octet_as is not None and theirs.four_octet_as is not None,
        max_receive_length=MAX_EXTENDED_LENGTH if ours.extended_message else MAX_LENGTH,
        max_send_length=MAX_EXTENDED_LENGTH if theirs.extended_message else MAX_LENGTH,
        route_refresh=ours.route_refresh and theirs.route_refresh,
        enhanced_route_refresh=ours.enhanced_route_refresh and theirs.enhanced_route_refresh,
        add_path_receive=_paths(families, ours.add_path, theirs.add_path),
        add_path_send=_paths(families, theirs.add_path, ours.add_path),
        extended_next_hop=frozenset(ours.extended_next_hop) & frozenset(theirs.extended_next_hop),
        graceful_restart=restart,
        long_lived={f: row for f, row in theirs.long_lived.items() if f in families} if restart else {},
    )


def _paths(
    families: tuple[Family, ...], receiver: Mapping[Family, AddPath], sender: Mapping[Family, AddPath]
) -> frozenset[Family]:
    """The families of which `sender` sends path identifiers to `receiver`."""
    return frozenset(f for f in families if receiver.get(f, 0) & AddPath.RECEIVE and sender.get(f, 0) & AddPath.SEND)
