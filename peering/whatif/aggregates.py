"""Pools that are announced whole: prefixes that stand for others, and are nobody's to reach.

A node announces its pool while it has a block in it, a switch while it knows a more specific prefix. Who makes an
aggregate throws away what lies in it and is known no better.
"""

from __future__ import annotations

from collections.abc import Mapping

from peering.prefixes import Prefix
from peering.whatif.origins import PrefixIndex
from peering.whatif.policies import SpeakerPolicy, SwitchPolicy
from peering.whatif.routers import Router


class Aggregates:
    """The aggregates of a fabric, with the routers that make them and the originated prefixes inside them."""

    def __init__(self, routers: Mapping[str, Router], originated: PrefixIndex) -> None:
        self._makers = PrefixIndex()
        for router in routers.values():
            if isinstance(router.policy, SpeakerPolicy | SwitchPolicy):
                for prefix in router.policy.aggregates:
                    self._makers.add(prefix, router.id)
        self._inside: dict[Prefix, list[Prefix]] = {prefix: [] for prefix in self._makers}
        for prefix in originated if self._inside else ():
            for aggregate in self._makers.covering(prefix):
                if aggregate != prefix:
                    self._inside[aggregate].append(prefix)

    def makers(self, prefix: Prefix) -> tuple[str, ...]:
        """The ids of the routers that make exactly this aggregate, some of them perhaps not now."""
        return self._makers.routers(prefix)

    def inside(self, aggregate: Prefix) -> list[Prefix]:
        """The more specific prefixes that are originated somewhere."""
        return self._inside[aggregate]

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """Every aggregate that is the prefix or contains it, the longest first."""
        return self._makers.covering(prefix)

    def makers_of_all(self) -> list[tuple[str, ...]]:
        """Of each aggregate."""
        return [self._makers.routers(prefix) for prefix in self._makers]
