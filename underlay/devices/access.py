"""Logging in to the switches of a declaration: where they are, who logs in, and which library speaks to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from peering.problems import Problem
from peering.resources.fabric import SwitchSpec
from peering.resources.observed import SecretSpec
from peering.snapshot import Snapshot
from underlay.devices.credentials import Credentials, from_environment, from_file, from_values
from underlay.devices.device import Device, DeviceError
from underlay.devices.drivers import Driver, platforms_of, row
from underlay.devices.inventory import Inventory, inventory
from underlay.devices.napalm_device import NapalmDevice
from underlay.devices.netmiko_device import NetmikoDevice
from underlay.devices.options import DEFAULT_INVENTORY
from underlay.devices.scrapli_device import ScrapliDevice
from underlay.devices.target import Target
from underlay.output import Refused

_DEVICES: dict[Driver, Callable[[Target, Credentials], Device]] = {
    Driver.napalm: NapalmDevice,
    Driver.netmiko: NetmikoDevice,
    Driver.scrapli: ScrapliDevice,
}


@dataclass(frozen=True, slots=True)
class Login:
    """What the command line says. `driver`: instead of what the switches say."""

    driver: Driver | None = None
    inventory: str = DEFAULT_INVENTORY
    credentials: Path | None = None


class Access:
    """Connections to switches, open until the context is left. `show` is what `verify` may ask with: of several
    switches at once, each from a thread of its own."""

    def __init__(self, snapshot: Snapshot, login: Login) -> None:
        self._snapshot = snapshot
        self._login = login
        self._given = from_file(login.credentials) if login.credentials is not None else Credentials()
        self._inventory: Inventory = inventory(login.inventory, snapshot)
        self._open: dict[str, Device] = {}
        self._stack = ExitStack()

    def target(self, switch: str, platform: str | None = None) -> Target:
        """Where a switch is; its platform is the Switch's, or `platform`. Refuses."""
        spec = self._spec(switch)
        declared = spec.management.driver if spec.management is not None else None
        driver = self._login.driver.value if self._login.driver is not None else declared
        return self._inventory.target(switch, platform or spec.platform, driver)

    def device(self, switch: str, platform: str | None = None) -> Device:
        """A switch that one is logged in to. Refuses what cannot be reached."""
        if switch not in self._open:
            target = self.target(switch, platform)
            made = _DEVICES[_driver(target)](target, self._who(target))
            with telling(target.where):
                self._open[switch] = self._stack.enter_context(made)
        return self._open[switch]

    def show(self, switch: str, command: str) -> str:
        """What a switch prints for a command. Refuses."""
        device = self.device(switch)
        with telling(f"Switch/{switch}"):
            return device.show(command)

    def running(self, switch: str, platform: str | None = None) -> str:
        """Its running configuration. Refuses."""
        device = self.device(switch, platform)
        with telling(f"Switch/{switch}"):
            return device.running()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.clear()
        try:
            self._stack.__exit__(kind, value, trace)
        except DeviceError:
            if kind is None:
                raise

    def _spec(self, switch: str) -> SwitchSpec:
        switches = self._snapshot.specs("Switch", SwitchSpec)
        if switch not in switches:
            known = ", ".join(sorted(switches)) or "none"
            raise Refused(message=f"error: there is no Switch/{switch} (there are: {known})")
        return switches[switch]

    def _who(self, target: Target) -> Credentials:
        """The file, the environment, the Secret, the inventory: each fills in what those before it leave open."""
        known = self._given.or_else(from_environment()).or_else(self._of_secret(target))
        return known.or_else(Credentials(target.username, target.password))

    def _of_secret(self, target: Target) -> Credentials:
        management = self._spec(target.name).management
        if management is None or management.secret_ref is None:
            return Credentials()
        name = management.secret_ref.name
        secret = self._snapshot.specs("Secret", SecretSpec).get(name)
        if secret is None:
            message, path = f"there is no Secret/{name}", "spec.management.secretRef"
            hint = "apply it with the keys username and password"
            raise Refused([Problem("error", "missing-secret", target.where, path, message, hint)])
        return from_values(secret.values)


def has_driver(snapshot: Snapshot, switch: str) -> bool:
    """Whether the Switch says which library speaks to it."""
    management = snapshot.specs("Switch", SwitchSpec)[switch].management
    return management is not None and management.driver is not None


@contextmanager
def telling(where: str, doing: str = "") -> Iterator[None]:
    """What a switch or a library says becomes a problem of `where`. Refuses."""
    try:
        yield
    except DeviceError as error:
        message = f"{doing}: {error}" if doing else str(error)
        raise Refused([Problem("error", "device-failed", where, "spec.management", message)]) from error


def _driver(target: Target) -> Driver:
    if target.driver is None:
        message, hint = "no driver says how one speaks to it", "give --driver, or set spec.management.driver"
        raise Refused([Problem("error", "driver-not-chosen", target.where, "spec.management.driver", message, hint)])
    driver = Driver(target.driver)
    if not row(target.platform).speaks(driver):
        message = f"{driver} does not speak to platform {target.platform!r}"
        hint = f"it speaks to {', '.join(platforms_of(driver))}"
        raise Refused([Problem("error", "driver-lacks-platform", target.where, "spec.platform", message, hint)])
    return driver
