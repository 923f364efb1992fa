"""Writes of single objects, each a compare-and-swap or a server-side apply.

The answer to a write may be lost. It is sent again then, and if the server says that somebody was first, it is looked
who. What IPAM claims has the name of its last write in an annotation; of what is declared the content says enough. Is
it another's, then nobody can know whether ours was there before: that is no Conflict, which says that nothing was done.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from peering.resources.catalog import KINDS
from peering.store.kubernetes.api import APPLY_PATCH, JSON, Api, ApiError
from peering.store.kubernetes.objects import WRITE, own_version, to_object, version_of
from peering.store.kubernetes.sources import Source
from peering.store.protocol import Conflict, Document, NotFound, StoreError

#: Who the fields belong to that this engine writes.
MANAGER = "underlay"
_NOT_FOUND, _CONFLICT = 404, 409
_TRIES = 20


class Writer:
    """Objects of the API come back as they are after the write."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, source: Source, name: str) -> Document | None:
        """The object as it is now."""
        try:
            return await self._api.call("GET", source.path(name))
        except ApiError as error:
            if error.code == _NOT_FOUND:
                return None
            raise

    async def create(self, source: Source, name: str, document: Document, *, dry: bool = False) -> Document:
        """Raises Conflict when there is one of that name."""
        item = _marked(to_object(source, name, document))
        try:
            return await self._api.call("POST", source.collection(name), _words(dry), item)
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
            if error.lost:
                return await self._done(source, name, item)
            raise Conflict(f"{source.kind}/{name} exists already") from error

    async def replace(
        self, source: Source, name: str, document: Document, version: int, *, dry: bool = False
    ) -> Document:
        """Onto a version of the source's object. Raises Conflict, NotFound."""
        item = _marked(to_object(source, name, document, own_version(version)))
        written = await self._put(source, name, item, dry)
        if not dry and version_of(written) == own_version(version):
            # The server has left out a write that changes nothing; whoever read this version must lose against it.
            written = await self._put(source, name, _with_mark(item), dry)
        return written

    async def replace_any(self, source: Source, name: str, document: Document) -> Document:
        """Onto whatever version there is. Raises NotFound."""
        for _ in range(_TRIES):
            current = await self.find(source, name)
            if current is None:
                raise NotFound(f"there is no {source.kind}/{name}")
            with suppress(Conflict):
                return await self.replace(source, name, document, version_of(current))
        raise StoreError(f"{source.kind}/{name} is changed by others all the time")

    async def delete(self, source: Source, name: str, version: int | None, *, dry: bool = False) -> str:
        """Its uid. Raises Conflict, NotFound."""
        options: Document = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if version is not None:
            options["preconditions"] = {"resourceVersion": str(own_version(version))}
        try:
            answer = await self._api.call("DELETE", source.path(name), _words(dry), options)
        except ApiError as error:
            if error.code == _NOT_FOUND and error.lost:
                return ""
            if error.code == _CONFLICT and error.lost:
                raise _unknown(source, name) from error
            raise _as_told(error, source, name) from error
        return str((answer.get("details") or answer.get("metadata") or {}).get("uid", ""))

    async def apply(
        self, source: Source, name: str, document: Document, sub: str = "", version: int | None = None
    ) -> Document:
        """Server-side apply: makes or changes the object, and takes over fields that others have written.

        With a version only onto that one: raises Conflict.
        """
        item = to_object(source, name, document, version)
        if sub:
            item = {**{word: item[word] for word in ("apiVersion", "kind", "metadata")}, sub: document.get(sub, {})}
        path = source.path(name) + (f"/{sub}" if sub else "")
        words = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        try:
            return await self._api.call("PATCH", path, words, item, APPLY_PATCH)
        except ApiError as error:
            raise _as_told(error, source, name) from error

    async def _put(self, source: Source, name: str, item: Document, dry: bool) -> Document:
        try:
            return await self._api.call("PUT", source.path(name), _words(dry), item, JSON)
        except ApiError as error:
            if error.code == _CONFLICT and error.lost:
                return await self._done(source, name, item)
            raise _as_told(error, source, name) from error

    async def _done(self, source: Source, name: str, item: Document) -> Document:
        """What is there, if it is what was sent. Raises StoreError when it is not."""
        current = await self.find(source, name)
        if current is None or not _is_ours(current, item):
            raise _unknown(source, name)
        return current


def _unknown(source: Source, name: str) -> StoreError:
    return StoreError(f"the answer was lost: it is not known whether {source.kind}/{name} was written")


def _marked(item: Document) -> Document:
    return _with_mark(item) if KINDS[item["kind"]].writer == "observed" else item


def _with_mark(item: Document) -> Document:
    annotations = {**item["metadata"].get("annotations", {}), WRITE: secrets.token_hex(8)}
    return {**item, "metadata": {**item["metadata"], "annotations": annotations}}


def _is_ours(current: Document, item: Document) -> bool:
    mine, theirs = (one["metadata"].get("annotations") or {} for one in (item, current))
    if WRITE in mine:
        return bool(mine[WRITE] == theirs.get(WRITE))
    return _content(current) == _content(item)


def _content(item: Document) -> tuple[Any, ...]:
    """What a writer decides of an object."""
    metadata = item["metadata"]
    rest = {field: value for field, value in item.items() if field not in ("metadata", "status")}
    return rest, metadata.get("labels") or {}, metadata.get("annotations") or {}


def _words(dry: bool) -> Mapping[str, str]:
    """Fields that the server does not know are refused and not dropped."""
    return {"fieldManager": MANAGER, "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}


def _as_told(error: ApiError, source: Source, name: str) -> StoreError:
    if error.code == _NOT_FOUND:
        return NotFound(f"there is no {source.kind}/{name}")
    if error.code == _CONFLICT:
        return Conflict(f"{source.kind}/{name} was changed by somebody else ({error})")
    return error
