"""Who announces what belongs to others: conditions that begin and end, each told once. Sans-IO.

A claim is foreign when its announcer does not own the prefix. Two clients with one owned prefix are duplicate
announcers: the owner and a foreign one, or two foreign ones. (Several owners of one prefix are meant to be.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reflector.engine.text import format_key
from reflector.policy.ownership import Ownership
from reflector.rib.route import Key, Source
from reflector.rib.table import Table, all_of
from reflector.wire.families import Family

#: Told of what happens: a name and its fields.
Log = Callable[..., None]
Place = tuple[Family, Key]


class Claims:
    """All conditions of a reflector. `ownership` may be exchanged; then every claim has to be judged again."""

    def __init__(self, ownership: Ownership, tables: Mapping[Family, Table], log: Log) -> None:
        self.ownership = ownership
        self.foreign: dict[Place, set[Source]] = {}
        self.duplicates: dict[Place, tuple[str, ...]] = {}
        self.refusals = 0
        self._tables = tables
        self._log = log
        self._doubtful: set[Place] = set()
        self._before: dict[Place, set[Source]] = {}
        self._enforced_before = False

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do."""
        return bool(self._doubtful)

    def claim(self, source: Source, owner: str, family: Family) -> Claim | None:
        """The claim of one client; None where nothing is judged."""
        return None if self.ownership.mode == "off" else Claim(self, source, owner, family)

    def start_again(self, ownership: Ownership) -> None:
        """Other owners: every claim is to be made and judged again, until `judged`."""
        self._enforced_before = self.ownership.mode == "enforce"
        self.ownership = ownership
        self._doubtful.update(self.duplicates)
        self._before, self.foreign = self.foreign, {}

    def judged(self) -> None:
        """Every claim was judged again: what is not foreign any more is over."""
        before, self._before = self._before, {}
        for place, sources in before.items():
            for source in sources - self.foreign.get(place, set()):
                self._log("foreign-block-over", **self._fields(place), client=source.name)

    def begins(self, source: Source, place: Place) -> None:
        sources = self.foreign.setdefault(place, set())
        if source in sources:
            return
        sources.add(source)
        self._doubtful.add(place)
        known = source in self._before.get(place, ())
        self.refusals += self.ownership.mode == "enforce" and not (known and self._enforced_before)
        if known:
            return
        self._log("foreign-block", **self._fields(place), client=source.name, mode=self.ownership.mode)

    def ends(self, source: Source, place: Place) -> None:
        sources = self.foreign.get(place, set())
        if source not in sources:
            return
        sources.discard(source)
        self._doubtful.add(place)
        if not sources:
            del self.foreign[place]
        self._log("foreign-block-over", **self._fields(place), client=source.name)

    def doubt(self, family: Family, keys: Iterable[Key]) -> None:
        """The owners' announcements of these have changed."""
        self._doubtful.update(place for place in ((family, key) for key in keys) if place in self.foreign)

    def renamed(self) -> None:
        """A client has another name now."""
        self._doubtful.update(self.duplicates)

    def settle(self) -> None:
        """Finds out which prefixes have two announcers now. To be called when tables have changed."""
        doubtful, self._doubtful = self._doubtful, set()
        for place in doubtful:
            announcers = self._announcers(place)
            known = self.duplicates.get(place)
            if len(announcers) > 1 and place in self.foreign and self.ownership.owners_of(*place):
                self.duplicates[place] = announcers
                if known is None:
                    self._log("duplicate-announcer", **self._fields(place), clients=list(announcers))
            elif known is not None:
                del self.duplicates[place]
                self._log("duplicate-announcer-over", **self._fields(place))

    def _announcers(self, place: Place) -> tuple[str, ...]:
        family, key = place
        routes = all_of(self._tables[family].paths.get(key))
        sources = {route.source for route in routes if route.source.kind == "client"}
        return tuple(sorted(source.name for source in sources | self.foreign.get(place, set())))

    def _fields(self, place: Place) -> dict[str, Any]:
        family, key = place
        return {"prefix": format_key(family, key), "owners": sorted(self.ownership.owners_of(family, key))}


class Claim:
    """What one client claims of one family."""

    __slots__ = ("_claims", "_family", "_foreign", "_source", "owner")

    def __init__(self, claims: Claims, source: Source, owner: str, family: Family) -> None:
        self._claims = claims
        self._source = source
        self.owner = owner
        self._family = family
        self._foreign: set[Key] = set()

    def announced(self, keys: list[Key]) -> list[Key]:
        """Those that have to be refused."""
        claims = self._claims
        foreign = claims.ownership.foreign(self.owner, self._family, keys)
        if foreign or self._foreign or claims.foreign:
            self._note(keys, set(foreign))
        return foreign if claims.ownership.mode == "enforce" else []

    def withdrawn(self, keys: Iterable[Key]) -> None:
        if self._foreign or self._claims.foreign:
            self._note(keys, set())

    def cleared(self, keys: Iterable[Key]) -> None:
        """The client is gone, with everything it announced."""
        for key in self._foreign:
            self._claims.ends(self._source, (self._family, key))
        self._foreign = set()
        if self._claims.foreign:
            self._claims.doubt(self._family, keys)

    def concerns(self, key: Key) -> bool:
        """Whether there is anything about this prefix."""
        return key in self._foreign or (self._family, key) in self._claims.foreign

    def _note(self, keys: Iterable[Key], foreign: set[Key]) -> None:
        listed = list(keys)
        for key in self._foreign.intersection(listed) - foreign:
            self._claims.ends(self._source, (self._family, key))
            self._foreign.discard(key)
        for key in foreign - self._foreign:
            self._claims.begins(self._source, (self._family, key))
        self._foreign |= foreign
        self._claims.doubt(self._family, listed)
