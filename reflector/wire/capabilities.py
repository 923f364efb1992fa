"""Capabilities of an OPEN (RFC 5492): one row for each that is understood, the others kept as they came.

A capability that is malformed is as if it had not been sent, and kept with those that are not understood: nothing in
RFC 5492 ends a session for it. Where one may not be repeated, the last one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, NamedTuple

from reflector.wire.families import Family, unpack_family

MULTIPROTOCOL, ROUTE_REFRESH, EXTENDED_NEXT_HOP, EXTENDED_MESSAGE = 1, 2, 5, 6
GRACEFUL_RESTART, FOUR_OCTET_AS, ADD_PATH, ENHANCED_ROUTE_REFRESH = 64, 65, 69, 70
LONG_LIVED_GRACEFUL_RESTART, HOST_NAME = 71, 73

_RESTARTING, _NOTIFICATION = 0x8000, 0x4000
_FORWARDING = 0x80


class AddPath(IntFlag):
    """Which way a speaker can do additional paths of a family (RFC 7911, 4)."""

    RECEIVE = 1
    SEND = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class GracefulRestart:
    """RFC 4724, 3. `restart_time` in seconds; `families` say whether forwarding state was kept.

    `restarting` is the R bit; `notification` the N bit (RFC 8538), graceful restart also after a NOTIFICATION.
    """

    restart_time: int
    families: Mapping[Family, bool] = field(default_factory=dict)
    restarting: bool = False
    notification: bool = False


class LongLived(NamedTuple):
    """One family of the long-lived graceful restart capability (RFC 9494, 3); `stale_time` in seconds."""

    stale_time: int
    forwarding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one speaker says it can do. `unknown` are (code, value) of what is not understood."""

    multiprotocol: tuple[Family, ...] = ()
    route_refresh: bool = False
    #: (family, address family of the next hop): RFC 8950.
    extended_next_hop: tuple[tuple[Family, int], ...] = ()
    extended_message: bool = False
    graceful_restart: GracefulRestart | None = None
    four_octet_as: int | None = None
    add_path: Mapping[Family, AddPath] = field(default_factory=dict)
    enhanced_route_refresh: bool = False
    long_lived: Mapping[Family, LongLived] = field(default_factory=dict)
    #: (host name, domain name), draft-walton-bgp-hostname-capability.
    host_name: tuple[str, str] | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()

    def encode(self) -> bytes:
        """Code, length and value of each, by code; those not understood last."""
        known = (
            encode_tlv(code, value)
            for code, row in sorted(_ROWS.items())
            for value in row.encode(getattr(self, row.field))
        )
        return b"".join([*known, *(encode_tlv(code, value) for code, value in self.unknown)])


def decode_capabilities(tlvs: Iterable[tuple[int, bytes]]) -> Capabilities:
    """Capabilities from their codes and values."""
    found: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    unknown = []
    for code, value in tlvs:
        row = _ROWS.get(code)
        try:
            decoded = row.decode(value) if row else None
        except (ValueError, IndexError):
            decoded = None
        if row is None or decoded is None:
            unknown.append((code, value))
        elif row.repeats:
            several.setdefault(row.field, []).extend(decoded)
        else:
            found[row.field] = decoded
    found |= {name: tuple(dict.fromkeys(values)) for name, values in several.items()}
    return Capabilities(**found, unknown=tuple(unknown))


class _Row(NamedTuple):
    """A capability: its field in `Capabilities`, value to field, and field to values (none when it is not there).

    `decode` raises ValueError or IndexError for a malformed value. With `repeats` there may be several, added up.
    """

    field: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], list[bytes]]
    repeats: bool = False


def encode_tlv(code: int, value: bytes) -> bytes:
    """A capability as in the parameter of an OPEN."""
    return bytes((code, len(value))) + value


def _pieces(value: bytes, size: int) -> list[bytes]:
    if len(value) % size:
        raise ValueError(f"{len(value)} bytes are no multiple of {size}")
    return [value[start : start + size] for start in range(0, len(value), size)]


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes instead of {size}")
    return value


def _decode_multiprotocol(value: bytes) -> tuple[Family, ...]:
    _exactly(value, 4)
    return (unpack_family(value[0:2] + value[3:4]),)


def _encode_multiprotocol(families: tuple[Family, ...]) -> list[bytes]:
    return [f.afi.to_bytes(2, "big") + bytes((0, f.safi)) for f in families]


def _decode_flag(value: bytes) -> bool:
    return _exactly(value, 0) == b""


def _encode_flag(wanted: bool) -> list[bytes]:
    return [b""] if wanted else []


def _decode_next_hop(value: bytes) -> tuple[tuple[Family, int], ...]:
    return tuple((unpack_family(p[0:2] + p[3:4]), p[4] << 8 | p[5]) for p in _pieces(value, 6))


def _encode_next_hop(pairs: tuple[tuple[Family, int], ...]) -> list[bytes]:
    packed = [f.afi.to_bytes(2, "big") + bytes((0, f.safi)) + afi.to_bytes(2, "big") for f, afi in pairs]
    return [b"".join(packed)] if packed else []


def _decode_graceful_restart(value: bytes) -> GracefulRestart:
    flags = value[0] << 8 | value[1]
    families = {unpack_family(piece): bool(piece[3] & _FORWARDING) for piece in _pieces(value[2:], 4)}
    return GracefulRestart(flags & 0x0FFF, families, bool(flags & _RESTARTING), bool(flags & _NOTIFICATION))


def _encode_graceful_restart(restart: GracefulRestart | None) -> list[bytes]:
    if restart is None:
        return []
    flags = restart.restart_time | restart.restarting * _RESTARTING | restart.notification * _NOTIFICATION
    families = [f.packed + bytes((kept * _FORWARDING,)) for f, kept in restart.families.items()]
    return [flags.to_bytes(2, "big") + b"".join(families)]


def _decode_four_octet_as(value: bytes) -> int:
    return int.from_bytes(_exactly(value, 4), "big")


def _encode_four_octet_as(asn: int | None) -> list[bytes]:
    return [] if asn is None else [asn.to_bytes(4, "big")]


def _decode_add_path(value: bytes) -> dict[Family, AddPath]:
    """Of a family that is given twice, or with another direction than 1 to 3, nothing is taken (RFC 7911, 4)."""
    pieces = _pieces(value, 4)
    families = [unpack_family(piece) for piece in pieces]
    usable = [p for p, f in zip(pieces, families, strict=True) if p[3] in (1, 2, 3) and families.count(f) == 1]
    return {unpack_family(piece): AddPath(piece[3]) for piece in usable}


def _encode_add_path(families: Mapping[Family, AddPath]) -> list[bytes]:
    packed = [family.packed + bytes((direction,)) for family, direction in families.items()]
    return [b"".join(packed)] if packed else []


def _decode_long_lived(value: bytes) -> dict[Family, LongLived]:
    return {
        unpack_family(piece): LongLived(int.from_bytes(piece[4:], "big"), bool(piece[3] & _FORWARDING))
        for piece in _pieces(value, 7)
    }


def _encode_long_lived(families: Mapping[Family, LongLived]) -> list[bytes]:
    packed = [
        family.packed + bytes((row.forwarding * _FORWARDING,)) + row.stale_time.to_bytes(3, "big")
        for family, row in families.items()
    ]
    return [b"".join(packed)] if packed else []


def _decode_host_name(value: bytes) -> tuple[str, str]:
    host_end = 1 + value[0]
    domain_end = host_end + 1 + value[host_end]
    _exactly(value, domain_end)
    return value[1:host_end].decode(), value[host_end + 1 :].decode()


def _encode_host_name(names: tuple[str, str] | None) -> list[bytes]:
    if names is None:
        return []
    host, domain = (name.encode()[:64].decode(errors="ignore").encode() for name in names)
    return [bytes((len(host),)) + host + bytes((len(domain),)) + domain]


_ROWS: dict[int, _Row] = {
    MULTIPROTOCOL: _Row("multiprotocol", _decode_multiprotocol, _encode_multiprotocol, repeats=True),
    ROUTE_REFRESH: _Row("route_refresh", _decode_flag, _encode_flag),
    EXTENDED_NEXT_HOP: _Row("extended_next_hop", _decode_next_hop, _encode_next_hop, repeats=True),
    EXTENDED_MESSAGE: _Row("extended_message", _decode_flag, _encode_flag),
    GRACEFUL_RESTART: _Row("graceful_restart", _decode_graceful_restart, _encode_graceful_restart),
    FOUR_OCTET_AS: _Row("four_octet_as", _decode_four_octet_as, _encode_four_octet_as),
    ADD_PATH: _Row("add_path", _decode_add_path, _encode_add_path),
    ENHANCED_ROUTE_REFRESH: _Row("enhanced_route_refresh", _decode_flag, _encode_flag),
    LONG_LIVED_GRACEFUL_RESTART: _Row("long_lived", _decode_long_lived, _encode_long_lived),
    HOST_NAME: _Row("host_name", _decode_host_name, _encode_host_name),
}
