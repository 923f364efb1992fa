"""bench/rrbench: it builds, its judge notices lies, and the attacker does what its kinds say. Needs gcc and make."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.reflector_scenarios import ATTACKS
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.errors import ResetSession
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import HEADER_LENGTH, Framer
from reflector.wire.negotiated import Negotiated
from reflector.wire.nlri import Key
from reflector.wire.open_message import decode_open
from reflector.wire.update import decode_update

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "bench" / "rrbench"
MARKER = b"\xff" * 16
KEEPALIVE = MARKER + b"\x00\x13\x04"
OPEN, UPDATE = 1, 2
IPV4 = Negotiated(families=(IPV4_UNICAST,))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, built in a folder of their own."""
    folder = tmp_path_factory.mktemp("rrbench")
    for name in ("Makefile", "rrbench.c", "attacker.c"):
        shutil.copy(SOURCES / name, folder)
    make(folder, "all").check_returncode()
    return folder


def make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(folder), target], capture_output=True, text=True, check=False)


def test_the_judge_notices_a_lie_of_every_kind(built: Path) -> None:
    done = make(built, "check")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("selftest passed") == 2
    assert done.stderr.count("noticed") == 20


def test_a_judge_that_lets_a_lie_pass_fails_its_check(built: Path, tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    source = (built / "rrbench.c").read_text()
    blind = source.replace("be32(at[9]) != ID0 + s->owner", "false")
    assert blind != source
    (tmp_path / "rrbench.c").write_text(blind)
    for name in ("Makefile", "attacker.c"):
        shutil.copy(SOURCES / name, tmp_path)
    done = make(tmp_path, "check")
    assert done.returncode != 0
    assert "ORIGINATOR_ID    accepted" in done.stderr


class Victim:
    """A listener on loopback, and an attacker that works on it."""

    def __init__(self, attacker: Path, kind: str, rate: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(10)
        port = self._listener.getsockname()[1]
        argv = [str(attacker), kind, "--server", f"127.0.0.1:{port}", "--base", "127.20.0.1", "--rate", str(rate)]
        self._attacker = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def accept(self) -> tuple[socket.socket, str]:
        """A connection and where it comes from."""
        connection, (source, _) = self._listener.accept()
        connection.settimeout(10)
        return connection, source

    def told(self) -> dict[str, Any]:
        self._attacker.send_signal(signal.SIGTERM)
        found: dict[str, Any] = json.loads(self._attacker.communicate(timeout=10)[0])
        return found

    def close(self) -> None:
        self._attacker.kill()
        self._attacker.communicate()
        self._listener.close()


@contextlib.contextmanager
def attacked(built: Path, kind: str, rate: int = 200) -> Iterator[Victim]:
    victim = Victim(built / "build" / "attacker", kind, rate)
    try:
        yield victim
    finally:
        victim.close()


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        assert more, f"closed after {len(data)} of {size} bytes"
        data += more
    return data


def message(connection: socket.socket) -> tuple[int, bytes]:
    """Type and body of the next one."""
    head = exactly(connection, HEADER_LENGTH)
    return head[18], exactly(connection, int.from_bytes(head[16:18]) - HEADER_LENGTH)


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


def establish(connection: socket.socket) -> bytes:
    """The victim's side of the handshake. Returns the attacker's OPEN, whole."""
    kind, body = message(connection)
    assert kind == OPEN
    parameters = b"\x02\x0c\x01\x04\x00\x01\x00\x01\x41\x04\x00\x00\xfc\x00"
    mine = b"\x04\xfc\x00\x00\xb4\x0a\xc8\x00\x01" + bytes((len(parameters),)) + parameters
    connection.sendall(MARKER + (HEADER_LENGTH + len(mine)).to_bytes(2) + b"\x01" + mine + KEEPALIVE)
    assert exactly(connection, HEADER_LENGTH) == KEEPALIVE
    return body


def announced(bodies: list[bytes]) -> tuple[list[Key], list[bytes]]:
    """All prefixes of the UPDATEs, and the attributes of each that has some; as our reflector would take them."""
    keys, blocks = [], []
    cache = AttributeCache(external=False)
    for body in bodies:
        update = decode_update(body, IPV4, cache)
        assert not update.faults
        ((family, _, found),) = update.announced
        assert family == IPV4_UNICAST
        keys += found
        blocks.append(body[4 : 4 + int.from_bytes(body[2:4])])
    return keys, blocks


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_attack_that_is_run_is_one_of_the_attackers(built: Path, kind: str) -> None:
    with attacked(built, kind) as victim:
        victim.accept()
        assert victim.told()["attack"] == kind


def test_an_attack_that_there_is_not_is_refused_with_those_there_are(built: Path) -> None:
    done = subprocess.run([str(built / "build" / "attacker"), "tickle"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(attack in done.stderr for attack in ATTACKS)


def test_ten_thousand_connections_come_from_one_address_and_say_nothing(built: Path) -> None:
    with attacked(built, "connections") as victim:
        connections = [victim.accept() for _ in range(20)]
        assert {source for _, source in connections} == {"127.20.0.1"}
        assert is_silent(connections[0][0])
        told = victim.told()
        assert told["open_at_end"] >= 20
        assert told["notifications"] == {}


def test_strangers_come_from_many_addresses(built: Path) -> None:
    with attacked(built, "strangers") as victim:
        assert len({victim.accept()[1] for _ in range(20)}) == 20


def test_a_connection_that_ends_is_made_again(built: Path) -> None:
    with attacked(built, "prefixes", rate=1000) as victim:
        for _ in range(25):
            victim.accept()[0].close()
        told = victim.told()
    assert told["connections"] >= 25
    assert told["closed"] + told["reset"] >= 15


def test_no_more_connections_are_made_than_the_rate_allows(built: Path) -> None:
    began = time.monotonic()
    with attacked(built, "connections", rate=100) as victim:
        for _ in range(20):
            victim.accept()
        told = victim.told()
    assert told["connections"] <= 100 * (time.monotonic() - began) + 1


def test_half_an_open_is_the_beginning_of_a_good_one(built: Path) -> None:
    with attacked(built, "half-open") as victim, attacked(built, "prefixes") as speaker:
        connection, _ = victim.accept()
        whole = establish(speaker.accept()[0])
        head = MARKER + (HEADER_LENGTH + len(whole)).to_bytes(2) + b"\x01" + whole
        half = exactly(connection, len(head) // 2)
        assert head.startswith(half)
        assert is_silent(connection)


def test_zeros_are_a_message_of_the_largest_size(built: Path) -> None:
    with attacked(built, "zeros") as victim:
        connection, _ = victim.accept()
        assert exactly(connection, 4096) == bytes(4096)
        assert is_silent(connection)


def test_bad_opens_have_the_version_or_the_hold_time_wrong(built: Path) -> None:
    found = set()
    with attacked(built, "bad-opens") as victim:
        for _ in range(4):
            connection, _ = victim.accept()
            kind, body = message(connection)
            assert kind == OPEN
            with pytest.raises(ResetSession) as refused:
                decode_open(body)
            found.add((body[0], body[3] << 8 | body[4], int(refused.value.subcode)))
            connection.sendall(MARKER + b"\x00\x15\x03\x02\x06")
            connection.close()
        told = victim.told()
    assert found == {(3, 240, 1), (4, 1, 6)}
    assert told["notifications"]["2/6"] >= 3


def test_two_hundred_thousand_prefixes_are_different_and_well_formed(built: Path) -> None:
    with attacked(built, "prefixes") as victim:
        connection, source = victim.accept()
        opened = decode_open(establish(connection))
        assert (opened.asn, opened.hold_time) == (64512, 240)
        assert opened.router_id == socket.inet_aton(source)
        bodies: list[bytes] = []
        framer, count = Framer(), 0
        while count < 200_000:
            for kind, body in framer.feed(connection.recv(1 << 16)):
                assert kind == UPDATE
                bodies.append(body)
                count += (len(body) - 4 - int.from_bytes(body[2:4])) // 5
        keys, _ = announced(bodies)
        assert len(keys) == len(set(keys)) == 200_000
        assert is_silent(connection)


def test_each_attribute_bomb_is_new_large_and_for_one_of_few_prefixes(built: Path) -> None:
    with attacked(built, "attributes") as victim:
        connection, _ = victim.accept()
        establish(connection)
        bodies = [message(connection)[1] for _ in range(300)]
        keys, blocks = announced(bodies)
    assert len(set(blocks)) == 300
    assert min(map(len, blocks)) > 4000
    assert max(len(body) + HEADER_LENGTH for body in bodies) <= 4096
    assert len(set(keys)) == 64
    assert len(keys) == 300


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["/nonexistent/reflector"], "No such file"),
        (["sh", "-c", "echo bad configuration >&2; exit 1"], "bad configuration"),
    ],
)
def test_a_reflector_that_does_not_start_is_told_with_its_last_words(
    argv: list[str], reason: str, tmp_path: Path
) -> None:
    spec = {
        "folder": str(tmp_path),
        "argv": argv,
        "environment": {},
        "ready_s": 5,
        "metrics": None,
        "attack": None,
        "rrbench": [],
        "ends_in": 1,
    }
    command = [sys.executable, str(ROOT / "bench" / "reflector_run.py")]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert not answer["ok"]
    assert reason in answer["reason"]
