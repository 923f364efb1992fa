"""What is declared beside the plan and decides about a node's routes: filters, communities, addresses of links. Pure.

Taken from the snapshot as it is; what follows from it is decided in import_decision.py and announcements.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from peering.prefixes import Prefix, contains, pack_prefix
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.node import NodeSpec
from peering.route_filter import Community, parse_community
from peering.session import Session
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PrefixCommunities:
    """Announcements inside `cidr` carry these."""

    cidr: Prefix
    communities: tuple[Community, ...]


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """`filters` are those that the node's sessions name and that exist; `links` the addresses of each uplink."""

    filters: Mapping[str, BGPFilterSpec] = field(default_factory=dict)
    advertisements: tuple[PrefixCommunities, ...] = ()
    links: tuple[tuple[str, ...], ...] = ()

    def communities_of(self, prefix: Prefix) -> tuple[Community, ...]:
        """What an own announcement of the prefix carries, each once."""
        found = [c for a in self.advertisements if contains(a.cidr, prefix) for c in a.communities]
        return tuple(dict.fromkeys(found))


def node_policy(snapshot: Snapshot, node: str, sessions: Iterable[Session]) -> NodePolicy:
    """The policy of a node with these sessions."""
    names = {name for session in sessions for name in (*session.import_filters, *session.export_filters)}
    filters = snapshot.specs("BGPFilter", BGPFilterSpec)
    return NodePolicy(
        filters={name: filters[name] for name in sorted(names) if name in filters},
        advertisements=_advertisements(snapshot, node),
        links=_links(snapshot, node),
    )


def _advertisements(snapshot: Snapshot, node: str) -> tuple[PrefixCommunities, ...]:
    """Those of BGPConfiguration/node.NAME where it has any, else those of `default`, as in Calico."""
    configurations = snapshot.specs("BGPConfiguration", BGPConfigurationSpec)
    for name in (f"node.{node}", "default"):
        if name in configurations and configurations[name].prefix_advertisements:
            return _resolved(configurations[name])
    return ()


def _resolved(configuration: BGPConfigurationSpec) -> tuple[PrefixCommunities, ...]:
    """With the values of the communities that are given by name."""
    values = {community.name: community.value for community in configuration.communities}
    return tuple(
        PrefixCommunities(
            pack_prefix(advertisement.cidr),
            tuple(parse_community(values.get(text, text)) for text in advertisement.communities),
        )
        for advertisement in configuration.prefix_advertisements
    )


def _links(snapshot: Snapshot, node: str) -> tuple[tuple[str, ...], ...]:
    resource = snapshot.get("Node", node)
    uplinks = cast(NodeSpec, resource.spec).uplinks if resource else ()
    return tuple(tuple(a.partition("/")[0] for a in uplink.addresses) for uplink in uplinks)
