"""Libraries that are extras of the package: imported when they are used, and told of when they are missing."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from peering.problems import Problem
from underlay.output import Refused

#: They log what they raise, too, and Python prints what nobody handles.
_TALKATIVE = ("jnpr", "napalm", "ncclient", "netmiko", "nornir", "paramiko", "pyeapi", "scrapli")


def library(module: str, extra: str, where: str) -> ModuleType:
    """The module; refuses with the way to install the extra that brings it."""
    for name in _TALKATIVE:
        logging.getLogger(name).addHandler(logging.NullHandler())
    try:
        return import_module(module)
    except ImportError as error:
        message = f"{extra} is not installed: {error}"
        hint = f"pip install 'underlay[{extra}]'"
        raise Refused([Problem("error", "driver-missing", where, "", message, hint)]) from error
