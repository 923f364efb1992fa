"""The HTTP side: paths, lists in pages, watches, and faults."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.kube_api.errors import Refused
from tests.kube_api.faults import HANGS_S, Fault, Faults
from tests.kube_api.objects import Document, Objects, key_of
from tests.kube_api.resources import BUILT_IN, Registry, Resource, our_definitions
from tests.kube_api.selectors import Matches, selector
from tests.kube_api.tables import discovery, is_table, table
from tests.kube_api.watching import Watching
from tests.kube_api.writing import How, Place, Writer

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class ApiServer:
    """Use as `async with`. `url` is where it answers; `requests` counts them by verb and resource.

    `used` are the rights that they took: verb, group, resource. `elsewhere` gives further sockets that listen at the
    port, such as in other network namespaces; asked at each start.
    """

    def __init__(self, definitions: Iterable[Document] | None = None, token: str = "") -> None:
        self.registry = Registry()
        self.registry.add(*BUILT_IN)
        self.registry.add_definitions(our_definitions() if definitions is None else definitions)
        self.objects = Objects(revision=1000)
        self.faults = Faults()
        self.token = token
        self.clock = time.time
        self.bookmark_interval = 60.0
        self.elsewhere: Callable[[int], Iterable[socket.socket]] = lambda port: ()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.used: set[tuple[str, str, str]] = set()
        self.queries: list[tuple[str, str, str, dict[str, str]]] = []
        self.writer = Writer(self.objects, self._now)
        self._watches: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> ApiServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Answers at the port that it had before, with all that it kept."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        ((_, self._port),) = self._runner.addresses
        for listening in self.elsewhere(self._port):
            await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        """Gone: every connection is cut, and nothing answers until `start`."""
        self.cut_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut_watches(self) -> None:
        for task in tuple(self._watches):
            task.cancel()

    def kubeconfig(self, path: Path, context: str = "stand-in", namespace: str = "") -> Path:
        """Writes one that leads here."""
        user = {"token": self.token} if self.token else {}
        where = {"cluster": "c", "user": "u", **({"namespace": namespace} if namespace else {})}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": context,
                    "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                    "users": [{"name": "u", "user": user}],
                    "contexts": [{"name": context, "context": where}],
                }
            )
        )
        return path

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))

    # What tests put in and look at without HTTP

    def resource(self, plural: str, group: str = "underlay.io") -> Resource:
        return next(one for one in self.registry.found.values() if (one.plural, one.group) == (plural, group))

    async def put(self, document: Document, group: str = "underlay.io", *, status: bool = False) -> Document:
        """Makes or replaces an object as somebody with kubectl would, or its status as a kubelet does."""
        found = next(r for r in self.registry.found.values() if (r.kind, r.group) == (document["kind"], group))
        metadata = document["metadata"]
        place = Place(found, metadata.get("namespace", ""), metadata["name"], status)
        document = {**document, "apiVersion": found.api_version}
        old = self.objects.documents.get(place.key)
        if old is None:
            return await self.writer.create(place, document, How("kubectl"))
        metadata = {**metadata, "resourceVersion": old["metadata"]["resourceVersion"]}
        return await self.writer.replace(place, {**document, "metadata": metadata}, How("kubectl"))

    async def remove(self, plural: str, name: str, group: str = "underlay.io", namespace: str = "") -> None:
        await self.writer.delete(Place(self.resource(plural, group), namespace, name), {}, How())

    def kept(self, plural: str, name: str, group: str = "underlay.io", namespace: str = "") -> Document:
        return self.objects.documents[key_of(self.resource(plural, group), namespace, name)]

    # HTTP

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refused as refused:
            return web.json_response(refused.status, status=refused.code, headers=refused.headers)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized")
        known = discovery(self.registry, request.path) if request.method == "GET" else None
        if known is not None:
            return web.json_response(known)
        place = self._place(request.path)
        verb = _verb(request, place)
        self.requests[verb, place.resource.name] += 1
        self.used.add((verb, place.resource.group, place.resource.plural + ("/status" if place.status else "")))
        self.queries.append((verb, place.resource.name, place.name, dict(request.query)))
        fault = self.faults.ask(verb, place.resource.name)
        if fault is not None and not fault.late:
            return await _fail(fault)
        if verb == "watch":
            return await self._watch(request, place)
        answer = await self._carry_out(request, place, verb)
        return await _fail(fault) if fault is not None else answer

    def _place(self, path: str) -> Place:
        parts = path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
            raise Refused(404, "the server could not find the requested resource")
        group = "" if parts[0] == "api" else parts[1]
        version, *rest = parts[1:] if parts[0] == "api" else parts[2:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "", "")[:3]
        found = self.registry.found.get((group, version, plural))
        if found is None or sub not in (("", "status") if found.has_status else ("",)):
            raise Refused(404, "the server could not find the requested resource")
        return Place(found, namespace, name, sub == "status")

    async def _carry_out(self, request: web.Request, place: Place, verb: str) -> web.StreamResponse:
        if verb in ("get", "list"):
            found = self.writer.get(place) if verb == "get" else self._list(place, request.query)
            if is_table(request.headers.get("Accept", "")):
                found = table(place.resource, found.get("items", [found]), found["metadata"], self.clock())
            return web.json_response(found)
        query = request.query
        how = How(
            query.get("fieldManager", request.headers.get("User-Agent", "unknown").split("/")[0]),
            query.get("force") == "true",
            query.get("dryRun") == "All",
            query.get("fieldValidation") == "Strict",
        )
        text = await request.text()
        body = json.loads(text) if text else {}
        if verb == "create":
            named = Place(place.resource, place.namespace, body["metadata"]["name"])
            return web.json_response(await self.writer.create(named, body, how), status=201)
        if verb == "delete":
            return web.json_response(await self.writer.delete(place, body, how))
        if verb == "patch":
            return web.json_response(await self.writer.patch(place, request.content_type, body, how))
        return web.json_response(await self.writer.replace(place, body, how))

    def _list(self, place: Place, query: Any) -> Document:
        matches = _selector(place, query)
        token, limit = query.get("continue", ""), int(query.get("limit", "0"))
        if token:
            said = json.loads(base64.b64decode(token))
            revision = int(said["revision"])
            found = self.objects.pages(revision, token)
            if found is None:
                raise Refused(410, "The provided continue parameter is too old to display a consistent list result.")
        else:
            revision = self.objects.revision
            found = [one for one in self.objects.of(place.resource, place.namespace) if matches(one)]
        page, rest = (found[:limit], found[limit:]) if limit else (found, [])
        metadata: Document = {"resourceVersion": str(revision)}
        if rest:
            after = {"revision": revision, "after": page[-1]["metadata"]["name"], "of": place.resource.name}
            metadata["continue"] = base64.b64encode(json.dumps(after).encode()).decode()
            metadata["remainingItemCount"] = len(rest)
            self.objects.keep_pages(metadata["continue"], rest, revision)
        return {
            "kind": f"{place.resource.kind}List",
            "apiVersion": place.resource.api_version,
            "metadata": metadata,
            "items": page,
        }

    async def _watch(self, request: web.Request, place: Place) -> web.StreamResponse:
        watching = Watching(self.objects, self.faults, place, _selector(place, request.query), request.query)
        watching.check()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        task = asyncio.ensure_future(watching.write(response, self.bookmark_interval))
        self._watches.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._watches.discard(task)
            task.cancel()
        if task.cancelled() or isinstance(task.exception(), ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        else:
            task.result()
        return response


async def _fail(fault: Fault) -> web.StreamResponse:
    if fault.code == 0:
        await asyncio.sleep(HANGS_S)
    raise fault.refusal()


def _verb(request: web.Request, place: Place) -> str:
    if request.method == "GET":
        watching = request.query.get("watch") in ("true", "1")
        return "watch" if watching else "get" if place.name else "list"
    if request.method not in _VERBS:
        raise Refused(405, "the server does not allow this method on the requested resource")
    return _VERBS[request.method]


def _selector(place: Place, query: Any) -> Matches:
    return selector(place.resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
