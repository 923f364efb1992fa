"""SONiC: rendered only. Its YANG models, and the templates that make FRR's configuration of the tables, are in no
package, so nothing here judges the tables."""

from __future__ import annotations

from tests.switches.judges import Judge

JUDGES: tuple[Judge, ...] = ()
