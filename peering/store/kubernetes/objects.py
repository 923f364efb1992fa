"""An object of the API as one of our documents, and back.

Of an object is kept what a reader may use: labels, annotations, spec, the values of a Secret, the addresses, cordon and
podCIDRs of a Node. It is kept as text, which takes much less than dictionaries, and read when somebody asks for the
document.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence

from peering.kubernetes_node import is_cordoned, pod_cidrs_of
from peering.resources.catalog import DISCOVERY, KUBERNETES
from peering.store.kubernetes.sources import Source
from peering.store.protocol import Document, Stored

#: Labels that this engine writes, for selectors of watches; documents never show them.
NODE_LABEL, TYPE_LABEL = "underlay.io/node", "underlay.io/type"
#: By this annotation a writer knows its own write again, and no write is equal to what it replaces.
WRITE = "underlay.io/write"
_OWN = (NODE_LABEL, TYPE_LABEL, WRITE)
_FOREIGN = (KUBERNETES, DISCOVERY)
#: Annotations of Kubernetes' own objects that are kept.
_ANNOTATIONS = ("projectcalico.org/", "underlay.io/")
_SERVICE_FIELDS = (
    "type",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalTrafficPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "ipFamilies",
    "ipFamilyPolicy",
)
_LONGEST_LABEL = 63
#: Bytes from which on compressing is worth its time, which is 10 to 60 µs.
_LONG = 400
_NAME = b"\0"
#: Versions of several sources stand beside each other in the number that is their object's version.
_VERSION_BITS = 64


class Packed(Stored):
    """An object of one source as it was read; `document` is made anew at each reading."""

    __slots__ = ("_kept", "source")
    source: Source
    _kept: bytes

    def __init__(self, source: Source, name: str, version: int, raw: bytes) -> None:
        for field, value in (
            ("kind", source.kind),
            ("name", name),
            ("version", version),
            ("_kept", _small(raw, name)),
            ("source", source),
        ):
            object.__setattr__(self, field, value)

    @property
    def raw(self) -> bytes:
        """What is kept of the object, as JSON."""
        return _large(self._kept, self.name)

    @property
    def document(self) -> Document:
        """The document, which the caller may change."""
        return unpack(self.source, self.name, self.raw)


def _small(raw: bytes, name: str) -> bytes:
    """JSON in less room, the same for the same: long ones are compressed, in others a NUL stands for the name.

    A cluster has a handle for each pod, of which the name is almost all. No JSON has a NUL, and it begins with a brace.
    """
    if len(raw) >= _LONG:
        return zlib.compress(raw, 1)
    return raw.replace(f'"{name}"'.encode(), _NAME)


def _large(kept: bytes, name: str) -> bytes:
    return kept.replace(_NAME, f'"{name}"'.encode()) if kept.startswith(b"{") else zlib.decompress(kept)


def version_of(item: Document) -> int:
    """Every API server gives versions as numbers; from Kubernetes 1.35 on that is promised."""
    return int(item["metadata"]["resourceVersion"])


def pack(source: Source, item: Document) -> Packed:
    """What is kept of an object of the API."""
    metadata = item["metadata"]
    return Packed(source, source.name_of(metadata), version_of(item), _raw(source, item))


def _raw(source: Source, item: Document) -> bytes:
    """Of Kubernetes' own objects, which others write much into and often, only what is read of them."""
    labels = _without_own(item["metadata"].get("labels"))
    annotations = _without_own(item["metadata"].get("annotations"))
    kept = _KEPT.get((source.kind, source.api_version), _spec)(item)
    if source.api_version in _FOREIGN:
        annotations = {name: text for name, text in annotations.items() if name.startswith(_ANNOTATIONS)}
    if labels:
        kept["labels"] = labels
    if annotations:
        kept["annotations"] = annotations
    return _text(kept)


def _spec(item: Document) -> Document:
    return {"spec": item["spec"]} if "spec" in item else {}


def _node(item: Document) -> Document:
    addresses = (item.get("status") or {}).get("addresses") or ()
    kept: Document = {"status": {"addresses": [one for one in addresses if one.get("type") == "InternalIP"]}}
    spec: Document = {"unschedulable": True} if is_cordoned(item.get("spec")) else {}
    if pod_cidrs := pod_cidrs_of(item.get("spec")):
        spec["podCIDRs"] = pod_cidrs
    return {**kept, "spec": spec} if spec else kept


def _secret(item: Document) -> Document:
    return {field: item[field] for field in ("data", "type", "immutable") if field in item}


def _service(item: Document) -> Document:
    spec, balancer = item.get("spec") or {}, (item.get("status") or {}).get("loadBalancer") or {}
    kept: Document = {"spec": {field: spec[field] for field in _SERVICE_FIELDS if field in spec}}
    return {**kept, "status": {"loadBalancer": balancer}} if balancer else kept


def _endpoint_slice(item: Document) -> Document:
    """On which nodes an endpoint is ready. One of which that is not said is (discovery.k8s.io/v1)."""
    endpoints = item.get("endpoints") or ()
    ready = {one.get("nodeName") for one in endpoints if (one.get("conditions") or {}).get("ready") is not False}
    return {"endpoints": [{"nodeName": node, "conditions": {"ready": True}} for node in sorted(ready - {None})]}


_KEPT = {
    ("Node", KUBERNETES): _node,
    ("Secret", KUBERNETES): _secret,
    ("Service", KUBERNETES): _service,
    ("EndpointSlice", DISCOVERY): _endpoint_slice,
}


def _text(kept: Document) -> bytes:
    return json.dumps(kept, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _without_own(words: dict[str, str] | None) -> dict[str, str]:
    return {name: text for name, text in (words or {}).items() if name not in _OWN}


def unpack(source: Source, name: str, raw: bytes) -> Document:
    """The document of what `pack` made."""
    kept = json.loads(raw)
    metadata = _identity(source, name)
    for field in ("labels", "annotations"):
        if field in kept:
            metadata[field] = kept.pop(field)
    return {"apiVersion": source.api_version, "kind": source.kind, "metadata": metadata, **kept}


def _identity(source: Source, name: str) -> Document:
    namespace, short = source.place(name)
    return {"namespace": namespace, "name": short} if source.namespaced else {"name": short}


def join(found: Sequence[Packed]) -> Packed:
    """One object out of what its sources say of it, in their order.

    The first wins. Only a Node is more than one of them: it has the labels and annotations of all, is cordoned when one
    of them is, and has the first podCIDRs that any of them has.
    """
    first = found[0]
    version = sum(one.version << (_VERSION_BITS * one.source.rank) for one in found)
    if len(found) == 1 and version == first.version:
        return first
    raw = first.raw
    if first.kind == "Node" and len(found) > 1:
        kept = [json.loads(one.raw) for one in found]
        merged = kept[0]
        for field in ("labels", "annotations"):
            words: dict[str, str] = {}
            for one in reversed(kept):
                words.update(one.get(field, {}))
            if words:
                merged[field] = words
        specs = [one.get("spec") or {} for one in kept]
        if any(spec.get("unschedulable") is True for spec in specs):
            merged["spec"] = {**(merged.get("spec") or {}), "unschedulable": True}
        pod_cidrs: list[str] = next((spec["podCIDRs"] for spec in specs if spec.get("podCIDRs")), [])
        if pod_cidrs:
            merged["spec"] = {**(merged.get("spec") or {}), "podCIDRs": pod_cidrs}
        raw = _text(merged)
    return Packed(first.source, first.name, version, raw)


def own_version(version: int) -> int:
    """The version of the first source's object in that of a joined one; 0 when there was none."""
    return version & ((1 << _VERSION_BITS) - 1)


def same_content(one: Packed | None, other: Packed | None) -> bool:
    """Whether a reader of documents would see no difference."""
    if one is None or other is None:
        return one is other
    return one._kept == other._kept and one.name == other.name and one.source == other.source


def fingerprint(one: Packed) -> int:
    """Another one when the object was written. Of what others write, and all the time, the content counts."""
    return one.version if one.source.writable else hash(one._kept)


def to_object(source: Source, name: str, document: Document, version: int | None = None) -> Document:
    """The object to write. With a version it replaces that one and no other."""
    given = document.get("metadata") or {}
    namespace, short = source.place(name)
    metadata: Document = {"name": short, **({"namespace": namespace} if namespace else {})}
    labels = {**(given.get("labels") or {}), **own_labels(source.kind, document)}
    for field, words in (("labels", labels), ("annotations", given.get("annotations"))):
        if words:
            metadata[field] = words
    if version is not None:
        metadata["resourceVersion"] = str(version)
    rest = {field: value for field, value in document.items() if field not in ("metadata", "status")}
    return {**rest, "apiVersion": source.api_version, "kind": source.kind, "metadata": metadata}


def own_labels(kind: str, document: Document) -> dict[str, str]:
    """By which a speaker finds its own blocks, and what anybody has borrowed."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return {}
    if kind == "BlockAffinity":
        return {NODE_LABEL: label_value(str(spec.get("node", ""))), TYPE_LABEL: str(spec.get("type", "host"))}
    of, _, owner = str(spec.get("affinity", "")).partition(":")
    return {NODE_LABEL: label_value(owner)} if kind == "IPAMBlock" and of == "host" else {}


def label_value(name: str) -> str:
    """A name as the value of a label, which is shorter: its hash where it is too long."""
    return name if len(name) <= _LONGEST_LABEL else hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_LABEL]
