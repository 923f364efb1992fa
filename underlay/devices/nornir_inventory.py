"""Switches of a nornir inventory, read by nornir itself: a hosts file with `groups.yaml` and `defaults.yaml` beside it,
or a configuration file of nornir that names an inventory plugin. No task of nornir is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from underlay.devices.found import Found
from underlay.devices.libraries import library
from underlay.output import Refused


def lookup(file: Path) -> Callable[[str], Found | None]:
    """Refuses a file that nornir cannot read."""
    nornir = library("nornir", "nornir", str(file))
    try:
        hosts = _init(nornir, file).inventory.hosts
    except OSError as error:
        raise Refused(message=f"error: {file}: cannot be read: {error.strerror}") from error
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise Refused(message=f"error: {file}: nornir cannot read it: {text}") from error

    def look_up(name: str) -> Found | None:
        if name not in hosts:
            return None
        host = hosts[name]
        return Found(
            host.hostname or "", host.port, host.platform or "", None, host.username, host.password, "set its hostname"
        )

    return look_up


def _init(nornir: Any, file: Path) -> Any:
    quiet = {"enabled": False}
    if "inventory" in (yaml.safe_load(file.read_text("utf-8")) or {}):
        return nornir.InitNornir(config_file=str(file), logging=quiet, runner={"plugin": "serial"}, dry_run=True)
    options = {
        "host_file": str(file),
        "group_file": str(file.parent / "groups.yaml"),
        "defaults_file": str(file.parent / "defaults.yaml"),
    }
    return nornir.InitNornir(
        inventory={"plugin": "SimpleInventory", "options": options},
        logging=quiet,
        runner={"plugin": "serial"},
        dry_run=True,
    )
