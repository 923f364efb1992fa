"""What can fail, by the names that people give it: `Switch/tor-1a`, `Link/node-1:tor-1a`.

| name | what fails |
|---|---|
| `Node/NAME`, `Switch/NAME`, `RouteReflector/NAME` | the router |
| `External/NAME` | a neighbour outside of the declaration: a fabric peer by its name, another one by its address |
| `Rack/NAME` | all nodes and switches of the rack |
| `Link/A:B` | all links between two neighbours, and the sessions on them |
| `Session/A:NAME` | the session that A calls NAME, and nothing else |
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from peering.whatif.fabric import Fabric
from peering.whatif.routers import Pair, pair_of
from peering.whatif.situation import Failure

_KINDS = {"Node": "node", "Switch": "switch", "RouteReflector": "reflector", "External": "external"}
_OTHERS = ("Rack", "Link", "Session")
#: What a router is called in a result.
_NAMES = {kind: name for name, kind in _KINDS.items()}
#: In which order a bare name of a link's or session's end is looked for.
_ORDER = ("node", "switch", "reflector", "external")


class UnknownName(Exception):
    """There is nothing of that name; the message says what was probably meant."""


@dataclass(frozen=True)
class Named:
    """A failure with the name that it was asked for by."""

    name: str
    failure: Failure


def together(parts: Iterable[Named]) -> Failure:
    """All of it at once."""
    failures = [part.failure for part in parts]
    return Failure(
        routers=frozenset(router for one in failures for router in one.routers),
        links=frozenset(link for one in failures for link in one.links),
        sessions=frozenset(session for one in failures for session in one.sessions),
    )


def title(router: str) -> str:
    """`switch/tor-1a` -> `Switch/tor-1a`."""
    kind, _, name = router.partition("/")
    return f"{_NAMES[kind]}/{name}"


class Failures:
    """Everything that can fail in a fabric."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    def named(self, text: str) -> Named:
        """The failure of that name. Raises UnknownName."""
        kind, slash, name = text.partition("/")
        known = {one.lower(): one for one in (*_KINDS, *_OTHERS)}
        if not slash or kind.lower() not in known:
            raise UnknownName(f"{text!r} is not KIND/NAME with one of {', '.join(known.values())}")
        kind = known[kind.lower()]
        if kind in _KINDS:
            return self._router(kind, name)
        return {"Rack": self._rack, "Link": self._link, "Session": self._session}[kind](name)

    def every_single_one(self) -> Iterator[Named]:
        """Each router, each rack and each link by itself."""
        for router in self._fabric.routers:
            yield Named(title(router), Failure(frozenset({router})))
        for rack in self._fabric.rack_members:
            yield self._rack(rack)
        for pair in self._links:
            yield Named(self._link_title(pair), Failure(links=frozenset({pair})))

    def _router(self, kind: str, name: str) -> Named:
        router = f"{_KINDS[kind]}/{name}"
        if router not in self._fabric.routers:
            raise _unknown(kind, name, self._names_of(_KINDS[kind]))
        return Named(f"{kind}/{name}", Failure(frozenset({router})))

    def _rack(self, name: str) -> Named:
        members = self._fabric.rack_members.get(name)
        if members is None:
            raise _unknown("Rack", name, self._fabric.rack_members)
        return Named(f"Rack/{name}", Failure(members))

    def _link(self, name: str) -> Named:
        one, other = self._two(name, "Link")
        for pair in self._links:
            if {end.partition("/")[2] for end in pair} == {one, other}:
                return Named(self._link_title(pair), Failure(links=frozenset({pair})))
        router = self._end("Link", name, one)
        ends = (end.partition("/")[2] for pair in self._links if router in pair for end in pair if end != router)
        raise _unknown("Link", name, (f"{one}:{end}" for end in ends))

    def _session(self, name: str) -> Named:
        owner, session = self._two(name, "Session")
        router = self._fabric.routers[self._end("Session", name, owner)]
        edges = [edge for edge in router.out if edge.near.name == session]
        if not edges:
            raise _unknown("Session", name, (f"{owner}:{edge.near.name}" for edge in router.out))
        return Named(f"Session/{name}", Failure(sessions=frozenset(edges)))

    def _two(self, name: str, kind: str) -> tuple[str, str]:
        one, colon, other = name.partition(":")
        if not colon:
            raise UnknownName(f"{kind}/{name} needs two names with a colon between, as {kind}/node-1:tor-1a")
        return one, other

    def _end(self, kind: str, name: str, end: str) -> str:
        found = next((f"{one}/{end}" for one in _ORDER if f"{one}/{end}" in self._fabric.routers), None)
        if found is None:
            raise _unknown(kind, name, (f"{router.name}:..." for router in self._fabric.routers.values()))
        return found

    @cached_property
    def _links(self) -> tuple[Pair, ...]:
        """Declared links, and those that sessions stand on."""
        declared = {pair for pairs in self._fabric.links.pairs.values() for pair in pairs}
        used = {edge.pair for edge in self._fabric.edges() if edge.pair is not None}
        return tuple(sorted(declared | {pair_of(*pair) for pair in used}))

    def _link_title(self, pair: Pair) -> str:
        """Nodes first, neighbours outside last."""
        first, second = sorted(pair, key=lambda end: _ORDER.index(end.partition("/")[0]))
        return f"Link/{first.partition('/')[2]}:{second.partition('/')[2]}"

    def _names_of(self, kind: str) -> list[str]:
        return [router.name for router in self._fabric.routers.values() if router.kind == kind]


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5)
    if near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = f"there are: {', '.join(sorted(names)[:10])}" if names else "there is none"
    return UnknownName(f"there is no {kind}/{name} ({hint})")
