"""The store of a cluster whose API server fails: nothing is lost or done twice, and everything heals by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest

from bgp_speaker.node_view import ViewReader
from ipam.block_order import block_name
from ipam.claims import affinities_of, claim, confirmed_blocks
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.resources.node import NodeSpec
from peering.store.interest import speaker_interests
from peering.store.kubernetes import api, connect, follower
from peering.store.kubernetes.api import Client
from peering.store.kubernetes.lease import Lease, held
from peering.store.kubernetes.lease import Lost as LeaseLost
from peering.store.kubernetes.location import Location
from peering.store.kubernetes.store import KubernetesStore
from peering.store.open_store import open_store
from peering.store.protocol import Changed, Conflict, Document, NotFound, Store, StoreError, Write
from peering.store.resources import find, put
from tests.kube_api.cluster import NAMESPACE, Cluster, run, until
from tests.kube_api.faults import Fault, every_third
from tests.kube_api.pauses import shorten

_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_REQUEST_S", 0.5)
    shorten(monkeypatch)
    monkeypatch.setattr(follower, "_AGAIN_S", 0.01)


def profile(name: str, multiplier: int = 3) -> Document:
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "BFDProfile",
        "metadata": {"name": name},
        "spec": {"detectMultiplier": multiplier},
    }


def handle(*blocks: str) -> Document:
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "IPAMHandle",
        "metadata": {"name": "h"},
        "spec": {"handle": "h", "blocks": list(blocks)},
    }


async def names_until(watch: AsyncIterator[Sequence[Changed]], wanted: set[str]) -> list[str]:
    """The names of a watch in their order, until all that are wanted were told."""
    seen: list[str] = []
    while wanted - set(seen):
        seen += [change.name for change in await anext(watch)]
    return seen


# The server is gone


def test_the_server_is_gone_and_comes_back(tmp_path: Path) -> None:
    """What is watched is answered from memory; writes fail with a reason; then all goes on without a restart."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(profile("before"))
            store = cluster.store(interests=())
            kinds = (*PLAN_KINDS, "BlockAffinity")
            before, since = await store.snapshot(kinds)
            watch = store.watch(kinds, since)
            telling = asyncio.ensure_future(names_until(watch, {"after"}))
            await until(lambda: sum(n for (verb, _), n in cluster.server.requests.items() if verb == "watch") == 13)
            await cluster.server.stop()
            await until(lambda: "does not answer" in store.trouble() or "was cut" in store.trouble())
            assert (await store.snapshot(kinds))[0] == before
            assert (await store.get("BFDProfile", "before")).document == profile("before")
            for failing in (
                store.create("BFDProfile", "x", profile("x")),
                store.get("IPAMBlock", "10-0-0-0-26"),
                store.list("IPAMBlock"),
            ):
                with pytest.raises(StoreError, match="does not answer"):
                    await failing
            assert not telling.done()
            await cluster.server.start()
            await cluster.server.put(profile("after"))
            assert await telling == ["after"]
            await until(lambda: store.trouble() == "")
            await store.create("BFDProfile", "x", profile("x"))
            assert {one.name for one in await store.list("BFDProfile")} == {"before", "after", "x"}

    run(story)


def test_a_speaker_sees_the_same_while_the_server_is_gone(tmp_path: Path) -> None:
    """Its plan, its blocks and its passwords: so it ends no session and withdraws nothing."""

    def ours(kind: str, name: str, spec: Document, labels: dict[str, str] | None = None) -> Document:
        metadata = {"name": name, "labels": labels or {}}
        return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            server, secret = cluster.server, {"name": "tor", "namespace": NAMESPACE}
            await server.put({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"p": "x"}}, "")
            password = {"secretKeyRef": {"name": "tor", "key": "p"}}
            peer = {"peerIP": "192.0.2.9", "asNumber": 65000, "password": password}
            node = {"bgp": {"ipv4Address": "192.0.2.1/24", "asNumber": 65001}}
            affinity = {"node": "n1", "cidr": "10.0.0.0/26", "state": "confirmed"}
            await server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}))
            await server.put(ours("BGPPeer", "tor", peer))
            await server.put(ours("Node", "n1", node))
            await server.put(ours("BlockAffinity", "n1-b", affinity, {"underlay.io/node": "n1"}))
            store = cluster.store(speaker_interests("n1"))
            reader = ViewReader(store, "n1")
            before = await reader.read()
            assert before.plan is not None
            assert (len(before.plan.sessions), before.blocks) == (1, ("10.0.0.0/26",))
            assert [*before.passwords.values()] == ["x"]
            await server.stop()
            await until(lambda: bool(store.trouble()))
            assert await reader.read() == before
            await server.start()
            await until(lambda: not store.trouble())
            assert await reader.read() == before

    run(story)


def test_pauses_grow_while_the_server_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of absence: some dozens of tries for each watch, and none at the same time as the others."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.5)
    monkeypatch.setattr(follower, "_LAST_PAUSE_S", 30.0)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(interests=())
            await store.snapshot(["BFDProfile"])
            await until(lambda: cluster.server.requests["watch", "bfdprofiles.underlay.io"] == 1)
            monkeypatch.setattr(follower, "asyncio", SimpleNamespace(sleep=note, Event=asyncio.Event))
            await cluster.server.stop()
            while sum(slept) < 600:
                await sleep(0.001)

    run(story)
    assert 20 < len(slept) < 60
    assert slept[0] < 1
    assert max(slept) <= 45
    assert len({round(pause, 6) for pause in slept}) == len(slept)


def test_a_first_list_that_never_comes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peering.store.kubernetes.following._FIRST_LISTS_S", 0.3)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(interests=())
            await cluster.server.stop()
            with pytest.raises(StoreError, match="the API server does not answer"):
                await store.snapshot(["BFDProfile"])
            await cluster.server.start()
            assert (await store.snapshot(["BFDProfile"]))[0] == []

    run(story)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_first_list_that_is_refused_is_told_at_once(code: int, tmp_path: Path) -> None:
    """No waiting mends it. Somebody does in the end, and the same process goes on."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store, kinds = cluster.store(interests=()), ["BGPPeer", "BFDProfile"]
            cluster.server.faults.next_fault = lambda verb, resource: (
                Fault(code) if resource.startswith("bfdprofiles") else None
            )
            async with asyncio.timeout(10):
                with pytest.raises(StoreError, match=f"bfdprofiles: .*{code}"):
                    await store.snapshot(kinds)
            cluster.server.faults.next_fault = lambda verb, resource: None
            await until(lambda: not store.trouble())
            assert (await store.snapshot(kinds))[0] == []

    run(story)


def test_credentials_that_are_refused_to_many_at_once_are_renewed_once(tmp_path: Path) -> None:
    """What is under way meanwhile is asked again, and nothing is taken for a mistake of ours."""

    async def story() -> None:
        async with Cluster(tmp_path, token="first") as cluster:
            kubeconfig, made = tmp_path / "kubeconfig", 0

            async def connecting(location: Location) -> Client:
                nonlocal made
                made += 1
                return await connect.connect(location, kubeconfig)

            store = KubernetesStore(Location(), None, connecting)
            assert (await store.snapshot(PLAN_KINDS))[0] == []
            cluster.server.token = "second"
            cluster.server.kubeconfig(kubeconfig)
            assert (await store.snapshot(PLAN_KINDS))[0] == []
            assert made == 2
            await store.close()
            with pytest.raises(StoreError, match="closed"):
                await store.list("BGPPeer")

    run(story)


# Requests that fail

FAILING = [
    (Fault(500), Fault(429, retry_after="0"), Fault(0)),
    (Fault(500, late=True), Fault(503, late=True), Fault(0, late=True)),
]


@pytest.mark.parametrize("faults", FAILING, ids=["refused", "answers-lost"])
def test_every_third_request_fails_and_each_write_is_done_once(faults: tuple[Fault, ...], tmp_path: Path) -> None:
    """Also where the write was done and only its answer was lost: a Conflict says that nothing was written."""

    async def append(store: Store, block: str) -> None:
        unsure = False
        while True:
            current = await store.get("IPAMHandle", "h")
            blocks = current.document["spec"].get("blocks", [])
            if unsure and block in blocks:
                return
            try:
                await store.update("IPAMHandle", "h", handle(*blocks, block), current.version)
                return
            except Conflict:
                unsure = False
            except StoreError:
                unsure = True

    async def append_all(store: Store, mine: str) -> None:
        for number in range(6):
            await append(store, f"10.{mine}.{number}.0/24")

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.store().create("IPAMHandle", "h", handle())
            cluster.server.faults.next_fault = every_third(*faults)
            await asyncio.gather(*(append_all(cluster.store(), mine) for mine in ("1", "2")))
            assert len(cluster.server.faults.seen) > 5
            blocks = cluster.server.kept("ipamhandles", "h")["spec"]["blocks"]
            assert sorted(blocks) == sorted(f"10.{mine}.{number}.0/24" for mine in "12" for number in range(6))

    run(story)


@pytest.mark.parametrize("faults", FAILING, ids=["refused", "answers-lost"])
def test_single_writes_survive_faults(faults: tuple[Fault, ...], tmp_path: Path) -> None:
    """Create, update, delete and read in turn; each meets faults at another place."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.next_fault = every_third(*faults)
            store = cluster.store()
            for number in range(8):
                name = f"p{number}"
                created = await store.create("BFDProfile", name, profile(name))
                updated = await store.update("BFDProfile", name, profile(name, 5), created.version)
                assert (await store.get("BFDProfile", name)).version == updated.version
                await store.delete("BFDProfile", name, updated.version)
                with pytest.raises(NotFound):
                    await store.get("BFDProfile", name)
            assert len(cluster.server.faults.seen) >= 8

    run(story)


@pytest.mark.parametrize("kind", ["BFDProfile", "IPAMHandle"])
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_write_whose_answer_is_lost_is_known_again(verb: str, kind: str, tmp_path: Path) -> None:
    """Declared by its content, claimed by its mark."""

    def document(number: int) -> Document:
        return profile("h", number) if kind == "BFDProfile" else handle(f"10.0.{number}.0/24")

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store, lost = cluster.store(), [verb]

            def lose(asked: str, resource: str) -> Fault | None:
                if asked in lost:
                    lost.remove(asked)
                    return Fault(500, late=True)
                return None

            cluster.server.faults.next_fault = lose
            created = await store.create(kind, "h", document(3))
            updated = await store.update(kind, "h", document(4), created.version)
            assert (await store.get(kind, "h")) == updated
            await store.delete(kind, "h", updated.version)
            assert not lost
            with pytest.raises(NotFound):
                await store.get(kind, "h")

    run(story)


@pytest.mark.parametrize("lost", [Fault(500), Fault(500, late=True)], ids=["not-done", "done"])
def test_a_write_that_another_wrote_over_is_not_known(lost: Fault, tmp_path: Path) -> None:
    """What another has made with the very same words is not taken for ours."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store, other = cluster.store(), cluster.store()
            faults = [lost]

            def lose(verb: str, resource: str) -> Fault | None:
                return faults.pop() if faults and verb == "create" else None

            meddling: list[asyncio.Task[object]] = []
            sleep = asyncio.sleep

            async def meddle(seconds: float) -> None:
                """Between the two tries."""
                if not meddling:
                    meddling.append(asyncio.ensure_future(put_handle(other)))
                    await meddling[0]
                await sleep(0)

            cluster.server.faults.next_fault = lose
            namespace = SimpleNamespace(**{**vars(asyncio), "sleep": meddle})
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(api, "asyncio", namespace)
                with pytest.raises(StoreError, match="not known whether IPAMHandle/h was written") as caught:
                    await store.create("IPAMHandle", "h", handle("10.0.0.0/26"))
            assert not isinstance(caught.value, Conflict)

    async def put_handle(store: Store) -> None:
        try:
            await store.create("IPAMHandle", "h", handle("10.0.0.0/26"))
        except Conflict:
            await store.update("IPAMHandle", "h", handle("10.0.0.0/26"))

    run(story)


@pytest.mark.parametrize("faults", FAILING, ids=["refused", "answers-lost"])
def test_blocks_are_claimed_by_one_each_while_requests_fail(faults: tuple[Fault, ...], tmp_path: Path) -> None:
    async def claimed(store: Store, node: str, block: str) -> None:
        """As the speaker does, which tries again when it is not known what has become of a write."""
        while True:
            with suppress(StoreError):
                await claim(store, node, block, 0.0)
                return

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.next_fault = every_third(*faults)
            nodes = ["n1", "n2", "n3"]
            stores = {node: cluster.store() for node in nodes}
            blocks = [f"10.0.0.{64 * number}/26" for number in range(3)]
            for block in blocks:
                await asyncio.gather(*(claimed(stores[node], node, block) for node in nodes))
            cluster.server.faults.next_fault = lambda verb, resource: None
            owned = [block for node in nodes for block in await confirmed_blocks(stores[node], node)]
            assert sorted(owned) == sorted(blocks)
            for node in nodes:
                for affinity in await affinities_of(stores[node], node):
                    cidr = affinity.to_document()["spec"]["cidr"]
                    assert cluster.server.kept("ipamblocks", block_name(cidr))["spec"]["affinity"] == f"host:{node}"

    run(story)


def test_what_the_server_asks_to_wait_is_waited(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            turns: Iterator[Fault | None] = iter([Fault(429, retry_after="1")])
            cluster.server.faults.next_fault = lambda verb, resource: next(turns, None)
            began = time.monotonic()
            assert await cluster.store().list("BFDProfile") == []
            assert time.monotonic() - began >= 1

    run(story)


def test_what_the_server_refuses_is_told_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            with pytest.raises(StoreError, match=r"detectMultiplier: Invalid value.*\(422\)"):
                await store.create("BFDProfile", "x", profile("x", 1))
            unknown = profile("x")
            unknown["spec"]["surprise"] = 1
            with pytest.raises(StoreError, match="unknown fields"):
                await store.create("BFDProfile", "x", unknown)
            cluster.server.faults.next_fault = lambda verb, resource: Fault(403)
            with pytest.raises(StoreError, match="403"):
                await store.list("BFDProfile")
            assert sum(cluster.server.requests.values()) == 3

    run(story)


def test_new_credentials_are_taken_when_the_old_ones_are_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path, token="first") as cluster:
            store = cluster.store()
            assert await store.list("BFDProfile") == []
            cluster.server.token = "second"
            with pytest.raises(StoreError, match="Unauthorized"):
                await store.list("BFDProfile")
            cluster.server.kubeconfig(tmp_path / "kubeconfig")
            assert await store.list("BFDProfile") == []

    run(story)


# Watches that fail


def test_a_watch_that_is_cut_all_the_time_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.cut_watches_after = 0.05
            store = cluster.store(interests=())
            _, since = await store.snapshot(["BFDProfile"])
            telling = asyncio.ensure_future(names_until(store.watch(["BFDProfile"], since), {"p59"}))
            for number in range(60):
                await cluster.server.put(profile(f"p{number}"))
                await asyncio.sleep(0.01)
            assert await telling == [f"p{number}" for number in range(60)]
            assert cluster.server.requests["list", "bfdprofiles.underlay.io"] == 1
            assert cluster.server.requests["watch", "bfdprofiles.underlay.io"] > 5

    run(story)


def test_a_watch_that_is_cut_every_second_is_begun_about_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_AGAIN_S", 1.0)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.cut_watches_after = 0.02
            await cluster.store(interests=()).snapshot(["BFDProfile"])
            await asyncio.sleep(2)
            assert cluster.server.requests["watch", "bfdprofiles.underlay.io"] <= 5

    run(story)


def test_who_has_an_old_view_cannot_write_onto_it(tmp_path: Path) -> None:
    """A server that is behind: what is known is old, what is claimed is asked for anew, old versions lose."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            other = cluster.store()
            created = await other.create("BFDProfile", "p", profile("p"))
            await other.create("IPAMHandle", "h", handle())
            store = cluster.store(interests=())
            await store.snapshot(["BFDProfile", "IPAMHandle"])
            cluster.server.faults.stale_at = cluster.server.objects.revision
            await other.update("BFDProfile", "p", profile("p", 5))
            await other.update("IPAMHandle", "h", handle("10.0.0.0/26"))
            assert (await store.get("BFDProfile", "p")).version == created.version
            assert (await store.get("IPAMHandle", "h")).document == handle("10.0.0.0/26")
            with pytest.raises(Conflict):
                await store.update("BFDProfile", "p", profile("p", 7), created.version)
            written = await store.update("BFDProfile", "p", profile("p", 7))
            assert (await store.get("BFDProfile", "p")).version == written.version, "its own write it knows"
            cluster.server.faults.stale_at = None
            cluster.server.cut_watches()
            await other.update("BFDProfile", "p", profile("p", 9))
            (mine,) = [one for one in store._following._followers.values() if "p" in one.objects]
            await until(lambda: mine.objects["p"].document == profile("p", 9))

    run(story)


def test_what_was_deleted_here_does_not_come_back_by_a_late_watch(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(interests=())
            _, since = await store.snapshot(["BFDProfile"])
            cluster.server.faults.stale_at = cluster.server.objects.revision
            await store.create("BFDProfile", "p", profile("p"))
            await store.delete("BFDProfile", "p")
            watch = store.watch(["BFDProfile"], since)
            seen: list[tuple[str, bool]] = []

            async def follow() -> None:
                while ("last", True) not in seen:
                    seen.extend((change.name, change.stored is not None) for change in await anext(watch))

            following = asyncio.ensure_future(follow())
            cluster.server.faults.stale_at = None
            await cluster.server.put(profile("last"))
            await following
            assert seen == [("p", False), ("last", True)]

    run(story)


def test_a_server_whose_lists_are_from_before_is_not_believed_at_once(tmp_path: Path) -> None:
    """One list from a server that is behind does not take away what is known; a restored backup does, in the end."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for name in ("kept", "lost"):
                await cluster.server.put(profile(name))
            store = cluster.store(interests=())
            _, since = await store.snapshot(["BFDProfile"])
            telling = asyncio.ensure_future(names_until(store.watch(["BFDProfile"], since), {"lost"}))
            await until(lambda: cluster.server.requests["watch", "bfdprofiles.underlay.io"] == 1)
            cluster.server.objects.compact()
            del cluster.server.objects.documents["bfdprofiles.underlay.io", "", "lost"]
            cluster.server.objects.revision = 1001
            cluster.server.cut_watches()
            assert {*await telling} == {"kept", "lost"}
            assert cluster.server.requests["list", "bfdprofiles.underlay.io"] >= 4
            assert [one.name for one in await store.list("BFDProfile")] == ["kept"]

    run(story)


# Whole declarations


def test_an_apply_that_is_killed_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    """What was written is whole, and applying the same again writes the rest."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            writes = [Write("BFDProfile", f"p{number}", profile(f"p{number}")) for number in range(10)]
            store, done = cluster.store(), 0
            _, since = await store.snapshot(["BFDProfile"])

            def kill(verb: str, resource: str) -> None:
                nonlocal done
                done += (verb, resource) == ("create", "bfdprofiles.underlay.io")
                if done == len(writes) + 5:
                    killed.cancel()

            cluster.server.faults.next_fault = kill
            killed = asyncio.ensure_future(store.apply_all(writes, ["BFDProfile"], since))
            with pytest.raises(asyncio.CancelledError):
                await killed
            cluster.server.faults.next_fault = lambda verb, resource: None
            again = cluster.store()
            objects, since = await again.snapshot(["BFDProfile"])
            assert 3 <= len(objects) < 10
            await again.apply_all(writes, ["BFDProfile"], since)
            assert len(await again.list("BFDProfile")) == 10

    run(story)


def test_what_the_server_refuses_of_a_declaration_is_refused_as_a_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            _, since = await store.snapshot(["BFDProfile"])
            writes = [Write("BFDProfile", "good", profile("good")), Write("BFDProfile", "bad", profile("bad", 1))]
            with pytest.raises(StoreError, match="detectMultiplier"):
                await store.apply_all(writes, ["BFDProfile"], since)
            assert await store.list("BFDProfile") == []

    run(story)


def test_of_two_that_apply_at_once_one_judges_again(tmp_path: Path) -> None:
    """Though they write different objects: each was judged without the other's."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            stores = [cluster.store(), cluster.store()]
            since = [(await store.snapshot(["BFDProfile"]))[1] for store in stores]
            work = [
                store.apply_all([Write("BFDProfile", name, profile(name))], ["BFDProfile"], at)
                for store, name, at in zip(stores, ("one", "two"), since, strict=True)
            ]
            told = await asyncio.gather(*work, return_exceptions=True)
            assert sorted(type(one).__name__ for one in told) == ["Conflict", "NoneType"]
            assert len(await stores[0].list("BFDProfile")) == 1
            lease = cluster.server.kept("leases", "underlay-apply", "coordination.k8s.io", NAMESPACE)
            assert lease["spec"]["holderIdentity"] == "", "whoever comes next need not wait"

    run(story)


def test_what_others_refer_to_is_written_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            version = "underlay.io/v1alpha1"
            peer: Document = {"peerIP": "10.0.0.1", "asNumber": 65000, "filters": ["f"]}
            documents: list[Document] = [
                {"apiVersion": version, "kind": "BGPPeer", "metadata": {"name": "p"}, "spec": peer},
                {"apiVersion": version, "kind": "BGPFilter", "metadata": {"name": "f"}, "spec": {}},
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "x"}},
            ]
            writes = [Write(one["kind"], one["metadata"]["name"], one) for one in documents]
            for given, order in (
                (writes, ["s", "f", "p"]),
                ([Write(*w, None) for w in _names(writes)], ["p", "f", "s"]),
            ):
                _, since = await store.snapshot([*PLAN_KINDS, "Secret"])
                before = len(cluster.server.queries)
                await store.apply_all(given, [*PLAN_KINDS, "Secret"], since)
                made = cluster.server.queries[before:]
                written = [
                    (verb, resource)
                    for verb, resource, _, query in made
                    if verb in ("create", "delete")
                    and resource != "leases.coordination.k8s.io"
                    and "dryRun" not in query
                ]
                kinds = {"s": "secrets", "f": "bgpfilters.underlay.io", "p": "bgppeers.underlay.io"}
                assert [resource for _, resource in written] == [kinds[name] for name in order]

    run(story)


def _names(writes: Sequence[Write]) -> list[tuple[str, str]]:
    return [(write.kind, write.name) for write in writes]


def test_a_secret_that_is_there_already_is_written_over(tmp_path: Path) -> None:
    """It is not in the snapshot, because nothing refers to it."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            for value in ("one", "two"):
                document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
                _, since = await store.snapshot(["Secret"])
                write = Write("Secret", "s", {**document, "stringData": {"password": value}})
                await store.apply_all([write], ["Secret"], since)
                found = await find(store, "Secret", "s")
                assert found is not None
                assert found.to_document()["stringData"] == {"password": value}

    run(story)


# The lock


def test_one_of_two_leads(tmp_path: Path) -> None:
    """The other waits; it follows when the first is done, and is never beside it."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            leading: list[str] = []

            async def lead(name: str) -> None:
                async with held(cluster.store().lease("controller", 1.0), patience=30, interval=0.05):
                    leading.append(f"{name} begins")
                    await asyncio.sleep(0.2)
                    leading.append(f"{name} ends")

            await asyncio.gather(lead("a"), lead("b"))
            assert leading in (
                ["a begins", "a ends", "b begins", "b ends"],
                ["b begins", "b ends", "a begins", "a ends"],
            )

    run(story)


def lease_of(store_api: api.Api, holder: str, seconds: float = 0.4) -> Lease:
    return Lease(store_api, NAMESPACE, "lock", holder, seconds)


def test_a_lock_is_had_by_one_and_passed_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            one, other = (lease_of(cluster.store()._api, holder) for holder in ("one", "other"))
            assert await one.try_to_take()
            assert not await other.try_to_take()
            await one.renew()
            await one.let_go()
            assert await other.try_to_take()
            with pytest.raises(LeaseLost):
                await one.renew()
            spec = cluster.server.kept("leases", "lock", "coordination.k8s.io", NAMESPACE)["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("other", 1)

    run(story)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_holder_that_was_killed_is_followed_whatever_the_clocks_say(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease must not change for as long as it lasts, by the clock of who looks, which no other clock moves."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            killed, other = (lease_of(cluster.store()._api, holder, 1.0) for holder in ("killed", "other"))
            assert await killed.try_to_take()
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() + jump)
            assert not await other.try_to_take()
            await killed.renew()
            began = time.monotonic()
            while not await other.try_to_take():  # noqa: ASYNC110 - this is the way to get it
                await asyncio.sleep(0.02)
            assert 0.9 < time.monotonic() - began < 5
            with pytest.raises(LeaseLost):
                await killed.renew()

    run(story)


def test_work_under_a_lock_that_is_lost_is_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            lease = lease_of(cluster.store()._api, "one")

            async def work() -> None:
                async with held(lease, patience=1, interval=0.02):
                    await cluster.server.remove("leases", "lock", "coordination.k8s.io", NAMESPACE)
                    await asyncio.sleep(30)

            with pytest.raises(LeaseLost):
                await work()

    run(story)


def test_a_lock_without_its_namespace_is_explained(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.next_fault = lambda verb, resource: (
                Fault(404) if resource.startswith("leases") else None
            )
            with pytest.raises(StoreError, match=f"no namespace {NAMESPACE}"):
                await lease_of(cluster.store()._api, "one").try_to_take()

    run(story)


# The way in


def test_a_pod_needs_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, token and namespace are those of its service account."""
    token = tmp_path / "token"
    token.write_text("first")
    (tmp_path / "namespace").write_text("fabric\n")
    monkeypatch.setattr(connect, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr("kubernetes.aio.config.incluster_config.SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr("kubernetes.aio.config.incluster_config.SERVICE_CERT_FILENAME", certifi.where())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert connect.namespace_of(Location()) == "fabric"
    assert connect.namespace_of(Location(namespace="other")) == "other"
    assert connect.namespace_of(Location(context="elsewhere")) == NAMESPACE

    async def story() -> None:
        client = await connect.connect(Location())
        assert client.configuration.host == "https://[2001:db8::1]:6443"
        assert await client.configuration.get_api_key_with_prefix("BearerToken") == "bearer first"
        await client.close()

    run(story)


def test_put_and_find_work_as_on_every_engine(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            node = Resource("Node", "n1", NodeSpec())
            first = await put(store, node)
            second = await put(store, first)
            assert second.version > first.version
            assert await find(store, "Node", "n1") == second

    run(story)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kubernetes:nowhere", "is not there"),
        ("kubernetes", "is not there"),
        ("kubernetes:a?colour=red", "'colour' is no setting"),
        ("kubernetes:a?calico-crds=yes", "'calico-crds' is no setting"),
        ("kubernetesque:a", "is no store"),
    ],
)
def test_a_way_that_leads_nowhere_is_told(url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    async def story() -> None:
        with pytest.raises(StoreError, match=said):
            await open_store(url).list("Node")

    run(story)


def test_the_url_chooses_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with Cluster(tmp_path, calico=True) as cluster:
            cluster.server.kubeconfig(tmp_path / "kubeconfig", "other")
            monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
            for url in ("kubernetes:other", "kubernetes", "kubernetes:other?calico-crds&namespace=here"):
                store = open_store(url)
                assert await store.list("BGPPeer") == []
                with pytest.raises(NotFound):
                    await store.get("Secret", "s")
                await store.close()
            store = open_store("kubernetes:missing")
            with pytest.raises(StoreError, match="missing"):
                await store.list("BGPPeer")
            asked = [(resource, query) for verb, resource, _, query in cluster.server.queries if verb == "list"]
            assert [name for name, _ in asked].count("bgppeers.crd.projectcalico.org") == 1

    run(story)
