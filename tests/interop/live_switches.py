"""Daemons that can be a switch, told apart by nothing but how they are started and asked."""

from __future__ import annotations

import re
from typing import Protocol

from tests.interop.live_gobgp import GoBgpSwitch
from tests.interop.live_openbgpd import OpenBgpdSwitch
from tests.interop.live_route import Route
from tests.interop.netns_daemons import Bird, Frr, Network


class Switch(Protocol):
    def established(self, address: str) -> bool: ...

    def accepted(self, address: str) -> dict[str, Route]:
        """What came from a neighbour and passed our policy."""


class BirdSwitch:
    """Our file, included by what a bird.conf has at least."""

    def __init__(self, network: Network, namespace: str, files: dict[str, str]) -> None:
        base = "log stderr all;\nprotocol device { scan time 1; }\n"
        self._bird = Bird(network, namespace, base + files["underlay.conf"])

    def established(self, address: str) -> bool:
        return "Established" in self._bird.ask("show", "protocols", f"'UNDERLAY-{address}'")

    def accepted(self, address: str) -> dict[str, Route]:
        shown = self._bird.ask("show", "route", "protocol", f"'UNDERLAY-{address}'", "all")
        found: dict[str, Route] = {}
        for part in re.split(r"\n(?=[0-9a-f]\S*/\d+ )", f"\n{shown}")[1:]:
            preference = re.search(r"BGP\.local_pref: (\d+)", part)
            found[part.split()[0]] = Route(
                int(preference[1]) if preference else None,
                frozenset(f"{a}:{b}" for a, b in re.findall(r"\((\d+),(\d+)\)", part)),
                frozenset(f"{a}:{b}:{c}" for a, b, c in re.findall(r"\((\d+), (\d+), (\d+)\)", part)),
            )
        return found


_NAMES = {"gracefulShutdown": "65535:0", "noExport": "65535:65281", "noAdvertise": "65535:65282"}


class FrrSwitch:
    def __init__(self, network: Network, namespace: str, files: dict[str, str]) -> None:
        self._frr = Frr(network, namespace, files["frr.conf"], zebra=True)

    def established(self, address: str) -> bool:
        shown = self._frr.json("show bgp neighbors").get(address, {})
        return bool(shown.get("bgpState") == "Established")

    def accepted(self, address: str) -> dict[str, Route]:
        version = 6 if ":" in address else 4
        routes = self._frr.json(f"show bgp ipv{version} unicast neighbors {address} routes").get("routes", {})
        return {prefix: self._route(version, prefix) for prefix in routes}

    def _route(self, version: int, prefix: str) -> Route:
        path = (self._frr.json(f"show bgp ipv{version} unicast {prefix}").get("paths") or [{}])[0]
        said = path.get("community", {}).get("list", [])
        large = path.get("largeCommunity", {}).get("list", [])
        return Route(path.get("locPrf"), frozenset(_NAMES.get(one, one) for one in said), frozenset(large))


class Start(Protocol):
    def __call__(self, network: Network, namespace: str, files: dict[str, str]) -> Switch: ...


SWITCHES: dict[str, Start] = {
    "bird": BirdSwitch,
    "frr": FrrSwitch,
    "gobgp": GoBgpSwitch,
    "openbgpd": OpenBgpdSwitch,
}
#: The local preference that a route with GRACEFUL_SHUTDOWN gets, where it is not 0: see the platform's table.
LEAST_PREFERENCES = {"gobgp": 1}
#: Who may read the first packet of a connection before its TTL is looked at: no session, but the far end gets an OPEN.
LATE_TTL_SECURITY = frozenset(("gobgp",))
