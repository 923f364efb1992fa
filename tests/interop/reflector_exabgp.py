"""ExaBGP as a client of the reflector. It keeps no table: what it learned is read from what it tells its API process.

That process is two `cat`s: one passes on the commands that are written into a FIFO, one appends ExaBGP's events to a
file and ends with ExaBGP.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from tests.interop.reflector_client import DEFAULT, IPV4, IPV6, Client, Options, Path, family_of
from tests.interop.reflector_lab import AS, Host, Lab

FAMILIES = {
    IPV4: "ipv4 unicast",
    IPV6: "ipv6 unicast",
    "ipv4-vpn": "ipv4 mpls-vpn",
    "ipv4-labelled-unicast": "ipv4 nlri-mpls",
    "ipv4-flowspec": "ipv4 flow",
    "l2vpn-evpn": "l2vpn evpn",
}
_EXABGP = File(sys.executable).parent / "exabgp"
_SETTINGS = {
    "exabgp_api_cli": "false",
    "exabgp_api_ack": "false",
    "exabgp_log_destination": "stderr",
    "exabgp_log_level": "INFO",
    "exabgp_daemon_daemonize": "false",
    "exabgp_daemon_user": "root",
}
Key = tuple[str, str, str, str]  # peer, family, prefix or whole NLRI, path ID


class ExaBgp(Client):
    kind = "exabgp"

    def __init__(self, lab: Lab, number: int, reflector: Host, options: Options = DEFAULT, name: str = "") -> None:
        super().__init__(lab, number, reflector, options, name)
        self._events = self.host.folder / "events"
        self._fifo = self.host.folder / "commands"
        self._read = 0
        self._table: dict[Key, Path] = {}
        self._up: set[str] = set()

    def launch(self, *, recovering: bool = False) -> None:
        del recovering
        self._events.write_bytes(b"")
        self._read, self._table, self._up = 0, {}, set()
        self._fifo.unlink(missing_ok=True)
        os.mkfifo(self._fifo)
        api = self.host.folder / "api.sh"
        api.write_text(f"#!/bin/sh\ncat 0<>{self._fifo} &\ncat >>{self._events}\nkill $!\n")
        api.chmod(0o755)
        file = self.host.folder / "exabgp.conf"
        file.write_text("\n".join(self._configuration(api)) + "\n")
        file.chmod(0o600)
        self.process.start(str(_EXABGP), "server", str(file), environment=_SETTINGS)

    def _configuration(self, api: File) -> Iterator[str]:
        yield f"process api {{ run {api}; encoder json; }}"
        for version in self.options.families:
            yield f"neighbor {self.reflector.address(version)} {{"
            yield from (f"  {line}" for line in self._neighbor(version))
            yield "}"

    def _neighbor(self, version: int) -> Iterator[str]:
        o = self.options
        yield f"local-address {self.host.address(version)}; local-as {o.local_asn}; peer-as {AS};"
        yield f"router-id {self.host.ipv4}; hold-time {o.hold_time};"
        if o.password:
            yield f'md5-password "{o.password}";'
        yield "capability {"
        yield f"  route-refresh enable; graceful-restart {o.restart_time or 'disable'};"
        yield f"  extended-message {'enable' if o.extended_messages else 'disable'};"
        if o.add_path:
            yield f"  add-path {'send/receive' if o.send_paths else 'receive'};"
        if o.extended_next_hop and version == 6:
            yield "  nexthop enable;"
        yield "}"
        yield f"family {{ {' '.join(f'{FAMILIES[family]};' for family in o.families[version])} }}"
        if o.extended_next_hop and version == 6:
            yield "nexthop { ipv4 unicast ipv6; }"
        yield "api { processes [ api ]; neighbor-changes; receive { parsed; update; notification; } }"
        yield f"static {{ {' '.join(self._static(version))} }}"

    def _static(self, version: int) -> Iterator[str]:
        for prefix in self.announced:
            if family_of(prefix) in self.options.families[version]:
                yield f"route {prefix} next-hop {self.next_hop(prefix)};"

    def tell(self, *commands: str) -> None:
        """Commands of ExaBGP's API."""
        with self._fifo.open("w") as fifo:
            fifo.writelines(f"{line}\n" for line in commands)

    def announce(self, *prefixes: str) -> None:
        self.tell(*(f"announce route {prefix} next-hop {self.next_hop(prefix)}" for prefix in prefixes))
        self.announced += prefixes

    def withdraw(self, *prefixes: str) -> None:
        self.tell(*(f"withdraw route {prefix} next-hop {self.next_hop(prefix)}" for prefix in prefixes))
        self.announced = [prefix for prefix in self.announced if prefix not in prefixes]

    def announce_second(self, prefix: str, next_hop: str) -> None:
        self.tell(f"announce route {prefix} next-hop {next_hop} path-information 0.0.0.8")

    def withdraw_second(self, prefix: str, next_hop: str) -> None:
        self.tell(f"withdraw route {prefix} next-hop {next_hop} path-information 0.0.0.8")

    def refresh(self, version: int) -> None:
        neighbor = self.reflector.address(version)
        for family in self.options.families[version]:
            self.tell(f"neighbor {neighbor} announce route-refresh {FAMILIES[family]}")

    def is_established(self, version: int) -> bool:
        self._follow()
        return self.reflector.address(version) in self._up

    def paths(self, family: str) -> set[Path]:
        self._follow()
        return {path for (_, known, _, _), path in self._table.items() if known == FAMILIES[family]}

    def _follow(self) -> None:
        """Takes up what was told since."""
        with self._events.open("rb") as events:
            events.seek(self._read)
            told = events.read()
        whole = told.rfind(b"\n") + 1
        self._read += whole
        for line in told[:whole].splitlines():
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        neighbor = event.get("neighbor", {})
        peer = neighbor.get("address", {}).get("peer", "")
        if event.get("type") == "state":
            self._state(peer, neighbor["state"])
        elif event.get("type") == "update":
            self._update(peer, neighbor["message"].get("update", {}))

    def _state(self, peer: str, state: str) -> None:
        if state == "up":
            self._up.add(peer)
        elif state == "down":
            self._up.discard(peer)
            self._table = {key: path for key, path in self._table.items() if key[0] != peer}

    def _update(self, peer: str, update: dict[str, Any]) -> None:
        for family, entries in update.get("withdraw", {}).items():
            for entry in entries:
                self._table.pop(_key(peer, family, entry), None)
        attributes = update.get("attribute", {})
        originator, clusters = attributes.get("originator-id", ""), tuple(attributes.get("cluster-list", ()))
        for family, hops in update.get("announce", {}).items():
            # A next hop of 32 bytes, global and link-local, is told as two.
            for hop, entries in sorted(hops.items(), key=lambda item: item[0].startswith("fe80:"), reverse=True):
                for entry in entries:
                    key = _key(peer, family, entry)
                    self._table[key] = Path(key[2], hop, originator, clusters)


def _key(peer: str, family: str, entry: Any) -> Key:
    """Unicast entries have their prefix as `nlri`; of others everything is the key."""
    fields = entry if isinstance(entry, dict) else {"nlri": entry}
    name = fields["nlri"] if "unicast" in family else json.dumps(fields, sort_keys=True)
    return peer, family, name, str(fields.get("path-information", ""))
