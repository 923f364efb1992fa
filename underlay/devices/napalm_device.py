"""A switch over napalm: candidate, difference, commit with a timer, confirmation, all by the switch's own means.

Of two things napalm leaves the choice to whoever uses it, and its defaults are the wrong ones here: it checks neither
certificates nor host keys. `_CHECKS` turns that on, for each way its drivers connect.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

from underlay.devices.credentials import Credentials
from underlay.devices.device import DeviceError, one_line
from underlay.devices.drivers import Napalm, row
from underlay.devices.libraries import library
from underlay.devices.ssh_settings import netmiko_arguments
from underlay.devices.target import Target
from underlay.output import Refused

_SECONDS = 60
#: What Junos says of a line that deletes what is not there.
_NOTHING_TO_DELETE = "statement not found"


def _certificate(_: Credentials) -> dict[str, Any]:
    return {"context": ssl.create_default_context()}


#: What each way of connecting takes to check who answers.
_CHECKS: dict[str, Callable[[Credentials], dict[str, Any]]] = {
    "certificate": _certificate,
    "netmiko": lambda who: netmiko_arguments(who.password),
    "netconf": lambda _: {"hostkey_verify": True},
    # PyEZ has no argument of napalm's for it; `_verify_host_key` says it to the connection that is not open yet.
    "pyez": lambda _: {"ignore_warning": [_NOTHING_TO_DELETE]},
}


class NapalmDevice:
    """A `ConfirmingDevice`; where the platform's driver has no confirmation, only what reads is of use."""

    def __init__(self, target: Target, who: Credentials) -> None:
        known = row(target.platform).napalm
        if known is None:
            raise ValueError(f"napalm has no driver for {target.platform}")
        self._row: Napalm = known
        napalm = library("napalm", "napalm", target.where)
        options = _CHECKS[known.checks](who)
        if target.port is not None:
            options["port"] = target.port
        driver = napalm.get_network_driver(known.name)
        self._driver = driver(target.address, who.username or "", who.password or "", _SECONDS, options)
        if known.checks == "pyez":
            _verify_host_key(self._driver)

    def running(self) -> str:
        with self._told():
            return str(self._driver.get_config(retrieve="running")["running"])

    def show(self, command: str) -> str:
        with self._told():
            said = self._driver.cli([command])
        if not isinstance(said, dict):
            raise DeviceError("napalm's driver runs no commands on it (use netmiko or scrapli)")
        return str(said[command])

    def pending(self) -> bool:
        with self._told():
            return bool(self._driver.has_pending_commit())

    def load(self, text: str) -> None:
        with self._told():
            self._driver.load_merge_candidate(config=text)

    def difference(self) -> str:
        with self._told():
            return str(self._driver.compare_config())

    def discard(self) -> None:
        with self._told():
            self._driver.discard_config()

    def commit(self, seconds: int) -> None:
        with self._told():
            self._driver.commit_config(revert_in=seconds)

    def confirm(self) -> None:
        with self._told():
            self._driver.confirm_commit()

    def roll_back(self) -> None:
        with self._told():
            self._driver.rollback()

    def sessions(self) -> dict[str, bool]:
        with self._told():
            found = self._driver.get_bgp_neighbors()
            return dict(_states(found))

    def __enter__(self) -> Self:
        with self._told():
            self._driver.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._told():
                self._driver.close()
        except DeviceError:
            if kind is None:
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever a library raises becomes one line, without passwords: some name the line that was refused. They
        raise what their own libraries do, which has no common ancestor."""
        try:
            yield
        except (DeviceError, Refused, KeyboardInterrupt):
            raise
        except Exception as error:
            raise DeviceError(self._row.without_secrets(one_line(error))) from error


def _states(found: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Of napalm's {VRF: {"peers": {address: {"is_up": ...}}}}."""
    for vrf in found.values():
        for address, state in vrf["peers"].items():
            yield str(ip_address(address.partition("%")[0])), bool(state["is_up"])


def _verify_host_key(driver: Any) -> None:
    """napalm makes PyEZ's `Device` by itself and leaves out `hostkey_verify`, which is off there by default."""
    driver.device._hostkey_verify = True
