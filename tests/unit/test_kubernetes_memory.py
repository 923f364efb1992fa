"""What a process holds of a large cluster: a part of 5,000 nodes' worth, and the start of whoever needs no cluster."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peering.store.kubernetes.objects import Packed, pack, same_content
from peering.store.kubernetes.sources import Source, sources_of
from peering.store.protocol import Document

_ROOT = Path(__file__).parents[2]
_NODES = 200
_PODS = 30
_MIB = 1024 * 1024
#: Bounds for 5,000 nodes: what the stores of a controller and of a speaker may hold of them.
_CONTROLLER, _SPEAKER = 80 * _MIB * _NODES / 5000, 60 * _MIB * _NODES / 5000


def source(kind: str) -> Source:
    return sources_of(kind, "underlay-system", False)[-1]


def item(name: str, number: int, **content: Any) -> Document:
    """With the fields that every object of an API server has, and that nobody here reads."""
    return {
        "metadata": {
            "name": name,
            "uid": f"7f0c1b3e-0000-4000-8000-{number:012}",
            "resourceVersion": str(100_000_000 + number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
            "managedFields": [{"manager": "m", "fieldsV1": {f"f:{field}": {} for field in range(40)}}],
            **content.pop("metadata", {}),
        },
        **content,
    }


def nodes() -> Iterator[Packed]:
    """As a kubelet writes them: most of it is of no use here."""
    for number in range(_NODES):
        name = f"node-{number:04}"
        labels = {f"kubernetes.io/label-{one}": f"value-{one}" for one in range(10)} | {"rack": f"r{number // 20}"}
        uplinks = f"eth1=10.1.{number // 256}.{number % 256}/31;eth2=10.2.{number // 256}.{number % 256}/31"
        images = [{"names": [f"registry.example/image-{one}@sha256:{'a' * 64}"], "sizeBytes": one} for one in range(50)]
        addresses = [{"type": "InternalIP", "address": f"192.0.{number // 256}.{number % 256}"}]
        metadata = {"labels": labels, "annotations": {"underlay.io/uplinks": uplinks, "other/long": "x" * 500}}
        status = {"addresses": addresses, "images": images}
        yield pack(source("Node"), item(name, number, metadata=metadata, spec={"podCIDR": "x"}, status=status))


def blocks() -> Iterator[Packed]:
    for number in range(_NODES):
        name, cidr = f"node-{number:04}", f"10.{number // 256}.{number % 256}.0/26"
        metadata = {"labels": {"underlay.io/node": name, "underlay.io/type": "host"}}
        spec = {"node": name, "cidr": cidr, "state": "confirmed"}
        yield pack(source("BlockAffinity"), item(f"{name}-{number}", number, metadata=metadata, spec=spec))


def addresses() -> Iterator[Packed]:
    for number in range(_NODES):
        name, cidr = f"node-{number:04}", f"10.{number // 256}.{number % 256}.0/26"
        handles = [f"network.{hashlib.sha256(f'{number}.{pod}'.encode()).hexdigest()}" for pod in range(_PODS)]
        given = [
            {"ordinal": pod, "handle": handle, "sequence": 100_000_000, "namespace": "shop", "pod": f"{name}-pod-{pod}"}
            for pod, handle in enumerate(handles)
        ]
        spec = {"cidr": cidr, "affinity": f"host:{name}", "allocations": given}
        yield pack(source("IPAMBlock"), item(f"block-{number}", number, spec=spec))
        for handle in handles:
            yield pack(source("IPAMHandle"), item(handle, number, spec={"handle": handle, "blocks": [cidr]}))


def reports() -> Iterator[Packed]:
    """Of nodes with two sessions of both families each."""
    for number in range(_NODES):
        name = f"node-{number:04}"
        sessions = [
            {
                "session": f"tor-{number // 20}{side}-ipv{family}",
                "peer": f"switch/tor-{number // 20}{side}",
                "localAddress": f"10.1.{number // 256}.{number % 256}",
                "peerAddress": f"10.1.{number // 256}.{number % 256 + 1}",
                "peerASN": 4_200_000_000 + number // 20,
                "state": "Established",
                "since": 1_767_268_800.0,
                **dict.fromkeys(("received", "accepted", "announced"), 5000),
            }
            for side in "ab"
            for family in (4, 6)
        ]
        spec = {"node": name, "reported": 1_767_268_800.0, "sessions": sessions, "established": 4, "total": 4}
        yield pack(source("BGPNodeStatus"), item(name, number, spec=spec))


def held(*makers: Iterable[Packed]) -> int:
    """Bytes that are held in the shape in which a follower holds them."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = [{one.name: one for one in maker} for maker in makers]
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        assert kept
        return size
    finally:
        tracemalloc.stop()


def test_a_controller_holds_everything() -> None:
    assert held(nodes(), blocks(), addresses(), reports()) < _CONTROLLER


def test_a_speaker_holds_all_nodes_and_blocks_where_nodes_peer() -> None:
    assert held(nodes(), blocks()) < _SPEAKER / 3


def test_documents_would_not_fit() -> None:
    """Else all the packing is for nothing."""
    gc.collect()
    tracemalloc.start()
    documents = [one.document for one in addresses()]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(documents) == _NODES * (_PODS + 1)
    assert size > _CONTROLLER


@pytest.mark.parametrize("size", [1, 10_000])
def test_what_is_kept_in_less_room_says_the_same(size: int) -> None:
    """Also where the name stands in a text, and a NUL, which stands for the name."""
    spec = {"handle": "the-name", "text": "x" * size, "odd": ["\0", 'say "the-name"', "the-name", "\\"]}
    one, same = (pack(source("IPAMHandle"), item("the-name", number, spec=spec)) for number in (1, 2))
    other = pack(source("IPAMHandle"), item("the-name", 1, spec={**spec, "text": "y" * size}))
    named, renamed = (pack(source("IPAMHandle"), item(name, 1, spec={"handle": name})) for name in ("a", "b"))
    assert one.document["spec"] == spec
    assert json.loads(one.raw) == {"spec": spec}
    assert same_content(one, same)
    assert not same_content(one, other)
    assert not same_content(named, renamed)


@pytest.mark.parametrize("module", ["peering.store.open_store", "underlay.cli"])
def test_who_needs_no_cluster_does_not_load_its_client(module: str) -> None:
    script = f"import {module}, sys; print(sorted({{'kubernetes', 'aiohttp'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_client_that_is_not_installed_is_told() -> None:
    script = (
        "import sys\n"
        "sys.modules['kubernetes'] = None\n"
        "from peering.store.open_store import open_store\n"
        "try:\n"
        "    open_store('kubernetes')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("StoreError --store kubernetes: kubernetes is not installed: pip install")
