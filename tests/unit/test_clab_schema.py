"""Every topology that we ship, and what `lab generate` makes, is valid for containerlab."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import containerlab
from tests.unit.clab_schema import OURS, THEIRS, load, validator

TOPOLOGIES = sorted(Path(containerlab.__file__).parent.glob("*.clab.yml"))
SCHEMAS = [OURS, *([Path(THEIRS)] if THEIRS else [])]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def named(name: str) -> Any:
    return read(next(path for path in TOPOLOGIES if path.name == f"{name}.clab.yml"))


def test_the_variants_are_there() -> None:
    names = {path.name.removesuffix(".clab.yml") for path in TOPOLOGIES}
    designs = {"dual-tor", "dual-tor-ibgp", "as-per-cluster", "reflectors", "unnumbered"}
    assert names >= designs | {f"dual-tor-{kind}" for kind in ("ceos", "srlinux", "sonic")}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.name)
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda path: path.name)
def test_a_shipped_topology_is_valid(topology: Path, schema: Path) -> None:
    assert [error.message for error in load(schema).iter_errors(read(topology))] == []


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a key of no node": lambda lab: lab["topology"]["nodes"]["node-1"].update(sysctl={}),
    "a kind that does not exist": lambda lab: lab["topology"]["nodes"]["node-1"].update(kind="switch"),
    "a startup-config that is no text": lambda lab: lab["topology"]["groups"]["switch-eos"].update(
        {"startup-config": 1}
    ),
    "a key of no link": lambda lab: lab["topology"]["links"][0].update(bandwidth=1),
    "a link with one end": lambda lab: lab["topology"]["links"][0]["endpoints"].pop(),
    "a label that is a list": lambda lab: lab["topology"]["groups"]["k8s-node"].update(labels={"a": ["b"]}),
    "nodes at the top": lambda lab: lab.update(nodes={}),
    "no name": lambda lab: lab.pop("name"),
}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.name)
@pytest.mark.parametrize("mistake", BREAKS)
def test_what_containerlab_refuses_is_refused(mistake: str, schema: Path) -> None:
    lab = copy.deepcopy(named("dual-tor-ceos"))
    assert load(schema).is_valid(lab)
    BREAKS[mistake](lab)
    assert not load(schema).is_valid(lab)


def test_patterns_may_have_the_classes_of_containerlabs_schema() -> None:
    """Python's own `re` ends with "bad escape" at these."""
    zone = {"type": "string", "pattern": r"^fe80::1(%[\p{N}\p{L}]+)?$"}
    schema = {"type": "object", "patternProperties": {r"^\p{L}+$": zone}, "additionalProperties": False}
    checked = validator(schema)
    assert checked.is_valid({"größe": "fe80::1%eth0"})
    assert not checked.is_valid({"größe": "fe80::1%-"})
    assert not checked.is_valid({"x1": "fe80::1"})
