"""Linux's counters of dropped TCP segments, `/proc/net/netstat`: the only ones who know of a wrong MD5 or TTL."""

from __future__ import annotations

from fabric_templates.verification.end import Kernel

_MD5 = ("TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure")
_TTL = ("TCPMinTTLDrop",)


def read(output: str) -> Kernel | None:
    """None where it is something else."""
    lines = [line.split() for line in output.splitlines() if line.startswith("TcpExt:")]
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        return None
    counters = dict(zip(*lines, strict=True))
    return Kernel(*(sum(int(counters.get(name, 0)) for name in names) for names in (_MD5, _TTL)))
