"""One scenario to read for each design: a rack with two nodes, two spines and the options that a real rack has."""

from __future__ import annotations

from peering.session import SwitchPlan
from tests.switches.matrix import BASE, Row, build

_COMMON: Row = {
    "fabric": "two-families",
    "transport": "both",
    "networks": "both",
    "timers": "fast",
    "password": "md5",
    "maxPrefixes": "64",
    "gracefulRestart": "helper",
    "passive": "yes",
}
#: A design's name, that of its golden folder -> what its row says beside the base.
SCENARIOS: dict[str, Row] = {
    "ebgp-as-per-rack": _COMMON | {"design": "as-per-rack", "ttlSecurity": "yes", "downward": "default-only"},
    "ebgp-as-per-node": _COMMON | {"design": "as-per-node", "neighbors": "range-of-several", "ttlSecurity": "yes"},
    "ebgp-as-per-cluster": _COMMON | {"design": "as-per-cluster-override", "timers": "usual"},
    "ebgp-as-per-cluster-allow-as-in": _COMMON | {"design": "as-per-cluster", "downward": "all"},
    "ibgp-tor-reflects": _COMMON
    | {
        "design": "ibgp-tor-reflects",
        "nextHop": "self",
        "bfd": "usual",
        "gracefulRestart": "off",
        "longLived": "3600",
        "pair": "ibgp",
    },
    "rack-aggregate": _COMMON | {"aggregates": "pool", "pair": "ebgp"},
    "unnumbered": _COMMON | {"transport": "unnumbered"},
    "loopbacks": _COMMON | {"transport": "loopbacks", "bfd": "usual", "maxPrefixes": "none", "downward": "all"},
}


def scenario(name: str, platform: str) -> SwitchPlan:
    return build(BASE | SCENARIOS[name], platform)
