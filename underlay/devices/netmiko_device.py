"""A switch's command line over netmiko: what it shows. Changes are napalm's, or the shell's for FRR."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from underlay.devices.credentials import Credentials
from underlay.devices.device import DeviceError, one_line
from underlay.devices.drivers import row
from underlay.devices.libraries import library
from underlay.devices.ssh_settings import netmiko_arguments
from underlay.devices.target import Target

#: Longest time for a command's output: a full table takes a while to be shown.
_SECONDS = 120


class NetmikoDevice:
    """A `Device`. Host keys are those of `~/.ssh/known_hosts`; an unknown one is refused."""

    def __init__(self, target: Target, who: Credentials) -> None:
        self._netmiko = library("netmiko", "netmiko", target.where)
        self._row = row(target.platform)
        self._arguments: dict[str, Any] = {
            "device_type": self._row.netmiko,
            "host": target.address,
            "username": who.username,
            "password": who.password,
            **netmiko_arguments(who.password),
        }
        if target.port is not None:
            self._arguments["port"] = target.port
        self._connection: Any = None

    def running(self) -> str:
        if self._row.running is None:
            raise DeviceError("its running configuration is not compared")
        return self._said(self._row.running)

    def show(self, command: str) -> str:
        return self._said(self._row.said(command))

    def _said(self, command: str) -> str:
        try:
            return str(self._connection.send_command(command, read_timeout=_SECONDS))
        except Exception as error:
            raise DeviceError(one_line(error)) from error

    def __enter__(self) -> Self:
        try:
            self._connection = self._netmiko.ConnectHandler(**self._arguments)
        except Exception as error:
            raise DeviceError(one_line(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not `disconnect`: that leaves a configuration mode first, for which it takes the shell of root.
        self._connection.paramiko_cleanup()
