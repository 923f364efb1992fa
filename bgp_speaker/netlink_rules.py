"""Policy rules of the kernel (`ip rule`) in bytes: what netlink_codec.py is for routes.

Layouts: Linux `include/uapi/linux/fib_rules.h`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bgp_speaker.netlink_codec import (
    AF_INET6,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    Message,
    Request,
    attribute,
    attributes,
)
from peering.prefixes import Prefix

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
#: What a rule does with a packet that it fits: look into `table`, go to the rule at `target`, nothing.
TO_TABLE, GOTO, NOTHING = 1, 2, 3

_FRA_DST, _FRA_IIFNAME, _FRA_GOTO, _FRA_PRIORITY = 1, 3, 4, 6
_FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_PROTOCOL = 14, 15, 21
_RT_TABLE_COMPAT = 252
_UNSET = 0xFFFFFFFF

_HEADER = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, reserved, reserved, action, flags
_U32 = struct.Struct("=I")


class Rule(NamedTuple):
    """A rule of one family at one place of the order, the lowest `priority` first.

    `destination` None is any. `interface` "lo" is what this machine itself sends. `longer_than`: of what `table` says
    only routes count whose prefix is longer; None is all. That does not hold for blackholes: they always count.
    """

    family: int
    priority: int
    action: int
    destination: Prefix | None = None
    interface: str = ""
    table: int = 0
    target: int = 0
    longer_than: int | None = None


def add_rule(rule: Rule, protocol: int) -> Request:
    """Refused when there is the same already."""
    return Request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _body(rule, protocol))


def delete_rule(rule: Rule, protocol: int) -> Request:
    """That rule of the protocol, and no other's."""
    return Request(RTM_DELRULE, 0, _body(rule, protocol))


def dump_rules(family: int) -> Request:
    """All rules of the family; the kernel offers no filter."""
    return Request(RTM_GETRULE, NLM_F_DUMP, _HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def parse_rule(message: Message) -> tuple[Rule, int]:
    """An RTM_NEWRULE: the rule and its protocol. What `Rule` has no word for is left out."""
    data = message.data
    family, length, _, _, table, _, _, action, _ = _HEADER.unpack_from(data, message.start)
    found: dict[int, bytes] = {
        kind: data[low:high] for kind, low, high in attributes(data, message.start + _HEADER.size, message.end)
    }
    longer_than = _number(found, _FRA_SUPPRESS_PREFIXLEN, _UNSET)
    address = found.get(_FRA_DST, bytes(16 if family == AF_INET6 else 4))
    rule = Rule(
        family,
        _number(found, _FRA_PRIORITY, 0),
        action,
        bytes((length,)) + address if length else None,
        found.get(_FRA_IIFNAME, b"").rstrip(b"\0").decode(),
        _number(found, _FRA_TABLE, table) if action == TO_TABLE else 0,
        _number(found, _FRA_GOTO, 0),
        None if longer_than == _UNSET else longer_than,
    )
    return rule, found.get(_FRA_PROTOCOL, b"\0")[0]


def _number(found: dict[int, bytes], kind: int, default: int) -> int:
    number: int = _U32.unpack(found[kind])[0] if kind in found else default
    return number


def _body(rule: Rule, protocol: int) -> bytes:
    length = rule.destination[0] if rule.destination else 0
    table = rule.table if rule.table < 256 else _RT_TABLE_COMPAT
    return _HEADER.pack(rule.family, length, 0, 0, table, 0, 0, rule.action, 0) + b"".join(_attributes(rule, protocol))


def _attributes(rule: Rule, protocol: int) -> Iterator[bytes]:
    yield attribute(_FRA_PRIORITY, _U32.pack(rule.priority))
    yield attribute(_FRA_PROTOCOL, bytes((protocol,)))
    if rule.destination:
        yield attribute(_FRA_DST, rule.destination[1:])
    if rule.interface:
        yield attribute(_FRA_IIFNAME, rule.interface.encode() + b"\0")
    if rule.table:
        yield attribute(_FRA_TABLE, _U32.pack(rule.table))
    if rule.target:
        yield attribute(_FRA_GOTO, _U32.pack(rule.target))
    if rule.longer_than is not None:
        yield attribute(_FRA_SUPPRESS_PREFIXLEN, _U32.pack(rule.longer_than))
