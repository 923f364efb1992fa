"""One session turned into what templates print of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal

from fabric_templates.devices import Device
from fabric_templates.endpoints import canonical, neighbor_key, over_ipv6
from fabric_templates.naming import fit
from fabric_templates.policy import Names, Version
from fabric_templates.ranges import session_of
from fabric_templates.roles import asns, group_key, listen_key, role, version_of
from fabric_templates.shapes import (
    CONNECT_SECONDS,
    BfdProfile,
    FamilyNeighbor,
    Listen,
    MaxPrefixes,
    Neighbor,
    NextHop,
    Timers,
)
from peering.session import BfdParameters, Family, ListenRange, SecretKeyRef, Session, SwitchPlan

FAMILIES: tuple[tuple[Family, Version], ...] = (("ipv4-unicast", 4), ("ipv6-unicast", 6))
_VERSION: dict[Family, Version] = dict(FAMILIES)


@dataclass(frozen=True, slots=True)
class Printing:
    """What a plan is printed with. Without `passwords` each one is a placeholder that names its secret."""

    plan: SwitchPlan
    names: Names
    device: Device
    passwords: Mapping[SecretKeyRef, str] | None

    def neighbor(self, session: Session) -> Neighbor:
        return _neighbor(self, session, neighbor_key(session), group_key(session), ())

    def listen(self, listen: ListenRange) -> Listen:
        """What a range says; its neighbours have the description of their group."""
        network, key = str(ip_network(listen.cidr)), listen_key(listen)
        several = asns(listen) if listen.peer_asns else ()
        neighbor = _neighbor(self, session_of(self.plan, listen), network, key, several)
        version = version_of(listen.cidr)
        return Listen(cidr=network, version=version, group=neighbor.group, limit=listen.limit, neighbor=neighbor)


def versions(session: Session) -> tuple[Version, ...]:
    return tuple(sorted(_VERSION[family] for family in session.families))


def bfd_profile(names: Names, device: Device, bfd: BfdParameters) -> BfdProfile:
    """A profile without what the platform does by itself."""
    own = device.bfd_defaults
    return BfdProfile(
        name=names.of(bfd.profile),
        receive_interval=_unless(bfd.receive_interval, own.receive_interval),
        transmit_interval=_unless(bfd.transmit_interval, own.transmit_interval),
        detect_multiplier=_unless(bfd.detect_multiplier, own.detect_multiplier),
        minimum_ttl=_unless(bfd.minimum_ttl, own.minimum_ttl),
        passive_mode=bfd.passive_mode,
    )


def _unless(value: int, default: int | None) -> int | None:
    return None if value == default else value


def placeholder(reference: SecretKeyRef) -> str:
    """What stands in place of a password that is not to be shown."""
    return f"<secret:{reference.name}/{reference.key}>"


def _neighbor(printing: Printing, session: Session, key: str, group: str, several: tuple[int, ...]) -> Neighbor:
    plan, names, device = printing.plan, printing.names, printing.device
    source = canonical(session.local_address) if session.local_address else None
    return Neighbor(
        key=key,
        version=6 if over_ipv6(session) else 4,
        unnumbered=session.interface is not None,
        group=names.of(group),
        type=session.type,
        side=role(session).side,
        remote_asn=session.peer_asn,
        remote_asns=several,
        description=fit(_printable(_description(session), device), device.limits.description),
        update_source=source,
        from_loopback=source is not None and _is_loopback(plan, source),
        local_asn=session.local_asn if session.local_asn != plan.asn else None,
        passive=session.passive,
        port=session.peer_port if session.peer_port != 179 else None,
        timers=_timers(session),
        password=_password(session, device, printing.passwords),
        direct=_is_direct(session),
        ttl_security=session.ttl_security,
        multihop=session.multihop if session.type == "ebgp" and session.multihop != 1 else None,
        bfd_profile=names.of(session.bfd.profile) if session.bfd else None,
        bfd=bfd_profile(names, device, session.bfd) if session.bfd else None,
        graceful_restart=_graceful_restart(session),
        long_lived_stale_time=session.long_lived_stale_time,
        cluster_id=session.cluster_id,
        extended_next_hop=over_ipv6(session) and "ipv4-unicast" in session.families,
        families=tuple(_family(names, session, key, group, version) for version in versions(session)),
    )


def _is_direct(session: Session) -> bool:
    """Whether the peer is on a link of ours. Of iBGP peers only a rack's nodes are known to be there."""
    near = (session.multihop or session.ttl_security or 1) == 1 and session.reachable_by is None
    return near and (session.type == "ebgp" or session.peer.startswith("node/"))


def _is_loopback(plan: SwitchPlan, address: str) -> bool:
    own = ip_address(address)
    return any(own in network for network in map(ip_network, plan.networks) if network.version == own.version)


def _timers(session: Session) -> Timers:
    connect = session.connect_retry or CONNECT_SECONDS
    return Timers(keepalive=session.keepalive_time, hold=session.hold_time, connect=connect)


def _description(session: Session) -> str:
    """The peer, or for one that is no object of ours the session's name, which tells spine from spine."""
    return session.name if session.peer in ("external", "node/any") else session.peer


def _printable(text: str, device: Device) -> str:
    """Without the characters that the platform cannot take inside a text: a description is for reading."""
    return text.translate(dict.fromkeys(map(ord, device.limits.excludes), "_"))


def _password(session: Session, device: Device, passwords: Mapping[SecretKeyRef, str] | None) -> str | None:
    if session.password is None:
        return None
    if passwords is None:
        return fit(placeholder(session.password), device.limits.password)
    return passwords[session.password]


def _graceful_restart(session: Session) -> Literal["helper", "disabled"] | None:
    """Towards the fabric the switch's own default stands, unless the plan turns graceful restart off.

    Long-lived graceful restart goes together with the classic capability (RFC 9494, 4.1), whose time may be 0.
    """
    if session.long_lived_stale_time:
        return "helper"
    if session.graceful_restart_time == 0:
        return "disabled"
    return "helper" if role(session).side == "rack" else None


def _family(names: Names, session: Session, key: str, group: str, version: Version) -> FamilyNeighbor:
    return FamilyNeighbor(
        key=key,
        version=version,
        import_map=names.route_map(group, "IN", version),
        export_map=names.route_map(group, "OUT", version),
        rr_client=session.rr_client,
        next_hop=_NEXT_HOPS[session.type, session.next_hop],
        as_override=session.as_override,
        allow_as_in=session.allow_as_in,
        add_paths_send=session.add_paths in ("send", "both"),
        add_paths_receive=session.add_paths in ("receive", "both"),
        max_prefixes=MaxPrefixes(count=session.max_prefixes) if session.max_prefixes else None,
    )


_NEXT_HOPS: dict[tuple[str, str], NextHop | None] = {
    # Routes from outside the AS get our address, reflected ones keep theirs: neighbours of a rack share links.
    ("ibgp", "auto"): "self",
    ("ibgp", "self"): "self-of-reflected-too",
    ("ibgp", "keep"): None,
    # eBGP sets the next hop to itself, but between neighbours that share a subnet it may keep theirs, so that they
    # send to each other directly (RFC 4271, 5.1.3).
    ("ebgp", "auto"): None,
    ("ebgp", "self"): "self",
    ("ebgp", "keep"): "unchanged",
}
