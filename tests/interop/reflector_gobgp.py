"""GoBGP as a client of the reflector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.interop.reflector_client import IPV4, IPV6, Client, Path, by_version
from tests.interop.reflector_lab import AS, eventually

#: By our names: GoBGP's in its configuration, and in its command line.
FAMILIES = {
    IPV4: ("ipv4-unicast", "ipv4"),
    IPV6: ("ipv6-unicast", "ipv6"),
    "ipv4-vpn": ("l3vpn-ipv4-unicast", "vpnv4"),
    "ipv6-vpn": ("l3vpn-ipv6-unicast", "vpnv6"),
    "ipv4-labelled-unicast": ("ipv4-labelled-unicast", "ipv4-mpls"),
    "ipv6-labelled-unicast": ("ipv6-labelled-unicast", "ipv6-mpls"),
    "ipv4-flowspec": ("ipv4-flowspec", "ipv4-flowspec"),
    "ipv6-flowspec": ("ipv6-flowspec", "ipv6-flowspec"),
    "l2vpn-evpn": ("l2vpn-evpn", "evpn"),
}
_ESTABLISHED = 6
_NEXT_HOP, _ORIGINATOR_ID, _CLUSTER_LIST, _MP_REACH = 3, 9, 10, 14


class GoBgp(Client):
    kind = "gobgp"

    def launch(self, *, recovering: bool = False) -> None:
        file = self.host.folder / "gobgpd.toml"
        file.write_text("\n".join(self._configuration()) + "\n")
        file.chmod(0o600)
        recover = ("-r",) if recovering else ()
        options = ("-t", "toml", "-f", str(file), "--api-hosts", "127.0.0.1:50051", "--pprof-disable", "-l", "info")
        self.process.start("gobgpd", *options, *recover, environment={"GOMAXPROCS": "2"})
        eventually(lambda: self.ask("-j", "global").startswith("{"), why=self.diagnosis)
        for prefix in self.announced:
            self._add(prefix)

    def _configuration(self) -> Iterator[str]:
        yield "[global.config]"
        yield f"  as = {self.options.local_asn}"
        yield f'  router-id = "{self.host.ipv4}"'
        yield f'  local-address-list = ["{self.host.ipv4}", "{self.host.ipv6}"]'
        for version in self.options.families:
            yield from self._neighbor(version)

    def _neighbor(self, version: int) -> Iterator[str]:
        o = self.options
        yield "[[neighbors]]"
        yield "  [neighbors.config]"
        yield f'    neighbor-address = "{self.reflector.address(version)}"'
        yield f"    peer-as = {AS}"
        if o.password:
            yield f'    auth-password = "{o.password}"'
        yield "  [neighbors.transport.config]"
        yield f'    local-address = "{self.host.address(version)}"'
        yield "  [neighbors.timers.config]"
        yield f"    hold-time = {o.hold_time}"
        yield f"    keepalive-interval = {o.hold_time // 3}"
        yield "    connect-retry = 1"
        yield "    idle-hold-time-after-reset = 1"
        if o.restart_time:
            yield "  [neighbors.graceful-restart.config]"
            yield "    enabled = true"
            yield f"    restart-time = {o.restart_time}"
        for family in o.families[version]:
            yield from self._family(family)

    def _family(self, family: str) -> Iterator[str]:
        yield "  [[neighbors.afi-safis]]"
        yield "    [neighbors.afi-safis.config]"
        yield f'      afi-safi-name = "{FAMILIES[family][0]}"'
        if self.options.restart_time:
            yield "    [neighbors.afi-safis.mp-graceful-restart.config]"
            yield "      enabled = true"
        if self.options.add_path:
            yield "    [neighbors.afi-safis.add-paths.config]"
            yield "      receive = true"
            yield f"      send-max = {8 if self.options.send_paths else 0}"

    def ask(self, *words: str) -> str:
        return self.host.run("gobgp", *words, check=False)

    def _json(self, *words: str) -> Any:
        said = self.ask("-j", *words)
        return json.loads(said) if said.startswith(("{", "[")) else {}

    def neighbor(self, version: int) -> dict[str, Any]:
        found: dict[str, Any] = self._json("neighbor", self.reflector.address(version))
        return found

    def is_established(self, version: int) -> bool:
        return bool(self.neighbor(version).get("state", {}).get("session_state") == _ESTABLISHED)

    def known(self, family: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and path, as GoBGP shows them, of everything, learned or its own."""
        for key, paths in self._json("global", "rib", "-a", FAMILIES[family][1]).items():
            yield from ((key, path) for path in paths)

    def learned(self, family: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((key, path) for key, path in self.known(family) if path.get("neighbor-ip"))

    def count(self, family: str) -> int:
        return len([*self.learned(family)])

    def paths(self, family: str) -> set[Path]:
        return {_path(key, path) for key, path in self.learned(family)}

    def announce(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self._add(prefix)
        self.announced += prefixes

    def withdraw(self, *prefixes: str) -> None:
        for version, some in by_version(prefixes).items():
            for prefix in some:
                self.route("del", f"ipv{version}-unicast", prefix)
        self.announced = [prefix for prefix in self.announced if prefix not in prefixes]

    def _add(self, prefix: str) -> None:
        self.route("add", IPV6 if ":" in prefix else IPV4, prefix, "nexthop", self.next_hop(prefix))

    def route(self, what: str, family: str, *words: str) -> None:
        """`what` is add or del; `words` as GoBGP's command line takes them for the family."""
        said = self.ask("global", "rib", what, "-a", FAMILIES[family][1], *words)
        assert said == "", said

    def announce_second(self, prefix: str, next_hop: str) -> None:
        self.route("add", IPV4, prefix, "identifier", "8", "nexthop", next_hop)

    def withdraw_second(self, prefix: str, next_hop: str) -> None:
        self.route("del", IPV4, prefix, "identifier", "8", "nexthop", next_hop)

    def refresh(self, version: int) -> None:
        raise NotImplementedError("GoBGP answers route refresh, and has no way to ask for it")


def _path(prefix: str, path: dict[str, Any]) -> Path:
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    hop = attributes[_NEXT_HOP if _NEXT_HOP in attributes else _MP_REACH]
    originator = attributes.get(_ORIGINATOR_ID, {}).get("value", "")
    return Path(prefix, hop["nexthop"], originator, tuple(attributes.get(_CLUSTER_LIST, {}).get("value", ())))
