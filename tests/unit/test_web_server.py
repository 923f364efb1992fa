"""The page over HTTP: what changes is told, what is away is said, nothing secret and no traceback gets out."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from peering.prefixes import pack_address
from peering.resource import Resource
from peering.store.protocol import Changed, Stored, StoreError
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import run_underlay
from tests.unit.samples import dual_tor
from tests.unit.web_world import report, resource, world
from underlay import http_command, web_fabric, web_server
from underlay.reflector_options import Endpoint
from underlay.web_fabric import Fabric
from underlay.web_server import listening

PATIENCE_S = 30
PATHS = (
    "/",
    "/ipam",
    "/nodes/node-1",
    "/switches/tor-1a",
    "/racks/rack-1",
    "/style.css",
    "/changes.js",
    "/icon.svg",
)
Telling = Callable[[str, ClientSession, "Cuttable"], Awaitable[Any]]


class Cuttable(SqliteStore):
    """A store that somebody takes away: then it answers nothing, and what is watched ends. `says` is its trouble."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._gone = asyncio.Event()
        self.says = ""

    def cut(self) -> None:
        self._gone.set()

    def mend(self) -> None:
        self._gone.clear()

    def trouble(self) -> str:
        return self.says

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        if self._gone.is_set():
            raise StoreError("the server does not answer")
        return await super().snapshot(kinds)

    async def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        inner = aiter(super().watch(kinds, since))
        while True:
            taking = asyncio.ensure_future(anext(inner))
            gone = asyncio.ensure_future(self._gone.wait())
            try:
                await asyncio.wait((taking, gone), return_when=asyncio.FIRST_COMPLETED)
                if self._gone.is_set():
                    raise StoreError("the server does not answer")
                yield await taking
            finally:
                taking.cancel()
                gone.cancel()


def story(tmp_path: Path, tell: Telling, *others: Resource, read: bool = True) -> Any:
    """What `tell` finds at the page of the world, once that was read."""

    async def run() -> Any:
        store = Cuttable(tmp_path / "store.db")
        try:
            for one in world(*others, now=time.time()):
                await put(store, one)
            if not read:
                store.cut()
            async with served(Fabric(store)) as url, ClientSession() as session, asyncio.timeout(PATIENCE_S):
                if read:
                    await until(lambda: ready(url, session))
                return await tell(url, session, store)
        finally:
            await store.close()

    return asyncio.run(run())


@asynccontextmanager
async def served(fabric: Fabric) -> AsyncIterator[str]:
    async with listening(fabric, Endpoint(pack_address("127.0.0.1"), 0)) as port:
        running = asyncio.create_task(fabric.run())
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110  asked over HTTP, which has no event
        await asyncio.sleep(0.02)


async def ready(url: str, session: ClientSession) -> bool:
    async with session.get(f"{url}/readyz") as answer:
        return answer.status == 200


async def text_of(url: str, session: ClientSession) -> str:
    async with session.get(url) as answer:
        return await answer.text()


async def next_change(stream: ClientResponse) -> int:
    """The number of the next change that is told."""
    event = ""
    async for line in stream.content:
        event = line.decode().removeprefix("event: ").strip() if line.startswith(b"event: ") else event
        if line.startswith(b"data: ") and event == "changed":
            return int(line.removeprefix(b"data: "))
    raise AssertionError("the stream has ended")


def up(node: str) -> Resource:
    """A report without a session that is down."""
    one = report(dual_tor(), node, now=time.time())
    document = json.loads(json.dumps(one.to_document()["spec"]).replace("Idle", "Established"))
    return resource("BGPNodeStatus", node, document)


def test_a_change_is_told_and_the_page_read_anew_has_it(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[str, str]:
        before = await text_of(url, session)
        async with session.get(f"{url}/changes") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            first = await next_change(stream)
            assert f'<main data-turn="{first}">' in before
            await put(store, up("node-1"))
            second = await next_change(stream)
            after = await text_of(url, session)
            assert f'<main data-turn="{second}">' in after
            return before, after

    before, after = story(tmp_path, tell)
    assert "<b>15</b> of <b>16</b> sessions" in before
    assert "<b>16</b> of <b>16</b> sessions" in after


def test_a_declaration_that_changes_is_compiled_anew(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> str:
        async with session.get(f"{url}/changes") as stream:
            await next_change(stream)
            rack = await store.get("Rack", "rack-1")
            spec = {**rack.document["spec"], "switches": ["tor-1a", "tor-9"]}
            await store.update("Rack", "rack-1", {**rack.document, "spec": spec})
            await next_change(stream)
        return await text_of(url, session)

    text = story(tmp_path, tell)
    assert "there is no Switch/tor-9" in text
    assert "unknown-switch" in text


def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[int, str]:
        async with session.get(f"{url}/changes") as stream:
            await next_change(stream)
            await store.delete("BGPNodeStatus", "node-1")
            await store.delete("Node", "node-1")
            await next_change(stream)

        async def gone() -> bool:
            async with session.get(f"{url}/nodes/node-1") as answer:
                return answer.status == 404

        await until(gone)
        return 0, await text_of(url, session)

    assert "<b>12</b> of <b>12</b> sessions" in story(tmp_path, tell)[1]


def test_a_storm_of_changes_is_told_now_and_then(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[int, float]:
        async with session.get(f"{url}/changes") as stream:
            first, began = await next_change(stream), time.monotonic()
            for number in range(300):
                pool = {"cidr": "10.99.0.0/16", "disabled": bool(number % 2)}
                await put(store, resource("IPPool", "stormy", pool))
            await put(store, up("node-1"))

            async def arrived() -> bool:
                return "<b>16</b> of <b>16</b> sessions" in await text_of(url, session)

            await until(arrived)
            last = first
            while f'<main data-turn="{last}">' not in await text_of(url, session):
                last = await next_change(stream)
            return last - first, time.monotonic() - began

    told, took = story(tmp_path, tell)
    assert 1 <= told <= 2 + took


def test_while_the_store_is_away_the_last_known_stays_and_it_is_said(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[str, int, str]:
        async with session.get(f"{url}/changes") as stream:
            await next_change(stream)
            store.cut()
            await next_change(stream)
            away = await text_of(url, session)
            async with session.get(f"{url}/readyz") as answer:
                status = answer.status
            store.mend()
            await next_change(stream)
            return away, status, await text_of(url, session)

    away, ready_while_away, after = story(tmp_path, tell)
    assert re.search(
        r"The store does not answer</strong> since 20\S+ \S+ UTC \(0m0\ds\): the server does not answer", away
    )
    assert "<b>15</b> of <b>16</b> sessions" in away
    assert ready_while_away == 200
    assert "does not answer" not in after


def test_a_store_that_answers_from_memory_says_so_and_so_does_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_fabric, "_LOOK_S", 0.01)

    async def tell(url: str, session: ClientSession, store: Cuttable) -> str:
        async with session.get(f"{url}/changes") as stream:
            await next_change(stream)
            store.says = "the API server is restarting"
            await next_change(stream)
            return await text_of(url, session)

    assert "UTC (0m00s): the API server is restarting" in story(tmp_path, tell)


def test_before_the_store_was_read_there_is_a_page_and_it_is_not_ready(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[int, int, int, str]:
        async def said() -> bool:
            return "the server does not answer" in await text_of(url, session)

        await until(said)
        found = []
        for path in ("/readyz", "/status.json", "/livez"):
            async with session.get(f"{url}{path}") as answer:
                found.append(answer.status)
        store.mend()
        await until(lambda: ready(url, session))
        return found[0], found[1], found[2], await text_of(url, session)

    not_ready, no_status, alive, text = story(tmp_path, tell, read=False)
    assert (not_ready, no_status, alive) == (503, 503, 200)
    assert "<b>15</b> of <b>16</b> sessions" in text


def test_every_answer_forbids_what_is_from_elsewhere(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, _: Cuttable) -> list[tuple[int, Any]]:
        found = []
        for path in (*PATHS, "/status.json", "/nowhere", "/livez"):
            async with session.get(f"{url}{path}") as answer:
                found.append((answer.status, answer.headers))
        async with session.post(url) as answer:
            found.append((answer.status, answer.headers))
        async with session.get(f"{url}/changes") as answer:
            found.append((answer.status, answer.headers))
        return found

    answers = story(tmp_path, tell)
    assert [status for status, _ in answers] == [200] * len(PATHS) + [200, 404, 200, 405, 200]
    for _, headers in answers:
        policy = headers["Content-Security-Policy"]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
        )
        assert "frame-ancestors 'none'" in policy
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_what_is_not_there_is_a_plain_sentence(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, _: Cuttable) -> tuple[int, str]:
        async with session.get(f"{url}/nodes/%3Cscript%3Ealert(1)%3C%2Fscript%3E") as answer:
            return answer.status, await answer.text()

    status, text = story(tmp_path, tell)
    assert status == 404
    assert "There is no page /nodes/&lt;script&gt;alert(1)&lt;/script&gt; here" in text
    assert "<script>" not in text


def test_a_bug_in_a_page_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(web_server, "ipam_page", broken)

    async def tell(url: str, session: ClientSession, _: Cuttable) -> tuple[int, str, str]:
        async with session.get(f"{url}/ipam") as answer:
            return answer.status, await answer.text(), await text_of(url, session)

    status, text, other = story(tmp_path, tell)
    assert (status, text) == (500, "A bug in underlay; the log of `underlay web` has more.\n")
    assert "sessions established" in other
    assert "a bug in underlay: /ipam: ZeroDivisionError: of all things" in capsys.readouterr().err


def test_no_value_of_a_secret_leaves_the_store(tmp_path: Path) -> None:
    spec = next(one for one in dual_tor() if one.ref == "Rack/rack-1").to_document()["spec"]
    ref = {"secretKeyRef": {"name": "fabric", "key": "password"}}
    locked = resource("Rack", "rack-1", {**spec, "password": ref})

    async def tell(url: str, session: ClientSession, store: Cuttable) -> list[str]:
        metadata = {"name": "fabric"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "hunter2-x"}}
        await store.create("Secret", "fabric", secret)
        return [await text_of(f"{url}{path}", session) for path in (*PATHS, "/status.json")]

    pages = story(tmp_path, tell, locked)
    assert not [page for page in pages if "hunter2" in page]
    assert any("&lt;secret:fabric/password&gt;" in page for page in pages)
    assert not [page for page in pages if "missing-secret" in page]


def test_the_object_for_scripts_is_that_of_the_command(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, _: Cuttable) -> Any:
        async with session.get(f"{url}/status.json") as answer:
            return await answer.json()

    served_object = story(tmp_path, tell)
    done = run_underlay("status", "--store", f"sqlite:{tmp_path / 'store.db'}", "-o", "json")
    assert len(served_object) == 4
    assert served_object == json.loads(done.stdout)


def test_so_many_browsers_listen_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_MOST_LISTENERS", 1)

    async def tell(url: str, session: ClientSession, _: Cuttable) -> tuple[int, int]:
        async with session.get(f"{url}/changes") as first:
            await next_change(first)
            async with session.get(f"{url}/changes") as second:
                return first.status, second.status

    assert story(tmp_path, tell) == (200, 503)


def test_a_quiet_fabric_has_a_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown has ages in it."""
    monkeypatch.setattr(web_server, "_BEAT_S", 0.01)

    async def tell(url: str, session: ClientSession, _: Cuttable) -> bool:
        async with session.get(f"{url}/changes") as stream:
            async for line in stream.content:
                if line == b"event: beat\n":
                    return True
        return False

    assert story(tmp_path, tell)


def test_what_is_read_of_a_store_is_never_written(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[int, int]:
        _, before = await store.snapshot(())
        for path in PATHS:
            await text_of(f"{url}{path}", session)
        return before, (await store.snapshot(()))[1]

    before, after = story(tmp_path, tell)
    assert before == after


def test_an_object_that_cannot_be_read_is_a_problem_and_spoils_nothing(tmp_path: Path) -> None:
    async def tell(url: str, session: ClientSession, store: Cuttable) -> str:
        async with session.get(f"{url}/changes") as stream:
            await next_change(stream)
            rack = await store.get("Rack", "rack-2")
            await store.update("Rack", "rack-2", {**rack.document, "spec": {"holdTime": "soon"}})
            await next_change(stream)
        return await text_of(url, session)

    text = story(tmp_path, tell)
    assert "Rack/rack-2 spec.holdTime" in text
    assert "rack-1" in text


# The command


def test_a_wrong_place_is_one_line() -> None:
    done = run_underlay("web", "--listen", "nowhere")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("error: --listen: 'nowhere' is no address and port")


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_underlay("web", "--listen", place, "--store", f"sqlite:{tmp_path / 'store.db'}")
    assert (done.exit_code, done.stderr) == (1, f"error: --listen {place}: Address already in use\n")


def test_without_the_http_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ModuleNotFoundError(name="aiohttp")

    monkeypatch.setattr(http_command, "import_module", missing)
    done = run_underlay("web")
    assert (done.exit_code, done.stderr) == (1, "error: aiohttp is not installed: pip install 'underlay[web]'\n")


def test_a_report_that_is_renewed_is_known_and_not_told(tmp_path: Path) -> None:
    """A large fabric has a hundred of these in a second."""

    async def tell(url: str, session: ClientSession, store: Cuttable) -> tuple[int, int, str]:
        async with session.get(f"{url}/changes") as stream:
            first = await next_change(stream)
            for name in ("node-1", "node-2", "node-3", "node-4"):
                known = (await store.get("BGPNodeStatus", name)).document
                spec = {**known["spec"], "reported": known["spec"]["reported"] + 100}
                await store.update("BGPNodeStatus", name, {**known, "spec": spec})

            async def arrived() -> bool:
                return "oldest report 0m00s ago" in await text_of(url, session)

            await until(arrived)
            await put(store, up("node-1"))
            return first, await next_change(stream), await text_of(url, session)

    first, second, text = story(tmp_path, tell)
    assert second == first + 1
    assert "<b>16</b> of <b>16</b> sessions" in text
