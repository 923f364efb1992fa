"""The stand-in for an API server, judged by what Kubernetes documents of the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.kube_api.apply import Owners, leaves
from tests.kube_api.errors import Refused
from tests.kube_api.faults import Fault, every_third
from tests.kube_api.patches import json_patch, merge_patch
from tests.kube_api.resources import Resource
from tests.kube_api.selectors import selector
from tests.kube_api.server import ApiServer

Document = dict[str, Any]
OURS = "/apis/underlay.io/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
APPLY, MERGE, JSON_PATCH = "application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"


class Http:
    """Requests without any client of Kubernetes between."""

    def __init__(self, session: aiohttp.ClientSession, server: ApiServer) -> None:
        self.session = session
        self.server = server

    async def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Document]:
        async with self.session.request(
            method, self.server.url + path, data=json.dumps(body) if body is not None else None,
            headers={"Content-Type": kind, "User-Agent": "tester/1"},
        ) as response:  # fmt: skip
            return response.status, await response.json()

    async def made(self, path: str, document: Document) -> Document:
        status, item = await self.ask("POST", path, document)
        assert status == 201, item
        return item

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[Document]]:
        async with self.session.get(self.server.url + path) as response:
            assert response.status == 200, await response.text()
            yield (json.loads(line) async for line in response.content)


@asynccontextmanager
async def served() -> AsyncIterator[Http]:
    async with ApiServer() as server, aiohttp.ClientSession() as session, asyncio.timeout(30):
        yield Http(session, server)


def profile(name: str, version: str = "", **spec: Any) -> Document:
    metadata = {"name": name, **({"resourceVersion": version} if version else {})}
    return {"apiVersion": "underlay.io/v1alpha1", "kind": "BFDProfile", "metadata": metadata, "spec": spec}


def rack(name: str, **spec: Any) -> Document:
    body: Document = {"nodeSelector": "all()", "switches": ["s"], **spec}
    return {"apiVersion": "underlay.io/v1alpha1", "kind": "Rack", "metadata": {"name": name}, "spec": body}


def lease(name: str, **spec: Any) -> Document:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


def condition(kind: str, status: str) -> Document:
    moment = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": moment}


async def refused(http: Http, code: int, said: str, *request: Any) -> None:
    status, answer = await http.ask(*request)
    assert (status, answer["kind"], answer["code"]) == (code, "Status", code), answer
    assert said in answer["message"]


def test_versions_uids_and_generations() -> None:
    async def story() -> None:
        async with served() as http:
            one = await http.made(f"{OURS}/bfdprofiles", profile("a"))
            assert one["metadata"]["generation"] == 1
            await refused(http, 409, "already exists", "POST", f"{OURS}/bfdprofiles", profile("a"))
            version = one["metadata"]["resourceVersion"]
            path = f"{OURS}/bfdprofiles/a"
            status, two = await http.ask("PUT", path, profile("a", version, detectMultiplier=5))
            assert (status, two["metadata"]["generation"], two["metadata"]["uid"]) == (200, 2, one["metadata"]["uid"])
            assert int(two["metadata"]["resourceVersion"]) > int(version)
            await refused(http, 409, "has been modified", "PUT", path, profile("a", version))
            await refused(http, 422, "resourceVersion", "PUT", path, profile("a"))
            same = profile("a", two["metadata"]["resourceVersion"], detectMultiplier=5)
            assert (await http.ask("PUT", path, same))[1] == two, "nothing changed, so nothing is written"
            wrong = {"preconditions": {"resourceVersion": version}}
            await refused(http, 409, "precondition", "DELETE", path, wrong)
            await refused(http, 409, "UID", "DELETE", path, {"preconditions": {"uid": "another"}})
            assert (await http.ask("DELETE", path, {}))[1]["details"]["uid"] == one["metadata"]["uid"]
            for method in ("GET", "DELETE"):
                await refused(http, 404, "not found", method, path)
            again = await http.made(f"{OURS}/bfdprofiles", profile("a"))
            assert again["metadata"]["uid"] != one["metadata"]["uid"]
            await refused(http, 404, "could not find", "GET", f"{OURS}/nonsense")
            await refused(http, 404, "could not find", "GET", f"{OURS}/bfdprofiles/a/scale")

    asyncio.run(story())


def test_the_schema_prunes_and_validates() -> None:
    async def story() -> None:
        async with served() as http:
            made = await http.made(f"{OURS}/bfdprofiles", profile("a", surprise=1, detectMultiplier=5))
            assert made["spec"] == {"detectMultiplier": 5}
            bad = profile("b", surprise=1)
            await refused(http, 400, "unknown fields", "POST", f"{OURS}/bfdprofiles?fieldValidation=Strict", bad)
            for spec, said in (
                ({"detectMultiplier": 1}, "spec.detectMultiplier: Invalid value: 1: minimum"),
                ({"detectMultiplier": "5"}, "must be of type integer"),
                ({"detectMultiplier": None}, "Invalid value: null"),
                ({"detectMultiplier": True}, "must be of type integer"),
            ):
                await refused(http, 422, said, "POST", f"{OURS}/bfdprofiles", profile("b", **spec))
            await refused(http, 422, "spec.switches: Required value", "POST", f"{OURS}/racks", {
                **rack("r"), "spec": {"nodeSelector": "all()"},
            })  # fmt: skip

    asyncio.run(story())


def test_rules_of_cel_are_judged_of_objects_and_of_changes() -> None:
    async def story() -> None:
        async with served() as http:
            pool = {"apiVersion": "underlay.io/v1alpha1", "kind": "IPPool", "metadata": {"name": "p"}}
            both = {"peerIP": "10.0.0.1", "asNumber": 1, "node": "a", "nodeSelector": "all()"}
            peer = {**pool, "kind": "BGPPeer", "spec": both}
            await refused(http, 422, "node and nodeSelector exclude each other", "POST", f"{OURS}/bgppeers", peer)
            made = await http.made(f"{OURS}/ippools", {**pool, "spec": {"cidr": "10.0.0.0/16"}})
            changed = {**made, "spec": {"cidr": "10.1.0.0/16"}}
            await refused(http, 422, "spec.cidr: cidr cannot change", "PUT", f"{OURS}/ippools/p", changed)
            inner = {"exportV4": [{"action": "Reject", "operations": [{"setMED": {"value": 1}}]}]}
            nested = {**pool, "kind": "BGPFilter", "spec": inner}
            await refused(http, 422, "spec.exportV4[0].operations", "POST", f"{OURS}/bgpfilters", nested)

    asyncio.run(story())


def test_the_status_is_a_resource_of_its_own() -> None:
    async def story() -> None:
        async with served() as http:
            made = await http.made(f"{OURS}/racks", {**rack("r"), "status": {"conditions": []}})
            assert "status" not in made
            with_status = {**made, "spec": {}, "status": {"conditions": [condition("Ready", "True")]}}
            status, told = await http.ask("PUT", f"{OURS}/racks/r/status", with_status)
            assert (status, told["spec"], told["metadata"]["generation"]) == (200, made["spec"], 1)
            assert told["status"]["conditions"][0]["type"] == "Ready"
            _, changed = await http.ask("PUT", f"{OURS}/racks/r", {**told, "spec": rack("r", holdTime="9s")["spec"]})
            assert (changed["status"], changed["metadata"]["generation"]) == (told["status"], 2)

    asyncio.run(story())


def test_server_side_apply_knows_whose_fields_they_are() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles/a"
            mine = f"{path}?fieldManager=mine"
            first = profile("a", detectMultiplier=5, receiveInterval="300ms")
            status, made = await http.ask("PATCH", mine, first, APPLY)
            assert (status, made["spec"]) == (200, first["spec"])
            other = profile("a", detectMultiplier=7, transmitInterval="50ms")
            await refused(http, 409, '"mine": .spec.detectMultiplier', "PATCH", f"{path}?fieldManager=o", other, APPLY)
            _, forced = await http.ask("PATCH", f"{path}?fieldManager=o&force=true", other, APPLY)
            assert forced["spec"] == {"detectMultiplier": 7, "receiveInterval": "300ms", "transmitInterval": "50ms"}
            _, less = await http.ask("PATCH", mine, profile("a"), APPLY)
            assert less["spec"] == other["spec"], "what it leaves out goes, what another owns stays"
            owners = {entry["manager"]: entry["fieldsV1"] for entry in less["metadata"]["managedFields"]}
            assert owners["o"] == {"f:spec": {"f:detectMultiplier": {}, "f:transmitInterval": {}}}
            same = await http.ask("PATCH", f"{path}?fieldManager=o", other, APPLY)
            assert same[1]["metadata"]["resourceVersion"] == less["metadata"]["resourceVersion"]
            await refused(http, 404, "not found", "PATCH", f"{OURS}/racks/r/status?fieldManager=o", rack("r"), APPLY)

    asyncio.run(story())


def test_conditions_are_applied_by_their_type() -> None:
    async def story() -> None:
        async with served() as http:
            await http.made(f"{OURS}/racks", rack("r"))
            for manager, kind in (("one", "Ready"), ("two", "Degraded")):
                body = {**rack("r"), "status": {"conditions": [condition(kind, "True")]}}
                status, told = await http.ask("PATCH", f"{OURS}/racks/r/status?fieldManager={manager}", body, APPLY)
                assert status == 200, told
            assert [one["type"] for one in told["status"]["conditions"]] == ["Ready", "Degraded"]
            body = {**rack("r"), "status": {"conditions": []}}
            _, told = await http.ask("PATCH", f"{OURS}/racks/r/status?fieldManager=one", body, APPLY)
            assert [one["type"] for one in told["status"]["conditions"]] == ["Degraded"]

    asyncio.run(story())


def test_who_changes_a_field_owns_it() -> None:
    owners, schema = Owners(), None
    owners.wrote("a", {}, {"spec": {"x": 1, "y": 1}}, schema)
    owners.wrote("b", {"spec": {"x": 1, "y": 1}}, {"spec": {"x": 2}}, schema)
    assert owners.fields == {("a", "Update"): set(), ("b", "Update"): {("spec", "x")}}
    assert leaves({"metadata": {"name": "n", "labels": {"l": "1"}, "uid": "u"}, "spec": {"z": []}}, schema) == {
        ("metadata", "labels", "l"): "1",
        ("spec", "z"): [],
    }


def test_patches() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles/a"
            await http.made(f"{OURS}/bfdprofiles", profile("a", detectMultiplier=5, receiveInterval="300ms"))
            merge = {"spec": {"detectMultiplier": None, "transmitInterval": "50ms"}}
            _, merged = await http.ask("PATCH", path, merge, MERGE)
            assert merged["spec"] == {"receiveInterval": "300ms", "transmitInterval": "50ms"}
            operations = [
                {"op": "test", "path": "/spec/transmitInterval", "value": "50ms"},
                {"op": "replace", "path": "/spec/transmitInterval", "value": "60ms"},
                {"op": "remove", "path": "/spec/receiveInterval"},
            ]
            _, patched = await http.ask("PATCH", path, operations, JSON_PATCH)
            assert patched["spec"] == {"transmitInterval": "60ms"}
            await refused(http, 422, "failed", "PATCH", path, operations[:1], JSON_PATCH)
            await refused(http, 415, "unknown format", "PATCH", path, {}, "application/json")
            stale = {"metadata": {"resourceVersion": "1"}, "spec": {}}
            await refused(http, 409, "modified", "PATCH", path, stale, MERGE)

    asyncio.run(story())
    assert merge_patch({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": [1]}}) == {"a": {"c": 2, "d": [1]}}
    assert json_patch({"a/b": [1, 3]}, [{"op": "add", "path": "/a~1b/1", "value": 2}]) == {"a/b": [1, 2, 3]}
    with pytest.raises(Refused):
        json_patch({}, [{"op": "replace", "path": "/a", "value": 1}])


def test_dry_runs_and_finalizers() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles"
            assert (await http.ask("POST", f"{path}?dryRun=All", profile("a")))[0] == 201
            await refused(http, 404, "not found", "GET", f"{path}/a")
            await refused(http, 422, "minimum", "POST", f"{path}?dryRun=All", profile("a", detectMultiplier=1))
            document = profile("a")
            document["metadata"]["finalizers"] = ["tests/wait"]
            await http.made(path, document)
            assert (await http.ask("DELETE", f"{path}/a?dryRun=All", {}))[1]["metadata"].get(
                "deletionTimestamp"
            ) is None
            _, waiting = await http.ask("DELETE", f"{path}/a", {})
            assert waiting["metadata"]["deletionTimestamp"]
            await http.ask("PATCH", f"{path}/a", {"metadata": {"finalizers": None}}, MERGE)
            await refused(http, 404, "not found", "GET", f"{path}/a")

    asyncio.run(story())


def test_pages_show_one_moment() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles"
            for name in "abcde":
                await http.made(path, profile(name))
            _, first = await http.ask("GET", f"{path}?limit=2")
            token = first["metadata"]["continue"]
            assert first["metadata"]["remainingItemCount"] == 3
            await http.ask("DELETE", f"{path}/e", {})
            await http.made(path, profile("cc"))
            _, second = await http.ask("GET", f"{path}?limit=2&continue={token}")
            _, third = await http.ask("GET", f"{path}?limit=2&continue={second['metadata']['continue']}")
            pages = [[item["metadata"]["name"] for item in page["items"]] for page in (first, second, third)]
            assert pages == [["a", "b"], ["c", "d"], ["e"]]
            assert "continue" not in third["metadata"]
            assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {"1005"}
            http.server.objects.compact()
            await refused(http, 410, "too old", "GET", f"{path}?limit=2&continue={token}")

    asyncio.run(story())


def test_watches() -> None:
    async def story() -> None:
        async with served() as http:
            http.server.bookmark_interval = 0.05
            path = f"{OURS}/bfdprofiles"
            one = await http.made(path, profile("a"))
            version = one["metadata"]["resourceVersion"]
            await http.made(f"{OURS}/racks", rack("r"))
            async with http.watch(f"{path}?watch=true&resourceVersion={version}&allowWatchBookmarks=true") as events:
                bookmark = await anext(events)
                assert bookmark["type"] == "BOOKMARK"
                assert bookmark["object"]["metadata"]["resourceVersion"] == str(http.server.objects.revision)
                await http.ask("PATCH", f"{path}/a", {"spec": {"detectMultiplier": 5}}, MERGE)
                await http.ask("DELETE", f"{path}/a", {})
                told = [event for _ in range(2) async for event in _some(events, 1)]
                assert [event["type"] for event in told] == ["MODIFIED", "DELETED"]
                end = int(told[1]["object"]["metadata"]["resourceVersion"])
                assert end == http.server.objects.revision
            async with http.watch(f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=0.2") as events:
                assert [event["type"] async for event in events] == ["MODIFIED", "DELETED"]
            http.server.objects.compact()
            async with http.watch(f"{path}?watch=true&resourceVersion={version}") as events:
                (gone,) = [event async for event in events]
                assert (gone["type"], gone["object"]["code"], gone["object"]["reason"]) == ("ERROR", 410, "Expired")
            await refused(http, 504, "Too large", "GET", f"{path}?watch=true&resourceVersion=99999")
            await http.made(path, profile("b"))
            async with http.watch(f"{path}?watch=true&timeoutSeconds=0.2") as events:
                assert [event["type"] async for event in events] == ["ADDED"]

    asyncio.run(story())


async def _some(events: AsyncIterator[Document], count: int) -> AsyncIterator[Document]:
    """The next events that are no bookmarks."""
    while count:
        event = await anext(events)
        if event["type"] != "BOOKMARK":
            count -= 1
            yield event


def test_a_watch_of_some_sees_them_come_and_go() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles"
            async with http.watch(f"{path}?watch=true&resourceVersion=1000&labelSelector=here%3Dyes") as events:
                await http.made(path, profile("a"))
                for value in ("yes", "no"):
                    await http.ask("PATCH", f"{path}/a", {"metadata": {"labels": {"here": value}}}, MERGE)
                assert [(await anext(events))["type"] for _ in range(2)] == ["ADDED", "DELETED"]
            async with http.watch(f"{path}?watch=true&resourceVersion=1000&fieldSelector=metadata.name%3Db") as events:
                await http.made(path, profile("b"))
                assert (await anext(events))["object"]["metadata"]["name"] == "b"

    asyncio.run(story())


def test_namespaces_keep_names_apart() -> None:
    async def story() -> None:
        async with served() as http:
            await http.made(LEASES, lease("a", holderIdentity="x"))
            elsewhere = LEASES.replace("/ns/", "/other/")
            await refused(http, 404, "not found", "GET", f"{elsewhere}/a")
            await http.made(elsewhere, lease("a"))
            for path, count in ((LEASES, 1), (LEASES.replace("/namespaces/ns", ""), 2)):
                assert len((await http.ask("GET", path))[1]["items"]) == count

    asyncio.run(story())


SELECTED = {"metadata": {"name": "n", "namespace": "d", "labels": {"a": "1", "b": ""}}, "spec": {"nodeName": "host"}}
PODS = Resource("", "v1", "pods", "Pod", True, field_labels=("spec.nodeName",))


@pytest.mark.parametrize(
    ("labels", "fields", "chosen"),
    [
        ("", "", True),
        ("a=1", "", True),
        ("a==2", "", False),
        ("a!=2,b", "", True),
        ("c!=2", "", True),
        ("!c", "", True),
        ("!a", "", False),
        ("a in (1, 2),b", "", True),
        ("a notin (1, 2)", "", False),
        ("c notin (1)", "", True),
        ("", "metadata.name=n,spec.nodeName=host", True),
        ("", "spec.nodeName!=host", False),
        ("", "metadata.namespace=other", False),
    ],
)
def test_selectors(labels: str, fields: str, chosen: bool) -> None:
    assert selector(PODS, labels, fields)(SELECTED) is chosen


@pytest.mark.parametrize(("labels", "fields"), [("", "spec.hostNetwork=true"), ("a in", ""), ("", "metadata.name")])
def test_selectors_that_cannot_be_read(labels: str, fields: str) -> None:
    with pytest.raises(Refused) as caught:
        selector(PODS, labels, fields)
    assert caught.value.code == 400


def test_faults_come_as_they_were_ordered() -> None:
    async def story() -> None:
        async with served() as http:
            path = f"{OURS}/bfdprofiles"
            http.server.faults.next_fault = every_third(Fault(500), Fault(429, retry_after="7"), Fault(500, late=True))
            names = [f"p{number}" for number in range(9)]
            statuses = [(await http.ask("POST", path, profile(name)))[0] for name in names]
            assert statuses == [201, 201, 500, 201, 201, 429, 201, 201, 500]
            http.server.faults.next_fault = lambda verb, resource: None
            kept = [item["metadata"]["name"] for item in (await http.ask("GET", path))[1]["items"]]
            assert kept == [name for name in names if name not in ("p2", "p5")], "the last was carried out"
            http.server.token = "secret"
            await refused(http, 401, "Unauthorized", "GET", path)

    asyncio.run(story())


def test_it_goes_and_comes_back_with_what_it_kept() -> None:
    async def story() -> None:
        async with served() as http:
            await http.made(f"{OURS}/bfdprofiles", profile("a"))
            url = http.server.url
            await http.server.stop()
            with pytest.raises(aiohttp.ClientError):
                await http.ask("GET", f"{OURS}/bfdprofiles")
            await http.server.start()
            assert http.server.url == url
            assert len((await http.ask("GET", f"{OURS}/bfdprofiles"))[1]["items"]) == 1
            http.server.clock = lambda: 0.0
            later = await http.made(f"{OURS}/bfdprofiles", profile("b"))
            assert later["metadata"]["creationTimestamp"] == "1970-01-01T00:00:00Z"

    asyncio.run(story())
