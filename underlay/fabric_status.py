"""What there is to say of the fabric now, for `status` and the page alike: reports, who is late, who never spoke. Pure.

    plan ──────────────┬─► FabricStatus ─► table, JSON, page
    reports, the time ─┘

Times are Unix times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peering.problems import Severity
from peering.resources.observed import BGPNodeStatusSpec
from peering.session import Plan
from underlay import reports


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a node beside its sessions; of all nodes where `node` is empty."""

    severity: Severity
    node: str
    text: str

    def line(self) -> str:
        """The line that `status` prints."""
        where = f"Node/{self.node}: " if self.node else ""
        return f"{self.severity}: {where}{self.text}"


@dataclass(frozen=True, slots=True)
class FabricStatus:
    """`statuses` are the reports by node, as far as they are known now. `late` have not renewed theirs; `missing` have
    sessions and never reported."""

    plan: Plan
    statuses: Mapping[str, BGPNodeStatusSpec]
    late: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether everybody reports and every session that is reported is up."""
        up = all(row.state == "Established" for one in self.statuses.values() for row in one.sessions)
        return bool(self.statuses) and up and not self.late and not self.missing

    def troubles(self) -> Iterator[Trouble]:
        """By node: what its speaker says, that it is late, that none runs."""
        if not self.statuses:
            yield Trouble("error", "", f"no speaker has ever reported ({len(self.missing)} nodes should have one)")
            return
        for name, spec in self.statuses.items():
            is_late = name in self.late
            for position, problem in enumerate(spec.problems, start=1):
                last = is_late and position == len(spec.problems)
                yield Trouble("error" if last else "warning", name, problem)
        for name in self.missing:
            yield Trouble("error", name, "no speaker has ever reported: none runs on the node")

    def to_json(self) -> list[dict[str, Any]]:
        """`underlay status -o json`: the reports."""
        return [one.model_dump(mode="json", by_alias=True) for one in self.statuses.values()]


def fabric_status(
    plan: Plan, reported: Mapping[str, BGPNodeStatusSpec], now: float, node: str | None = None
) -> FabricStatus:
    """Of all nodes, or of one alone."""
    missing = (name for name in reports.never_reported(plan, reported) if node in (None, name))
    chosen = {name: one for name, one in reported.items() if node in (None, name)}
    return FabricStatus(
        plan,
        {name: reports.current(one, now) for name, one in chosen.items()},
        tuple(name for name, one in chosen.items() if reports.overdue(one, now)),
        tuple(missing),
    )
