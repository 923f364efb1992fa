"""What the kernel has of ours: routes and next-hop objects of one protocol number in one table.

`read_table` asks the kernel; `KernelTable` is then kept in step with what is written, so that it need not be
asked again for every change.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from bgp_speaker.kernel_route import KernelRoute
from bgp_speaker.netlink_codec import (
    AF_INET,
    AF_INET6,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    NexthopEntry,
    RouteEntry,
    RouteWriter,
    dump_nexthops,
    parse_nexthop,
    parse_route,
)
from bgp_speaker.netlink_socket import DumpError, NetlinkSocket
from bgp_speaker.nexthop_groups import NexthopObjects
from peering.prefixes import Address, Prefix

_NO_TABLE = frozenset((errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT))  # a table without any route yet


@dataclass(slots=True)
class KernelTable:
    """What the kernel has of ours, as far as we know.

    `entries`: the route of each prefix. `duplicates`: older routes of the same prefixes, which a writer left
    that died between writing the new one and deleting the old one. `strays`: routes of our protocol in a form
    that we do not write (another metric, next hops without objects).
    """

    objects: NexthopObjects
    entries: dict[Prefix, RouteEntry] = field(default_factory=dict)
    duplicates: list[RouteEntry] = field(default_factory=list)
    strays: list[RouteEntry] = field(default_factory=list)

    def route_set(self) -> dict[Prefix, KernelRoute]:
        """The entries with their groups resolved, without those that point to objects that are not ours."""
        known: dict[tuple[int, Address | None], KernelRoute] = {}
        for nhid, source in {(entry.nhid, entry.source) for entry in self.entries.values()}:
            nexthops = self.objects.resolve(nhid)
            if nexthops or not nhid:
                known[nhid, source] = KernelRoute(tuple(nexthops), source)
        keys = ((prefix, (entry.nhid, entry.source)) for prefix, entry in self.entries.items())
        return {prefix: known[key] for prefix, key in keys if key in known}


def read_table(socket: NetlinkSocket, writer: RouteWriter) -> KernelTable:
    """The kernel's routes and objects of the writer's protocol. Raises OSError."""
    table = KernelTable(_read_objects(socket, writer.protocol))
    for entry in _read_routes(socket, writer, AF_INET) + _read_routes(socket, writer, AF_INET6):
        if not writer.owns_form(entry):
            table.strays.append(entry)
            continue
        if entry.prefix in table.entries:
            table.duplicates.append(table.entries[entry.prefix])
        table.entries[entry.prefix] = entry
    return table


def _read_routes(socket: NetlinkSocket, writer: RouteWriter, family: int) -> list[RouteEntry]:
    try:
        answers = socket.dump(writer.dump(family))
    except DumpError as error:
        if error.errno in _NO_TABLE:
            return []
        raise
    entries = [parse_route(answer) for answer in answers if answer.type == RTM_NEWROUTE]
    return [entry for entry in entries if (entry.protocol, entry.table) == (writer.protocol, writer.table)]


def _read_objects(socket: NetlinkSocket, protocol: int) -> NexthopObjects:
    answers = socket.dump(dump_nexthops())
    entries = [parse_nexthop(answer) for answer in answers if answer.type == RTM_NEWNEXTHOP]
    ours = [entry for entry in entries if entry.protocol == protocol and (entry.nexthop or entry.members)]
    return NexthopObjects(
        nexthops={entry.id: entry.nexthop for entry in ours if entry.nexthop},
        groups={entry.id: _even_members(entry) for entry in ours if not entry.nexthop},
        foreign=frozenset(entry.id for entry in entries) - {entry.id for entry in ours},
    )


def _even_members(group: NexthopEntry) -> frozenset[int]:
    """The members, or none when their weights differ from ours: then the group fits nothing and is replaced."""
    even = all(weight == 1 for _, weight in group.members)
    return frozenset(member for member, _ in group.members) if even else frozenset()
