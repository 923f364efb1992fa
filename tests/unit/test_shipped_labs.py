"""What lies in containerlab/ for users of containerlab is what rendering and `lab generate` give today.

`pytest --update-golden` writes it anew. Nothing here is run on a switch: tests/switches judges the rendered parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import containerlab
from containerlab.generate import generate
from containerlab.kinds import KINDS
from containerlab.startup import daemon_text
from containerlab.topology_file import load_topology
from fabric_templates.render import render
from peering.compile import plan
from peering.snapshot import Snapshot
from tests.unit.samples import dual_tor, sample

FOLDER = Path(containerlab.__file__).parent
Golden = Callable[[Path, str], None]


@dataclass(frozen=True)
class Shipped:
    declared: Callable[[], Snapshot]
    kind: str


GENERATED = {
    "dual-tor-ceos": Shipped(dual_tor, "ceos"),
    "dual-tor-srlinux": Shipped(dual_tor, "srlinux"),
    "dual-tor-sonic": Shipped(dual_tor, "sonic"),
    "unnumbered": Shipped(lambda: Snapshot(sample("unnumbered")), "frr"),
}
RENDERED = ("dual-tor", "dual-tor-ibgp", "as-per-cluster")


def files_of(name: str) -> dict[str, str]:
    """What `underlay lab generate --name NAME --kind KIND` writes."""
    shipped = GENERATED[name]
    kind, snapshot = KINDS[shipped.kind], shipped.declared()
    compiled = plan(snapshot)
    switches = {n: replace(s, platform=kind.platform) for n, s in compiled.switches.items()}
    rendered = {n: render(n, s) for n, s in switches.items()}
    made = generate(name, snapshot, replace(compiled, switches=switches), rendered, dict.fromkeys(switches, kind))
    assert made.problems == ()
    return dict(made.files)


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_lab_is_up_to_date(name: str, equals_golden: Golden) -> None:
    files = files_of(name)
    for path, text in files.items():
        equals_golden(FOLDER / path, text)
    present = {str(p.relative_to(FOLDER)) for p in (FOLDER / "configs" / name).rglob("*") if p.is_file()}
    assert present == files.keys() - {f"{name}.clab.yml"}


@pytest.mark.parametrize("name", RENDERED)
def test_the_tors_of_a_written_lab_are_up_to_date(name: str, equals_golden: Golden) -> None:
    compiled = plan(dual_tor(name))
    for switch, switch_plan in compiled.switches.items():
        text = daemon_text("frr", switch, render(switch, switch_plan))
        assert text is not None
        equals_golden(FOLDER / "configs" / name / switch / "frr.conf", text)
    assert {p.name for p in (FOLDER / "configs" / name).iterdir()} == compiled.switches.keys()


def test_a_lab_of_another_kind_has_the_same_wires() -> None:
    """dual-tor as it is written by hand, and what is generated from its declaration."""
    written, _ = load_topology((FOLDER / "dual-tor.clab.yml").read_text(), "dual-tor")
    text = files_of("dual-tor-ceos")["dual-tor-ceos.clab.yml"].replace("kind: arista_ceos", "kind: linux")
    generated, _ = load_topology(text, "dual-tor-ceos")
    assert written
    assert generated
    wires = [{frozenset((str(link.a), str(link.b))) for link in t.links} for t in (written, generated)]
    assert wires[0] == wires[1]
