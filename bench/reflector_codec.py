"""How fast the reflector's wire codec is: UPDATEs taken apart, attributes read and reflected, UPDATEs packed.

    python bench/reflector_codec.py [--json] [--updates 100000] [--prefixes 200000] [--runs 5]

Small UPDATEs of four prefixes are what a thousand nodes send that announce their blocks: their attributes were seen
before, except for the next hop of each new node. Each run is a process of its own. Times are of one CPU, without the
socket and without the routing table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, table, to_json  # noqa: E402
from reflector.wire.attribute_cache import AttributeCache  # noqa: E402
from reflector.wire.attributes import (  # noqa: E402
    AS_PATH,
    COMMUNITIES,
    LOCAL_PREF,
    MP_REACH_NLRI,
    MULTI_EXIT_DISC,
    NEXT_HOP,
    OPTIONAL,
    ORIGIN,
    TRANSITIVE,
    encode_attribute,
)
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST  # noqa: E402
from reflector.wire.framing import HEADER_LENGTH, MAX_EXTENDED_LENGTH, Framer  # noqa: E402
from reflector.wire.negotiated import Negotiated  # noqa: E402
from reflector.wire.packing import encode_updates  # noqa: E402
from reflector.wire.update import decode_update  # noqa: E402

_NEGOTIATED = Negotiated(families=(IPV4_UNICAST, IPV6_UNICAST))
_SETS = 100
_CLUSTER = b"\x0a\0\0\1"


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        sys.stdout.write(json.dumps(_measure(arguments.updates, arguments.prefixes)))
        return
    runs = [_run(sys.argv[1:]) for _ in range(arguments.runs)]
    figures = _figures(runs)
    if arguments.json:
        sys.stdout.write(json.dumps(to_json(figures)) + "\n")
        return
    sys.stdout.write(f"{arguments.updates} UPDATEs of 4 prefixes; {arguments.prefixes} prefixes packed\n")
    sys.stdout.write(table(figures) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of the reflector's wire codec.")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--prefixes", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(arguments: list[str]) -> dict[str, float]:
    """One run in a process of its own: caches are not warm."""
    command = [sys.executable, __file__, "--child", *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _measure(updates: int, prefixes: int) -> dict[str, float]:
    sets = [_attributes(number) for number in range(_SETS)]
    ipv4 = [_ipv4_update(sets[n % _SETS], n) for n in range(updates)]
    ipv6 = [_ipv6_update(sets[n % _SETS], n) for n in range(updates)]
    nodes = [_ipv4_update(sets[0], n, node=n) for n in range(updates // 10)]
    strangers = [_ipv4_update(_attributes(n + _SETS), n) for n in range(updates // 10)]
    stream = b"".join(
        encode_updates(IPV4_UNICAST, (), [(_next_hop(0), sets[n % _SETS], _keys(n))])[0] for n in range(updates)
    )
    keys = [b"\x18" + n.to_bytes(3, "big") for n in range(prefixes)]
    groups = [(_next_hop(n), sets[n % _SETS], keys[n * 100 : n * 100 + 100]) for n in range(prefixes // 100)]
    sources = [(_next_hop(n), sets[0], _keys(n)) for n in range(1000)]
    (large,) = encode_updates(IPV4_UNICAST, (), [(_next_hop(0), sets[0], keys[:10_000])], MAX_EXTENDED_LENGTH)
    cache = AttributeCache(external=False)
    blocks = [cache.find(_attributes(n)).block for n in range(updates // 10)]
    return {
        "ipv4": _each(_decoder(ipv4), updates),
        "ipv6": _each(_decoder(ipv6), updates),
        "nodes": _each(_decoder(nodes), len(nodes)),
        "sets": _each(_decoder(strangers), len(strangers)),
        "prefix": _each(_decoder([large[HEADER_LENGTH:]] * 20), 20 * 10_000),
        "framing": _each(lambda: sum(1 for _ in Framer().feed(stream)), updates),
        "reflected": _each(lambda: [b.reflected(_CLUSTER, _CLUSTER) for b in blocks if b is not None], len(blocks)),
        "packed": _each(lambda: encode_updates(IPV4_UNICAST, (), groups), 1),
        "packedSources": _each(lambda: encode_updates(IPV4_UNICAST, (), sources), len(sources)),
        "packedFew": _each(lambda: encode_updates(IPV4_UNICAST, (), [(_next_hop(0), sets[0], keys)]), 1),
    }


def _decoder(bodies: list[bytes]) -> Callable[[], object]:
    """Takes them all apart with a new cache. Raises ValueError if the last one does not announce anything."""

    def run() -> None:
        cache = AttributeCache(external=False)
        for body in bodies:
            update = decode_update(body, _NEGOTIATED, cache)
        if not update.announced or update.faults:
            raise ValueError(f"measured nothing of worth: {update.faults}")

    return run


def _each(run: Callable[[], object], count: int) -> float:
    """Seconds of CPU time for each of `count` things that are done."""
    begun = time.process_time()
    run()
    return (time.process_time() - begun) / count


def _attributes(number: int) -> bytes:
    """One of many sets: AS path of two, MED, LOCAL_PREF, a community."""
    path = b"\2\2" + (65000).to_bytes(4, "big") + (64512 + number % 7).to_bytes(4, "big")
    return (
        encode_attribute(ORIGIN, TRANSITIVE, b"\0")
        + encode_attribute(AS_PATH, TRANSITIVE, path)
        + encode_attribute(MULTI_EXIT_DISC, OPTIONAL, number.to_bytes(4, "big"))
        + encode_attribute(LOCAL_PREF, TRANSITIVE, (100).to_bytes(4, "big"))
        + encode_attribute(COMMUNITIES, OPTIONAL | TRANSITIVE, b"\xfd\xe8\0\1")
    )


def _next_hop(node: int) -> bytes:
    return (0x0AC80000 + node).to_bytes(4, "big")


def _keys(number: int) -> list[bytes]:
    """Four blocks of 64 addresses."""
    return [b"\x1a" + (0x0A000000 + (4 * number + n) * 64).to_bytes(4, "big") for n in range(4)]


def _body(attributes: bytes, nlri: bytes = b"") -> bytes:
    return b"\0\0" + len(attributes).to_bytes(2, "big") + attributes + nlri


def _ipv4_update(attributes: bytes, number: int, node: int = 0) -> bytes:
    own = encode_attribute(NEXT_HOP, TRANSITIVE, _next_hop(node))
    return _body(attributes[:17] + own + attributes[17:], b"".join(_keys(number)))


def _ipv6_update(attributes: bytes, number: int) -> bytes:
    nlri = b"".join(b"\x7a\xfd\0" + (4 * number + n).to_bytes(13, "big") + b"\x40" for n in range(4))
    value = IPV6_UNICAST.packed + b"\x10\xfd" + bytes(14) + b"\1\0" + nlri
    return _body(encode_attribute(MP_REACH_NLRI, OPTIONAL, value) + attributes)


def _figures(runs: list[dict[str, float]]) -> list[Figure]:
    def values(name: str, scale: float = 1e6) -> tuple[float, ...]:
        return tuple(run[name] * scale for run in runs)

    return [
        Figure("decodeIpv4Us", "IPv4 UPDATE, attributes seen before", "µs", values("ipv4"), at_most=3),
        Figure("decodeIpv6Us", "IPv6 UPDATE, attributes seen before", "µs", values("ipv6"), at_most=6),
        Figure("decodeNewNextHopUs", "IPv4 UPDATE, new next hop", "µs", values("nodes"), at_most=12),
        Figure("decodeNewAttributesUs", "IPv4 UPDATE, new attributes", "µs", values("sets")),
        Figure("decodePrefixNs", "each prefix of a long UPDATE", "ns", values("prefix", 1e9)),
        Figure("framingUs", "message cut out of the stream", "µs", values("framing")),
        Figure("reflectedUs", "attributes of a block reflected for the first time", "µs", values("reflected")),
        Figure("encodeS", "all prefixes packed, in groups of 100", "s", values("packed", 1), at_most=0.15),
        Figure(
            "encodeSourceUs", "UPDATE of one source with 4 prefixes packed", "µs", values("packedSources"), at_most=5
        ),
        Figure("encodeOneGroupS", "all prefixes packed, in one group", "s", values("packedFew", 1), at_most=0.15),
    ]


if __name__ == "__main__":
    main()
