"""The server behind `underlay web`; web_view.py has what is shown.

    store ─► Following ─► Fabric: compiled in a thread, at most once a second ─► pages, /status.json
                                 └─► /changes (Server-Sent Events): "changed" ─► the browser reads its page anew

It reads and never writes, and answers whoever reaches the port. Pages are made in threads, one at a time, so that the
loop turns.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from aiohttp import web

from peering.prefixes import format_address
from peering.store.open_store import open_store
from underlay.output import Refused
from underlay.processes import log, until_signalled
from underlay.reflector_options import Endpoint
from underlay.web_fabric import Fabric
from underlay.web_facts import Seen, seen
from underlay.web_rendering import html, message
from underlay.web_view import PAGES, Page, ipam_page, overview, summary

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: A browser reads anew after so long without a change: what is shown has ages in it.
_BEAT_S = 30.0
#: A page that was made is good for so long.
_FRESH_S = 1.0
_MOST_LISTENERS = 200
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ASSETS = {"/style.css": "text/css", "/changes.js": "text/javascript", "/icon.svg": "image/svg+xml"}


class Site:
    """The handlers. What was made for one browser is good for another that asks in the same second."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._one_at_a_time = asyncio.Lock()
        self._made: dict[str, tuple[float, int, str]] = {}
        self._seen: tuple[float, int, Seen] | None = None
        self._listeners: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[web.RouteDef]:
        named = [web.get(f"/{folder}/{{name}}", self._named(make)) for folder, make in PAGES.items()]
        assets = [web.get(path, _asset(path, kind)) for path, kind in _ASSETS.items()]
        return [
            web.get("/", self._page(overview)),
            web.get("/ipam", self._page(ipam_page)),
            *named,
            *assets,
            web.get("/status.json", self.status),
            web.get("/changes", self.changes),
            web.get("/livez", _alive),
            web.get("/readyz", self.ready),
        ]

    async def status(self, _: web.Request) -> web.Response:
        """As `underlay status -o json`."""
        what = await self._now()
        if what is None:
            raise web.HTTPServiceUnavailable(text=f"{self._not_read()}\n")
        return web.json_response(await asyncio.to_thread(what.status.to_json))

    async def ready(self, _: web.Request) -> web.Response:
        """Once the store was read."""
        if self._fabric.known is None:
            raise web.HTTPServiceUnavailable(text=f"{self._not_read()}\n")
        return web.Response(text="ok\n")

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Server-Sent Events: `changed` with the number of the change, the last one at once; now and then a `beat`."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(text="too many browsers listen\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        task = asyncio.current_task()
        assert task is not None
        self._listeners.add(task)
        try:
            await response.prepare(request)
            turn, event = self._fabric.turn, "changed"
            while True:
                await response.write(f"retry: 3000\nevent: {event}\ndata: {turn}\n\n".encode())
                before, turn = turn, await self._fabric.next_turn(turn, _BEAT_S)
                event = "beat" if turn == before else "changed"
        except ConnectionError:
            return response
        finally:
            self._listeners.discard(task)

    async def end(self, _: web.Application) -> None:
        """Nobody is told anything any more: streams end, and browsers come back by themselves."""
        for task in self._listeners:
            task.cancel()

    async def sentence(self, title: str, text: str) -> str:
        """A page that says it."""
        return await asyncio.to_thread(self._html, message(title, text), time.time(), await self._now())

    def _page(self, make: Callable[[Seen], Page | None]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            return _html(await self._text(request.path, make))

        return handler

    def _named(self, make: Callable[[Seen, str], Page | None]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            return _html(await self._text(request.path, lambda what: make(what, name)))

        return handler

    async def _text(self, path: str, make: Callable[[Seen], Page | None]) -> str:
        """Raises HTTPNotFound."""
        what = await self._now()
        if what is None:
            return await self.sentence("Fabric", self._not_read())
        async with self._one_at_a_time:
            made_at, turn, text = self._made.get(path, (0.0, -1, ""))
            now = time.time()
            if turn != self._fabric.turn or not made_at <= now < made_at + _FRESH_S:
                page = await asyncio.to_thread(make, what)
                if page is None:
                    raise web.HTTPNotFound
                text = await asyncio.to_thread(self._html, page, now, what)
                self._fabric.burden = time.time() - now
                self._forget_all_but(self._fabric.turn)
                self._made[path] = (now, self._fabric.turn, text)
        return text

    async def _now(self) -> Seen | None:
        if self._fabric.known is None:
            return None
        async with self._one_at_a_time:
            now, turn = time.time(), self._fabric.turn
            if self._seen is None or self._seen[1] != turn or not self._seen[0] <= now < self._seen[0] + _FRESH_S:
                self._seen = (now, turn, await asyncio.to_thread(seen, self._fabric.known, now))
            return self._seen[2]

    def _html(self, page: Page, now: float, what: Seen | None) -> str:
        return html(page, now, self._fabric.turn, summary(what) if what else None, self._fabric.away(now))

    def _forget_all_but(self, turn: int) -> None:
        self._made = {path: made for path, made in self._made.items() if made[1] == turn}

    def _not_read(self) -> str:
        away = self._fabric.away(time.time())
        return f"The store was not read yet{': ' + away.reason if away else ''}."


def application(fabric: Fabric) -> web.Application:
    """What is served; `fabric` is run by the caller."""
    site = Site(fabric)
    made = web.Application(middlewares=[_guarded(site)])
    made.add_routes(site.routes())
    made.on_response_prepare.append(_with_headers)
    made.on_shutdown.append(site.end)
    return made


async def serve(place: Endpoint, url: str) -> None:
    """Until it is signalled. Raises Refused when it cannot listen, StoreError for what is no store."""
    store = open_store(url, ())
    try:
        await until_signalled(_serve(place, Fabric(store)))
    finally:
        await store.close()


async def _serve(place: Endpoint, fabric: Fabric) -> None:
    async with listening(fabric, place) as port:
        log(f"the page is at http://{Endpoint(place.address, port)}/")
        await fabric.run()


@asynccontextmanager
async def listening(fabric: Fabric, place: Endpoint) -> AsyncIterator[int]:
    """Serves inside; the port. Raises Refused."""
    runner = web.AppRunner(application(fabric), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, format_address(place.address), place.port).start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise Refused(message=f"error: --listen {place}: {why}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _guarded(site: Site) -> Any:
    """A page for whatever is not there or goes wrong, never a traceback."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            text = f"There is no page {request.path} here: what it showed is gone, or never was declared."
            return _html(await site.sentence("Not found", text), 404)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  a bug in one page leaves the others
            log(f"error: a bug in underlay: {request.path}: {type(error).__name__}: {error}")
            return web.Response(status=500, text="A bug in underlay; the log of `underlay web` has more.\n")

    return middleware


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _html(text: str, status: int = 200) -> web.Response:
    response = web.Response(text=text, content_type="text/html", status=status)
    response.enable_compression()
    return response


def _asset(path: str, kind: str) -> Handler:
    text = (files("underlay") / "web_pages" / path[1:]).read_text(encoding="utf-8")

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind)

    return handler


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")
