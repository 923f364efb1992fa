"""OpenBGPD as a client of the reflector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from tests.interop.reflector_client import IPV4, IPV6, Client, Path
from tests.interop.reflector_lab import AS, eventually

#: Where its processes lock themselves in: empty, made by its service, which does not run here.
_CHROOT = File("/run/openbgpd")
_FAMILIES = {IPV4: "IPv4 unicast", IPV6: "IPv6 unicast"}


class OpenBgpd(Client):
    kind = "openbgpd"

    @property
    def _socket(self) -> str:
        return str(self.host.folder / "bgpd.sock")

    def launch(self, *, recovering: bool = False) -> None:
        del recovering  # of graceful restart it only knows End-of-RIB
        self.lab.need_folder(_CHROOT)
        file = self.host.folder / "bgpd.conf"
        file.write_text("\n".join(self._configuration()) + "\n")
        file.chmod(0o600)
        self.process.start("/usr/sbin/bgpd", "-d", "-f", str(file))
        eventually(lambda: self.ask("show").startswith("Neighbor"), why=self.diagnosis)

    def _configuration(self) -> Iterator[str]:
        yield f"AS {self.options.local_asn}"
        yield f"router-id {self.host.ipv4}"
        yield "fib-update no"
        yield f'socket "{self._socket}"'
        yield f"holdtime {self.options.hold_time}"
        # Left to itself it has ::1 as next hop of IPv6 over an IPv4 session.
        yield from (f"network {prefix} set nexthop {self.next_hop(prefix)}" for prefix in self.announced)
        for version, families in self.options.families.items():
            yield f"neighbor {self.reflector.address(version)} {{"
            yield f"  remote-as {AS}"
            yield f"  local-address {self.host.address(version)}"
            yield from (
                f"  announce {shown} {'' if f in families else 'none'}".replace("unicast none", "none")
                for f, shown in _FAMILIES.items()
            )
            if self.options.password:
                yield f'  tcp md5sig password "{self.options.password}"'
            yield "  announce enhanced refresh yes"
            if self.options.add_path:
                yield "  announce add-path recv yes"
            if self.options.send_paths:
                yield "  announce add-path send all"
            yield "}"
        yield "allow from any"
        yield "allow to any"

    def ask(self, *words: str) -> str:
        return self.host.run("bgpctl", "-s", self._socket, *words, check=False)

    def _json(self, *words: str) -> Any:
        said = self.ask("-j", *words)
        return json.loads(said) if said.startswith(("{", "[")) else {}

    def neighbor(self, version: int) -> dict[str, Any]:
        found = self._json("show", "neighbor", self.reflector.address(version)).get("neighbors", [{}])
        return dict(found[0])

    def is_established(self, version: int) -> bool:
        return bool(self.neighbor(version).get("state") == "Established")

    def paths(self, family: str) -> set[Path]:
        shown = self._json("show", "rib", "ipv4" if family == IPV4 else "ipv6", "detail").get("rib", [])
        return {_path(entry) for entry in shown if not entry.get("announced")}

    def announce(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self.ask("network", "add", prefix, "nexthop", self.next_hop(prefix))
        self.announced += prefixes

    def withdraw(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self.ask("network", "delete", prefix)
        self.announced = [prefix for prefix in self.announced if prefix not in prefixes]

    def refresh(self, version: int) -> None:
        self.ask("neighbor", self.reflector.address(version), "refresh")

    def dial(self) -> None:
        """At once: after a failure OpenBGPD waits 30 s and longer."""
        for version in self.options.families:
            self.ask("neighbor", self.reflector.address(version), "clear")


def _path(entry: dict[str, Any]) -> Path:
    attributes = {attribute["type"]: attribute for attribute in entry.get("attributes", [])}
    originator = attributes.get("Originator Id", {}).get("originator", "")
    clusters = tuple(attributes.get("Cluster Id List", {}).get("cluster_list", ()))
    return Path(entry["prefix"], entry["exit_nexthop"], originator, clusters)
