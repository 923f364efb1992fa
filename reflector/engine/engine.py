"""Engine: all peers, all tables, all update groups. Sans-IO; its user is the server, which owns sockets and sessions.

What happens to a peer (`session_up`, `update`, `session_closed`, ...) changes tables. When the user finds it time,
`publish` turns the changes into batches, once for each update group, and whoever waits to be let in, caught up or
moved is served behind them. Then the outboxes have what is to be sent.

Graceful restart has two sides here. Routes of a peer that restarts stay as its session says (`Retention`), first as
they are and then as a last resort. And when we have restarted ourselves, nothing is told to anybody until the peers
have said what they know, or the time for that is over (RFC 4724, 4.1): an early End-of-RIB would make them forget what
they kept for us.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import NamedTuple

from reflector.configuration import WARN_PERCENT, Peer, ReflectorConfiguration
from reflector.engine.adj_rib_in import PeerFamily
from reflector.engine.claims import Claim, Claims, Log
from reflector.engine.deferral import Deferral
from reflector.engine.peer import Membership, PeerState, Retained
from reflector.engine.terms import export_terms_of, import_terms_of, kind_of, language_of
from reflector.log.group import UpdateGroup
from reflector.log.outbox import Outbox
from reflector.policy.export_policy import ExportTerms
from reflector.policy.import_policy import ImportPolicy, import_policy
from reflector.policy.ownership import Ownership
from reflector.rib.route import Source
from reflector.rib.table import Table
from reflector.session.events import SessionUp
from reflector.session.restart import Retention
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.families import FAMILIES, Family
from reflector.wire.framing import ROUTE_REFRESH, encode_message
from reflector.wire.notification import Notification
from reflector.wire.packing import encode_end_of_rib
from reflector.wire.route_refresh import BEGIN, END, RouteRefresh
from reflector.wire.update import decode_update

_LOOPBACK_4, _LOOPBACK_6 = 127, bytes(15) + b"\1"


class PrefixLimitExceeded(Exception):
    """A peer announced more than its `max_prefixes`; its session has to end with `notice` (RFC 4486, 4)."""

    def __init__(self, peer: PeerState, family: Family, limit: int) -> None:
        super().__init__(f"more than {limit} prefixes of {family}")
        self.peer = peer
        self.limit = limit
        self.notice = Notification(
            ErrorCode.CEASE, Cease.MAXIMUM_PREFIXES, family.packed[:2] + family.packed[2:] + limit.to_bytes(4, "big")
        )


class Published(NamedTuple):
    """`news`: there is something for members of groups. `served` are the peers that have something beside that."""

    news: bool
    served: list[PeerState]


class Engine:
    """`log(event, **fields)` is told what people should know. `restarting`, `were_up`: see deferral.py."""

    def __init__(
        self,
        configuration: ReflectorConfiguration,
        log: Log,
        *,
        restarting: bool = False,
        were_up: Collection[bytes] = (),
    ) -> None:
        self.configuration = configuration
        self.peers: dict[bytes, PeerState] = {}
        self.tables: dict[Family, Table] = {}
        self.groups: dict[ExportTerms, UpdateGroup] = {}
        self._log = log
        self._caches: dict[tuple[bool, bool, bool], AttributeCache] = {}
        self.claims = Claims(Ownership(configuration.ownership, configuration.owners), self.tables, log)
        self._waiting: list[Callable[[], PeerState | None]] = []
        self._stale: set[PeerState] = set()
        self._deferral = Deferral(restarting, were_up)
        self._own = frozenset(configuration.addresses)

    # What peers do.

    def session_up(self, peer: Peer, up: SessionUp, now: float) -> PeerState:
        """A session is Established. Stale routes of families that the peer has not kept go now."""
        asn = up.peer.asn
        kind = kind_of(peer, asn)
        state = self.peers.get(peer.address)
        if state is None or (state.source.kind, state.source.router_id, state.asn) != (kind, up.peer.router_id, asn):
            if state is not None:
                self._forget(state)
            source = Source(peer.name, kind, up.peer.router_id, peer.address)
            state = self.peers[peer.address] = PeerState(peer, source, asn)
        state.config, state.negotiated, state.open, state.up_since = peer, up.negotiated, up.peer, now
        loopback = peer.address[0] == _LOOPBACK_4 if len(peer.address) == 4 else peer.address == _LOOPBACK_6
        state.cache = self._cache(external=kind == "ebgp", four_octet=up.negotiated.four_octet, loopback=loopback)
        state.updates = state.faults = 0
        state.warned.clear()
        self._settle_retained(state, up)
        for family in up.negotiated.families:
            if family in FAMILIES:
                self._open_family(state, family)
        state.awaited = set(state.families) if up.negotiated.graceful_restart else set()
        self._deferral.peer_up(state, now)
        self._waiting.append(lambda: self._join(state))
        return state

    def update(self, state: PeerState, body: bytes) -> None:
        """An UPDATE. Raises ResetSession and PrefixLimitExceeded; what it said up to there is in force."""
        assert state.negotiated is not None
        assert state.cache is not None
        withdrawn, announced, block, _, faults = decode_update(body, state.negotiated, state.cache, self._own)
        state.updates += 1
        families = state.families
        for family, keys in withdrawn:
            families[family].withdraw(keys)
        for family, next_hop, keys in announced:
            assert block is not None
            one = families[family]
            one.announce(block, next_hop, keys)
            if state.config.policy.max_prefixes is not None:
                self._check_limit(state, one, state.config.policy.max_prefixes)
        if faults:
            self._note_faults(state, [fault.text for fault in faults])

    def end_of_rib(self, state: PeerState, family: Family) -> None:
        """The peer has said everything of a family: what is stale still is gone (RFC 4724, 4.2)."""
        state.awaited.discard(family)
        if family in state.retained:
            self._release(state, family)
            state.families[family].drop_stale()

    def refresh_begins(self, state: PeerState, family: Family) -> None:
        """RFC 7313, 4: everything until the end of the refresh is new; not to be heeded before the End-of-RIB."""
        if family in state.families and family not in state.awaited:
            state.families[family].mark_stale()

    def refresh_ends(self, state: PeerState, family: Family) -> None:
        if family in state.families and family not in state.awaited:
            state.families[family].drop_stale()

    def refresh_requested(self, state: PeerState, family: Family) -> None:
        """The peer wants everything again."""
        self._waiting.append(lambda: self._tell_again(state, family))

    def catch_up(self, state: PeerState) -> None:
        """The peer has taken all that was in flight, and has lost its place in a log."""
        self._waiting.append(lambda: self._catch_up(state))

    def session_closed(self, state: PeerState, retained: Mapping[Family, Retention], now: float) -> None:
        """The session is over; routes of the families in `retained` stay as stale ones."""
        state.negotiated = state.open = None
        state.awaited.clear()
        self._leave(state)
        for family in list(state.families):
            keep = retained.get(family)
            if keep is None:
                self._close_family(state, family)
                continue
            self._retain(state, family, keep, now)
        if not state.families:
            self.peers.pop(state.source.address, None)

    # What is told.

    @property
    def waiting(self) -> bool:
        """Whether `publish` has anything to do."""
        return bool(self._waiting) or self.claims.unsettled or any(table.changed for table in self.tables.values())

    def publish(self, now: float) -> Published | None:
        """Puts all changes into the logs and serves who waits. None: it is too early (see the head of this file)."""
        if self._deferral.holds(self.peers.values(), self.configuration.peers, now):
            return None
        news = False
        for family, table in self.tables.items():
            changes = table.take_changes()
            if changes:
                for terms, group in self.groups.items():
                    if terms.family == family:
                        news = group.publish(changes) or news
        self.claims.settle()
        waiting, self._waiting = self._waiting, []
        return Published(news, [state for state in (serve() for serve in waiting) if state is not None])

    # Time.

    def deadline(self) -> float:
        """When to call `timer`; `inf`: never."""
        return min((kept.until for state in self._stale for kept in state.retained.values()), default=inf)

    def timer(self, now: float) -> None:
        """Stale routes whose time is over become a last resort, or go."""
        for state in list(self._stale):
            for family, kept in list(state.retained.items()):
                if now >= kept.until:
                    self._live_long(state, family, now)
            if not state.families and not state.up:
                self.peers.pop(state.source.address, None)

    # Another configuration.

    def configure(
        self, configuration: ReflectorConfiguration, peers: Mapping[bytes, Peer]
    ) -> list[PrefixLimitExceeded]:
        """Takes filters, ownership and the like in place. `peers` are those that the server has, as they are now.

        Those whose sessions have other settings are reset by their user, not here. So are those that announce more than
        they may from now on: these are what is returned.
        """
        before, self.configuration = self.configuration, configuration
        self._own = frozenset(configuration.addresses)
        ours = (before.cluster_id, before.addresses) != (configuration.cluster_id, configuration.addresses)
        owners = (before.ownership, before.owners) != (configuration.ownership, configuration.owners)
        if owners:
            self.claims.start_again(Ownership(configuration.ownership, configuration.owners))
        exceeded: list[PrefixLimitExceeded] = []
        for address, state in self.peers.items():
            old, state.config = state.config, peers.get(address, state.config)
            if not (ours or owners or old != state.config):
                continue
            for family in state.families:
                self._review(state, family, owners=owners)
            if state.up:
                self._waiting.append(self._mover(state))
            if state.source.name != state.config.name:
                state.source.name = state.config.name
                self.claims.renamed()
            if old.policy.max_prefixes != state.config.policy.max_prefixes:
                state.warned.clear()
                exceeded += self._exceeded(state)
        if owners:
            self.claims.judged()
        return exceeded

    def _exceeded(self, state: PeerState) -> list[PrefixLimitExceeded]:
        """Whether a peer that is up announces more than it may."""
        limit = state.config.policy.max_prefixes
        if limit is None or not state.up:
            return []
        try:
            for one in state.families.values():
                self._check_limit(state, one, limit)
        except PrefixLimitExceeded as error:
            return [error]
        return []

    def _review(self, state: PeerState, family: Family, *, owners: bool = False) -> None:
        """Judges again what a peer said, if its terms are others now."""
        one, judge = state.families[family], self._judge(state, family)
        moved = (one.claim.owner if one.claim is not None else "") != self._judged_as(state, family)
        if one.judge is judge and not owners and not moved:
            return
        if moved and one.claim is not None:
            one.claim.cleared(())
        if owners or moved:
            one.claim = self._claim(state, family)
        one.judge = judge
        one.judge_again()

    def _mover(self, state: PeerState) -> Callable[[], PeerState | None]:
        def move() -> PeerState | None:
            for family, member in list(state.memberships.items()):
                terms = self._export_terms(state, family)
                if terms == member.terms:
                    continue
                group = self._group(terms)
                cursor = group.take_over(state.outbox, member.cursor, member.group)
                self._drop_empty(member)
                state.memberships[family] = Membership(terms, group, cursor)
            return state if state.up else None

        return move

    # Families of a peer.

    def _open_family(self, state: PeerState, family: Family) -> None:
        assert state.negotiated is not None
        one = state.families.get(family)
        paths = family in state.negotiated.add_path_receive
        if one is not None and one.paths is not paths:
            self._close_family(state, family)
            one = None
        if one is None:
            table = self.tables.setdefault(family, Table())
            one = state.families[family] = PeerFamily(family, state.source, table, self._judge(state, family))
            one.paths = paths
            one.claim = self._claim(state, family)
        else:
            self._review(state, family)

    def _close_family(self, state: PeerState, family: Family) -> None:
        state.families.pop(family).clear()
        self._release(state, family)

    def _release(self, state: PeerState, family: Family) -> None:
        """No routes of this family outlive anything any more."""
        state.retained.pop(family, None)
        if not state.retained:
            self._stale.discard(state)

    def _settle_retained(self, state: PeerState, up: SessionUp) -> None:
        """Stale routes that survive the peer's OPEN wait for its End-of-RIB (RFC 4724, 4.2; RFC 9494, 4.3)."""
        for family, kept in list(state.retained.items()):
            one = state.families[family]
            survivors = up.long_lived_kept if one.long_lived else up.forwarding_kept
            if family in survivors:
                kept.until = max(kept.until, state.up_since + 3 * (up.negotiated.hold_time or 120))
            else:
                self._close_family(state, family)
        for family in list(state.families):
            if family not in up.negotiated.families:
                self._close_family(state, family)

    def _retain(self, state: PeerState, family: Family, keep: Retention, now: float) -> None:
        """What a peer said stays. Where it goes away again before its End-of-RIB, what was stale already goes, or keeps
        the time that it had as a last resort (RFC 4724, 4.2; RFC 9494, 4.2).
        """
        one, kept = state.families[family], state.retained.get(family)
        until = now + keep.restart_time
        last = until + keep.stale_time
        if kept is not None and keep.stale_time and now < kept.last:
            last = kept.last
            until = now if one.long_lived else min(until, last)
        elif kept is not None:
            one.drop_stale()
        one.mark_stale()
        state.retained[family] = Retained(until, last)
        self._stale.add(state)
        if until <= now:
            self._live_long(state, family, now)

    def _live_long(self, state: PeerState, family: Family, now: float) -> None:
        kept, one = state.retained[family], state.families[family]
        if kept.last > now and not one.long_lived and not state.up:
            state.retained[family] = Retained(kept.last, kept.last)
            one.live_long()
        else:
            self._release(state, family)
            one.drop_stale()
            if not state.up:
                self._close_family(state, family)

    def _forget(self, state: PeerState) -> None:
        self._leave(state)
        for family in list(state.families):
            self._close_family(state, family)

    def _judge(self, state: PeerState, family: Family) -> ImportPolicy:
        return import_policy(import_terms_of(self.configuration, state.config, state.source.kind, state.asn, family))

    def _claim(self, state: PeerState, family: Family) -> Claim | None:
        owner = self._judged_as(state, family)
        return self.claims.claim(state.source, owner, family) if owner else None

    def _judged_as(self, state: PeerState, family: Family) -> str:
        """The owner that the peer has to be; empty where nothing is judged, as of who passes on routes of others."""
        judged = state.source.kind == "client" and not FAMILIES[family].opaque and self.claims.ownership.mode != "off"
        return state.config.owner if judged else ""

    def _check_limit(self, state: PeerState, one: PeerFamily, limit: int) -> None:
        count = len(one)
        if count > limit:
            self._log("prefix-limit", peer=state.source.name, family=str(one.family), limit=limit)
            raise PrefixLimitExceeded(state, one.family, limit)
        if count * 100 >= limit * WARN_PERCENT and one.family not in state.warned:
            state.warned.add(one.family)
            self._log("prefix-limit-near", peer=state.source.name, family=str(one.family), prefixes=count, limit=limit)

    def _note_faults(self, state: PeerState, texts: list[str]) -> None:
        """Counted always, logged when it is another one than the last."""
        state.faults += len(texts)
        if texts[-1] != state.last_fault:
            state.last_fault = texts[-1]
            self._log("update-fault", peer=state.source.name, faults=texts)

    # Groups.

    def _export_terms(self, state: PeerState, family: Family) -> ExportTerms:
        assert state.negotiated is not None
        return export_terms_of(self.configuration, state.config, state.source.kind, state.asn, state.negotiated, family)

    def _group(self, terms: ExportTerms) -> UpdateGroup:
        group = self.groups.get(terms)
        if group is None:
            group = self.groups[terms] = UpdateGroup(self.tables[terms.family], language_of(terms))
        return group

    def _join(self, state: PeerState) -> PeerState | None:
        """Every family's table, and its End-of-RIB behind it."""
        if not state.up or state.memberships:
            return None
        for family in state.families:
            terms = self._export_terms(state, family)
            group = self._group(terms)
            cursor = group.join(state.outbox, state.source)
            state.outbox.pull(cursor)
            state.outbox.end_with([encode_end_of_rib(family)])
            state.memberships[family] = Membership(terms, group, cursor)
        return state

    def _leave(self, state: PeerState) -> None:
        for member in state.memberships.values():
            member.group.leave(member.cursor)
            self._drop_empty(member)
        state.memberships.clear()
        state.outbox.clear()
        state.outbox = Outbox()

    def _drop_empty(self, member: Membership) -> None:
        if not len(member.group):
            self.groups.pop(member.terms, None)

    def _tell_again(self, state: PeerState, family: Family) -> PeerState | None:
        member = state.memberships.get(family)
        if member is None or state.negotiated is None:
            return None
        if member.cursor.lost:
            member.group.catch_up(state.outbox, member.cursor)
        borders = state.negotiated.enhanced_route_refresh
        state.outbox.pull(member.cursor)
        if borders:
            state.outbox.end_with([_border(family, BEGIN)])
        member.group.tell_again(state.outbox, member.cursor)
        state.outbox.pull(member.cursor)
        if borders:
            state.outbox.end_with([_border(family, END)])
        return state

    def _catch_up(self, state: PeerState) -> PeerState | None:
        for member in state.memberships.values():
            if member.cursor.lost:
                member.group.catch_up(state.outbox, member.cursor)
        return state if state.up else None

    def _cache(self, *, external: bool, four_octet: bool, loopback: bool) -> AttributeCache:
        key = (external, four_octet, loopback)
        if key not in self._caches:
            self._caches[key] = AttributeCache(external=external, four_octet=four_octet, loopback=loopback)
        return self._caches[key]


def _border(family: Family, subtype: int) -> bytes:
    return encode_message(ROUTE_REFRESH, RouteRefresh(family, subtype).encode())
