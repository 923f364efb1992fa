"""What a peer's configuration and session mean for policy: the terms of import and export of one family. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from peering.prefixes import Address
from reflector.configuration import Peer, ReflectorConfiguration
from reflector.log.batch import Encode, Language
from reflector.log.shape import BestPath, Nlri, SeveralPaths, Shape
from reflector.policy.export_policy import ExportPolicy, ExportTerms, export_terms
from reflector.policy.import_policy import ImportTerms
from reflector.rib.route import Kind
from reflector.wire.families import FAMILIES, Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.packing import encode_updates

_IPV6 = 2


def kind_of(peer: Peer, remote_asn: int) -> Kind:
    """How RFC 4456 sees a peer of this AS."""
    if remote_asn != peer.session.local_asn:
        return "ebgp"
    return "client" if peer.policy.client else "non-client"


def import_terms_of(
    configuration: ReflectorConfiguration, peer: Peer, kind: Kind, remote_asn: int, family: Family
) -> ImportTerms:
    """What import policy asks of a peer."""
    return ImportTerms(
        family=family,
        kind=kind,
        local_asn=peer.session.local_asn,
        peer_asn=remote_asn,
        router_id=configuration.router_id,
        cluster_id=configuration.cluster_id,
        allow_as_in=peer.policy.allow_as_in,
        filters=peer.policy.import_filters,
    )


def export_terms_of(
    configuration: ReflectorConfiguration,
    peer: Peer,
    kind: Kind,
    remote_asn: int,
    negotiated: Negotiated,
    family: Family,
) -> ExportTerms:
    """What makes an update group: peers with equal terms are told the same bytes."""
    policy = peer.policy
    return export_terms(
        family=family,
        kind=kind,
        four_octet=negotiated.four_octet,
        max_length=negotiated.max_send_length,
        add_path=family in negotiated.add_path_send,
        add_path_limit=policy.add_path_limit,
        local_asn=peer.session.local_asn,
        peer_asn=remote_asn,
        cluster_id=configuration.cluster_id,
        next_hop_self=_own_address(configuration, peer, family),
        next_hop=policy.next_hop,
        prepend=policy.prepend,
        as_override=policy.as_override,
        extended_next_hop=(family, _IPV6) in negotiated.extended_next_hop,
        long_lived=family in negotiated.long_lived,
        filters=policy.export_filters,
    )


def _own_address(configuration: ReflectorConfiguration, peer: Peer, family: Family) -> Address | None:
    """What `next hop self` writes: the session's own address if it is of the family, else what we listen on."""
    size = 16 if family.afi == _IPV6 else 4
    candidates = (peer.transport.local_address, *configuration.addresses)
    return next((a for a in candidates if a is not None and len(a) == size and any(a)), None)


def language_of(terms: ExportTerms) -> Language:
    """How a group with these terms is told things."""
    own_nlri = FAMILIES[terms.family].route_key is not None
    shape: Shape = BestPath(own_nlri=own_nlri)
    if terms.add_path:
        shape = SeveralPaths(terms.add_path_limit, own_nlri=own_nlri)
    return Language(ExportPolicy(terms), _encoder(terms.family, terms.max_length), shape)


def _encoder(family: Family, max_length: int) -> Encode:
    def encode(withdrawn: Iterable[Nlri], announced: Iterable[tuple[bytes, bytes, Iterable[Nlri]]]) -> list[bytes]:
        return encode_updates(family, withdrawn, announced, max_length)

    return encode
