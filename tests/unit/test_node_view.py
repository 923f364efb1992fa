"""What the store declares for one node."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker import node_view
from bgp_speaker.node_policy import PrefixCommunities, node_policy
from bgp_speaker.node_view import NodeView, ViewReader
from ipam.block_order import affinity_name, borrower_name
from peering.compile import Compiler, plan
from peering.prefixes import pack_prefix
from peering.resource import Resource, parse_resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import SecretKeyRef, Session
from peering.snapshot import Snapshot
from peering.store.protocol import Store
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.samples import dual_tor


def read(resource: dict[str, Any]) -> Resource:
    parsed = parse_resource(resource)
    assert isinstance(parsed, Resource)
    return parsed


def affinity(node: str, cidr: str, state: str) -> Resource:
    return read(
        {
            "apiVersion": "underlay.io/v1alpha1",
            "kind": "BlockAffinity",
            "metadata": {"name": affinity_name(node, cidr)},
            "spec": {"node": node, "cidr": cidr, "state": state},
        }
    )


def with_password() -> Resource:
    """rack-1 with a password by reference."""
    rack = dual_tor().get("Rack", "rack-1")
    assert rack is not None
    document = rack.to_document()
    document["spec"]["password"] = {"secretKeyRef": {"name": "rack-1", "key": "bgp"}}
    return read(document)


def secret(name: str, **values: str) -> Resource:
    return read({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})


def view_of(
    folder: Path,
    resources: Iterable[Resource],
    node: str = "node-1",
    prepare: Callable[[Store], Coroutine[Any, Any, object]] | None = None,
) -> NodeView:
    """The view of a store with these resources, after `prepare`."""

    async def work() -> NodeView:
        store = SqliteStore(folder / "store.db")
        for resource in resources:
            await put(store, resource)
        if prepare is not None:
            await prepare(store)
        view = await ViewReader(store, node).read()
        await store.close()
        return view

    return asyncio.run(work())


def test_the_plan_of_this_node_with_its_node_and_the_pools(tmp_path: Path) -> None:
    view = view_of(tmp_path, dual_tor())
    assert view.plan == plan(dual_tor()).speakers["node-1"]
    assert view.node is not None
    assert (view.node.ref, [pool.name for pool in view.pools]) == ("Node/node-1", ["pods-v4", "pods-v6"])
    assert (view.blocks, view.passwords, view.problems) == ((), {}, ())


def test_a_node_that_is_not_declared_has_neither_plan_nor_node(tmp_path: Path) -> None:
    view = view_of(tmp_path, dual_tor(), "node-9")
    assert (view.plan, view.node) == (None, None)


def test_its_confirmed_blocks_and_no_others(tmp_path: Path) -> None:
    claims = [
        affinity("node-1", "10.244.0.64/26", "confirmed"),
        affinity("node-1", "10.244.0.0/26", "confirmed"),
        affinity("node-1", "10.244.1.0/26", "pending"),
        affinity("node-1", "10.244.2.0/26", "pendingDeletion"),
        affinity("node-2", "10.244.3.0/26", "confirmed"),
    ]
    assert view_of(tmp_path, [*dual_tor(), *claims]).blocks == ("10.244.0.0/26", "10.244.0.64/26")


def borrower(node: str, cidr: str, *addresses: str) -> Resource:
    listed = [{"address": address, "sequence": 7} for address in addresses]
    spec = {"node": node, "cidr": cidr, "type": "borrower", "addresses": listed, "sequence": 9}
    head = {"apiVersion": "underlay.io/v1alpha1", "kind": "BlockAffinity"}
    return read({**head, "metadata": {"name": borrower_name(node, cidr)}, "spec": spec})


def test_what_it_borrows_and_what_others_borrow_of_its_blocks(tmp_path: Path) -> None:
    affinities = [
        affinity("node-1", "10.244.0.0/26", "confirmed"),
        affinity("node-2", "10.244.1.0/26", "confirmed"),
        borrower("node-1", "10.244.1.0/26", "10.244.1.9", "10.244.1.5"),
        borrower("node-1", "10.244.9.0/26", "10.244.9.1"),
        borrower("node-1", "10.244.0.0/26", "10.244.0.8"),
        borrower("node-2", "10.244.0.0/26", "10.244.0.7"),
        borrower("node-3", "10.244.0.0/26", "10.244.0.3"),
        borrower("node-2", "10.244.9.0/26", "10.244.9.2"),
        borrower("node-2", "fd00:10:244::/122", "fd00:10:244::7"),
    ]
    view = view_of(tmp_path, [*dual_tor(), *affinities])
    assert view.blocks == ("10.244.0.0/26",)
    assert view.borrowed == ("10.244.1.5/32", "10.244.1.9/32", "10.244.9.1/32")
    assert view.lent == ("10.244.0.3/32", "10.244.0.7/32")
    other = view_of(tmp_path, (), "node-2")
    assert other.blocks == ("10.244.1.0/26",)
    assert other.borrowed == ("10.244.0.7/32", "10.244.9.2/32", "fd00:10:244::7/128")
    assert other.lent == ("10.244.1.5/32", "10.244.1.9/32")


def test_only_the_passwords_of_its_own_sessions(tmp_path: Path) -> None:
    value = secrets.token_hex(8)
    changed = [
        *dual_tor().with_changes([with_password(), secret("rack-1", bgp=value, other="x"), secret("more", a="b")])
    ]
    mine = view_of(tmp_path, changed)
    assert mine.passwords == {SecretKeyRef("rack-1", "bgp"): value}
    assert value not in repr(mine)
    assert view_of(tmp_path, (), "node-3").passwords == {}


def test_a_password_that_is_missing_or_empty_is_left_out(tmp_path: Path) -> None:
    assert view_of(tmp_path, dual_tor().with_changes([with_password()])).passwords == {}
    assert view_of(tmp_path, [secret("rack-1", other="x")]).passwords == {}
    assert view_of(tmp_path, [secret("rack-1", bgp="")]).passwords == {}


def test_the_errors_of_its_own_are_told_and_neither_warnings_nor_those_of_others(tmp_path: Path) -> None:
    twin = dual_tor().get("Node", "node-1")
    assert twin is not None
    document = twin.to_document()
    document["metadata"]["name"] = "node-2"
    pool = {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": "again"},
        "spec": {"cidr": "10.244.0.0/24", "natOutgoing": True},
    }
    changed = dual_tor().with_changes([read(document), read(pool)])
    assert {problem.code for problem in plan(changed).problems} > {"pool-overlap", "ignored-field"}
    assert view_of(tmp_path, changed).problems == ()
    codes = {problem.code for problem in view_of(tmp_path, (), "node-2").problems}
    assert codes == {"duplicate-address", "duplicate-router-id"}


def test_what_cannot_be_read_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    async def spoil(store: Store) -> None:
        await store.create("IPPool", "newer", {"apiVersion": "underlay.io/v9", "kind": "IPPool", "spec": {}})

    view = view_of(tmp_path, dual_tor(), prepare=spoil)
    assert [problem.object for problem in view.problems] == ["IPPool/newer: IPPool"]
    assert view.plan == plan(dual_tor()).speakers["node-1"]


def bgp_filter(name: str, *rules: dict[str, Any]) -> Resource:
    return read(
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "BGPFilter",
            "metadata": {"name": name},
            "spec": {"importV4": list(rules)},
        }
    )


def configuration(name: str, **spec: Any) -> Resource:
    return read(
        {"apiVersion": "projectcalico.org/v3", "kind": "BGPConfiguration", "metadata": {"name": name}, "spec": spec}
    )


def with_filters(*imports: str, exports: tuple[str, ...] = ()) -> Session:
    return Session(
        name="tor",
        peer="switch/tor",
        source="Rack/r",
        type="ebgp",
        local_address="10.1.0.1",
        local_asn=65101,
        peer_address="10.1.0.2",
        peer_asn=65011,
        import_filters=imports,
        export_filters=exports,
    )


def test_the_policy_has_the_filters_that_its_sessions_name_and_that_exist() -> None:
    reject = {"action": "Reject"}
    snapshot = Snapshot([bgp_filter("a", reject), bgp_filter("b"), bgp_filter("c")])
    policy = node_policy(snapshot, "node-1", [with_filters("a", "gone", exports=("b",))])
    assert policy.filters == {"a": BGPFilterSpec.model_validate({"importV4": [reject]}), "b": BGPFilterSpec()}


NAMED = [{"name": "gold", "value": "65000:1"}]
DEFAULT = {"communities": NAMED, "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["gold", "65000:1:2"]}]}
OWN = {"prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["no-export"]}]}


def test_communities_are_those_of_the_nodes_own_configuration_else_of_the_default() -> None:
    everywhere = (PrefixCommunities(pack_prefix("10.0.0.0/8"), ((65000, 1), (65000, 1, 2))),)
    here = (PrefixCommunities(pack_prefix("10.244.0.0/16"), ((65535, 65281),)),)
    snapshot = Snapshot([configuration("default", **DEFAULT), configuration("node.node-1", **OWN)])
    assert node_policy(snapshot, "node-1", ()).advertisements == here
    assert node_policy(snapshot, "node-2", ()).advertisements == everywhere
    silent = Snapshot([configuration("default", **DEFAULT), configuration("node.node-1", listenPort=1790)])
    assert node_policy(silent, "node-1", ()).advertisements == everywhere
    assert node_policy(Snapshot(), "node-1", ()).advertisements == ()


def test_the_addresses_of_each_uplink() -> None:
    links = (("10.1.1.1", "fd00:1:1::1"), ("10.1.2.1", "fd00:1:2::1"))
    assert node_policy(dual_tor(), "node-1", ()).links == links
    assert node_policy(dual_tor(), "node-9", ()).links == ()


def reading(folder: Path, story: Callable[[Store, ViewReader], Coroutine[Any, Any, None]]) -> None:
    async def work() -> None:
        store = SqliteStore(folder / "store.db")
        for resource in dual_tor():
            await put(store, resource)
        await story(store, ViewReader(store, "node-1"))
        await store.close()

    asyncio.run(work())


def test_where_only_blocks_changed_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Snapshot] = []

    class Counting(Compiler):
        def plan(self, snapshot: Snapshot) -> Any:
            compiled.append(snapshot)
            return super().plan(snapshot)

    monkeypatch.setattr(node_view, "Compiler", Counting)

    async def story(store: Store, reader: ViewReader) -> None:
        first = await reader.read()
        await put(store, affinity("node-1", "10.244.0.0/26", "confirmed"))
        second = await reader.read()
        assert (first.blocks, second.blocks) == ((), ("10.244.0.0/26",))
        assert second.plan is first.plan
        assert len(compiled) == 1
        await store.delete("Node", "node-2")
        await reader.read()
        assert len(compiled) == 2
        document = (await store.get("Node", "node-1")).document
        await store.update("Node", "node-1", {**document, "metadata": {"name": "node-1", "labels": {"rack": "none"}}})
        assert (await reader.read()).plan != first.plan

    reading(tmp_path, story)


def test_in_a_cluster_nodes_that_do_not_matter_are_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are known there only because some peer with each other; these four do not."""
    compiled: list[Snapshot] = []

    class Counting(Compiler):
        def plan(self, snapshot: Snapshot) -> Any:
            compiled.append(snapshot)
            return super().plan(snapshot)

    class Cluster(SqliteStore):
        keeps_statuses = True

    async def story() -> None:
        store = Cluster(tmp_path / "store.db")
        for resource in dual_tor():
            await put(store, resource)
        reader = ViewReader(store, "node-1")
        first = await reader.read()
        assert [*compiled[0].all("Node")] == ["node-1"]
        assert first.plan == plan(dual_tor()).speakers["node-1"]
        await store.delete("Node", "node-2")
        assert (await reader.read()).plan is first.plan
        assert len(compiled) == 1
        peer = {"peerSelector": "rack == 'rack-2'", "nodeSelector": "rack == 'rack-1'"}
        await store.create(
            "BGPPeer",
            "nodes",
            {"apiVersion": "underlay.io/v1alpha1", "kind": "BGPPeer", "metadata": {"name": "nodes"}, "spec": peer},
        )
        second = await reader.read()
        assert [*compiled[1].all("Node")] == ["node-1", "node-3", "node-4"]
        assert first.plan is not None
        assert second.plan is not None
        assert {s.peer for s in second.plan.sessions} - {s.peer for s in first.plan.sessions} == {
            "node/node-3",
            "node/node-4",
        }
        await store.close()

    monkeypatch.setattr(node_view, "Compiler", Counting)
    asyncio.run(story())


def test_while_something_cannot_be_read_the_last_policy_stays_in_force_with_the_plan(tmp_path: Path) -> None:
    async def story(store: Store, reader: ViewReader) -> None:
        await put(store, configuration("default", **DEFAULT))
        first = await reader.read()
        assert first.policy.advertisements != ()
        await store.update(
            "BGPConfiguration",
            "default",
            {"apiVersion": "v9", "kind": "BGPConfiguration", "metadata": {"name": "default"}},
        )
        second = await reader.read()
        assert (second.plan, second.policy) == (first.plan, first.policy)
        assert second.problems != ()
        await store.delete("BGPConfiguration", "default")
        assert (await reader.read()).policy.advertisements == ()

    reading(tmp_path, story)


def test_whether_other_nodes_peer_with_anybody(tmp_path: Path) -> None:
    lonely = [r for r in dual_tor() if r.kind != "Node" or r.name == "node-1"]
    assert view_of(tmp_path / "1", dual_tor(), "node-9").others_peer
    assert view_of(tmp_path / "2", dual_tor()).others_peer
    alone = view_of(tmp_path / "3", lonely)
    assert alone.plan is not None
    assert (bool(alone.plan.sessions), alone.others_peer) == (True, False)


def test_a_forgotten_node_is_told_that_others_peer_though_it_sees_none(tmp_path: Path) -> None:
    """In a cluster a speaker sees its own Node alone. Without anything that declares sessions none is missing."""
    own = next(r for r in dual_tor() if r.ref == "Node/node-1")
    others = [r for r in dual_tor() if r.kind not in ("Node", "Rack", "BGPPeer", "RouteReflector")]
    racks = [r for r in dual_tor() if r.kind == "Rack"]
    nowhere = replace(own, labels={"rack": "rack-9"})
    for number, (resources, told) in enumerate((([*racks, nowhere], True), ([nowhere], False), ([*racks, own], False))):
        view = view_of(tmp_path / str(number), Snapshot([*others, *resources]))
        assert view.plan is not None
        assert (bool(view.plan.sessions), view.others_peer) == (own in resources, told)
