"""Changes of a table as UPDATEs, once for a whole group of peers, sorted by the source they came from.

The bytes of one source lie together: its slice. A peer is sent everything but its own slice (it knows its own routes;
RFC 4456 would allow sending them back, and it would be waste). When the best path of a prefix moves from source A to
source B, A finds the new path in B's slice; B, which held A's path and does not see its own slice, must be told to
withdraw it: those few prefixes travel as extra bytes to B alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from reflector.rib.route import Key, Route, Source

View = memoryview

#: (family-specific) UPDATE messages for withdrawn keys and for announced ones by (next hop, attribute bytes).
Encode = Callable[[Iterable[Key], Iterable[tuple[bytes, bytes, Iterable[Key]]]], list[bytes]]
#: (next hop, attribute bytes) as this group is told a route, or None when it is not.
Export = Callable[[Route], "tuple[bytes, bytes] | None"]
Change = tuple[Key, "Route | None", "Route | None"]
"""(prefix, the best path that the group was told of, the best path now)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`views` is what a peer without a slice gets; `parts` by source is what that source gets."""

    views: tuple[View, ...]
    parts: Mapping[Source, tuple[View, ...]]
    size: int

    def for_source(self, source: Source | None) -> tuple[View, ...]:
        """The bytes for the peer that is `source`."""
        return self.views if source is None else self.parts.get(source, self.views)


def encode_batch(changes: Iterable[Change], export: Export, encode: Encode) -> Batch | None:
    """The batch of these changes; None when nobody has to be told anything."""
    announced: dict[Source, dict[Route, list[Key]]] = {}
    withdrawn: dict[Source, list[Key]] = {}
    extras: dict[Source, list[Key]] = {}
    exported: dict[Route, tuple[bytes, bytes] | None] = {}
    for key, before, now in changes:
        if now is before:
            continue
        if now is not None and _told(now, exported, export):
            announced.setdefault(now.source, {}).setdefault(now, []).append(key)
            if before is not None and before.source is not now.source and _told(before, exported, export):
                extras.setdefault(now.source, []).append(key)
        elif before is not None and _told(before, exported, export):
            withdrawn.setdefault(before.source, []).append(key)
    return _batch(announced, withdrawn, extras, exported, encode)


def _told(route: Route, exported: dict[Route, tuple[bytes, bytes] | None], export: Export) -> bool:
    if route not in exported:
        exported[route] = export(route)
    return exported[route] is not None


def _batch(
    announced: Mapping[Source, Mapping[Route, list[Key]]],
    withdrawn: Mapping[Source, list[Key]],
    extras: Mapping[Source, list[Key]],
    exported: Mapping[Route, tuple[bytes, bytes] | None],
    encode: Encode,
) -> Batch | None:
    messages: list[bytes] = []
    bounds: dict[Source, tuple[int, int]] = {}
    position = 0
    for source in {**withdrawn, **announced}:
        mine = encode(withdrawn.get(source, ()), list(_groups(announced.get(source, {}), exported)))
        size = sum(map(len, mine))
        bounds[source] = (position, position + size)
        messages += mine
        position += size
    if not messages:
        return None
    whole = memoryview(b"".join(messages))
    parts = {
        source: _without(whole, *bounds[source], b"".join(encode(extras[source], ())) if source in extras else b"")
        for source in bounds
    }
    return Batch((whole,), parts, len(whole))


def _groups(
    routes: Mapping[Route, list[Key]], exported: Mapping[Route, tuple[bytes, bytes] | None]
) -> Iterator[tuple[bytes, bytes, list[Key]]]:
    for route, keys in routes.items():
        attributes = exported[route]
        if attributes is not None:
            yield (*attributes, keys)


def encode_state(
    keys: Iterable[tuple[Key, Route | None]], source: Source | None, export: Export, encode: Encode
) -> Batch | None:
    """What these prefixes are now, for one peer of whom it is not known what it was told of them."""
    exported: dict[Route, tuple[bytes, bytes] | None] = {}
    announced: dict[Route, list[Key]] = {}
    withdrawn: list[Key] = []
    for key, now in keys:
        if now is not None and now.source is not source and _told(now, exported, export):
            announced.setdefault(now, []).append(key)
        else:
            withdrawn.append(key)
    whole = memoryview(b"".join(encode(withdrawn, list(_groups(announced, exported)))))
    return Batch((whole,), {}, len(whole)) if len(whole) else None


def _without(whole: View, start: int, end: int, extra: bytes) -> tuple[View, ...]:
    found = [view for view in (whole[:start], whole[end:]) if len(view)]
    if extra:
        found.append(memoryview(extra))
    return tuple(found)
