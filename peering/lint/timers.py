"""Hold time, graceful restart and BFD of one declaration, where they defeat each other.

Three clocks run when a neighbour falls silent. BFD ends the session after its detection time, BGP after the hold time;
then graceful restart (RFC 4724) keeps the routes for the restart time, because the neighbour may only be restarting.
A node that dies without a word is therefore a black hole for hold time plus restart time. BFD cannot shorten that: it
ends the session sooner, and either the routes stay all the same or a restart that should have been unnoticed is none.
Long-lived graceful restart (RFC 9494) is the way out: stale routes stay, but lose against all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from peering.lint.references import Declared
from peering.problems import Problem, Severity
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fabric import RackSpec
from peering.resources.route_reflector import RouteReflectorSpec

#: Seconds of black hole that are not worth a word, and those that Calico's defaults give (hold 90 s, restart 120 s).
_SHORT, _USUAL = 60, 210
#: Hold times below it have keepalives of one second (Calico issue 7086: 1 s and 3 s reset once a day).
_NERVOUS = 6
#: The mesh has no field for it.
_MESH_HOLD = 90


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds, as a declaration has them; `restart_field` is where it says the restart time."""

    hold: int
    keepalive: int | None
    restart: int
    long_lived: int | None
    bfd: str | None
    restart_field: str


def timers_of(resource: Resource) -> Timers:
    """Of a Rack, a BGPPeer or a RouteReflector."""
    spec = resource.spec
    if resource.kind == "BGPPeer":
        peer = cast(BGPPeerSpec, spec)
        return Timers(
            peer.hold_time,
            peer.keepalive_time,
            peer.max_restart_time,
            peer.long_lived_stale_time,
            peer.bfd,
            "spec.maxRestartTime",
        )
    other = cast("RackSpec | RouteReflectorSpec", spec)
    return Timers(
        other.hold_time,
        other.keepalive_time,
        other.graceful_restart_time,
        other.long_lived_stale_time,
        other.bfd,
        "spec.gracefulRestartTime",
    )


def silent_death(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """How long a node that dies without a word is a black hole, where nothing notices it sooner."""
    timers = timers_of(resource)
    total = timers.hold + timers.restart
    if timers.hold and timers.restart and timers.bfd is None and total > _SHORT:
        message = (
            f"a router that dies silently is a black hole for up to {total}s: "
            f"hold time {timers.hold}s, then restart time {timers.restart}s"
        )
        severity: Severity = "warning" if total > _USUAL else "info"
        hint = "shorten both (holdTime 9s with a restart time of 30s gives 39s)"
        yield Problem(severity, "silent-death", resource.ref, timers.restart_field, message, hint)


def bfd_with_graceful_restart(resource: Resource, declared: Declared) -> Iterator[Problem]:
    timers = timers_of(resource)
    if timers.bfd is not None and timers.restart and timers.long_lived is None:
        message = "BFD and graceful restart defeat each other: a restart ends the session, and a death keeps the routes"
        hint = f"set longLivedStaleTime, or {timers.restart_field.removeprefix('spec.')}: 0s"
        yield Problem("warning", "bfd-with-graceful-restart", resource.ref, "spec.bfd", message, hint)


def bfd_without_use(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """A profile that is slower than the hold time, or that makes both ends wait for the other."""
    timers = timers_of(resource)
    profile = declared.bfd_profiles.get(timers.bfd or "")
    if profile is None:
        return
    if timers.hold and profile.detection_ms >= timers.hold * 1000:
        message = (
            f"BFDProfile/{timers.bfd} detects after {profile.detection_ms / 1000:g}s, "
            f"when the hold time of {timers.hold}s is over"
        )
        hint = "shorten its intervals, or leave bfd out"
        yield Problem("warning", "bfd-slower-than-hold", resource.ref, "spec.bfd", message, hint)
    if profile.passive_mode:
        message = f"BFDProfile/{timers.bfd} is passive, and both ends use it: neither sends first (RFC 5880, 6.1)"
        hint = "take passiveMode out of the profile"
        yield Problem("warning", "bfd-both-passive", resource.ref, "spec.bfd", message, hint)


def hold_time(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """Hold times that notice nothing, or too much."""
    timers = timers_of(resource)
    if timers.hold == 0 and timers.bfd is None:
        message = "is 0, which switches keepalives off: a dead neighbour is never noticed"
        yield Problem("warning", "hold-time-off", resource.ref, "spec.holdTime", message, "set 9s, or use BFD")
    elif 0 < timers.hold < _NERVOUS:
        message = f"is {timers.hold}s: a router that is busy for that long loses all of its sessions"
        yield Problem("warning", "hold-time-short", resource.ref, "spec.holdTime", message, "set 9s, or use BFD")
    if timers.keepalive == 0 and timers.hold:
        message = f"is 0: no keepalives are sent, and the other end gives up after {timers.hold}s"
        hint = "leave it out: a third of the hold time"
        yield Problem("error", "keepalive-off", resource.ref, "spec.keepaliveTime", message, hint)


def mesh_silent_death(resource: Resource, declared: Declared) -> Iterator[Problem]:
    """The same of the mesh."""
    spec = cast(BGPConfigurationSpec, resource.spec)
    restart = spec.node_mesh_max_restart_time
    if restart is not None and _MESH_HOLD + restart > _USUAL:
        total = f"{_MESH_HOLD + restart}s: hold time {_MESH_HOLD}s, then this"
        message = f"a node that dies silently is a black hole for up to {total}"
        hint = "shorten it to 120s or less"
        path = "spec.nodeMeshMaxRestartTime"
        yield Problem("warning", "silent-death", resource.ref, path, message, hint)
