"""The table of `drivers.yml`, validated: which library speaks to which platform, and how."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from fabric_templates import devices


class Driver(StrEnum):
    """The libraries, as `--driver` names them."""

    napalm = "napalm"
    netmiko = "netmiko"
    scrapli = "scrapli"


class Napalm(BaseModel):
    """napalm's driver of a platform; see `drivers.yml` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    confirms: bool = False
    checks: Literal["certificate", "netmiko", "netconf", "pyez"]
    closes: str | None = None
    secrets: re.Pattern[str] | None = None

    def without_secrets(self, text: str) -> str:
        """Lines with what follows the words before a password hidden. A password that a switch stores in a form that
        can be turned back is hidden as well."""
        return text if self.secrets is None else re.sub(f"({self.secrets.pattern}).*", r"\1 <hidden>", text)


class Row(BaseModel):
    """How one platform is spoken to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    napalm: Napalm | None = None
    netmiko: str | None = None
    scrapli: str | None = None
    running: str | None = None
    command: str | None = None
    also: tuple[str, ...] = Field(default=())

    def said(self, command: str) -> str:
        """A command of the routing daemon, as it is said to the login."""
        return command if self.command is None else self.command.replace("{command}", shlex.quote(command))

    def speaks(self, driver: Driver) -> bool:
        return getattr(self, driver.value) is not None


@cache
def table() -> dict[str, Row]:
    """Platform -> its row, for every platform there is."""
    text = resources.files(__package__).joinpath("drivers.yml").read_text("utf-8")
    rows = {name: Row.model_validate(row) for name, row in yaml.safe_load(text).items()}
    missing = sorted(set(devices.names()) ^ set(rows))
    if missing:
        raise ValueError(f"drivers.yml and the platforms differ: {', '.join(missing)}")
    return rows


def row(platform: str) -> Row:
    """Of `NAME` or `NAME@RELEASE`."""
    return table()[platform.partition("@")[0]]


def platform_called(name: str) -> str | None:
    """What another inventory calls `name` -> our platform; None where it is not known."""
    lower = name.lower()
    return next((ours for ours, found in table().items() if lower == ours or lower in found.also), None)


def platforms_of(driver: Driver) -> tuple[str, ...]:
    """The platforms that a library speaks to, sorted."""
    return tuple(sorted(name for name, found in table().items() if found.speaks(driver)))


def confirming() -> tuple[str, ...]:
    """The platforms that napalm can push to with a confirmation, sorted."""
    return tuple(sorted(name for name, found in table().items() if found.napalm and found.napalm.confirms))
