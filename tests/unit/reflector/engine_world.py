"""Engines without sockets: sessions in memory, and speakers at their other ends that remember what they are told.

What goes over a line are the bytes of real messages, in any pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from peering.prefixes import Address, format_address, pack_address
from reflector.configuration import Peer, PeerPolicy, ReflectorConfiguration
from reflector.engine.engine import Engine
from reflector.engine.peer import PeerState
from reflector.log.group import UpdateGroup
from reflector.log.outbox import Outbox
from reflector.policy.export_policy import ExportTerms
from reflector.session.events import SessionUp
from reflector.session.local_open import local_open
from reflector.session.restart import Retention, kept_by
from reflector.session.settings import SessionSettings
from reflector.wire import framing
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.capabilities import AddPath, Capabilities, GracefulRestart, LongLived
from reflector.wire.families import FAMILIES, IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.framing import Framer
from reflector.wire.negotiated import Negotiated, negotiate
from reflector.wire.open_message import OpenMessage
from reflector.wire.packing import encode_updates
from reflector.wire.route_refresh import BEGIN, decode_route_refresh
from reflector.wire.update import decode_update
from tests.unit.reflector.policy_samples import block

ASN = 64512
BOTH = (IPV4_UNICAST, IPV6_UNICAST)
#: By whether the session is eBGP and has AS numbers of four bytes: what speakers read attributes with.
CACHES = {
    (external, four_octet): AttributeCache(external=external, four_octet=four_octet)
    for external in (False, True)
    for four_octet in (False, True)
}
_EVERYTHING = 1 << 24


class Path(NamedTuple):
    """A route as a person would write it down."""

    next_hop: bytes
    as_path: tuple[int, ...] = ()
    local_pref: int | None = None
    med: int | None = None
    origin: int = 0
    originator: bytes | None = None
    clusters: tuple[bytes, ...] = ()
    communities: tuple[int, ...] = ()


def path_of(next_hop: bytes, one: AttributeBlock) -> Path:
    """What a receiver read."""
    return Path(
        next_hop,
        one.as_path,
        one.local_pref,
        one.med,
        one.origin,
        one.originator_id,
        one.cluster_list,
        one.communities,
    )


def ipv4(number: int) -> bytes:
    return bytes((192, 0, 2, number))


def ipv6(number: int) -> bytes:
    return pack_address(f"2001:db8::{number:x}")


def address_in(family: Family, number: int) -> bytes:
    """An address that goes as next hop in a family."""
    return ipv4(number) if family.afi == 1 else ipv6(number)


def configuration(number: int, *peers: Peer, **fields: Any) -> ReflectorConfiguration:
    """A reflector with the addresses 192.0.2.`number` and 2001:db8::`number`; its cluster is its router ID."""
    defaults: dict[str, Any] = {
        "name": f"r{number}",
        "asn": ASN,
        "router_id": ipv4(number),
        "cluster_id": ipv4(number),
        "addresses": (ipv4(number), ipv6(number)),
        "peers": {peer.address: peer for peer in peers},
        "ownership": "off",
    }
    return ReflectorConfiguration(**(defaults | fields))


def peer_of(number: int, asn: int = ASN, *, owner: str = "", **policy: Any) -> Peer:
    """The peer 192.0.2.`number` in a configuration; `asn` 0 for any AS."""
    name = format_address(ipv4(number))
    session = SessionSettings(
        name=name,
        local_asn=ASN,
        router_id=bytes(3) + b"\1",
        peer_asn=asn,
        families=tuple(FAMILIES),
        add_path=AddPath.BOTH,
        long_lived_stale_time=3600,
    )
    return Peer(name=name, address=ipv4(number), session=session, policy=PeerPolicy(**policy), owner=owner or name)


@lru_cache
def capabilities(
    asn: int = ASN,
    families: tuple[Family, ...] = (IPV4_UNICAST,),
    *,
    add_path: AddPath | None = None,
    restart: int | None = None,
    forwarding: bool = True,
    restarting: bool = False,
    stale: int | None = None,
    borders: bool = True,
    four_octet: bool = True,
) -> Capabilities:
    """Those of a speaker. `restart` is its restart time, `stale` its long-lived stale time, both in seconds."""
    kept = dict.fromkeys(families, forwarding)
    return Capabilities(
        multiprotocol=families,
        route_refresh=True,
        enhanced_route_refresh=borders,
        four_octet_as=asn if four_octet else None,
        add_path=dict.fromkeys(families, add_path) if add_path else {},
        graceful_restart=None if restart is None else GracefulRestart(restart, kept, restarting, notification=True),
        long_lived={} if stale is None else dict.fromkeys(families, LongLived(stale, forwarding)),
    )


_AGREED: dict[tuple[SessionSettings, int, int], tuple[Capabilities, Negotiated, Negotiated]] = {}


def _agreed(settings: SessionSettings, opened: OpenMessage) -> tuple[Negotiated, Negotiated]:
    """The terms as the engine sees them, and as the other end does. Remembered, since it takes most of a short run."""
    key = (settings, opened.asn, id(opened.capabilities))
    if key not in _AGREED:
        ours = local_open(settings)
        _AGREED[key] = opened.capabilities, negotiate(ours, opened), negotiate(opened, ours)
    return _AGREED[key][1:]


class Line:
    """A session of an engine with somebody, again and again. What arrives there is up to `on_update` and the like."""

    def __init__(self, engine: Engine, peer: Peer, asn: int = ASN, router_id: bytes | None = None) -> None:
        self.engine = engine
        self.peer = peer
        self.asn = asn
        self.router_id = router_id or peer.address
        self.state: PeerState | None = None
        self.terms = Negotiated()
        self.cut = b""
        self._framer = Framer()

    def up(self, theirs: Capabilities | None = None, now: float = 0.0) -> PeerState:
        """The session comes up; `theirs` is what the other end can do."""
        opened = OpenMessage(self.asn, 90, self.router_id, theirs or capabilities(self.asn))
        negotiated, self.terms = _agreed(self.peer.session, opened)
        self._framer = Framer(self.terms.max_receive_length)
        self.state = self.engine.session_up(self.peer, SessionUp(opened, negotiated, *kept_by(negotiated)), now)
        return self.state

    def down(self, retained: Mapping[Family, Retention] | None = None, now: float = 0.0) -> None:
        """The session ends; `retained` is what the session machine says of the routes."""
        if self.state is not None:
            state, self.state = self.state, None
            self.engine.session_closed(state, retained or {}, now)

    def say(self, messages: Iterable[bytes]) -> None:
        """Whole UPDATEs from the other end, handed over as the session machine does."""
        for message in messages:
            assert self.state is not None
            self.engine.update(self.state, message[framing.HEADER_LENGTH :])

    def take(self, limit: int = _EVERYTHING) -> int:
        """Reads at most that many bytes at the other end, and acts on what is complete; how many there were."""
        if self.state is None:
            return 0
        self._keep_up(self.state.outbox)
        data = b"".join(map(bytes, self.state.outbox.views()))[:limit]
        self.state.outbox.wrote(len(data))
        for kind, body in self._framer.feed(data):
            if kind == framing.UPDATE:
                self.on_update(body)
            elif kind == framing.ROUTE_REFRESH:
                self.on_border(decode_route_refresh(body).family, decode_route_refresh(body).subtype)
        return len(data)

    def _keep_up(self, outbox: Outbox) -> None:
        """As the server does for a connection that has taken what was in flight."""
        if outbox.behind() and self.state is not None:
            self.engine.catch_up(self.state)
            self.engine.publish(0.0)

    def on_update(self, body: bytes) -> None:
        raise NotImplementedError

    def on_border(self, family: Family, subtype: int) -> None:
        raise NotImplementedError


class Speaker(Line):
    """A peer that is no engine. `told` by family and key (behind the path identifier, if there are any).

    `ends` are the families whose End-of-RIB came, `borders` how often a refresh began. It is strict: nothing may be
    withdrawn twice over, or be malformed.
    """

    def __init__(self, engine: Engine, peer: Peer, asn: int = ASN, router_id: bytes | None = None) -> None:
        super().__init__(engine, peer, asn, router_id)
        self.told: dict[tuple[Family, bytes], Path] = {}
        self.nlri: dict[tuple[Family, bytes], bytes] = {}
        self.ends: list[Family] = []
        self.borders: list[tuple[Family, int]] = []
        self.updates = 0
        self._stale: set[tuple[Family, bytes]] = set()

    def up(self, theirs: Capabilities | None = None, now: float = 0.0) -> PeerState:
        self.forget()
        return super().up(theirs, now)

    def down(self, retained: Mapping[Family, Retention] | None = None, now: float = 0.0) -> None:
        super().down(retained, now)
        self.forget()

    def forget(self) -> None:
        """Loses all that it was told."""
        self.told.clear()
        self.nlri.clear()
        self.ends.clear()
        self.borders.clear()
        self._stale.clear()

    def announce(
        self, path: Path, keys: Iterable[bytes], family: Family = IPV4_UNICAST, path_id: bytes | None = None
    ) -> None:
        """NLRI as on the wire; `path_id` goes before each."""
        named = [(path_id or b"") + key for key in keys]
        self.say(
            encode_updates(family, [], [(path.next_hop, attributes(path, four_octet=self.terms.four_octet), named)])
        )

    def withdraw(self, keys: Iterable[bytes], family: Family = IPV4_UNICAST, path_id: bytes | None = None) -> None:
        self.say(encode_updates(family, [(path_id or b"") + key for key in keys], []))

    def end_of_rib(self, family: Family = IPV4_UNICAST) -> None:
        assert self.state is not None
        self.engine.end_of_rib(self.state, family)

    def on_update(self, body: bytes) -> None:
        withdrawn, announced, found, end, faults = decode_update(
            body, self.terms, CACHES[self.asn != ASN, self.terms.four_octet]
        )
        assert faults == ()
        self.updates += 1
        for family, keys in withdrawn:
            for nlri in keys:
                place = family, self._key(family, nlri)
                self._stale.discard(place)
                self.told.pop(place, None)
                self.nlri.pop(place, None)
        for family, next_hop, keys in announced:
            for nlri in keys:
                assert found is not None
                place = family, self._key(family, nlri)
                self._stale.discard(place)
                self.told[place] = path_of(next_hop, found)
                self.nlri[place] = nlri
        if end is not None:
            self.ends.append(end)

    def on_border(self, family: Family, subtype: int) -> None:
        self.borders.append((family, subtype))
        if subtype == BEGIN:
            self._stale |= {place for place in self.told if place[0] == family}
        else:
            for place in [place for place in self._stale if place[0] == family]:
                self._stale.discard(place)
                del self.told[place], self.nlri[place]

    def _key(self, family: Family, nlri: bytes) -> bytes:
        """What tells routes apart, as RFC 8277 and 7911 say."""
        number, rest = (nlri[:4], nlri[4:]) if family in self.terms.add_path_receive else (b"", nlri)
        route_key = FAMILIES[family].route_key
        return number + (rest if route_key is None else route_key(rest))


def attributes(path: Path, *, four_octet: bool = True) -> bytes:
    """The attributes on the wire, without next hop."""
    return block(
        *path.as_path,
        origin=path.origin,
        med=path.med,
        local_pref=path.local_pref,
        communities=path.communities or None,
        originator_id=path.originator,
        cluster_list=path.clusters or None,
    ).encoded(four_octet=four_octet)


def new_engine(
    wanted: ReflectorConfiguration, log: Any = None, *, ring_bytes: int | None = None, **restart: Any
) -> Engine:
    """`ring_bytes`: how much its groups keep for who is slow."""
    engine = Engine(wanted, log or _nothing, **restart)
    make = engine._group

    def group(terms: ExportTerms) -> UpdateGroup:
        made = make(terms)
        if ring_bytes is not None:
            made._log._ring_bytes = ring_bytes
        return made

    engine._group = group  # type: ignore[method-assign]
    return engine


def _nothing(event: str, **fields: Any) -> None:
    pass


def settle(engines: Iterable[Engine], lines: Iterable[Line], now: float = 0.0) -> None:
    """Publishes and reads until nothing happens any more."""
    engines, lines = list(engines), list(lines)
    for _ in range(1000):
        for engine in engines:
            engine.publish(now)
        if not sum(line.take() for line in lines) and not any(engine.waiting for engine in engines):
            return
    raise AssertionError("it never ends")


def reconfigured(wanted: ReflectorConfiguration, *peers: Peer, **fields: Any) -> ReflectorConfiguration:
    """The same with other peers or fields."""
    return replace(wanted, peers={**wanted.peers, **{peer.address: peer for peer in peers}}, **fields)


class Lab:
    """One engine with speakers around it, and what it told its log."""

    def __init__(
        self,
        *peers: Peer,
        ring_bytes: int | None = None,
        restarting: bool = False,
        were_up: Collection[Address] = (),
        **fields: Any,
    ) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.now = 0.0
        self.speakers: list[Speaker] = []
        wanted = configuration(1, *peers, **fields)
        self.engine = new_engine(wanted, self._log, ring_bytes=ring_bytes, restarting=restarting, were_up=were_up)

    def _log(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def speaker(
        self, peer: Peer, asn: int = ASN, theirs: Capabilities | None = None, router_id: bytes | None = None
    ) -> Speaker:
        """One that is up."""
        speaker = Speaker(self.engine, peer, asn, router_id)
        speaker.up(theirs, self.now)
        self.speakers.append(speaker)
        return speaker

    def settle(self) -> None:
        """Everybody reads what there is."""
        settle([self.engine], self.speakers, self.now)

    def wait(self, now: float) -> None:
        """It is that late now; timers are looked at, and what follows is told."""
        self.now = now
        if now >= self.engine.deadline():
            self.engine.timer(now)
        self.settle()

    def configure(self, *peers: Peer, **fields: Any) -> None:
        """These peers and fields are others now; what follows is told."""
        self.engine.configure(reconfigured(self.engine.configuration, *peers, **fields), {p.address: p for p in peers})
        self.settle()

    def said(self, event: str) -> list[dict[str, Any]]:
        """What the log was told under that name."""
        return [fields for name, fields in self.events if name == event]
