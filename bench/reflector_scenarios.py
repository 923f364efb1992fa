"""What the reflector is measured in, and what is required of it there. Pure: tables.

A scenario is a run of rrbench (bench/rrbench/README.md). Its name says how many clients there are and how many
prefixes each announces; `-cold` is announcing as sessions come up, not all at once. What is required compares with a
reference of the same interleaved runs, never with a figure of another day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: What a contender is compared with: the fastest peer, the kernel alone, nothing, itself left in peace.
Reference = Literal["peers", "floor", "fixed"]

FLOOR = "floor"
OURS, OURS_WITH_POLICY = "underlay", "underlay-policy"
PEERS = ("bird", "frr", "gobgp", "openbgpd")
ATTACKS = ("connections", "strangers", "half-open", "zeros", "bad-opens", "prefixes", "attributes")

#: How much slower, at most, everything is with ownership enforced, filters on every neighbour and metrics on.
POLICY_FACTOR = 1.3
#: How much slower, at most, honest clients converge while somebody attacks.
ATTACK_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """`clients` announce `prefixes` each; in a `table` the first one announces them all, in `sets` attribute sets.

    `events` are the rounds of churn, the late joiners and the deaths after it. `most_rounds` keeps contenders that take
    minutes to fewer rounds than were asked for, or out. `attacks` are the ways in which it is also disturbed.
    """

    name: str
    clients: int
    prefixes: int
    table: bool = False
    sets: int = 2000
    cold: bool = False
    ipv6: bool = False
    events: tuple[int, int, int] = (20, 3, 3)
    most_rounds: Mapping[str, int] = field(default_factory=dict)
    attacks: tuple[str, ...] = ()

    @property
    def joiners(self) -> int:
        return self.events[1]

    def arguments(self) -> list[str]:
        """Those of rrbench that say what is played."""
        churn, joins, fails = self.events
        played = [f"--mode={'table' if self.table else 'mesh'}", *self._size()]
        played += [f"--churn={churn}", f"--joins={joins}", f"--fails={fails}"]
        return played + (["--cold"] if self.cold else [])

    def floor_arguments(self) -> list[str]:
        """Those that have the kernel copy the same bytes, without a reflector."""
        return [f"--mode={'floor-table' if self.table else 'floor'}", *self._size()]

    def _size(self) -> list[str]:
        size = [f"--n={self.clients}", f"--p={self.prefixes}"]
        size += [f"--sets={self.sets}"] if self.table else []
        return size + (["--ipv6"] if self.ipv6 else [])


_FEW = (4, 1, 1)
#: Ten thousand is how many our reflector takes of one range.
_NO_JOINER = (4, 0, 1)
_NONE_OF_THEM = dict.fromkeys(PEERS, 0)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("mesh100", 100, 4),
        Scenario("mesh100-cold", 100, 4, cold=True, events=_FEW),
        Scenario("mesh500", 500, 4),
        Scenario("mesh500-cold", 500, 4, cold=True, events=_FEW),
        Scenario("mesh500-ipv6", 500, 4, ipv6=True, most_rounds={"gobgp": 1}),
        Scenario("mesh1000", 1000, 4, most_rounds={"gobgp": 1}),
        Scenario("mesh1000-cold", 1000, 4, cold=True, events=_FEW, most_rounds={"gobgp": 0}),
        Scenario("mesh2000", 2000, 4, most_rounds={"gobgp": 0}),
        Scenario("mesh2000-cold", 2000, 4, cold=True, events=_FEW, most_rounds={"gobgp": 0}),
        Scenario("mesh5000x1", 5000, 1, events=_FEW, most_rounds={**_NONE_OF_THEM, "bird": 1, "frr": 3}),
        Scenario("mesh10000x1", 10_000, 1, events=_NO_JOINER, most_rounds=_NONE_OF_THEM),
        Scenario("mesh50x1000", 50, 1000, most_rounds={"gobgp": 1}),
        Scenario("mesh50x1000-cold", 50, 1000, cold=True, events=_FEW, most_rounds={"gobgp": 0}),
        Scenario("table200k", 21, 200_000, table=True, most_rounds={"gobgp": 1}),
        Scenario("table1m", 6, 1_000_000, table=True, most_rounds={"gobgp": 0}),
        Scenario("attacks", 2000, 4, events=(20, 1, 1), attacks=ATTACKS, most_rounds=_NONE_OF_THEM | {OURS: 0}),
    )
}
#: What `--quick` runs, once each.
QUICK = ("mesh500", "mesh500-cold", "mesh500-ipv6")


@dataclass(frozen=True, slots=True)
class Requirement:
    """`metric` of a scenario is at most `bound`, in the metric's unit or, with a reference, times that.

    A bound of 1 on the peers means less than every peer's where `strictly` is set.
    """

    label: str
    scenario: str
    metric: str
    unit: str
    reference: Reference
    bound: float
    strictly: bool = False

    @property
    def words(self) -> str:
        """The bound as a reader of the table wants it."""
        if self.reference == "fixed":
            return f"≤ {self.bound:g} {self.unit}"
        if self.reference == "floor":
            return f"≤ {self.bound:g} × floor"
        if self.strictly:
            return "below every peer"
        return "≥ 1 × as fast" if self.bound == 1 else f"≥ {1 / self.bound:g} × as fast"


def _faster(label: str, scenario: str, times: float) -> Requirement:
    return Requirement(label, scenario, "convergence_s", "s", "peers", 1 / times)


def _below(label: str, scenario: str, metric: str) -> Requirement:
    return Requirement(label, scenario, metric, "ms", "peers", 1, strictly=True)


def _churn(clients: int) -> list[Requirement]:
    label = f"churn, {clients:,} × 4, "
    return [_below(label + p, f"mesh{clients}", f"churn_{p}_ms") for p in ("p50", "p99")]


REQUIREMENTS: tuple[Requirement, ...] = (
    _faster("1,000 × 4, all at once", "mesh1000", 6),
    _faster("2,000 × 4, all at once", "mesh2000", 8),
    _faster("1,000 × 4, cold start", "mesh1000-cold", 3),
    _faster("2,000 × 4, cold start", "mesh2000-cold", 3),
    _faster("5,000 × 1", "mesh5000x1", 15),
    Requirement("10,000 × 1", "mesh10000x1", "convergence_s", "s", "floor", 4),
    _faster("50 × 1,000", "mesh50x1000", 2),
    _faster("500 × 4, IPv6", "mesh500-ipv6", 4),
    _faster("table of 200,000 to 20", "table200k", 4),
    _faster("table of 1,000,000 to 5", "table1m", 1),
    Requirement("its peak RSS", "table1m", "reflector_rss_peak_mb", "MiB", "fixed", 400),
    *_churn(500),
    *_churn(1000),
    *_churn(2000),
    Requirement("late joiner, 1,000 × 4", "mesh1000", "join_full_p50_ms", "ms", "peers", 0.25),
    _below("a client dies, 1,000 × 4", "mesh1000", "failure_p50_ms"),
    Requirement("peak RSS, 2,000 × 4", "mesh2000", "reflector_rss_peak_mb", "MiB", "fixed", 100),
)
#: What is run when nothing else is asked for.
REQUIRED = tuple(dict.fromkeys([*(r.scenario for r in REQUIREMENTS), "attacks"]))
