"""What the engine knows, as JSON: paths and why, what a peer said and is told, what is wrong. Pure.

Names are lowerCamelCase and only ever get company. Rows of one answer share what is equal in them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from peering.prefixes import format_address
from reflector.engine.adj_rib_in import PeerFamily, Refused
from reflector.engine.answer import Json, Rows, around, inside, listed, taken
from reflector.engine.attribute_view import attributes_view, block_of
from reflector.engine.engine import Engine
from reflector.engine.path_choice import choose_path
from reflector.engine.peer import PeerState
from reflector.engine.terms import export_terms_of, language_of
from reflector.engine.text import format_key, format_next_hop
from reflector.log.batch import Language
from reflector.policy.refusal import Refusal
from reflector.rib.route import Key, Route, Source
from reflector.rib.table import PathKey, all_of, best_of
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.families import Family

_PATH_ID = 4
_PEERS = 200
#: Sets of attributes that an answer remembers; then it begins anew.
_REMEMBERED = 2_000

Filter = Callable[[Family, Key], bool]


def everything(family: Family, key: Key) -> bool:
    """The filter that lets all through."""
    return True


def within(family: Family, outer: Key) -> Filter:
    """The filter for a prefix and what lies inside it."""
    holds = inside(outer)
    return lambda found, key: found == family and holds(key)


# Paths to one prefix.


def paths_view(engine: Engine, family: Family, key: Key) -> Rows:
    """A row for each path to the longest prefix around `key` of which anything is known, best first, refused ones last.

    At the end `match`, which is that prefix, null when there is none, and `reason`, why the best is the best.
    """
    table = engine.tables.get(family)
    known = table.paths if table is not None else {}
    prefixes = around(key)
    refused = yield from _refused_of(engine, family, prefixes)
    match = next((one for one in prefixes if one in known or one in refused), None)
    end: Json = {"prefix": format_key(family, key), "family": str(family), "match": None, "reason": None}
    if match is None:
        return end
    end["match"] = format_key(family, match)
    end["owners"] = sorted(engine.claims.ownership.owners_of(family, match))
    end["duplicateAnnouncers"] = list(engine.claims.duplicates.get((family, match), ()))
    routes = all_of(known.get(match))
    if routes:
        end["reason"] = yield from _judged_paths(engine, family, match, routes)
    for state, path, row in refused.get(match, ()):
        yield _refused_path(state, family, path, row)
    return end


def _judged_paths(
    engine: Engine, family: Family, key: Key, routes: tuple[Route, ...]
) -> Generator[Json | None, None, str]:
    """The paths of the table; why the first is the best."""
    choice = choose_path(routes)
    foreign = frozenset(engine.claims.foreign.get((family, key), ()))
    for route in routes:
        state = engine.peers.get(route.source.address)
        one = state.families.get(family) if state is not None else None
        yield {
            "best": route is choice.best,
            "accepted": True,
            "lostBy": choice.lost.get(route),
            "refusal": None,
            **_route_view(route),
            "stale": None if one is None else _staleness(one, route.path_id + key),
            "foreign": route.source in foreign,
            **({} if route.received is route.block else {"received": attributes_view(route.received)}),
        }
    return choice.reason


def _refused_path(state: PeerState, family: Family, path: PathKey, row: Refused) -> Json:
    return {
        "best": False,
        "accepted": False,
        "lostBy": None,
        "refusal": _refusal_view(row.why),
        **_route_view(row.route),
        "stale": _staleness(state.families[family], path) if family in state.families else None,
        "foreign": row.why.code == "foreign-block",
    }


Found = dict[Key, list[tuple[PeerState, PathKey, Refused]]]


def _refused_of(engine: Engine, family: Family, keys: list[Key]) -> Generator[None, None, Found]:
    """What is refused of these prefixes, and whose it is."""
    found: Found = {}
    wanted = frozenset(keys)
    for number, state in enumerate(list(engine.peers.values()), start=1):
        one = state.families.get(family)
        if one is not None and one.refused and one.paths:
            for path in taken((yield from listed(one.refused))):
                if path is None:
                    yield None
                elif path[_PATH_ID:] in wanted and path in one.refused:
                    found.setdefault(path[_PATH_ID:], []).append((state, path, one.refused[path]))
        elif one is not None and one.refused:
            for key in keys:
                if key in one.refused:
                    found.setdefault(key, []).append((state, key, one.refused[key]))
        if not number % _PEERS:
            yield None
    return found


# Tables.


def routes_view(engine: Engine, wanted: Filter) -> Rows:
    """The best path of every prefix, and how many paths there are."""
    views = _Views()
    for family, table in list(engine.tables.items()):
        for key in taken((yield from listed(table.paths))):
            paths = None if key is None else table.paths.get(key)
            best = best_of(paths)
            if key is None or best is None:
                yield None
            elif wanted(family, key):
                yield {**_head(family, key), "paths": len(all_of(paths)), **views.route(best)}
    return {}


def routes_in(state: PeerState, wanted: Filter, *, only_refused: bool = False) -> Rows:
    """What a peer has announced, as it came, and what became of it."""
    views = _Views()
    for family, one in list(state.families.items()):
        paths: list[PathKey] = []
        if not only_refused:
            paths = yield from listed(one.adj.routes)
        paths += yield from listed(one.refused)
        for path in taken(paths):
            if path is None:
                yield None
                continue
            key = path[_PATH_ID:] if one.paths else path
            if wanted(family, key):
                yield _received(views, one, path, key)
    return {}


def _received(views: _Views, one: PeerFamily, path: PathKey, key: Key) -> Json | None:
    refused = one.refused.get(path)
    route = refused.route if refused is not None else one.adj.routes.get(path)
    if route is None:
        return None
    return {
        **_head(one.family, key),
        "accepted": refused is None,
        "refusal": None if refused is None else _refusal_view(refused.why),
        "stale": _staleness(one, path),
        **views.route(route, route.received),
    }


def routes_out(engine: Engine, state: PeerState, wanted: Filter) -> Rows:
    """What a peer is told, or will be with the next batch: as its update groups have it."""
    views = _Views()
    for family, language in _languages(engine, state):
        table = engine.tables[family]
        for key in taken((yield from listed(table.paths))):
            if key is None:
                yield None
            elif wanted(family, key):
                for slot, route in language.shape.slots(key, table.paths.get(key)).items():
                    told = _told(language, slot, route, state.source)
                    if told is not None:
                        path_id = slot[: len(slot) - len(key)]
                        yield {**_head(family, key), "pathID": _number(path_id), **views.told(route, told)}
    return {}


def advertised(engine: Engine, state: PeerState) -> Generator[None, None, dict[str, int]]:
    """By family, how many prefixes (or paths) a peer is told."""
    counts = {}
    for family, language in _languages(engine, state):
        table, count = engine.tables[family], 0
        for key in taken((yield from listed(table.paths))):
            if key is None:
                yield None
                continue
            for slot, route in language.shape.slots(key, table.paths.get(key)).items():
                count += _told(language, slot, route, state.source) is not None
        counts[str(family)] = count
    return counts


def _languages(engine: Engine, state: PeerState) -> Iterator[tuple[Family, Language]]:
    """By family how a peer is told things, with AS numbers of four bytes whatever it understands."""
    if state.negotiated is None or state.open is None:
        return
    for family in list(state.families):
        terms = export_terms_of(
            engine.configuration, state.config, state.source.kind, state.open.asn, state.negotiated, family
        )
        yield family, language_of(replace(terms, four_octet=True))


def _told(language: Language, slot: bytes, route: Route, source: Source) -> tuple[bytes, bytes] | None:
    return None if route.source is source else language.told(slot, route)


# What is wrong.


def conditions_view(engine: Engine) -> Rows:
    """A row for each condition that holds now."""
    claims = engine.claims
    for place in taken((yield from listed(claims.foreign))):
        sources = claims.foreign.get(place) if place is not None else None
        if place is None or not sources:
            yield None
        else:
            yield _about_block(engine, "foreign-block", place, [source.name for source in sources])
    for place in taken((yield from listed(claims.duplicates))):
        names = claims.duplicates.get(place) if place is not None else None
        yield None if place is None or not names else _about_block(engine, "duplicate-announcer", place, list(names))
    for number, state in enumerate(list(engine.peers.values()), start=1):
        yield from _about_peer(state)
        if not number % _PEERS:
            yield None
    return {}


def _about_block(engine: Engine, condition: str, place: tuple[Family, Key], clients: list[str]) -> Json:
    owners = engine.claims.ownership.owners_of(*place)
    return {"condition": condition, **_head(*place), "clients": sorted(clients), "owners": sorted(owners)}


def _about_peer(state: PeerState) -> Iterator[Json]:
    limit = state.config.policy.max_prefixes
    for family in sorted(state.warned) if limit is not None else ():
        count = len(state.families[family]) if family in state.families else 0
        about = {"neighbor": state.source.name, "family": str(family)}
        yield {"condition": "prefix-limit-near", **about, "prefixes": count, "limit": limit}
    for family in sorted(state.retained):
        one = state.families[family]
        about = {"neighbor": state.source.name, "family": str(family)}
        yield {"condition": "stale-routes", **about, "prefixes": len(one.stale), "longLived": one.long_lived}


# Pieces.


class _Views:
    """Attributes are many times the same: each is made once in an answer."""

    def __init__(self) -> None:
        self._of_blocks: dict[AttributeBlock, Json] = {}
        self._of_bytes: dict[bytes, Json] = {}

    def route(self, route: Route, block: AttributeBlock | None = None) -> Json:
        """Of a route with its own attributes, or with others."""
        block = block or route.block
        found = self._of_blocks.get(block)
        if found is None:
            if len(self._of_blocks) >= _REMEMBERED:
                self._of_blocks.clear()
            found = self._of_blocks[block] = attributes_view(block)
        return {**_who(route), "pathID": _number(route.path_id), "nextHop": format_next_hop(route.next_hop), **found}

    def told(self, route: Route, told: tuple[bytes, bytes]) -> Json:
        """Of a route as it goes out."""
        next_hop, raw = told
        found = self._of_bytes.get(raw)
        if found is None:
            if len(self._of_bytes) >= _REMEMBERED:
                self._of_bytes.clear()
            found = self._of_bytes[raw] = attributes_view(block_of(raw))
        return {**_who(route), "nextHop": format_next_hop(next_hop), **found}


def _route_view(route: Route) -> Json:
    return _Views().route(route)


def _who(route: Route) -> Json:
    return {"from": route.source.name, "fromAddress": format_address(route.source.address), "kind": route.source.kind}


def _head(family: Family, key: Key) -> Json:
    return {"prefix": format_key(family, key), "family": str(family)}


def _refusal_view(why: Refusal) -> Json:
    return {"code": why.code, "text": why.text}


def _number(path_id: bytes) -> int | None:
    return int.from_bytes(path_id) if path_id else None


def _staleness(one: PeerFamily, path: PathKey) -> str | None:
    """`stale` from the end of a session on, `long-lived` in the second phase (RFC 9494); null: none of both."""
    if path not in one.stale:
        return None
    return "long-lived" if one.long_lived else "stale"
