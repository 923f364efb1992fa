"""OpenBGPD as a switch: our file, included by what a bgpd.conf has at least."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.interop.live_route import Route
from tests.interop.netns_daemons import Network, eventually

#: Where its processes lock themselves in: empty, made by its service, which does not run here.
_CHROOT = Path("/run/openbgpd")
_NAMES = {"GRACEFUL_SHUTDOWN": "65535:0", "NO_EXPORT": "65535:65281", "NO_ADVERTISE": "65535:65282"}


class OpenBgpdSwitch:
    def __init__(self, network: Network, namespace: str, files: dict[str, str]) -> None:
        _CHROOT.mkdir(mode=0o755, exist_ok=True)
        self._namespace = namespace
        directory = network.new_directory("root")
        self._socket = str(directory / "bgpd.sock")
        file = directory / "bgpd.conf"
        file.touch(mode=0o600)
        file.write_text(f'fib-update no\nsocket "{self._socket}"\ninclude "{directory}/underlay.conf"\n')
        (directory / "underlay.conf").touch(mode=0o600)
        (directory / "underlay.conf").write_text(files["underlay.conf"])
        network.start(namespace, "/usr/sbin/bgpd", "-d", "-f", str(file))
        eventually(lambda: "neighbors" in self._ask("show", "neighbor"))

    def _ask(self, *words: str) -> dict[str, Any]:
        argv = ("ip", "netns", "exec", self._namespace, "bgpctl", "-s", self._socket, "-j", *words)
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        found: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
        return found

    def established(self, address: str) -> bool:
        neighbors = self._ask("show", "neighbor", address).get("neighbors", [])
        return bool(neighbors) and neighbors[0]["state"] == "Established"

    def end_of_rib(self, address: str) -> bool:
        """Whether the neighbour's End-of-RIB came (RFC 4724, 2)."""
        neighbors = self._ask("show", "neighbor", address).get("neighbors", [])
        return bool(neighbors) and neighbors[0]["stats"]["update"]["received"]["eor"] > 0

    def accepted(self, address: str) -> dict[str, Route]:
        shown = self._ask("show", "rib", "neighbor", address, "detail").get("rib", [])
        return {entry["prefix"]: _route(entry) for entry in shown}


def _route(entry: dict[str, Any]) -> Route:
    large = {
        text
        for one in entry.get("attributes", [])
        if one["type"] == "LARGE_COMMUNITIES"
        for text in one["large_communities"]
    }
    return Route(
        entry["localpref"], frozenset(_NAMES.get(c, c) for c in entry.get("communities", [])), frozenset(large)
    )
