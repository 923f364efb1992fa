"""Lists of prefix rules that many routers share, each kept once and asked quickly."""

from __future__ import annotations

from collections.abc import Iterable

from peering.prefixes import Prefix, pack_prefix
from peering.session import PrefixRule

#: (bytes of a packed prefix, length of the CIDR): its first bits -> the bounds, with the number of the list.
_Index = dict[tuple[int, int], dict[int, list[tuple[int, int, int]]]]


class RuleSet:
    """The rules of one list. Made by `RuleSets.of`; equal lists are one object."""

    def __init__(self, number: int, rules: tuple[PrefixRule, ...]) -> None:
        self.number = number
        self.rules = rules
        self._index: _Index = {}
        self._known: dict[Prefix, bool] = {}
        for rule in rules:
            _add(self._index, rule, number)

    def __contains__(self, prefix: Prefix) -> bool:
        known = self._known.get(prefix)
        if known is None:
            known = self._known[prefix] = bool(_numbers(self._index, prefix))
        return known


class RuleSets:
    """All lists of a fabric."""

    def __init__(self) -> None:
        self._sets: dict[tuple[PrefixRule, ...], RuleSet] = {}

    def of(self, rules: Iterable[PrefixRule]) -> RuleSet:
        """The list with these rules."""
        key = tuple(rules)
        if key not in self._sets:
            self._sets[key] = RuleSet(len(self._sets), key)
        return self._sets[key]


class Matcher:
    """Says of a prefix which of some lists have it."""

    def __init__(self, sets: Iterable[RuleSet]) -> None:
        self._index: _Index = {}
        for number, rules in {one.number: one.rules for one in sets}.items():
            for rule in rules:
                _add(self._index, rule, number)

    def matching(self, prefix: Prefix) -> frozenset[int]:
        """The numbers of the lists that the prefix is in."""
        return frozenset(_numbers(self._index, prefix))


def _add(index: _Index, rule: PrefixRule, number: int) -> None:
    cidr = pack_prefix(rule.cidr)
    by_bits = index.setdefault((len(cidr), cidr[0]), {})
    by_bits.setdefault(_first_bits(cidr, cidr[0]), []).append((rule.min_length, rule.max_length, number))


def _numbers(index: _Index, prefix: Prefix) -> set[int]:
    found: set[int] = set()
    for (size, length), by_bits in index.items():
        if size == len(prefix) and length <= prefix[0]:
            bounds = by_bits.get(_first_bits(prefix, length), ())
            found.update(number for low, high, number in bounds if low <= prefix[0] <= high)
    return found


def _first_bits(prefix: Prefix, length: int) -> int:
    return int.from_bytes(prefix[1:]) >> (8 * (len(prefix) - 1) - length)
