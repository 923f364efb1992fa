"""HTTP with an API server: requests, lists in pages, watches, and what their failures mean.

What may heal is tried again a few times, with pauses; then it is a StoreError and the caller's. A write that failed may
have been done all the same (`lost`): its caller has to look.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp

from peering.resources.catalog import UNDERLAY
from peering.store.kubernetes.backoff import Backoff
from peering.store.protocol import Document, StoreError

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"
_TRIES = 6
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 2.0
_REQUEST_S, _CONNECT_S = 15.0, 5.0
#: Bookmarks come about once a minute: a watch that had one and then says nothing for so long leads to nobody. One that
#: had none may be of a resource that nobody has written since the server began, of which it sends none: so long it may
#: overrun the time that it was given, and whether there is anybody is TCP's to find out.
_SILENCE_S = 300.0
#: In Linux: asks the other end after 30 s of silence, and gives it up a minute after its last word.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_LONGEST_WISH_S = 30.0
_AGAIN = frozenset((429, 500, 502, 503, 504))
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _TOO_MANY = 401, 403, 404, 410, 429
#: What a person can do about an answer.
_HINTS = {
    _UNAUTHORIZED: "the cluster does not know this user: log in again, or look at the user of the kubeconfig",
    _FORBIDDEN: "kubectl auth can-i --list tells what this account may; config/rbac has what our processes need",
    _NOT_FOUND: "the cluster does not have our kinds: kubectl apply -k config/crd",
}
_HTTP_ERROR = 400
_BOOKMARK = "BOOKMARK"


class Client(Protocol):
    """What is used of the official client."""

    configuration: Any
    rest_client: Any
    user_agent: str

    async def close(self) -> None: ...


class ApiError(StoreError):
    """An answer that is none. `code` is HTTP's, 0 where nobody answered.

    `lost`: this or an earlier try may have been carried out.
    """

    def __init__(self, message: str, code: int = 0, retry_after: float = 0.0, lost: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
        self.lost = lost


class Gone(ApiError):
    """The versions asked for are no longer kept: read anew."""


class Api:
    """One cluster. `connect` makes a client; it is called again when the server no longer takes the credentials."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, kind: str = JSON
    ) -> Document:
        """What the server answers. Raises ApiError after some tries."""
        pauses, lost, renewed = Backoff(_FIRST_PAUSE_S, _LAST_PAUSE_S), False, False
        for left in reversed(range(_TRIES)):
            client = await self._ready()
            try:
                return await self._once(client, method, path, query or {}, body, kind)
            except ApiError as error:
                lost = lost or (error.lost and method != "GET")
                error.lost = lost
                if error.code == _UNAUTHORIZED and not renewed:
                    renewed = True
                    await self._disconnect(client)
                elif not left or not (error.code in _AGAIN or error.code == 0):
                    raise
                else:
                    await asyncio.sleep(pauses.delay(error.retry_after))
        raise AssertionError("the last try returns or raises")

    async def pages(self, path: str, query: Mapping[str, str], size: int) -> AsyncIterator[Document]:
        """The pages of a list, which all show the same moment. Raises Gone when that is too long ago."""
        token = ""
        while True:
            words = {**query, "limit": str(size), **({"continue": token} if token else {})}
            page = await self.call("GET", path, words)
            yield page
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def watch(
        self, path: str, query: Mapping[str, str], lasts: int, opened: Callable[[], None]
    ) -> AsyncIterator[Document]:
        """Events until the server ends the watch, after about `lasts` seconds. Raises Gone; ApiError when it is cut.

        Tried once. `opened` is called when the server has agreed to it.
        """
        words = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(lasts)}
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S)
        try:
            async with asyncio.timeout(_SILENCE_S):
                client = await self._ready()
                response = await self._open(client, "GET", path, words, None, JSON, timeout)
            try:
                if response.status >= _HTTP_ERROR:
                    raise _refusal(path, response, await response.read())
                _keep_alive(response)
                opened()
                async for event in _events(path, response.content, lasts):
                    yield event
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(f"{path}: the watch was cut: {_said(error)}") from error

    async def close(self) -> None:
        """Lets go of all connections for good: what is still under way fails."""
        self._closed = True
        if self._client is not None:
            await self._disconnect(self._client)

    async def _disconnect(self, client: Client) -> None:
        """The next call makes new connections. Of many that were refused at once only the first ends anything."""
        if self._client is client:
            self._client = None
            await client.close()

    async def _once(
        self, client: Client, method: str, path: str, query: Mapping[str, str], body: Any, kind: str
    ) -> Document:
        timeout = aiohttp.ClientTimeout(total=_REQUEST_S, connect=_CONNECT_S)
        try:
            response = await self._open(client, method, path, query, body, kind, timeout)
            text = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ApiError(f"the API server does not answer{_unreachable(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(f"the API server did not answer: {_said(error)}", lost=True) from error
        if response.status >= _HTTP_ERROR:
            raise _refusal(path, response, text)
        try:
            answer: Document = json.loads(text)
        except ValueError as error:
            raise ApiError(f"{path}: the answer is no JSON", lost=True) from error
        return answer

    async def _open(
        self,
        client: Client,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        kind: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        configuration = client.configuration
        headers = {"Accept": JSON, "User-Agent": client.user_agent, "Content-Type": kind}
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        url = f"{configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = await client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=limits)
        except (AssertionError, RuntimeError) as error:  # so aiohttp says that it was closed under a request
            if client is self._client:
                raise
            raise ApiError(f"{path}: the connections were closed meanwhile", lost=True) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _ready(self) -> Client:
        async with self._connecting:
            if self._closed:
                raise StoreError("the store is closed")
            if self._client is None:
                self._client = await self._connect()
            return self._client


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Has the kernel find out whether anybody is left at the other end of a watch, which sends nothing itself."""
    transport = response.connection.transport if response.connection is not None else None
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _events(path: str, content: aiohttp.StreamReader, lasts: int) -> AsyncIterator[Document]:
    """One a line. Raises TimeoutError after silence."""
    silence = lasts + _SILENCE_S
    while True:
        async with asyncio.timeout(silence):
            line = await content.readline()
        if not line:
            return
        event = _event(path, json.loads(line))
        if event["type"] == _BOOKMARK:
            silence = _SILENCE_S
        yield event


def _refusal(path: str, response: aiohttp.ClientResponse, text: bytes) -> ApiError:
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace").strip()[:200] or str(response.reason)
    code = response.status
    hint = f" ({_HINTS[code]})" if code in _HINTS and (code != _NOT_FOUND or _is_kind_of_ours(path)) else ""
    wish = response.headers.get("Retry-After", "")
    seconds = min(float(wish), _LONGEST_WISH_S) if wish.isdigit() else 0.0
    made = Gone if code == _GONE else ApiError
    return made(f"{path}: {message} ({code}){hint}", code, seconds, lost=code in _AGAIN and code != _TOO_MANY)


def _is_kind_of_ours(path: str) -> bool:
    """Whether all objects of a kind are asked for, and not one of them."""
    root, _, plural = path.rpartition("/")
    return root == f"/apis/{UNDERLAY}" and bool(plural)


def _event(path: str, event: Document) -> Document:
    if event.get("type") != "ERROR":
        return event
    status = event.get("object") or {}
    code = int(status.get("code") or 0)
    raise (Gone if code == _GONE else ApiError)(f"{path}: {status.get('message')} ({code})", code)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _unreachable(error: aiohttp.ClientError | TimeoutError) -> str:
    """Where nobody answers, and why, as the kernel has it."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return f": {_said(error)}"
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionError) and cause.errno is not None:
        why = os.strerror(cause.errno)
    else:
        why = getattr(cause, "strerror", None) or _said(cause)
    return f" at {error.host}:{error.port}: {why}"
