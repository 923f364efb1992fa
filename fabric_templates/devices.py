"""What each platform can express: `devices/PLATFORM.yml`, validated once.

A platform is added by a file here and a folder of templates. Everything that differs between platforms is a
row of such a file (netlab keeps its devices the same way), so the code asks the table and never the name.
An unknown key in a file is an error: a misspelt feature would otherwise read as one that is lacking.

Where syntax changed between releases the file has `versions`: a `Switch` says `platform: nvue@5.14`, and what it gets
is a `Device` with that release's rows. Templates see named traits (`view.traits.bfd_profiles`), never a number.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fabric_templates.releases import Release, release
from peering.problems import Problem

Support = bool | Literal["ebgp", "ibgp", "partly"] | tuple[str, ...]
Feature = Literal[
    "addPaths",
    "aggregates",
    "allowASIn",
    "asOverride",
    "bfd",
    "bfdPassive",
    "bfdTimers",
    "blackhole",
    "clusterID",
    "connectRetry",
    "description",
    "ecmp",
    "exportFilters",
    "extendedNextHop",
    "firstAS",
    "gracefulRestart",
    "gracefulShutdown",
    "importFilters",
    "keepCommunities",
    "listenASFilter",
    "listenRanges",
    "localAddress",
    "localASN",
    "longLivedStaleTime",
    "maxPrefixes",
    "maxPrefixesRestart",
    "maxPrefixesWarning",
    "multihop",
    "multipathRelax",
    "nextHopKeep",
    "nextHopSelf",
    "originate",
    "passive",
    "password",
    "pathFilters",
    "peerASInPath",
    "peerPort",
    "prefixFilters",
    "reachableBy",
    "rrClient",
    "setOrigin",
    "stripCommunities",
    "timers",
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
    """A file the platform's configuration consists of. `secrets`: passwords are printed into it.

    The template of a `json` or `yaml` file prints YAML documents, which documents.py makes one of.
    """

    name: str
    template: str
    format: Literal["text", "json", "yaml"] = "text"
    secrets: bool = False


class Limits(_Model):
    """Longest texts, in characters; the most dynamic neighbours; whether a password may contain spaces.

    `excludes` are the characters that the platform cannot take inside a text, quoted or not.
    """

    description: int
    listen_limit: int = Field(alias="listenLimit")
    name: int
    password: int
    password_spaces: bool = Field(alias="passwordSpaces")
    excludes: str = ""
    neighbors: int | None = None


class BfdDefaults(_Model):
    """What a BFD profile has where it says nothing; None where the platform shows every value back."""

    receive_interval: int | None = Field(None, alias="receiveInterval")
    transmit_interval: int | None = Field(None, alias="transmitInterval")
    detect_multiplier: int | None = Field(None, alias="detectMultiplier")
    minimum_ttl: int | None = Field(None, alias="minimumTTL")


class Commands(_Model):
    """Argument lists, run in order; `{file}` stands for the rendered file's path, `{minutes}` for time to confirm.

    `via` says where: in a shell (of the switch, or of any machine with the platform's tools), at its command line, or
    over its REST interface. `candidate` loads the file without effect, `apply` makes it effective for `{minutes}`
    unless `confirm` comes, `rollback` takes it back. Where `confirm` is empty, `apply` is for good.
    """

    via: Literal["shell", "cli", "rest"] = "shell"
    check: tuple[tuple[str, ...], ...] = ()
    candidate: tuple[tuple[str, ...], ...] = ()
    diff: tuple[tuple[str, ...], ...] = ()
    apply: tuple[tuple[str, ...], ...] = ()
    confirm: tuple[tuple[str, ...], ...] = ()
    rollback: tuple[tuple[str, ...], ...] = ()


class Setting(_Model):
    """What the Switch has to say for this platform: `default` where it may be left out, `meaning` for the handbook."""

    meaning: str
    default: str | None = None
    pattern: str = r"\S+"


class Change(_Model):
    """What is so from release `since` on: traits that templates ask for, and features that differ from the table's."""

    since: str
    traits: tuple[str, ...] = ()
    features: dict[Feature, Support] = {}


class Versions(_Model):
    """The releases that were looked at. `newest` is meant where a Switch names none; before `oldest` is refused."""

    oldest: str
    newest: str
    changes: tuple[Change, ...] = ()


class Device(_Model):
    """One platform. `title` stands in messages, `readBy` in the handbook: what reads the files.

    `features` names every feature there is, so that none is lacking by oversight.
    `notes` say what is missing of a feature that is there `partly`. `implied` are features that the platform has
    without a line, `FEATURE` or one value of it, `FEATURE=VALUE`, with the reason.
    """

    title: str
    read_by: str = Field(alias="readBy")
    files: Annotated[tuple[DeviceFile, ...], Field(min_length=1)]
    features: dict[Feature, Support]
    notes: dict[Feature, str] = {}
    implied: dict[str, str] = {}
    instance_wide: tuple[Literal["clusterID", "longLivedStaleTime"], ...] = Field((), alias="instanceWide")
    conflicts: tuple[tuple[Feature, Feature], ...] = ()
    listen_limit: Literal["range", "instance", "none"] = Field("range", alias="listenLimit")
    ranges: dict[Quantity, tuple[int, int]] = {}
    limits: Limits
    bfd_defaults: BfdDefaults = Field(BfdDefaults(), alias="bfdDefaults")
    settings: dict[str, Setting] = {}
    versions: Versions | None = None
    traits: dict[str, bool] = {}
    commands: Commands

    @model_validator(mode="after")
    def _complete(self) -> Device:
        missing = sorted(set(get_args(Feature)) - set(self.features))
        if missing:
            raise ValueError(f"features lacks a row for {', '.join(missing)}")
        unsaid = sorted(f for f, support in self.features.items() if support == "partly" and f not in self.notes)
        if unsaid:
            raise ValueError(f"notes do not say what is missing of {', '.join(unsaid)}")
        unknown = sorted(key for key in self.implied if key.partition("=")[0] not in self.features)
        if unknown:
            raise ValueError(f"implied has no feature {', '.join(unknown)}")
        return self

    def of_release(self, wanted: Release | None) -> Device:
        """The table as it is in a release, with every trait told; the newest without one."""
        if self.versions is None:
            return self
        number = wanted or release(self.versions.newest)
        features, traits = (
            dict(self.features),
            dict.fromkeys((t for c in self.versions.changes for t in c.traits), False),
        )
        for change in sorted(self.versions.changes, key=lambda c: release(c.since)):
            if release(change.since) <= number:
                features |= change.features
                traits |= dict.fromkeys(change.traits, True)
        return self.model_copy(update={"features": features, "traits": traits})


def names() -> tuple[str, ...]:
    """The platforms there are, sorted."""
    files = resources.files("fabric_templates").joinpath("devices").iterdir()
    return tuple(sorted(f.name.removesuffix(".yml") for f in files if f.name.endswith(".yml")))


def find(platform: str, where: str) -> Device | Problem:
    """The table of `NAME` or `NAME@RELEASE`; a `Problem` on `where` (`Switch/tor-1a`) where there is none."""
    name, at, version = platform.partition("@")
    if name in names():
        return _of_release(name, version, where) if at else _newest(name)
    near = get_close_matches(name, names(), n=1)
    known = ", ".join(names())
    hint = f"did you mean {near[0]}? known: {known}" if near else f"known: {known}"
    return Problem("error", "unknown-platform", where, "spec.platform", f"there is no platform {platform!r}", hint)


def _of_release(name: str, version: str, where: str) -> Device | Problem:
    device = _load(name)
    known = device.versions
    if known is None:
        message = f"{device.title} is rendered in one way for all releases, but {version!r} is asked for"
        hint = f"write {name}"
    elif not (number := release(version)) or number < release(known.oldest):
        message = f"{device.title} has no release {version!r} that is known"
        hint = f"from {known.oldest} on, as in {name}@{known.newest}"
    else:
        return device.of_release(number)
    return Problem("error", "unknown-platform-version", where, "spec.platform", message, hint)


@cache
def _newest(name: str) -> Device:
    return _load(name).of_release(None)


@cache
def _load(platform: str) -> Device:
    text = resources.files("fabric_templates").joinpath("devices", f"{platform}.yml").read_text("utf-8")
    return Device.model_validate(yaml.safe_load(text))
