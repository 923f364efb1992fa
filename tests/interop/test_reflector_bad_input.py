"""What strangers and broken clients can do to the running reflector: little, and nothing to the others.

Two honest clients, FRR and BIRD, exchange routes all the time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import statistics
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import IPV4
from tests.interop.reflector_fabric import Fabric
from tests.interop.reflector_frr import Frr
from tests.interop.reflector_lab import PASSWORD, PATIENCE, Host, eventually
from tests.interop.reflector_process import METRICS
from tests.interop.reflector_raw import Raw, capability, message, open_message, update
from tests.interop.reflector_tap import KEEPALIVE, OPEN, UPDATE, encoded

pytestmark = pytest.mark.lab

CONNECTIONS, AT_A_TIME = 10_000, 500
OUTSIDE = "10.91.0.66"
#: What everybody may announce, and what only BIRD may.
SHARED = ["10.0.0.0/10", "10.64.0.0/13", "fd00::/8"]
BIRDS = "10.79.0.0/24"

#: What is said on a new connection, and the NOTIFICATION for it: code, subcode, data.
BAD_BEGINNINGS: dict[str, tuple[bytes, str]] = {
    "another AS": (message(OPEN, open_message(asn=65099)), "02 02 fe4b"),
    "another AS of four octets": (message(OPEN, open_message(asn=4200000001)), "02 02 fa56ea01"),
    "version 3": (message(OPEN, open_message(version=3)), "02 01 0004"),
    "hold time 1": (message(OPEN, open_message(hold_time=1)), "02 06 0001"),
    "our router ID": (message(OPEN, open_message(router_id="10.90.0.1")), "02 03 0a5a0001"),
    "no router ID": (message(OPEN, open_message(router_id="0.0.0.0")), "02 03 00000000"),
    "4,096 zeros": (bytes(4096), "01 01"),
    "a length of 18": (b"\xff" * 16 + b"\0\x12\x01", "01 02 0012"),
    "a length of 5000": (b"\xff" * 16 + b"\x13\x88\x01", "01 02 1388"),
    "a KEEPALIVE of 20 bytes": (message(KEEPALIVE, b"x"), "01 02 0014"),
    "a type of 9": (message(9), "01 03 09"),
    "an UPDATE before the OPEN": (message(UPDATE, bytes(4)), "05 01 02"),
}
#: Attributes that take long to look at, all in one message.
BOMBS = {
    "one attribute a thousand times": b"\xc0\x63\x00" * 1000,
    "a hundred kinds of attributes": b"".join(bytes((0xC0, kind, 0)) for kind in range(130, 230)) * 10,
    "nine hundred communities": b"\xd0\x08" + struct.pack("!H", 3600) + bytes(range(1, 241)) * 15,
}


class Site(Fabric):
    """FRR, BIRD and a host for those who mean no good.

    Each of them has a /24 of its own, since who fails is logged once a minute for each /24.
    """

    attacker: Host

    def start_reflector(self) -> None:
        self.attacker = self.lab.host("attacker", 99)
        self.reflector.host.run("ip", "route", "add", "10.91.0.0/16", "dev", "eth0")
        self.reflector.host.run("ip", "route", "add", "10.92.0.0/16", "dev", "eth0")
        self.own({"shared": SHARED, self.clients["bird"].host.ipv4: [BIRDS]})
        self._reflector_options += (f"--owners={self._owners}", "--ownership=enforce")
        super().start_reflector()

    @property
    def _owners(self) -> Path:
        folder: Path = self.reflector.host.folder
        return folder / "owners.json"

    def own(self, owners: object) -> None:
        """What the reflector reads at SIGHUP."""
        self._owners.write_text(json.dumps(owners))

    def stranger(self, number: int) -> str:
        """An address that clients may have."""
        return self.with_address(f"10.92.{number}.1")

    def with_address(self, address: str) -> str:
        self.attacker.run("ip", "address", "replace", f"{address}/32", "dev", "eth0")
        return address

    def raw(self, source: str = "", password: str = PASSWORD, timeout: float = PATIENCE) -> Raw:
        return Raw(self.attacker, self.reflector.host.ipv4, password, source, timeout)

    def exchange(self) -> None:
        """A route of BIRD's comes to FRR, and goes again."""
        frr, bird = self.clients["frr"], self.clients["bird"]
        bird.announce("10.70.0.0/24")
        eventually(lambda: "10.70.0.0/24" in frr.prefixes(IPV4))
        bird.withdraw("10.70.0.0/24")
        eventually(lambda: "10.70.0.0/24" not in frr.prefixes(IPV4))


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with Site(
        kinds=(Frr, Bird), reflector_options=("--log=json", f"--metrics={METRICS}", "--accept=10.92.0.0/16")
    ) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """Whatever the test does, the honest ones exchange routes after it as before, on the same sessions."""
    before = running.connections(*running.clients.values())
    yield running
    running.exchange()
    assert running.connections(*running.clients.values()) == before


@pytest.mark.parametrize("name", BAD_BEGINNINGS)
def test_a_bad_beginning(site: Site, name: str) -> None:
    said, notification = BAD_BEGINNINGS[name]
    source = site.stranger(list(BAD_BEGINNINGS).index(name) + 1)
    failed = site.reflector.counted("sessions_failed_total")
    for _ in range(3):
        with site.raw(source) as raw:
            raw.socket.sendall(said)
            site.exchange()
            assert raw.notification() == bytes.fromhex(notification)
    eventually(lambda: site.reflector.counted("sessions_failed_total") == failed + 3)
    assert len(site.reflector.logged(event="session-failed", peer=source)) == 1


def test_who_is_outside_of_every_accepted_prefix_is_told_so(site: Site) -> None:
    source = site.with_address(OUTSIDE)
    refused = site.reflector.counted("connections_refused_total", code="no-such-neighbour")
    for _ in range(3):
        with site.raw(source, password="") as raw:
            assert raw.notification() == b"\x06\x05"
    assert site.reflector.counted("connections_refused_total", code="no-such-neighbour") == refused + 3
    assert len(site.reflector.logged(event="connection-refused", code="no-such-neighbour", peer=OUTSIDE)) == 1


@pytest.mark.parametrize(("password", "counter"), [("another", "TCPMD5Failure"), ("", "TCPMD5NotFound")])
def test_a_wrong_password_is_not_answered(site: Site, password: str, counter: str) -> None:
    dropped = site.reflector.counted("kernel_drops_total", counter=counter)
    with pytest.raises(TimeoutError):
        site.raw(site.stranger(30), password, timeout=0.5)
    assert site.reflector.counted("kernel_drops_total", counter=counter) > dropped


def test_an_unknown_capability_is_no_mistake(site: Site) -> None:
    with site.raw(site.stranger(31)) as raw:
        raw.establish(open_message(router_id=raw.local, more=capability(200, b"whatever") + capability(201, b"")))
        raw.hear_prefix(encoded("10.11.0.0/24"))


def test_half_an_open_and_then_silence(site: Site) -> None:
    """It costs nobody anything; the same client, after it has lost its mind, is let in beside it."""
    source = site.stranger(32)
    with site.raw(source) as silent, site.raw(source) as raw:
        silent.socket.sendall(message(OPEN, open_message(router_id=source))[:20])
        site.exchange()
        raw.establish()
        raw.hear_prefix(encoded("10.11.0.0/24"))


@pytest.mark.parametrize("name", BOMBS)
def test_an_attribute_bomb(site: Site, name: str) -> None:
    """What RFC 7606 lets pass passes, and 300 messages of 4 kB take no longer than others of that size."""
    source, frr = site.stranger(40 + list(BOMBS).index(name)), site.clients["frr"]
    prefixes = {f"10.60.{n >> 8}.0/24" for n in range(0, 300 << 8, 256) if n >> 8 < 256}
    with site.raw(source) as raw:
        raw.establish()
        for prefix in sorted(prefixes):
            raw.say(UPDATE, update(encoded(prefix), source, BOMBS[name]))
        eventually(lambda: frr.prefixes(IPV4) >= prefixes)
        assert len(site.reflector.logged(event="update-fault", peer=source)) <= 1
        raw.say(KEEPALIVE)
        site.exchange()
    eventually(lambda: not frr.prefixes(IPV4) & prefixes)


def test_what_cannot_be_healed_resets_the_session(site: Site) -> None:
    """MP_REACH_NLRI twice: RFC 7606, 3 (g)."""
    source = site.stranger(50)
    value = b"\0\x02\x01\x10" + socket.inet_pton(socket.AF_INET6, "fd00:90::99") + b"\0" + encoded("fd99::/32")
    reach = b"\x80\x0e" + bytes((len(value),)) + value
    with site.raw(source) as raw:
        raw.establish()
        raw.say(UPDATE, update(b"", source, reach + reach))
        assert raw.notification()[:2] == b"\x03\x01"
    eventually(lambda: len(site.reflector.logged(event="session-down", peer=source)) == 1)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_connections_from_one_address(site: Site) -> None:
    """All but a few are refused, one line tells of it, and the exchange between others hardly takes longer."""
    source = site.stranger(60)
    opened: list[Raw] = []
    refused = site.reflector.counted("connections_refused_total")
    began = time.monotonic()
    with site.raw(site.stranger(61)) as sender, site.raw(site.stranger(62)) as receiver:
        for raw in (sender, receiver):
            raw.establish()
        calm = [exchange_time(sender, receiver, n) for n in range(CONNECTIONS // AT_A_TIME)]
        attacked = []
        try:
            for n in range(CONNECTIONS // AT_A_TIME):
                opened += [site.raw(source) for _ in range(AT_A_TIME)]
                attacked.append(exchange_time(sender, receiver, n))
            outcomes = Counter(ending(raw) for raw in opened)
        finally:
            for raw in opened:
                raw.socket.close()
    # Rejected, out of resources, or for a newer one from the same client, which has lost the older.
    assert outcomes.keys() <= {b"\x06\x05", b"\x06\x08", b"\x06\x07", None}
    assert outcomes[None] <= 4
    # It may have a few at once, and then one each second.
    let_in = CONNECTIONS - (site.reflector.counted("connections_refused_total") - refused)
    assert let_in <= 20 + time.monotonic() - began
    assert len(site.reflector.logged(event="connection-refused", peer=source)) <= 2  # too many, and too often
    assert statistics.median(attacked) < max(2 * statistics.median(calm), 0.1), (calm, attacked)


def ending(raw: Raw) -> bytes | None:
    """Code and subcode with which the reflector ended it; None when it did not."""
    raw.socket.settimeout(0.2)
    try:
        return raw.notification()[:2]
    except TimeoutError:
        return None


def exchange_time(sender: Raw, receiver: Raw, number: int) -> float:
    nlri = encoded(f"10.61.{number}.0/24")
    began = time.monotonic()
    sender.say(UPDATE, update(nlri, sender.local))
    receiver.hear_prefix(nlri)
    took = time.monotonic() - began
    sender.say(UPDATE, struct.pack("!H", len(nlri)) + nlri + b"\0\0")
    return took


def test_a_configuration_with_mistakes_changes_nothing(site: Site) -> None:
    """A line for each of them, and what was right before stays in force."""
    frr, bird = site.clients["frr"], site.clients["bird"]
    frr.announce(BIRDS)
    eventually(lambda: site.reflector.ask("refused", neighbor=frr.host.ipv4)["rows"] != [])
    assert BIRDS not in bird.prefixes(IPV4)
    site.own({"shared": ["10.0.0.1/8"], "bird": [], "10.90.0.11": 5})
    problems = len(site.reflector.logged(event="problem"))
    os.kill(site.reflector.process.pid, signal.SIGHUP)
    eventually(lambda: len(site.reflector.logged(event="problem")) == problems + 3, why=site.reflector.process.said)
    site.exchange()
    assert BIRDS not in bird.prefixes(IPV4)
    site.own({"shared": [*SHARED, BIRDS]})
    os.kill(site.reflector.process.pid, signal.SIGHUP)
    eventually(lambda: BIRDS in bird.prefixes(IPV4))
    assert len(site.reflector.logged(event="problem")) == problems + 3
    frr.withdraw(BIRDS)
    eventually(lambda: BIRDS not in bird.prefixes(IPV4))
