"""Switches as NetBox has them: a device of the same name, its primary address and its platform.

The token is in the environment and nowhere else. Config contexts and everything else of NetBox are not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from underlay.devices.found import Found
from underlay.devices.libraries import library
from underlay.output import Refused

TOKEN = "UNDERLAY_NETBOX_TOKEN"
_SECONDS = 30


def lookup(url: str) -> Callable[[str], Found | None]:
    """Asks the NetBox at `url`; refuses where it cannot be asked."""
    pynetbox = library("pynetbox", "netbox", "NetBox")
    api = pynetbox.api(url, token=os.environ.get(TOKEN) or None)
    # requests waits for ever unless it is told how long.
    api.http_session.request = partial(api.http_session.request, timeout=_SECONDS)

    def look_up(name: str) -> Found | None:
        try:
            devices = list(api.dcim.devices.filter(name=name))
            return _found(name, devices)
        except Refused:
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise Refused(message=f"error: {url}: {text} (the token is {TOKEN})") from error

    return look_up


def _found(name: str, devices: list[Any]) -> Found | None:
    if len(devices) > 1:
        sites = ", ".join(sorted(str(device.site) for device in devices))
        raise Refused(message=f"error: NetBox has {len(devices)} devices {name!r} ({sites}); names have to be unique")
    if not devices:
        return None
    device = devices[0]
    address = device.primary_ip
    hint = "set the device's primary IP address in NetBox"
    return Found(_host(address), platform=_platform(device.platform), hint=hint)


def _host(address: Any) -> str:
    """`192.0.2.11` of the address object `192.0.2.11/24`."""
    return str(address.address).partition("/")[0] if address is not None else ""


def _platform(platform: Any) -> str:
    return str(platform.slug) if platform is not None else ""
