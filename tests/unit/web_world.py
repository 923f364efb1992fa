"""The dual-ToR sample as the page sees it: four nodes that report, one session down, blocks and addresses in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from peering.compile import Compiler, plan
from peering.resource import Resource, parse_resource
from peering.snapshot import Snapshot
from tests.unit.samples import dual_tor
from underlay.web_facts import Known, Seen, known, seen

NOW = 1_800_000_000.0
UNDERLAY = "underlay.io/v1alpha1"
DOWN = ("node-1", "tor-1b-ipv4")


def resource(kind: str, name: str, spec: dict[str, Any]) -> Resource:
    """One of ours."""
    parsed = parse_resource({"apiVersion": UNDERLAY, "kind": kind, "metadata": {"name": name}, "spec": spec})
    assert isinstance(parsed, Resource), parsed
    return parsed


def report(
    snapshot: Snapshot, node: str, *, age: float = 12.0, reason: str = "hold timer expired", now: float = NOW
) -> Resource:
    """What a speaker says whose sessions are all up but the one that is DOWN, and which has a block of its own."""
    sessions = [
        {
            "session": one.name,
            "peer": one.peer,
            "localAddress": one.local_address,
            "peerAddress": one.peer_address,
            "peerASN": one.peer_asn,
            "state": "Idle" if (node, one.name) == DOWN else "Established",
            "since": now - 3725,
            "reason": reason if (node, one.name) == DOWN else "",
            "received": 0 if (node, one.name) == DOWN else 5,
            "accepted": 0 if (node, one.name) == DOWN else 3,
            "announced": 0 if (node, one.name) == DOWN else 2,
        }
        for one in plan(snapshot).speakers[node].sessions
    ]
    spec = {"node": node, "reported": now - age, "sessions": sessions, "kernelRoutes": 7, "blocks": []}
    return resource("BGPNodeStatus", node, spec)


def block(cidr: str, owner: str, *allocations: dict[str, Any]) -> Resource:
    """An IPAMBlock; of an allocation at least the ordinal is given."""
    name = cidr.replace(".", "-").replace("/", "-").replace(":", "-")
    whole = [{"handle": f"h{one['ordinal']}", "sequence": 1, **one} for one in allocations]
    return resource("IPAMBlock", name, {"cidr": cidr, "affinity": owner, "allocations": whole})


def blocks() -> list[Resource]:
    """Of node-1 with a pod of its own and one on node-2, and of the load balancers."""
    pods = [
        {"ordinal": 0, "namespace": "shop", "pod": "cart-0"},
        {"ordinal": 1, "namespace": "shop", "pod": "cart-1", "node": "node-2"},
    ]
    return [
        block("10.244.0.0/26", "host:node-1", *pods),
        block("10.244.9.0/26", "virtual:load-balancer", {"ordinal": 7, "handle": "lb.shop.web"}),
    ]


def world(*others: Resource, without: Iterable[str] = (), now: float = NOW) -> list[Resource]:
    """All of it, `others` in place of what has their names; `without` are the nodes that do not report."""
    snapshot = dual_tor()
    silent = set(without)
    reports = [report(snapshot, name, now=now) for name in snapshot.all("Node") if name not in silent]
    made = {one.ref: one for one in (*snapshot, *reports, *blocks(), *others)}
    return list(made.values())


def known_world(*others: Resource, without: Iterable[str] = ()) -> Known:
    return known(Compiler(), world(*others, without=without), ())


def seen_world(*others: Resource, without: Iterable[str] = (), now: float = NOW) -> Seen:
    return seen(known_world(*others, without=without), now)
