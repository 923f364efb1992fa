"""The followers of a process: begun when a kind is asked for, more or fewer of them as its interests say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter

from peering.store.interest import Interest
from peering.store.kubernetes.api import Api
from peering.store.kubernetes.changes import Changes
from peering.store.kubernetes.follower import Follower
from peering.store.kubernetes.last_seen import LastSeen
from peering.store.kubernetes.objects import Packed, join
from peering.store.kubernetes.selection import Selection, selections_of
from peering.store.kubernetes.sources import Source
from peering.store.protocol import Document, StoreError

#: So long a reader waits for the first lists.
_FIRST_LISTS_S = 30.0
#: So often it looks whether one of them was refused, which no waiting mends.
_REFUSED_LOOK_S = 0.2
#: After a change so long is waited for others before it is on disk. Without one the file is touched so often.
_KEPT_AFTER_S, _STILL_HOLDS_S = 2.0, 60.0
#: What was known when the following began: source -> name -> fingerprint.
Known = Mapping[Source, Mapping[str, int]]


class Following:
    """Objects by kind and name, joined from all sources of their kind."""

    def __init__(
        self,
        api: Api,
        sources: Mapping[str, Sequence[Source]],
        changes: Changes,
        interests: Iterable[Interest],
        last_seen: LastSeen | None = None,
    ) -> None:
        self._api = api
        self._sources = sources
        self._changes = changes
        self._interests = tuple(interests)
        self._kinds: set[str] = set()
        self._secrets: set[str] = set()
        self._followers: dict[Selection, Follower] = {}
        self._by_source: dict[Source, list[Follower]] = {}
        self._tasks: dict[Selection, asyncio.Task[None]] = {}
        self._joined: dict[tuple[str, str], tuple[tuple[Packed, ...], Packed]] = {}
        self._deciding = {kind for one in self._interests if one.unless for kind in one.unless.kinds}
        self._to_adjust = False
        self._last_seen = last_seen
        self._to_keep = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def follow(self, kinds: Iterable[str], known: Known | None = None) -> None:
        """Begins with kinds that are not followed yet."""
        wanted = set(kinds)
        for one in self._interests:
            if one.kind in wanted and one.unless:
                wanted.update(one.unless.kinds)
        self._kinds |= wanted
        self._adjust(known or {})

    def follows(self, kind: str) -> bool:
        return kind in self._kinds

    def is_whole(self, kind: str) -> bool:
        """Whether all objects of the kind are known here, or will be."""
        wanted = {Selection(source) for source in self._sources[kind]}
        return kind in self._kinds and wanted <= set(self._followers)

    def is_known(self, kind: str, name: str) -> bool:
        """Whether what is known here answers for this object."""
        named = {Selection(source, name=name) for source in self._sources[kind]}
        return self.is_whole(kind) or (kind in self._kinds and named <= set(self._followers))

    def follow_secret(self, name: str) -> None:
        """Secrets are read by their names only, those that somebody has asked for."""
        self._secrets.add(name)
        self._adjust({})

    async def ready(self, kinds: Iterable[str]) -> None:
        """Until all that is wanted of the kinds was read once. Raises StoreError with what is in the way.

        Whoever asks again and again for what is known here leaves the watches their turns.
        """
        await asyncio.sleep(0)
        if self._to_adjust:
            self._adjust({})
        wanted = set(kinds)
        try:
            async with asyncio.timeout(_FIRST_LISTS_S):
                while waiting := [one for one in self._of(wanted | self._deciding) if not one.synced.is_set()]:
                    if refused := next((one.trouble for one in waiting if one.is_refused), ""):
                        raise StoreError(refused)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_REFUSED_LOOK_S):
                            await waiting[0].synced.wait()
                    self._adjust({})
        except TimeoutError:
            said = next((one.trouble for one in waiting if one.trouble), "the first lists take too long")
            raise StoreError(said) from None

    def trouble(self) -> str:
        """Why what is known here may be old; empty while nothing is wrong."""
        return next((one.trouble for one in self._followers.values() if one.trouble), "")

    def all(self, kind: str) -> list[Packed]:
        """By name."""
        followers = self._of({kind})
        if len(self._sources[kind]) == len(followers) == 1:
            return sorted(followers[0].objects.values(), key=attrgetter("name"))
        names = {name for follower in followers for name in follower.objects}
        found = (self.find(kind, name) for name in sorted(names))
        return [one for one in found if one is not None]

    def find(self, kind: str, name: str) -> Packed | None:
        """The object as it is known."""
        found = tuple(self._parts(kind, name))
        if not found:
            self._joined.pop((kind, name), None)
            return None
        if len(self._sources[kind]) == 1:
            return found[0]
        before = self._joined.get((kind, name))
        if before is None or [*map(id, before[0])] != [*map(id, found)]:
            before = self._joined[kind, name] = found, join(found)
        return before[1]

    def parts(self, kind: str) -> Iterator[Packed]:
        """What each source says, unjoined."""
        for follower in self._of({kind}):
            yield from follower.objects.values()

    def wrote(self, source: Source, item: Document) -> None:
        for follower in self._at(source):
            follower.wrote(item)

    def removed(self, source: Source, name: str, uid: str) -> None:
        for follower in self._at(source):
            follower.removed(name, uid)

    async def close(self) -> None:
        tasks, self._tasks, self._followers, self._by_source = [*self._tasks.values()], {}, {}, {}
        if self._keeping is not None:
            tasks.append(self._keeping)
            self._keeping = None
        self._kinds.clear()
        self._secrets.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _parts(self, kind: str, name: str) -> Iterator[Packed]:
        """Of each source the newest that any follower has."""
        for source in self._sources[kind]:
            found = [one.objects[name] for one in self._at(source) if name in one.objects]
            if found:
                yield max(found, key=lambda one: one.version)

    def _of(self, kinds: set[str]) -> list[Follower]:
        return [follower for selection, follower in self._followers.items() if selection.source.kind in kinds]

    def _at(self, source: Source) -> list[Follower]:
        return self._by_source.get(source, [])

    def _told(self, kind: str, name: str, version: int) -> None:
        self._changes.add(kind, name, version)
        self._to_keep.set()
        if kind in self._deciding:
            self._adjust_soon()

    def _adjust(self, known: Known) -> None:
        """Begins what is missing; ends what is wanted no more as soon as what is wanted instead has been read."""
        self._to_adjust = False
        wanted = {selection for kind in self._kinds for selection in self._wanted(kind)}
        for selection in sorted(wanted - set(self._followers), key=lambda one: one.source.path()):
            before = self._last_seen.of(selection) if self._last_seen else None
            follower = Follower(
                self._api, selection, self._told, self._adjust_soon, known.get(selection.source), before
            )
            self._followers[selection] = follower
            self._by_source.setdefault(selection.source, []).append(follower)
            self._tasks[selection] = asyncio.get_running_loop().create_task(follower.run())
            self._tasks[selection].add_done_callback(self._ended)
        unread = {one.source for one in wanted if not self._followers[one].synced.is_set()}
        for selection in set(self._followers) - wanted:
            if selection.source not in unread:
                self._end(selection)
        self._to_keep.set()
        if self._last_seen is not None and self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(self._last_seen))

    async def _keep(self, last_seen: LastSeen) -> None:
        """What is known is on disk, while it is what the cluster says. Where it cannot be written there is none."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STILL_HOLDS_S):
                    await self._to_keep.wait()
            await asyncio.sleep(_KEPT_AFTER_S)
            if self.trouble() or not all(one.synced.is_set() for one in self._followers.values()):
                continue
            with suppress(OSError):
                if not self._to_keep.is_set():
                    last_seen.touch()
                    continue
                self._to_keep.clear()
                seen = [(selection, [*one.objects.values()]) for selection, one in self._followers.items()]
                await asyncio.to_thread(last_seen.write, seen)

    def _adjust_soon(self) -> None:
        if not self._to_adjust:
            self._to_adjust = True
            asyncio.get_running_loop().call_soon(self._adjust, {})

    def _end(self, selection: Selection) -> None:
        """What only it knew is known no more, and so is gone for whoever watches. Nobody need wait for it."""
        follower = self._followers.pop(selection)
        follower.synced.set()
        self._by_source[selection.source].remove(follower)
        self._tasks.pop(selection).cancel()
        for name, packed in follower.objects.items():
            self._changes.add(packed.kind, name, packed.version)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A follower ends by being told so; else it has met a mistake of ours, which nobody must sleep through."""
        if not task.cancelled():
            self._changes.close(task.exception())

    def _wanted(self, kind: str) -> set[Selection]:
        if kind == "Secret":
            return {Selection(source, name=name) for source in self._sources[kind] for name in self._secrets}
        mine = [one for one in self._interests if one.kind == kind]
        if not mine:
            return {Selection(source) for source in self._sources[kind]}
        return selections_of(self._sources[kind], mine, self._declared(mine))

    def _declared(self, interests: Iterable[Interest]) -> dict[str, list[Document]]:
        """The documents that decide. Of the kind itself only those that are wanted by their names.

        Nothing is decided while a part of them has not been read.
        """
        declared: dict[str, list[Document]] = {}
        for interest in interests:
            deciding = interest.unless.kinds if interest.unless else ()
            if not all(one.synced.is_set() for one in self._of({*deciding} - {interest.kind})):
                return {}
            for kind in deciding:
                found = [self.find(kind, interest.value)] if kind == interest.kind else [*self.all(kind)]
                declared[kind] = [one.document for one in found if one is not None]
        return declared
