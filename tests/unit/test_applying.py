"""`apply` and `delete` guard the fabric: what they say, what they refuse, and all of a change or nothing of it."""

from __future__ import annotations

import multiprocessing
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from peering.resources.catalog import UNDERLAY
from peering.snapshot import Snapshot
from peering.store import sqlite
from peering.store.protocol import Conflict
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import node, sample
from tests.unit.shell import FABRIC, Shell
from underlay import applying

REFLECTOR_LABEL = "node-role.kubernetes.io/master"
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def document(kind: str, name: str, spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"apiVersion": UNDERLAY, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}


def declared(shell: Shell) -> dict[str, int]:
    """Every object of the store with its version."""
    with sqlite3.connect(shell.path) as db:
        rows = db.execute("SELECT kind || '/' || name, version FROM objects WHERE document IS NOT NULL").fetchall()
    return dict(rows)


# The loss of sessions


def calico_cluster(shell: Shell, clients: int = 6) -> Shell:
    """Nodes that peer with the reflectors among them, which a label tells."""
    named = [f"node-{number}" for number in range(1, clients + 1)]
    nodes = [
        document("Node", name, {"bgp": {"ipv4Address": f"10.0.0.{number}/24"}}, role="worker")
        for number, name in enumerate(named, start=1)
    ]
    reflectors = [
        document(
            "Node",
            f"rr-{number}",
            {"bgp": {"ipv4Address": f"10.0.1.{number}/24", "routeReflectorClusterID": "244.0.0.1"}},
            **{REFLECTOR_LABEL: ""},
        )
        for number in (1, 2)
    ]
    peer = {"nodeSelector": "role == 'worker'", "peerSelector": f"has({REFLECTOR_LABEL})"}
    configuration = {"asNumber": 64512, "nodeToNodeMeshEnabled": False}
    shell.good(
        "apply", "-f",
        shell.manifest(
            "cluster.yaml", *nodes, *reflectors,
            document("BGPPeer", "reflectors", peer),
            document("BGPConfiguration", "default", configuration),
        ),
    )  # fmt: skip
    return shell


def relabelled(shell: Shell, *names: str, **labels: str) -> str:
    """A manifest of Nodes of the store with other labels."""
    documents = []
    for name in names:
        (one,) = [d for d in shell.data("get", "nodes")["items"] if d["metadata"]["name"] == name]
        one["metadata"]["labels"] = labels
        documents.append(one)
    return shell.manifest("relabelled.yaml", *documents)


def test_the_first_apply_loses_nothing(shell: Shell) -> None:
    calico_cluster(shell)
    assert len(shell.data("plan")["speakers"]["node-1"]["sessions"]) == 2


def test_labels_that_leave_a_peer_selector_without_a_node_are_refused(shell: Shell) -> None:
    """Nobody deletes anything: an upgrade takes a label away (Kubernetes 1.24 did), and every session goes with it."""
    before = declared(calico_cluster(shell))
    change = relabelled(shell, "rr-1", "rr-2", role="reflector")
    result = shell("apply", "-f", change)
    assert result.exit_code == 1
    assert f"BGPPeer/reflectors spec.peerSelector: 'has({REFLECTOR_LABEL})' selects no node" in result.stderr
    assert result.stderr.splitlines()[-2:] == [
        "error: plan: 12 of 12 sessions would go down (100 %): 12 removed, 0 restarted; the limit is 20 % "
        "(look at selectors and labels, or go in steps; if it is meant: --max-loss 100, or --force)",
        "nothing was changed",
    ]
    assert declared(shell) == before
    assert shell("apply", "--dry-run", "-f", change) == result


def test_labels_that_leave_a_selector_with_few_nodes_are_refused(shell: Shell) -> None:
    """No selector is empty and nothing is wrong by itself: only the count tells."""
    before = declared(calico_cluster(shell))
    change = relabelled(shell, *(f"node-{number}" for number in range(2, 7)), role="other")
    result = shell("apply", "-f", change)
    assert result.exit_code == 1
    assert "error: plan: 10 of 12 sessions would go down (83.4 %): 10 removed, 0 restarted;" in result.stderr
    assert result.stderr.count("error: ") == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "- node/node-2 reflectors-rr-1-ipv4: 10.0.0.2 AS64512 <-> 10.0.1.1 AS64512"
    assert len([line for line in lines if line.startswith("- node/rr-2 ")]) == 5
    assert lines[-1] == "sessions: 0 added, 0 changed, 0 restart, 10 removed of 12"
    assert declared(shell) == before
    assert shell("apply", "--dry-run", "-f", change) == result


def test_what_is_refused_passes_with_force_or_a_higher_limit(shell: Shell) -> None:
    calico_cluster(shell)
    change = relabelled(shell, "rr-1", role="reflector")
    assert "6 of 12 sessions would go down (50 %)" in shell("apply", "-f", change, "--max-loss", "49.9").stderr
    assert shell.good("apply", "-f", change, "--max-loss", "50", "--dry-run")
    forced = shell("apply", "-f", change, "--force")
    assert forced.exit_code == 0
    assert "sessions: 0 added, 0 changed, 0 restart, 6 removed of 12\n" in forced.stdout
    assert (
        "warning: plan: 6 of 12 sessions would go down (50 %): 6 removed, 0 restarted; the limit is 20 %\n"
        in forced.stderr
    )
    assert len(shell.data("plan")["speakers"]["node-1"]["sessions"]) == 1


def test_the_limit_may_stand_in_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    calico_cluster(shell)
    monkeypatch.setenv("UNDERLAY_MAX_LOSS", "8")
    result = shell("delete", "node", "node-1")
    assert "2 of 12 sessions would go down (16.7 %): 2 removed, 0 restarted; the limit is 8 %" in result.stderr
    assert shell("delete", "node", "node-1", "--max-loss", "17").exit_code == 0


def test_deleting_a_peer_is_guarded_as_well(shell: Shell) -> None:
    before = declared(calico_cluster(shell))
    result = shell("delete", "bgppeer", "reflectors")
    assert (result.exit_code, "12 of 12 sessions" in result.stderr, declared(shell)) == (1, True, before)
    assert shell.good("delete", "bgppeer", "reflectors", "--force").endswith("BGPPeer/reflectors deleted\n")


def test_sessions_that_restart_count_with_those_that_go(shell: Shell) -> None:
    shell.with_nodes()
    result = shell("apply", "-f", shell.edited("Rack", "rack-1", holdTime=30))
    assert "8 of 32 sessions would go down (25 %): 0 removed, 8 restarted; the limit is 20 %" in result.stderr
    assert result.stdout.count("restarts: hold time 9 -> 30") == 16
    passing = shell.good("apply", "-f", shell.edited("Rack", "rack-1", maxPrefixes=50))
    assert "sessions: 0 added, 8 changed, 0 restart, 0 removed of 32\n" in passing


def test_another_password_and_a_missing_one_are_losses_that_the_plan_does_not_show(shell: Shell) -> None:
    """The plan has a reference, which stays; the sessions do not."""

    def secret(value: str) -> str:
        return shell.manifest(
            "secret.yaml",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "stringData": {"bgp": value}},
        )

    first, second = secrets.token_hex(8), secrets.token_hex(8)
    shell.with_nodes()
    rack = shell.edited("Rack", "rack-1", password={"secretKeyRef": {"name": "k", "key": "bgp"}})
    shell.good("apply", "--force", "-f", secret(first), "-f", rack)
    rotated = shell("apply", "-f", secret(second))
    deleted = shell("delete", "secret", "k")
    for result in (rotated, deleted):
        assert result.exit_code == 1
        assert "8 of 32 sessions would go down (25 %): 0 removed, 8 restarted" in result.stderr
        assert result.stdout.count("(restarts: password value changed)") == 16
        assert not {first, second} & set(re.findall(r"\w+", result.stdout + result.stderr))
    assert shell.good("apply", "-f", secret(first)) == "Secret/k unchanged\n"
    assert "8 restart" in shell.good("apply", "-f", secret(second), "--max-loss", "25")


def test_the_same_peer_under_another_name_is_no_loss(shell: Shell) -> None:
    calico_cluster(shell)
    (peer,) = shell.data("get", "bgppeers")["items"]
    said = shell.good("apply", "-f", shell.manifest("second.yaml", peer | {"metadata": {"name": "a-better-name"}}))
    said += shell.good("delete", "bgppeer", "reflectors")
    assert said.count("0 added, 12 changed, 0 restart, 0 removed of 12\n") == 1
    assert [d["metadata"]["name"] for d in shell.data("get", "bgppeers")["items"]] == ["a-better-name"]


# Errors


def test_errors_are_refused_without_a_word_about_sessions_and_pass_with_force(shell: Shell) -> None:
    before = declared(shell.with_nodes())
    change = shell.edited("Rack", "rack-1", switches=["tor-1a", "nowhere"], maxPrefixes=10)
    assert "error: Rack/rack-1 spec.switches[1]: there is no Switch/nowhere" in shell.bad("apply", "-f", change)
    assert declared(shell) == before
    result = shell("apply", "-f", change, "--force")
    assert result.exit_code == 0
    assert "there is no Switch/nowhere" in result.stderr
    assert result.stdout.endswith("Rack/rack-1 configured\n")
    assert shell("lint").exit_code == 1


@pytest.mark.parametrize("manifest", ["kind: [", "kind: Rack\nmetadata: {name: x}\nspec: {holdTme: 1}\n"])
def test_force_lets_nothing_pass_that_cannot_be_read(shell: Shell, manifest: str) -> None:
    (shell.folder / "bad.yaml").write_text(manifest)
    assert shell.bad("apply", "--force", "-f", str(shell.folder / "bad.yaml")).endswith("nothing was changed\n")


def test_an_error_whose_hint_changes_is_not_a_new_one(shell: Shell) -> None:
    """The hint names the switches that there are; another switch does not make the old mistake a new one."""
    shell.with_nodes()
    shell.good("apply", "--force", "-f", shell.edited("Rack", "rack-1", switches=["tor-1a", "tor-1b", "nowhere"]))
    other = document("Switch", "tor-9", {"asNumber": 65099, "addresses": ["10.0.9.9/32"]})
    assert shell.good("apply", "-f", shell.manifest("other.yaml", other)) == "Switch/tor-9 created\n"


def test_what_cannot_be_read_any_more_can_be_deleted(shell: Shell) -> None:
    shell.with_nodes()

    async def spoil() -> None:
        store = SqliteStore(shell.path)
        await store.create("IPPool", "newer", {"apiVersion": "underlay.io/v9", "kind": "IPPool"})
        await store.close()

    shell.run(spoil())
    assert shell("delete", "ippool", "newer").stdout == "IPPool/newer deleted\n"
    assert shell("get", "ippools").stderr == ""


# What is printed


def test_few_sessions_are_listed_and_many_are_counted(shell: Shell) -> None:
    few = shell.good("apply", "-f", FABRIC).splitlines()
    assert len([line for line in few if line.startswith("+ switch/")]) == 16
    assert "sessions: 16 added, 0 changed, 0 restart, 0 removed of 0" in few
    manifest = shell.manifest("nodes.yaml", *(node(n, 1, n).to_document() for n in range(1, 11)))
    many = shell.good("apply", "-f", manifest).splitlines()
    assert many[0] == "+ Rack/rack-1: 80 ends added (40 node, 40 switch)"
    assert len([line for line in many if " <-> " in line]) == 10
    assert many[11:13] == [
        "... and 70 more (--verbose lists all)",
        "sessions: 40 added, 0 changed, 0 restart, 0 removed of 16",
    ]
    everything = shell.good("delete", "rack", "rack-1", "--force", "--verbose")
    assert len([line for line in everything.splitlines() if line.startswith("- ")]) == 80
    assert "more (" not in everything


def test_of_many_those_that_go_down_are_shown_first(shell: Shell) -> None:
    manifest = shell.manifest("nodes.yaml", *(node(n, 1, n).to_document() for n in range(1, 11)))
    shell.good("apply", "-f", FABRIC, "-f", manifest)
    leaving = [node(n, 1, n).to_document() for n in (9, 10)]
    for one in leaving:
        one["metadata"]["labels"] = {"rack": "none"}
    coming = [node(n, 1, n).to_document() for n in range(11, 20)]
    lines = shell.good("apply", "-f", shell.manifest("change.yaml", *leaving, *coming)).splitlines()
    assert lines[:2] == [
        "- Rack/rack-1: 16 ends removed (8 node, 8 switch)",
        "+ Rack/rack-1: 72 ends added (36 node, 36 switch)",
    ]
    assert all(line.startswith("- ") for line in lines[2:12])


# Two at once, and the end of the process


def conflicting(shell: Shell, number: int) -> str:
    """Two Nodes with one address: each is right by itself."""
    one = node(number, 1, 7).to_document()
    return shell.manifest(f"node-{number}.yaml", one)


def apply_after_meeting(manifest: str, store: str, meeting: Barrier, results: Any) -> None:
    """Runs `apply` in this process, which reads its snapshot and waits until the other has read its own."""
    judge, met = applying.judge, False

    def judge_together(before: Snapshot, after: Snapshot) -> applying.Judgement:
        nonlocal met
        if not met:
            met = True
            meeting.wait(30)
        return judge(before, after)

    applying.judge = judge_together
    results.put((manifest, run_underlay("apply", "-f", manifest, "--store", store)))


def test_two_at_once_are_judged_one_on_the_other(shell: Shell) -> None:
    """Two processes read the same store, and each adds what the other's makes wrong: one of them is refused."""
    shell.with_nodes()
    results: Any = SPAWN.Queue()
    meeting = SPAWN.Barrier(2)
    manifests = [conflicting(shell, 7), conflicting(shell, 8)]
    appliers = [
        SPAWN.Process(target=apply_after_meeting, args=(manifest, f"sqlite:{shell.path}", meeting, results))
        for manifest in manifests
    ]
    for applier in appliers:
        applier.start()
    found: dict[str, Result] = dict(results.get(timeout=60) for _ in appliers)
    for applier in appliers:
        applier.join(30)
    assert sorted(result.exit_code for result in found.values()) == [0, 1]
    (refused,) = [result for result in found.values() if result.exit_code]
    assert re.search(r"^error: Node/node-[78] .*10\.0\.11\.7", refused.stderr, re.MULTILINE)
    assert refused.stderr.endswith("nothing was changed\n")
    assert len({"Node/node-7", "Node/node-8"} & declared(shell).keys()) == 1
    assert shell("lint").exit_code == 0


def test_the_second_of_two_that_do_not_conflict_is_judged_again_and_written(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.with_nodes()
    judge, first = applying.judge, [True]
    other = shell.edited("IPPool", "pods-v4", disabled=True)

    def judge_while_another_writes(before: Snapshot, after: Snapshot) -> applying.Judgement:
        if first:
            first.pop()
            command = [sys.executable, "-m", "underlay", "apply", "-f", other, "--store", f"sqlite:{shell.path}"]
            assert subprocess.run(command, check=True, capture_output=True).stdout == b"IPPool/pods-v4 configured\n"
        return judge(before, after)

    monkeypatch.setattr(applying, "judge", judge_while_another_writes)
    manifest = shell.manifest("node.yaml", node(7, 1, 7).to_document())
    assert shell.good("apply", "-f", manifest).endswith("Node/node-7 created\n")
    assert first == []
    assert shell.data("get", "ippool", "pods-v4")["spec"]["disabled"] is True


def test_a_store_that_changes_all_the_time_is_given_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: SqliteStore, *_: object) -> None:
        raise Conflict("somebody else")

    monkeypatch.setattr(SqliteStore, "apply_all", never)
    assert shell.bad("apply", "-f", FABRIC) == (
        "error: others change the store all the time: try again\nnothing was changed\n"
    )


def kill_at_write(store: str, fatal: int) -> None:
    """Applies the sample and is killed with SIGKILL right after write number `fatal`."""
    put, done = sqlite._put, 0

    def put_and_die(*arguments: Any, **named: Any) -> None:
        nonlocal done
        put(*arguments, **named)
        done += 1
        if done == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlite._put = put_and_die
    run_underlay("apply", "-f", FABRIC, "--store", store)


@pytest.mark.parametrize("fatal", [1, 2, 5, len(sample("dual-tor"))])
def test_killed_at_any_write_nothing_is_there(shell: Shell, fatal: int) -> None:
    """The sample has as many resources as `fatal` goes up to; after the last, only the commit is missing."""
    shell.good("apply", "-f", shell.manifest("node.yaml", node(7, 1, 7).to_document()))
    before = declared(shell)
    applier = SPAWN.Process(target=kill_at_write, args=(f"sqlite:{shell.path}", fatal))
    applier.start()
    applier.join(60)
    assert applier.exitcode == -signal.SIGKILL
    assert declared(shell) == before
    shell.good("apply", "-f", FABRIC)
    assert len(declared(shell)) == len(before) + len(sample("dual-tor"))


def test_a_disk_that_is_full_changes_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.good("apply", "-f", shell.manifest("node.yaml", node(7, 1, 7).to_document()))
    before = declared(shell)
    real, writes = sqlite._put, [0]

    def fill(*arguments: Any) -> None:
        writes[0] += 1
        if writes[0] == 4:
            raise sqlite3.OperationalError("database or disk is full")
        real(*arguments)

    monkeypatch.setattr(sqlite, "_put", fill)
    assert shell.bad("apply", "-f", FABRIC) == f"error: {shell.path}: database or disk is full\n"
    assert declared(shell) == before


# Fields that cannot change


@pytest.mark.parametrize(("field", "value"), [("cidr", "10.250.0.0/16"), ("blockSize", 27)])
def test_a_pool_keeps_its_cidr_and_block_size(shell: Shell, field: str, value: Any) -> None:
    pool = {"cidr": "10.244.0.0/16", "blockSize": 26}
    shell.good("apply", "-f", shell.manifest("pool.yaml", document("IPPool", "pods", pool)))
    before = declared(shell)
    changed = shell.manifest("changed.yaml", document("IPPool", "pods", pool | {field: value}))
    assert f"IPPool/pods spec.{field}: {field} cannot change" in shell.bad("apply", "-f", changed)
    assert declared(shell) == before
    shell.good("apply", "-f", shell.manifest("off.yaml", document("IPPool", "pods", pool | {"disabled": True})))
    assert declared(shell) != before
