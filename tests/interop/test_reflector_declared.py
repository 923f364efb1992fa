"""The reflector as a store declares it: nodes are its clients, fabric peers are not, changes are taken up in place."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import IPV4, IPV6, Client, Options, Path
from tests.interop.reflector_exabgp import ExaBgp
from tests.interop.reflector_fabric import Fabric
from tests.interop.reflector_frr import Frr
from tests.interop.reflector_gobgp import GoBgp
from tests.interop.reflector_lab import AS, PASSWORD, Host, eventually
from tests.interop.reflector_openbgpd import OpenBgpd
from tests.interop.reflector_process import METRICS
from tests.interop.reflector_raw import Raw, update
from tests.interop.reflector_tap import UPDATE, Message, Tap

pytestmark = pytest.mark.lab

NODES: dict[str, type[Client]] = {"frr": Frr, "bird": Bird, "gobgp": GoBgp, "openbgpd": OpenBgpd, "exabgp": ExaBgp}
#: Fabric peers: an eBGP neighbour, and two iBGP neighbours that are not clients.
PEERS: dict[str, type[Client]] = {"tor": Bird, "core": Bird, "core-2": Frr}
TOR_AS = 65001
RESTART_TIME = 120
TOO_MANY, LIMIT = 200_000, 100
PREFIX_LIMIT, DECONFIGURED = b"\x06\x01", b"\x06\x03"


class Declared(Fabric):
    """All of them, and a host that is declared as a node and plays one by hand."""

    rogue: Host

    def start_reflector(self) -> None:
        self.rogue = self.lab.host("rogue", 99)
        self.reflector.declare(self.resources())
        self.reflector.start_declared("rr", "--log=json", f"--metrics={METRICS}")

    def declare(self, **changes: object) -> None:
        self.reflector.declare(self.resources(**changes))

    def retract(self, host: Host) -> None:
        self.reflector.retract("Node", f"node-{host.number}")

    def settle(self, client: Client, due: dict[Client, set[Path]]) -> None:
        """Waits until a client has these paths to what each of the others announces."""
        eventually(
            lambda: {other: seen(client, other) for other in due} == due,
            why=lambda: (client.name, [(other.name, seen(client, other), paths) for other, paths in due.items()]),
        )

    def resources(self, **changes: object) -> str:
        """YAML; `changes` are of the RouteReflector's spec."""
        rr = self.reflector.host
        spec = {
            "addresses": [f"{rr.ipv4}/32", f"{rr.ipv6}/128"],
            "nodeSelector": "all()",
            "password": {"secretKeyRef": {"name": "bgp", "key": "md5"}},
            "addPaths": "both",
            "maxPrefixes": LIMIT,
            "fabricPeers": [
                {"name": name, "address": host.address(version), "asNumber": asn, "holdTime": "9s"}
                for name, host, asn in self._peers()
                for version in (4, 6)
            ],
        }
        documents = [
            _resource("projectcalico.org/v3", "BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}),
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp"}, "stringData": {"md5": PASSWORD}},
            _resource("underlay.io/v1alpha1", "RouteReflector", "rr", spec | changes),
        ]
        for host in (self.rogue, *(self.clients[name].host for name in NODES)):
            bgp = {"ipv4Address": f"{host.ipv4}/32", "ipv6Address": f"{host.ipv6}/128"}
            documents.append(_resource("underlay.io/v1alpha1", "Node", f"node-{host.number}", {"bgp": bgp}))
        return yaml.safe_dump_all(documents)

    def _peers(self) -> list[tuple[str, Host, int]]:
        return [(name, self.clients[name].host, TOR_AS if name == "tor" else AS) for name in PEERS]


def _resource(version: str, kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def fabric() -> Iterator[Declared]:
    node = Options(add_path=True, send_paths=True, restart_time=RESTART_TIME)
    core = Options(password="", restart_time=RESTART_TIME)
    of = {"tor": replace(core, local_asn=TOR_AS), "core": core, "core-2": core}
    with Declared(node, NODES | PEERS, of, agree=False) as made:
        yield made


def seen(client: Client, announcer: Client) -> set[Path]:
    """A client's paths to what another announces."""
    every = client.paths(IPV4) | client.paths(IPV6)
    return {path for path in every if path.prefix in announcer.announced}


def as_reflected(announcer: Client) -> set[Path]:
    """Its prefixes as the others have them from a reflector: with its next hop and originator."""
    return {Path(p, announcer.next_hop(p), announcer.host.ipv4, ("10.90.0.1",)) for p in announcer.announced}


def as_they_are(announcer: Client) -> set[Path]:
    return {Path(prefix, announcer.next_hop(prefix)) for prefix in announcer.announced}


def as_announced_by_the_reflector(announcer: Client) -> set[Path]:
    return {Path(p, "fd00:90::1" if ":" in p else "10.90.0.1") for p in announcer.announced}


def test_clients_hear_everybody(fabric: Declared) -> None:
    due = {client: as_they_are(client) if client.name == "tor" else as_reflected(client) for client in fabric.others()}
    for name in NODES:
        node = fabric.clients[name]
        fabric.settle(node, {other: due[other] for other in fabric.others(node)})


def test_who_is_no_client_hears_clients_and_ebgp_only(fabric: Declared) -> None:
    core, other, tor = (fabric.clients[name] for name in ("core", "core-2", "tor"))
    due = {node: as_reflected(node) for node in map(fabric.clients.__getitem__, NODES)} | {tor: as_they_are(tor)}
    fabric.settle(core, due | {other: set()})
    fabric.settle(other, due | {core: set()})


def test_ebgp_hears_everybody_by_way_of_the_reflector(fabric: Declared) -> None:
    """With its AS and its address as next hop, and without what is for iBGP only."""
    tor = fabric.clients["tor"]
    assert isinstance(tor, Bird)
    fabric.settle(tor, {other: as_announced_by_the_reflector(other) for other in fabric.others(tor)})
    for other in fabric.others(tor):
        shown = tor.ask("show", "route", other.announced[0], "all")
        assert f"BGP.as_path: {AS}\n" in shown
        assert "BGP.originator_id" not in shown


@pytest.mark.parametrize("version", [4, 6])
def test_several_paths(fabric: Declared, version: int) -> None:
    """Of what FRR and BIRD both announce: clients get both paths, those two the other's, and who takes one the best."""
    frr, bird = fabric.clients["frr"], fabric.clients["bird"]
    family, prefix = {4: (IPV4, "10.200.0.0/24"), 6: (IPV6, "fd20::/48")}[version]
    both = {frr.host.address(version), bird.host.address(version)}
    for client in (frr, bird):
        client.announce(prefix)

    def hops(*names: str) -> list[set[str]]:
        known = ([path for path in fabric.clients[name].paths(family) if path.prefix == prefix] for name in names)
        return [{path.next_hop for path in paths} for paths in known]

    able = ("gobgp", "openbgpd", "exabgp")
    eventually(lambda: hops(*able) == [both] * 3, why=lambda: hops(*able))
    eventually(lambda: hops("frr", "bird") == [{bird.next_hop(prefix)}, {frr.next_hop(prefix)}])
    eventually(lambda: hops("core") in ([{hop}] for hop in both))
    bird.withdraw(prefix)
    eventually(lambda: hops(*able, "core", "bird", "frr") == [{frr.next_hop(prefix)}] * 5 + [set()])
    frr.withdraw(prefix)
    eventually(lambda: hops(*able, "core", "bird", "frr") == [set()] * 6)


@pytest.mark.parametrize("name", ["frr", "bird", "gobgp", "exabgp"])
def test_several_paths_from_one_client(fabric: Declared, name: str) -> None:
    """Two, with path IDs of the client's own; and they go one by one."""
    sender = fabric.clients[name]
    prefix, first, second = f"10.201.{sender.host.number}.0/24", sender.host.ipv4, "10.90.0.72"
    receivers = [fabric.clients[other] for other in NODES if other != name]

    def known(client: Client) -> list[str]:
        return sorted(path.next_hop for path in client.paths(IPV4) if path.prefix == prefix)

    def await_hops(*hops: str) -> None:
        eventually(lambda: all(known(client) == sorted(hops) for client in receivers), why=lambda: shown())
        eventually(lambda: len(known(fabric.clients["core"])) == min(len(hops), 1), why=lambda: shown())

    def shown() -> dict[str, list[str]]:
        return {client.name: known(client) for client in receivers}

    sender.announce(prefix)
    await_hops(first)
    sender.announce_second(prefix, second)
    await_hops(first, second)
    sender.withdraw(prefix)
    await_hops(second)
    sender.withdraw_second(prefix, second)
    await_hops()


def test_two_hundred_thousand_prefixes_over_a_limit_of_a_hundred(fabric: Declared) -> None:
    """Cease with the family and the limit (RFC 4486, 4); the others keep nothing of it, and the client is kept out."""
    before = fabric.connections(*fabric.clients.values())
    announced = [struct.pack("!I", 0x16000000 + n * 64)[:4] for n in range(TOO_MANY)]
    with Tap(fabric.rogue) as tap, Raw(fabric.rogue, "10.90.0.1") as raw:
        raw.establish()
        try:
            for n in range(0, TOO_MANY, 800):
                raw.say(UPDATE, update(b"".join(b"\x20" + prefix for prefix in announced[n : n + 800]), raw.local))
        except OSError:
            pass  # the reflector has closed it, as it should
        eventually(lambda: tap.notifications("10.90.0.1") != set())
        assert tap.notifications("10.90.0.1") == {PREFIX_LIMIT + struct.pack("!HBI", 1, 1, LIMIT)}
    others = [fabric.clients[name] for name in NODES]
    eventually(lambda: all(not path.prefix.startswith("22.") for client in others for path in client.paths(IPV4)))
    with Raw(fabric.rogue, "10.90.0.1") as again:
        assert again.notification()[:2] == b"\x06\x05"
    assert len(fabric.reflector.logged(event="prefix-limit")) == 1
    assert fabric.reflector.counted("prefix_limits_exceeded_total") == 1
    assert fabric.connections(*fabric.clients.values()) == before


def test_a_change_of_policy_touches_no_session(fabric: Declared) -> None:
    before = fabric.connections(*fabric.clients.values())
    tor, bird = fabric.clients["tor"], fabric.clients["bird"]
    reject = {"action": "Reject", "cidr": bird.announced[0], "matchOperator": "Equal"}
    only_it = _resource("projectcalico.org/v3", "BGPFilter", "no-bird", {"exportV4": [reject]})
    fabric.reflector.declare(yaml.safe_dump(only_it))
    fabric.declare(filters=["no-bird"])
    eventually(lambda: bird.announced[0] not in tor.prefixes(IPV4))
    assert bird.announced[1] in tor.prefixes(IPV6)
    fabric.declare()
    eventually(lambda: bird.announced[0] in tor.prefixes(IPV4))
    assert fabric.connections(*fabric.clients.values()) == before


def test_a_node_that_goes_and_comes_is_all_that_changes(fabric: Declared) -> None:
    bird = fabric.clients["bird"]
    others = fabric.others(bird)
    before = fabric.connections(*others)
    with Tap(bird.host) as tap:
        fabric.retract(bird.host)
        eventually(lambda: DECONFIGURED in {said[:2] for said in tap.notifications("10.90.0.1")})
    eventually(lambda: not any(seen(client, bird) for client in others))
    assert not bird.is_up()
    fabric.declare()
    eventually(bird.is_up)
    nodes = [fabric.clients[name] for name in NODES if name != "bird"]
    eventually(lambda: all(seen(node, bird) == as_reflected(bird) for node in nodes))
    assert fabric.connections(*others) == before


def test_everybody_keeps_everything_while_the_reflector_restarts(fabric: Declared) -> None:
    """Killed, it comes back, and says that it has told everything when all that are declared have said what they know.

    So those who keep routes (RFC 4724) are without none of them at any time.
    """
    fabric.retract(fabric.rogue)  # it would be waited for
    keep = [fabric.clients[name] for name in ("frr", "bird", "gobgp", "core", "core-2")]
    due = {client: everything(client) for client in keep}
    taps = {client: Tap(client.host) for client in keep}
    fabric.reflector.crash_and_come_back()
    openbgpd = fabric.clients["openbgpd"]
    assert isinstance(openbgpd, OpenBgpd)
    openbgpd.dial()

    def is_healed() -> bool:
        for client in keep:
            now = everything(client)
            assert now == due[client], f"{client.name}: without {due[client] - now}, too much {now - due[client]}"
        return all(client.is_up() for client in fabric.clients.values()) and all(
            set(map(family_of_end, taps[client].messages(fabric.reflector.host.ipv4, UPDATE))) >= {IPV4}
            for client in keep
        )

    eventually(is_healed)
    for tap in taps.values():
        tap.close()
    nodes = [fabric.clients[name] for name in NODES]
    for node in nodes:
        fabric.settle(node, {other: as_reflected(other) for other in nodes if other is not node})


def everything(client: Client) -> set[Path]:
    return client.paths(IPV4) | client.paths(IPV6)


def family_of_end(heard: Message) -> str:
    """The family that an End-of-RIB is of; empty for another UPDATE."""
    return IPV4 if heard.body == bytes(4) else ""
