"""What IPAM keeps in the store: who owns which block, and which address of it is whose.

Fewer fields than Calico's `crd.projectcalico.org` BlockAffinity and IPAMBlock have; `peering/calico_ipam.py` reads
those as these. Both are written by compare-and-swap only; ipam/ has the rules.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from peering.resources.fields import AnyLine, Cidr, OneLine, Spec, WholeNumber


class BlockAffinitySpec(Spec):
    """Which node claims (pending) or owns (confirmed) a block."""

    node: OneLine
    """The node."""
    cidr: Cidr
    """The block."""
    state: Literal["pending", "confirmed", "pendingDeletion"] = "pending"
    """How far the claim is."""
    type: Literal["host", "virtual"] = "host"
    """Whether `node` is a node, or one of Calico's owners that are none."""


class Allocation(Spec):
    """One address of a block in use."""

    ordinal: WholeNumber
    """Which address of the block, from 0."""
    handle: AnyLine
    """What holds the address; empty where Calico kept no handle."""


class IPAMBlockSpec(Spec):
    """A block and its addresses in use, as the unit of compare-and-swap."""

    cidr: Cidr
    """The block."""
    affinity: AnyLine = ""
    """`host:NODE`, or empty for a block nobody owns."""
    allocations: Annotated[tuple[Allocation, ...], Field(max_length=65536)] = ()
    """Addresses in use."""
