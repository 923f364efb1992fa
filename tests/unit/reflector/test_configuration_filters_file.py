"""`--filters FILE`: which filters hold, and in which order. Its mistakes: golden/filters, by test_reflecting.py."""

from __future__ import annotations

from pathlib import Path

from peering.problems import Problem
from peering.resources.bgp_filter import BGPFilterSpec
from reflector.filters_file import read_filters

HEAD = "apiVersion: projectcalico.org/v3\nkind: BGPFilter\n"


def write(folder: Path, *documents: str) -> Path:
    file = folder / "filters.yaml"
    file.write_text("---\n".join(documents))
    return file


def test_all_filters_in_the_order_of_the_file(tmp_path: Path) -> None:
    one = f"{HEAD}metadata: {{name: z-first}}\nspec: {{importV4: [{{action: Accept, source: RemotePeers}}]}}\n"
    items = (
        "{metadata: {name: a-second}, spec: {exportV6: [{action: Reject}]}}",
        "{metadata: {name: m-third}, spec: {}}",
    )
    several = "apiVersion: projectcalico.org/v3\nkind: BGPFilterList\nitems:\n" + "".join(f"- {i}\n" for i in items)
    filters, problems = read_filters(write(tmp_path, one, several))
    assert problems == []
    assert filters == (
        ("z-first", BGPFilterSpec.model_validate({"importV4": [{"action": "Accept", "source": "RemotePeers"}]})),
        ("a-second", BGPFilterSpec.model_validate({"exportV6": [{"action": "Reject"}]})),
        ("m-third", BGPFilterSpec()),
    )


def test_rules_that_never_hold_are_warned_of(tmp_path: Path) -> None:
    """Every client is an iBGP one, and a route of a reflector leaves by no interface."""
    rules = "[{action: Reject, peerType: eBGP}, {action: Reject, interface: eth0}, {action: Accept, peerType: iBGP}]"
    filters, problems = read_filters(write(tmp_path, f"{HEAD}metadata: {{name: pods}}\nspec: {{exportV4: {rules}}}\n"))
    assert [name for name, _ in filters] == ["pods"]
    assert [_short(problem) for problem in problems] == [
        ("warning", "filter-never-matches", "BGPFilter/pods", "spec.exportV4[0]"),
        ("warning", "reflector-cannot", "BGPFilter/pods", "spec.exportV4[1].interface"),
    ]


def _short(problem: Problem) -> tuple[str, str, str, str]:
    return problem.severity, problem.code, problem.object, problem.path
