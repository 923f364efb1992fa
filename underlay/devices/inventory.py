"""Where the addresses of the switches are: in the Switch resources, in NetBox, or in an inventory of nornir.

An inventory says where a switch is and how it is called there. What it is, the Switch says: where the inventory knows
the platform too, the two have to agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from peering.problems import Problem
from peering.resources.fabric import Management, SwitchSpec
from peering.snapshot import Snapshot
from underlay.devices import netbox_inventory, nornir_inventory
from underlay.devices.drivers import platform_called
from underlay.devices.found import Found
from underlay.devices.target import Target
from underlay.output import Refused

_FORMS = "expected switches, netbox:URL or nornir:FILE"

#: Name of a switch -> what the inventory has of it; None where it has no such device. May refuse.
Lookup = Callable[[str], Found | None]


@dataclass(frozen=True, slots=True)
class Inventory:
    """`title` stands in messages."""

    title: str
    look_up: Lookup

    def target(self, name: str, platform: str, driver: str | None) -> Target:
        """Where `Switch/NAME` is. Refuses what the inventory does not have, or has as another platform."""
        where = f"Switch/{name}"
        found = self.look_up(name)
        if found is None:
            raise _refused("device-unknown", where, f"{self.title} has no device {name!r}", "names have to be equal")
        if not found.address:
            message, hint = f"{self.title} has no address for it", found.hint
            raise _refused("device-without-address", where, message, hint)
        _check_address(where, found.address, self.title)
        theirs = platform_called(found.platform) if found.platform else None
        if theirs is not None and theirs != platform.partition("@")[0]:
            message = f"is {platform!r} here, and {found.platform!r} in {self.title}"
            raise _refused("device-platform-differs", where, message, "correct the one that is wrong", "spec.platform")
        return Target(name, platform, found.address, found.port, driver or found.driver, found.username, found.password)


def inventory(text: str, snapshot: Snapshot) -> Inventory:
    """Of what `--inventory` says. Raises BadParameter."""
    kind, _, place = text.partition(":")
    if text == "switches":
        return Inventory("the declaration", _of_switches(snapshot))
    if kind == "netbox" and place.startswith(("http://", "https://")):
        return Inventory("NetBox", netbox_inventory.lookup(place))
    if kind == "nornir" and place:
        return Inventory("nornir's inventory", nornir_inventory.lookup(Path(place)))
    raise typer.BadParameter(f"{text!r}: {_FORMS}", param_hint="--inventory")


def _of_switches(snapshot: Snapshot) -> Lookup:
    switches = snapshot.specs("Switch", SwitchSpec)

    def look_up(name: str) -> Found | None:
        if name not in switches:
            return None
        management = switches[name].management
        if management is None:
            return Found(hint="set spec.management.address")
        return Found(management.address, management.port, driver=management.driver)

    return look_up


def _check_address(where: str, address: str, title: str) -> None:
    """The rule of `spec.management.address`: whoever keeps the inventory writes no options into ssh's command line."""
    try:
        Management(address=address)
    except ValueError as error:
        message = f"{title} has an address that is none: {address!a}"
        raise _refused("device-without-address", where, message, "") from error


def _refused(code: str, where: str, message: str, hint: str, path: str = "spec.management") -> Refused:
    return Refused([Problem("error", code, where, path, message, hint)])
