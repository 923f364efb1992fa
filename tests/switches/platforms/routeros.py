"""RouterOS: nobody but a device reads its scripts; packages that do look for habits in firewalls, not at commands."""

from __future__ import annotations

from tests.switches.judges import Judge

JUDGES: tuple[Judge, ...] = ()
