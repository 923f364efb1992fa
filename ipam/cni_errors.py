"""What a runtime is told for every reason why an address could not be given or freed: one table.

Codes 1-99 are the spec's: 11 says that the same call may succeed later without anybody doing something. What waits for
a person has a code of our own, from 100 on, which stays what it is. The name of the reason is in the details.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipam.cni_plugin import INTERNAL, TRY_AGAIN, CniError
from ipam.errors import (
    AddressReserved,
    AddressTaken,
    IpamError,
    NoBlocksLeft,
    NoPool,
    NotInAPool,
    PoolExhausted,
    PoolNotUsable,
    StoreBusy,
    Unreadable,
)
from peering.store.protocol import StoreError

NOT_PERMITTED = 110
NOT_HELD = 111


@dataclass(frozen=True, slots=True)
class Told:
    """How one kind of error is told: CNI's code, and whom it waits for."""

    code: int
    details: str


TABLE: Mapping[type[Exception], Told] = {
    StoreError: Told(TRY_AGAIN, "store-away: the node agent does not reach its store"),
    StoreBusy: Told(TRY_AGAIN, "store-busy: many write the same blocks at once"),
    PoolExhausted: Told(101, "pool-exhausted: waits for a pool or for pods that end"),
    NoBlocksLeft: Told(102, "no-blocks-left: waits for maxBlocksPerHost or for pods that end"),
    NoPool: Told(103, "no-pool: waits for an IPPool"),
    PoolNotUsable: Told(104, "pool-not-usable: the pod's annotation names a pool that is not for it"),
    NotInAPool: Told(105, "not-in-a-pool: the pod's annotation names an address that is not for it"),
    AddressTaken: Told(106, "address-taken: waits for its holder to end, or asks for the wrong address"),
    AddressReserved: Told(107, "address-reserved: an IPReservation keeps it from pods"),
    Unreadable: Told(108, "unreadable: waits for an agent of the version that wrote the document"),
}


def cni_error(error: Exception) -> CniError:
    """The error object for what the allocator or the store raised."""
    for kind in type(error).__mro__:
        if told := TABLE.get(kind):
            return CniError(told.code, str(error), told.details)
    if isinstance(error, CniError):
        return error
    if isinstance(error, IpamError):
        return CniError(INTERNAL, str(error), error.code)
    return CniError(INTERNAL, "the node agent has failed; its log tells where", type(error).__name__)
