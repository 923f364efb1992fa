"""Which TCP MD5 keys the listening socket gets: the fewest that mean what was wanted. Pure.

Two things stand between what is wanted and what the kernel can be told. It has no way to say that an address has *no*
key inside a prefix that has one (a neighbour without a password in a range with one). And it has room for so many keys
on a socket only, which it searches one after the other: net.core.optmem_max, of which a key takes 136 bytes on Linux 6.

Mostly what is wanted can be said as it is. Else it is seen as a tree of prefixes, and rewritten as Draves, King,
Venkatachary and Zill do with routing tables (ORTC, 1999): from the leaves to the root each node learns which keys would
suit most of what is below it, and from the root to the leaves a key is set where the one inherited does not suit. *No
key* can only be inherited from the root, so it wins at every node above it; a keyed range with an unkeyed neighbour in
it falls into pieces around it.

Where even that is too much, addresses that no neighbour can have take part: they may have any key, for nobody is
admitted from there. Ten thousand neighbours with one password then need one key. The price is that a stranger within
that prefix hears nothing at all, where he would else be refused with a NOTIFICATION.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from peering.prefixes import Prefix

Keys = Mapping[Prefix, bytes]
_NO_KEY = b""
_Labels = frozenset[bytes]
_UNKEYED: _Labels = frozenset((_NO_KEY,))


class _Node(NamedTuple):
    """`value` and `length` are its prefix as a number; `labels` the keys that suit best, `halves` what is below."""

    value: int
    length: int
    labels: _Labels
    halves: tuple[_Node, ...] = ()


def listening_keys(wanted: Mapping[Prefix, bytes | None], room: int) -> dict[Prefix, bytes]:
    """The keys for the kernel. `wanted` has every prefix that somebody is admitted from; None: without a password.

    If more than `room` come out in spite of all, they are more than `room`: the caller finds out.
    """
    plain = {prefix: key for prefix, key in wanted.items() if key}
    if len(plain) <= room and not _hides_some(plain, [prefix for prefix, key in wanted.items() if not key]):
        return plain
    exact = _fewest(wanted, exact=True)
    if len(exact) <= room:
        return exact
    return min(exact, _fewest(wanted, exact=False), key=len)


def _hides_some(keys: Keys, unkeyed: Iterable[Prefix]) -> bool:
    """Whether one that is to have no key lies inside a prefix with one."""
    lengths = {prefix[0] for prefix in keys}
    return any(_shortened(prefix, length) in keys for prefix in unkeyed for length in lengths if length < prefix[0])


def _shortened(prefix: Prefix, length: int) -> Prefix:
    size = len(prefix) - 1
    shift = 8 * size - length
    return bytes((length,)) + (int.from_bytes(prefix[1:]) >> shift << shift).to_bytes(size)


def _fewest(wanted: Mapping[Prefix, bytes | None], *, exact: bool) -> dict[Prefix, bytes]:
    keys: dict[Prefix, bytes] = {}
    for size in (4, 16):
        items = sorted(
            (int.from_bytes(prefix[1:]), prefix[0], key or _NO_KEY)
            for prefix, key in wanted.items()
            if len(prefix) == size + 1
        )
        if items:
            _collect(_Tree(8 * size, exact).node(items, 0, None), _NO_KEY, size, keys)
    return keys


class _Tree:
    """Builds the nodes; `items` are (value, length, key), sorted, so that a prefix stands before what is in it."""

    def __init__(self, bits: int, exact: bool) -> None:
        self._bits = bits
        self._elsewhere = _UNKEYED if exact else None

    def node(self, items: list[tuple[int, int, bytes]], floor: int, around: bytes | None) -> _Node:
        """The node of all items. `around` is the key of a wanted prefix that they are in; None: there is none.

        With one around, the node is that of the first `floor` bits, as all of it is wanted; else that of their longest
        common prefix.
        """
        first, last = items[0], items[-1]
        length = floor if around is not None else min(first[1], self._bits - (first[0] ^ last[0]).bit_length())
        value = first[0] >> (self._bits - length) << (self._bits - length)
        if first[:2] == (value, length):
            around, items = first[2], items[1:]
        if not items:
            return _Node(value, length, frozenset((around or _NO_KEY,)))
        half = 1 << (self._bits - length - 1)
        low = [item for item in items if item[0] < value + half]
        high = items[len(low) :]
        parts = ((value, low), (value + half, high))
        halves = tuple(self._half(start, length + 1, part, around) for start, part in parts)
        present = tuple(node for node in halves if node is not None)
        return _Node(value, length, self._suiting(present, length), present)

    def _half(self, value: int, length: int, items: list[tuple[int, int, bytes]], around: bytes | None) -> _Node | None:
        if items:
            return self.node(items, length, around)
        return None if around is None else _Node(value, length, frozenset((around,)))

    def _suiting(self, halves: tuple[_Node, ...], length: int) -> _Labels:
        """Of a node with these halves; a half that is not whole has addresses in it that nobody wants."""
        whole = len(halves) == 2 and all(half.length == length + 1 for half in halves)
        sets = [half.labels for half in halves]
        if not whole and self._elsewhere is not None:
            sets.append(self._elsewhere)
        if any(_NO_KEY in labels for labels in sets):
            return _UNKEYED
        return frozenset.intersection(*sets) or frozenset.union(*sets)


def _collect(node: _Node, inherited: bytes, size: int, keys: dict[Prefix, bytes]) -> None:
    if inherited not in node.labels:
        inherited = min(node.labels)
        keys[bytes((node.length,)) + node.value.to_bytes(size)] = inherited
    for half in node.halves:
        _collect(half, inherited, size, keys)
