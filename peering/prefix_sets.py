"""Sets of prefixes as filters write them: all inside a CIDR with bounds of their length, or everything but those.

At one prefix length such a set is a range of addresses whose ends lie on borders of prefixes of that length. So
whether one set lies in the union of others is decided exactly, length by length, on ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peering.prefixes import Prefix

#: Half open: from the first address as a number to the one after the last.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PrefixSet:
    """The prefixes inside `cidr` with `shortest` <= length <= `longest`; with `complement` all others of the family.

    A lower bound below the CIDR's own length widens nothing.
    """

    cidr: Prefix
    shortest: int
    longest: int
    complement: bool = False

    @property
    def bits(self) -> int:
        """Of an address of the family: 32 or 128."""
        return 8 * (len(self.cidr) - 1)

    def __contains__(self, prefix: Prefix) -> bool:
        """Whether the set has the prefix. One of the other family is in no set."""
        if len(prefix) != len(self.cidr):
            return False
        shift = self.bits - self.cidr[0]
        inside = (
            max(self.shortest, self.cidr[0]) <= prefix[0] <= self.longest
            and int.from_bytes(prefix[1:]) >> shift == int.from_bytes(self.cidr[1:]) >> shift
        )
        return inside is not self.complement

    def ranges(self, length: int) -> Iterator[Range]:
        """The addresses of the set's prefixes of that length, in order."""
        end = 1 << self.bits
        first = int.from_bytes(self.cidr[1:])
        last = first + (1 << (self.bits - self.cidr[0]))
        if not max(self.shortest, self.cidr[0]) <= length <= self.longest:
            first = last = 0
        pieces = ((0, first), (last, end)) if self.complement else ((first, last),)
        return (piece for piece in pieces if piece[0] < piece[1])


def everything(bits: int) -> PrefixSet:
    """All prefixes of the family whose addresses have that many bits."""
    return PrefixSet(bytes(1 + bits // 8), 0, bits)


def covered(inner: PrefixSet, outer: Sequence[PrefixSet]) -> bool:
    """Whether every prefix of `inner` is in one of `outer`; an empty `inner` is. All of one family."""
    return all(_within(inner.ranges(n), [one.ranges(n) for one in outer]) for n in range(inner.bits + 1))


def is_empty(one: PrefixSet) -> bool:
    """Whether no prefix at all is in the set."""
    return covered(one, ())


def _within(wanted: Iterator[Range], given: Sequence[Iterator[Range]]) -> bool:
    pieces = sorted(piece for ranges in given for piece in ranges)
    return all(_filled(piece, pieces) for piece in wanted)


def _filled(wanted: Range, pieces: Sequence[Range]) -> bool:
    reached = wanted[0]
    for first, last in pieces:
        if first > reached:
            break
        reached = max(reached, last)
    return reached >= wanted[1]
