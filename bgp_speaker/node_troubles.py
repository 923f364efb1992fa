"""What is wrong on the node at present, for its report: a sentence about each part of the agent, said once in the log.

Parts tell by themselves, again and again, and with nothing when all is well. Of ExaBGP's own log one thing is told
here: that it cannot listen, which ends no session that it dials.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: What ExaBGP logs when it cannot listen, and what exabgp_launch.py logs when it can again.
_CANNOT_LISTEN = re.compile(r"can not bind to \S+ \((.*)\)")
_LISTENS = "listening on every address"
LISTENING = "listening"


class NodeTroubles:
    """By the part that has the trouble."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._by_part: dict[str, str] = {}

    def note(self, part: str, trouble: str) -> None:
        """`trouble` is what is wrong with the part now; empty when nothing is."""
        if trouble and self._by_part.get(part) != trouble:
            self._log(f"{part}: {trouble}")
        self._by_part[part] = trouble

    def hear(self, line: str) -> None:
        """A line about ExaBGP, or of its log: it goes to ours as it is."""
        self._log(line)
        found = _CANNOT_LISTEN.search(line)
        if found:
            self.note(LISTENING, found[1])
        elif _LISTENS in line:
            self.note(LISTENING, "")

    def now(self) -> list[str]:
        """The sentences, in the order in which the parts first had something to say."""
        return [trouble for trouble in self._by_part.values() if trouble]
