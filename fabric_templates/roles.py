"""Who a neighbour is to the switch, and so which group it is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from fabric_templates.policy import PathRule, Side, Version
from peering.session import ListenRange, Session


@dataclass(frozen=True, slots=True)
class Role:
    """What a peer is to the switch. `path` is what may stand in the AS path of its eBGP routes."""

    name: str
    side: Side
    path: Literal["only", "begins"] = "only"


_NODES = Role("NODES", "rack")
LISTEN = Role("LISTEN", "rack")
_REFLECTORS = Role("REFLECTORS", "rack", "begins")
_FABRIC = Role("FABRIC", "fabric")
_PAIR = Role("PAIR", "pair")
ROLES = {"node": _NODES, "reflector": _REFLECTORS, "switch": _PAIR, "external": _FABRIC}
"""By the kind of `Session.peer`."""


def role(session: Session) -> Role:
    return ROLES[session.peer.split("/")[0]]


def group_key(session: Session) -> str:
    suffix = "-IBGP" if session.type == "ibgp" else ""
    return f"{role(session).name}{suffix}"


def listen_key(listen: ListenRange) -> str:
    """By AS and family: a dynamic neighbour takes AS and families from its group."""
    return f"LISTEN-{listen.peer_asn or 'ANY'}-V{version_of(listen.cidr)}"


def version_of(cidr: str) -> Version:
    return 6 if ip_network(cidr).version == 6 else 4


def path_rules(of: Role, kind: str, asns: Iterable[int]) -> tuple[PathRule, ...]:
    if kind == "ibgp":
        return (PathRule("empty"),)
    return tuple(PathRule(of.path, asn) for asn in sorted(set(asns)))


def asns(listen: ListenRange) -> tuple[int, ...]:
    """The ASs that may dial in from a range."""
    return tuple(sorted(set(listen.peer_asns))) or (listen.peer_asn,)
