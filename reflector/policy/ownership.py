"""Who may announce which prefix: the owner of the most specific owned prefix that covers it.

A more specific prefix of an own block may be announced (a pod's host route), and everybody may announce what lies in a
shared prefix (service addresses). What is owned by nobody is foreign to everybody, and so is what covers the blocks of
others without being owned.

Nearly always a peer announces just what it owns: a look-up in the set of its prefixes. For another prefix the owned
ones around it are looked up, the longest first; there are few lengths. Of many prefixes the first and the last of each
length are enough where all between them have the same owners (prefix_intervals.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from operator import itemgetter

from peering.prefixes import Prefix
from reflector.configuration import Owners, OwnershipMode
from reflector.policy.prefix_intervals import PrefixIntervals
from reflector.rib.route import Key
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family

Names = frozenset[str]

_NOBODY: Names = frozenset()
_BITS = {IPV4_UNICAST: 32, IPV6_UNICAST: 128}
#: So many prefixes are looked up one by one faster than all together.
_FEW = 4


class Ownership:
    """Judges prefixes of IPv4 and IPv6 unicast; of other families nothing is foreign."""

    def __init__(self, mode: OwnershipMode, owners: Owners) -> None:
        self.mode = mode
        self._judges = {family: _Judge(bits, owners) for family, bits in _BITS.items()} if mode != "off" else {}

    def foreign(self, owner: str, family: Family, keys: list[Key]) -> list[Key]:
        """Those of the keys (without path identifiers) that `owner` may not announce; with mode `off` none."""
        judge = self._judges.get(family)
        if judge is None:
            return []
        own = judge.keys_of.get(owner)
        if own is not None and len(keys) <= len(own) and own.issuperset(keys):
            return []
        return judge.foreign(owner, keys)

    def owners_of(self, family: Family, key: Key) -> Names:
        """Those who may announce this prefix by name. Nobody where everybody may."""
        judge = self._judges.get(family)
        names = judge.owners.around(key) if judge is not None else _NOBODY
        return names if isinstance(names, frozenset) else _NOBODY


class _Everybody:
    """The owners of what is shared."""

    def __contains__(self, name: object) -> bool:
        return True


class _Judge:
    """Of one family. `keys_of` are the prefixes of each owner as on the wire."""

    def __init__(self, bits: int, owners: Owners) -> None:
        owned = {prefix: names for prefix, names in owners.by_prefix.items() if len(prefix) == 1 + bits // 8}
        shared = {prefix: _EVERYBODY for prefix in owners.shared if len(prefix) == 1 + bits // 8}
        self.keys_of: dict[str, set[Key]] = {}
        for prefix, names in owned.items():
            key = _key(prefix)
            for name in names:
                self.keys_of.setdefault(name, set()).add(key)
        if shared:
            # What lies in a shared prefix is shared, whoever owns it.
            everybody = _Around(bits, shared)
            owned = {p: names for p, names in owned.items() if everybody.around(_key(p)) is not _EVERYBODY}
        self.owners = _Around(bits, {**owned, **shared})

    def foreign(self, owner: str, keys: list[Key]) -> list[Key]:
        """Those that the owner may not announce."""
        if len(keys) <= _FEW:
            around = self.owners.around
            return [key for key in keys if owner not in around(key)]
        found: list[Key] = []
        for names, some in self.owners.intervals.partition(keys):
            if owner not in names:
                found += some
        return found


class _Around:
    """Prefixes with their owners, in one table for each length: the bits of the prefix as a number -> owners."""

    def __init__(self, bits: int, prefixes: Mapping[Prefix, Container[str]]) -> None:
        self._bits = bits
        tables: dict[int, dict[int, Container[str]]] = {}
        for prefix, names in prefixes.items():
            tables.setdefault(prefix[0], {})[int.from_bytes(prefix[1:]) >> (bits - prefix[0])] = names
        longest_first = sorted(tables.items(), reverse=True)
        self._up_to = [[row for row in longest_first if row[0] <= length] for length in range(bits + 1)]
        self.intervals: PrefixIntervals[Container[str]] = PrefixIntervals(bits, self._steps)

    def around(self, key: Key) -> Container[str]:
        """The owners of the most specific prefix around this one."""
        address, size = int.from_bytes(key[1:]), 8 * len(key) - 8
        for length, table in self._up_to[key[0]]:
            names = table.get(address >> (size - length))
            if names is not None:
                return names
        return _NOBODY

    def _steps(self, length: int) -> Iterator[tuple[int, Container[str]]]:
        """Where the answer of `around` changes among prefixes of this length."""
        changes: dict[int, Container[str]] = {0: _NOBODY}
        inside: list[tuple[int, Container[str]]] = [(1 << self._bits, _NOBODY)]
        for first, last, names in self._ranges(length):
            while inside[-1][0] <= first:
                end = inside.pop()[0]
                changes[end] = inside[-1][1]
            inside.append((last, names))
            changes[first] = names
        while len(inside) > 1:
            end = inside.pop()[0]
            changes[end] = inside[-1][1]
        changes.pop(1 << self._bits, None)
        yield from sorted(changes.items(), key=itemgetter(0))

    def _ranges(self, length: int) -> list[tuple[int, int, Container[str]]]:
        """(first address, address behind the last, owners) of prefixes up to this length, outer before inner."""
        found = []
        for bits, table in reversed(self._up_to[length]):
            shift = self._bits - bits
            found += [(number << shift, number + 1 << shift, names) for number, names in table.items()]
        found.sort(key=itemgetter(0))  # stable: those that begin together stay in the order of their lengths
        return found


_EVERYBODY = _Everybody()


def _key(prefix: Prefix) -> Key:
    """A packed prefix as on the wire."""
    return prefix[: 1 + (prefix[0] + 7) // 8]
