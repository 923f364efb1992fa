"""Which of many prefixes share an address with one, without comparing it with each.

Prefixes nest or are apart. So what contains a prefix is found by looking up its first bits, once for each length that
occurs; and what lies inside it stands together in the order of first addresses.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Iterator, Mapping

#: (4 or 6, first address as a number, length).
Key = tuple[int, int, int]

_BITS = {4: 32, 6: 128}


def key_of(cidr: str) -> Key:
    """Of a prefix or an address in text, with or without a length; host bits are dropped."""
    address, _, length = cidr.partition("/")
    if ":" in address:
        version, number = 6, int(ipaddress.IPv6Address(address))
    else:
        first, second, third, last = map(int, address.split("."))
        version, number = 4, first << 24 | second << 16 | third << 8 | last
    bits = _BITS[version]
    prefix_length = int(length) if length else bits
    return version, number >> (bits - prefix_length) << (bits - prefix_length), prefix_length


class PrefixTable:
    """Names by prefix (text). Several names may have one prefix."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self._names: dict[Key, list[str]] = {}
        for name, cidr in prefixes.items():
            self._names.setdefault(key_of(cidr), []).append(name)
        keys = sorted(self._names)
        self._lengths = {v: sorted({length for version, _, length in keys if version == v}) for v in _BITS}
        self._starts = {v: [(first, length) for version, first, length in keys if version == v] for v in _BITS}

    def overlapping(self, key: Key) -> Iterator[str]:
        """The names of the prefixes that share an address with this one."""
        version, first, length = key
        bits = _BITS[version]
        for outer in self._lengths[version]:
            if outer > length:
                break
            yield from self._names.get((version, first >> (bits - outer) << (bits - outer), outer), ())
        if length == bits:
            return
        starts = self._starts[version]
        end = first + (1 << (bits - length))
        for index in range(bisect_left(starts, (first, 0)), len(starts)):
            inner_first, inner_length = starts[index]
            if inner_first >= end:
                break
            if inner_length > length:
                yield from self._names[version, inner_first, inner_length]
