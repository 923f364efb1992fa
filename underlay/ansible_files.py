"""`render --format ansible`: the rendered files, an inventory and a playbook that gives each switch its own.

    underlay.yml        a play per platform; groups are called underlay_PLATFORM
    inventory.yml       the switches, with the addresses that their `spec.management` has
    files/SWITCH/FILE   what was rendered

Nothing with a password's placeholder can be loaded: each play begins with a look at its file. Ansible's modules add
lines and take none away; what has gone from the plan is `diff`'s and `push`'s to remove.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from fabric_templates import devices
from peering.problems import Problem
from peering.resources.fabric import Management

PLAYBOOK = "underlay.yml"
INVENTORY = "inventory.yml"
_HEAD = "# Rendered by Underlay: change the declaration, not this file.\n"
_PLACEHOLDER = "<secret:"
_TEMPLATE_WORDS = ("{{", "{%", "{#")
#: Where files are put that no module of Ansible loads.
_DEST = "/etc/underlay"
_DEST_USED = "underlay_dest"


class Row(BaseModel):
    """How a platform gets its file; see `ansible.yml` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str | None = None
    options: dict[str, Any] = {}
    network_os: str | None = None
    connection: str | None = None
    templates: bool = False
    comments: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class AnsibleSwitch:
    """A rendered switch. `secret`: those of its files that hold real passwords."""

    name: str
    platform: str
    files: Mapping[str, str]
    secret: Collection[str] = ()
    management: Management | None = None


@cache
def table() -> dict[str, Row]:
    """Platform -> its row, for every platform there is."""
    text = resources.files(__package__).joinpath("ansible.yml").read_text("utf-8")
    rows = {name: Row.model_validate(row) for name, row in yaml.safe_load(text).items()}
    missing = sorted(set(devices.names()) ^ set(rows))
    if missing:
        raise ValueError(f"ansible.yml and the platforms differ: {', '.join(missing)}")
    return rows


def check(switches: Collection[AnsibleSwitch]) -> Iterator[Problem]:
    """What Ansible would read as something else than it is."""
    for switch in switches:
        if not table()[_platform(switch)].templates:
            continue
        for name, text in sorted(switch.files.items()):
            found = [word for word in _TEMPLATE_WORDS if word in text]
            if found:
                message = f"has {found[0]}, where Ansible would begin a template"
                hint = "use another password or name; diff and push take it as it is"
                yield Problem("error", "ansible-template", f"Switch/{switch.name}", name, message, hint)


def ansible_files(switches: Collection[AnsibleSwitch]) -> dict[str, str]:
    """{path in the directory: text}, for switches of which `check` finds nothing."""
    found = {PLAYBOOK: _playbook(switches), INVENTORY: _inventory(switches)}
    for switch in switches:
        row = table()[_platform(switch)]
        for name, text in switch.files.items():
            found[_path(switch.name, name)] = _without_comments(text, row.comments)
    return found


def secret_paths(switches: Collection[AnsibleSwitch]) -> frozenset[str]:
    """Those of `ansible_files` that hold real passwords."""
    return frozenset(_path(switch.name, name) for switch in switches for name in switch.secret)


def _path(switch: str, name: str) -> str:
    return f"files/{switch}/{name}"


def _platform(switch: AnsibleSwitch) -> str:
    return switch.platform.partition("@")[0]


def _without_comments(text: str, comments: str | None) -> str:
    if comments is None:
        return text
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(comments))


def _by_platform(switches: Collection[AnsibleSwitch]) -> dict[str, list[AnsibleSwitch]]:
    found: dict[str, list[AnsibleSwitch]] = {}
    for switch in sorted(switches, key=lambda s: (_platform(s), s.name)):
        found.setdefault(_platform(switch), []).append(switch)
    return found


def _inventory(switches: Collection[AnsibleSwitch]) -> str:
    groups = {}
    for platform, members in _by_platform(switches).items():
        row = table()[platform]
        said = {"ansible_network_os": row.network_os, "ansible_connection": row.connection}
        group: dict[str, Any] = {"hosts": {switch.name: _host(switch) for switch in members}}
        if any(said.values()):
            group["vars"] = {name: value for name, value in said.items() if value is not None}
        groups[f"underlay_{platform}"] = group
    return _HEAD + _dumped({"all": {"children": {"underlay": {"children": groups}}}})


def _host(switch: AnsibleSwitch) -> dict[str, Any]:
    if switch.management is None:
        return {}
    port = {} if switch.management.port is None else {"ansible_port": switch.management.port}
    return {"ansible_host": switch.management.address, **port}


def _playbook(switches: Collection[AnsibleSwitch]) -> str:
    plays = [_play(platform, members) for platform, members in _by_platform(switches).items()]
    return f"{_HEAD}# ansible-playbook -i {INVENTORY} --check --diff {PLAYBOOK}\n" + _dumped(plays)


def _play(platform: str, members: Collection[AnsibleSwitch]) -> dict[str, Any]:
    row, has_secrets = table()[platform], any(switch.secret for switch in members)
    tasks = [task for name in sorted(next(iter(members)).files) for task in _tasks(row, name, has_secrets)]
    dest = {"vars": {"underlay_dest": _DEST}} if _DEST_USED in str(row.options) else {}
    return {
        "name": f"Underlay: {platform}",
        "hosts": f"underlay_{platform}",
        "gather_facts": False,
        **dest,
        "tasks": tasks,
    }


def _tasks(row: Row, name: str, has_secrets: bool) -> Iterator[dict[str, Any]]:
    path = "{{ playbook_dir }}/" + _path("{{ inventory_hostname }}", name)
    if row.module is None:
        said = f"{path} is loaded by hand: {row.note}"
        yield {"name": f"{name} is loaded by hand", "ansible.builtin.debug": {"msg": said}}
        return
    lookup = f"lookup('ansible.builtin.file', playbook_dir ~ '/files/' ~ inventory_hostname ~ '/{name}')"
    yield {
        "name": f"{name} has no placeholder of a password",
        "ansible.builtin.assert": {
            "that": [f"'{_PLACEHOLDER}' not in {lookup}"],
            "fail_msg": "render it with --with-secrets",
            "quiet": True,
        },
    }
    if _DEST_USED in str(row.options):
        directory = {"path": "{{ underlay_dest }}", "state": "directory", "mode": "0755"}
        yield {"name": "A place for it", "ansible.builtin.file": directory}
    options = {
        key: value.replace("{file}", path) if isinstance(value, str) else value for key, value in row.options.items()
    }
    said = f"{name}: {row.note}" if row.note else f"{name} is merged into what runs"
    yield {"name": said, row.module: options, **({"no_log": True} if has_secrets else {})}


def _dumped(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=False, width=120, allow_unicode=True)
