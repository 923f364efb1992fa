"""What a controller is at, as metrics."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


@dataclass(frozen=True, slots=True)
class ControllerState:
    """`leads`: it is the one that works. `freed`: how often it freed something. `troubles`: what fails at present."""

    leads: bool = False
    freed: int = 0
    troubles: int = 0


def exposition(state: ControllerState) -> bytes:
    """In Prometheus' text format."""
    registry = CollectorRegistry()
    Gauge("underlay_controller_leading", "Whether it is the one that works.", registry=registry).set(state.leads)
    Gauge("underlay_controller_troubles", "What fails now and is tried again.", registry=registry).set(state.troubles)
    freed = Counter("underlay_controller_freed", "Blocks, addresses and promises freed.", registry=registry)
    freed.inc(state.freed)
    # When a counter was made is of no use here: it begins with the process.
    return b"".join(line for line in generate_latest(registry).splitlines(True) if b"_created" not in line)
