"""What Prometheus is told, as a table: a metric is a row with its name, help and where its samples come from.

The few that are about the reflector as a whole go through `prometheus_client`. Those of each neighbour are lines that
are made here, in slices: for ten thousand neighbours that library would keep all sessions waiting.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from peering.prefixes import format_address
from reflector.server.drop_counters import read_drop_counters
from reflector.server.neighbor_view import stops
from reflector.server.neighbour import Neighbour
from reflector.server.server import ReflectorServer
from reflector.session.states import State

PREFIX = "underlay_reflector_"

#: Those that are about a neighbour.
CONDITIONS_OF_NEIGHBOURS = ("prefix-limit", "prefix-limit-near", "stale-routes", "stopped")

Labels = tuple[str, ...]
Samples = Mapping[Labels, float]


@dataclass(slots=True)
class Totals:
    """What has to be added up over all neighbours; made in slices, for one scrape."""

    states: Counter[str] = field(default_factory=Counter)
    paths: Counter[Labels] = field(default_factory=Counter)
    conditions: Counter[str] = field(default_factory=Counter)
    updates: int = 0
    faults: int = 0
    connections: int = 0

    def add(self, neighbour: Neighbour) -> None:
        self.states[neighbour.machines.state.value] += 1
        self.connections += len(neighbour.connections)
        self.conditions.update(name for name, _ in stops(neighbour))
        state = neighbour.state
        if state is None:
            return
        for family, one in state.families.items():
            self.paths[str(family), "accepted"] += len(one.adj)
            self.paths[str(family), "refused"] += len(one.refused)
            self.paths[str(family), "stale"] += len(one.stale)
        self.conditions["prefix-limit-near"] += len(state.warned)
        self.conditions["stale-routes"] += len(state.retained)
        if state.up:
            self.updates += state.updates
            self.faults += state.faults


Read = Callable[[ReflectorServer, Totals], Samples]


class Row(NamedTuple):
    """A metric about the whole; `read` gives the value for each set of labels. A counter's name ends in `_total`."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: Labels
    read: Read


class NeighborRow(NamedTuple):
    """A gauge of each neighbour, with the labels `neighbor` and what `labels` says."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Neighbour], Iterable[tuple[Labels, int]]]


def _one(value: float) -> Samples:
    return {(): value}


def _by(counts: Mapping[str, float]) -> Samples:
    return {(name,): count for name, count in counts.items()}


def _conditions(server: ReflectorServer, totals: Totals) -> Samples:
    claims = server.engine.claims
    blocks = {"foreign-block": len(claims.foreign), "duplicate-announcer": len(claims.duplicates)}
    others = {name: totals.conditions[name] for name in CONDITIONS_OF_NEIGHBOURS}
    return _by({**blocks, **others})


def _info(server: ReflectorServer, totals: Totals) -> Samples:
    has = server.configuration
    ids = (format_address(has.router_id), format_address(has.cluster_id))
    return {(has.name, str(has.asn), *ids, has.ownership): 1}


ROWS: tuple[Row, ...] = (
    Row(
        "info",
        "gauge",
        "1, with what the reflector is as labels.",
        ("reflector", "asn", "router_id", "cluster_id", "ownership"),
        _info,
    ),
    Row(
        "neighbors",
        "gauge",
        "Neighbours by the state of their session.",
        ("state",),
        lambda s, t: _by({state.value: t.states[state.value] for state in State}),
    ),
    Row(
        "neighbors_declared",
        "gauge",
        "Neighbours that have a name; the others are dynamic.",
        (),
        lambda s, t: _one(len(s.configuration.peers)),
    ),
    Row("connections", "gauge", "TCP connections with neighbours.", (), lambda s, t: _one(t.connections)),
    Row(
        "prefixes",
        "gauge",
        "Prefixes that there is a path to.",
        ("family",),
        lambda s, t: {(str(family),): len(table.paths) for family, table in s.engine.tables.items()},
    ),
    Row(
        "paths",
        "gauge",
        "Paths that neighbours announce: accepted, refused, and how many of both are stale.",
        ("family", "kind"),
        lambda s, t: t.paths,
    ),
    Row("conditions", "gauge", "Conditions that hold now.", ("condition",), _conditions),
    Row(
        "update_groups",
        "gauge",
        "Groups of neighbours that are told the same in the same bytes.",
        (),
        lambda s, t: _one(len(s.engine.groups)),
    ),
    Row(
        "sessions_established_total",
        "counter",
        "Sessions that came up.",
        (),
        lambda s, t: _one(s.counters.established),
    ),
    Row(
        "sessions_ended_total",
        "counter",
        "Sessions that went down, by what ended them.",
        ("reason",),
        lambda s, t: _by(s.counters.ended),
    ),
    Row(
        "sessions_failed_total",
        "counter",
        "Connections on which no session came up, by what ended them.",
        ("reason",),
        lambda s, t: _by(s.counters.failed),
    ),
    Row(
        "connections_refused_total",
        "counter",
        "Connections that were not let in.",
        ("code",),
        lambda s, t: _by(s.counters.refused),
    ),
    Row(
        "updates_received_total",
        "counter",
        "UPDATE messages.",
        (),
        lambda s, t: _one(s.counters.updates + t.updates),
    ),
    Row(
        "update_faults_total",
        "counter",
        "Faults in UPDATEs that left the session up (RFC 7606).",
        (),
        lambda s, t: _one(s.counters.faults + t.faults),
    ),
    Row(
        "foreign_blocks_refused_total",
        "counter",
        "Announcements of a block of somebody else that were refused.",
        (),
        lambda s, t: _one(s.engine.claims.refusals),
    ),
    Row(
        "prefix_limits_exceeded_total",
        "counter",
        "Sessions that were ended for too many prefixes.",
        (),
        lambda s, t: _one(s.counters.limits_exceeded),
    ),
    Row(
        "publish_rounds_total",
        "counter",
        "Batches of changes that were made and written to the neighbours.",
        (),
        lambda s, t: _one(s.counters.rounds),
    ),
    Row(
        "publish_seconds_total",
        "counter",
        "Time that this took.",
        (),
        lambda s, t: _one(s.counters.publishing),
    ),
    Row(
        "kernel_drops_total",
        "counter",
        "What the kernel dropped in the network namespace, by its own name for the counter.",
        ("counter",),
        lambda s, t: _by(read_drop_counters()),
    ),
    Row(
        "uptime_seconds",
        "gauge",
        "Time since the start.",
        (),
        lambda s, t: _one(time.monotonic() - s.counters.started),
    ),
    Row("cpu_seconds_total", "counter", "Processor time of the process.", (), lambda s, t: _one(time.process_time())),
    Row("resident_memory_bytes", "gauge", "Memory of the process.", (), lambda s, t: _one(_resident())),
)


def _resident() -> int:
    """0 where the kernel does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _up(neighbour: Neighbour) -> Iterator[tuple[Labels, int]]:
    yield (), int(neighbour.machines.established is not None)


def _prefixes(neighbour: Neighbour) -> Iterator[tuple[Labels, int]]:
    if neighbour.state is not None:
        for family, one in neighbour.state.families.items():
            yield (str(family),), len(one)


NEIGHBOR_ROWS: tuple[NeighborRow, ...] = (
    NeighborRow("neighbor_up", "1 if its session is Established.", (), _up),
    NeighborRow(
        "neighbor_prefixes", "Prefixes that the neighbour announces, refused ones too.", ("family",), _prefixes
    ),
)


class _Whole(Collector):
    """The rows about the whole, for prometheus_client."""

    def __init__(self, server: ReflectorServer, totals: Totals) -> None:
        self._server = server
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        for row in ROWS:
            family = (CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily)(
                PREFIX + row.name, row.help, labels=row.labels
            )
            for labels, value in row.read(self._server, self._totals).items():
                family.add_metric(labels, value)
            yield family


def exposition(server: ReflectorServer) -> Generator[bytes | None, None, None]:
    """The text of one scrape in pieces (text format 0.0.4); None where there is nothing to give yet."""
    totals = Totals()
    neighbours = list(server.neighbours.values())
    for neighbour in neighbours:
        totals.add(neighbour)
        yield None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Whole(server, totals))
    yield generate_latest(registry)
    for row in NEIGHBOR_ROWS:
        name = PREFIX + row.name
        yield f"# HELP {name} {row.help}\n# TYPE {name} gauge\n".encode()
        for neighbour in neighbours:
            who = _escaped(neighbour.peer.name)
            yield "".join(_line(name, row.labels, who, *sample) for sample in row.read(neighbour)).encode()


def _line(name: str, names: Labels, who: str, values: Labels, value: int) -> str:
    more = "".join(f',{key}="{_escaped(text)}"' for key, text in zip(names, values, strict=True))
    return f'{name}{{neighbor="{who}"{more}}} {value}\n'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
