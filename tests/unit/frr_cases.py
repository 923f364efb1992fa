"""The plans behind the golden files of FRR: small, readable, and together every option that it can express."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from peering.session import BfdParameters, ListenRange, PrefixRule, SecretKeyRef, Session, SwitchPlan

TOR_ASN = 65011
RACK_ASN = 65101
CLUSTER_ASN = 64512
SPINE_ASN = 65000
SECRET = SecretKeyRef("rack-1", "bgp")
FAST = BfdParameters(profile="fast", receive_interval=100, transmit_interval=300, detect_multiplier=5)
FAR = BfdParameters(
    profile="far", receive_interval=60000, transmit_interval=10, detect_multiplier=3, passive_mode=True, minimum_ttl=250
)

LOOPBACKS = ("10.0.1.1/32", "fd00:0:1::1/128")
ACCEPT = (
    PrefixRule("10.244.0.0/16", 26, 26),
    PrefixRule("10.0.11.1/32", 32, 32),
    PrefixRule("10.0.11.2/32", 32, 32),
    PrefixRule("fd00:10:244::/48", 122, 122),
    PrefixRule("fd00:0:11::1/128", 128, 128),
)
POOLS = (PrefixRule("10.244.0.0/16", 16, 26), PrefixRule("fd00:10:244::/48", 48, 122))
ADDRESSES = (PrefixRule("10.244.0.0/16", 32, 32), PrefixRule("fd00:10:244::/48", 128, 128))
ANNOUNCE = (*ACCEPT, PrefixRule("10.0.1.1/32", 32, 32), PrefixRule("fd00:0:1::1/128", 128, 128))

AGGREGATES = ("10.244.0.0/16", "fd00:10:244::/48")
WHOLE = (PrefixRule("10.244.0.0/16", 16, 16), PrefixRule("fd00:10:244::/48", 48, 48))


def to_node(number: int, version: int = 4, **options: Any) -> Session:
    """The switch's end of a session with node-NUMBER, eBGP unless `options` say otherwise."""
    low = 2 * (number - 1)
    network = "10.1.1." if version == 4 else "fd00:1:1::"
    session = Session(
        name=f"node-{number}-ipv{version}",
        peer=f"node/node-{number}",
        source="Rack/rack-1",
        type="ebgp",
        local_address=f"{network}{low}",
        local_asn=TOR_ASN,
        peer_address=f"{network}{low + 1}",
        peer_asn=RACK_ASN,
        passive=True,
        hold_time=9,
        keepalive_time=3,
        families=("ipv4-unicast",) if version == 4 else ("ipv6-unicast",),
    )
    return replace(session, **options)


def to_spine(number: int, version: int = 4, **options: Any) -> Session:
    """A session with spine-NUMBER, which is not ours to configure."""
    session = Session(
        name=f"spine-{number}-ipv{version}",
        peer="external",
        source="Switch/tor-1a",
        type="ebgp",
        local_address=None,
        local_asn=TOR_ASN,
        peer_address=f"10.254.{number}.0" if version == 4 else f"fd00:fe:{number}::",
        peer_asn=SPINE_ASN,
        families=("ipv4-unicast",) if version == 4 else ("ipv6-unicast",),
    )
    return replace(session, **options)


def to_pair(version: int = 4, **options: Any) -> Session:
    """tor-1a's session with the other switch of its rack."""
    address = "10.254.3.1" if version == 4 else "fd00:fe:3::1"
    beside = {"name": f"tor-1b-ipv{version}", "peer": "switch/tor-1b", "peer_asn": TOR_ASN + 1, "next_hop": "self"}
    return to_spine(1, version, **{"peer_address": address, **beside, **options})


def switch(*sessions: Session, **options: Any) -> SwitchPlan:
    """tor-1a of rack-1 with these sessions."""
    plan = SwitchPlan(
        asn=TOR_ASN,
        platform="frr",
        router_id="10.0.1.1",
        rack="rack-1",
        sessions=sessions,
        networks=LOOPBACKS,
        accept=ACCEPT,
        send=POOLS,
        announce=ANNOUNCE,
    )
    return replace(plan, **options)


def over_loopbacks(number: int, version: int = 4, **options: Any) -> Session:
    """The switch's end of a session between its loopback and that of node-NUMBER; the way there is the link."""
    plain = to_node(number, version)
    local, peer = ("10.0.1.1", "10.0.11.") if version == 4 else ("fd00:0:1::1", "fd00:0:11::")
    ends = {"local_address": local, "peer_address": f"{peer}{number}", "reachable_by": plain.peer_address}
    return replace(plain, **{"multihop": 2, **ends, **options})


def unnumbered(number: int, interface: str, **options: Any) -> Session:
    """The switch's end of a session over a link without addresses; both families go over it."""
    both: dict[str, Any] = {"families": ("ipv4-unicast", "ipv6-unicast"), "name": f"node-{number}-{interface}"}
    return to_node(number, local_address=None, peer_address="", interface=interface, **(both | options))


def in_shared_subnet(number: int, **options: Any) -> Session:
    """The switch's end of a session in a /24 that it shares with all its nodes."""
    return to_node(number, local_address="10.1.1.1", peer_address=f"10.1.1.{10 + number}", **options)


def ibgp(**options: Any) -> dict[str, Any]:
    """What makes a node's session one of a switch that reflects."""
    common: dict[str, Any] = {
        "type": "ibgp",
        "peer_asn": TOR_ASN,
        "rr_client": True,
        "cluster_id": "10.0.1.0",
        "next_hop": "self",
        "long_lived_stale_time": 3600,
        "graceful_restart_time": 0,
    }
    return common | options


CASES: dict[str, SwitchPlan] = {
    "ebgp-as-per-rack": switch(
        to_node(1),
        to_node(2),
        to_node(1, 6),
        to_node(2, 6),
        to_spine(1),
        to_spine(2),
        to_spine(1, 6),
        to_spine(2, 6),
    ),
    "ibgp-reflecting": switch(
        to_node(1, **ibgp()),
        to_node(2, **ibgp(next_hop="keep")),
        to_node(3, **ibgp(next_hop="auto")),
        to_node(1, 6, **ibgp()),
        to_spine(1),
        to_spine(2),
    ),
    "password": switch(to_node(1, password=SECRET), to_node(2, password=SECRET), to_spine(1)),
    "max-prefixes": switch(to_node(1, max_prefixes=64), to_node(1, 6, max_prefixes=1)),
    "ttl-security": switch(to_node(1, ttl_security=1), to_node(2, ttl_security=2, **ibgp())),
    "rack-aggregate": switch(
        to_node(1),
        to_node(1, 6),
        to_spine(1),
        to_spine(1, 6),
        aggregates=AGGREGATES,
        announce=(*WHOLE, *(rule for rule in ANNOUNCE if rule.cidr not in AGGREGATES)),
    ),
    "pair": switch(to_node(1), to_node(1, 6), to_spine(1), to_pair(), to_pair(6)),
    "pair-ibgp": switch(to_node(1, **ibgp()), to_spine(1), to_pair(type="ibgp", peer_asn=TOR_ASN)),
    "default-only": switch(to_node(1), to_node(1, 6), to_spine(1), downward="default-only", send=ADDRESSES),
    "downward-all": switch(to_node(1), to_node(1, 6), downward="all"),
    "as-per-node": switch(
        to_node(1, peer_asn=4200000001),
        to_node(2, peer_asn=4200000002),
        listen_ranges=(
            ListenRange(cidr="10.1.2.0/24", peer_asn=4200000003, limit=32),
            ListenRange(cidr="fd00:1:2::/64", peer_asn=4200000003, limit=16),
        ),
    ),
    "as-per-cluster": switch(
        *(to_node(n, v, peer_asn=CLUSTER_ASN, as_override=True) for n in (1, 2) for v in (4, 6)),
        to_spine(1),
        to_spine(2),
    ),
    "loopbacks": switch(
        over_loopbacks(1),
        over_loopbacks(1, 6),
        over_loopbacks(2, multihop=None, ttl_security=2),
        over_loopbacks(3, bfd=FAR),
        to_spine(1),
    ),
    "unnumbered": switch(unnumbered(1, "eth3"), unnumbered(2, "eth4", peer_asn=65102, password=SECRET), to_spine(1)),
    "shared-subnet": switch(
        in_shared_subnet(1, peer_asn=4200000001),
        in_shared_subnet(2, peer_asn=4200000002, next_hop="self"),
    ),
    "bfd": switch(
        to_node(1, bfd=FAST), to_node(2, bfd=replace(FAST, profile="plain", receive_interval=300, detect_multiplier=3))
    ),
    "add-paths": switch(
        to_node(1, add_paths="send", connect_retry=30), to_node(2, add_paths="receive"), to_node(1, 6, add_paths="both")
    ),
    "rare-options": switch(
        to_node(1, local_asn=65099, peer_port=1790, passive=False, add_paths="both", next_hop="keep"),
        to_node(2, bfd=FAST, multihop=3, local_address="10.0.1.1", peer_address="10.0.11.2"),
        to_node(1, 6, families=("ipv4-unicast", "ipv6-unicast")),
        to_node(3, peer="reflector/rr-1", name="rr-1-ipv4"),
        to_node(4, as_override=True, allow_as_in=2),
        to_spine(1, graceful_restart_time=0, allow_as_in=1),
        to_spine(2, type="ibgp", peer_asn=TOR_ASN),
    ),
    "listen-ranges": switch(
        listen_ranges=(
            ListenRange(
                cidr="10.1.2.0/24",
                peer_asn=0,
                peer_asns=(4200000002, 4200000001),
                limit=32,
                password=SECRET,
                ttl_security=1,
                hold_time=9,
                keepalive_time=3,
                bfd=FAST,
                max_prefixes=64,
                as_override=True,
            ),
        ),
    ),
    "keep-communities": switch(to_node(1), keep_communities=("65101:100", "65101:20", "65101:1:2")),
    "nothing-accepted": switch(to_node(1), to_node(1, 6), accept=(), send=(), networks=()),
    "no-sessions": switch(),
}
