"""`--store kubernetes`: which cluster, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from peering.store.protocol import StoreError

#: Where Secrets and the lock of `apply` are, unless the URL names another, or this is a pod of another.
NAMESPACE = "underlay-system"
_WORDS = ("calico-crds", "namespace")


@dataclass(frozen=True, slots=True)
class Location:
    """`context` is one of the kubeconfig; without it, that of the pod this runs in, else the current one.

    `calico_crds`: BGPPeer, BGPConfiguration, BGPFilter and IPPool of crd.projectcalico.org/v1 are read beside ours.
    """

    context: str = ""
    namespace: str = ""
    calico_crds: bool = False


def parse_location(rest: str) -> Location:
    """`CONTEXT?calico-crds&namespace=NAME`, all of it optional: what stands behind `kubernetes:`. Raises StoreError."""
    context, _, query = rest.partition("?")
    words = dict(parse_qsl(query, keep_blank_values=True))
    for word, value in words.items():
        if word not in _WORDS or (word == "calico-crds" and value):
            known = "?calico-crds and ?namespace=NAME"
            raise StoreError(f"--store: {word!r} is no setting of the Kubernetes store (there are {known})")
    return Location(context, words.get("namespace", ""), "calico-crds" in words)
