"""The shipped expectations of the lab hold in it, by the runner that `underlay lab test` has."""

from __future__ import annotations

import asyncio

from containerlab.expectations_file import SUFFIX, load_expectations
from tests.lab.running_lab import RunningLab
from underlay.junit import Outcome
from underlay.lab_checks import play
from underlay.lab_reach import NamespaceReach
from underlay.lab_view import LabView


def test_the_shipped_expectations_hold(lab: RunningLab) -> None:
    fabric = lab.fabric
    text = fabric.path.with_name(fabric.path.name.replace(".clab.yml", SUFFIX)).read_text()
    expected, problems = load_expectations(text, "dual-tor", fabric.topology)
    assert expected is not None, problems
    outcomes: list[Outcome] = []
    asyncio.run(play(LabView(fabric, NamespaceReach(fabric), ours=True), expected, outcomes.append))
    assert [one for one in outcomes if one.status != "passed"] == []
    assert len(outcomes) > 30
    lab.wait_converged()
