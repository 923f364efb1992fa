"""How long the reflector takes to end: from SIGTERM until its process is gone and every client has been told why.

    python bench/reflector_stop.py [--json] [--clients 5000] [--runs 3]

The reflector is a process of its own, started with `underlay reflector --listen`. Its clients come from as many
loopback addresses, announce a prefix each, and read all that they are told until nothing more comes. Then the signal
is sent.
Raises when a client was not told Cease/Administrative Shutdown (RFC 9003) as the last thing on its connection.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, table, to_json  # noqa: E402
from peering.prefixes import format_address  # noqa: E402
from reflector.session.local_open import local_open  # noqa: E402
from reflector.session.settings import SessionSettings  # noqa: E402
from reflector.wire.families import IPV4_UNICAST  # noqa: E402
from reflector.wire.framing import KEEPALIVE, NOTIFICATION, OPEN, UPDATE, encode_message  # noqa: E402

_ASN = 64512
_ATTRIBUTES = bytes.fromhex("40010100 400200 4003040a090001 40050400000064")
_MARKER = b"\xff" * 16
_SHUTDOWN = bytes((NOTIFICATION, 6, 2))
#: Of what a client was told the last so many bytes are kept; a NOTIFICATION with a reason is shorter.
_KEPT = 512
#: Clients that connect at a time: fewer than may wait to be accepted.
_AT_ONCE = 500
_QUIET_S, _LONG_S = 1.0, 120.0


class Clients:
    """Connections that keep the end of what they were told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._buffer = bytearray(1 << 20)
        self.tails: dict[int, bytes] = {}

    def connect(self, numbers: Iterable[int]) -> None:
        """Comes up with an OPEN, and announces a prefix."""
        for number in numbers:
            address = bytes((127, 1, number >> 8, number & 255))
            made = socket.socket()
            made.bind((format_address(address), 0))
            made.connect(("127.0.0.1", self._port))
            made.setblocking(False)
            made.sendall(_hello(number, address))
            self._sockets[made.fileno()] = made
            self.tails[made.fileno()] = b""
            self._poll.register(made, select.EPOLLIN)

    def read(self, seconds: float) -> bool:
        """What came within that time, from everybody once; whether anything did."""
        ready = self._poll.poll(seconds)
        for number, _ in ready:
            self._read(number)
        return bool(ready)

    def read_until_quiet(self) -> None:
        end = time.monotonic() + _LONG_S
        while self.read(_QUIET_S):
            if time.monotonic() > end:
                raise TimeoutError(f"still talking after {_LONG_S:g} s")

    @property
    def connected(self) -> int:
        return len(self._sockets)

    def close(self) -> None:
        for made in self._sockets.values():
            made.close()
        self._poll.close()

    def _read(self, number: int) -> None:
        try:
            count = self._sockets[number].recv_into(self._buffer)
        except ConnectionResetError:
            count = 0
        if count:
            self.tails[number] = (self.tails[number] + self._buffer[max(0, count - _KEPT) : count])[-_KEPT:]
            return
        self._poll.unregister(number)
        self._sockets.pop(number).close()


def main() -> None:
    arguments = _arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    runs = [_measure(arguments.clients) for _ in range(arguments.runs)]
    figures = [
        Figure("stopS", "from SIGTERM to the end of the process", "s", tuple(run[0] for run in runs), at_most=2),
        Figure("stopToldS", "… until the last client was told", "s", tuple(run[1] for run in runs), at_most=2),
    ]
    if arguments.json:
        sys.stdout.write(json.dumps(to_json(figures)) + "\n")
        return
    sys.stdout.write(f"{arguments.clients} clients\n{table(figures)}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How long the reflector takes to end.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


def _measure(count: int) -> tuple[float, float]:
    """Seconds until the process was gone, and until the last client had read the end of its connection."""
    with _reflector() as (daemon, port, log):
        clients = Clients(port)
        try:
            for first in range(1, count + 1, _AT_ONCE):
                clients.connect(range(first, min(first + _AT_ONCE, count + 1)))
                clients.read(0)
            clients.read_until_quiet()
            if clients.connected != count or _said(log, "session-up") != count:
                raise RuntimeError(f"{_said(log, 'session-up')} of {count} sessions came up, {clients.connected} are")
            begun = time.monotonic()
            daemon.send_signal(signal.SIGTERM)
            gone = told = 0.0
            while not (gone and told) and time.monotonic() < begun + _LONG_S:
                clients.read(0.001)
                told = told or (0.0 if clients.connected else time.monotonic() - begun)
                gone = gone or (0.0 if daemon.poll() is None else time.monotonic() - begun)
            _check(clients, daemon)
        finally:
            clients.close()
    return gone, told


def _check(clients: Clients, daemon: subprocess.Popen[bytes]) -> None:
    not_told = sum(not _is_shutdown(tail) for tail in clients.tails.values())
    if daemon.returncode != 0 or clients.connected or not_told:
        raise RuntimeError(
            f"exit {daemon.returncode}, {clients.connected} connections left, {not_told} clients were not told why"
        )


def _is_shutdown(tail: bytes) -> bool:
    """Whether the last message is the one that is to be the last."""
    _, found, last = tail.rpartition(_MARKER)
    return bool(found) and last[2:5] == _SHUTDOWN and int.from_bytes(last[:2]) == len(_MARKER) + len(last)


@contextmanager
def _reflector() -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The process, the port where it listens, and its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "underlay", "reflector", f"--listen=127.0.0.1:{port}", f"--as={_ASN}"]
        command += ["--router-id=10.0.0.1", "--accept=127.0.0.0/8", f"--admin-socket={folder}/admin", "--log=json"]
        log = Path(folder, "log")
        with log.open("wb") as stderr:
            daemon = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
        try:
            end = time.monotonic() + _LONG_S
            while _said(log, "listening") == 0:
                if daemon.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the reflector does not start: {log.read_text()}")
                time.sleep(0.05)
            yield daemon, port, log
        finally:
            daemon.kill()
            daemon.wait()


def _said(log: Path, event: str) -> int:
    """How often that was logged."""
    return log.read_text().count(f'"event": "{event}"')


def _hello(number: int, address: bytes) -> bytes:
    settings = SessionSettings(
        name="client", local_asn=_ASN, router_id=address, families=(IPV4_UNICAST,), graceful_restart_time=0
    )
    nlri = b"\x20\x0b" + number.to_bytes(3, "big")
    update = b"\0\0" + len(_ATTRIBUTES).to_bytes(2, "big") + _ATTRIBUTES + nlri
    opening = encode_message(OPEN, local_open(settings).encode())
    return opening + encode_message(KEEPALIVE) + encode_message(UPDATE, update)


if __name__ == "__main__":
    main()
