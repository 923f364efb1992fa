"""The policy of the runs with policy, as the files that the reflector is given: owners, and filters for everybody.

A prefix is taken only of the client that owns it (`--ownership enforce`), behind a filter in each direction that looks
at length, network and a community of each route and passes all that rrbench announces, unchanged: what is measured is
the work of deciding. A prefix limit holds; metrics are scraped. Attackers of bench/rrbench/attacker.c are clients, too,
and own nothing.
"""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.reflector_scenarios import Scenario

METRICS_ADDRESS = "127.0.0.1:9179"
#: The limit that the attack with 200,000 prefixes meets; clients that announce more have more.
PREFIX_LIMIT = 100

_UNWANTED_COMMUNITY = "65535:666"
# As in rrbench.c: prefix k of all is BASE + 64 k, a /26 or /122; client i is 10.201.0.1 + i or fd00:c8::1:1 + i.
_STEP = 64
_ADDRESSES = {4: ipaddress.ip_address("10.201.0.1"), 6: ipaddress.ip_address("fd00:c8::1:1")}
_POOLS = {4: ipaddress.ip_network("16.0.0.0/6"), 6: ipaddress.ip_network("fd10::/64")}
_BLOCKS, _TABLE_BITS = {4: 26, 6: 122}, 6

Document = dict[str, Any]


def owners_file(scenario: Scenario) -> str:
    """What `--owners` takes: address -> blocks."""
    first = _ADDRESSES[_version(scenario)]
    owned = defaultdict[str, list[str]](list)
    for client, block in blocks(scenario):
        owned[str(first + client)].append(block)
    return json.dumps(owned)


def filters_file(scenario: Scenario) -> str:
    """What `--filters` takes; JSON is YAML."""
    spec = _filter_rules(_version(scenario))
    return json.dumps(
        {"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "clients"}, "spec": spec}
    )


def prefix_limit(scenario: Scenario) -> int:
    return max(PREFIX_LIMIT, scenario.prefixes)


def block_length(scenario: Scenario) -> int:
    """Clients announce their blocks as they are; of a table, which no node has, 64 prefixes lie in one block."""
    return _BLOCKS[_version(scenario)] - (_TABLE_BITS if scenario.table else 0)


def blocks(scenario: Scenario) -> Iterator[tuple[int, str]]:
    """Client and block, for all that rrbench announces. Of a table, the first client owns everything."""
    version = _version(scenario)
    length, bits = block_length(scenario), _POOLS[version].max_prefixlen
    size = 1 << (bits - length)
    announcers = 1 if scenario.table else scenario.clients
    per_client = -(-scenario.prefixes * _STEP // size)
    for number in range(announcers * per_client):
        yield number // per_client, f"{_POOLS[version].network_address + number * size}/{length}"


def _version(scenario: Scenario) -> int:
    return 6 if scenario.ipv6 else 4


def _filter_rules(version: int) -> Document:
    """Both directions: a community that no route has, the default route, what is too long, what is of the pool."""
    pool = _POOLS[version]
    nothing, longest = "0.0.0.0/0" if version == 4 else "::/0", _BLOCKS[version]
    rules = [
        {"action": "Reject", "communities": {"values": [_UNWANTED_COMMUNITY]}},
        {"action": "Reject", "matchOperator": "Equal", "cidr": nothing},
        _within("Reject", str(pool), longest + 1, pool.max_prefixlen),
        _within("Accept", str(pool), pool.prefixlen, longest),
        {"action": "Reject"},
    ]
    return {f"{direction}V{version}": rules for direction in ("import", "export")}


def _within(action: str, cidr: str, shortest: int, longest: int) -> Document:
    lengths = {"min": shortest, "max": longest}
    return {"action": action, "matchOperator": "In", "cidr": cidr, "prefixLength": lengths}
