"""The compiled graph with what it was compiled from: what lint and what-if look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peering.facts import NodeFacts
from peering.resources.fabric import RackSpec
from peering.session import ReflectorPlan, SpeakerPlan, SwitchPlan
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Graph:
    """`racks` have their `node_as_number` filled in where the design gives it."""

    snapshot: Snapshot
    nodes: Mapping[str, NodeFacts]
    racks: Mapping[str, RackSpec]
    speakers: Mapping[str, SpeakerPlan]
    reflectors: Mapping[str, ReflectorPlan]
    switches: Mapping[str, SwitchPlan]
