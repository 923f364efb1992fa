"""GoBGP as a switch. Its file has no networks, so it gets the loopback as from a switch's base configuration."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.interop.live_route import Route
from tests.interop.netns_daemons import Network, eventually

_ESTABLISHED = 6
_LOCAL_PREFERENCE, _COMMUNITIES, _LARGE = 5, 8, 32
LOOPBACK = "10.0.1.1/32"


class GoBgpSwitch:
    def __init__(self, network: Network, namespace: str, files: dict[str, str]) -> None:
        self._namespace = namespace
        file = network.new_directory("root") / "gobgpd.yml"
        file.touch(mode=0o600)
        file.write_text(files["gobgpd.yml"])
        network.start(namespace, "gobgpd", "-t", "yaml", "-f", str(file), "--pprof-disable", "-l", "info")
        eventually(lambda: self.ask("-j", "global").startswith("{"))
        self.ask("global", "rib", "add", LOOPBACK)

    def ask(self, *words: str) -> str:
        argv = ("ip", "netns", "exec", self._namespace, "gobgp", *words)
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    def _json(self, *words: str) -> Any:
        said = self.ask("-j", *words)
        return json.loads(said) if said.startswith(("{", "[")) else {}

    def established(self, address: str) -> bool:
        state = self._json("neighbor", address).get("state", {})
        return bool(state.get("session_state") == _ESTABLISHED)

    def end_of_rib(self, address: str) -> bool:
        """Whether the neighbour's End-of-RIB came (RFC 4724, 2)."""
        families = self._json("neighbor", address).get("afi_safis", [])
        states = [family["mp_graceful_restart"].get("state", {}) for family in families]
        return bool(states) and all(state.get("end_of_rib_received") for state in states)

    def accepted(self, address: str) -> dict[str, Route]:
        """The routes of its table that are of this neighbour."""
        shown = self._json("global", "rib", "-a", "ipv6" if ":" in address else "ipv4")
        return {
            prefix: _route(path)
            for prefix, paths in shown.items()
            for path in paths
            if path.get("neighbor-ip") == address
        }


def _route(path: dict[str, Any]) -> Route:
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    communities = attributes.get(_COMMUNITIES, {}).get("communities", [])
    large = attributes.get(_LARGE, {}).get("value", [])
    preference = attributes.get(_LOCAL_PREFERENCE, {}).get("value")
    return Route(
        preference,
        frozenset(f"{one >> 16}:{one & 0xFFFF}" for one in communities),
        frozenset(f"{c['ASN']}:{c['LocalData1']}:{c['LocalData2']}" for c in large),
    )
