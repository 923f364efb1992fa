"""For each feature of the tables a plan that asks for it, and how the table's options change what is printed."""

from __future__ import annotations

from fabric_templates.devices import Feature
from peering.session import SwitchPlan
from tests.switches.matrix import BASE, Row, build

#: Feature -> what a row has to say beside the base so that the feature is asked for.
ROWS: dict[Feature, Row] = {
    "addPaths": {"addPaths": "both"},
    "aggregates": {"aggregates": "pool"},
    "allowASIn": {"allowASIn": "2"},
    "asOverride": {"design": "as-per-cluster-override"},
    "bfd": {"bfd": "usual"},
    "bfdPassive": {"bfd": "passive"},
    "bfdTimers": {"bfd": "fast"},
    "blackhole": {},
    "clusterID": {"design": "ibgp-tor-reflects"},
    "connectRetry": {"connectRetry": "slow"},
    "description": {},
    "ecmp": {},
    "extendedNextHop": {"transport": "ipv4-over-ipv6"},
    "firstAS": {},
    "gracefulRestart": {"gracefulRestart": "helper"},
    "gracefulShutdown": {},
    "keepCommunities": {"keepCommunities": "both"},
    "listenASFilter": {"neighbors": "range-of-several"},
    "listenRanges": {"neighbors": "range"},
    "localAddress": {},
    "localASN": {"localASN": "other"},
    "longLivedStaleTime": {"longLived": "3600"},
    "maxPrefixes": {"maxPrefixes": "64"},
    "maxPrefixesRestart": {"maxPrefixes": "64"},
    "maxPrefixesWarning": {"maxPrefixes": "64"},
    "multihop": {"transport": "loopbacks"},
    "multipathRelax": {},
    "nextHopKeep": {"nextHop": "keep"},
    "nextHopSelf": {"nextHop": "self"},
    "originate": {},
    "passive": {"passive": "yes"},
    "password": {"password": "md5"},
    "pathFilters": {},
    "peerASInPath": {},
    "peerPort": {"port": "1790"},
    "prefixFilters": {},
    "reachableBy": {"transport": "loopbacks"},
    "rrClient": {"design": "ibgp-tor-reflects"},
    "setOrigin": {"pair": "ibgp"},
    "stripCommunities": {},
    "timers": {"timers": "fast"},
    "ttlSecurity": {"ttlSecurity": "yes"},
    "unnumbered": {"transport": "unnumbered"},
}
#: No declaration asks a switch for these.
NEVER_ASKED: frozenset[Feature] = frozenset(("importFilters", "exportFilters"))

#: Parameter -> the feature that a platform may have without a line that differs (`implied` of its table).
IMPLIED_BY: dict[str, Feature] = {
    "addPaths": "addPaths",
    "connectRetry": "connectRetry",
    "gracefulRestart": "gracefulRestart",
    "keepCommunities": "keepCommunities",
    "passive": "passive",
}


def wanting(feature: Feature, platform: str) -> SwitchPlan:
    return build(BASE | ROWS[feature], platform)
