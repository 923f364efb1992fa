"""VyOS: nobody but a device reads its commands. No package has the definitions that VyOS makes its parser of."""

from __future__ import annotations

from tests.switches.judges import Judge

JUDGES: tuple[Judge, ...] = ()
