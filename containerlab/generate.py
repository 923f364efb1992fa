"""A lab from a declaration: the topology, a startup configuration for each switch and router, the declaration itself.

    snapshot, plan ─► blueprint ─► NAME.clab.yml
                          rendered ─► configs/NAME/SWITCH/...      + configs/NAME/declaration.yaml

What it is made from goes with it, so that the folder is whole: `lab up` puts that declaration into the lab's store.
Passwords are placeholders unless the caller has rendered real ones; the Secrets of the declaration then hold the same
placeholders, so that both ends of a session still agree. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from containerlab.blueprint import Blueprint, LabNode
from containerlab.clab_text import daemons_path, startup_path, topology_text
from containerlab.draft import draft
from containerlab.frr_router import DAEMONS, frr_config
from containerlab.kinds import LabKind
from containerlab.startup import startup_text
from peering.problems import Problem, errors
from peering.resource import Resource
from peering.resources.catalog import KINDS
from peering.session import Plan
from peering.snapshot import Snapshot

_HEAD = "# What this lab was generated from.\n"
_SECRET = "Secret"


@dataclass(frozen=True, slots=True)
class Generated:
    """`files`: path relative to the output folder -> text; none where a problem is an error. `secret`: those that may
    hold passwords.
    """

    files: Mapping[str, str]
    secret: frozenset[str]
    problems: tuple[Problem, ...]
    nodes: int


def generate(
    name: str,
    snapshot: Snapshot,
    plan: Plan,
    rendered: Mapping[str, Mapping[str, str]],
    kinds: Mapping[str, LabKind],
    *,
    images: Mapping[str, str] | None = None,
    with_secrets: bool = False,
) -> Generated:
    """`rendered`: switch -> file -> text, on the platform of its kind."""
    blueprint, problems = draft(snapshot, plan, kinds)
    if not any(node.role == "switch" for node in blueprint.nodes.values()):
        hint = "declare Switches, and Nodes with uplinks to them"
        problems.append(Problem("error", "lab-empty", f"Lab/{name}", "", "has no switch with a link", hint))
    if errors(problems):
        return Generated({}, frozenset(), tuple(problems), 0)
    files = {f"{name}.clab.yml": topology_text(name, blueprint, images or {})}
    secret = set()
    for node in blueprint.nodes.values():
        text = _startup(node, plan, rendered)
        if text is not None:
            files[startup_path(name, node)] = text
            secret |= {startup_path(name, node)} if node.role == "switch" else set()
    if _has_frr(blueprint):
        files[daemons_path(name)] = DAEMONS
    files[declaration_path(name)] = _HEAD + declaration_text(snapshot, with_secrets=with_secrets)
    secret.add(declaration_path(name))
    return Generated(files, frozenset(secret if with_secrets else ()), tuple(problems), len(blueprint.nodes))


def declaration_path(name: str) -> str:
    return f"configs/{name}/declaration.yaml"


def declaration_text(snapshot: Snapshot, *, with_secrets: bool) -> str:
    """What is declared, without annotations and what processes wrote."""
    declared = [r for r in snapshot if KINDS[r.kind].writer == "declared"]
    documents = [_document(resource, with_secrets) for resource in declared]
    return yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=False, width=120)


def _document(resource: Resource, with_secrets: bool) -> dict[str, Any]:
    document = replace(resource, annotations={}).to_document()
    if resource.kind == _SECRET and not with_secrets:
        keys = document["stringData"]
        document["stringData"] = {key: f"<secret:{resource.name}/{key}>" for key in keys}
    return document


def _startup(node: LabNode, plan: Plan, rendered: Mapping[str, Mapping[str, str]]) -> str | None:
    if node.router is not None:
        return frr_config(node.name, node.router)
    if node.kind is None:
        return None
    settings = {setting.name: setting.value for setting in plan.switches[node.name].settings}
    return startup_text(node, rendered[node.name], settings)


def _has_frr(blueprint: Blueprint) -> bool:
    return any(node.router or (node.kind and node.kind.platform == "frr") for node in blueprint.nodes.values())
