"""Pods by the reference plugin `ptp` and our IPAM on a Kubernetes store, while its API server is away and after.

What is new here beside lab_kubernetes: CHECK and DEL meanwhile, of pods from before and of new ones, and an agent that
is killed and started anew meanwhile. Every pod that is there is pinged by a router that learned its block by BGP.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from containerlab.cni_runtime import Attachment, CniFailed
from tests.interop.lab_kubernetes.api_server import StandIn, kubeconfig
from tests.interop.speaker_lab import SpeakerLab
from tests.interop.test_speaker_pods import AS_ROOT, BIRD, DECLARED, NETWORK, PodLab, soon

pytestmark = pytest.mark.lab

#: The blocks of both families have sixteen addresses, of which the node keeps the last four.
SIZES = {"pods-v4": 28, "pods-v6": 124}


class ClusterPods(PodLab):
    """A node whose store is an API server."""

    def __init__(self, lab: SpeakerLab, folder: Path, api: StandIn) -> None:
        super().__init__(lab, folder)
        self.api = api
        self.store = "kubernetes:stand-in"
        for document in yaml.safe_load_all(DECLARED):
            document["apiVersion"] = "underlay.io/v1alpha1"
            if document["kind"] == "IPPool":
                document["spec"]["blockSize"] = SIZES[document["metadata"]["name"]]
            api.put(document)

    def in_store(self) -> dict[str, set[str]]:
        """Container -> its addresses, as the blocks say."""
        found: dict[str, set[str]] = {}
        for name in self.api.names("ipamblocks"):
            spec = self.api.get("ipamblocks", name)["spec"]
            network = ipaddress.ip_network(spec["cidr"])
            for one in spec.get("allocations", ()):
                found.setdefault(one["handle"].removeprefix(f"{NETWORK}."), set()).add(str(network[one["ordinal"]]))
        return found

    def on_disk(self, file: str) -> str:
        path = self.queue.parent / "alone" / file
        return path.read_text() if path.exists() else ""

    def check(self, pod: Attachment) -> None:
        """Raises CniFailed."""
        asyncio.run(self.runtime.check(pod))

    def is_checked(self, pod: Attachment) -> bool:
        """Whether there is an agent that knows of the pod."""
        with contextlib.suppress(CniFailed):
            self.check(pod)
            return True
        return False

    def all_reached(self, *pods: tuple[str, ...]) -> bool:
        return all(self.reaches(address) for addresses in pods for address in addresses)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterPods]:
    with SpeakerLab(1) as lab:
        api = StandIn([lab.nodes[0].namespace])
        with api, kubeconfig(api, tmp_path):
            yield ClusterPods(lab, tmp_path, api)


def test_pods_come_go_and_are_checked_while_the_api_server_is_away(cluster: ClusterPods) -> None:
    names = ("one", "two", "thr", "fou")
    one, two, three, four = (cluster.pod(name) for name in names)
    cluster.start_agent(*AS_ROOT)
    cluster.router.start(BIRD)
    soon(cluster.list.exists)
    first, second = cluster.add(one), cluster.add(two)
    soon(lambda: cluster.all_reached(first, second))
    soon(lambda: cluster.on_disk("known.json").count(f"{NETWORK}.{two.container}") == 2)

    with cluster.api.away():
        third = cluster.add(three)
        assert cluster.on_disk("given.json").count(f"{NETWORK}.{three.container}") == 1
        for pod in (one, three):
            cluster.check(pod)
        cluster.delete(two)
        assert len(cluster.queued()) == 1
        soon(lambda: cluster.all_reached(first, third))
        assert not cluster.reaches(second[0])

        cluster.lab.kill_agent(cluster.node)
        cluster.delete(three)
        assert len(cluster.queued()) == 2
        cluster.start_agent(*AS_ROOT)
        soon(lambda: cluster.is_checked(one))
        fourth = cluster.add(four)
        assert not {*first, *second, *third} & {*fourth}
        for pod in (one, four):
            cluster.check(pod)
        soon(lambda: cluster.all_reached(first, fourth))

    remaining = {one.container: set(first), four.container: set(fourth)}
    soon(lambda: cluster.queued() == [] and cluster.in_store() == remaining)
    assert cluster.on_disk("given.json").count(NETWORK) == 0
    for pod in (one, four):
        cluster.check(pod)
    assert cluster.all_reached(first, fourth)
    for pod in (one, four):
        cluster.delete(pod)
    assert cluster.in_store() == {}
