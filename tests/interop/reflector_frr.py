"""FRR's bgpd, with zebra for its next hops, as a client of the reflector."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from tests.interop.reflector_client import DEFAULT, IPV4, IPV6, Client, Options, Path, by_version
from tests.interop.reflector_lab import AS, Host, Lab, Process, eventually

_DAEMONS = File("/usr/lib/frr")
#: Its name of the address family, and in JSON.
_FAMILIES = {
    IPV4: ("ipv4 unicast", "ipv4Unicast"),
    IPV6: ("ipv6 unicast", "ipv6Unicast"),
    "ipv4-labelled-unicast": ("ipv4 labeled-unicast", "ipv4LabeledUnicast"),
    "ipv6-labelled-unicast": ("ipv6 labeled-unicast", "ipv6LabeledUnicast"),
    "ipv4-vpn": ("ipv4 vpn", "ipv4Vpn"),
    "ipv6-vpn": ("ipv6 vpn", "ipv6Vpn"),
    "ipv4-flowspec": ("ipv4 flowspec", "ipv4Flowspec"),
    "ipv6-flowspec": ("ipv6 flowspec", "ipv6Flowspec"),
    "l2vpn-evpn": ("l2vpn evpn", "l2VpnEvpn"),
}


class Frr(Client):
    kind = "frr"

    def __init__(self, lab: Lab, number: int, reflector: Host, options: Options = DEFAULT, name: str = "") -> None:
        super().__init__(lab, number, reflector, options, name)
        self._zebra = Process(lab, self.host, "zebra.log")
        self._sockets = ("--vty_socket", str(self.host.folder), "-z", str(self.host.folder / "zserv.api"), "-P", "0")

    def launch(self, *, recovering: bool = False) -> None:
        del recovering  # FRR always keeps the F bit
        shutil.chown(self.host.folder, "frr", "frr")
        if not self._zebra.running:
            pid = str(self.host.folder / "zebra.pid")
            self._zebra.start(str(_DAEMONS / "zebra"), *self._sockets, "-i", pid)
            eventually((self.host.folder / "zserv.api").exists, why=self._zebra.said)
        file = self.host.folder / "bgpd.conf"
        file.write_text(self._configuration())
        file.chmod(0o600)
        shutil.chown(file, "frr", "frr")
        files = ("-f", str(file), "-i", str(self.host.folder / "bgpd.pid"))
        self.process.start(str(_DAEMONS / "bgpd"), "--log", "stdout", "-n", *files, *self._sockets)
        eventually(lambda: "\nrouter bgp " in self._ask("show running-config"), why=self.diagnosis)

    def _configuration(self) -> str:
        hold = self.options.hold_time
        lines = [f"router bgp {self.options.local_asn}", f" bgp router-id {self.host.ipv4}"]
        lines += [" no bgp default ipv4-unicast", " no bgp network import-check", " no bgp ebgp-requires-policy"]
        lines += [f" timers bgp {hold // 3} {hold}", *self._restart()]
        for version in self.options.families:
            lines += self._neighbor(version)
        for family in sorted({family for families in self.options.families.values() for family in families}):
            lines += self._family(family)
        return "\n".join(lines) + "\n"

    def _restart(self) -> list[str]:
        time = self.options.restart_time
        words = ("", " preserve-fw-state", f" restart-time {time}")  # the second: the F bit of every family
        return [f" bgp graceful-restart{word}" for word in words] if time else []

    def _neighbor(self, version: int) -> Iterator[str]:
        neighbor = f" neighbor {self.reflector.address(version)}"
        yield f"{neighbor} remote-as {AS}"
        yield f"{neighbor} timers connect 1"
        yield f"{neighbor} advertisement-interval 0"
        if self.options.password:
            yield f"{neighbor} password {self.options.password}"
        if self.options.extended_next_hop and version == 6:
            yield f"{neighbor} capability extended-nexthop"

    def _family(self, family: str) -> Iterator[str]:
        yield f" address-family {_FAMILIES[family][0]}"
        for version, families in self.options.families.items():
            neighbor = f"  neighbor {self.reflector.address(version)}"
            if family in families:
                yield f"{neighbor} activate"
                if self.options.send_paths:
                    yield f"{neighbor} addpath-tx-all-paths"
                if not self.options.add_path and family in (IPV4, IPV6):
                    yield f"{neighbor} disable-addpath-rx"
        if family in (IPV4, IPV6):
            yield from (f"  network {prefix}" for prefix in by_version(self.announced)[4 if family == IPV4 else 6])
        if self.options.send_paths and family == IPV4:
            yield "  redistribute kernel"
        yield " exit-address-family"

    def stop(self) -> None:
        self._forget_sockets()
        super().stop()

    def kill(self) -> None:
        self._forget_sockets()
        super().kill()

    def _forget_sockets(self) -> None:
        (self.host.folder / "bgpd.vty").unlink(missing_ok=True)

    def _ask(self, *commands: str) -> str:
        words = [word for line in commands for word in ("-c", line)]
        return self.host.run("vtysh", "--vty_socket", str(self.host.folder), "-d", "bgpd", *words, check=False)

    def _json(self, question: str) -> Any:
        return json.loads(self._ask(f"{question} json") or "{}")

    def neighbor(self, version: int) -> dict[str, Any]:
        """What FRR shows of a session."""
        address = self.reflector.address(version)
        found: dict[str, Any] = self._json(f"show bgp neighbors {address}").get(address, {})
        return found

    def is_established(self, version: int) -> bool:
        return bool(self.neighbor(version).get("bgpState") == "Established")

    def paths(self, family: str) -> set[Path]:
        table = json.loads(self._ask(f"show bgp {_FAMILIES[family][0]} json detail") or "{}").get("routes", {})
        return {_path(prefix, path) for prefix, shown in table.items() for path in _learned(shown)}

    def count(self, family: str) -> int:
        if "labelled" in family:  # in the table of unicast, and counted nowhere
            return len(self._json(f"show bgp {family.split('-')[0]} unicast").get("routes", {}))
        carried = self.neighbor(self.version_of(family)).get("addressFamilyInfo", {})
        return int(carried.get(_FAMILIES[family][1], {}).get("acceptedPrefixCounter", 0))

    def announce(self, *prefixes: str) -> None:
        self._network("network", prefixes)
        self.announced += prefixes

    def withdraw(self, *prefixes: str) -> None:
        self._network("no network", prefixes)
        self.announced = [prefix for prefix in self.announced if prefix not in prefixes]

    def announce_second(self, prefix: str, next_hop: str) -> None:
        """What it takes from the kernel is a path beside that of its `network`."""
        self.host.run("ip", "route", "add", prefix, "via", next_hop)

    def withdraw_second(self, prefix: str, next_hop: str) -> None:
        self.host.run("ip", "route", "del", prefix, "via", next_hop)

    def _network(self, word: str, prefixes: tuple[str, ...]) -> None:
        asn = self.options.local_asn
        for version, some in by_version(prefixes).items():
            family = f"address-family ipv{version} unicast"
            if some:
                said = self._ask("configure terminal", f"router bgp {asn}", family, *(f"{word} {p}" for p in some))
                assert said == "", said

    def refresh(self, version: int) -> None:
        for family in self.options.families[version]:
            self._ask(f"clear bgp {family.split('-')[0]} unicast {self.reflector.address(version)} soft in")


def _learned(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The paths from a peer, without the head of the prefix."""
    return (path for path in shown if "peer" in path and not path.get("sourced"))


def _path(prefix: str, path: dict[str, Any]) -> Path:
    hop = next((hop for hop in path["nexthops"] if hop.get("scope", "global") == "global"), path["nexthops"][0])
    clusters = tuple(path.get("clusterList", {}).get("list", ()))
    return Path(prefix, hop["ip"], path.get("originatorId", ""), clusters)
