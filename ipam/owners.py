"""Who may own blocks: nodes, and the load balancers, which are no node. Pure.

An owner is one text here: the name of a node, or `LOAD_BALANCERS`, which no node is called since names have no colon.
An IPAMBlock says `host:NODE` or `virtual:load-balancer`, as Calico's does; a BlockAffinity has the two halves as `type`
and `node`. Other owners of the type `virtual` are nobody that is known here: their blocks are let alone.
"""

from __future__ import annotations

from peering.resources.ipam import BlockAffinitySpec

#: Owns the blocks from which Services of type LoadBalancer get their addresses.
LOAD_BALANCERS = "virtual:load-balancer"

_HOST = "host:"


def is_node(owner: str) -> bool:
    """Whether it is a node; nobody (an empty text) is none."""
    return owner not in ("", LOAD_BALANCERS)


def affinity_of(owner: str) -> str:
    """How an IPAMBlock names its owner."""
    return f"{_HOST}{owner}" if is_node(owner) else owner


def owner_in(affinity: str) -> str:
    """The owner that an IPAMBlock names; empty for none, and for one that is not known here."""
    if affinity == LOAD_BALANCERS:
        return affinity
    return affinity.removeprefix(_HOST) if affinity.startswith(_HOST) else ""


def affinity_fields(owner: str) -> dict[str, str]:
    """How a BlockAffinity names its owner."""
    kind, _, name = affinity_of(owner).partition(":")
    return {"type": kind, "node": name}


def claimant(spec: BlockAffinitySpec) -> str:
    """Who claims the block; empty for a borrower, who claims none, and for an owner that is not known here."""
    return owner_in(f"{spec.type}:{spec.node}")


def shown(owner: str) -> str:
    """`Node/node-1`, or `the load balancer`."""
    return f"Node/{owner}" if owner != LOAD_BALANCERS else "the load balancer"
