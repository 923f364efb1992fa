"""The verbs that write, with what an API server checks and fills in before it commits."""

from __future__ import annotations

import base64
import copy
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.kube_api.apply import Owners, applied
from tests.kube_api.errors import Refused
from tests.kube_api.objects import Document, Key, Objects, key_of
from tests.kube_api.patches import json_patch, merge_patch
from tests.kube_api.resources import Resource
from tests.kube_api.schema import prune, validate

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json-patch+json"
_OF_SERVER = ("uid", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")


@dataclass(frozen=True)
class Place:
    """Which object a request is about."""

    resource: Resource
    namespace: str
    name: str
    status: bool = False

    @property
    def key(self) -> Key:
        return key_of(self.resource, self.namespace, self.name)


@dataclass(frozen=True)
class How:
    """The words of the query that writes have."""

    manager: str = "unknown"
    force: bool = False
    dry_run: bool = False
    strict: bool = False


class Writer:
    """`now` gives the time as RFC 3339 writes it."""

    def __init__(self, objects: Objects, now: Callable[[], str]) -> None:
        self._objects = objects
        self._now = now

    async def create(self, place: Place, document: Document, how: How) -> Document:
        self._check_kind(place, document)
        if place.key in self._objects.documents:
            raise Refused(409, f'{place.resource.name} "{place.name}" already exists', "AlreadyExists")
        if document["metadata"].get("resourceVersion"):
            raise Refused(400, "resourceVersion should not be set on objects to be created")
        new = _known_fields(place, document, how)
        if place.resource.has_status and place.resource.schema is not None:
            new.pop("status", None)
        owners = Owners()
        owners.wrote(how.manager, {}, new, place.resource.schema)
        return await self._commit(place, None, new, owners, how)

    async def replace(self, place: Place, document: Document, how: How) -> Document:
        self._check_kind(place, document)
        old = self.get(place)
        self._check_version(place, old, document["metadata"])
        if place.resource.schema is not None and not document["metadata"].get("resourceVersion"):
            raise Refused(422, f"{place.name}: metadata.resourceVersion: must be specified for an update")
        owners = self._objects.owners[place.key].copy()
        new = self._with_subresource(place, old, _known_fields(place, document, how))
        owners.wrote(how.manager, old, new, place.resource.schema)
        return await self._commit(place, old, new, owners, how)

    async def patch(self, place: Place, content_type: str, patch: Any, how: How) -> Document:
        if content_type == _APPLY:
            return await self._apply(place, patch, how)
        old = self.get(place)
        make = {_MERGE: merge_patch, _JSON: json_patch}.get(content_type)
        if make is None:
            raise Refused(415, f"the body of the request was in an unknown format: {content_type}")
        return await self.replace(place, make(old, patch), how)

    async def _apply(self, place: Place, wanted: Document, how: How) -> Document:
        """Makes the object if it is not there; a patch of the status does not."""
        self._check_kind(place, wanted)
        old = self._objects.documents.get(place.key)
        metadata = wanted["metadata"]
        if old is None and (place.status or metadata.get("uid") or metadata.get("resourceVersion")):
            raise self._missing(place)
        if old is not None:
            self._check_version(place, old, metadata)
        schema = place.resource.schema
        owners = self._objects.owners[place.key].copy() if old is not None else Owners()
        base = old if old is not None else {key: wanted[key] for key in ("apiVersion", "kind")} | {"metadata": {}}
        wanted = _known_fields(place, wanted, how)
        if not place.status and place.resource.has_status:
            wanted.pop("status", None)
        new = applied(base, wanted, how.manager, owners, schema, force=how.force)
        new["metadata"]["name"] = place.name
        if place.namespace:
            new["metadata"]["namespace"] = place.namespace
        if old is not None:
            new = self._with_subresource(place, old, new)
        return await self._commit(place, old, new, owners, how)

    async def delete(self, place: Place, options: Document, how: How) -> Document:
        """What is answered: the object while finalizers keep it, else a Status."""
        old = self.get(place)
        preconditions = options.get("preconditions") or {}
        if preconditions.get("uid") not in (None, old["metadata"]["uid"]):
            raise self._conflict(place, "the UID in the precondition does not match")
        if preconditions.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise self._conflict(place, "the ResourceVersion in the precondition does not match")
        if how.dry_run:
            return old
        if old["metadata"].get("finalizers"):
            new = copy.deepcopy(old)
            new["metadata"].setdefault("deletionTimestamp", self._now())
            return await self._objects.keep(place.key, new, self._objects.owners[place.key])
        await self._objects.remove(place.key)
        details = {"name": place.name, "kind": place.resource.plural, "uid": old["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def get(self, place: Place) -> Document:
        try:
            return self._objects.documents[place.key]
        except KeyError:
            raise self._missing(place) from None

    async def _commit(self, place: Place, old: Document | None, new: Document, owners: Owners, how: How) -> Document:
        """Checks the whole object; one that is as it was is not written again."""
        new = copy.deepcopy(new)
        metadata = new["metadata"]
        if old is None:
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=self._now(), generation=1)
        else:
            metadata.update({word: old["metadata"][word] for word in _OF_SERVER if word in old["metadata"]})
            metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
            if {**new, "metadata": 0, "status": 0} != {**old, "metadata": 0, "status": 0}:
                metadata["generation"] = old["metadata"].get("generation", 1) + 1
        validate(place.resource, new, old)
        if old is not None and new == old and owners.fields == self._objects.owners[place.key].fields:
            return old
        metadata["managedFields"] = owners.as_managed_fields(self._now())
        if how.dry_run:
            return new
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return await self._objects.remove(place.key)
        return await self._objects.keep(place.key, new, owners)

    def _with_subresource(self, place: Place, old: Document, new: Document) -> Document:
        """A write of the status changes nothing else, and the other way round."""
        if not place.resource.has_status:
            return new
        if place.status:
            return {**old, "status": new.get("status", {}), "metadata": dict(old["metadata"])}
        kept = {"status": old["status"]} if "status" in old else {}
        return {**{word: value for word, value in new.items() if word != "status"}, **kept}

    def _check_kind(self, place: Place, document: Any) -> None:
        resource = place.resource
        if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
            raise Refused(400, "the object provided is unrecognized")
        given = document.get("apiVersion"), document.get("kind")
        if given != (resource.api_version, resource.kind):
            raise Refused(400, f"{given} does not match {resource.api_version}, {resource.kind}")
        if document["metadata"].get("name", place.name) != place.name:
            raise Refused(400, "the name of the object does not match the name on the URL")

    def _check_version(self, place: Place, old: Document, metadata: Document) -> None:
        if metadata.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise self._conflict(place, "the object has been modified; please apply your changes to the latest version")
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise self._conflict(place, "the UID in the precondition does not match the UID in record")

    def _conflict(self, place: Place, why: str) -> Refused:
        return Refused(409, f'Operation cannot be fulfilled on {place.resource.name} "{place.name}": {why}')

    def _missing(self, place: Place) -> Refused:
        return Refused(404, f'{place.resource.name} "{place.name}" not found')


def _known_fields(place: Place, document: Document, how: How) -> Document:
    """Without what the schema does not name; with `fieldValidation=Strict` that is refused instead."""
    known: Document = prune(document, place.resource.schema)
    if how.strict and known != document:
        raise Refused(400, f"{place.resource.kind} in version {place.resource.version} has unknown fields")
    if place.resource.kind == "Secret" and "stringData" in known:
        values = {name: base64.b64encode(text.encode()).decode() for name, text in known["stringData"].items()}
        known = {**known, "data": {**known.get("data", {}), **values}}
        del known["stringData"]
    return known
