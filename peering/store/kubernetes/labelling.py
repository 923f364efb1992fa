"""Labels for what was not written by this engine: a BlockAffinity or IPAMBlock that kubectl made, or a backup brought.

Speakers choose what they watch of these by labels that every write of ours puts on. What has none would be known to
nobody but to who asks for it by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from peering.store.kubernetes.api import Api, ApiError
from peering.store.kubernetes.objects import NODE_LABEL, own_labels
from peering.store.kubernetes.sources import Source
from peering.store.protocol import Document

#: Out of the server's memory: it comes round again.
_WITHOUT = {"labelSelector": f"!{NODE_LABEL}", "resourceVersion": "0"}
_MEANWHILE = frozenset((404, 409))


async def label(api: Api, sources: Iterable[Source]) -> list[str]:
    """Puts them on where they are missing; a sentence for each object. Raises StoreError.

    Onto the very version that was read: what somebody else writes meanwhile has them by that.
    """
    said = []
    for source in sources:
        async for page in api.pages(source.path(), _WITHOUT, source.page):
            for item in page["items"]:
                labels = own_labels(source.kind, item)
                if labels and await _put(api, source, item, labels):
                    said.append(f"{source.kind}/{item['metadata']['name']} was made without labels: it has them now")
    return said


async def _put(api: Api, source: Source, item: Document, labels: dict[str, str]) -> bool:
    """Items of a list do not say what they are."""
    metadata = {**item["metadata"], "labels": {**(item["metadata"].get("labels") or {}), **labels}}
    whole = {**item, "apiVersion": source.api_version, "kind": source.kind, "metadata": metadata}
    try:
        await api.call("PUT", source.path(metadata["name"]), {}, whole)
    except ApiError as error:
        if error.code in _MEANWHILE:
            return False
        raise
    return True
