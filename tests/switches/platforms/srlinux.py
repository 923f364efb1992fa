"""SR Linux: rendered only. Nokia's YANG is in no package, so nothing here judges the tree."""

from __future__ import annotations

from tests.switches.judges import Judge

JUDGES: tuple[Judge, ...] = ()
#: Both sides of 24.7 and of 25.3.
RELEASES = ("24.3", "24.10", "25.3")
