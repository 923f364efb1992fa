"""Addresses of Services of our load balancer class, on a stand-in for the API server: assigned, told, released."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgp_speaker.node_view import ViewReader
from ipam.allocator import Allocator
from ipam.owners import LOAD_BALANCERS
from ipam.service_addresses import CALM_S, RETRY_S, ServiceAddresses
from peering.store.kubernetes import api
from peering.store.protocol import Conflict, Document, StoreError
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.faults import Fault, every_third
from tests.unit.ipam_world import Rules
from tests.unit.test_kubernetes_ipam import Kept
from underlay import controller
from underlay.controller import Controller, Graces

CLASS = "underlay.io/bgp"
PUBLIC: dict[str, Any] = {"cidr": "198.51.100.0/29", "blockSize": 30, "allowedUses": ["LoadBalancer"]}
PUBLIC_V6: dict[str, Any] = {"cidr": "2001:db8::/122", "allowedUses": ["LoadBalancer"]}
ROLES = Path(__file__).parents[2] / "config" / "rbac"
EVENTS = "events.k8s.io"


class Shop:
    """Services of one namespace in a cluster, and what became of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.server = cluster.server
        self.said: list[str] = []
        self.wrong: list[str] = []

    async def pool(self, name: str = "public", **spec: Any) -> None:
        await self.server.put(ours("IPPool", name, **(spec or PUBLIC)))

    async def service(self, name: str = "web", annotations: dict[str, Any] | None = None, **spec: Any) -> None:
        """Made, or written anew with the status that it has, as an API server does."""
        written = {f"projectcalico.org/{key}": json.dumps(value) for key, value in (annotations or {}).items()}
        document = {
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop", "annotations": written},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": CLASS, "ipFamilies": ["IPv4"], **spec},
        }
        await self.server.put(document, "")

    async def delete(self, name: str = "web") -> None:
        await self.server.remove("services", name, "", "shop")

    def told(self, name: str = "web") -> list[str]:
        status: Document = self.server.kept("services", name, "", "shop").get("status", {})
        ingress = status.get("loadBalancer", {}).get("ingress", [])
        assert all(one == {"ip": one["ip"], "ipMode": "VIP"} for one in ingress)
        return [one["ip"] for one in ingress]

    def names(self) -> list[str]:
        return [key[2] for key in self.server.objects.documents if key[0] == "services"]

    def check_told(self) -> None:
        """No address is two Services'. Raises AssertionError."""
        told = [address for name in self.names() for address in self.told(name)]
        assert len(set(told)) == len(told), told

    def held(self) -> dict[str, set[str]]:
        """By handle; the addresses as block and number."""
        found: dict[str, set[str]] = {}
        for block in Kept(self.server).all("IPAMBlock"):
            spec = block.document["spec"]
            for one in spec.get("allocations", ()):
                found.setdefault(one["handle"], set()).add(f"{spec['cidr']} {one['ordinal']}")
        return found

    def handles(self) -> list[str]:
        return [one.name for one in Kept(self.server).all("IPAMHandle")]

    def events(self) -> list[tuple[str, str, str]]:
        found = [one for one in self.server.objects.documents.values() if one["kind"] == "Event"]
        return [(one["regarding"]["name"], one["reason"], one["note"]) for one in found]

    def addresses(self) -> ServiceAddresses:
        """Those of a controller that begins."""
        return ServiceAddresses(self.cluster.store(()), self.said.append)


def ours(kind: str, name: str, **spec: Any) -> Document:
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shop]:
    """With a pool of two blocks of four. After every commit is judged what must hold at every moment."""
    async with Cluster(folder) as cluster:
        found = Shop(cluster)
        await cluster.server.put(ours("Node", "node-1"))
        await found.pool()
        rules = Rules(Kept(cluster.server))  # type: ignore[arg-type]
        happened = cluster.server.objects._happened

        async def judged(event: Any) -> None:
            await happened(event)
            try:
                rules.check()
                found.check_told()
            except AssertionError as error:
                found.wrong.append(str(error))

        cluster.server.objects._happened = judged  # type: ignore[method-assign]
        yield found
        assert found.wrong == []


@asynccontextmanager
async def controlled(found: Shop) -> AsyncIterator[None]:
    work = Controller(found.cluster.store(()), found.said.append, Graces(0.05, 0.05), None, False)
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_REQUEST_S", 0.5)
    monkeypatch.setattr(api, "_FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(api, "_LAST_PAUSE_S", 0.01)
    monkeypatch.setattr(controller, "_COLLECT_PAUSE_S", 0.01)
    monkeypatch.setattr(controller, "_ADDRESS_PAUSE_S", 0.01)
    monkeypatch.setattr(controller, "_RETRY_S", 0.02)


# The whole controller


def test_assigned_changed_and_released(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found, controlled(found):
            await found.pool("public-v6", **PUBLIC_V6)
            await found.service()
            await until(lambda: len(found.told()) == 1)
            (first,) = found.told()
            assert first.startswith("198.51.100.")
            await found.service(ipFamilies=["IPv6", "IPv4"], ipFamilyPolicy="PreferDualStack")
            await until(lambda: len(found.told()) == 2)
            assert found.told()[0].startswith("2001:db8::")
            assert found.told()[1] == first
            wanted = "198.51.100.6" if first != "198.51.100.6" else "198.51.100.5"
            await found.service(annotations={"loadBalancerIPs": [wanted]})
            await until(lambda: found.told() == [wanted] and found.held() == {"lb.shop.web": {"198.51.100.4/30 2"}})
            await found.delete()
            await until(lambda: not found.held() and not found.handles())
            assert found.said[-1] == f"Service/shop.web has {wanted} no longer"
            assert ("web", "AddressAssigned", f"has {wanted}") in found.events()

    run(story)


@pytest.mark.parametrize("change", [{"type": "ClusterIP"}, {"loadBalancerClass": "example.com/other"}])
def test_released_when_it_is_no_load_balancer_of_ours_any_more(change: dict[str, Any], tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found, controlled(found):
            await found.service()
            await until(lambda: bool(found.told()))
            await found.service(**change)
            await until(lambda: not found.held() and not found.handles())

    run(story)


def test_services_of_others_get_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found, controlled(found):
            await found.service("theirs", loadBalancerClass="example.com/other")
            await found.service("nobodys", {"ipv4pools": ["public"]}, loadBalancerClass=None)
            await found.service("inside", type="ClusterIP")
            await found.service("web")
            await until(lambda: bool(found.told()))
            assert list(found.held()) == ["lb.shop.web"]
            assert [found.told(one) for one in ("theirs", "nobodys", "inside")] == [[], [], []]

    run(story)


def test_a_full_pool_is_told_and_the_next_free_address_given(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found, controlled(found):
            for number in range(8):
                await found.service(f"web-{number}")
            await until(lambda: all(found.told(f"web-{number}") for number in range(8)))
            assert len({found.told(f"web-{number}")[0] for number in range(8)}) == 8
            await found.service("late")
            await until(lambda: any(event[:2] == ("late", "PoolExhausted") for event in found.events()))
            (note,) = [note for name, reason, note in found.events() if reason == "PoolExhausted"]
            assert "198.51.100.0/29: add a pool with allowedUses: [LoadBalancer]" in note
            assert [one for one in found.said if "Service/shop.late" in one] == [f"Service/shop.late: {note}"]
            (event,) = [one for one in found.server.objects.documents.values() if one.get("reason") == "PoolExhausted"]
            assert event["type"] == "Warning"
            assert event["metadata"]["namespace"] == "shop"
            late = found.server.kept("services", "late", "", "shop")
            assert event["regarding"]["uid"] == late["metadata"]["uid"], "as kubectl describe asks for it"
            before = found.told("web-3")
            await found.delete("web-3")
            await until(lambda: found.told("late") == before)

    run(story)


def test_a_pool_that_comes_later_serves_who_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found, controlled(found):
            await found.service(ipFamilies=["IPv6"])
            await until(lambda: any(event[1] == "NoPool" for event in found.events()))
            await found.pool("public-v6", **PUBLIC_V6)
            await until(lambda: bool(found.told()))

    run(story)


# One look after the other


async def told_after(found: Shop, addresses: ServiceAddresses, *names: str) -> list[list[str]]:
    await addresses.look()
    return [found.told(name) for name in names]


def test_both_families_or_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            families: dict[str, Any] = {"ipFamilies": ["IPv4", "IPv6"]}
            await found.service("prefers", ipFamilyPolicy="PreferDualStack", **families)
            await found.service("requires", ipFamilyPolicy="RequireDualStack", **families)
            addresses = found.addresses()
            assert await addresses.look() == RETRY_S
            assert [len(found.told(one)) for one in ("prefers", "requires")] == [1, 0]
            assert list(found.held()) == ["lb.shop.prefers"]
            await found.pool("public-v6", **PUBLIC_V6)
            await until_seen(found, addresses, lambda: len(found.told("requires")) == 2)
            assert len(found.told("prefers")) == 2

    run(story)


async def until_seen(found: Shop, addresses: ServiceAddresses, condition: Callable[[], bool]) -> None:
    """What a store has seen of the cluster is a moment old."""
    async with asyncio.timeout(10):
        while not condition():
            await addresses.look()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("asked", "reason", "said"),
    [
        ({"loadBalancerIPs": ["192.0.2.1"]}, "NotInAPool", "192.0.2.1 is in no IPPool"),
        ({"loadBalancerIPs": ["10.0.0.1"]}, "NotInAPool", "not for Services"),
        ({"loadBalancerIPs": ["198.51.100.1"]}, "AddressTaken", "198.51.100.1 is held by lb.shop.api"),
        ({"loadBalancerIPs": ["198.51.100.2"]}, "AddressReserved", "IPReservation"),
        ({"loadBalancerIPs": ["2001:db8::1"]}, "BadAnnotation", "has no IPv6"),
        ({"ipv4pools": ["none"]}, "PoolNotUsable", "no IPPool/none"),
        ({"ipv4pools": ["pods"]}, "PoolNotUsable", "not for Services"),
    ],
)
def test_what_cannot_be_had_is_told_and_the_old_address_stays(
    asked: dict[str, Any], reason: str, said: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.pool("pods", cidr="10.0.0.0/26")
            await found.server.put(ours("IPReservation", "r", reservedCIDRs=["198.51.100.2/32"]))
            await found.service("api", {"loadBalancerIPs": ["198.51.100.1"]})
            await found.service("web")
            addresses = found.addresses()
            await addresses.look()
            (before,) = found.told("web")
            await found.service("web", asked)
            await until_seen(found, addresses, lambda: any(said in one for one in found.said))
            assert found.told("web") == [before]
            assert len(found.held()["lb.shop.web"]) == 1
            await until(lambda: any(one[:2] == ("web", reason) for one in found.events()))

    run(story)


def test_the_deprecated_field_and_manual_pools(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            manual = {"cidr": "203.0.113.0/30", "blockSize": 30, "assignmentMode": "Manual"}
            await found.pool("manual", allowedUses=["LoadBalancer"], **manual)
            await found.service("one", loadBalancerIP="198.51.100.5")
            await found.service("two", {"ipv4pools": ["manual"]})
            addresses = found.addresses()
            await addresses.look()
            assert found.told("one") == ["198.51.100.5"]
            (named,) = found.told("two")
            assert named.startswith("203.0.113.")
            await found.service("two")
            await until_seen(found, addresses, lambda: found.told("two") != [named])
            assert found.told("two")[0].startswith("198.51.100.")
            assert len(found.held()["lb.shop.two"]) == 1

    run(story)


def test_two_services_change_places(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            for name, address in (("a", "198.51.100.1"), ("b", "198.51.100.2")):
                await found.service(name, {"loadBalancerIPs": [address]})
            addresses = found.addresses()
            await addresses.look()
            for name, address in (("a", "198.51.100.2"), ("b", "198.51.100.1")):
                await found.service(name, {"loadBalancerIPs": [address]})
            await until_seen(
                found, addresses, lambda: (found.told("a"), found.told("b")) == (["198.51.100.2"], ["198.51.100.1"])
            )
            assert {name: len(held) for name, held in found.held().items()} == {"lb.shop.a": 1, "lb.shop.b": 1}

    run(story)


def test_what_is_written_of_the_owner_is_no_label_of_a_node(tmp_path: Path) -> None:
    """`virtual:load-balancer` is no value of a label: a real API server refuses it."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            await found.addresses().look()
            kept = found.server.objects.documents.values()
            labels = {one["kind"]: one["metadata"].get("labels", {}) for one in kept}
            assert labels["IPAMBlock"] == {}
            assert labels["BlockAffinity"] == {"underlay.io/node": "load-balancer", "underlay.io/type": "virtual"}

    run(story)


def test_a_service_that_was_written_meanwhile_is_judged_anew(tmp_path: Path) -> None:
    """Between the judgement and the write of the status it has become another type."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()

            addresses = found.addresses()
            apply = addresses._store.apply_status

            async def late(*arguments: Any) -> None:
                await found.service(type="ClusterIP")
                await apply(*arguments)

            addresses._store.apply_status = late  # type: ignore[assignment,method-assign]
            assert await addresses.look() == RETRY_S
            assert found.told() == []
            await until_seen(found, addresses, lambda: not found.held())

    run(story)


def test_a_look_at_what_is_as_it_should_be_writes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            await found.addresses().look()
            await until(lambda: bool(found.events()))
            revision = found.server.objects.revision
            again = found.addresses()
            assert [await again.look() for _ in range(3)] == [CALM_S] * 3
            assert found.server.objects.revision == revision

    run(story)


def test_what_is_told_and_was_lost_is_taken_again(tmp_path: Path) -> None:
    """Somebody has freed it by hand, and others are asking, too."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service("web", {"loadBalancerIPs": ["198.51.100.6"]})
            await found.addresses().look()
            await found.service("web")
            await Allocator(found.cluster.store(), LOAD_BALANCERS).release("lb.shop.web")
            assert not found.held()
            for number in range(7):
                await found.service(f"a-{number}")
            await found.addresses().look()
            assert found.told("web") == ["198.51.100.6"]
            assert len({found.told(f"a-{number}")[0] for number in range(7)} - {"198.51.100.6"}) == 7

    run(story)


def test_the_status_of_another_service_of_the_name_is_not_written(tmp_path: Path) -> None:
    """Deleted and made again between the judgement and the write."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            store = found.cluster.store()
            (stored,) = await store.list("Service")
            await found.delete()
            await found.service(type="ClusterIP")
            status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}]}}
            with pytest.raises(Conflict):
                await store.apply_status("Service", "shop.web", status, stored.version)
            assert found.told() == []

    run(story)


# Faults


def kill_before(found: Shop, verb: str, resource: str) -> None:
    """Whoever is about to send such a request is no more; the next one is heard."""

    def judge(asked: str, of: str) -> Fault | None:
        if (asked, of) == (verb, resource):
            found.server.faults.next_fault = lambda verb, resource: None
            killed.append(True)
            for task in asyncio.all_tasks():
                if task.get_name() == "killed":
                    task.cancel()
            return Fault(500)
        return None

    killed: list[bool] = []
    found.server.faults.next_fault = judge


async def killed_in(addresses: ServiceAddresses) -> None:
    task = asyncio.create_task(addresses.look(), name="killed")
    with pytest.raises(asyncio.CancelledError):
        await task


CLAIMING = [
    ("create", "blockaffinities.underlay.io"),
    ("create", "ipamblocks.underlay.io"),
    ("update", "blockaffinities.underlay.io"),
    ("create", "ipamhandles.underlay.io"),
    ("update", "ipamblocks.underlay.io"),
    ("patch", "services"),
]


@pytest.mark.parametrize(("verb", "resource"), CLAIMING)
def test_killed_between_the_claim_and_the_status(verb: str, resource: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            kill_before(found, verb, resource)
            await killed_in(found.addresses())
            assert found.told() == []
            held = found.held()
            await found.addresses().look()
            assert len(found.told()) == 1
            assert [len(one) for one in found.held().values()] == [1]
            assert found.held() == held or not held, "what was claimed is what is told"

    run(story)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("get", "services"), ("update", "ipamblocks.underlay.io"), ("delete", "ipamhandles.underlay.io")],
)
def test_killed_between_the_deletion_and_the_release(verb: str, resource: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service("stays")
            await found.service()
            await found.addresses().look()
            await found.delete()
            kill_before(found, verb, resource)
            await killed_in(found.addresses())
            async with controlled(found):
                await until(lambda: list(found.held()) == ["lb.shop.stays"] and found.handles() == ["lb.shop.stays"])
            assert len(found.told("stays")) == 1

    run(story)


@pytest.mark.parametrize(("verb", "resource"), [("patch", "services"), ("update", "ipamblocks.underlay.io")])
def test_killed_while_an_address_is_changed(verb: str, resource: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            await found.addresses().look()
            (old,) = found.told()
            wanted = "198.51.100.6" if old != "198.51.100.6" else "198.51.100.5"
            await found.service(annotations={"loadBalancerIPs": [wanted]})
            kill_before(found, verb, resource)
            await killed_in(found.addresses())
            assert found.told() == [old], "an address is told only while it is held"
            await found.addresses().look()
            assert found.told() == [wanted]
            assert [len(one) for one in found.held().values()] == [1]

    run(story)


def test_a_service_that_only_seems_gone_keeps_its_address(tmp_path: Path) -> None:
    """What a store remembers of the cluster may be old."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            await found.service()
            store = found.cluster.store(())
            addresses = ServiceAddresses(store, found.said.append)
            await addresses.look()
            before = found.told(), found.held()

            async def nothing(kind: str) -> Any:
                return [] if kind == "Service" else await listed(kind)

            listed, store.list = store.list, nothing  # type: ignore[assignment,method-assign]
            await addresses.look()
            assert (found.told(), found.held()) == before

    run(story)


REFUSED = (Fault(500), Fault(429, retry_after="0"), Fault(0))
LOST = (Fault(500, late=True), Fault(503, late=True), Fault(0, late=True))


@pytest.mark.parametrize("faults", [REFUSED, LOST], ids=["refused", "answers-lost"])
def test_no_address_is_two_services_while_every_third_request_fails(faults: tuple[Fault, ...], tmp_path: Path) -> None:
    """With two controllers that both believe that they lead, and Services that come, go and change."""

    async def look(addresses: ServiceAddresses, done: asyncio.Event) -> None:
        while not done.is_set():
            with suppress(StoreError):
                await addresses.look()
            await asyncio.sleep(0.005)

    async def story() -> None:
        async with shop(tmp_path) as found:
            for number in range(6):
                await found.service(f"web-{number}")
            found.server.faults.next_fault = every_third(*faults)
            done = asyncio.Event()
            both = [asyncio.create_task(look(found.addresses(), done)) for _ in range(2)]
            await until(lambda: all(found.told(f"web-{number}") for number in range(6)), 30)
            for number in range(0, 6, 2):
                await found.delete(f"web-{number}")
            for number in range(6, 11):
                await found.service(f"web-{number}")
            await until(lambda: all(map(found.told, found.names())), 30)
            await until(lambda: found.held().keys() == {f"lb.shop.{name}" for name in found.names()}, 30)
            await until(lambda: all(len(one) == 1 for one in found.held().values()), 30)
            done.set()
            await asyncio.gather(*both)
            assert len(found.held()) == 8

    run(story)


# What follows of it


def test_an_address_is_announced_where_a_range_holds_its_pool(tmp_path: Path) -> None:
    """By every node the range; with externalTrafficPolicy Local the address itself, where a pod of it is."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            ranges = [{"cidr": PUBLIC["cidr"]}]
            await found.server.put(ours("BGPConfiguration", "default", serviceLoadBalancerIPs=ranges))
            await found.service(externalTrafficPolicy="Local")
            ready = {"nodeName": "node-1", "conditions": {"ready": True}, "addresses": ["10.0.0.1"]}
            labels = {"kubernetes.io/service-name": "web"}
            metadata = {"name": "web-1", "namespace": "shop", "labels": labels}
            slices = {"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4", "endpoints": [ready]}
            await found.server.put(slices, "discovery.k8s.io")
            await found.addresses().look()
            (address,) = found.told()
            view = await ViewReader(found.cluster.store(), "node-1").read()
            assert view.services.ranges == (PUBLIC["cidr"],)
            assert view.services.addresses == (f"{address}/32",)
            assert view.blocks == ()

    run(story)


def test_the_controller_may_do_what_it_does(tmp_path: Path) -> None:
    """Every request that it sends about Services is in its role."""

    async def story() -> None:
        async with shop(tmp_path) as found:
            async with controlled(found):
                await found.service()
                await until(lambda: bool(found.told()))
                await found.delete()
                await until(lambda: not found.held())
            role = next(
                one
                for one in yaml.safe_load_all((ROLES / "controller.yaml").read_text())
                if one["kind"] == "ClusterRole"
            )
            allowed = {
                (verb, resource)
                for rule in role["rules"]
                for group in rule["apiGroups"]
                if group == ""
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
            sent = {verb for verb, resource in found.server.requests if resource == "services"}
            assert sent == {"list", "watch", "get", "patch"}
            assert {("get", "services"), ("list", "services"), ("watch", "services")} <= allowed
            assert ("patch", "services/status") in allowed
            assert ("patch", "services") not in allowed

    run(story)
