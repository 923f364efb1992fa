"""OS10: rendered only. No package has a parser of Dell's command line: its Ansible modules send lines and read none."""

from __future__ import annotations

from tests.switches.judges import Judge

JUDGES: tuple[Judge, ...] = ()
