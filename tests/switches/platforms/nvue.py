"""NVUE: NVIDIA's own schema of each release, with unknown keys refused."""

from __future__ import annotations

import yaml

from peering.session import SwitchPlan
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms import nvue_schema


def schema(files: Files, plan: SwitchPlan) -> list[str]:
    """As NVUE reads the file: YAML 1.1, in which `on` without quotes is true, and no value of the schema."""
    release = plan.platform.partition("@")[2] or "5.18"
    (command,) = yaml.load(files["underlay.yaml"], yaml.CSafeLoader)
    return nvue_schema.complaints(command.pop("set"), release) + [f"{key} is no command" for key in command]


JUDGES = (
    Judge(
        level="schema",
        name="NVIDIA's OpenAPI of NVUE 5.9 to 5.18 (`nvueschema`)",
        complaints=schema,
        breaks=(
            Break(r"reestablish-wait", "re-establish-wait"),
            Break(r"type: numbered", "type: number"),
            Break(r"hold: 9\n", "hold: 99999\n"),
            Break(r"route-map: UNDERLAY-\S+", "route-map: {}"),
            Break(r"min-prefix-len: \d+", "min-prefix-len: 129"),
            Break(r"(enable|state): '?(on|enabled)'?", "enabled: true"),
            Break(r"router-id: \S+", "router-id: 10.0.1.300"),
            Break(r"passive-mode: \S+", "passive-mode: on"),
            Break(r"aggregate-route:", "aggregate-address:"),
            Break(r"origin: incomplete", "origin: unknown"),
        ),
    ),
)
#: Both sides of 5.15; test_nvue.py has the oldest and 5.15 itself.
RELEASES = ("5.14", "5.18")
