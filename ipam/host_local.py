"""What the reference plugin `host-local` has given, by its own files: `FOLDER/NETWORK/ADDRESS`, one for each address.

It asks nobody and tells nobody; a pod's file goes with its DEL. Beside them there are a lock and the addresses that
were given last. A folder that is not there says nothing: the pods may have come by another list of plugins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

#: Beside the agent's socket.
FOLDER = "host-local"


def unused(folder: Path, pod_cidrs: Iterable[str]) -> frozenset[str]:
    """Those of which no pod has an address, by the folder of one network; none of them while that cannot be read."""
    try:
        given = [address for path in folder.iterdir() if (address := _address(path.name)) is not None]
    except OSError:
        return frozenset()
    networks = {cidr: ipaddress.ip_network(cidr) for cidr in pod_cidrs}
    return frozenset(cidr for cidr, network in networks.items() if not any(one in network for one in given))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
