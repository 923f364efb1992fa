"""Changes of a table as UPDATEs, once for a whole group of peers, sorted by the source they came from.

The bytes of one source lie together: its slice. A peer is sent everything but its own slice (it knows its own routes;
RFC 4456 would allow sending them back, and it would be waste). When the best path of a prefix moves from source A to
source B, A finds the new path in B's slice; B, which held A's path and does not see its own slice, must be told to
withdraw it: those few prefixes travel as extra bytes to B alone. With several paths per prefix nothing moves: a path's
identifier belongs to one source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reflector.log.shape import News, Nlri, Shape, Slot
from reflector.rib.route import Key, Route, Source
from reflector.rib.table import Table

View = memoryview
Told = tuple[bytes, bytes]
"""(next hop, attributes without it) as a group is told a route."""

#: UPDATE messages of one family for withdrawn NLRI and for announced ones by (next hop, attributes).
Encode = Callable[[Iterable[Nlri], Iterable[tuple[bytes, bytes, Iterable[Nlri]]]], list[bytes]]


class Export(Protocol):
    """What a group is told of a route; None: nothing."""

    @property
    def by_prefix(self) -> bool:
        """Whether the answer depends on the prefix."""

    def decide(self, route: Route, key: Key) -> Told | None:
        """Of one prefix."""

    def partition(self, route: Route, keys: list[Key]) -> list[tuple[Told | None, list[Key]]]:
        """Of many prefixes with the same route: the answers, and the prefixes they are for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`whole` is what a peer without a slice gets; `bounds` and `extras` say what is different for a source."""

    whole: View
    bounds: Mapping[Source, tuple[int, int]] = field(default_factory=dict)
    extras: Mapping[Source, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.whole)

    def for_source(self, source: Source | None) -> list[View]:
        """The bytes for the peer that is `source`: at most three pieces, each of whole messages."""
        bounds = self.bounds.get(source)  # type: ignore[arg-type]  # None is nobody's key
        if bounds is None:
            return [self.whole]
        start, end = bounds
        found = [self.whole[:start]] if start else []
        if end < len(self.whole):
            found.append(self.whole[end:])
        extra = self.extras.get(source)  # type: ignore[arg-type]
        if extra:
            found.append(memoryview(extra))
        return found


class Language:
    """How a group is told things: what of a route, under which slots, in which bytes."""

    def __init__(self, export: Export, encode: Encode, shape: Shape) -> None:
        self.export = export
        self.encode = encode
        self.shape = shape

    def told(self, slot: Slot, route: Route) -> Told | None:
        return self.export.decide(route, self.shape.prefix(slot))

    def announcements(self, route: Route, slots: list[Slot]) -> Iterator[tuple[bytes, bytes, list[Nlri]]]:
        """What is said of slots with the same route."""
        export, shape = self.export, self.shape
        if shape.plain:
            for told, some in export.partition(route, slots):
                if told is not None:
                    yield *told, some
            return
        groups: dict[Told, list[Nlri]] = defaultdict(list)
        for slot in slots:
            one = export.decide(route, shape.prefix(slot))
            if one is not None:
                groups[one].append(shape.nlri(slot, route))
        for told_as, nlri in groups.items():
            yield *told_as, nlri


def encode_news(news: News, language: Language) -> Batch | None:
    """The batch of what a group has to be told; None when nobody has to be told anything."""
    by_route: dict[Route, list[Slot]] = defaultdict(list, news.fresh)
    withdrawn: dict[Source, list[Nlri]] = {}
    for route, slots in news.gone.items():
        told = [nlri for _, _, some in language.announcements(route, slots) for nlri in some]
        if told:
            withdrawn.setdefault(route.source, []).extend(told)
    extras: dict[Source, list[Nlri]] = {}
    for slot, before, now in news.moved:
        if before is now:
            continue
        if before is None or language.told(slot, before) is None:
            if now is not None:
                by_route[now].append(slot)
        elif now is None or language.told(slot, now) is None:
            withdrawn.setdefault(before.source, []).append(language.shape.nlri(slot, before))
        else:
            by_route[now].append(slot)
            if before.source is not now.source:
                extras.setdefault(now.source, []).append(language.shape.nlri(slot, before))
    return _joined(withdrawn, _by_source(by_route, language), extras, language.encode)


def _by_source(
    by_route: Mapping[Route, list[Slot]], language: Language
) -> dict[Source, list[tuple[bytes, bytes, list[Nlri]]]]:
    announced: dict[Source, list[tuple[bytes, bytes, list[Nlri]]]] = {}
    for route, slots in by_route.items():
        announced.setdefault(route.source, []).extend(language.announcements(route, slots))
    return announced


def _joined(
    withdrawn: Mapping[Source, list[Nlri]],
    announced: Mapping[Source, list[tuple[bytes, bytes, list[Nlri]]]],
    extras: Mapping[Source, list[Nlri]],
    encode: Encode,
) -> Batch | None:
    messages: list[bytes] = []
    bounds: dict[Source, tuple[int, int]] = {}
    position = 0
    for source in {**withdrawn, **announced}:
        mine = encode(withdrawn.get(source, ()), announced.get(source, ()))
        size = sum(map(len, mine))
        bounds[source] = (position, position + size)
        messages += mine
        position += size
    if not messages:
        return None
    more = {source: b"".join(encode(nlri, ())) for source, nlri in extras.items()}
    return Batch(memoryview(b"".join(messages)), bounds, more)


def encode_state(
    state: Iterable[tuple[Slot, Nlri, Route | None]], source: Source | None, language: Language
) -> Batch | None:
    """What these slots are now, for one peer of whom it is not known what it was told of them.

    The NLRI is what is withdrawn where nothing is to be told.
    """
    by_route: dict[Route, list[Slot]] = defaultdict(list)
    withdrawn: list[Nlri] = []
    for slot, nlri, now in state:
        if now is not None and now.source is not source and language.told(slot, now) is not None:
            by_route[now].append(slot)
        else:
            withdrawn.append(nlri)
    announced = [group for route, slots in by_route.items() for group in language.announcements(route, slots)]
    messages = language.encode(withdrawn, announced)
    return Batch(memoryview(b"".join(messages))) if messages else None


def encode_exchange(table: Table, before: Language, now: Language) -> Batch | None:
    """What makes one who was told the table in one language one who was told it in the other; shared by all of them.

    Both shapes have the same kind of slots. Nobody's own routes are in it, as in every batch.
    """
    by_route: dict[Route, list[Slot]] = defaultdict(list)
    withdrawn: dict[Source, list[Nlri]] = {}
    for key, paths in table.paths.items():
        then, after = before.shape.slots(key, paths), now.shape.slots(key, paths)
        for slot, route in {**then, **after}.items():
            was = before.told(slot, route) if slot in then else None
            told = now.told(slot, route) if slot in after else None
            if told == was:
                continue
            if told is None:
                withdrawn.setdefault(route.source, []).append(now.shape.nlri(slot, route))
            else:
                by_route[route].append(slot)
    return _joined(withdrawn, _by_source(by_route, now), {}, now.encode)
