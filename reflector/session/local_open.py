"""The OPEN that we send."""

from __future__ import annotations

from functools import lru_cache

from reflector.session.settings import SessionSettings
from reflector.wire import framing
from reflector.wire.capabilities import Capabilities, GracefulRestart, LongLived
from reflector.wire.families import Family
from reflector.wire.framing import encode_message
from reflector.wire.open_message import OpenMessage

_IPV4, _IPV6 = 1, 2
#: Subsequent address families of IPv4 whose routes may have an IPv6 next hop (RFC 8950, 3).
_EXTENDED_NEXT_HOP_SAFIS = frozenset((1, 2, 4, 128, 129))


@lru_cache(256)
def open_to_send(settings: SessionSettings, restarting: bool) -> bytes:
    """The whole message. Sessions with equal settings share it."""
    return encode_message(framing.OPEN, local_open(settings, restarting=restarting).encode())


def local_open(settings: SessionSettings, *, restarting: bool = False) -> OpenMessage:
    """`restarting`: we have just restarted, and kept what peers may have kept of us (the R bit of RFC 4724).

    Forwarding state is always said to be kept: a reflector forwards nothing, so nothing is lost with it.
    """
    families = settings.families
    stale_time = settings.long_lived_stale_time if settings.graceful_restart_time else None
    return OpenMessage(
        settings.local_asn,
        settings.hold_time,
        settings.router_id,
        Capabilities(
            multiprotocol=families,
            route_refresh=True,
            enhanced_route_refresh=True,
            extended_message=True,
            extended_next_hop=tuple((family, _IPV6) for family in families if _may_have_ipv6_next_hop(family)),
            four_octet_as=settings.local_asn,
            add_path={} if settings.add_path is None else dict.fromkeys(families, settings.add_path),
            graceful_restart=_graceful_restart(settings, restarting),
            long_lived={} if stale_time is None else dict.fromkeys(families, LongLived(stale_time, forwarding=True)),
        ),
    )


def _graceful_restart(settings: SessionSettings, restarting: bool) -> GracefulRestart | None:
    if not settings.graceful_restart_time:
        return None
    kept = dict.fromkeys(settings.families, True)
    return GracefulRestart(settings.graceful_restart_time, kept, restarting, settings.notification_restart)


def _may_have_ipv6_next_hop(family: Family) -> bool:
    return family.afi == _IPV4 and family.safi in _EXTENDED_NEXT_HOP_SAFIS
