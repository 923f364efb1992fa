"""Whether the reflector was at work a moment ago, and with whom: a file that is removed at an end in order.

Peers that help with graceful restart keep the routes of a reflector that died, or left silently, for the restart time.
If it is back within that, it has restarted (RFC 4724, 4.1) and says so; later it is new to them. It waits for those who
had a session; dynamic neighbours are in no other list.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from peering.prefixes import Address, format_address, pack_address

#: Seconds between two touches; so much younger a death may look than it is.
TOUCH_S = 5.0


class RestartMarker:
    """The file of one reflector in a folder. A folder that cannot be written to makes every start a new one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.running"

    def age(self) -> float | None:
        """Seconds since it was last touched, by the clock of the machine; None when it is not there."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return None

    def touch(self, up: Collection[Address] = ()) -> None:
        """Now, with these sessions. Raises OSError when it cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        text = "".join(f"{format_address(address)}\n" for address in sorted(up))
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        beside.replace(self.path)

    def were_up(self) -> set[Address]:
        """Those that had a session when it was touched last. What cannot be read is passed over."""
        try:
            lines = self.path.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return set()
        found: set[Address] = set()
        for line in lines:
            with suppress(ValueError):
                found.add(pack_address(line))
        return found

    def remove(self) -> None:
        """The end was in order: nothing is kept for us."""
        with suppress(OSError):
            self.path.unlink()
