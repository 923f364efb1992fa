"""What a session costs the reflector: on its way to Established, at rest, and for each UPDATE that it hands out.

    python bench/reflector_sessions.py [--json] [--clients 2000] [--runs 5]

All clients connect at once with the same settings, as after a restart of the reflector. Their OPENs differ in the
router ID, and in a second measurement in the host name too, as those of most daemons do. Times are of one CPU, without
sockets; each run is a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, table, to_json  # noqa: E402
from reflector.session.events import SessionUp, UpdateReceived  # noqa: E402
from reflector.session.local_open import local_open  # noqa: E402
from reflector.session.machine import Session  # noqa: E402
from reflector.session.neighbor import Neighbor  # noqa: E402
from reflector.session.settings import SessionSettings  # noqa: E402
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST  # noqa: E402
from reflector.wire.framing import KEEPALIVE, OPEN, UPDATE, encode_message  # noqa: E402

_KEEPALIVE = encode_message(KEEPALIVE)
_UPDATE = encode_message(UPDATE, bytes.fromhex("0000 0015 40010100 400200 4003040a000002 40050400000064 18c0a801"))
_NOW = 1000.0
_UPDATES = 1000


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        sys.stdout.write(json.dumps(_measure(arguments.clients)))
        return
    figures = _figures([_run(sys.argv[1:]) for _ in range(arguments.runs)])
    if arguments.json:
        sys.stdout.write(json.dumps(to_json(figures)) + "\n")
        return
    sys.stdout.write(f"{arguments.clients} clients\n{table(figures)}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a session costs the reflector.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _measure(clients: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, opens in (("up", _opens(clients, named=False)), ("named", _opens(clients, named=True))):
        neighbors = [_waiting(number) for number in range(clients)]
        gc.collect()
        begun = time.process_time()
        sessions = [_come_up(neighbor, opened) for neighbor, opened in zip(neighbors, opens, strict=True)]
        found[name] = (time.process_time() - begun) / clients
        found[f"{name}Bytes"] = _bytes_of_each(opens)
    found["update"] = _each_update(sessions[0])
    return found


def _settings(name: str, last_byte: int) -> SessionSettings:
    families = (IPV4_UNICAST, IPV6_UNICAST)
    router_id = bytes((10, 0, 0, last_byte))
    return SessionSettings(name=name, local_asn=64512, router_id=router_id, passive=True, families=families)


def _opens(clients: int, *, named: bool) -> list[bytes]:
    said = local_open(_settings("a client", 2))
    return [
        encode_message(
            OPEN,
            replace(
                said,
                router_id=(0x0B000000 + number).to_bytes(4, "big"),
                capabilities=replace(said.capabilities, host_name=(f"node-{number}", "example") if named else None),
            ).encode(),
        )
        for number in range(clients)
    ]


def _waiting(number: int) -> Neighbor:
    neighbor = Neighbor(_settings(f"node-{number}", 1))
    neighbor.start(_NOW)
    return neighbor


def _come_up(neighbor: Neighbor, opened: bytes) -> Session:
    """All that a server asks of a session on its way up. Raises ValueError if it does not get there."""
    session = neighbor.accept(_NOW)
    if session is None:
        raise ValueError("refused")
    session.data_to_send()
    for message in (opened, _KEEPALIVE):
        session.receive(message, _NOW)
        happened = session.events()
        session.data_to_send()
        neighbor.take_ended()
    if not isinstance(happened[0], SessionUp):
        raise ValueError(f"{session.state}: {happened}")
    return session


def _bytes_of_each(opens: list[bytes]) -> float:
    """Of settings, neighbour and session together, when it is up."""
    gc.collect()
    tracemalloc.start()
    neighbors = [_waiting(number) for number in range(len(opens))]
    for neighbor, opened in zip(neighbors, opens, strict=True):
        _come_up(neighbor, opened)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(neighbors)


def _each_update(session: Session) -> float:
    """Seconds from the bytes of a read to the bodies of the UPDATEs in them."""
    data = _UPDATE * _UPDATES
    begun = time.process_time()
    session.receive(data, _NOW)
    bodies = [event.body for event in session.events() if isinstance(event, UpdateReceived)]
    seconds = time.process_time() - begun
    if len(bodies) != _UPDATES:
        raise ValueError(f"{len(bodies)} of {_UPDATES} UPDATEs")
    return seconds / _UPDATES


def _figures(runs: list[dict[str, float]]) -> list[Figure]:
    def values(name: str, scale: float = 1e6) -> tuple[float, ...]:
        return tuple(run[name] * scale for run in runs)

    return [
        Figure("sessionUpUs", "a session comes up", "µs", values("up"), at_most=60),
        Figure("sessionUpNamedUs", "… with a host name of its own", "µs", values("named"), at_most=60),
        Figure("sessionBytes", "memory of a session that is up", "B", values("upBytes", 1), at_most=4096),
        Figure("sessionNamedBytes", "… with a host name of its own", "B", values("namedBytes", 1), at_most=4096),
        Figure("updateOutUs", "UPDATE from the read to its body", "µs", values("update")),
    ]


if __name__ == "__main__":
    main()
