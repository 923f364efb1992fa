"""Whether the reflector was at work a moment ago: a file that it touches, and removes when it ends in order.

Peers that help with graceful restart keep the routes of a reflector that died, or left silently, for the restart time.
If it is back within that, it has restarted (RFC 4724, 4.1) and says so; later it is new to them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

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

    def touch(self) -> None:
        """Now. Raises OSError when it cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)

    def remove(self) -> None:
        """The end was in order: nothing is kept for us."""
        with suppress(OSError):
            self.path.unlink()
