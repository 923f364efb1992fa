"""What each platform can express: `devices/PLATFORM.yml`, validated once.

A platform is added by a file here and a folder of templates. Everything that differs between platforms is a
row of such a file (netlab keeps its devices the same way), so the code asks the table and never the name.
An unknown key in a file is an error: a misspelt feature would otherwise read as one that is lacking.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from peering.problems import Problem

Support = bool | Literal["ebgp", "ibgp"] | tuple[str, ...]
Feature = Literal[
    "addPaths",
    "aggregates",
    "allowASIn",
    "asOverride",
    "bfd",
    "bfdTimers",
    "clusterID",
    "exportFilters",
    "extendedNextHop",
    "gracefulRestart",
    "importFilters",
    "listenRanges",
    "localASN",
    "longLivedStaleTime",
    "maxPrefixes",
    "multihop",
    "nextHopKeep",
    "nextHopSelf",
    "passive",
    "password",
    "peerPort",
    "reachableBy",
    "rrClient",
    "ttlSecurity",
    "unnumbered",
]
Quantity = Literal[
    "allowASIn",
    "bfdDetectMultiplier",
    "bfdMinimumTTL",
    "bfdReceiveInterval",
    "bfdTransmitInterval",
    "holdTime",
    "keepaliveTime",
    "longLivedStaleTime",
    "maxPrefixes",
    "multihop",
    "ttlSecurity",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceFile(_Model):
    """A file the platform's configuration consists of. `secrets`: passwords are printed into it."""

    name: str
    template: str
    secrets: bool = False


class Limits(_Model):
    """Longest texts, in characters; the most dynamic neighbours; whether a password may contain spaces."""

    description: int
    listen_limit: int = Field(alias="listenLimit")
    name: int
    password: int
    password_spaces: bool = Field(alias="passwordSpaces")


class BfdDefaults(_Model):
    """What a BFD profile has where it says nothing; None where the platform shows every value back."""

    receive_interval: int | None = Field(None, alias="receiveInterval")
    transmit_interval: int | None = Field(None, alias="transmitInterval")
    detect_multiplier: int | None = Field(None, alias="detectMultiplier")
    minimum_ttl: int | None = Field(None, alias="minimumTTL")


class Commands(_Model):
    """Argument lists, run in order; `{file}` stands for the rendered file's path."""

    check: tuple[tuple[str, ...], ...] = ()
    diff: tuple[tuple[str, ...], ...] = ()
    apply: tuple[tuple[str, ...], ...] = ()


class Device(_Model):
    """One platform. `features` names every feature there is, so that none is lacking by oversight."""

    title: str
    files: Annotated[tuple[DeviceFile, ...], Field(min_length=1)]
    features: dict[Feature, Support]
    instance_wide: tuple[Literal["clusterID", "longLivedStaleTime"], ...] = Field((), alias="instanceWide")
    conflicts: tuple[tuple[Feature, Feature], ...] = ()
    listen_limit: Literal["range", "instance"] = Field("range", alias="listenLimit")
    ranges: dict[Quantity, tuple[int, int]] = {}
    limits: Limits
    bfd_defaults: BfdDefaults = Field(BfdDefaults(), alias="bfdDefaults")
    commands: Commands

    @model_validator(mode="after")
    def _complete(self) -> Device:
        missing = sorted(set(get_args(Feature)) - set(self.features))
        if missing:
            raise ValueError(f"features lacks a row for {', '.join(missing)}")
        return self


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    files = resources.files("fabric_templates").joinpath("devices").iterdir()
    return tuple(sorted(f.name.removesuffix(".yml") for f in files if f.name.endswith(".yml")))


def find(platform: str, where: str) -> Device | Problem:
    """The platform's table; a `Problem` on `where` (`Switch/tor-1a`) where there is no such platform."""
    if platform in names():
        return _load(platform)
    near = get_close_matches(platform, names(), n=1)
    known = ", ".join(names())
    hint = f"did you mean {near[0]}? known: {known}" if near else f"known: {known}"
    return Problem("error", "unknown-platform", where, "spec.platform", f"there is no platform {platform!r}", hint)


@cache
def _load(platform: str) -> Device:
    text = resources.files("fabric_templates").joinpath("devices", f"{platform}.yml").read_text("utf-8")
    return Device.model_validate(yaml.safe_load(text))
