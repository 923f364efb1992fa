"""Declarations for labs, as documents that a test can spoil, and what `underlay lab generate` makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from containerlab import draft
from containerlab.blueprint import Blueprint
from containerlab.kinds import KINDS
from peering.compile import plan
from peering.resource import Resource, parse_resource
from peering.session import Plan
from peering.snapshot import Snapshot
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES, nodes

Document = dict[str, Any]


def documents(sample: str) -> list[Document]:
    files = sorted((SAMPLES / sample).glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def dual_tor() -> list[Document]:
    return [*documents("dual-tor"), *(node.to_document() for node in nodes())]


def of(declared: list[Document], kind: str, name: str) -> Any:
    return next(d["spec"] for d in declared if (d["kind"], d["metadata"]["name"]) == (kind, name))


def generate(folder: Path, declared: list[Document], *options: str) -> Result:
    file = folder / "declared.yaml"
    file.write_text(yaml.safe_dump_all(declared))
    return run_underlay("lab", "generate", "-f", str(file), "--out", str(folder / "lab"), *options)


def made(folder: Path, declared: list[Document], *options: str) -> dict[str, str]:
    """Path in the output -> text."""
    result = generate(folder, declared, *options)
    assert result.exit_code == 0, result.stderr
    out = folder / "lab"
    return {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()}


def blueprint(declared: list[Document], kind: str = "frr") -> tuple[Blueprint, Plan]:
    snapshot = snapshot_of(declared)
    compiled = plan(snapshot)
    found, problems = draft.draft(snapshot, compiled, dict.fromkeys(compiled.switches, KINDS[kind]))
    assert [p for p in problems if p.severity == "error"] == []
    return found, compiled


def snapshot_of(declared: list[Document]) -> Snapshot:
    found = [parse_resource(document) for document in declared]
    return Snapshot([one for one in found if isinstance(one, Resource)])
