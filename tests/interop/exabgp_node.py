"""ExaBGP as a node of a rack or as a spine: its file says what it announces, its API tells what it hears.

Its API process is a `cat` that appends ExaBGP's events to a file, in a shell that keeps its standard output open.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.interop.netns_daemons import Network

_EXABGP = Path(sys.executable).parent / "exabgp"
_SETTINGS = {
    "exabgp_api_cli": "false",
    "exabgp_api_ack": "false",
    "exabgp_log_destination": "stderr",
    "exabgp_log_level": "INFO",
    "exabgp_daemon_daemonize": "false",
    "exabgp_daemon_user": "root",
    "exabgp_tcp_attempts": "0",
}


class ExaBgpNode:
    """One session from `local` to `peer`, with `options` as ExaBGP writes them and `routes` as `PREFIX ATTRIBUTES`."""

    def __init__(
        self,
        network: Network,
        namespace: str,
        ends: tuple[str, int, str, int],
        routes: tuple[str, ...] = (),
        options: str = "",
    ) -> None:
        local, asn, peer, peer_asn = ends
        directory = network.new_directory("root")
        self._events = directory / "events"
        self._events.touch()
        api = directory / "api.sh"
        api.write_text(f"#!/bin/sh\ncat >>{self._events}\n")
        api.chmod(0o755)
        router_id = f"10.9.9.{directory.name}"  # another one for every daemon of a network
        version = 6 if ":" in local else 4
        static = " ".join(f"route {prefix} next-hop {local}{rest};" for prefix, rest in map(_split, routes))
        file = directory / "exabgp.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"process api {{ run {api}; encoder json; }}\n"
            f"neighbor {peer} {{\n"
            f"  local-address {local}; local-as {asn}; peer-as {peer_asn}; router-id {router_id};\n"
            f"  hold-time 9; {options}\n"
            f"  family {{ ipv{version} unicast; }}\n"
            "  api { processes [ api ]; neighbor-changes; receive { parsed; update; notification; } }\n"
            f"  static {{ {static} }}\n"
            "}\n"
        )
        environment = [f"{name}={value}" for name, value in _SETTINGS.items()]
        network.start(namespace, "env", *environment, str(_EXABGP), "server", str(file))

    def _told(self) -> list[dict[str, Any]]:
        lines = self._events.read_bytes().rpartition(b"\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    def is_up(self) -> bool:
        states = [event["neighbor"]["state"] for event in self._told() if event.get("type") == "state"]
        return bool(states) and states[-1] == "up"

    def ups(self) -> int:
        """How often the session came up."""
        return sum(event["neighbor"]["state"] == "up" for event in self._told() if event.get("type") == "state")

    def notifications(self) -> list[tuple[int, int]]:
        """(code, subcode) of every NOTIFICATION that came (RFC 4271, 6)."""
        told = [event["neighbor"]["notification"] for event in self._told() if event["type"] == "notification"]
        return [(int(one["code"]), int(one["subcode"])) for one in told]

    def routes(self) -> dict[str, dict[str, Any]]:
        """{prefix: attributes} of what the peer announces now; empty after the session went down."""
        table: dict[str, dict[str, Any]] = {}
        for event in self._told():
            if event.get("type") == "state" and event["neighbor"]["state"] == "down":
                table = {}
            if event.get("type") == "update":
                _take(table, event["neighbor"]["message"].get("update", {}))
        return table


def _take(table: dict[str, dict[str, Any]], update: dict[str, Any]) -> None:
    for entries in update.get("withdraw", {}).values():
        for entry in entries:
            table.pop(entry["nlri"], None)
    for hops in update.get("announce", {}).values():
        for hop, entries in hops.items():
            for entry in entries if isinstance(entries, list) else ():
                table[entry["nlri"]] = {**update.get("attribute", {}), "next-hop": hop}


def _split(route: str) -> tuple[str, str]:
    prefix, _, rest = route.partition(" ")
    return prefix, f" {rest}" if rest else ""


def counter(namespace: str, name: str) -> int:
    """A counter of the TCP stack of a namespace (/proc/net/netstat)."""
    argv = ("ip", "netns", "exec", namespace, "cat", "/proc/net/netstat")
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    names, values = (line.split() for line in lines[:2])
    return int(dict(zip(names, values, strict=True))[name])
