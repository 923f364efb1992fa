"""Why an address or a block could not be given: a code for programs, and a text that says what to do about it.

A store that cannot be reached is not among these: that is a StoreError and heals by itself.
"""

from __future__ import annotations


class IpamError(Exception):
    """The base of all. `code` is stable."""

    code = "ipam"


class PoolExhausted(IpamError):
    """No address or no block is left in the pools that the request may use."""

    code = "pool-exhausted"


class NoBlocksLeft(IpamError):
    """The node has as many blocks as it may have, and they are full."""

    code = "no-blocks-left"


class NoPool(IpamError):
    """No enabled pool is for this node and namespace."""

    code = "no-pool"


class PoolNotUsable(IpamError):
    """A pool that was asked for by name cannot be used."""

    code = "pool-not-usable"


class NotInAPool(IpamError):
    """An address that was asked for is in no pool that the request may use."""

    code = "not-in-a-pool"


class AddressTaken(IpamError):
    """An address that was asked for is held by somebody else, or its block is out of reach."""

    code = "address-taken"


class AddressReserved(IpamError):
    """An address that was asked for lies in an IPReservation."""

    code = "address-reserved"


class BadAnnotation(IpamError):
    """What a Service asks for cannot be read, or not be meant."""

    code = "bad-annotation"


class Unreadable(IpamError):
    """A document of IPAM's own cannot be read, so nothing that depends on it is done."""

    code = "unreadable"


class StoreBusy(IpamError):
    """The compare-and-swap was lost again and again; the request may be repeated."""

    code = "store-busy"
