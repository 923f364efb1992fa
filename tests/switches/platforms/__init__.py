"""One module per platform, found by its name: `JUDGES`, and where there are any `RAN`, `RELEASES`, `SETTINGS`.

`RELEASES` are the releases before which everything is judged, as text; without it the newest one is. `SETTINGS` is
{name: value} of what the platform's Switch has to say.

With UNDERLAY_PLATFORMS=bird,frr in the environment only these are looked at; the tables of the handbook are of all.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from fabric_templates import devices
from tests.switches.judges import Judge, Ran


def module_of(platform: str) -> ModuleType:
    """The module of `NAME` or `NAME@RELEASE`."""
    name = platform.partition("@")[0].replace("-", "_")
    return importlib.import_module(f"tests.switches.platforms.{name}")


def judges(platform: str) -> tuple[Judge, ...]:
    return tuple(module_of(platform).JUDGES)


def live(platform: str) -> tuple[Ran, ...]:
    return tuple(getattr(module_of(platform), "RAN", ()))


def releases(chosen: str = os.environ.get("UNDERLAY_PLATFORMS", "")) -> list[str]:
    """Every platform, with each of its releases that is looked at: `nvue@5.14`."""
    found = []
    for name in chosen.split(",") if chosen else devices.names():
        known = getattr(module_of(name), "RELEASES", ())
        found += [f"{name}@{one}" for one in known] or [name]
    return found
