"""What IPAM keeps in the store: who owns which block, which address of it is whose, and where a handle has addresses.

Fewer fields than Calico's `crd.projectcalico.org` BlockAffinity, IPAMBlock and IPAMHandle have;
`peering/calico_ipam.py` reads those as these. All are written by compare-and-swap only; ipam/ has the rules.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from peering.resources.fields import AnyLine, Cidr, Flag, IpAddress, Many, OneLine, Spec, WholeNumber

#: Whole seconds of UTC as RFC 3339 writes them, or nothing for a time that is not known.
Moment = Annotated[
    str,
    StringConstraints(
        pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
        max_length=20,
    ),
]


class BorrowedAddress(Spec):
    """One address that a node has in a block that is not its own."""

    address: IpAddress
    """The address."""
    sequence: WholeNumber = 0
    """That of its allocation."""


class BlockAffinitySpec(Spec):
    """Which node claims (pending) or owns (confirmed) a block, or which addresses of it a node has borrowed."""

    node: OneLine
    """The node."""
    cidr: Cidr
    """The block."""
    state: Literal["pending", "confirmed", "pendingDeletion"] = "pending"
    """How far the claim is; a borrower claims nothing."""
    type: Literal["host", "virtual", "borrower"] = "host"
    """Whether `node` is a node, one of Calico's owners that are none, or a node that borrows."""
    addresses: Annotated[tuple[BorrowedAddress, ...], Field(max_length=65536)] = ()
    """Of a borrower: the addresses that the node announces by themselves."""
    sequence: WholeNumber = 0
    """Of a borrower: the store's version of the object that the last write replaced."""


class Allocation(Spec):
    """One address of a block in use."""

    ordinal: WholeNumber
    """Which address of the block, from 0."""
    handle: AnyLine
    """What holds the address; empty where Calico kept no handle."""
    sequence: WholeNumber = 0
    """The block's sequence when the address was given: no other gift of it has the same."""
    node: AnyLine = ""
    """The node that uses the address; empty for the block's owner."""
    borrowed: Flag = False
    """Whether the block was not the node's when the address was given, or is not any more."""
    namespace: AnyLine = ""
    """The pod's namespace."""
    pod: AnyLine = ""
    """The pod."""
    since: Moment = ""
    """When the address was given."""


class Released(Spec):
    """One address of a block that was in use and is free."""

    ordinal: WholeNumber
    """Which address of the block, from 0."""
    at: Moment = ""
    """When it was released."""


class IPAMBlockSpec(Spec):
    """A block and its addresses in use, as the unit of compare-and-swap."""

    cidr: Cidr
    """The block."""
    affinity: AnyLine = ""
    """`host:NODE`, or empty for a block nobody owns."""
    allocations: Annotated[tuple[Allocation, ...], Field(max_length=65536)] = ()
    """Addresses in use."""
    released: Annotated[tuple[Released, ...], Field(max_length=65536)] = ()
    """Addresses that were in use, the longest unused first."""
    sequence: WholeNumber = 0
    """The store's version of the block that the last write replaced."""
    empty_since: Moment = ""
    """Since when no address is in use."""
    kept: WholeNumber = 0
    """So many addresses at the end are only given by the owner, which may do so without the store."""


class IPAMHandleSpec(Spec):
    """The blocks in which a handle may hold addresses: never fewer than those in which it does."""

    handle: OneLine
    """The handle."""
    blocks: Many[Cidr] = ()
    """The blocks."""
    sequence: WholeNumber = 0
    """The store's version of the handle that the last write replaced."""
