"""What the server knows, as JSON: itself, and its neighbours with their sessions. Times are Unix times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import NamedTuple

from peering.prefixes import Address, format_address, format_prefix, is_ipv6, pack_address
from reflector.configuration import PeerPolicy
from reflector.engine.answer import Json, Rows
from reflector.engine.peer import PeerState
from reflector.engine.views import advertised
from reflector.server.connection import Connection
from reflector.server.drop_counters import read_drop_counters
from reflector.server.neighbour import Neighbour
from reflector.server.server import ReflectorServer
from reflector.session.machine import Session
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated

_NEIGHBOURS = 50


class Times(NamedTuple):
    """The clock of the loop and that of the world, read together."""

    loop: float
    world: float

    def of(self, moment: float) -> float | None:
        """Unix time, to the second; None for what has no time."""
        return round(self.world - self.loop + moment) if isfinite(moment) else None


def found(server: ReflectorServer, text: str) -> Neighbour | None:
    """The neighbour of that name or address."""
    try:
        return server.neighbours.get(pack_address(text))
    except ValueError:
        return next((one for one in server.neighbours.values() if one.peer.name == text), None)


# The reflector.


def status_view(server: ReflectorServer, times: Times) -> Rows:
    """One row."""
    configuration, engine, counters = server.configuration, server.engine, server.counters
    states, conditions, tables = Counter[str](), Counter[str](), dict[Family, Counter[str]]()
    for number, neighbour in enumerate(list(server.neighbours.values()), start=1):
        states[neighbour.machines.state.value] += 1
        conditions.update(name for name, _ in stops(neighbour))
        if neighbour.state is not None:
            _add_up(neighbour.state, tables, conditions)
        if not number % _NEIGHBOURS:
            yield None
    conditions["foreign-block"] = len(engine.claims.foreign)
    conditions["duplicate-announcer"] = len(engine.claims.duplicates)
    yield {
        "reflector": configuration.name,
        "asn": configuration.asn,
        "routerID": format_address(configuration.router_id),
        "clusterID": format_address(configuration.cluster_id),
        "listening": [_endpoint(address, configuration.port) for address in configuration.addresses],
        "accepts": [format_prefix(one.prefix) for one in configuration.ranges],
        "ownership": configuration.ownership,
        "since": times.of(counters.started),
        "declared": len(configuration.peers),
        "neighbors": dict(states),
        "tables": {
            str(family): {
                "prefixes": len(table.paths),
                **{what: tables.get(family, Counter())[what] for what in ("accepted", "refused", "stale")},
            }
            for family, table in engine.tables.items()
        },
        "updateGroups": len(engine.groups),
        "conditions": {name: count for name, count in conditions.items() if count},
        "connectionsRefused": dict(counters.refused),
        "sessionsFailed": dict(counters.failed),
        "sessionsEnded": dict(counters.ended),
        "kernelDrops": read_drop_counters(),
    }
    return {}


def _add_up(state: PeerState, tables: dict[Family, Counter[str]], conditions: Counter[str]) -> None:
    for family, one in state.families.items():
        counts = tables.setdefault(family, Counter())
        counts["accepted"] += len(one.adj)
        counts["refused"] += len(one.refused)
        counts["stale"] += len(one.stale)
    conditions["prefix-limit-near"] += len(state.warned)
    conditions["stale-routes"] += len(state.retained)


def _endpoint(address: Address, port: int) -> str:
    text = format_address(address)
    return f"[{text}]:{port}" if is_ipv6(address) else f"{text}:{port}"


def stops(neighbour: Neighbour) -> Iterator[tuple[str, Json]]:
    """The condition of a neighbour whose session is not to come up: it exceeded its limit, or was stopped."""
    if neighbour.machines.running:
        return
    name = "prefix-limit" if neighbour.barred else "stopped"
    again = isfinite(neighbour.machines.deadline())
    yield name, {"neighbor": neighbour.peer.name, "reason": neighbour.last_error, "startsAgain": again}


def stopped_view(server: ReflectorServer) -> Rows:
    """A row for each neighbour that is stopped, as conditions are."""
    for number, neighbour in enumerate(list(server.neighbours.values()), start=1):
        for name, fields in stops(neighbour):
            yield {"condition": name, **fields}
        if not number % _NEIGHBOURS:
            yield None
    return {}


# Neighbours.


def neighbors_view(server: ReflectorServer, times: Times) -> Rows:
    """A row for each."""
    for neighbour in list(server.neighbours.values()):
        yield neighbor_row(neighbour, times)
    return {}


def neighbor_row(neighbour: Neighbour, times: Times) -> Json:
    """`asn` is the one it has said, or the one that is wanted; null where any will do. `since`: of its `state`."""
    peer, state = neighbour.peer, neighbour.state
    up = state is not None and state.open is not None
    return {
        "name": peer.name,
        "address": format_address(peer.address),
        "asn": state.open.asn if state is not None and state.open is not None else peer.session.peer_asn or None,
        "kind": state.source.kind if state is not None else None,
        "dynamic": neighbour.dynamic,
        "state": neighbour.machines.state.value,
        "since": times.of(state.up_since) if state is not None and up else _since(neighbour, times),
        "flaps": neighbour.flaps,
        "lastError": neighbour.last_error,
        "families": {} if state is None else _families(state),
    }


def _since(neighbour: Neighbour, times: Times) -> float | None:
    last = [session.since for session in neighbour.machines.sessions if session.state is neighbour.machines.state]
    return times.of(min(last)) if last else None


def _families(state: PeerState) -> Json:
    return {
        str(family): {
            "received": len(one),
            "accepted": len(one.adj),
            "refused": len(one.refused),
            "stale": len(one.stale),
        }
        for family, one in state.families.items()
    }


def neighbor_view(server: ReflectorServer, neighbour: Neighbour, times: Times) -> Rows:
    """One row, with all there is to know."""
    peer, state, machines = neighbour.peer, neighbour.state, neighbour.machines
    counts: dict[str, int] = {}
    if state is not None:
        counts = yield from advertised(server.engine, state)
    view = neighbor_row(neighbour, times)
    for family, count in counts.items():
        if family in view["families"]:
            view["families"][family]["advertised"] = count
    view["owner"] = peer.owner
    view["running"] = machines.running
    view["startsAgain"] = None if machines.running else times.of(machines.deadline())
    view["connections"] = [_connection(session, connection) for session, connection in neighbour.connections.items()]
    view["session"] = None if state is None or state.negotiated is None else _terms(state, state.negotiated)
    view["restart"] = {} if state is None else _retained(state, times)
    view["policy"] = _policy(peer.policy)
    yield view
    return {}


def _connection(session: Session, connection: Connection) -> Json:
    return {"state": session.state.value, "incoming": session.incoming, "sendBlocked": connection.blocked}


def _terms(state: PeerState, terms: Negotiated) -> Json:
    """What both ends agreed on, and what came since."""
    restart = terms.graceful_restart
    return {
        "routerID": format_address(state.source.router_id),
        "holdTime": terms.hold_time,
        "families": _texts(terms.families),
        "fourOctetAS": terms.four_octet,
        "routeRefresh": terms.route_refresh,
        "enhancedRouteRefresh": terms.enhanced_route_refresh,
        "maxMessageLength": {"received": terms.max_receive_length, "sent": terms.max_send_length},
        "addPathReceived": _texts(sorted(terms.add_path_receive)),
        "addPathSent": _texts(sorted(terms.add_path_send)),
        "extendedNextHop": _texts(sorted(family for family, _ in terms.extended_next_hop if family in terms.families)),
        "gracefulRestart": None
        if restart is None
        else {
            "restartTime": restart.restart_time,
            "restarting": restart.restarting,
            "afterNotification": restart.notification,
            "forwardingKept": _texts(family for family, kept in restart.families.items() if kept),
        },
        "longLivedStaleTimes": {str(family): row.stale_time for family, row in terms.long_lived.items()},
        "endOfRibAwaited": _texts(sorted(state.awaited)),
        "updatesReceived": state.updates,
        "updateFaults": state.faults,
        "lastFault": state.last_fault,
    }


def _retained(state: PeerState, times: Times) -> Json:
    """By family, until when routes stay that the peer has to say again."""
    return {
        str(family): {"until": times.of(kept.until), "longLived": state.families[family].long_lived}
        for family, kept in state.retained.items()
    }


def _policy(policy: PeerPolicy) -> Json:
    return {
        "client": policy.client,
        "nextHop": policy.next_hop,
        "allowASIn": policy.allow_as_in,
        "asOverride": policy.as_override,
        "prepend": policy.prepend,
        "importFilters": [name for name, _ in policy.import_filters],
        "exportFilters": [name for name, _ in policy.export_filters],
        "maxPrefixes": policy.max_prefixes,
        "restartAfter": policy.restart_after,
        "addPathLimit": policy.add_path_limit,
    }


def _texts(families: Iterable[Family]) -> list[str]:
    return [str(family) for family in families]
