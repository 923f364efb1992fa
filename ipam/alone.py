"""The node while it does not reach the store: it gives addresses that it keeps, and writes them when the store is back.

    ADD, store away   choose a kept address ─► note it on disk ─► answer
    store back        write what was given alone ─► serve with the store again

Nothing is given with the store before all that was given alone is written, or was refused. What is kept and given with
the store is noted on disk before the answer: so on disk is all that anybody was told. The files are one process's.

Every tick (cni_service.py) looks whether the store is back, if it was found to be away (reach.py), and sees to what is
kept after something has changed; else it asks for nothing. There is one before each claim of blocks, too: of a new
block something is kept soon, and of a pool that is gone nothing, so that the collector may release its blocks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ipam.allocator import Allocator, Clock, Given
from ipam.block import Holder
from ipam.block_order import address_at, ordinal_of
from ipam.claims import confirmed_blocks
from ipam.cni_errors import TABLE
from ipam.cni_plugin import TRY_AGAIN, CniError
from ipam.documents import read_declared
from ipam.errors import IpamError, StoreBusy
from ipam.keeping import Entry, Gift, Known, NothingKept, choose, families_left, keeps
from ipam.node_files import Damaged, NodeFiles, Occupied
from ipam.reach import Reach, is_away
from ipam.requests import Declared, Request
from ipam.taking_up import Held
from peering.resource import Resource
from peering.resources.ipam import IPAMBlockSpec
from peering.store.protocol import Event, Store, StoreError

T = TypeVar("T")
W = TypeVar("W")
Log = Callable[[str], None]
Wish = Callable[[Declared], Request]

_DETAILS = TABLE[StoreError].details


@dataclass(frozen=True, slots=True)
class Followed:
    """What somebody follows already, on which it depends what is kept: the node's blocks, and the pools as declared."""

    blocks: frozenset[str]
    pools: tuple[Resource, ...] = ()


#: None while it is not known.
Follow = Callable[[], Followed | None]


class Alone:
    """Between the requests of one node and the store. Without `follow` the store is asked for the node's blocks."""

    def __init__(
        self,
        store: Store,
        node: str,
        allocator: Allocator,
        folder: Path,
        log: Log,
        follow: Follow | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._store = store
        self._node = node
        self._allocator = allocator
        self._files = NodeFiles(folder)
        self._log = log
        self._follow = follow
        self._clock = clock
        self._turn = asyncio.Lock()
        self._closed = False
        self._reach = Reach(store)
        self._told: dict[str, tuple[Given, ...]] = {}
        self._changed = True
        self._seen: Followed | None = None

    @property
    def away(self) -> str:
        """Why the store is away; empty when it is not, as far as is known."""
        return self._reach.away

    @property
    def declared(self) -> Declared | None:
        """What was declared when the store was last there."""
        return self._files.known.declared if self._files.known else None

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By handle: what was given alone and is not in the store."""
        return self._files.given

    def close(self) -> None:
        """Lets another process of the node go on, as soon as this one is not in the middle of something."""
        self._closed = True
        if not self._turn.locked():
            self._files.close()

    # With the store, or without

    async def allocate(
        self,
        handles: Sequence[str],
        wishes: Sequence[Wish],
        with_store: Callable[[], Awaitable[Sequence[list[Given] | Exception]]],
    ) -> list[list[Given] | Exception]:
        """As `with_store`, where that is possible; else as far as the node can do it alone. Raises CniError."""
        async with self._in_turn():
            self._changed = True
            try:
                answers = list(await self._reach.run(lambda: self._caught_up(with_store)))
            except StoreError as error:
                answers = [error] * len(handles)
            for answer in answers:
                if isinstance(answer, StoreError) and is_away(answer):
                    self._reach.lost(answer)
            await self._note(handles, answers)
            return [
                await self._give(handle, wish, answer) if isinstance(answer, Exception) and is_away(answer) else answer
                for handle, wish, answer in zip(handles, wishes, answers, strict=True)
            ]

    async def release(self, handle: str, with_store: Callable[[], Awaitable[T]]) -> T:
        """As `with_store`, which frees what the handle has; but what was given alone is written before."""
        self._open()
        self._changed = True
        try:
            if not self.entries:
                return await self._reach.run(with_store)
            async with self._in_turn():  # or somebody writes the handle's entry after it was freed
                released = await self._reach.run(lambda: self._caught_up(with_store))
                if handle in self.entries:
                    await self._write(self._files.drop, handle)
            return released
        finally:
            self._told.pop(handle, None)

    async def reach(self, with_store: Callable[[], Awaitable[T]]) -> T:
        """As `with_store`. Raises StoreError, at once while the store is known to be away."""
        self._open()
        return await self._reach.run(with_store)

    async def tick(self) -> None:
        """Looks whether the store is back, writes what was given alone, and sees to what is kept."""
        try:
            self._open()
            if not self._has_work():
                return
            if self.away and not await self._reach.is_there():
                return
            async with self._in_turn():
                await self._reach.patiently(self._look_after)
                self._reach.found()
        except (StoreError, IpamError, CniError) as error:
            if is_away(error):
                self._reach.lost(error)
            else:
                self._reach.found()  # what is wrong instead, the next request says

    def held(self, handle: str) -> set[str]:
        """What the handle has, as far as is known without the store."""
        known = self._files.known.blocks.values() if self._files.known else ()
        here = {address_at(spec.cidr, a.ordinal) for spec in known for a in spec.allocations if a.handle == handle}
        told = {one.address for one in self._told.get(handle, ())}
        return here | told | set(self.entries[handle].addresses if handle in self.entries else ())

    def objection(self) -> str:
        """Why no pod can come while the store is away; empty when one can, and while it is not."""
        if not self.away:
            return ""
        known = self._files.known
        if known is None:
            return f"{self.away}; this node was not told yet which addresses it keeps for that"
        missing = set(known.declared.families()) - families_left(known, self.entries.values(), self._clock())
        families = " and ".join(f"IPv{version}" for version in sorted(missing))
        return f"{self.away}; no {families} address that the node keeps for that is left" if missing else ""

    # Inside

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Nothing else is given or written down meanwhile, by this process or another. Raises CniError."""
        async with self._turn:
            self._open()
            try:
                yield
            finally:
                if self._closed:
                    self._files.close()

    def _open(self) -> None:
        """Raises CniError: nothing is given or freed by two, nor by one who cannot write it down."""
        if self._closed:
            raise CniError(TRY_AGAIN, f"the agent of Node/{self._node} ends", "the next one goes on")
        if self._files.is_open:
            return
        try:
            with _disk(self._files.folder):
                self._files.open()
        except Occupied as error:
            raise CniError(TRY_AGAIN, str(error), "the agent before this one has not ended yet") from None
        except Damaged as error:
            details = "unreadable: pods have addresses that stand only there; mend it, or end those pods and remove it"
            raise CniError(TRY_AGAIN, str(error), details) from None

    async def _caught_up(self, with_store: Callable[[], Awaitable[T]]) -> T:
        if self._unwritten():
            await self._take_up()
        return await with_store()

    def _unwritten(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if not entry.refused]

    async def _take_up(self) -> None:
        """Writes what was given alone, and tries again what was refused. Raises StoreError."""
        declared = await read_declared(self._store, self._node)
        for handle, entry in list(self.entries.items()):
            try:
                await self._allocator.take_up(entry, declared)
            except StoreBusy:
                raise
            except (Held, IpamError) as error:
                await self._refuse(entry, str(error))
                continue
            await self._write(self._files.strike_off, entry)
            self._told[handle] = _given(entry)
            self._log(f"cni: {', '.join(entry.addresses)} of {_whose(entry.holder)} is in the store now")

    async def _refuse(self, entry: Entry, why: str) -> None:
        """Somebody has changed the store by hand. The pod has its address all the same, so the entry stays."""
        if entry.refused == why:
            return
        await self._write(self._files.give, replace(entry, refused=why))
        addresses = ", ".join(entry.addresses)
        said = f"{_whose(entry.holder)} has {addresses} since the store was away, and may not have it: {why}"
        self._log(f"cni: {said}; delete the pod")
        self._store.tell("BGPNodeStatus", self._node, Event("AddressRefused", f"{said}; delete the pod", True))

    async def _give(self, handle: str, wish: Wish, error: Exception) -> list[Given] | Exception:
        """What the handle was told before, or an address that is kept."""
        if handle in self.entries:
            return list(_given(self.entries[handle]))
        if handle in self._told:
            return list(self._told[handle])
        known, now = self._files.known, self._clock()
        if known is None:
            return CniError(TRY_AGAIN, f"{error}; this node was not told yet which addresses it keeps", _DETAILS)
        try:
            request = wish(known.declared)
            gifts = choose(known, self.entries.values(), request, now)
        except NothingKept as why:
            return CniError(TRY_AGAIN, f"{error}; {why}", _DETAILS)
        except (CniError, IpamError) as refusal:
            return refusal
        entry = Entry(request.holder(self._node), gifts, now)
        await self._write(self._files.give, entry)
        self._log(f"cni: {', '.join(entry.addresses)} given to {_whose(entry.holder)} without the store: {error}")
        return list(_given(entry))

    async def _note(self, handles: Sequence[str], answers: Iterable[list[Given] | Exception]) -> None:
        """What is kept and given with the store is on disk before anybody hears of it; what is told is remembered."""
        told = {
            h: tuple(answer) for h, answer in zip(handles, answers, strict=True) if not isinstance(answer, Exception)
        }
        now = self._clock()
        uses = [(Holder(handle, self._node), list(map(_gift, given)), now) for handle, given in told.items()]
        await self._write(self._files.note, uses)
        self._told |= told

    async def _write(self, change: Callable[[W], None], what: W) -> None:
        """Changes the files. Raises CniError. Who is cancelled waits for the disk: nothing is written after him."""
        with _disk(self._files.folder):
            writing = asyncio.ensure_future(asyncio.to_thread(change, what))
            try:
                await asyncio.shield(writing)
            finally:
                await asyncio.wait((writing,))

    def _has_work(self) -> bool:
        followed = self._follow() if self._follow is not None else None
        if followed is not None and followed != self._seen:
            return True
        return bool(self.away or self._unwritten()) or (
            self._changed and (followed is not None or self._follow is None)
        )

    async def _look_after(self) -> None:
        """Writes what was given alone; brings what the node keeps to what it should. Raises IpamError, StoreError."""
        self._changed, was_away = False, bool(self.away)
        try:
            if self.entries:
                await self._take_up()
            declared = await read_declared(self._store, self._node)
            followed = await self._followed()
            if followed is not None:
                blocks = await self._allocator.blocks(sorted(followed.blocks), fresh=was_away)
                await self._see_to_blocks(declared, blocks)
                self._seen = followed
        except BaseException:
            self._changed = True
            raise

    async def _followed(self) -> Followed | None:
        if self._follow is None:
            return Followed(frozenset(await confirmed_blocks(self._store, self._node)))
        return self._follow()

    async def _see_to_blocks(self, declared: Declared, specs: Sequence[IPAMBlockSpec]) -> None:
        """What is given up goes from the disk first; what is kept comes onto it last, and after a write of the block.

        Also where the block says already that it is kept: the process before this one may have given it up at its
        end, and its write be on the way still. It is lost after this one.
        """
        wanted, known = keeps(specs, declared), self._files.known
        on_disk = {cidr: spec.kept for cidr, spec in known.blocks.items()} if known else {}
        certain = {spec.cidr: min(spec.kept, wanted[spec.cidr], on_disk.get(spec.cidr, 0)) for spec in specs}
        await self._know(declared, [spec.model_copy(update={"kept": certain[spec.cidr]}) for spec in specs])
        after = []
        for spec in specs:
            cidr, settled = spec.cidr, spec.kept == wanted[spec.cidr] == certain[spec.cidr]
            changed = spec if settled else await self._allocator.keep(cidr, wanted[cidr])
            if changed is not None:
                after.append(changed)
        self._changed = self._changed or len(after) < len(specs)
        await self._know(declared, after)

    async def _know(self, declared: Declared, specs: Sequence[IPAMBlockSpec]) -> None:
        await self._write(self._files.know, Known(declared, {spec.cidr: spec for spec in specs if spec.kept}))


def _gift(given: Given) -> Gift:
    return given.block, ordinal_of(given.address, given.block)


def _given(entry: Entry) -> tuple[Given, ...]:
    """As an answer: no write of a block has given it a sequence yet."""
    return tuple(Given(address_at(*gift), gift[0], 0) for gift in entry.gifts)


def _whose(holder: Holder) -> str:
    return f"pod {holder.namespace}/{holder.pod}" if holder.pod else holder.handle


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Raises CniError."""
    try:
        yield
    except OSError as error:
        details = "the node agent writes there what it gives while the store is away"
        raise CniError(TRY_AGAIN, f"{folder}: {error.strerror or error}", details) from None
