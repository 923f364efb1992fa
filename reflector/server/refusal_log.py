"""Who is refused, counted, and when to say so in the log. Pure.

A refusal is told of at once, the first time; what follows from the same network for the same reason is counted, and
told of as one line when the interval is over. Networks, not addresses: who has a /64 has all of it. When there are more
of them than are remembered, all others are counted together. So the log gets so many lines in an interval at most, and
the memory has a bound, whoever comes.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from peering.prefixes import Address, Prefix

#: Length of the networks, by size of the address.
_NETWORK = {4: 24, 16: 64}


class Line(NamedTuple):
    """To be logged: how often, since the line before it, with the text of the last time. `network` None: of others."""

    network: Prefix | None
    code: str
    text: str
    times: int


class _Entry:
    """What has not been told yet, and from when on it may be."""

    __slots__ = ("count", "due", "text")

    def __init__(self, text: str, due: float) -> None:
        self.text, self.due, self.count = text, due, 0


class RefusalLog:
    """`interval` in seconds between two lines of the same network and code; `networks` are remembered at most."""

    def __init__(self, interval: float = 60.0, networks: int = 1000) -> None:
        self._interval = interval
        self._networks = networks
        self._entries: dict[tuple[Prefix | None, str], _Entry] = {}

    def note(self, address: Address, code: str, text: str, now: float) -> Line | None:
        """A refusal; what to log of it now."""
        key: tuple[Prefix | None, str] = (network_of(address), code)
        entry = self._entries.get(key)
        if entry is None and len(self._entries) >= self._networks:
            key = (None, code)
            entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(text, now + self._interval)
            return Line(*key, text, 1)
        entry.count += 1
        entry.text = text
        return None

    def due(self, now: float) -> list[Line]:
        """What was counted in intervals that are over. Who was quiet for one is forgotten."""
        lines = []
        for key, entry in [item for item in self._entries.items() if item[1].due <= now]:
            if entry.count:
                lines.append(Line(*key, entry.text, entry.count))
                entry.count, entry.due = 0, now + self._interval
            else:
                del self._entries[key]
        return lines

    def deadline(self) -> float:
        """When to ask `due` next; `inf`: not before the next refusal."""
        return min((entry.due for entry in self._entries.values()), default=inf)


def network_of(address: Address) -> Prefix:
    """The packed prefix under which an address is counted."""
    size = len(address)
    length = _NETWORK[size]
    kept = length // 8
    return bytes((length,)) + address[:kept] + bytes(size - kept)
