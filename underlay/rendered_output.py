"""`render --out`: rendered configurations as files, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from fabric_templates import render as rendering
from fabric_templates.output import write_atomically
from peering.resources.fabric import SwitchSpec
from peering.session import SwitchPlan
from peering.snapshot import Snapshot
from underlay.ansible_files import PLAYBOOK, AnsibleSwitch, ansible_files, check, secret_paths
from underlay.output import Refused, console

Rendered = Mapping[str, Mapping[str, str]]


class RenderFormat(StrEnum):
    """`render --format`."""

    files = "files"
    ansible = "ansible"


def write_files(out: Path, rendered: Rendered, plans: Mapping[str, SwitchPlan], *, with_secrets: bool) -> None:
    """DIR/SWITCH/FILE. `plans` are those that were rendered, with the platform that they were rendered for."""
    texts = {f"{switch}/{name}": text for switch, files in rendered.items() for name, text in files.items()}
    secret = {f"{s}/{name}" for s in rendered if with_secrets for name in rendering.secret_files(plans[s])}
    _write(out, texts, secret)
    for switch, files in rendered.items():
        console.print(f"{out / switch}: {', '.join(sorted(files))}", markup=False)


def write_ansible(
    out: Path, rendered: Rendered, plans: Mapping[str, SwitchPlan], snapshot: Snapshot, *, with_secrets: bool
) -> None:
    """A playbook with its inventory and files. Refuses what Ansible would misread."""
    specs = snapshot.specs("Switch", SwitchSpec)
    switches = [
        AnsibleSwitch(
            name,
            plans[name].platform,
            files,
            rendering.secret_files(plans[name]) if with_secrets else (),
            specs[name].management if name in specs else None,
        )
        for name, files in rendered.items()
    ]
    problems = list(check(switches))
    if problems:
        raise Refused(problems, "nothing was rendered")
    _write(out, ansible_files(switches), secret_paths(switches))
    console.print(f"{out / PLAYBOOK}: {', '.join(sorted(rendered)) or 'no switch'}", markup=False)


def _write(out: Path, texts: Mapping[str, str], secret: frozenset[str] | set[str]) -> None:
    try:
        write_atomically(out, texts, secret=secret)
    except OSError as error:
        raise Refused(message=f"error: {out}: cannot be written: {error.strerror}") from error
