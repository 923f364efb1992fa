"""Switch plans that together use every option, and every two options together.

A row gives each parameter one of its values; `build` makes a plan of it. The rows are found by a greedy search and are
the same every time. For a platform, values that it refuses are replaced by the first one, which asks for the least; a
row of which only the combination is refused gives a row for each value that can be left out of it. So every pair that
the platform can say is there, and what it cannot is refused, which test_platforms.py looks at feature by feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from typing import Any

from fabric_templates.render import check
from peering.compile import plan as compile_plan
from peering.problems import errors
from peering.session import BfdParameters, ListenRange, PrefixRule, SecretKeyRef, Session, Setting, SwitchPlan
from peering.snapshot import Snapshot
from tests.unit.samples import SAMPLES, nodes, sample

Row = dict[str, str]

#: Every parameter with its values; the first asks for the least.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "design": ("as-per-rack", "as-per-node", "as-per-cluster", "as-per-cluster-override", "ibgp-tor-reflects"),
    "transport": (
        "links",
        "links6",
        "both",
        "shared-subnet",
        "loopbacks",
        "loopbacks6",
        "ipv4-over-ipv6",
        "unnumbered",
    ),
    "neighbors": ("named", "range", "range-of-several", "named-and-range"),
    "downward": ("pools", "default-only", "all"),
    "fabric": ("ebgp", "none", "ibgp", "two-families"),
    "pair": ("none", "ebgp", "ibgp"),
    "reflector": ("none", "one"),
    "timers": ("usual", "fast", "none"),
    "connectRetry": ("usual", "slow"),
    "password": ("none", "md5"),
    "ttlSecurity": ("no", "yes"),
    "bfd": ("no", "fast", "usual", "passive"),
    "maxPrefixes": ("none", "64"),
    "gracefulRestart": ("off", "helper"),
    "longLived": ("none", "3600"),
    "addPaths": ("none", "send", "receive", "both"),
    "nextHop": ("auto", "self", "keep"),
    "allowASIn": ("none", "2"),
    "localASN": ("same", "other"),
    "passive": ("no", "yes"),
    "port": ("179", "1790"),
    "keepCommunities": ("none", "standard", "large", "both"),
    "networks": ("ipv4", "both", "none"),
    "accept": ("both", "none"),
    "aggregates": ("none", "pool"),
    "numbers": ("short", "long"),
    "names": ("short", "long"),
}
BASE: Row = {name: values[0] for name, values in PARAMETERS.items()}
SECRET = SecretKeyRef("rack-1", "bgp")
PASSWORD = "Un-derlay7"
PASSWORDS = {SECRET: PASSWORD}


def settings_for(platform: str) -> tuple[Setting, ...]:
    """What the platform's Switch has to say: see SETTINGS in its module of tests.switches.platforms."""
    from tests.switches.platforms import module_of  # noqa: PLC0415 - the platforms import this module

    return tuple(Setting(name, value) for name, value in getattr(module_of(platform), "SETTINGS", {}).items())


def build(row: Row, platform: str) -> SwitchPlan:
    """The plan of a row."""
    return replace(_Builder(row).plan(), platform=platform, settings=settings_for(platform))


@dataclass(frozen=True, slots=True)
class _Builder:
    row: Row

    @property
    def asn(self) -> int:
        return 65011 if self.row["numbers"] == "short" else 4200000011

    @property
    def reflects(self) -> bool:
        return self.row["design"] == "ibgp-tor-reflects"

    def node_asn(self, number: int) -> int:
        rows = {"ibgp-tor-reflects": self.asn, "as-per-node": 4200000100 + number, "as-per-rack": 65101}
        return rows.get(self.row["design"], 64512)

    def plan(self) -> SwitchPlan:
        networks = {"none": (), "ipv4": ("10.0.1.1/32",), "both": ("10.0.1.1/32", "fd00:0:1::1/128")}
        borrowed = (PrefixRule("10.244.0.0/16", 32, 32), PrefixRule("fd00:10:244::/48", 128, 128))
        pools = (PrefixRule("10.244.0.0/16", 16, 26), PrefixRule("fd00:10:244::/48", 48, 122))
        send = {"default-only": borrowed, "pools": (*pools, *borrowed), "all": ()}
        accept = (
            PrefixRule("10.244.0.0/16", 26, 26),
            *borrowed,
            PrefixRule("10.0.11.1/32", 32, 32),
            PrefixRule("fd00:10:244::/48", 122, 122),
        )
        accepted = accept if self.row["accept"] == "both" else ()
        own = tuple(PrefixRule(n, 128 if ":" in n else 32, 128 if ":" in n else 32) for n in networks["both"])
        whole: tuple[PrefixRule, ...] = ()
        if self.row["aggregates"] == "pool":
            whole = (PrefixRule("10.244.0.0/16", 16, 16), PrefixRule("fd00:10:244::/48", 48, 48))
        keep = {"none": (), "standard": ("65101:100",), "large": ("65101:1:2",), "both": ("65101:20", "65101:1:2")}
        return SwitchPlan(
            asn=self.asn,
            platform="",
            router_id="10.0.1.1",
            rack="rack-1",
            sessions=tuple(self.sessions()),
            listen_ranges=tuple(self.ranges()),
            networks=networks[self.row["networks"]],
            accept=accepted,
            send=send[self.row["downward"]],
            aggregates=tuple(one.cidr for one in whole),
            announce=(*(rule for rule in accepted if rule.cidr not in {one.cidr for one in whole}), *whole, *own),
            downward=self.row["downward"],  # type: ignore[arg-type]
            keep_communities=keep[self.row["keepCommunities"]],
        )

    def sessions(self) -> Iterator[Session]:
        if self.row["neighbors"] in ("named", "named-and-range"):
            yield from self.nodes(1, self.options())
            yield from self.nodes(2, self.plain())
        yield from self.fabric()
        if self.row["pair"] != "none":
            asn = self.asn if self.row["pair"] == "ibgp" else 65012
            yield self.other("tor-1b-ipv4", "switch/tor-1b", "10.254.9.1", asn)
        if self.row["reflector"] == "one":
            yield self.other("rr-1-ipv4", "reflector/rr-1", "10.254.9.3", 65199)

    def fabric(self) -> Iterator[Session]:
        kind = self.row["fabric"]
        if kind != "none":
            asn = self.asn if kind == "ibgp" else 65000
            yield self.other("spine-1-ipv4", "external", "10.254.1.0", asn)
            yield self.other("spine-2-ipv4", "external", "10.254.2.0", asn)
        if kind == "two-families":
            yield self.other("spine-1-ipv6", "external", "fd00:fe:1::", 65000)

    def other(self, name: str, peer: str, address: str, asn: int) -> Session:
        return Session(
            name=name,
            peer=peer,
            source="Switch/tor-1a",
            type="ibgp" if asn == self.asn else "ebgp",
            local_address=None,
            local_asn=self.asn,
            peer_address=address,
            peer_asn=asn,
            graceful_restart_time=0 if self.row["gracefulRestart"] == "off" else 120,
            families=("ipv6-unicast",) if ":" in address else ("ipv4-unicast",),
        )

    def nodes(self, number: int, options: dict[str, Any]) -> Iterator[Session]:
        long = "-of-the-north-eastern-row-behind-the-freight-elevator" if self.row["names"] == "long" else ""
        for place in self.places(number):
            address = place["peer_address"] or place["interface"]
            local = self.node_asn(number)
            base: dict[str, Any] = {
                "name": f"node-{number}{long}-{address}",
                "peer": f"node/node-{number}{long}",
                "source": "Rack/rack-1",
                "type": "ibgp" if self.reflects else "ebgp",
                "local_asn": self.asn,
                "peer_asn": local,
            }
            yield Session(**(base | place | options | self.hops(options)))

    def places(self, number: int) -> Iterator[dict[str, Any]]:
        """Where the two ends of a node's sessions are."""
        transport, low = self.row["transport"], 2 * (number - 1)
        four: dict[str, Any] = {"families": ("ipv4-unicast",)}
        six: dict[str, Any] = {"families": ("ipv6-unicast",)}
        links = {"local_address": f"10.1.1.{low}", "peer_address": f"10.1.1.{low + 1}"} | four
        links6 = {"local_address": f"fd00:1:1::{low:x}", "peer_address": f"fd00:1:1::{low + 1:x}"} | six
        subnet = {"local_address": "10.1.1.1", "peer_address": f"10.1.1.{10 + number}"} | four
        lo = {"local_address": "10.0.1.1", "peer_address": f"10.0.11.{number}", "reachable_by": f"10.1.1.{low + 1}"}
        lo6 = {
            "local_address": "fd00:0:1::1",
            "peer_address": f"fd00:0:11::{number}",
            "reachable_by": f"fd00:1:1::{low + 1:x}",
        }
        bare = {"local_address": None, "peer_address": "", "interface": f"eth{number}"}
        both = {"families": ("ipv4-unicast", "ipv6-unicast")}
        yield from {
            "links": [links],
            "links6": [links6],
            "both": [links, links6],
            "shared-subnet": [subnet],
            "loopbacks": [lo | four],
            "loopbacks6": [lo6 | six],
            "ipv4-over-ipv6": [links6 | both],
            "unnumbered": [bare | both],
        }[transport]

    def hops(self, options: dict[str, Any]) -> dict[str, Any]:
        if self.row["transport"] not in ("loopbacks", "loopbacks6"):
            return {}
        return {"ttl_security": 2} if options.get("ttl_security") else {"multihop": 2}

    def plain(self) -> dict[str, Any]:
        """What every node's session says of the design, besides its AS."""
        shared: dict[str, Any] = {
            "graceful_restart_time": 0 if self.row["gracefulRestart"] == "off" else 120,
            "long_lived_stale_time": None if self.row["longLived"] == "none" else 3600,
        }
        if self.row["design"] == "as-per-cluster-override":
            shared["as_override"] = True
        if self.reflects:
            shared |= {"rr_client": True, "cluster_id": "10.0.1.0"}
        return shared

    def shared_options(self) -> dict[str, Any]:
        """What both a session and a range may say."""
        row = self.row
        hold, keepalive = {"usual": (90, 30), "fast": (9, 3), "none": (0, 0)}[row["timers"]]
        return {
            **self.plain(),
            "hold_time": hold,
            "keepalive_time": keepalive,
            "password": SECRET if row["password"] == "md5" else None,
            "ttl_security": 1 if row["ttlSecurity"] == "yes" else None,
            "bfd": _BFD[row["bfd"]],
            "max_prefixes": 64 if row["maxPrefixes"] == "64" else None,
            "add_paths": None if row["addPaths"] == "none" else row["addPaths"],
            "next_hop": row["nextHop"],
            "allow_as_in": 2 if row["allowASIn"] == "2" else None,
        }

    def options(self) -> dict[str, Any]:
        row = self.row
        other = {"local_asn": 65099} if row["localASN"] == "other" and not self.reflects else {}
        return {
            **self.shared_options(),
            **other,
            "passive": row["passive"] == "yes",
            "peer_port": int(row["port"]),
            "connect_retry": None if row["connectRetry"] == "usual" else 30,
        }

    def ranges(self) -> Iterator[ListenRange]:
        kind, options = self.row["neighbors"], self.shared_options()
        if kind in ("range", "named-and-range"):
            yield ListenRange(cidr="10.1.2.0/24", peer_asn=self.node_asn(3), limit=32, **options)
            yield ListenRange(cidr="fd00:1:2::/64", peer_asn=self.node_asn(3), limit=16, **options)
        if kind == "range-of-several" and not self.reflects:
            yield ListenRange(cidr="10.1.2.0/24", peer_asn=0, peer_asns=(4200000103, 4200000104), limit=32, **options)


_FAST = BfdParameters(profile="fast", receive_interval=300, transmit_interval=400, detect_multiplier=5)
_BFD = {
    "no": None,
    "fast": _FAST,
    "usual": replace(_FAST, profile="usual", transmit_interval=300, detect_multiplier=3),
    "passive": replace(_FAST, profile="passive", passive_mode=True),
}


Pair = tuple[tuple[str, str], tuple[str, str]]


def all_pairs() -> set[Pair]:
    """Every two values of two parameters."""
    return {((p, a), (q, b)) for p, q in combinations(PARAMETERS, 2) for a, b in product(PARAMETERS[p], PARAMETERS[q])}


def pairs_of(row: Row) -> set[Pair]:
    return set(combinations(((name, row[name]) for name in PARAMETERS), 2))


@cache
def rows() -> tuple[Row, ...]:
    """Rows that cover every pair: each begins with a pair that is not covered yet, and takes what covers most."""
    left, order, found = all_pairs(), list(PARAMETERS), []
    for pair in sorted(left, key=lambda pair: [(order.index(p), PARAMETERS[p].index(v)) for p, v in pair]):
        if pair not in left:
            continue
        row = dict(pair)
        for name in order:
            if name not in row:
                row[name] = max(PARAMETERS[name], key=lambda value: _gain(row, name, value, left, order))
        found.append(row)
        left -= pairs_of(row)
    return tuple(found)


def _gain(row: Row, name: str, value: str, left: set[Pair], order: list[str]) -> int:
    place = order.index(name)
    pairs = (
        ((name, value), (other, v)) if place < order.index(other) else ((other, v), (name, value))
        for other, v in row.items()
    )
    return sum(pair in left for pair in pairs)


def is_said(row: Row, platform: str) -> bool:
    """Whether the platform takes the plan of a row."""
    return not errors(check("tor-1a", build(row, platform)))


@cache
def said_values(platform: str) -> dict[str, tuple[str, ...]]:
    """The values of each parameter that the platform takes where everything else asks for the least."""
    assert is_said(BASE, platform), check("tor-1a", build(BASE, platform))
    return {
        name: tuple(value for value in values if is_said(BASE | {name: value}, platform))
        for name, values in PARAMETERS.items()
    }


@cache
def cases(platform: str) -> dict[str, SwitchPlan]:
    """{name of a row or of a sample's switch: plan} of everything that the platform takes."""
    said = said_values(platform)
    found: dict[str, SwitchPlan] = {}
    for number, row in enumerate(rows(), 1):
        fitting = {name: value if value in said[name] else BASE[name] for name, value in row.items()}
        for index, one in enumerate(_without_conflicts(fitting, platform)):
            found[f"row-{number}{'abcdefghijklmnopqrstuvwxyz'[index] if index else ''}"] = build(one, platform)
    for name, plan in samples(platform).items():
        if not errors(check("tor-1a", plan)):
            found[name] = plan
    return found


def _without_conflicts(row: Row, platform: str) -> list[Row]:
    if is_said(row, platform):
        return [row]
    changed = [name for name in row if row[name] != BASE[name]]
    fewer = [row | {name: BASE[name]} for name in changed]
    found = [one for one in fewer if is_said(one, platform)]
    if found:
        return found[:26]
    fewest = min(fewer, key=lambda one: len(errors(check("tor-1a", build(one, platform)))))
    return _without_conflicts(fewest, platform)[:26]


@cache
def _compiled() -> dict[str, SwitchPlan]:
    found = {}
    for folder in sorted(SAMPLES.iterdir()):
        more = nodes() if folder.name.startswith("dual-tor") else []
        for switch, plan in compile_plan(Snapshot([*sample(folder.name), *more])).switches.items():
            found[f"{folder.name}/{switch}"] = plan
    return found


def samples(platform: str) -> dict[str, SwitchPlan]:
    """{SAMPLE/SWITCH: plan} of every switch of config/samples, with this platform."""
    own = settings_for(platform)
    return {name: replace(plan, platform=platform, settings=own) for name, plan in _compiled().items()}
