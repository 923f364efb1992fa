"""UPDATE taken apart (RFC 4271, 4.3 and 6.3; RFC 4760; RFC 7606).

Most UPDATEs carry attributes that were seen before, be it with another next hop. For IPv4 unicast those cost two
lengths, a dict look-up of the attribute bytes without NEXT_HOP and the cut of the NLRI field; for other families NLRI
and next hop are taken out first. Bytes that look like a NEXT_HOP may stand within another attribute: so what is looked
up is also their place, which was found once by reading such attributes from their start.

What may be wrong, from the outside in: lengths of the fields (reset), an NLRI field that cannot be cut (reset: what it
withdraws or replaces is not known, RFC 7606, 3 j), attributes (what their rows say), next hops (withdrawn). Faults that
call for withdrawal withdraw everything the UPDATE announces. Where it announces nothing, and has other attributes than
MP_UNREACH_NLRI, they end the session (RFC 7606, 5.2): the announcement may have been in the damaged part. NLRI of
families that were not negotiated are passed over, well formed or not.
"""

from __future__ import annotations

from typing import NamedTuple

from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attribute_reader import Parts, read_next_hop, take_apart
from reflector.wire.attributes import MP_REACH_NLRI, MP_UNREACH_NLRI, OPTIONAL, TRANSITIVE, encode_attribute
from reflector.wire.errors import ErrorCode, Fault, ResetSession, Strength, UpdateError, reset_by
from reflector.wire.families import IPV4_UNICAST, Family, unpack_family
from reflector.wire.negotiated import Negotiated
from reflector.wire.next_hop import next_hop_damage
from reflector.wire.nlri import Key, MalformedNlri, Splitter

NextHop = bytes
_NO_ADDRESSES: frozenset[bytes] = frozenset()
_IPV4 = IPV4_UNICAST.packed
_NEXT_HOP, _NEXT_HOP_SIZE = b"\x40\x03\x04", 7
_KIND_BITS = OPTIONAL | TRANSITIVE
_TITLES = {MP_REACH_NLRI: "MP_REACH_NLRI", MP_UNREACH_NLRI: "MP_UNREACH_NLRI"}


class Update(NamedTuple):
    """What an UPDATE says: first withdraw, then announce.

    Keys are NLRI as on the wire (nlri.py), with path identifiers where those were negotiated; next hops are their bytes
    (4, 16, 32, for VPNs with route distinguishers). `block` are the attributes of everything announced.
    `end_of_rib` is the family whose end it marks (RFC 4724, 2). `faults` are what was wrong, already acted on.
    """

    withdrawn: list[tuple[Family, list[Key]]]
    announced: list[tuple[Family, NextHop, list[Key]]]
    block: AttributeBlock | None = None
    end_of_rib: Family | None = None
    faults: tuple[Fault, ...] = ()


def decode_update(
    body: bytes, negotiated: Negotiated, cache: AttributeCache, own_addresses: frozenset[bytes] = _NO_ADDRESSES
) -> Update:
    """The UPDATE in a message's body; `own_addresses` (packed) are refused as next hops. Raises ResetSession.

    `cache` must be of the session's kind: eBGP or iBGP, AS numbers as negotiated.
    """
    size = len(body)
    start = 4 + (body[0] << 8 | body[1]) if size >= 4 else size + 1
    stop = start + (body[start - 2] << 8 | body[start - 1]) if start <= size else start
    if stop > size:
        raise _reset(UpdateError.MALFORMED_ATTRIBUTE_LIST, "fields that are longer than the UPDATE")
    raw = body[start:stop]
    if start == 4 and stop < size:
        at = raw.find(_NEXT_HOP)
        usable = cache.usable.get((at, raw[:at] + raw[at + _NEXT_HOP_SIZE :]))
        if usable is not None:
            next_hop = raw[at + 3 : at + _NEXT_HOP_SIZE]
            carried = negotiated.carried.get(_IPV4)
            if (
                carried is not None
                and len(next_hop) == 4
                and next_hop_damage(next_hop, loopback=cache.loopback) is None
                and next_hop not in own_addresses
            ):
                block, faults = usable
                return Update([], [(IPV4_UNICAST, next_hop, _cut(carried.split, body[stop:]))], block, None, faults)
    return _Reading(negotiated, cache, own_addresses).update(body[2 : start - 2], raw, body[stop:])


class _Reading:
    """One UPDATE on its way to be understood."""

    __slots__ = ("announced", "cache", "faults", "negotiated", "own_addresses", "withdrawn")

    def __init__(self, negotiated: Negotiated, cache: AttributeCache, own_addresses: frozenset[bytes]) -> None:
        self.negotiated = negotiated
        self.cache = cache
        self.own_addresses = own_addresses
        self.withdrawn: list[tuple[Family, list[Key]]] = []
        self.announced: list[tuple[Family, NextHop, list[Key]]] = []
        self.faults: tuple[Fault, ...] = ()

    def update(self, gone: bytes, raw: bytes, nlri: bytes) -> Update:
        """From the three fields of an UPDATE."""
        parts = take_apart(raw, self.cache.known)
        block, self.faults, missing = self.cache.find(parts.rest)
        announces = bool(nlri)
        if parts.repeated:
            self._wrong(Fault(Strength.DISCARD, "NEXT_HOP: given twice", UpdateError.MALFORMED_ATTRIBUTE_LIST))
        if gone:
            self._withdraw(gone)
        if parts.unreach is not None:
            self._unreach(*parts.unreach)
        if parts.reach is not None:
            announces |= self._reach(*parts.reach)
        if nlri:
            self._announce(nlri, parts.next_hop)
        if not announces:
            return self._without_announcement(gone, raw, parts)
        if missing is not None:
            self._wrong(missing)
        if self.faults and any(fault.strength is Strength.WITHDRAW for fault in self.faults):
            self.withdrawn += [(family, keys) for family, _, keys in self.announced]
            return Update(self.withdrawn, [], None, None, self.faults)
        if not self.announced:
            return Update(self.withdrawn, [], None, None, self.faults)
        if block is not None and parts.next_hop_alone:
            self.cache.remember(parts.next_hop_at, parts.rest, block, self.faults)
        return Update(self.withdrawn, self.announced, block, None, self.faults)

    def _without_announcement(self, gone: bytes, raw: bytes, parts: Parts) -> Update:
        """Withdrawals, End-of-RIB (RFC 4724, 2), or attributes for nothing."""
        if parts.next_hop is not None:
            next_hop = read_next_hop(parts.next_hop, loopback=self.cache.loopback)
            if isinstance(next_hop, Fault) and next_hop.subcode != UpdateError.INVALID_NEXT_HOP:
                self._wrong(next_hop)
        only_unreach = not parts.rest and parts.next_hop is None and parts.reach is None
        for fault in self.faults:
            if fault.strength is Strength.WITHDRAW and not only_unreach:
                raise reset_by(fault)
        ended = None
        if not gone and not raw:
            ended = self.negotiated.carried.get(_IPV4)
        elif not gone and only_unreach and parts.unreach and len(parts.unreach[1]) == 3:
            ended = self.negotiated.carried.get(parts.unreach[1])
        return Update(self.withdrawn, [], None, ended and ended.family, self.faults)

    def _withdraw(self, field: bytes) -> None:
        carried = self.negotiated.carried.get(_IPV4)
        if carried is None:
            self._wrong(_not_negotiated(IPV4_UNICAST))
        else:
            self.withdrawn.append((IPV4_UNICAST, _cut(carried.split, field)))

    def _announce(self, field: bytes, attribute: tuple[int, bytes] | None) -> None:
        carried = self.negotiated.carried.get(_IPV4)
        if carried is None:
            self._wrong(_not_negotiated(IPV4_UNICAST))
            return
        next_hop = read_next_hop(attribute, loopback=self.cache.loopback)
        if isinstance(next_hop, Fault):
            self._wrong(next_hop)
            next_hop = b""
        elif next_hop in self.own_addresses:
            self._wrong(_own_address())
        self.announced.append((IPV4_UNICAST, next_hop, _cut(carried.split, field)))

    def _unreach(self, flags: int, value: bytes) -> None:
        """MP_UNREACH_NLRI (RFC 4760, 4): the family, then NLRI."""
        if len(value) < 3:
            raise _broken(MP_UNREACH_NLRI, flags, value, f"{len(value)} bytes")
        carried = self.negotiated.carried.get(value[:3])
        if carried is None:
            self._wrong(_not_negotiated(unpack_family(value)))
            return
        self._check_flags(MP_UNREACH_NLRI, flags, value)
        try:
            keys = carried.split(value[3:])
        except MalformedNlri as malformed:
            raise _broken(MP_UNREACH_NLRI, flags, value, f"{carried.family}: {malformed}") from None
        if keys:
            self.withdrawn.append((carried.family, keys))

    def _reach(self, flags: int, value: bytes) -> bool:
        """MP_REACH_NLRI (RFC 4760, 3): the family, a next hop and its length, a reserved byte, NLRI.

        Returns whether it announces anything, be it something that is passed over.
        """
        carried = self.negotiated.carried.get(value[:3])
        if carried is None and len(value) >= 3:
            self._wrong(_not_negotiated(unpack_family(value)))
            return True
        start = 5 + value[3] if len(value) >= 5 else 5
        if carried is None or len(value) < start:
            raise _broken(MP_REACH_NLRI, flags, value, f"{len(value)} bytes")
        family, split, row = carried
        self._check_flags(MP_REACH_NLRI, flags, value)
        next_hop = value[4 : start - 1]
        if len(next_hop) not in row.next_hops:
            raise _broken(MP_REACH_NLRI, flags, value, f"{family}: a next hop of {len(next_hop)} bytes")
        try:
            keys = split(value[start:])
        except MalformedNlri as malformed:
            raise _broken(MP_REACH_NLRI, flags, value, f"{family}: {malformed}") from None
        if keys:
            if not row.opaque:
                self._check_next_hop(family, next_hop)
            self.announced.append((family, next_hop, keys))
        return bool(keys)

    def _check_flags(self, code: int, flags: int, value: bytes) -> None:
        """Wrong ones withdraw, since the NLRI can be read all the same (RFC 7606, 3 c and j)."""
        if flags & _KIND_BITS != OPTIONAL:
            text, data = f"{_TITLES[code]}: with flags {flags:#04x}", encode_attribute(code, flags, value)
            self._wrong(Fault(Strength.WITHDRAW, text, UpdateError.ATTRIBUTE_FLAGS, data))

    def _check_next_hop(self, family: Family, next_hop: bytes) -> None:
        damage = next_hop_damage(next_hop, loopback=self.cache.loopback)
        afi = 1 if len(next_hop) == 4 else 2
        if damage is not None:
            self._wrong(Fault(Strength.WITHDRAW, f"MP_REACH_NLRI: {damage}", UpdateError.INVALID_NEXT_HOP))
        elif next_hop[:16] in self.own_addresses:
            self._wrong(_own_address())
        elif afi != family.afi and (family, afi) not in self.negotiated.extended_next_hop:
            text = f"MP_REACH_NLRI: {family} with a next hop of {len(next_hop)} bytes was not negotiated"
            self._wrong(Fault(Strength.WITHDRAW, text, UpdateError.INVALID_NEXT_HOP))

    def _wrong(self, fault: Fault) -> None:
        self.faults = (*self.faults, fault)


def _cut(split: Splitter, field: bytes) -> list[Key]:
    """The prefixes of one of the UPDATE's own fields."""
    try:
        return split(field)
    except MalformedNlri as malformed:
        raise _reset(UpdateError.INVALID_NETWORK_FIELD, str(malformed)) from None


def _reset(subcode: UpdateError, reason: str, data: bytes = b"") -> ResetSession:
    return ResetSession(ErrorCode.UPDATE_MESSAGE, subcode, data, reason)


def _broken(code: int, flags: int, value: bytes, text: str) -> ResetSession:
    """An attribute with NLRI that cannot be located (RFC 7606, 5.3; RFC 4760, 7)."""
    return _reset(UpdateError.OPTIONAL_ATTRIBUTE, f"{_TITLES[code]}: {text}", encode_attribute(code, flags, value))


def _not_negotiated(family: Family) -> Fault:
    return Fault(Strength.DISCARD, f"{family}: not negotiated", UpdateError.OPTIONAL_ATTRIBUTE)


def _own_address() -> Fault:
    return Fault(Strength.WITHDRAW, "next hop: our own address", UpdateError.INVALID_NEXT_HOP)
