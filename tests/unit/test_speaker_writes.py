"""What a speaker's token lets it write: the policy of config/admission, asked by CEL about single and real writes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml

from bgp_speaker.node_status import StatusWriter
from ipam.allocator import Allocator
from ipam.requests import Request
from peering.resources.observed import BGPNodeStatusSpec
from tests.kube_api.cluster import Cluster, run
from tests.kube_api.objects import Happened

Document = dict[str, Any]
_FILE = Path(__file__).parents[2] / "config" / "admission" / "speaker_writes.yaml"
_SPEAKER = "system:serviceaccount:underlay-system:underlay-speaker"
_NODE_NAME = "authentication.kubernetes.io/node-name"


def refusals(resource: str, operation: str, new: Document | None, old: Document | None, user: Document) -> list[str]:
    """What the policy answers, as an API server asks it. A variable that fails is missed only by who reads it."""
    spec = next(yaml.safe_load_all(_FILE.read_text()))["spec"]
    variables: Document = {}
    known = {
        "request": {"operation": operation, "resource": {"resource": resource}, "userInfo": user},
        "object": new,
        "oldObject": old,
        "variables": variables,
    }
    if not all(cel.evaluate(one["expression"], known) for one in spec["matchConditions"]):
        return []
    for one in spec["variables"]:
        with suppress(KeyError, RuntimeError):
            variables[one["name"]] = cel.evaluate(one["expression"], known)
    broken = [one for one in spec["validations"] if cel.evaluate(one["expression"], known) is not True]
    return [one.get("message") or cel.evaluate(one["messageExpression"], known) for one in broken]


def speaker_on(node: str) -> Document:
    return {"username": _SPEAKER, "extra": {_NODE_NAME: [node]}}


def affinity(node: str, **spec: Any) -> Document:
    return {"metadata": {"name": "x"}, "spec": {"node": node, "cidr": "10.0.0.0/29", **spec}}


def report(name: str, node: str) -> Document:
    return {"metadata": {"name": name}, "spec": {"node": node}}


ENDS = {"state": "pendingDeletion"}
BORROWER = {"type": "borrower"}
ALLOWED: list[tuple[str, str, Document | None, Document | None]] = [
    ("bgpnodestatuses", "CREATE", report("a", "a"), None),
    ("bgpnodestatuses", "UPDATE", report("a", "a"), report("a", "a")),
    ("blockaffinities", "CREATE", affinity("a"), None),
    ("blockaffinities", "UPDATE", affinity("a", state="confirmed"), affinity("a")),
    ("blockaffinities", "DELETE", None, affinity("a")),
    ("blockaffinities", "DELETE", None, affinity("a", **BORROWER)),
    ("blockaffinities", "UPDATE", affinity("b", **ENDS), affinity("b", state="confirmed")),
    ("blockaffinities", "UPDATE", affinity("b", type="host", **ENDS), affinity("b", type="host", state="confirmed")),
    ("blockaffinities", "DELETE", None, affinity("b", **ENDS)),
]
REFUSED: list[tuple[str, str, Document | None, Document | None]] = [
    ("bgpnodestatuses", "CREATE", report("b", "b"), None),
    ("bgpnodestatuses", "CREATE", report("b", "a"), None),
    ("bgpnodestatuses", "UPDATE", report("b", "a"), report("b", "b")),
    ("bgpnodestatuses", "UPDATE", report("b", "b"), report("b", "b")),
    ("bgpnodestatuses", "DELETE", None, report("b", "b")),
    ("blockaffinities", "CREATE", affinity("b"), None),
    ("blockaffinities", "CREATE", affinity("b", **ENDS), None),
    ("blockaffinities", "UPDATE", affinity("a", state="confirmed"), affinity("b", state="confirmed")),
    ("blockaffinities", "UPDATE", affinity("b"), affinity("a")),
    ("blockaffinities", "UPDATE", affinity("b", cidr="10.0.0.8/29"), affinity("b")),
    ("blockaffinities", "UPDATE", affinity("b", type="virtual"), affinity("b")),
    ("blockaffinities", "UPDATE", affinity("b", **BORROWER), affinity("b", **BORROWER)),
    ("blockaffinities", "UPDATE", affinity("b", type="virtual", **ENDS), affinity("b", type="virtual")),
    ("blockaffinities", "DELETE", None, affinity("b", state="confirmed")),
    ("blockaffinities", "DELETE", None, affinity("b")),
    ("blockaffinities", "DELETE", None, affinity("b", **BORROWER, **ENDS)),
]


@pytest.mark.parametrize(("resource", "operation", "new", "old"), ALLOWED)
def test_a_speaker_may_write_this(resource: str, operation: str, new: Document | None, old: Document | None) -> None:
    assert refusals(resource, operation, new, old, speaker_on("a")) == []


@pytest.mark.parametrize(("resource", "operation", "new", "old"), REFUSED)
def test_a_speaker_may_not_write_that(
    resource: str, operation: str, new: Document | None, old: Document | None
) -> None:
    assert refusals(resource, operation, new, old, speaker_on("a")) == [
        "a speaker on node a writes only what is of that node"
    ]
    controller = {"username": "system:serviceaccount:underlay-system:underlay-controller"}
    assert refusals(resource, operation, new, old, controller) == []


@pytest.mark.parametrize("extra", [{}, {"extra": {}}, {"extra": {"authentication.kubernetes.io/pod-name": ["p"]}}])
def test_a_token_that_names_no_node_writes_nothing(extra: Document) -> None:
    user = {"username": _SPEAKER, **extra}
    for written in (affinity("a"), affinity("")):
        said = refusals("blockaffinities", "CREATE", written, None, user)
        assert said[0] == "the token of this speaker does not name its node; Kubernetes 1.30 or later is needed"


def judged(cluster: Cluster, node: str) -> list[str]:
    """Every write from now on is asked about, as one of the speaker on this node; what was refused comes here."""
    found: list[str] = []
    objects, happened = cluster.server.objects, cluster.server.objects._happened

    async def judge(event: Happened) -> None:
        plural = event.key[0].partition(".")[0]
        if plural in ("blockaffinities", "bgpnodestatuses"):
            operation = "DELETE" if event.deleted else "UPDATE" if event.before else "CREATE"
            new = None if event.deleted else event.document
            old = event.document if event.deleted else event.before
            found.append(operation)
            found.extend(refusals(plural, operation, new, old, speaker_on(node)))
        await happened(event)

    objects._happened = judge  # type: ignore[method-assign]
    return found


def test_all_that_a_speaker_writes_is_let_in(tmp_path: Path) -> None:
    """Its report, its claims, and the block of another node that stands idle while the pool has no other."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for kind, name, spec in (
                ("Node", "a", {}),
                ("Node", "b", {}),
                ("IPPool", "pods", {"cidr": "10.0.0.0/27", "blockSize": 29}),
            ):
                await cluster.server.put({"kind": kind, "metadata": {"name": name}, "spec": spec})
            first = Allocator(cluster.store(), "a", lambda: 1000.0)
            for number in range(9):
                await first.allocate(Request(f"a-{number}", pod="p"))
            for number in range(9):
                await first.release(f"a-{number}")
            found, store = judged(cluster, "b"), cluster.store()
            await StatusWriter(store, "b").write(BGPNodeStatusSpec(node="b"), 1100.0)
            second = Allocator(store, "b", lambda: 1100.0)
            for number in range(17):
                await second.allocate(Request(f"b-{number}", pod="p"))
            assert set(found) == {"CREATE", "UPDATE", "DELETE"}
            owners = [a.document["spec"]["node"] for a in await store.list("BlockAffinity")]
            assert sorted(owners) == ["a", "b", "b", "b"]

    run(story)
