"""BlockAffinity, IPAMBlock and IPAMHandle as Calico's IPAM writes them, in the shape of ours.

Calico's block has one place per address in `allocations`: nothing, or the index of what it knows about the address
in `attributes`. Ours lists the addresses in use, with the node and the pod if Calico knows them. Calico's handle counts
the addresses in each block. What it keeps beside (free list, sequence numbers) is its own bookkeeping and is read over.
"""

from __future__ import annotations

from typing import Any

from peering.foreign import Document, Reading

_AFFINITY_FACTS = ("deleted",)
_HANDLE_FACTS = ("block", "deleted", "handleID")
_OWNER_FACTS = ("node", "namespace", "pod")
_BLOCK_FACTS = (
    "affinityClaimTime",
    "attributes",
    "deleted",
    "sequenceNumber",
    "sequenceNumberForAllocation",
    "strictAffinity",
    "unallocated",
)


def read_affinity(document: Document) -> Reading:
    """`deleted: "true"` is how Calico announces that it deletes the object."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return Reading(spec)
    read = {name: value for name, value in spec.items() if name not in _AFFINITY_FACTS}
    if spec.get("deleted") in (True, "true"):
        read["state"] = "pendingDeletion"
    for name in ("state", "type"):
        if read.get(name) == "":
            del read[name]
    return Reading(read)


def read_block(document: Document) -> Reading:
    """Each allocation becomes one with its ordinal and its handle."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return Reading(spec)
    read = {name: value for name, value in spec.items() if name not in _BLOCK_FACTS}
    reading = Reading(read)
    if isinstance(read.get("allocations"), list):
        attributes = spec.get("attributes")
        read["allocations"] = _allocations(read["allocations"], attributes if isinstance(attributes, list) else [])
        reading = Reading(read)
        for index, ordinal in enumerate(_ordinals(spec["allocations"])):
            reading.places["allocations", index] = f"spec.allocations[{ordinal}]"
    return reading


def read_handle(document: Document) -> Reading:
    """`block` maps each block to the number of addresses in it; the handle itself is `handleID`."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return Reading(spec)
    read = {name: value for name, value in spec.items() if name not in _HANDLE_FACTS}
    blocks = spec.get("block")
    read["handle"] = spec.get("handleID")
    read["blocks"] = list(blocks) if isinstance(blocks, dict) else blocks
    return Reading(read, {("handle",): "spec.handleID", ("blocks",): "spec.block"})


def _ordinals(places: list[Any]) -> list[int]:
    return [ordinal for ordinal, place in enumerate(places) if place is not None]


def _allocations(places: list[Any], attributes: list[Any]) -> list[Any]:
    return [_allocation(ordinal, places[ordinal], attributes) for ordinal in _ordinals(places)]


def _allocation(ordinal: int, place: Any, attributes: list[Any]) -> Any:
    if isinstance(place, bool) or not isinstance(place, int):
        return place
    known = attributes[place] if 0 <= place < len(attributes) else None
    handle = known.get("handle_id") if isinstance(known, dict) else None
    return {"ordinal": ordinal, "handle": "" if handle is None else handle, **_owner(known)}


def _owner(known: Any) -> dict[str, str]:
    """Whose the address is, as far as that can be read: it helps to find leaks, and no block fails over it."""
    facts = known.get("secondary") if isinstance(known, dict) else None
    if not isinstance(facts, dict):
        return {}
    return {name: value for name in _OWNER_FACTS if isinstance(value := facts.get(name), str) and value.isprintable()}
