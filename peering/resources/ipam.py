"""What IPAM keeps in the store: who owns which block, and which address of it is whose.

The shapes follow Calico's `crd.projectcalico.org` BlockAffinity and IPAMBlock closely enough to be read by
who knows those. Both are written by compare-and-swap only; ipam/ has the rules.
"""

from __future__ import annotations

from typing import Literal

from peering.resources.fields import Cidr, OneLine, Spec


class BlockAffinitySpec(Spec):
    """`node` claims (pending) or owns (confirmed) the block `cidr`."""

    node: OneLine
    cidr: Cidr
    state: Literal["pending", "confirmed", "pendingDeletion"] = "pending"


class Allocation(Spec):
    """One address of a block in use: its ordinal in the block and the handle that holds it."""

    ordinal: int
    handle: OneLine


class IPAMBlockSpec(Spec):
    """The block as the unit of compare-and-swap. `affinity` is `host:NODE`, or empty for a block nobody owns."""

    cidr: Cidr
    affinity: str = ""
    allocations: tuple[Allocation, ...] = ()
