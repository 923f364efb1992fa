"""Which resources of the API a kind is read from, and which of them it is written to.

Ours are custom resources of `underlay.io`. A Node is Kubernetes' own, or one of ours, or both: then it has the spec of
ours and the labels of both. With `calico_crds`, Calico's own are read, never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from peering.resources.catalog import KINDS, KUBERNETES, UNDERLAY

CALICO = "crd.projectcalico.org/v1"
CALICO_KINDS = ("BGPConfiguration", "BGPFilter", "BGPPeer", "IPPool")
#: Objects per page of a list. A Node of Kubernetes has some 10 kB.
_PAGE, _NODES_PAGE = 500, 100


@dataclass(frozen=True, slots=True)
class Source:
    """One resource of the API. `rank` is its place among the sources of its kind.

    `namespace`: only objects of that one are meant. One that is `namespaced` without it has objects in all namespaces,
    which are called NAMESPACE.NAME here.
    """

    kind: str
    api_version: str
    plural: str
    rank: int = 0
    writable: bool = True
    namespace: str = ""
    namespaced: bool = False
    page: int = _PAGE

    @property
    def may_be_missing(self) -> bool:
        """Whether a cluster need not have the resource at all. One whose Calico is older has not all of its kinds."""
        return self.api_version == CALICO

    def path(self, name: str = "") -> str:
        """Of all objects, or of one."""
        return f"{self.collection(name)}/{self.place(name)[1]}" if name else self.collection()

    def collection(self, name: str = "") -> str:
        """Where an object is made, or all are listed."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        namespace = self.place(name)[0] if name else self.namespace
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    def place(self, name: str) -> tuple[str, str]:
        """Namespace, if there is one, and name as the API has it. No namespace has a dot in its name."""
        if not self.namespaced:
            return self.namespace, name
        namespace, _, rest = name.partition(".")
        return namespace, rest

    def name_of(self, metadata: Mapping[str, Any]) -> str:
        """Our name of an object."""
        return f"{metadata['namespace']}.{metadata['name']}" if self.namespaced else str(metadata["name"])


@cache
def sources_of(kind: str, namespace: str, calico_crds: bool) -> tuple[Source, ...]:
    """The first is the one that is written; of what several have by one name, it wins."""
    row = KINDS[kind]
    if kind == "Secret":
        return (Source(kind, KUBERNETES, row.plural, namespace=namespace),)
    if UNDERLAY not in row.api_versions:
        return (Source(kind, row.api_versions[0], row.plural, writable=False, namespaced=row.namespaced),)
    sources = [Source(kind, UNDERLAY, row.plural)]
    if kind == "Node":
        sources.append(Source(kind, KUBERNETES, row.plural, len(sources), writable=False, page=_NODES_PAGE))
    if calico_crds and kind in CALICO_KINDS:
        sources.append(Source(kind, CALICO, row.plural, len(sources), writable=False))
    return tuple(sources)
