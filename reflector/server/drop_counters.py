"""What the kernel has dropped before we could see it: wrong signatures, low TTLs, full queues. Linux.

A peer with a wrong password is silence to us: its segments never get here. The kernel counts them, without saying whose
they were, for the network namespace as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NETSTAT = Path("/proc/self/net/netstat")

#: Name of the kernel's counter (linux/snmp.h) -> what it means.
COUNTERS: Mapping[str, str] = {
    "TCPMD5NotFound": "segments without a TCP MD5 signature from addresses that have a password",
    "TCPMD5Unexpected": "segments with a TCP MD5 signature from addresses that have no password",
    "TCPMD5Failure": "segments with a TCP MD5 signature by another password",
    "TCPMinTTLDrop": "packets with a TTL below what TTL security asks for",
    "ListenOverflows": "connections for which the queue of a listening socket was full",
    "TCPReqQFullDoCookies": "SYNs that were answered with a SYN cookie",
}


def read_drop_counters() -> dict[str, int]:
    """Name -> count since the namespace began; empty where the kernel does not show them."""
    try:
        return parse_drop_counters(_NETSTAT.read_text())
    except OSError:
        return {}


def parse_drop_counters(text: str) -> dict[str, int]:
    """From the text of /proc/net/netstat: pairs of lines, names above numbers."""
    found: dict[str, int] = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        found.update(
            (name, int(number))
            for name, number in zip(names.split()[1:], numbers.split()[1:], strict=False)
            if name in COUNTERS
        )
    return found
