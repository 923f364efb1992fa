"""`underlay whatif`: what it prints is what the handbook shows, and what scripts read."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from bench.fabric_sample import fabric
from bench.whatif import measure
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES, nodes
from tests.unit.whatif_fabrics import document, resources

PAGE = Path(__file__).parents[2] / "docs" / "whatif.md"
TRANSCRIPT = re.compile(r"```\n\$ underlay (whatif [^\n]*)\n((?:(?!```).*\n)*)```")


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample and the nodes, as the handbook's commands want it."""
    shutil.copytree(SAMPLES, tmp_path / "config" / "samples")
    (tmp_path / "nodes.yaml").write_text(yaml.safe_dump_all(node.to_document() for node in nodes()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def whatif(*arguments: str) -> Result:
    return run_underlay("whatif", "-f", "config/samples/dual-tor", "-f", "nodes.yaml", *arguments)


def shown(text: str) -> list[str]:
    """Lines as a reader sees them: without blanks at their end, and no two empty ones together."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{2,}", "\n\n", lines).strip().splitlines()


@pytest.mark.usefixtures("manifests")
def test_the_handbook_shows_what_is_printed() -> None:
    transcripts = TRANSCRIPT.findall(PAGE.read_text())
    assert len(transcripts) == 3
    for command, expected in transcripts:
        assert shown(run_underlay(*command.split()).stdout) == shown(expected), command


@pytest.mark.usefixtures("manifests")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--fail", "Switch/tor-1a"], 0),
        (["--fail", "switch/tor-1a , Switch/tor-1b"], 1),
        (["--fail", "Switch/tor-1a", "--fail", "Switch/tor-1b"], 1),
        (["--fail", "Node/node-1"], 0),
        (["--every"], 0),
        (["--fail", "Switch/tor-9"], 1),
        ([], 2),
        (["--fail", " , "], 2),
        (["--every", "--fail", "Node/node-1"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert whatif(*arguments).exit_code == code


@pytest.mark.usefixtures("manifests")
def test_an_unknown_name_is_one_line_with_the_nearest() -> None:
    result = whatif("--fail", "Switch/tor1a")
    assert (result.stdout, result.stderr) == ("", "error: there is no Switch/tor1a (did you mean tor-1a?)\n")


@pytest.mark.usefixtures("manifests")
def test_json_is_that_of_the_handbook() -> None:
    found = json.loads(whatif("--fail", "Switch/tor-1a,Link/node-1:tor-1b", "-o", "json").stdout)
    assert found["failed"] == ["Switch/tor-1a", "Link/node-1:tor-1b"]
    assert found["cutsOff"] is True
    assert found["sessions"]["lost"] == len(found["sessions"]["list"]) == 10
    assert found["sessions"]["byEnd"]["Node/node-1"] == 4
    assert {"end": "Node/node-1", "name": "tor-1b-ipv4", "peer": "Switch/tor-1b"} in found["sessions"]["list"]
    assert found["rows"][0] == {
        "rack": "rack-1",
        "pool": "pods-v4",
        "family": "ipv4",
        "prefixes": 2,
        "fromOtherRacks": {"before": "yes", "after": "partly"},
        "withinRack": {"before": "yes", "after": "no"},
        "fromOutside": {"before": "yes", "after": "partly"},
        "toOutside": {"before": "yes", "after": "partly"},
        "ecmpWidth": {"before": 2, "after": 1},
    }
    assert found["lostPrefixes"][2] == {
        "prefix": "10.244.0.0/26",
        "node": "node-1",
        "rack": "rack-1",
        "pool": "pods-v4",
        "assumed": True,
        "fromRacks": ["rack-1", "rack-2"],
        "fromOutside": True,
        "toOutside": True,
        "entirely": True,
    }
    code = re.findall(r"`([^`\n]+)`", PAGE.read_text().split("## JSON")[1])
    named = {word for span in code for word in re.findall("[a-zA-Z]+", span)}
    for part in (found, found["rows"][0], found["lostPrefixes"][0], found["ownPrefixes"], found["sessions"]):
        assert set(part) <= named


@pytest.mark.usefixtures("manifests")
def test_json_of_every_failure_tells_what_is_alike() -> None:
    found = json.loads(whatif("--every", "-o", "json").stdout)
    assert (found["failures"], found["cutsOff"], len(found["sorts"])) == (28, False, 12)
    first = found["sorts"][0]
    assert (first["failure"], first["standsFor"], len(first["alike"])) == ("Node/node-1", 4, 4)
    assert len(first["ownPrefixes"]) == 4


@pytest.mark.usefixtures("manifests")
def test_every_failure_that_cuts_something_off_comes_first() -> None:
    racks = Path("config/samples/dual-tor/racks.yaml")
    racks.write_text(racks.read_text().replace("[tor-1a, tor-1b]", "[tor-1a]"))
    result = whatif("--every")
    assert result.exit_code == 1
    lines = shown(result.stdout)
    assert lines[0] == "3 of 28 single failures cut something off. They are of 22 sorts:"
    assert [line.split()[:2] for line in lines[4:6]] == [["Switch/tor-1a", "1"], ["Link/node-1:tor-1a", "2"]]
    assert "8 prefixes of 2 nodes" in lines[4]
    assert "4 prefixes of 1 node" in lines[5]
    assert "nothing" in lines[6]


@pytest.mark.usefixtures("manifests")
def test_nothing_is_computed_from_a_plan_with_errors() -> None:
    Path("nodes.yaml").write_text("apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n}\nspec: {}\n")
    result = whatif("--every")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no-router-id" not in result.stderr
    assert result.stderr.endswith("nothing was computed: the plan has errors\n")


def test_of_a_store_the_blocks_count_that_nodes_own(manifests: Path) -> None:
    url = f"sqlite:{manifests / 'store.db'}"
    applied = run_underlay("apply", "-f", "config/samples/dual-tor", "-f", "nodes.yaml", "--store", url)
    assert applied.exit_code == 0, applied.stderr
    block = {"node": "node-1", "cidr": "10.244.9.0/26", "state": "confirmed"}
    asyncio.run(_create(url, "node-1-block", block))
    result = run_underlay("whatif", "--store", url, "--fail", "Node/node-1", "-o", "json")
    owned = [one for one in json.loads(result.stdout)["ownPrefixes"] if one["pool"]]
    assert owned == [{"prefix": "10.244.9.0/26", "node": "node-1", "pool": "pods-v4", "assumed": False}]


async def _create(url: str, name: str, spec: dict[str, str]) -> None:
    store = open_store(url)
    try:
        await store.create("BlockAffinity", name, resources([document("BlockAffinity", name, spec)])[0].to_document())
    finally:
        await store.close()


def test_a_large_fabric_shows_what_changes_only(manifests: Path) -> None:
    documents = [resource.to_document() for resource in fabric(nodes=40, racks=10, reflectors=1)]
    (manifests / "big.yaml").write_text(yaml.safe_dump_all(documents))
    lines = shown(run_underlay("whatif", "-f", "big.yaml", "--fail", "Switch/tor-3a").stdout)
    assert lines[:2] == ["Nothing is cut off.", "ECMP width 2 -> 1 in rack-3."]
    assert [line.split()[0] for line in lines[6:10]] == ["rack-3"] * 4
    assert lines[-1] == "36 racks and pools as before"


def test_the_benchmark_measures_what_it_says() -> None:
    figures = {figure.key: figure.median for figure in measure(Snapshot(fabric(nodes=20, racks=5, reflectors=2)))}
    parts = ("graphS", "modelS", "oneFailureS", "everyFailureS")
    assert figures["totalS"] == pytest.approx(sum(figures[part] for part in parts))
    # 20 nodes, 10 switches, 2 reflectors, 4 spines, 5 racks, 40 links to nodes and 40 to spines.
    assert figures["failures"] == 20 + 10 + 2 + 4 + 5 + 40 + 40


@pytest.mark.parametrize(("nodes_", "racks"), [(513, 2), (10, 2001)])
def test_a_fabric_that_does_not_fit_its_addresses_is_refused(nodes_: int, racks: int) -> None:
    with pytest.raises(ValueError, match="at most"):
        fabric(nodes=nodes_, racks=racks)
