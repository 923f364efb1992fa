"""The lab's own arithmetic: Nodes from a topology, and when a lab has converged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from containerlab.node_addresses import addresses_of
from containerlab.topology import Node
from peering.compile import plan
from peering.problems import errors
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.snapshot import Snapshot
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from tests.unit.samples import dual_tor, nodes, sample
from underlay.fabric_lab import Convergence, FabricLab, node_resource, read_topology, topology_path
from underlay.output import Refused


def fabric(folder: Path, topology: str = "dual-tor") -> FabricLab:
    return FabricLab(topology, run_dir=folder)


def with_exec(*lines: str) -> Node:
    topology = read_topology(topology_path("dual-tor"))
    return replace(topology.nodes["node-1"], exec=lines)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ip addr add 10.0.0.1/31 dev eth1", {"eth1": ("10.0.0.1/31",)}),
        ("ip -6 addr add fd00::1/127 dev eth1", {"eth1": ("fd00::1/127",)}),
        ("ip address replace 10.0.0.1 dev lo", {"lo": ("10.0.0.1/32",)}),
        ("ip a add FD00:0::1/128 dev lo scope global", {"lo": ("fd00::1/128",)}),
        ("ip addr del 10.0.0.1/31 dev eth1", {}),
        ("ip route add default via 10.0.0.1", {}),
        ("sysctl -w net.ipv4.ip_forward=1", {}),
    ],
)
def test_addresses_of_one_line(line: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert addresses_of(with_exec(line)) == expected


def test_addresses_keep_the_order_of_their_lines() -> None:
    node = with_exec(
        "ip addr add 10.0.0.1/31 dev eth1", "ip addr add 10.9.9.9/32 dev lo", "ip a add fd00::1/127 dev eth1"
    )
    assert addresses_of(node) == {"eth1": ("10.0.0.1/31", "fd00::1/127"), "lo": ("10.9.9.9/32",)}


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(Refused, match=r"error: node-1 exec: '10\.0\.0\.1/33' does not appear to be"):
        node_resource(with_exec("ip addr add 10.0.0.1/33 dev eth1"))


@pytest.mark.parametrize("topology", ["dual-tor", "dual-tor-ibgp", "as-per-cluster"])
def test_the_nodes_of_a_shipped_topology_fit_its_sample(tmp_path: Path, topology: str) -> None:
    found = [node_resource(node) for node in fabric(tmp_path, topology).nodes()]
    compiled = plan(Snapshot([*sample(topology), *found]))
    assert [problem.line() for problem in compiled.problems] == []
    assert {name: len(speaker.sessions) for name, speaker in compiled.speakers.items()} == dict.fromkeys(
        ["node-1", "node-2", "node-3", "node-4"], 4
    )
    assert [r.to_document()["spec"] for r in found] == [r.to_document()["spec"] for r in nodes()]


def test_a_node_that_is_declared_stays_as_it_is(tmp_path: Path) -> None:
    """The topology gives the others."""
    file = tmp_path / "declared.yaml"
    file.write_text(
        "apiVersion: underlay.io/v1alpha1\nkind: Switch\nmetadata: {name: tor-1a}\nspec: {asNumber: 65011}\n---\n"
        "apiVersion: underlay.io/v1alpha1\nkind: Node\nmetadata: {name: node-1}\nspec: {bgp: {asNumber: 4200000001}}\n"
    )

    async def declared() -> dict[str, Any]:
        store = SqliteStore(tmp_path / "store.db")
        await FabricLab("dual-tor", run_dir=tmp_path, files=[file])._declare(store)
        found = {r.name: r.to_document()["spec"] for r in (await load(store, ("Node",)))[0]}
        await store.close()
        return found

    found = asyncio.run(declared())
    assert sorted(found) == ["node-1", "node-2", "node-3", "node-4"]
    assert found["node-1"] == {"bgp": {"asNumber": 4200000001}}
    assert found["node-2"]["bgp"]["ipv4Address"] == "10.0.11.2/32"


@pytest.mark.parametrize("url", [None, "kubernetes:somewhere"])
def test_every_process_of_a_lab_is_given_the_same_store_its_own_or_the_one_it_was_told(
    tmp_path: Path, url: str | None
) -> None:
    lab = FabricLab("reflectors", run_dir=tmp_path, store=url)
    daemons = [daemon for of_node in lab._daemons().values() for daemon in of_node]
    assert {daemon.name for daemon in daemons} == {"speaker", "reflector", "controller"}
    given = {daemon.argv[daemon.argv.index("--store") + 1] for daemon in daemons}
    assert given == {url or f"sqlite:{tmp_path}/reflectors/store.db"}


@pytest.mark.parametrize("text", ["no-such-lab", "/", ""])
def test_what_is_no_topology_names_those_that_are_shipped(text: str) -> None:
    with pytest.raises(Refused, match=r"is no topology \(a \.clab\.yml file, or one of: .*dual-tor, .*dual-tor-ibgp"):
        topology_path(text)


def test_a_topology_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.clab.yml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match="cannot be read: not UTF-8"):
        read_topology(file)


def statuses(change: Callable[[str, PeerStatus], PeerStatus | None]) -> list[Resource]:
    """What every speaker of a converged dual-tor would report, each row passed through `change`."""
    found = []
    for number, (name, speaker) in enumerate(sorted(plan(dual_tor()).speakers.items())):
        rows = []
        for session in speaker.sessions:
            fields: dict[str, Any] = {
                "session": session.name,
                "peer": session.peer,
                "peer_address": session.peer_address,
                "peer_asn": session.peer_asn,
                "state": "Established",
                "since": 1.0,
                "received": 3,
                "accepted": 3,  # the default route and a block of each of the two nodes of the other rack
                "announced": 2,
            }
            row = change(name, PeerStatus.model_validate(fields))
            rows += [row] if row else []
        blocks = (f"10.244.{number}.0/26", f"fd00:10:244::{number}:0/122")
        spec = BGPNodeStatusSpec(node=name, reported=1.0, sessions=tuple(rows), blocks=blocks)
        found.append(Resource("BGPNodeStatus", name, spec))
    return found


def convergence(folder: Path, reports: list[Resource]) -> Convergence:
    async def work() -> Convergence:
        store = SqliteStore(folder / "store.db")
        for resource in (*dual_tor(), *reports):
            await put(store, resource)
        found = await fabric(folder).convergence(store)
        await store.close()
        return found

    return asyncio.run(work())


def test_a_lab_in_which_all_is_there_has_converged(tmp_path: Path) -> None:
    found = convergence(tmp_path, statuses(lambda _, row: row))
    assert (found.established, found.planned, found.missing, found.done) == (16, 16, (), True)


@pytest.mark.parametrize(
    ("change", "established", "said"),
    [
        ({"state": "Idle", "reason": "refused"}, 15, "node-3 tor-2a-ipv4: refused"),
        (None, 15, "node-3 tor-2a-ipv4: no status yet"),
        ({"accepted": 2}, 16, "node-3 tor-2a-ipv4: 2 of 3 routes"),
        ({"announced": 0}, 16, "node-3 tor-2a-ipv4: 3 of 3 routes"),
    ],
)
def test_a_lab_in_which_something_is_missing_says_what(
    tmp_path: Path, change: dict[str, object] | None, established: int, said: str
) -> None:
    def one(node: str, row: PeerStatus) -> PeerStatus | None:
        if (node, row.session) != ("node-3", "tor-2a-ipv4"):
            return row
        return None if change is None else row.model_copy(update=change)

    found = convergence(tmp_path, statuses(one))
    assert (found.established, found.missing, found.done) == (established, (said,), False)


def test_a_lab_without_reports_has_everything_missing(tmp_path: Path) -> None:
    found = convergence(tmp_path, [])
    assert (found.established, found.planned, len(found.missing)) == (0, 16, 16)


def test_a_switch_that_no_daemon_here_can_be_is_told(tmp_path: Path) -> None:
    resources = [
        replace(r, spec=r.spec.model_copy(update={"platform": "eos"})) if r.ref == "Switch/tor-1a" else r
        for r in dual_tor()
    ]
    snapshot = Snapshot(resources)
    with pytest.raises(Refused) as refused:
        fabric(tmp_path)._switch_files(plan(snapshot), snapshot)
    (problem,) = refused.value.problems
    assert (problem.code, problem.object) == ("lab-cannot-run", "Switch/tor-1a")
    assert "no daemon of eos" in problem.line()
    assert "bird" in problem.hint


@pytest.mark.parametrize(
    ("platform", "path", "text"),
    [
        ("frr", "etc/frr/frr.conf", "hostname tor-1a\n"),
        ("bird", "etc/bird/bird.conf", "protocol device"),
        ("gobgp", "etc/gobgp/gobgpd.yml", "neighbors:"),
        ("openbgpd", "etc/bgpd/bgpd.conf", "AS 65011"),
    ],
)
def test_each_daemon_reads_its_own_file(tmp_path: Path, platform: str, path: str, text: str) -> None:
    resources = [
        replace(r, spec=r.spec.model_copy(update={"platform": platform})) if r.ref == "Switch/tor-1a" else r
        for r in dual_tor()
    ]
    snapshot = Snapshot(resources)
    files = fabric(tmp_path)._switch_files(plan(snapshot), snapshot)
    assert list(files["tor-1a"]) == [path]
    assert text in files["tor-1a"][path]
    assert list(files["tor-1b"]) == ["etc/frr/frr.conf"]


def test_a_lab_of_another_kind_is_refused_with_a_way_out() -> None:
    with pytest.raises(Refused) as refused:
        read_topology(topology_path("dual-tor-srlinux"))
    found = errors(refused.value.problems)
    assert [(p.code, p.path) for p in found] == [
        ("unsupported-kind", f"topology.nodes.{tor}.kind") for tor in ("tor-1a", "tor-1b", "tor-2a", "tor-2b")
    ]
    assert all("lab generate --kind frr" in problem.line() for problem in found)


def test_a_generated_topology_has_its_declaration_beside_it(tmp_path: Path) -> None:
    assert fabric(tmp_path, "unnumbered").declaration[0].name == "declaration.yaml"
    assert fabric(tmp_path, "dual-tor").declaration[0].name == "dual-tor"
