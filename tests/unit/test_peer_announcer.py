"""What ExaBGP is told and when, on a fake ExaBGP that keeps every line and can be interrupted between any two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

import pytest

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.exabgp_channel import Disconnected
from bgp_speaker.exabgp_driver import ExaBGP
from bgp_speaker.exabgp_neighbors import NeighborState
from bgp_speaker.peer_announcer import PeerAnnouncer
from peering.session import Session, SpeakerPlan

A, B, V6 = "10.0.0.1", "10.0.0.2", "fd00::1"
BLOCK, OTHER, BLOCK6 = "10.244.0.0/26", "10.244.1.0/26", "fd00:10:244::/122"
EOR = "announce eor"
REFRESH = "announce route-refresh"


def session(peer: str, **changes: object) -> Session:
    fields: dict[str, object] = {
        "name": f"to-{peer}",
        "peer": "external",
        "source": "BGPPeer/x",
        "type": "ebgp",
        "local_address": None,
        "local_asn": 65001,
        "peer_address": peer,
        "peer_asn": 65002,
        "families": ("ipv6-unicast",) if ":" in peer else ("ipv4-unicast",),
    }
    return Session(**{**fields, **changes})  # type: ignore[arg-type]


def speaker(*peers: str, **changes: object) -> SpeakerPlan:
    return SpeakerPlan(
        asn=65001,
        router_id="10.0.0.9",
        sessions=tuple(session(peer) for peer in peers),
        **changes,  # type: ignore[arg-type]
    )


class FakeExaBGP:
    """Answers `done`, remembers what it was told as ExaBGP would, and calls `before` ahead of each line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.table: dict[str, set[str]] = {}
        self.asked = 0
        self.sent = 0
        self.refuses: Callable[[str], bool] = lambda line: False
        self.before: Callable[[str], None] = lambda line: None

    async def send_all(self, lines: Iterable[str]) -> list[str]:
        refused = []
        for line in lines:
            await asyncio.sleep(0)
            self.before(line)
            if self.refuses(line):
                refused.append(line)
            else:
                self._take(line)
        return refused

    async def announced(self) -> dict[str, set[str]]:
        await asyncio.sleep(0)
        self.asked += 1
        return {peer: set(prefixes) for peer, prefixes in self.table.items() if prefixes}

    async def neighbors(self) -> tuple[NeighborState, ...]:
        await asyncio.sleep(0)
        self.sent = len(self.lines)
        return ()

    def _take(self, line: str) -> None:
        self.lines.append(line)
        head, nlri, prefixes = line.partition(" nlri ")
        words = head.replace(" ,", "").split()
        verb = next(word for word in words if word in ("announce", "withdraw"))
        for peer in [words[i + 1] for i, word in enumerate(words) if word == "neighbor"] if nlri else []:
            known = self.table.setdefault(peer, set())
            known |= set(prefixes.split()) if verb == "announce" else set()
            known -= set(prefixes.split()) if verb == "withdraw" else set()

    def said(self) -> list[str]:
        """The lines since the last time, without the parts that are always the same."""
        found, self.lines = self.lines, []
        return [line.replace(" attributes next-hop self nlri", "").replace(" attributes nlri", "") for line in found]


class Story:
    """An announcer with its ExaBGP, and the plan and blocks in force."""

    def __init__(self, *peers: str, blocks: Iterable[str] = (BLOCK,), **changes: object) -> None:
        self.exabgp = FakeExaBGP()
        self.announcer = PeerAnnouncer()
        self.plan = speaker(*peers, **changes)
        self.blocks = list(blocks)
        self.up: list[str] = []

    async def announce(self) -> list[str]:
        exabgp = cast(ExaBGP, self.exabgp)
        everything = desired_announcements(self.plan, self.blocks)
        return await self.announcer.announce(exabgp, everything, self.plan.sessions, list(self.up))

    async def tell(self) -> list[str]:
        """One run; the lines that came of it."""
        await self.announce()
        return self.exabgp.said()

    def comes_up(self, *peers: str) -> None:
        for peer in peers:
            self.up = sorted({*self.up, peer})
            self.announcer.peer_up(peer)

    def start(self, *up: str, fresh: bool = True) -> None:
        self.up = sorted(up)
        self.announcer.connected(fresh=fresh, up=self.up)

    async def withdraw_all(self) -> None:
        await self.announcer.withdraw_all(cast(ExaBGP, self.exabgp))


def test_a_session_that_comes_up_hears_everything_and_then_the_end_of_it() -> None:
    async def check() -> None:
        story = Story(A, V6, blocks=[BLOCK, BLOCK6], loopbacks=("10.0.0.9",))
        story.start()
        assert await story.tell() == []
        story.comes_up(A)
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK} 10.0.0.9/32",
            f"neighbor {A} {EOR} ipv4 unicast",
        ]
        story.comes_up(V6)
        assert await story.tell() == [f"neighbor {V6} announce {BLOCK6}", f"neighbor {V6} {EOR} ipv6 unicast"]

    asyncio.run(check())


def test_the_end_of_rib_comes_once_per_session_and_a_replay_with_each() -> None:
    async def check() -> None:
        story = Story(A)
        story.start()
        story.comes_up(A)
        first = await story.tell()
        assert await story.tell() == []
        story.blocks.append(OTHER)
        assert await story.tell() == [f"neighbor {A} announce {OTHER}"]
        story.comes_up(A)
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK} {OTHER}",
            f"neighbor {A} {EOR} ipv4 unicast",
        ]
        assert first == [f"neighbor {A} announce {BLOCK}", f"neighbor {A} {EOR} ipv4 unicast"]

    asyncio.run(check())


def test_a_peer_that_is_down_is_told_nothing_until_it_is_back() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start()
        story.comes_up(A)
        assert [line for line in await story.tell() if B in line] == []
        story.up = []
        story.blocks = [OTHER]
        assert await story.tell() == []
        story.comes_up(A)
        assert await story.tell() == [
            f"neighbor {A} announce {OTHER}",
            f"neighbor {A} withdraw {BLOCK}",
            f"neighbor {A} {EOR} ipv4 unicast",
        ]

    asyncio.run(check())


def test_a_session_without_announcements_still_gets_its_end_of_rib() -> None:
    async def check() -> None:
        story = Story(A, blocks=[])
        story.start()
        story.comes_up(A)
        assert await story.tell() == [f"neighbor {A} {EOR} ipv4 unicast"]

    asyncio.run(check())


def test_blocks_of_an_unexported_pool_stay_at_home() -> None:
    async def check() -> None:
        story = Story(A, blocks=[BLOCK, "10.9.0.0/26"], unexported=("10.9.0.0/16",))
        story.start()
        story.comes_up(A)
        assert (await story.tell())[0] == f"neighbor {A} announce {BLOCK}"

    asyncio.run(check())


def test_an_adopted_exabgp_is_asked_and_loses_what_is_no_longer_true() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.exabgp.table = {A: {BLOCK, OTHER}, B: {OTHER}}
        story.start(A, fresh=False)
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK}",
            f"neighbor {A} withdraw {OTHER}",
            f"neighbor {A} {EOR} ipv4 unicast",
            f"neighbor {A} {REFRESH} ipv4 unicast",
        ]
        assert story.exabgp.asked == 1
        story.comes_up(B)
        assert f"neighbor {B} withdraw {OTHER}" in await story.tell()
        assert (story.exabgp.asked, story.exabgp.table) == (1, {A: {BLOCK}, B: {BLOCK}})

    asyncio.run(check())


def test_a_fresh_exabgp_is_not_asked_whatever_its_predecessor_was_told() -> None:
    async def check() -> None:
        story = Story(A)
        story.start(A)
        await story.tell()
        story.announcer.forget()
        assert story.announcer.counts() == {}
        story.exabgp.table = {}
        story.start()
        story.comes_up(A)
        assert await story.tell() == [f"neighbor {A} announce {BLOCK}", f"neighbor {A} {EOR} ipv4 unicast"]
        assert story.exabgp.asked == 0

    asyncio.run(check())


def test_a_refresh_is_asked_for_once_and_of_sessions_that_are_up_only() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A)
        await story.tell()
        story.announcer.refresh([A, B])
        assert await story.tell() == [f"neighbor {A} {REFRESH} ipv4 unicast"]
        assert await story.tell() == []
        story.comes_up(B)
        assert f"neighbor {B} {REFRESH} ipv4 unicast" in await story.tell()

    asyncio.run(check())


def test_a_neighbour_that_left_the_plan_is_forgotten_and_hears_everything_when_it_is_back() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A, B)
        await story.tell()
        story.plan = speaker(A)
        story.announcer.keep_only([A])
        assert await story.tell() == []
        assert story.announcer.counts() == {A: 1}
        story.plan = speaker(A, B)
        story.comes_up(B)
        assert await story.tell() == [f"neighbor {B} announce {BLOCK}", f"neighbor {B} {EOR} ipv4 unicast"]

    asyncio.run(check())


def test_a_session_whose_parameters_changed_is_told_anew_although_it_was_told_before() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A, B)
        await story.tell()
        # ExaBGP makes a new neighbour of it, which announces nothing; the down and the up are all we see.
        story.plan = SpeakerPlan(asn=65001, router_id="10.0.0.9", sessions=(session(A, hold_time=9), session(B)))
        del story.exabgp.table[A]
        story.up = [B]
        assert await story.tell() == []
        story.comes_up(A)
        assert await story.tell() == [f"neighbor {A} announce {BLOCK}", f"neighbor {A} {EOR} ipv4 unicast"]

    asyncio.run(check())


def test_everything_is_withdrawn_from_everybody_who_was_told_up_or_down() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A, B)
        await story.tell()
        story.up = [A]
        await story.withdraw_all()
        assert story.exabgp.said() == [f"neighbor {A} , neighbor {B} withdraw {BLOCK}"]
        assert story.announcer.counts() == {}
        await story.withdraw_all()
        assert story.exabgp.said() == []

    asyncio.run(check())


def test_all_withdrawals_are_on_the_wire_before_exabgp_can_be_ended() -> None:
    """What ExaBGP has acknowledged is queued; an answer to a later question shows that the queue was sent."""

    async def check() -> None:
        story = Story(A, V6, blocks=[BLOCK, BLOCK6])
        story.start(A, V6)
        await story.announce()
        await story.withdraw_all()
        assert story.exabgp.table == {A: set(), V6: set()}
        assert story.exabgp.sent == len(story.exabgp.lines)

    asyncio.run(check())


def test_what_an_adopted_exabgp_announces_is_withdrawn_too() -> None:
    async def check() -> None:
        story = Story(A)
        story.exabgp.table = {A: {OTHER}}
        story.start(A, fresh=False)
        await story.withdraw_all()
        assert story.exabgp.table == {A: set()}

    asyncio.run(check())


def interrupting(at: int) -> Callable[[str], None]:
    """The connection is lost ahead of the line with that number, counted from 1."""
    count = 0

    def before(line: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Disconnected("gone")

    return before


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_connection_lost_at_any_line_is_made_good_by_the_next_run(at: int, fresh: bool) -> None:
    async def check() -> None:
        story = Story(A, B, V6, blocks=[OTHER, BLOCK6])
        story.start(A, B)
        await story.announce()
        story.blocks = [BLOCK, BLOCK6]
        story.announcer.refresh([A])
        story.comes_up(B, V6)
        story.exabgp.before = interrupting(at)
        with pytest.raises(Disconnected):
            await story.announce()
        story.exabgp.before = lambda line: None
        if fresh:
            story.announcer.forget()
            story.exabgp.table = {}
        story.start(*story.up, fresh=fresh)
        story.exabgp.said()
        lines = await story.tell()
        assert story.exabgp.table == {A: {BLOCK}, B: {BLOCK}, V6: {BLOCK6}}
        assert {line for line in lines if EOR in line} == {
            f"neighbor {peer} {EOR} ipv{6 if ':' in peer else 4} unicast" for peer in (A, B, V6)
        }
        assert f"neighbor {A} {REFRESH} ipv4 unicast" in lines
        assert story.announcer.counts() == {A: 1, B: 1, V6: 1}

    asyncio.run(check())


def test_a_lost_connection_leaves_what_is_owed_on_the_list() -> None:
    """Between the loss and the next `connected` nothing may be forgotten, whoever runs first."""

    async def check() -> None:
        story = Story(A)
        story.start()
        story.comes_up(A)
        story.announcer.refresh([A])
        story.exabgp.before = interrupting(1)
        with pytest.raises(Disconnected):
            await story.announce()
        story.exabgp.before = lambda line: None
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK}",
            f"neighbor {A} {EOR} ipv4 unicast",
            f"neighbor {A} {REFRESH} ipv4 unicast",
        ]

    asyncio.run(check())


@pytest.mark.parametrize("moment", ["nlri", EOR, REFRESH])
def test_a_session_that_comes_up_again_while_it_is_told_is_told_again(moment: str) -> None:
    async def check() -> None:
        story = Story(A)
        story.start(A)

        def flap(line: str) -> None:
            if moment in line:
                story.exabgp.before = lambda line: None
                story.announcer.peer_up(A)
                story.announcer.refresh([A])

        story.exabgp.before = flap
        await story.tell()
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK}",
            f"neighbor {A} {EOR} ipv4 unicast",
            f"neighbor {A} {REFRESH} ipv4 unicast",
        ]
        assert await story.tell() == []

    asyncio.run(check())


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("moment", ["nlri", EOR, REFRESH])
def test_a_reconnect_while_lines_are_under_way_begins_a_new_record(moment: str, fresh: bool) -> None:
    """The run goes on with the old one; nothing of it may pass for what the new ExaBGP was told."""

    async def check() -> None:
        story = Story(A)
        story.start(A)

        def reconnect(line: str) -> None:
            if moment in line:
                story.exabgp.before = lambda line: None
                story.announcer.forget()
                story.announcer.connected(fresh=fresh, up=[A])

        story.exabgp.before = reconnect
        await story.announce()
        story.exabgp.table = {}
        story.exabgp.said()
        assert await story.tell() == [
            f"neighbor {A} announce {BLOCK}",
            f"neighbor {A} {EOR} ipv4 unicast",
            f"neighbor {A} {REFRESH} ipv4 unicast",
        ]
        story.blocks = []
        assert await story.tell() == [f"neighbor {A} withdraw {BLOCK}"]

    asyncio.run(check())


def test_a_death_while_lines_are_under_way_leaves_nothing_told() -> None:
    async def check() -> None:
        story = Story(A)
        story.start(A)
        story.exabgp.before = lambda line: story.announcer.forget() if " nlri " in line else None
        await story.announce()
        assert story.announcer.counts() == {}

    asyncio.run(check())


def test_forgetting_a_neighbour_while_lines_are_under_way_loses_nothing_of_the_others() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A, B)
        story.exabgp.before = lambda line: story.announcer.keep_only([A])
        await story.tell()
        story.exabgp.before = lambda line: None
        story.blocks = []
        story.up = [A]
        assert await story.tell() == [f"neighbor {A} withdraw {BLOCK}"]

    asyncio.run(check())


def test_everything_is_withdrawn_also_when_an_announcement_was_under_way() -> None:
    async def check() -> None:
        story = Story(A)
        story.start(A)
        under_way = asyncio.create_task(story.announce())
        await asyncio.sleep(0)
        await story.withdraw_all()
        await under_way
        assert story.exabgp.table == {A: set()}

    asyncio.run(check())


def test_a_refused_line_is_reported_not_counted_and_tried_again() -> None:
    async def check() -> None:
        story = Story(A, B)
        story.start(A, B)
        await story.announce()
        story.blocks = [BLOCK, OTHER]
        story.exabgp.refuses = lambda line: OTHER in line
        line = f"neighbor {A} , neighbor {B} announce attributes next-hop self nlri {OTHER}"
        assert await story.announce() == [line]
        assert story.announcer.counts() == {A: 1, B: 1}
        assert await story.announce() == [line]
        story.exabgp.refuses = lambda line: False
        story.exabgp.said()
        assert await story.tell() == [f"neighbor {A} , neighbor {B} announce {OTHER}"]
        assert await story.tell() == []

    asyncio.run(check())
