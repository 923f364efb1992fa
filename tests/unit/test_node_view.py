"""What the store declares for one node."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from bgp_speaker.node_view import NodeView, read_view
from ipam.block_order import affinity_name
from peering.compile import plan
from peering.resource import Resource, parse_resource
from peering.session import SecretKeyRef
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
        view = await read_view(store, node)
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
