"""Changes of the declaration while the fabric runs: the difference is printed, and only it happens."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.lab.running_lab import RunningLab, wait_until
from tests.unit.command_line import run_underlay
from underlay.fabric_lab import FabricLab, read_topology

ERRORS = Path(__file__).parent.parent / "errors"

NODE_5 = {
    "group": "k8s-node",
    "labels": {"rack": "rack-1"},
    "exec": [
        "ip addr add 10.0.11.3/32 dev lo",
        "ip -6 addr add fd00:0:11::3/128 dev lo",
        "ip addr add 10.1.1.5/31 dev eth1",
        "ip -6 addr add fd00:1:1::5/127 dev eth1",
        "ip addr add 10.1.2.5/31 dev eth2",
        "ip -6 addr add fd00:1:2::5/127 dev eth2",
    ],
}
TOR_PORTS = {
    "tor-1a": ["ip addr add 10.1.1.4/31 dev eth5", "ip -6 addr add fd00:1:1::4/127 dev eth5"],
    "tor-1b": ["ip addr add 10.1.2.4/31 dev eth5", "ip -6 addr add fd00:1:2::4/127 dev eth5"],
}
MANIFEST_5 = """
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {name: node-5, labels: {rack: rack-1}}
spec:
  bgp: {ipv4Address: 10.0.11.3/32, ipv6Address: 'fd00:0:11::3/128'}
  uplinks:
    - {interface: eth1, addresses: [10.1.1.5/31, 'fd00:1:1::5/127']}
    - {interface: eth2, addresses: [10.1.2.5/31, 'fd00:1:2::5/127']}
"""


def flapped(before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    """Sessions of before that were established again, or are gone."""
    return {key for key in before if after.get(key) != before[key]}


def has_blocks(lab: RunningLab, node: str, count: int) -> bool:
    return len(lab.blocks(node)) == count


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tmp_path / "change.yaml"


@pytest.fixture
def larger(lab: RunningLab, tmp_path: Path) -> Iterator[FabricLab]:
    """The lab's topology with node-5 cabled to both switches of rack-1."""
    document = yaml.safe_load(lab.topology_file.read_text())
    nodes, links = document["topology"]["nodes"], document["topology"]["links"]
    nodes["node-5"] = NODE_5
    for port, (switch, lines) in enumerate(TOR_PORTS.items(), start=1):
        nodes[switch]["exec"] += lines
        ends = [{"node": switch, "interface": "eth5"}, {"node": "node-5", "interface": f"eth{port}"}]
        links.append({"type": "veth", "mtu": 9000, "endpoints": ends})
    file = tmp_path / "larger.clab.yml"
    (tmp_path / "configs").symlink_to(lab.topology_file.parent / "configs")
    file.write_text(yaml.safe_dump(document))
    original = lab.fabric
    lab.fabric = FabricLab(str(file), name=lab.name, run_dir=lab.run_dir)
    yield lab.fabric
    lab.fabric = original
    lab.up()
    assert [holder for holder in lab.holders().values() if "node-5" in holder] == []


def test_a_fifth_node_comes_and_goes_and_no_other_session_notices(
    lab: RunningLab, larger: FabricLab, manifest: Path
) -> None:
    before = lab.all_connections()
    manifest.write_text(MANIFEST_5)
    applied = lab.underlay("apply", "-f", str(manifest))
    assert applied.returncode == 0, applied.stderr
    changes = [line for line in applied.stdout.splitlines() if line[0] in "+-~"]
    assert len(changes) == 8
    assert {line[0] for line in changes} == {"+"}
    assert all("node-5" in line for line in changes)

    lab.up()
    blocks = lab.blocks("node-5")
    assert len(blocks) == 2
    assert blocks <= set(lab.routes_from_nodes("tor-1a")) & set(lab.routes_from_nodes("tor-1b"))
    assert flapped(before, lab.all_connections()) == set()

    removed = lab.underlay("delete", "node", "node-5")
    assert removed.returncode == 0, removed.stderr
    assert {line[0] for line in removed.stdout.splitlines() if "node-5" in line and "<->" in line} == {"-"}
    wait_until("node-5's blocks are withdrawn", lambda: blocks.isdisjoint(lab.routes_from_nodes("tor-1a")), 15)
    wait_until("node-5's blocks are freed", lambda: lab.blocks("node-5") == set(), 20)
    assert flapped(before, lab.all_connections()) == set()


def test_a_new_pool_gives_every_node_a_block_without_touching_a_session(lab: RunningLab, manifest: Path) -> None:
    before, had = lab.all_connections(), lab.blocks("node-1")
    manifest.write_text(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: more}\n"
        "spec: {cidr: 10.245.0.0/16, blockSize: 27}\n"
    )
    applied = lab.underlay("apply", "-f", str(manifest))
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout == "IPPool/more created\n"
    for node in lab.nodes():
        wait_until(f"{node} has a block of the new pool", partial(has_blocks, lab, node, 3))
    new = lab.blocks("node-1") - had
    assert new.isdisjoint(lab.routes_from_nodes("tor-1a")), "the switch refuses what it was not told to accept"
    lab.up()
    wait_until("the ToRs accept it", lambda: new <= set(lab.routes_from_nodes("tor-1a")))
    wait_until("the other rack has it", lambda: new <= set(lab.learned_routes("node-3", 4)))
    assert lab.underlay("delete", "ippool", "more").returncode == 0
    for node in lab.nodes():
        wait_until(f"the empty block of {node} is freed with its pool", partial(has_blocks, lab, node, 2))
    lab.up()
    assert flapped(before, lab.all_connections()) == set()


#: In a lab of four nodes one switch has a quarter of the sessions, and a rack half of them.
MANY = ("--max-loss", "60")


def test_another_as_of_a_switch_restarts_that_switch_only(lab: RunningLab, manifest: Path) -> None:
    before = lab.all_connections()
    original = lab.underlay("get", "switch", "tor-2b", "-o", "json").stdout
    changed = json.loads(original)
    changed["spec"]["asNumber"] = 65029
    manifest.write_text(json.dumps(changed))
    try:
        applied = lab.underlay("apply", "-f", str(manifest), *MANY)
        assert applied.returncode == 0, applied.stderr
        lines = [line for line in applied.stdout.splitlines() if line.startswith("~")]
        assert all("65022 -> 65029" in line and "restarts: " in line for line in lines)
        assert {line.split()[1] for line in lines} == {"node/node-3", "node/node-4", "switch/tor-2b"}
        lab.up()
        assert {s.local_asn for s in lab.plan().switches["tor-2b"].sessions} == {65029}
        peers = lab.summary("tor-2b")
        assert {p["state"] for p in peers.values()} == {"Established"}
        assert {p["as"] for p in lab.vtysh("tor-2b", "show bgp summary json").values()} == {65029}
        # tor-2b's own counters begin anew with its new BGP instance; nobody else's move.
        touched = {key for key in flapped(before, lab.all_connections()) if key[0] != "tor-2b"}
        assert touched == set()
    finally:
        manifest.write_text(original)
        assert lab.underlay("apply", "-f", str(manifest), *MANY).returncode == 0
        lab.up()


@pytest.mark.parametrize("gtsm", [False, True], ids=["password", "password-and-ttl-security"])
def test_a_password_on_one_rack_restarts_that_rack_only(lab: RunningLab, manifest: Path, gtsm: bool) -> None:
    before = lab.all_connections()
    original = lab.underlay("get", "rack", "rack-2", "-o", "json").stdout
    changed = json.loads(original)
    changed["spec"]["password"] = {"secretKeyRef": {"name": "rack-2", "key": "bgp"}}
    changed["spec"]["ttlSecurity"] = gtsm
    password = secrets.token_urlsafe(24)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "rack-2"},
        "stringData": {"bgp": password},
    }
    manifest.write_text(json.dumps({"kind": "List", "items": [secret, changed]}))
    try:
        applied = lab.underlay("apply", "-f", str(manifest), *MANY)
        assert applied.returncode == 0, applied.stderr
        assert "password set" in applied.stdout
        assert {line.split()[1] for line in applied.stdout.splitlines() if line.startswith("~")} == {
            "node/node-3", "node/node-4", "switch/tor-2a", "switch/tor-2b",
        }  # fmt: skip
        lab.up()
        after = lab.all_connections()
        rack_2 = {k for k in before if k[0] in ("tor-2a", "tor-2b") and not k[1].startswith(("10.254", "fd00:fe"))}
        assert flapped(before, after) == rack_2
        configured = lab.fabric.lab.node_dir("tor-2a") / "etc/frr/frr.conf"
        assert password in configured.read_text()
        assert configured.stat().st_mode & 0o007 == 0
        assert password not in everything_shown(lab, applied.stdout + applied.stderr)
    finally:
        manifest.write_text(original)
        assert lab.underlay("apply", "-f", str(manifest), *MANY).returncode == 0
        lab.up()
        assert lab.underlay("delete", "secret", "rack-2").returncode == 0


def everything_shown(lab: RunningLab, said: str) -> str:
    """What people, logs, status and process lists show of the lab."""
    commands = (("status",), ("plan", "-o", "json"), ("render",), ("get", "secret", "rack-2", "-o", "yaml"))
    said += "".join(done.stdout + done.stderr for done in (lab.underlay(*c) for c in commands))
    said += "".join(log.read_text(errors="replace") for log in lab.fabric.lab.run_dir.rglob("*.log"))
    for node in lab.fabric.topology.nodes:
        for pid in lab.pids(node):
            said += Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return said


def test_bad_manifests_are_refused_whole_and_change_nothing(lab: RunningLab) -> None:
    before, store = lab.all_connections(), lab.underlay("get", "switches", "-o", "json").stdout
    cases = sorted(ERRORS.glob("*.yaml"))
    assert len(cases) >= 20
    for case in cases:
        # In this process: seventy starts of Python would be most of the test's time.
        done = run_underlay("apply", "-f", str(case), "--store", lab.fabric.store_url)
        assert done.exit_code == 1, case.name
        assert done.stdout == ""
        assert done.stderr.endswith("nothing was changed\n")
    assert lab.underlay("get", "switches", "-o", "json").stdout == store
    assert lab.all_connections() == before


def test_the_topology_is_the_one_that_is_shipped(lab: RunningLab) -> None:
    assert set(read_topology(lab.topology_file).nodes) == set(lab.fabric.topology.nodes)
