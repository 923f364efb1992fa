"""The questions that the admin socket answers: what may be asked, with which fields, and what makes the answer.

A request is a JSON object: `{"request": "routes-in", "neighbor": "node-1", "prefix": "10.0.0.0/8", "limit": 100}`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from reflector.engine import views
from reflector.engine.answer import Json, Rows
from reflector.engine.text import key_of
from reflector.rib.route import Key
from reflector.server import neighbor_view
from reflector.server.neighbor_view import Times
from reflector.server.neighbour import Neighbour
from reflector.server.server import ReflectorServer
from reflector.wire.families import FAMILIES, FAMILY_BY_NAME, Family

#: Rows of an answer, where the request says nothing else.
LIMIT = 10_000


class BadRequest(Exception):
    """What is wrong with a request, and what to do about it."""

    def __init__(self, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.hint = hint


class Question(NamedTuple):
    """A request that was understood. `limit` None: all rows. `single`: the answer is the one row itself."""

    rows: Rows
    limit: int | None
    single: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of a request, checked. `neighbor` is there where the request has to have one."""

    server: ReflectorServer
    times: Times
    fields: Mapping[str, Any]
    neighbor: Neighbour | None = None

    @property
    def known(self) -> Neighbour:
        assert self.neighbor is not None
        return self.neighbor

    def place(self) -> tuple[Family, Key] | None:
        """The prefix that is asked for."""
        text, name = self.fields.get("prefix"), self.fields.get("family")
        if text is None:
            return None
        family, key = _prefix(text)
        if name is None:
            return family, key
        wanted = _family(name)
        if FAMILIES[wanted].opaque or wanted.afi != family.afi:
            raise BadRequest(f"{text} is no prefix of {name}")
        return wanted, key

    def wanted(self) -> views.Filter:
        """By prefix, and what lies inside it, or by family."""
        place, name = self.place(), self.fields.get("family")
        if place is not None:
            return views.within(*place)
        if name is None:
            return views.everything
        family = _family(name)
        return lambda found, key: found == family


def question(line: bytes, server: ReflectorServer, times: Times) -> Question:
    """What a line asks. Raises BadRequest."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("that is not JSON", 'write {"request": "status"}') from None
    if not isinstance(fields, dict):
        raise BadRequest("a request is a JSON object", 'write {"request": "status"}')
    name = fields.get("request")
    row = REQUESTS.get(name) if isinstance(name, str) else None
    if row is None:
        raise BadRequest(f"there is no request {_shown(name)}", f"there are {', '.join(REQUESTS)}")
    _check(fields, row)
    neighbor = _neighbor(server, fields["neighbor"]) if "neighbor" in row.needs else None
    return Question(row.answer(Asked(server, times, fields, neighbor)), _limit(fields), row.single)


class Request(NamedTuple):
    """What it `needs` and `may` have, beside `limit`. `single`: see `Question`."""

    answer: Callable[[Asked], Rows]
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    single: bool = False


def _paths(asked: Asked) -> Rows:
    place = asked.place()
    assert place is not None
    return views.paths_view(asked.server.engine, *place)


def _routes_in(asked: Asked, *, only_refused: bool = False) -> Rows:
    state = asked.known.state
    return _nothing() if state is None else views.routes_in(state, asked.wanted(), only_refused=only_refused)


def _routes_out(asked: Asked) -> Rows:
    state = asked.known.state
    return _nothing() if state is None else views.routes_out(asked.server.engine, state, asked.wanted())


def _conditions(asked: Asked) -> Rows:
    yield from views.conditions_view(asked.server.engine)
    yield from neighbor_view.stopped_view(asked.server)
    return {}


def _reset(asked: Asked) -> Rows:
    asked.server.reset(asked.known.peer.address)
    yield {"neighbor": asked.known.peer.name, "state": asked.known.machines.state.value}
    return {}


def _refresh(asked: Asked) -> Rows:
    families = asked.server.refresh(asked.known.peer.address)
    if not families:
        name, state = asked.known.peer.name, asked.known.machines.state.value
        raise BadRequest(f"{name} cannot be asked: {state}, or without route refresh", "a reset has the same effect")
    yield {"neighbor": asked.known.peer.name, "families": [str(family) for family in families]}
    return {}


def _nothing() -> Rows:
    yield None
    return {}


_SOME = ("prefix", "family")
REQUESTS: dict[str, Request] = {
    "status": Request(lambda a: neighbor_view.status_view(a.server, a.times), single=True),
    "neighbors": Request(lambda a: neighbor_view.neighbors_view(a.server, a.times)),
    "neighbor": Request(lambda a: neighbor_view.neighbor_view(a.server, a.known, a.times), ("neighbor",), single=True),
    "paths": Request(_paths, ("prefix",), ("family",)),
    "routes": Request(lambda a: views.routes_view(a.server.engine, a.wanted()), (), _SOME),
    "routes-in": Request(_routes_in, ("neighbor",), _SOME),
    "routes-out": Request(_routes_out, ("neighbor",), _SOME),
    "refused": Request(lambda a: _routes_in(a, only_refused=True), ("neighbor",), _SOME),
    "conditions": Request(_conditions),
    "reset": Request(_reset, ("neighbor",), single=True),
    "refresh": Request(_refresh, ("neighbor",), single=True),
}


def _check(fields: Mapping[str, Any], row: Request) -> None:
    allowed = (*row.needs, *row.may)
    for name in row.needs:
        if name not in fields:
            raise BadRequest(f"{fields['request']} needs {name}")
    for name, value in fields.items():
        if name not in ("request", "limit", *allowed):
            takes = ", ".join((*allowed, "limit"))
            raise BadRequest(f"{fields['request']} has no field {_shown(name)}", f"it takes {takes}")
        if name in allowed and not isinstance(value, str):
            raise BadRequest(f"{name} has to be text")


def _limit(fields: Mapping[str, Any]) -> int | None:
    limit = fields.get("limit", LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise BadRequest("limit has to be a number of rows", "0 is all of them")
    return limit or None


def _neighbor(server: ReflectorServer, text: str) -> Neighbour:
    found = neighbor_view.found(server, text)
    if found is None:
        raise BadRequest(f"there is no neighbour {_shown(text)}", "name or address; the request neighbors lists them")
    return found


def _prefix(text: str) -> tuple[Family, Key]:
    try:
        return key_of(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_interface(text).network
    except ValueError:
        raise BadRequest(f"{_shown(text)} is no prefix", "write 10.1.2.0/24, or an address") from None
    raise BadRequest(f"{_shown(text)} has host bits set", f"the prefix is {meant}")


def _family(name: str) -> Family:
    family = FAMILY_BY_NAME.get(name)
    if family is None:
        raise BadRequest(f"there is no family {_shown(name)}", f"there are {', '.join(FAMILY_BY_NAME)}")
    return family


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def as_error(bad: BadRequest) -> Json:
    """The answer to a request that is wrong."""
    return {"error": bad.error, "hint": bad.hint} if bad.hint else {"error": bad.error}
