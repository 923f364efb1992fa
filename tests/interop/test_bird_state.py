"""What a running BIRD says of the configuration that it took, compared with the plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fabric_templates.render import render
from tests.interop.netns_daemons import Bird, Network
from tests.switches.facts import Facts, differences
from tests.switches.matrix import PASSWORDS, cases

pytestmark = pytest.mark.lab

#: Facts that `show protocols all` tells of a session that is down.
READS = frozenset(
    {"description", "export_maps", "families", "import_maps", "local_asn", "max_prefixes", "remote_asn", "router_id"}
)
#: A bird.conf whose own router ID is another one.
BASE = "router id 192.0.2.1;\nprotocol device { }\n"


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def read(shown: str) -> Facts:
    """Neighbours and ranges; every part begins with the protocol's name at the line's beginning."""
    found: Facts = {("switch", ""): {"router_id": ", ".join(sorted(set(re.findall(r"Router ID: +(\S+)", shown))))}}
    for part in re.split(r"\n\n+", shown):
        ranged = _one(part, r"Neighbor range: +(\S+)")
        address = _one(part, r"Neighbor address: +(\S+)")
        if ranged or address:
            found[("range", ranged) if ranged else ("neighbor", str(address))] = _fields(part)
    return found


def _one(text: str, pattern: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


def _fields(part: str) -> dict[str, Any]:
    limit = _one(part, r"Receive limit: +(\d+)")
    return {
        "description": _one(part, r"Description: +(\S.*)"),
        "remote_asn": int(_one(part, r"Neighbor AS: +(\d+)") or 0),
        "local_asn": int(_one(part, r"Local AS: +(\d+)") or 0),
        "max_prefixes": int(limit) if limit else None,
        "families": frozenset(int(version) for version in re.findall(r"Channel ipv([46])", part)),
        "import_maps": frozenset(re.findall(r"Input filter: +(\S+)", part)),
        "export_maps": frozenset(re.findall(r"Output filter: +(\S+)", part)),
    }


def test_bird_runs_what_the_plan_says(network: Network) -> None:
    """Every row of the matrix: each is a BIRD of its own."""
    chosen = {name: plan for name, plan in cases("bird").items() if "/" not in name}
    complaints: dict[str, list[str]] = {}
    for name, plan in chosen.items():
        text = BASE + render("tor", plan, passwords=PASSWORDS)["underlay.conf"]
        bird = Bird(network, network.namespace(name.replace("row-", "r")), text)
        complaints[name] = differences(plan, read(bird.ask("show", "protocols", "all")), READS)
    assert {name: lines for name, lines in complaints.items() if lines} == {}
    assert len(chosen) >= 30


def test_another_filter_or_limit_would_be_seen(network: Network) -> None:
    plan = next(p for p in cases("bird").values() if any(s.max_prefixes for s in p.sessions))
    text = BASE + render("tor", plan, passwords=PASSWORDS)["underlay.conf"]
    changed = re.sub(r"receive limit \d+", "receive limit 63", text)
    changed = re.sub(r"export filter '\S+'", "export none", changed)
    bird = Bird(network, network.namespace("tor"), changed)
    told = " ".join(differences(plan, read(bird.ask("show", "protocols", "all")), READS))
    assert " max_prefixes: " in told
    assert " export_maps: " in told
