"""A switch's command line over scrapli: what it shows, by the machine's own ssh, with its settings and keys."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from underlay.devices.credentials import Credentials
from underlay.devices.device import DeviceError, one_line
from underlay.devices.drivers import row
from underlay.devices.libraries import library
from underlay.devices.ssh_settings import known_hosts
from underlay.devices.target import Target

_SECONDS = 120


class ScrapliDevice:
    """A `Device`. Host keys are those of `~/.ssh/known_hosts`; an unknown one is refused."""

    def __init__(self, target: Target, who: Credentials) -> None:
        scrapli, auth, session, transport = (
            library(name, "scrapli", target.where)
            for name in ("scrapli", "scrapli.auth", "scrapli.session", "scrapli.transport")
        )
        self._row = row(target.platform)
        self._cli: Any = scrapli.Cli(
            host=target.address,
            port=target.port or 22,
            definition_file_or_name=self._row.scrapli,
            auth_options=auth.Options(username=who.username, password=who.password),
            session_options=session.Options(operation_timeout_s=_SECONDS),
            transport_options=transport.BinOptions(enable_strict_key=True, known_hosts_path=str(known_hosts())),
        )

    def running(self) -> str:
        if self._row.running is None:
            raise DeviceError("its running configuration is not compared")
        return self._said(self._row.running)

    def show(self, command: str) -> str:
        return self._said(self._row.said(command))

    def _said(self, command: str) -> str:
        try:
            return str(self._cli.send_input(command).result)
        except Exception as error:
            raise DeviceError(one_line(error)) from error

    def __enter__(self) -> Self:
        try:
            self._cli.open()
        except Exception as error:
            raise DeviceError(one_line(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._cli.close()
        except Exception as error:
            if kind is None:
                raise DeviceError(one_line(error)) from error
