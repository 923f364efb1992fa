"""A reflector without a plan: whoever comes from a prefix is its client, as with FRR's `bgp listen range`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from peering.prefixes import Address, Prefix, format_prefix
from peering.route_filter import Named
from peering.session import SecretKeyRef
from reflector.configuration import (
    Owners,
    OwnershipMode,
    PeerPolicy,
    PeerRange,
    ReflectorConfiguration,
    Transport,
)
from reflector.session.settings import SessionSettings

NAME = "reflector"
#: What the password of all clients is called; its value is in the file of --password-file.
PASSWORD = SecretKeyRef("--password-file", "password")

#: Routers of one AS may be anywhere in it.
_MULTIHOP = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Standalone:
    """Addresses and prefixes are packed. `password` says whether the clients have one.

    `filters` hold for all clients and in both directions, `max_prefixes` for each client and family.
    """

    asn: int
    router_id: Address
    cluster_id: Address
    addresses: Sequence[Address]
    port: int
    accept: Sequence[Prefix]
    hold_time: int = 90
    password: bool = False
    ownership: OwnershipMode = "off"
    owners: Owners = field(default_factory=Owners)
    filters: Named = ()
    max_prefixes: int | None = None

    def configuration(self) -> ReflectorConfiguration:
        return ReflectorConfiguration(
            name=NAME,
            asn=self.asn,
            router_id=self.router_id,
            cluster_id=self.cluster_id,
            addresses=tuple(self.addresses),
            port=self.port,
            ranges=tuple(map(self._range, self.accept)),
            ownership=self.ownership,
            owners=self.owners,
        )

    def _range(self, prefix: Prefix) -> PeerRange:
        settings = SessionSettings(
            name=format_prefix(prefix),
            local_asn=self.asn,
            router_id=self.router_id,
            peer_asn=self.asn,
            peer_type="ibgp",
            passive=True,
            hold_time=self.hold_time,
        )
        transport = Transport(multihop=_MULTIHOP, password=PASSWORD if self.password else None)
        policy = PeerPolicy(import_filters=self.filters, export_filters=self.filters, max_prefixes=self.max_prefixes)
        return PeerRange(prefix=prefix, session=settings, policy=policy, transport=transport)
