"""What a node attracts for services and no service has, in a real kernel that translates as kube-proxy does."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from bgp_speaker.service_discards import ADDRESSES, PROTOCOL, RANGES, ServiceDiscards
from peering.services import Announced
from tests.interop.kernel_node import Node
from tests.interop.speaker_lab import SpeakerLab, command, eventually

pytestmark = pytest.mark.lab

SWITCH, POD = "s", "p"
SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.accept_local=1")
#: Family of `ip`: range, service, address without one, more specific route in the range, single address, pod, switch.
PLACES = {
    "-4": ("10.96.0.0/16", "10.96.0.1", "10.96.0.9", "10.96.7.0/24", "192.0.2.7", "10.244.1.2", "10.50.0.2"),
    "-6": ("fd96::/112", "fd96::1", "fd96::9", "fd96::700/120", "2001:db8::7", "fd44:1::2", "fd50::2"),
}
FAMILIES = pytest.mark.parametrize("family", PLACES)


class Lab:
    """switch ── node ── pod: the switch sends all that is for services to the node, the node all else to the switch."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.spaces = {one: f"ul-sd-{tag}-{one}" for one in ("n", SWITCH, POD)}
        self.node = Node(self.spaces["n"], {})

    def __enter__(self) -> Lab:
        for space in self.spaces.values():
            command("ip", "netns", "add", space)
            command("ip", "-n", space, "link", "set", "lo", "up")
        for other, (net4, net6) in {SWITCH: ("10.50.0", "fd50:"), POD: ("10.244.1", "fd44:1:")}.items():
            ends = ("link", "add", other, "type", "veth", "peer", "name", "eth0", "netns", self.spaces[other])
            command("ip", "-n", self.spaces["n"], *ends)
            for space, link, host in ((self.spaces["n"], other, 1), (self.spaces[other], "eth0", 2)):
                command("ip", "-n", space, "link", "set", link, "addrgenmode", "none")
                command("ip", "-n", space, "address", "add", f"{net4}.{host}/24", "dev", link)
                command("ip", "-n", space, "address", "add", f"{net6}:{host}/64", "dev", link, "nodad")
                command("ip", "-n", space, "link", "set", link, "up")
        for family, (within, _, _, specific, single, pod, switch) in PLACES.items():
            node_for_switch, node_for_pod = switch[:-1] + "1", pod[:-1] + "1"
            self.ip("n", family, "route", "add", "default", "via", switch)
            self.ip("n", family, "route", "add", specific, "via", pod)
            # Both came from other nodes over the switch: the way back.
            self.ip("n", family, "route", "add", single, "via", switch)
            self.ip(SWITCH, family, "route", "add", "default", "via", node_for_switch)
            self.ip(POD, family, "route", "add", "default", "via", node_for_pod)
            self._translate(family, within)
        for space in self.spaces.values():
            # The switch is the sender, too: it has to take what comes back with its own address.
            command("ip", "netns", "exec", space, "sysctl", "-qw", *SYSCTLS)
        neighbours = [address for places in PLACES.values() for address in places[-2:]]
        eventually(lambda: all(self.answers("n", address) for address in neighbours))
        return self

    def __exit__(self, *_: object) -> None:
        for space in self.spaces.values():
            command("ip", "netns", "del", space, check=False)

    def ip(self, where: str, *words: str) -> str:
        return command("ip", "-n", self.spaces[where], *words)

    def _translate(self, family: str, within: str) -> None:
        """As kube-proxy: before routing for what comes in, after it for what the node sends."""
        _, service, _, _, _, pod, _ = PLACES[family]
        word = "ip" if family == "-4" else "ip6"
        rules = "\n".join(
            f"chain {hook} {{ type nat hook {hook} priority -100; {word} daddr {service} dnat to {pod}; }}"
            for hook in ("prerouting", "output")
        )
        text = f"table {word} proxy {{\n{rules}\n}}\n"
        command_with_input(text, "ip", "netns", "exec", self.spaces["n"], "nft", "-f", "-")

    def answers(self, where: str, address: str) -> bool:
        argv = ("ip", "netns", "exec", self.spaces[where], "ping", "-c1", "-W1", address)
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def crossings(self, address: str) -> int:
        """How often one packet of the switch to the address has come to the node."""
        before = self._forwarded()
        self.answers(SWITCH, address)
        return self._forwarded() - before

    def _forwarded(self) -> int:
        """Packets that the node sent to the switch."""
        shown = self.ip("n", "-s", "link", "show", SWITCH)
        sent = re.search(r"TX:.*\n\s*\d+\s+(\d+)", shown)
        assert sent is not None
        return int(sent[1])

    def rules(self, family: str) -> list[str]:
        shown = self.ip("n", family, "rule").splitlines()
        return [line.replace("\t", " ") for line in shown]


def command_with_input(text: str, *argv: str) -> None:
    subprocess.run(argv, input=text, check=True, capture_output=True, text=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def discards(lab: Lab) -> Iterator[ServiceDiscards]:
    made = lab.node.open(ServiceDiscards)
    yield made
    made.close()


def both(index: int) -> list[str]:
    return [places[index] for places in PLACES.values()]


WITHIN, ONE = both(0), both(4)


@FAMILIES
def test_what_no_service_has_does_not_come_back(lab: Lab, discards: ServiceDiscards, family: str) -> None:
    """Without the discards it does, until its TTL is over; so does what goes to a single address."""
    _, _, nobody, _, single, _, _ = PLACES[family]
    for address in (nobody, single):
        assert lab.crossings(address) > 20
    assert discards.sync([*WITHIN, *ONE]) == {}
    for address in (nobody, single):
        assert lab.crossings(address) <= 2  # neighbour discovery may be among it


@FAMILIES
def test_services_are_reached_from_everywhere(lab: Lab, discards: ServiceDiscards, family: str) -> None:
    """By the node's own processes, too, for which a blackhole in the main table is in the way."""
    within, service = PLACES[family][:2]
    for where in ("n", SWITCH):
        assert lab.answers(where, service), where
    assert discards.sync([*WITHIN, *ONE]) == {}
    for where in ("n", SWITCH):
        assert lab.answers(where, service), where
    lab.ip("n", family, "route", "add", "blackhole", within)
    assert not lab.answers("n", service)


@FAMILIES
def test_a_route_in_the_range_is_followed(lab: Lab, discards: ServiceDiscards, family: str) -> None:
    """And one that is as wide as the range, or wider, is not: it leads to other nodes that announce it."""
    within, _, nobody, specific, _, _, switch = PLACES[family]
    target = specific.partition("/")[0][:-1] + "5"
    lab.ip(POD, family, "address", "add", target, "dev", "lo")
    lab.ip("n", family, "route", "add", within, "via", switch)
    discards.sync([*WITHIN, *ONE])
    assert lab.answers(SWITCH, target)
    assert lab.crossings(nobody) <= 2
    sent = lab.ip("n", family, "route", "get", nobody)
    assert f"via {switch}" in sent, "what the node itself sends goes where it went before"


@FAMILIES
def test_nothing_is_left_and_nothing_of_others_is_touched(lab: Lab, discards: ServiceDiscards, family: str) -> None:
    lab.ip("n", family, "rule", "add", "pref", "32702", "to", WITHIN[family == "-6"], "lookup", "77")
    before = lab.rules(family)
    discards.sync([*WITHIN, *ONE])
    assert len(lab.rules(family)) == len(before) + 5
    assert set(before) < set(lab.rules(family))
    discards.sync(ONE)
    assert len(lab.rules(family)) == len(before) + 4
    discards.sync([])
    assert lab.rules(family) == before
    for table in (ADDRESSES, RANGES):
        assert lab.ip("n", family, "route", "show", "table", "all", "proto", str(PROTOCOL)) == "", table


@FAMILIES
def test_what_somebody_broke_is_repaired_and_the_next_process_finds_its_own(
    lab: Lab, discards: ServiceDiscards, family: str
) -> None:
    discards.sync([*WITHIN, *ONE])
    whole = lab.rules(family)
    for number in range(32700, 32705):
        lab.ip("n", family, "rule", "del", "pref", str(number))
        assert discards.sync([*WITHIN, *ONE]) == {}
        assert lab.rules(family) == whole
    following = lab.node.open(ServiceDiscards)
    assert following.sync([]) == {}
    following.close()
    assert not [line for line in lab.rules(family) if "proto 202" in line]


def test_a_speaker_discards_what_it_announces() -> None:
    """As long as it does, and what another run has left when it does not."""
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes

        def blackholes() -> set[str]:
            shown = [
                command("ip", "-n", node.namespace, family, "route", "show", "table", "all", "type", "blackhole")
                for family in PLACES
            ]
            return {line.split()[1] for text in shown for line in text.splitlines() if f"proto {PROTOCOL}" in line}

        lab.declare(node, services=Announced((WITHIN[0], WITHIN[1]), (ONE[0],)))
        lab.start(node)
        eventually(lambda: blackholes() == {*WITHIN, ONE[0]})
        lab.declare(node, services=Announced((WITHIN[1],)))
        eventually(lambda: blackholes() == {WITHIN[1]})
        lab.kill_agent(node)
        lab.declare(node)
        lab.start(node)
        eventually(lambda: blackholes() == set())
        assert "proto 202" not in command("ip", "-n", node.namespace, "-6", "rule")
