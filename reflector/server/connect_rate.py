"""How often an address may come in: so many times at once, then once in each interval. Pure.

A token bucket in one number per address: the time at which its bucket will be full again (the generic cell rate
algorithm of ITU-T I.371). Who is refused takes nothing out. Full buckets are thrown away from time to time, so what is
remembered are the addresses of the last `burst` intervals.
"""

from __future__ import annotations

from peering.prefixes import Address

#: Below so many addresses nobody looks for full buckets.
_FEW = 1024


class ConnectRate:
    """`interval` in seconds; `burst` is at least 1."""

    def __init__(self, burst: int, interval: float) -> None:
        self._interval = interval
        self._longest = (burst - 1) * interval
        self._full_at: dict[Address, float] = {}
        self._sweep_above = _FEW

    def allows(self, address: Address, now: float) -> bool:
        """Whether it may come in now; if so, that is counted."""
        full_at = max(self._full_at.get(address, now), now)
        if full_at - now > self._longest:
            return False
        self._full_at[address] = full_at + self._interval
        if len(self._full_at) > self._sweep_above:
            self._sweep(now)
        return True

    def _sweep(self, now: float) -> None:
        self._full_at = {address: full_at for address, full_at in self._full_at.items() if full_at > now}
        self._sweep_above = max(_FEW, 2 * len(self._full_at))

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._full_at)
