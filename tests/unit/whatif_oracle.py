"""What-if, the plain way: every router of a small fabric, every prefix, rounds until nothing changes.

Written from the plan and docs/whatif.md, not from peering/whatif: no classes of equals, no parts, no memory between
questions. Only best path (peering/bestpath.py) and filters (peering/route_filter.py) are shared; they have tests of
their own. Addresses and prefixes are text here.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from peering.bestpath import Path, choose
from peering.graph import Graph
from peering.prefixes import pack_address, pack_prefix
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.fabric import SwitchSpec
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec
from peering.resources.route_reflector import RouteReflectorSpec
from peering.route_filter import Route, compile_filters, named_filters
from peering.selectors import parse_selector
from peering.session import PrefixRule, Session

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
BOGONS = ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::1/128", "fe80::/10", "ff00::/8")
DEFAULTS = ("0.0.0.0/0", "::/0")
KEPT_BY_SWITCHES = {(65535, 0), (65535, 65281), (65535, 65282)}


@dataclass(frozen=True)
class Ad:
    """An advertisement on the wire."""

    next_hop: str
    path: tuple[int, ...]
    pref: int | None = None
    med: int | None = None
    tags: tuple[tuple[int, ...], ...] = ()
    originator: str = ""
    clusters: tuple[str, ...] = ()
    origin: int = 0


@dataclass(eq=False)
class Half:
    """One end of a session that has two; `link` is the pair of routers whose link it needs."""

    me: str
    session: Session
    my_address: str
    peer: Half | None = None
    link: frozenset[str] | None = None


@cache
def net(text: str) -> Network:
    return ipaddress.ip_network(text)


@cache
def within(inner: str, outer: str) -> bool:
    a, b = net(inner), net(outer)
    return a.version == b.version and a.subnet_of(b)  # type: ignore[arg-type]


@cache
def host(address: str) -> str:
    return str(net(address))


@cache
def listed(rules: tuple[PrefixRule, ...], prefix: str) -> bool:
    return any(within(prefix, r.cidr) and r.min_length <= net(prefix).prefixlen <= r.max_length for r in rules)


class Oracle:
    """The fabric of a graph with something down: names of routers (`node/a`), pairs of them, (router, session name)."""

    def __init__(
        self,
        graph: Graph,
        down: set[str],
        cut: set[frozenset[str]] = frozenset(),  # type: ignore[assignment]
        silent: set[tuple[str, str]] = frozenset(),  # type: ignore[assignment]
    ) -> None:
        self.graph, self.cut, self.silent = graph, cut, silent
        self.filters = graph.snapshot.specs("BGPFilter", BGPFilterSpec)
        self.kind: dict[str, str] = {}
        self.asn: dict[str, int] = {}
        self.router_id: dict[str, str] = {}
        self.cluster: dict[str, str] = {}
        self.own: dict[str, list[str]] = defaultdict(list)
        #: Pools that a router announces whole.
        self.whole: dict[str, list[str]] = defaultdict(list)
        self.addresses: dict[str, set[str]] = defaultdict(set)
        self.halves: list[Half] = []
        self.ways: dict[tuple[str, str], str] = {}
        self.subnets: dict[str, list[tuple[str, str, str, set[frozenset[str]]]]] = defaultdict(list)
        self.pairs: dict[str, set[frozenset[str]]] = defaultdict(set)
        self.exported: dict[str, bool] = {}
        self._owners: dict[str, str] = {}
        self._known_hops: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._plans()
        self._prefixes()
        self._links()
        self._sessions()
        self.down = down | {
            f"reflector/{n}" for n, p in graph.reflectors.items() if p.node and f"node/{p.node}" in down
        }
        self.flat = {name for name in self.kind if not any(h.me == name and h.link for h in self.halves if h.peer)}
        self.alive = [h for h in self.halves if h.peer and self._is_up(h)]
        everything = [*self.own.values(), *self.whole.values()]
        self.rib: dict[str, dict[str, Any]] = {p: {} for prefixes in everything for p in prefixes}
        for _ in range(200):
            after = {prefix: self._round(prefix, known) for prefix, known in self.rib.items()}
            if after == self.rib:
                break
            self.rib = after

    # What there is

    def _plans(self) -> None:
        graph = self.graph
        everything: list[tuple[str, Mapping[str, Any]]] = [
            ("node", graph.speakers), ("reflector", graph.reflectors), ("switch", graph.switches)
        ]  # fmt: skip
        for kind, plans in everything:
            for name, plan in plans.items():
                me = f"{kind}/{name}"
                self.kind[me], self.asn[me], self.router_id[me] = kind, plan.asn, plan.router_id
                clusters = [s.cluster_id for s in plan.sessions if s.cluster_id]
                self.cluster[me] = {
                    "node": getattr(plan, "cluster_id", None) or "",
                    "reflector": getattr(plan, "cluster_id", ""),
                    "switch": clusters[0] if clusters else plan.router_id,
                }[kind]
                self.addresses[me] |= {s.local_address for s in plan.sessions if s.local_address}
                if kind == "node":
                    self.addresses[me] |= set(plan.loopbacks)
                    self.addresses[me] |= {a.split("/")[0] for _, a in graph.nodes[name].uplinks}
                elif kind == "reflector":
                    self.addresses[me] |= set(plan.addresses)

    def _prefixes(self) -> None:
        snapshot = self.graph.snapshot
        labels = {name: resource.labels for name, resource in snapshot.all("Node").items()}
        for pool in snapshot.specs("IPPool", IPPoolSpec).values():
            if pool.disabled or pool.assignment_mode == "Manual" or "LoadBalancer" in pool.allowed_uses:
                continue
            selected = sorted(n for n in labels if parse_selector(pool.node_selector).matches(labels[n]))
            for node, block in zip(selected, net(pool.cidr).subnets(new_prefix=pool.block_length), strict=False):
                self.own[f"node/{node}"].append(str(block))
                self.exported[str(block)] = not pool.disable_bgp_export
        for name, plan in self.graph.speakers.items():
            blocks = self.own[f"node/{name}"]
            self.whole[f"node/{name}"] = [pool for pool in plan.aggregates if any(within(b, pool) for b in blocks)]
            self.own[f"node/{name}"] += [host(a) for a in plan.loopbacks]
        for name, switch in self.graph.switches.items():
            self.own[f"switch/{name}"] += list(switch.networks)
            self.whole[f"switch/{name}"] = list(switch.aggregates)

    def _links(self) -> None:
        switches = self.graph.snapshot.specs("Switch", SwitchSpec)
        for name, switch in switches.items():
            self.addresses[f"switch/{name}"] |= {a.split("/")[0] for a in (*switch.addresses, *switch.link_addresses)}
        for name, resource in self.graph.snapshot.all("Node").items():
            me, spec = f"node/{name}", resource.spec
            assert isinstance(spec, NodeSpec)
            for uplink in spec.uplinks:
                if uplink.switch in switches and not uplink.addresses:
                    self.pairs[me].add(frozenset({me, f"switch/{uplink.switch}"}))
                for text in uplink.addresses:
                    self._uplink(me, uplink.interface, ipaddress.ip_interface(text), switches)

    def _uplink(self, me: str, interface: str, address: Any, switches: dict[str, SwitchSpec]) -> None:
        ends = {n for n, s in switches.items() if any(within(host(str(address.ip)), c) for c in s.link_subnets)}
        pairs = {frozenset({me, f"switch/{n}"}) for n in ends}
        self.pairs[me] |= pairs
        self.subnets[me].append((str(address.network), str(address.ip), interface, pairs))
        if address.network.num_addresses in (2, 4):
            usable = list(address.network)[:2] if address.network.num_addresses == 2 else list(address.network)[1:3]
            others = [str(a) for a in usable if a != address.ip]
            for n in ends:
                self._neighbours(me, str(address.ip), f"switch/{n}", others[0])
        else:
            for n in ends:
                for own in (a.split("/")[0] for a in switches[n].link_addresses):
                    if within(host(own), str(address.network)):
                        self._neighbours(me, str(address.ip), f"switch/{n}", own)

    def _neighbours(self, one: str, one_address: str, other: str, other_address: str) -> None:
        self.ways.setdefault((one, other_address), other)
        self.ways.setdefault((other, one_address), one)

    def _sessions(self) -> None:
        graph = self.graph
        everybody = {
            **{f"node/{n}": p.sessions for n, p in graph.speakers.items()},
            **{f"reflector/{n}": p.sessions for n, p in graph.reflectors.items()},
            **{f"switch/{n}": p.sessions for n, p in graph.switches.items()},
        }
        specs: list[SwitchSpec | RouteReflectorSpec] = [
            *graph.snapshot.specs("Switch", SwitchSpec).values(),
            *graph.snapshot.specs("RouteReflector", RouteReflectorSpec).values(),
        ]
        names = {peer.address: peer.name for spec in specs for peer in spec.fabric_peers}
        for me, sessions in everybody.items():
            for session in sessions:
                mine = Half(me, session, "")
                self.halves.append(mine)
                if session.peer == "external":
                    self._outside(mine, f"external/{names.get(session.peer_address, session.peer_address)}")
        for mine in list(self.halves):
            if mine.peer is None:
                theirs = [
                    h for h in self.halves if h.me == mine.session.peer and h.peer is None and self._facing(mine, h)
                ]
                if theirs:
                    mine.peer, theirs[0].peer = theirs[0], mine
        for half in self.halves:
            if half.peer:
                half.my_address = self._address(half)
        for half in self.halves:
            if half.peer:
                half.link = self._link(half)

    def _outside(self, mine: Half, name: str) -> None:
        s = mine.session
        if self.asn.get(name, s.peer_asn) != s.peer_asn:
            name = f"{name}-as{s.peer_asn}"
        if name not in self.kind:
            self.kind[name], self.asn[name], self.router_id[name] = "external", s.peer_asn, "0.0.0.0"
            self.cluster[name] = name
            self.own[name] = list(DEFAULTS)
        self.addresses[name].add(s.peer_address)
        ids = [a for a in self.addresses[name] if "." in a]
        self.router_id[name] = str(min(map(ipaddress.IPv4Address, ids))) if ids else "0.0.0.0"
        far = Session(
            name=s.name,
            peer=mine.me,
            source=s.source,
            type=s.type,
            local_address=s.peer_address,
            local_asn=s.peer_asn,
            peer_address=s.local_address or "",
            peer_asn=s.local_asn,
            families=s.families,
            rr_client=s.type == "ibgp",
            next_hop="self" if mine.me.startswith("switch/") else "auto",
            add_paths={None: None, "both": "both", "send": "receive", "receive": "send"}[s.add_paths],
        )
        mine.peer = Half(name, far, s.peer_address, mine)
        self.halves.append(mine.peer)

    def _facing(self, one: Half, other: Half) -> bool:
        a, b = one.session, other.session
        if b.peer != one.me:
            return False
        if a.interface or b.interface:
            node, switch = (a, b) if one.me.startswith("node/") else (b, a)
            me = one.me if one.me.startswith("node/") else other.me
            return switch.name == f"{me.split('/')[1]}-{node.interface}"
        ok_there = b.local_address in (None, a.peer_address)
        ok_here = a.local_address in (None, b.peer_address)
        return ok_there and ok_here and (":" in a.peer_address) == (":" in b.peer_address)

    def _address(self, half: Half) -> str:
        assert half.peer
        known = half.session.local_address or half.peer.session.peer_address
        if known:
            return known
        if half.me.startswith("node/") and half.session.peer_address:
            peer = half.session.peer_address
            on_link = [near for subnet, near, _, _ in self.subnets[half.me] if within(host(peer), subnet)]
            own = [*on_link, *self.graph.speakers[half.me[5:]].loopbacks]
            same = [a for a in own if (":" in a) == (":" in peer)]
            if same:
                return same[0]
        return f"?{half.me} {half.session.name} {half.peer.me}"

    def _link(self, half: Half) -> frozenset[str] | None:
        assert half.peer
        a, b = (half, half.peer) if half.me.startswith("node/") else (half.peer, half)
        assert a.peer
        assert b.peer
        kinds = {self.kind[a.me], self.kind[b.me]}
        pair = frozenset({a.me, b.me})
        if kinds in ({"switch", "external"}, {"switch"}):
            self._neighbours(a.me, a.my_address, b.me, b.my_address)
            return pair
        if self.kind[a.me] != "node" or self.kind[b.me] == "node":
            return None
        if a.session.interface:
            self._neighbours(a.me, a.my_address, b.me, b.my_address)
            return pair
        if a.session.reachable_by:
            gateway = self.ways.get((a.me, a.session.reachable_by))
            if gateway == b.me:
                self._neighbours(a.me, a.my_address, b.me, b.my_address)
            return frozenset({a.me, gateway}) if gateway else None
        neighbour = self.ways.get((a.me, a.session.peer_address))
        if neighbour:
            return pair if neighbour == b.me else None
        on_link = [n for subnet, n, _, _ in self.subnets[a.me] if within(host(a.session.peer_address), subnet)]
        if on_link and self.kind[b.me] == "external":
            self._neighbours(a.me, on_link[0], b.me, a.session.peer_address)
            return pair
        return None

    # What is up

    def _link_up(self, pair: frozenset[str]) -> bool:
        return pair not in self.cut and not pair & self.down

    def _stranded(self, me: str) -> bool:
        if me.startswith("reflector/"):
            node = self.graph.reflectors[me.split("/")[1]].node
            return bool(node) and self._stranded(f"node/{node}")
        return bool(self.pairs[me]) and not any(self._link_up(p) for p in self.pairs[me])

    def _is_up(self, half: Half) -> bool:
        assert half.peer
        ends = {half.me, half.peer.me}
        if ends & self.down or {(half.me, half.session.name), (half.peer.me, half.peer.session.name)} & self.silent:
            return False
        return self._link_up(half.link) if half.link else not any(self._stranded(end) for end in ends)

    # Routes

    def _round(self, prefix: str, known: dict[str, Any]) -> dict[str, Any]:
        """Everybody says what it knows; what everybody knows then."""
        heard: dict[str, list[tuple[Path, Ad, Half]]] = defaultdict(list)
        for half in self.alive:
            if half.me in known:
                for ad in self._say(half, prefix, known[half.me]):
                    self._hear(half, prefix, ad, heard)
        after: dict[str, Any] = {r: "own" for r, own in self.own.items() if prefix in own and r not in self.down}
        makers = [r for r, whole in self.whole.items() if prefix in whole and r not in self.down]
        after |= {r: "own" for r in makers if self.kind[r] == "node" or self._knows_inside(r, prefix)}
        for router, found in heard.items():
            usable = [f for f in found if self.kind[router] != "switch" or self._resolve(router, f[1].next_hop, prefix)]
            choice = choose([f[0] for f in usable])
            if router not in after and choice is not None:
                by_id = {id(f[0]): f for f in usable}
                best, many = by_id[id(choice.best)], [by_id[id(p)] for p in choice.multipath]
                after[router] = (best, many, usable)
        return after

    def _knows_inside(self, me: str, pool: str) -> bool:
        blocks = {block for own in self.own.values() for block in own if block != pool and within(block, pool)}
        return any(me in self.rib[block] for block in blocks)

    def _say(self, half: Half, prefix: str, known: Any) -> list[Ad]:
        assert half.peer
        family = "ipv6-unicast" if ":" in prefix else "ipv4-unicast"
        if family not in half.session.families:
            return []
        mine, theirs = half.session.add_paths, half.peer.session.add_paths
        many = mine in ("send", "both") and theirs in ("receive", "both")
        if known == "own":
            ads = [self._tell_own(half, prefix)]
        elif self.kind[half.me] == "node" and not self.cluster[half.me]:
            return []
        else:
            ads = [self._tell(half, prefix, *one[1:]) for one in (known[2] if many else [known[0]])]
        return list(dict.fromkeys(ad for ad in ads if ad))

    def _self(self, half: Half, prefix: str) -> str:
        """What a router calls itself as a next hop."""
        if half.me.startswith("node/") and not half.my_address.startswith("?"):
            version = net(prefix).version
            if ipaddress.ip_address(half.my_address).version == version:
                return half.my_address
            here = {i for _, near, i, _ in self.subnets[half.me] if near == half.my_address}
            beside = [near for _, near, i, _ in self.subnets[half.me] if i in here]
            own = [*beside, *self.graph.speakers[half.me[5:]].loopbacks]
            return next((a for a in own if ipaddress.ip_address(a).version == version), "")
        return half.my_address

    def _tell_own(self, half: Half, prefix: str) -> Ad | None:
        assert half.peer
        me = self._self(half, prefix)
        if not me:
            return None
        ad: Ad | None = Ad(me, ())
        if self.kind[half.me] == "node":
            whole, among_ours = self.whole[half.me], self.kind[half.peer.me] in ("node", "reflector")
            if among_ours and (prefix == host(me) or prefix in whole):
                return None
            if not among_ours and prefix not in whole and any(within(prefix, pool) for pool in whole):
                return None
            announced = Ad(me, (), tags=self._tags(half.me, prefix))
            ad = self._filtered(half, "export", prefix, announced, self.exported.get(prefix, True), True)
        elif self.kind[half.me] == "switch" and not self._switch_lets_out(half, prefix, ()):
            ad = None
        return ad and self._finish(half, ad)

    def _tags(self, me: str, prefix: str) -> tuple[tuple[int, ...], ...]:
        """The communities of BGPConfiguration, which are written as numbers here."""
        found = self.graph.snapshot.specs("BGPConfiguration", BGPConfigurationSpec)
        spec = found.get(f"node.{me[5:]}") or self.graph.snapshot.configuration()
        wanted = spec.prefix_advertisements
        texts = [text for one in wanted if within(prefix, one.cidr) for text in one.communities]
        return tuple(dict.fromkeys(tuple(map(int, text.split(":"))) for text in texts))

    def _tell(self, half: Half, prefix: str, ad: Ad, came: Half) -> Ad | None:
        assert half.peer
        assert came.peer
        ibgp, was_ibgp = half.session.type == "ibgp", came.session.type == "ibgp"
        if came.peer is half or (65535, 65282) in ad.tags or ((65535, 65281) in ad.tags and not ibgp):
            return None
        if ibgp and was_ibgp and not (half.session.rr_client or came.peer.session.rr_client):
            return None
        out: Ad | None = ad if ibgp else replace(ad, med=None)
        assert out
        if self.kind[half.me] == "switch":
            out = out if self._switch_lets_out(half, prefix, ad.path) else None
        elif self.kind[half.me] != "external":
            out = self._filtered(half, "export", prefix, out, True, False)
        if out is None:
            return None
        if ibgp and was_ibgp:
            first = ad.originator or self.router_id[came.me]
            out = replace(out, originator=first, clusters=(self.cluster[half.me], *out.clusters))
        if not self._keeps_next_hop(half, ad.next_hop, ibgp and was_ibgp):
            out = replace(out, next_hop=self._self(half, prefix))
        return self._finish(half, out)

    def _keeps_next_hop(self, half: Half, next_hop: str, reflected: bool) -> bool:
        assert half.peer
        if half.session.next_hop != "auto":
            return half.session.next_hop == "keep"
        if half.session.type == "ibgp":
            return reflected or self.kind[half.me] != "switch"
        if next_hop.startswith("?") or not half.link:
            return False
        shared = (
            [s for s, _, _, _ in self.subnets[half.peer.me] if within(host(half.my_address), s)]
            if (self.kind[half.peer.me] == "node" and not half.my_address.startswith("?"))
            else []
        )
        wide = [s for s in shared if net(s).num_addresses not in (2, 4)]
        return any(within(host(next_hop), s) for s in wide)

    def _finish(self, half: Half, ad: Ad) -> Ad:
        s = half.session
        if s.type == "ibgp":
            return replace(ad, pref=100 if ad.pref is None else ad.pref)
        path = tuple(s.local_asn if s.as_override and a == s.peer_asn else a for a in ad.path)
        return replace(ad, path=(s.local_asn, *path), pref=None, originator="", clusters=())

    def _switch_lets_out(self, half: Half, prefix: str, path: tuple[int, ...]) -> bool:
        assert half.peer
        plan = self.graph.switches[half.me.split("/")[1]]
        if self.kind[half.peer.me] in ("node", "reflector"):
            if plan.downward == "all" or prefix in DEFAULTS:
                return True
            return listed(plan.send, prefix)
        below = [s for s in plan.sessions if s.type == "ebgp"]
        nodes = {s.peer_asn for s in below if s.peer.startswith("node/")}
        reflectors = {s.peer_asn for s in below if s.peer.startswith("reflector/")}
        from_rack = not path or any(set(path) == {a} for a in nodes) or path[0] in reflectors
        rules = plan.accept if self.kind[half.peer.me] == "switch" else plan.announce
        return listed(rules, prefix) and from_rack

    def _filtered(self, half: Half, way: Any, prefix: str, ad: Ad, otherwise: bool, own: bool) -> Ad | None:
        names = half.session.import_filters if way == "import" else half.session.export_filters
        if any(n not in self.filters for n in names):
            return None
        family: Any = "ipv6-unicast" if ":" in prefix else "ipv4-unicast"
        compiled = compile_filters(named_filters(names, self.filters), way, family, half.session.type)
        interface = None
        if way == "import" and half.link and self.kind[half.me] == "node":
            assert half.peer
            on = [i for s, _, i, _ in self.subnets[half.me] if not half.peer.my_address.startswith("?")
                  and within(host(half.peer.my_address), s)]  # fmt: skip
            interface = half.session.interface or (on[0] if on else None)
        route = Route(pack_prefix(prefix), ad.path, ad.tags, ad.med, ad.pref, not own, interface)
        verdict = compiled.decide(route)
        if verdict is None:
            return ad if otherwise else None
        new = verdict.route
        changed = replace(ad, path=new.as_path, tags=new.communities, med=new.med, pref=new.local_preference)
        return changed if verdict.accepted else None

    def _hear(self, sender: Half, prefix: str, ad: Ad, heard: dict[str, list[tuple[Path, Ad, Half]]]) -> None:
        half = sender.peer
        assert half
        me, s = half.me, half.session
        if max(ad.path.count(self.asn[me]), ad.path.count(s.local_asn)) > (s.allow_as_in or 0):
            return
        if ad.originator == self.router_id[me] or (self.cluster[me] and self.cluster[me] in ad.clusters):
            return
        if ad.next_hop in self.addresses[me]:
            return
        kept = getattr(self, f"_hear_{self.kind[me]}")(half, sender, prefix, ad)
        if kept is None:
            return
        path = Path(
            peer=_bytes(sender.my_address),
            next_hop=_bytes(kept.next_hop),
            ebgp=s.type == "ebgp",
            as_path=kept.path,
            as_path_length=len(kept.path),
            local_preference=100 if kept.pref is None else kept.pref,
            origin=kept.origin,
            med=kept.med or 0,
            router_id=int(ipaddress.IPv4Address(kept.originator or self.router_id[sender.me])),
            cluster_list_length=len(kept.clusters),
        )
        heard[me].append((path, kept, sender))

    def _hear_external(self, half: Half, sender: Half, prefix: str, ad: Ad) -> Ad | None:
        return ad

    def _hear_reflector(self, half: Half, sender: Half, prefix: str, ad: Ad) -> Ad | None:
        return self._filtered(half, "import", prefix, ad, True, False)

    def _hear_node(self, half: Half, sender: Half, prefix: str, ad: Ad) -> Ad | None:
        plan = self.graph.speakers[half.me.split("/")[1]]
        never = [*self.own[half.me], *plan.uplink_subnets, *BOGONS]
        if any(within(prefix, n) for n in never):
            return None
        return self._filtered(half, "import", prefix, ad, listed(plan.imports, prefix), False)

    def _hear_switch(self, half: Half, sender: Half, prefix: str, ad: Ad) -> Ad | None:
        plan = self.graph.switches[half.me.split("/")[1]]
        tags = ad.tags
        if self.kind[sender.me] in ("node", "reflector"):
            asn = half.session.peer_asn
            allowed = {
                ("ibgp", "node"): not ad.path,
                ("ibgp", "reflector"): not ad.path,
                ("ebgp", "node"): set(ad.path) == {asn},
                ("ebgp", "reflector"): ad.path[:1] == (asn,),
            }[half.session.type, self.kind[sender.me]]
            if (65535, 666) in tags or not listed(plan.accept, prefix) or not allowed:
                return None
            tags = tuple(t for t in tags if t in KEPT_BY_SWITCHES)
        elif self.kind[sender.me] == "switch":
            if not listed(plan.accept, prefix):
                return None
            ad = replace(ad, origin=2)
        elif prefix in plan.networks:
            return None
        return replace(ad, tags=tags, pref=0 if (65535, 0) in tags else ad.pref)

    # Packets

    def _owner(self, address: str) -> str | None:
        if not self._owners:
            for router in self.kind:
                for one in self.addresses[router]:
                    self._owners.setdefault(one, router)
        return self._owners.get(address)

    def _direct(self, me: str, address: str) -> str | None:
        if (me, address) in self.ways:
            other = self.ways[me, address]
            return other if self._link_up(frozenset({me, other})) else None
        owner = self._owner(address)
        if owner is None or owner in self.down or address.startswith("?"):
            return None
        for subnet, near, _, pairs in self.subnets[me]:
            if within(host(address), subnet) and near != address and (not pairs or any(map(self._link_up, pairs))):
                for other_subnet, other_near, _, theirs in self.subnets[owner]:
                    works = not theirs or any(map(self._link_up, theirs))
                    if other_subnet == subnet and other_near == address and works:
                        return owner
        return None

    def _resolve(self, me: str, address: str, beside: str = "") -> set[tuple[str, str]]:
        """The hops that a next hop comes to. No route leads to its own next hop: `beside` is left out."""
        direct = self._direct(me, address)
        if direct:
            return {(direct, address)}
        owner = self._owner(address)
        if owner and (me, address) not in self.ways:
            trusted = owner if self.kind[me] == "switch" else me
            beneath = trusted in self.flat or self.kind[trusted] == "external"
            if beneath and owner not in self.down and not self._stranded(owner) and not self._stranded(me):
                return {(owner, address)}
        if address.startswith("?"):
            return set()
        for prefix in sorted(self.rib, key=lambda p: -net(p).prefixlen):
            known = self.rib[prefix].get(me)
            if not within(host(address), prefix) or known is None or prefix == beside:
                continue
            if known == "own" or (self.kind[me] == "switch" and prefix in DEFAULTS):
                return set()
            hops = {one[1].next_hop for one in known[1]}
            return {(d, hop) for hop in hops if (d := self._direct(me, hop))}
        return set()

    def hops(self, me: str, prefix: str) -> set[tuple[str, str]]:
        for covering in sorted(self.rib, key=lambda p: -net(p).prefixlen):
            known = self.rib[covering].get(me)
            if not within(prefix, covering) or known is None:
                continue
            if known == "own":
                return set()
            found = {hop for one in known[1] for hop in self._resolve(me, one[1].next_hop)}
            if found:
                return found
        return set()

    def way(self, source: str, prefix: str) -> tuple[str, int]:
        """(yes, partly or no; number of first next hops)."""
        owners = {r for r, own in self.own.items() if prefix in own}
        hops: dict[str, set[str]] = {}
        done: set[str] = set()
        ends: set[str] = set()

        def follow(me: str) -> None:
            if me in owners:
                ends.add("arrives")
            elif me in done:
                return
            elif me in hops:
                ends.add("dies")
            else:
                hops[me] = {name for name, _ in self._hops(me, prefix)}
                if not hops[me]:
                    ends.add("dies")
                for other in sorted(hops[me]):
                    follow(other)
                done.add(me)

        follow(source)
        if "arrives" not in ends:
            return "no", 0
        return "partly" if "dies" in ends else "yes", 0 if source in owners else len(self._hops(source, prefix))

    def _hops(self, me: str, prefix: str) -> set[tuple[str, str]]:
        if (me, prefix) not in self._known_hops:
            self._known_hops[me, prefix] = self.hops(me, prefix)
        return self._known_hops[me, prefix]

    def from_outside(self, prefix: str) -> tuple[str, int]:
        wider = [pool for whole in self.whole.values() for pool in whole if within(prefix, pool)]
        doors = {r for p in (prefix, *wider) for r in self.rib[p] if self.kind[r] == "external"}
        found = {self.way(r, prefix)[0] for r in doors} or {"no"}
        return found.pop() if len(found) == 1 else "partly", len(doors)


@cache
def _bytes(address: str) -> bytes:
    return address[1:].encode() if address.startswith("?") else pack_address(address)
