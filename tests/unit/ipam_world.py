"""IPAM under a microscope: a store in memory that stops at every operation, and processes driven step by step.

A process is a coroutine of the real code. It runs up to its next operation of the store and waits there; the test
decides who goes on, whose operation takes effect, and who dies before or after it took effect.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Coroutine, Generator, Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from peering.store.protocol import Conflict, Document, NotFound, Stored

Key = tuple[str, str]


class _Pause:
    """What an operation awaits before it takes effect, and once more after it."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppedStore:
    """As the engines are: versions of the whole store, compare-and-swap; and a write without a change is none."""

    def __init__(self) -> None:
        self.objects: dict[Key, Stored] = {}
        self.version = 0

    async def get(self, kind: str, name: str) -> Stored:
        await _Pause()
        return self._current(kind, name)

    async def list(self, kind: str, node: str = "") -> Sequence[Stored]:
        return (await self.snapshot([kind]))[0]

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        await _Pause()
        wanted = set(kinds)
        found = [one for (kind, _), one in sorted(self.objects.items()) if kind in wanted]
        return found, self.version

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        await _Pause()
        if (kind, name) in self.objects:
            raise Conflict(f"{kind}/{name} exists already")
        stored = self.put(kind, name, document)
        await _Pause()
        return stored

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        await _Pause()
        current = self._expect(kind, name, version)
        stored = current if current.document == document else self.put(kind, name, document)
        await _Pause()
        return stored

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        await _Pause()
        self._expect(kind, name, version)
        self.version += 1
        del self.objects[kind, name]
        await _Pause()

    async def apply_all(self, *args: Any) -> None:
        raise AssertionError("IPAM does not declare")

    keeps_statuses = False

    async def put_in_order(self) -> Any:
        raise AssertionError("IPAM puts nothing in order")

    async def statuses(self, kind: str) -> Any:
        raise AssertionError("IPAM tells nothing")

    async def apply_status(self, *args: Any) -> None:
        raise AssertionError("IPAM tells nothing")

    def tell(self, *args: Any) -> None:
        raise AssertionError("IPAM tells nothing")

    def watch(self, *args: Any) -> Any:
        raise AssertionError("IPAM does not watch")

    def leading(self, name: str) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def close(self) -> None:
        pass

    def put(self, kind: str, name: str, document: Document) -> Stored:
        """Writes at once, whatever is there."""
        self.version += 1
        self.objects[kind, name] = Stored(kind, name, self.version, json.loads(json.dumps(document)))
        return self.objects[kind, name]

    def all(self, kind: str) -> Sequence[Stored]:
        """The objects of a kind, read at once."""
        return [one for (of, _), one in sorted(self.objects.items()) if of == kind]

    def _current(self, kind: str, name: str) -> Stored:
        if (kind, name) not in self.objects:
            raise NotFound(f"there is no {kind}/{name}")
        return self.objects[kind, name]

    def _expect(self, kind: str, name: str, version: int | None) -> Stored:
        current = self._current(kind, name)
        if version is not None and current.version != version:
            raise Conflict(f"{kind}/{name} was changed by somebody else")
        return current


class Running:
    """A coroutine that is driven by hand. `answer` or `error` is there once it is `done`."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self.done = False
        self.answer: Any = None
        self.error: Exception | None = None
        self.step()

    def step(self) -> None:
        """To the next pause."""
        if self.done:
            return
        try:
            self._work.send(None)
        except StopIteration as end:
            self.done, self.answer = True, end.value
        except Exception as error:  # noqa: BLE001 - it is told to the test, which judges it
            self.done, self.error = True, error

    def finish(self, most: int = 100_000) -> Running:
        """To its end, with nobody else running."""
        for _ in range(most):
            if self.done:
                return self
            self.step()
        raise AssertionError("it never ends")

    def kill(self) -> None:
        """Dies where it is, and runs no line more: neither `except` nor `finally` of it may help."""
        self.done = True
        _DEAD.append(self._work)


#: Coroutines that were killed. They are kept, because Python would run their `finally` when it collects them.
_DEAD: list[Coroutine[Any, Any, Any]] = []


class Rules:
    """What must hold at every moment, whoever is in the middle of what."""

    def __init__(self, store: SteppedStore) -> None:
        self._store = store
        self._looked_at = -1
        self._gifts: dict[tuple[str, int, int], str] = {}

    def check(self) -> None:
        """Raises AssertionError."""
        if self._store.version == self._looked_at:
            return
        self._looked_at = self._store.version
        blocks = {spec["cidr"]: spec for spec in self._specs("IPAMBlock")}
        for spec in blocks.values():
            self._check_addresses(spec)
        self._check_owners(blocks)
        self._check_promises(blocks)
        self._check_borrowed(blocks)

    def _check_addresses(self, spec: Document) -> None:
        used = [a["ordinal"] for a in spec.get("allocations", ())]
        free_again = [one["ordinal"] for one in spec.get("released", ())]
        assert len(set(used)) == len(used), f"held twice in {spec['cidr']}: {used}"
        assert len({*used, *free_again}) == len(used) + len(free_again), f"held and free in {spec['cidr']}"
        assert bool(used) is not bool(spec.get("emptySince")), f"since when is {spec['cidr']} empty?"
        for a in spec.get("allocations", ()):
            gift = (spec["cidr"], a["ordinal"], a.get("sequence", 0))
            assert self._gifts.setdefault(gift, a["handle"]) == a["handle"], f"two gifts are {gift}"

    def _check_owners(self, blocks: dict[str, Document]) -> None:
        confirmed = [one for one in self._specs("BlockAffinity") if one.get("state") == "confirmed"]
        assert len({one["cidr"] for one in confirmed}) == len(confirmed), "a block with two confirmed owners"
        for one in confirmed:
            assert one["cidr"] in blocks, f"{one['cidr']} confirmed for {one['node']}, and there is none"
            owner = blocks[one["cidr"]].get("affinity", "")
            assert owner == f"{one.get('type', 'host')}:{one['node']}", (
                f"{one['cidr']} confirmed for {one['node']}, and of {owner!r}"
            )

    def _check_promises(self, blocks: dict[str, Document]) -> None:
        promised = {one["handle"]: one.get("blocks", ()) for one in self._specs("IPAMHandle")}
        for spec in blocks.values():
            for a in spec.get("allocations", ()):
                said = promised.get(a["handle"], ())
                assert spec["cidr"] in said, f"{a['handle']} does not say that it is in {spec['cidr']}"

    def _check_borrowed(self, blocks: dict[str, Document]) -> None:
        """A listed address is that node's, by that very gift."""
        for one in self._specs("BlockAffinity"):
            if one.get("type") == "borrower":
                network = ip_network(one["cidr"])
                gifts = [a for a in blocks.get(one["cidr"], {}).get("allocations", ()) if a["node"] == one["node"]]
                held = {(str(network[a["ordinal"]]), a.get("sequence", 0)) for a in gifts}
                listed = {(a["address"], a.get("sequence", 0)) for a in one.get("addresses", ())}
                assert listed <= held, f"listed for {one['node']}, and not its own: {listed - held}"

    def _specs(self, kind: str) -> Iterator[Document]:
        return (one.document["spec"] for one in self._store.all(kind))


def declare(store: SteppedStore, kind: str, name: str, **spec: Any) -> None:
    """Writes a resource at once."""
    document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    store.put(kind, name, document)
