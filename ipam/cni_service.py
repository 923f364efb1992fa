"""The node agent's side of CNI: what each command does with the allocator. Any request may be repeated.

    ADD     apply the DELs that wait ─► give the handle its addresses; one that has them gets the same
    DEL     free the handle's addresses; a container that is not known has none
    CHECK   the addresses of `prevResult` are those that the handle holds
    GC      free what this node's containers of the network hold, but for those in the list
    STATUS  the node and its store are ready

While the store is away, ADD gives an address that the node keeps (ipam/alone.py), if the service has a folder for what
is given so; a DEL is the plugin's to keep, and CHECK goes by what is known.

An answer is one line of JSON: `{"result": ...}` or `{"error": {code, msg, details}}`. A plugin that goes away
before its answer changes nothing: the runtime follows an ADD that failed with a DEL.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ipam.allocator import Allocator, Given
from ipam.alone import Alone, Follow
from ipam.block import user_of
from ipam.block_order import address_at
from ipam.cni_errors import NOT_HELD, cni_error
from ipam.cni_plugin import INTERNAL, INVALID_ENVIRONMENT, NOT_AVAILABLE, TRY_AGAIN, CniError
from ipam.cni_queue import is_empty, take_all
from ipam.cni_request import (
    Attachment,
    CniRequest,
    Json,
    network_of,
    parse_request,
    previous_addresses,
    result_of,
    valid_handles,
    wanted,
)
from ipam.crowd import Crowd
from ipam.documents import block_of, read_block, read_declared
from ipam.errors import IpamError
from ipam.handles import find_handle, promised_blocks
from ipam.requests import Declared, Request
from peering.resource import Resource
from peering.store.protocol import Store, StoreError
from peering.store.resources import to_resource

#: The spec's code of STATUS when containers that run may not be reached either.
LIMITED = 51
#: Seconds after which DELs that wait are tried again.
QUEUE_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether the node can take pods. `limited`: nor are those that run on it reached as they should be."""

    reason: str = ""
    limited: bool = False


T = TypeVar("T")
Log = Callable[[str], None]
#: The labels of a namespace, for pools with a namespaceSelector.
NamespaceLabels = Callable[[str], Awaitable[Mapping[str, str]]]


async def labels_of_its_name(namespace: str) -> Mapping[str, str]:
    """What is always true of a namespace: Kubernetes gives each a label with its name."""
    return {"kubernetes.io/metadata.name": namespace} if namespace else {}


class CniService:
    """All requests of one node. `condition` is asked for every STATUS, with what is declared at that time."""

    def __init__(
        self,
        store: Store,
        node: str,
        queue: Path,
        log: Log,
        condition: Callable[[Declared], Condition] = lambda declared: Condition(),
        namespace_labels: NamespaceLabels = labels_of_its_name,
        alone: Path | None = None,
        follow: Follow | None = None,
    ) -> None:
        """`alone`: the folder for what is given without the store. `follow`: what the node's speaker knows of it."""
        self._store = store
        self._node = node
        self._queue = queue
        self._log = log
        self._condition = condition
        self._namespace_labels = namespace_labels
        self._allocator = Allocator(store, node)
        self._alone = Alone(store, node, self._allocator, alone, log, follow) if alone is not None else None
        self._crowd = Crowd(self._allocate)
        self._applying = asyncio.Lock()
        self._said: frozenset[str] = frozenset()
        self._adding: Counter[str] = Counter()

    def close(self) -> None:
        """Lets another process of the node give addresses."""
        if self._alone is not None:
            self._alone.close()

    async def answer(self, line: bytes) -> bytes:
        """The line that answers a request; never raises but when it is cancelled."""
        try:
            request = parse_request(line)
            result = await self._COMMANDS.get(request.command, CniService._unknown)(self, request)
        except (CniError, IpamError, StoreError) as error:
            return error_line(cni_error(error))
        except Exception as bug:  # noqa: BLE001 - one request must not end the agent of all
            self._log(f"cni: {type(bug).__name__}: {bug}")
            return error_line(cni_error(bug))
        return json.dumps({"result": result}).encode() + b"\n"

    async def apply_queue(self) -> set[str]:
        """Applies the DELs that wait; the handles of those that could not be."""
        async with self._applying:
            waiting: dict[str, str] = {}
            wrong = ""
            try:
                for deletion in take_all(self._queue):
                    handle = deletion.attachment.handle
                    try:
                        await self._release(handle)
                    except (CniError, IpamError, StoreError) as error:
                        waiting[handle] = str(error)
                    else:
                        deletion.done()
            except OSError as error:
                wrong = f"cni: {self._queue}: {error}"
            lines = {f"cni: DEL of {handle} waits: {error}" for handle, error in waiting.items()}
            self._say(lines | ({wrong} if wrong else set()))
            return set(waiting)

    async def keep_applying(self, interval: float = QUEUE_INTERVAL_S) -> None:
        """Applies what waits, at once and then again and again. Never ends by itself."""
        while True:
            await self.tick()
            await self.apply_queue()
            await asyncio.sleep(interval)

    async def tick(self) -> None:
        """Sees to what the node gave and keeps for when the store is away, if something has changed."""
        if self._alone is not None:
            await self._alone.tick()

    def _say(self, lines: set[str]) -> None:
        """Logs what is wrong with the queue when it comes up, not for as long as it lasts."""
        for line in sorted(lines - self._said):
            self._log(line)
        self._said = frozenset(lines)

    async def _add(self, request: CniRequest) -> Json:
        handle = _attachment(request).handle
        if self._something_waits() and handle in await self.apply_queue():
            raise CniError(TRY_AGAIN, f"the last DEL of {handle} waits for the store")
        self._adding[handle] += 1
        try:
            labels = await self._namespace_labels(request.pod[0])
            given = await self._crowd.join((request, labels))
        finally:
            self._adding[handle] -= 1
            self._adding += Counter()  # forgets those that are at zero
        return result_of(request, given)

    def _something_waits(self) -> bool:
        """A queue that cannot be looked at is no reason to refuse a pod; `apply_queue` says what is wrong with it."""
        try:
            return not is_empty(self._queue)
        except OSError:
            return False

    async def _allocate(self, asked: Sequence[tuple[CniRequest, Mapping[str, str]]]) -> list[list[Given] | Exception]:
        if self._alone is None:
            return await self._with_store(asked)
        handles = [_attachment(request).handle for request, _ in asked]
        wishes = [partial(wanted, request, namespace_labels=labels) for request, labels in asked]
        return await self._alone.allocate(handles, wishes, partial(self._with_store, asked))

    async def _with_store(self, asked: Sequence[tuple[CniRequest, Mapping[str, str]]]) -> list[list[Given] | Exception]:
        declared = await read_declared(self._store, self._node)
        wishes = [_wish(request, declared, labels) for request, labels in asked]
        given = iter(await self._allocator.allocate_all([one for one in wishes if isinstance(one, Request)], declared))
        return [next(given) if isinstance(one, Request) else one for one in wishes]

    async def _release(self, handle: str) -> list[str]:
        if self._alone is None:
            return await self._allocator.release(handle)
        return await self._alone.release(handle, lambda: self._allocator.release(handle))

    async def _reach(self, work: Callable[[], Awaitable[T]]) -> T:
        return await (work() if self._alone is None else self._alone.reach(work))

    async def _del(self, request: CniRequest) -> None:
        await self._release(_attachment(request).handle)

    async def _check(self, request: CniRequest) -> None:
        expected, handle = previous_addresses(request), _attachment(request).handle
        try:
            held = set(await self._reach(lambda: self._held(handle)))
        except StoreError:
            if self._alone is None or not expected <= (held := self._alone.held(handle)):
                raise
        if missing := sorted(expected - held):
            raise CniError(NOT_HELD, f"{', '.join(missing)} is not held by the container", "not-held: ADD it anew")

    async def _gc(self, request: CniRequest) -> None:
        valid = valid_handles(request)
        await self.apply_queue()
        failed = []
        here = await self._reach(lambda: self._handles_here(request.network))
        if self._alone is not None:
            here |= {handle for handle in self._alone.entries if network_of(handle) == request.network}
        for handle in sorted(here - valid - self._adding.keys()):
            try:
                await self._release(handle)
            except (IpamError, StoreError) as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def _status(self, request: CniRequest) -> None:
        try:
            condition = self._condition(await self._declared())
        except (IpamError, StoreError) as error:
            raise CniError(NOT_AVAILABLE, str(error), cni_error(error).details) from None
        if condition.reason:
            raise CniError(LIMITED if condition.limited else NOT_AVAILABLE, f"Node/{self._node}: {condition.reason}")

    async def _declared(self) -> Declared:
        """What is declared, or was when the store was last there. Raises StoreError when pods have to wait for it."""
        if self._alone is None or not self._alone.away:
            return await read_declared(self._store, self._node)
        if objection := self._alone.objection():
            raise StoreError(objection)
        known = self._alone.declared
        return known if known is not None else await read_declared(self._store, self._node)

    async def _unknown(self, request: CniRequest) -> None:
        raise CniError(INVALID_ENVIRONMENT, f"the node agent does not know the command {request.command}")

    async def _held(self, handle: str) -> list[str]:
        """The addresses that the handle holds, as the store says now."""
        held = []
        for cidr in promised_blocks(await find_handle(self._store, handle)):
            block = await read_block(self._store, cidr)
            allocations = block_of(block).allocations if block is not None else ()
            held += [address_at(cidr, a.ordinal) for a in allocations if a.handle == handle]
        return held

    async def _handles_here(self, network: str) -> set[str]:
        """The handles of the network's attachments on this node."""
        found = (to_resource(stored) for stored in await self._store.list("IPAMBlock"))
        return _handles(found, self._node, network)

    _COMMANDS: Mapping[str, Callable[[CniService, CniRequest], Awaitable[Json | None]]] = {
        "ADD": _add,
        "DEL": _del,
        "CHECK": _check,
        "GC": _gc,
        "STATUS": _status,
    }


def _wish(request: CniRequest, declared: Declared, labels: Mapping[str, str]) -> Request | Exception:
    try:
        return wanted(request, declared, labels)
    except CniError as error:
        return error


def error_line(error: CniError) -> bytes:
    """The answer that is an error."""
    return json.dumps({"error": error.document()}).encode() + b"\n"


def _handles(blocks: Iterable[object], node: str, network: str) -> set[str]:
    specs = [block_of(one) for one in blocks if isinstance(one, Resource)]
    here = (a.handle for spec in specs for a in spec.allocations if user_of(spec, a) == node)
    return {handle for handle in here if network_of(handle) == network}


def _attachment(request: CniRequest) -> Attachment:
    if request.attachment is None:
        raise CniError(INTERNAL, f"{request.command} without a container")
    return request.attachment
