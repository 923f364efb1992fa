"""What a switch's listen ranges are where its rack does not want its nodes named (`neighbors: listen`).

A range for each of the switch's link subnets, with the options that the sessions in it have. The sessions stay in the
plan: they are what is expected to be up. Where a subnet has nodes of several ASs they are listed, and nobody else may
dial. A rack whose nodes each have an AS of their own has no range before its first node.
"""

from __future__ import annotations

from collections.abc import Iterable

from peering import addressing
from peering.designs import DESIGNS
from peering.rack_sessions import RackView
from peering.reflector_sessions import password_of
from peering.resources.fabric import SwitchSpec
from peering.session import ListenRange, Session


def listen_ranges(rack: RackView | None, switch: SwitchSpec, sessions: Iterable[Session]) -> tuple[ListenRange, ...]:
    """Those of one switch, by its link subnets."""
    if rack is None or rack.spec.neighbors != "listen":
        return ()
    source = f"Rack/{rack.name}"
    dialling = [s for s in sessions if s.source == source and s.peer.startswith("node/")]
    found = (_range(rack, switch, cidr, _asns(rack, cidr, dialling)) for cidr in switch.link_subnets)
    return tuple(one for one in found if one is not None)


def _asns(rack: RackView, cidr: str, dialling: Iterable[Session]) -> tuple[int, ...]:
    found = {s.peer_asn for s in dialling if addressing.lies_in(s.peer_address, [cidr])}
    if DESIGNS[rack.spec.design].node_asn != "node" and rack.spec.node_as_number is not None:
        found.add(rack.spec.node_as_number)
    return tuple(sorted(found))


def _range(rack: RackView, switch: SwitchSpec, cidr: str, asns: tuple[int, ...]) -> ListenRange | None:
    if not asns:
        return None
    spec = rack.spec
    row = DESIGNS[spec.design]
    shared = any(addressing.lies_in(address, [cidr]) for address in switch.link_addresses)
    return ListenRange(
        cidr=cidr,
        peer_asn=asns[0] if len(asns) == 1 else 0,
        peer_asns=asns if len(asns) > 1 else (),
        limit=spec.listen_limit,
        password=password_of(spec.password),
        ttl_security=1 if spec.ttl_security else None,
        bfd=rack.bfd,
        hold_time=spec.hold_time,
        keepalive_time=spec.hold_time // 3 if spec.keepalive_time is None else spec.keepalive_time,
        graceful_restart_time=spec.graceful_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        rr_client=row.ibgp,
        next_hop="self" if row.ibgp and not shared else "auto",
        as_override=row.one_asn and spec.loop_check == "as-override",
        max_prefixes=spec.max_prefixes,
    )
