"""Which service addresses a node announces, and what Kubernetes' documents say of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.node_view import ViewReader
from peering.compile import plan
from peering.resource import Resource, parse_resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.services import EXCLUDED, NOTHING, Announced, announced_services
from peering.session import PrefixRule
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.declarations import configuration
from tests.unit.samples import dual_tor

Document = dict[str, Any]
RANGES: Document = {
    "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}, {"cidr": "fd00:96::/112"}],
    "serviceExternalIPs": [{"cidr": "192.0.2.0/25"}, {"cidr": "192.0.2.200/32"}],
    "serviceLoadBalancerIPs": [{"cidr": "198.51.100.0/24"}],
}
WHOLE = ("10.96.0.0/12", "192.0.2.0/25", "198.51.100.0/24", "fd00:96::/112")


def parsed(document: Document) -> Resource:
    found = parse_resource(document)
    assert isinstance(found, Resource), found
    return found


def service(name: str = "web", *, balanced: tuple[str, ...] = (), **spec: Any) -> Resource:
    """As an API server has it, with fields that nobody here reads."""
    ingress = [{"ip": address, "ipMode": "VIP"} for address in balanced]
    return parsed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop", "uid": "1"},
            "spec": {"ports": [{"port": 80}], "selector": {"app": name}, "sessionAffinity": "None", **spec},
            "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
        }
    )


def slices(*endpoints: Document, of: str = "web", name: str = "web-x2v") -> Resource:
    return parsed(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": of}},
            "addressType": "IPv4",
            "endpoints": list(endpoints),
            "ports": [{"port": 8080}],
        }
    )


def on(node: str, **conditions: Any) -> Document:
    return {"addresses": ["10.244.0.5"], "nodeName": node, "conditions": conditions or {"ready": True}}


def told(*resources: Resource, node: str = "node-1", **ranges: Any) -> Announced:
    return replace(announced(*resources, node=node, **ranges), shared=())


def announced(*resources: Resource, node: str = "node-1", **ranges: Any) -> Announced:
    spec = BGPConfigurationSpec.model_validate({**RANGES, **ranges})
    return announced_services(spec, resources, node, {})


CLUSTER: Document = {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00:96::7"]}
LOCAL: Document = {**CLUSTER, "externalTrafficPolicy": "Local"}


def test_ranges_are_announced_whole_by_every_node() -> None:
    assert told() == Announced(WHOLE)
    assert told(service(**CLUSTER, balanced=("198.51.100.9",)), slices(on("node-2"))) == Announced(WHOLE)


def test_local_is_announced_where_an_endpoint_is_ready() -> None:
    web = service(**LOCAL, externalIPs=["192.0.2.9", "203.0.113.1"], balanced=("198.51.100.9",))
    there = ("10.96.0.7/32", "192.0.2.9/32", "198.51.100.9/32", "fd00:96::7/128")
    assert told(web, slices(on("node-1"), on("node-2"))) == Announced(WHOLE, there)
    assert told(web, slices(on("node-2"))) == Announced(WHOLE)
    assert told(web, slices(on("node-1"), of="other")) == Announced(WHOLE)
    assert told(web) == Announced(WHOLE)


@pytest.mark.parametrize(
    ("endpoint", "counts"),
    [
        (on("node-1", ready=True), True),
        (on("node-1", serving=True), True),
        (on("node-1", ready=False), False),
        (on("node-1", ready=False, serving=True, terminating=True), False),
        ({"addresses": ["10.244.0.5"], "conditions": {"ready": True}}, False),
        ({"addresses": ["10.244.0.5"], "nodeName": "node-1"}, True),
        ({"nodeName": 7}, False),
        ("nonsense", False),
    ],
)
def test_an_endpoint_counts_where_it_is_ready(endpoint: Any, counts: bool) -> None:
    found = told(service(**LOCAL), slices(endpoint))
    assert found.addresses == (("10.96.0.7/32", "fd00:96::7/128") if counts else ())


def test_all_slices_of_a_service_count() -> None:
    two = (slices(on("node-2")), slices(on("node-1"), name="web-9kk"))
    assert told(service(**LOCAL), *two).addresses == ("10.96.0.7/32", "fd00:96::7/128")


def test_a_range_of_one_address_is_announced_with_its_service() -> None:
    web = service(clusterIP="10.96.0.7", externalIPs=["192.0.2.200"])
    assert told(web, slices(on("node-2"))) == Announced(WHOLE, ("192.0.2.200/32",))
    assert told(web) == Announced(WHOLE)


def test_without_aggregation_load_balancers_are_announced_one_by_one() -> None:
    both = (service(**CLUSTER, balanced=("198.51.100.9",)), slices(on("node-2")))
    found = told(*both, serviceLoadBalancerAggregation="Disabled")
    assert found == Announced(("10.96.0.0/12", "192.0.2.0/25", "fd00:96::/112"), ("198.51.100.9/32",))
    assert told(both[0], serviceLoadBalancerAggregation="Disabled").addresses == ()


def test_an_excluded_node_announces_none() -> None:
    spec = BGPConfigurationSpec.model_validate(RANGES)
    assert announced_services(spec, (), "node-1", {EXCLUDED: "true"}) == NOTHING
    assert announced_services(spec, (), "node-1", {EXCLUDED: "false"}) == Announced(WHOLE)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"type": "ExternalName", "externalName": "example.org"},
        {"clusterIPs": "10.96.0.7", "externalIPs": [7, None, "x"], "type": "Newer"},
        {},
    ],
)
def test_odd_services_stop_nobody(spec: Document) -> None:
    assert told(service(**spec), slices(on("node-1"))) == Announced(WHOLE)


def test_what_is_kept_is_read_back() -> None:
    web = service(**LOCAL, externalIPs=["192.0.2.9"], balanced=("198.51.100.9",), loadBalancerClass="underlay.io/bgp")
    for one in (web, slices(on("node-1"), on("node-2"))):
        again = parsed(one.to_document())
        assert (again.ref, again.spec) == (one.ref, one.spec)
    assert web.name == "shop.web"


@pytest.mark.parametrize(
    ("ready_on", "shared"),
    [
        ((), ()),
        (("node-1",), ()),
        (("node-2",), WHOLE),
        (("node-1", "node-2"), (*WHOLE, "10.96.0.7/32", "fd00:96::7/128")),
    ],
)
def test_what_other_nodes_announce_too(ready_on: tuple[str, ...], shared: tuple[str, ...]) -> None:
    """With a local policy an address is that of the nodes with an endpoint, a range that of all nodes."""
    found = announced(service(**LOCAL), slices(*map(on, ready_on)))
    assert set(found.shared) == set(shared)


def test_an_address_of_two_services_is_shared_when_it_is_so_with_both() -> None:
    everywhere = service("mail", externalIPs=["192.0.2.200"])
    here_only = service(externalIPs=["192.0.2.200"], externalTrafficPolicy="Local", type="NodePort")
    on_2 = slices(on("node-2"), of="mail", name="mail-1")
    assert "192.0.2.200/32" in announced(everywhere, on_2).shared
    for services in ((everywhere, here_only), (here_only, everywhere)):
        found = announced(*services, on_2, slices(on("node-1")))
        assert "192.0.2.200/32" in found.addresses
        assert "192.0.2.200/32" not in found.shared


# The fabric


def test_switches_accept_ranges_and_single_addresses_and_pass_them_on() -> None:
    found = plan(dual_tor().with_changes([configuration(**RANGES, asNumber=64512)], [])).switches["tor-1a"]
    wanted = {
        PrefixRule("198.51.100.0/24", 24, 24),
        PrefixRule("198.51.100.0/24", 32, 32),
        PrefixRule("fd00:96::/112", 112, 112),
        PrefixRule("fd00:96::/112", 128, 128),
        PrefixRule("192.0.2.200/32", 32, 32),
    }
    assert wanted <= set(found.accept)
    assert wanted <= set(found.announce)
    assert not wanted & set(found.send)


def test_a_speaker_announces_them_to_every_neighbour() -> None:
    speaker = plan(dual_tor()).speakers["node-1"]
    found = desired_announcements(speaker, (), services=("10.96.0.0/12", "fd00:96::7/128"))
    tors = {s.peer_address: s for s in speaker.sessions}
    assert len(found) == len(tors)
    for address, announced in found.items():
        assert ("10.96.0.0/12" in announced) == ("ipv4-unicast" in tors[address].families)
        assert ("fd00:96::7/128" in announced) == ("ipv6-unicast" in tors[address].families)


def test_a_speakers_view_follows_the_endpoints(tmp_path: Path) -> None:
    async def story() -> list[Announced]:
        store = SqliteStore(tmp_path / "store.db")
        for one in dual_tor().with_changes([configuration(**RANGES, asNumber=64512)], []):
            await put(store, one)
        await put(store, service(**LOCAL))
        reader, seen = ViewReader(store, "node-1"), []
        for node in ("node-2", "node-1", "node-3"):
            await put(store, slices(on(node)))
            seen.append((await reader.read()).services)
        await store.close()
        return seen

    away, here, gone = asyncio.run(story())
    assert here == Announced(WHOLE, ("10.96.0.7/32", "fd00:96::7/128"))
    assert away == gone == Announced(WHOLE, shared=WHOLE)
