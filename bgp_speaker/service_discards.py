"""What the node attracts for services and nobody translates goes nowhere, in place of back to the switch.

The switches send a service range to every node. kube-proxy gives a packet for a service another destination before it
is routed. One for an address or a port that no service has stays as it is, and would follow the default route back to
the switch, which sends it to a node again, until its TTL is over.

A blackhole in the main table is not the way: what the node itself sends is routed first and translated then, so that
no process of the node would reach a service. So the blackholes are in tables of their own, and only what comes in from
elsewhere is looked up there:

    32700  from this node itself                    go to 32704
    32701  all                                      look into the addresses (table 202)
    32702  to a range                               look into main, for routes more specific than the range
    32703  all                                      look into the ranges (table 203)
    32704  nothing                                  where the others go on

An address that the node announces by itself comes before what it has learned of it from other nodes, which would be the
way back again. In a range only the rest is discarded: what a route of the node leads to stays as it is. All of it is
for kernels that translate before they route; where services are local addresses (IPVS) or never come to the routes
(eBPF) there is nothing for it to catch.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable
from itertools import chain

from bgp_speaker.kernel_route import BLACKHOLE
from bgp_speaker.kernel_routes import KernelRoutes
from bgp_speaker.netlink_codec import AF_INET, AF_INET6
from bgp_speaker.netlink_rules import (
    GOTO,
    NOTHING,
    RTM_NEWRULE,
    TO_TABLE,
    Rule,
    add_rule,
    delete_rule,
    dump_rules,
    parse_rule,
)
from bgp_speaker.netlink_socket import DumpError, NetlinkSocket
from peering.prefixes import Prefix, format_prefix, is_host, is_ipv6, pack_prefix

#: Another protocol number than that of the routes: what has it is all ours, rules too.
PROTOCOL = 202
ADDRESSES, RANGES = 202, 203
_MAIN = 254
_OWN, _ADDRESSES, _SPECIFIC, _RANGES, _END = range(32700, 32705)
_NO_FAMILY = frozenset((errno.EOPNOTSUPP, errno.EAFNOSUPPORT))
_THERE_ALREADY = errno.EEXIST


class ServiceDiscards:
    """Of the network namespace of the thread that makes this. Methods raise OSError when the kernel cannot be asked."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._addresses = KernelRoutes(PROTOCOL, ADDRESSES)
        self._ranges = KernelRoutes(PROTOCOL, RANGES)

    def close(self) -> None:
        """Leaves all as it is: what is announced is announced still."""
        for one in (self._socket, self._addresses, self._ranges):
            one.close()

    def sync(self, prefixes: Iterable[str]) -> dict[str, str]:
        """Reads the kernel and makes it discard these and nothing else; what it refused, and why."""
        wanted = [*map(pack_prefix, prefixes)]
        ranges = [prefix for prefix in wanted if not is_host(prefix)]
        rules, there = wanted_rules(wanted), self._rules()
        refused = self._add([rule for rule in rules if rule not in there])
        if not refused:
            refused = self._discard(self._addresses, [one for one in wanted if is_host(one)])
            refused |= self._discard(self._ranges, ranges)
        self._delete([rule for rule in there if rule not in rules])
        return refused

    def _discard(self, table: KernelRoutes, prefixes: Iterable[Prefix]) -> dict[str, str]:
        result = table.sync(dict.fromkeys(prefixes, BLACKHOLE))
        return {format_prefix(prefix): message for prefix, message in result.failed}

    def _rules(self) -> list[Rule]:
        found = chain.from_iterable(map(self._rules_of, (AF_INET, AF_INET6)))
        return [rule for rule, protocol in found if protocol == PROTOCOL]

    def _rules_of(self, family: int) -> list[tuple[Rule, int]]:
        try:
            answers = self._socket.dump(dump_rules(family))
        except DumpError as error:
            if error.errno in _NO_FAMILY:
                return []
            raise
        return [parse_rule(answer) for answer in answers if answer.type == RTM_NEWRULE]

    def _add(self, rules: list[Rule]) -> dict[str, str]:
        refused = self._socket.execute([add_rule(rule, PROTOCOL) for rule in rules])
        return {
            f"rule {rules[index].priority}": str(error)
            for index, error in refused.items()
            if error.errno != _THERE_ALREADY
        }

    def _delete(self, rules: list[Rule]) -> None:
        """The tables first: without the rules before them they would catch what the node itself sends.

        What cannot be deleted is tried again at the next look.
        """
        ordered = sorted(rules, key=lambda rule: rule.action != TO_TABLE)
        self._socket.execute([delete_rule(rule, PROTOCOL) for rule in ordered])


def wanted_rules(prefixes: Collection[Prefix]) -> list[Rule]:
    """The rules for these, in the order in which they are written: the end first, the tables last. Pure."""
    families = sorted({AF_INET6 if is_ipv6(prefix) else AF_INET for prefix in prefixes})
    ranges = sorted({prefix for prefix in prefixes if not is_host(prefix)})
    return [
        *(Rule(family, _END, NOTHING) for family in families),
        *(Rule(family, _OWN, GOTO, interface="lo", target=_END) for family in families),
        *(_specific(prefix) for prefix in ranges),
        *(Rule(family, _ADDRESSES, TO_TABLE, table=ADDRESSES) for family in families),
        *(Rule(family, _RANGES, TO_TABLE, table=RANGES) for family in families),
    ]


def _specific(prefix: Prefix) -> Rule:
    family = AF_INET6 if is_ipv6(prefix) else AF_INET
    return Rule(family, _SPECIFIC, TO_TABLE, destination=prefix, table=_MAIN, longer_than=prefix[0])
