"""Sessions between routers of ours whose two ends were declared apart: by BGPPeers, one at each end.

What a Rack, a RouteReflector or the mesh gives has both ends from one declaration. Of a BGPPeer the compiler makes the
other end too, unless another declaration does (an explicit one goes before a mirrored one), or `reversePeering: Manual`
leaves it to one. Then the two may disagree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, cast

from peering.lint.digest import (
    NodeDigest,
    ReflectorDigest,
    SwitchDigest,
    asn_of,
    owner_of,
    peer_address,
    ref_of,
    sessions_of,
    some_of,
)
from peering.lint.view import View
from peering.memo import Kept
from peering.problems import Problem, Severity
from peering.resource import Resource
from peering.resources.observed import SecretSpec
from peering.session import SecretKeyRef, Session

Router = NodeDigest | SwitchDigest | ReflectorDigest


class Verdict(NamedTuple):
    """Of the declared sessions between two routers: what they disagree on, and those that face no declared one."""

    problems: tuple[Problem, ...]
    alone: tuple[tuple[str, Session], ...]


Sessions = tuple[Session, ...]
Passwords = Mapping[SecretKeyRef, str]

_AGREED = Verdict((), ())


def ends_disagree(view: View) -> Iterator[Problem]:
    """What each end of a session says, against what the other end says."""
    routers: dict[str, Router] = {f"node/{name}": node for name, node in view.nodes.items()}
    routers |= {f"switch/{name}": switch for name, switch in view.switches.items()}
    routers |= {f"reflector/{name}": reflector for name, reflector in view.reflectors.items()}
    passwords: Passwords = view.memo.table("passwords").get(
        "", tuple(view.graph.snapshot.all("Secret").values()), _passwords
    )
    given = _Given(routers)
    unanswered: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for verdict in _verdicts(routers, passwords, view.memo.table("pairs")):
        yield from verdict.problems
        for end, session in verdict.alone:
            facing = given.far_end(end, session)
            if facing is None:
                unanswered[owner_of(session.source), session.peer].append(end)
                yield from _wrong_as(session, routers[session.peer])
            elif not _agree(session, facing):
                yield from _disagreement(session, facing, passwords)
                yield from _password_problems(facing, session, passwords)
    for (owner, peer), ends in unanswered.items():
        yield from _no_way_back(view, owner, peer, ends)


def one_sided_rack_mates(resource: Resource, view: View) -> Iterator[Problem]:
    """A switch that names another one of its rack, which does not name it in that family."""
    me = f"switch/{resource.name}"
    for session in view.switches[resource.name].plan.sessions:
        if session.peer.startswith("switch/"):
            facing = view.switches[session.peer.removeprefix("switch/")].plan.sessions
            if not any(other.peer == me and other.families == session.families for other in facing):
                message = f"names {peer_address(session)}, which does not name it in return: there will be no session"
                hint = f"name {resource.name} in fabricPeers of {ref_of(session.peer)} too"
                yield Problem("warning", "missing-reverse-peering", resource.ref, "spec.fabricPeers", message, hint)


def _verdicts(routers: Mapping[str, Router], passwords: Passwords, pairs: Kept[Verdict]) -> Iterator[Verdict]:
    """Of every two routers once."""
    for end, router in routers.items():
        for peer, mine in router.ends.declared.items():
            if peer == "external":
                continue
            theirs = routers[peer].ends.declared.get(end, ())
            if end < peer or not theirs:
                yield pairs.get((end, peer), (end, peer, mine, theirs, passwords), _judge)


def _judge(end: str, peer: str, mine: Sessions, theirs: Sessions, passwords: Passwords) -> Verdict:
    problems: list[Problem] = []
    alone = []
    for near, sessions, back in ((end, mine, theirs), (peer, theirs, mine)):
        for session in sessions:
            facing = next((s for s in back if _meet(session, s)), None)
            if facing is None:
                alone.append((near, session))
            elif not _agree(session, facing):
                problems += _disagreement(session, facing, passwords)
    return Verdict(tuple(problems), tuple(alone)) if problems or alone else _AGREED


class _Given:
    """Far ends that a Rack, a RouteReflector or the mesh gives: an index of a router's sessions when it is needed."""

    def __init__(self, routers: Mapping[str, Router]) -> None:
        self._routers = routers
        self._by_peer: dict[str, dict[str, list[Session]]] = {}

    def far_end(self, end: str, session: Session) -> Session | None:
        index = self._by_peer.get(session.peer)
        if index is None:
            index = self._by_peer[session.peer] = {}
            for one in sessions_of(self._routers[session.peer]):
                index.setdefault(one.peer, []).append(one)
        return next((s for s in index.get(end, ()) if _meet(session, s)), None)


def _meet(one: Session, other: Session) -> bool:
    """Whether each dials the other; an address that is left to the kernel may be any of the family."""
    return (
        other.peer_address == (one.local_address or other.peer_address)
        and one.peer_address == (other.local_address or one.peer_address)
        and (":" in one.peer_address) is (":" in other.peer_address)
    )


def _agree(one: Session, other: Session) -> bool:
    return (
        one.peer_asn == other.local_asn
        and one.local_asn == other.peer_asn
        and one.password == other.password
        and one.families == other.families
    )


def _disagreement(session: Session, other: Session, passwords: Passwords) -> Iterator[Problem]:
    owner, far = owner_of(session.source), ref_of(session.peer)
    if session.peer_asn != other.local_asn:
        message = f"says AS {session.peer_asn} of {far}, which speaks as AS {other.local_asn} here: its OPEN is refused"
        hint = f"write asNumber: {other.local_asn}, or change the AS of {far}"
        yield Problem("error", "as-pair-impossible", owner, "spec.asNumber", message, hint)
    if session.families != other.families and owner <= owner_of(other.source):
        both = ", ".join(sorted(set(session.families) & set(other.families))) or "nothing"
        message = f"carries {', '.join(session.families)} and {owner_of(other.source)} {', '.join(other.families)}"
        hint = f"only what both carry is exchanged: {both}"
        yield Problem("warning", "families-differ", owner, "spec.families", message, hint)
    yield from _password_problems(session, other, passwords)


def _password_problems(session: Session, other: Session, passwords: Passwords) -> Iterator[Problem]:
    owner, other_owner = owner_of(session.source), owner_of(other.source)
    if session.password is None and other.password is not None:
        message = f"has no password for {ref_of(session.peer)}, and {other_owner} has one: TCP never connects"
        hint = f"refer to Secret/{other.password.name} at both ends, or at none"
        path = "spec.nodeMeshPassword" if session.source == "mesh" else "spec.password"
        yield Problem("error", "password-one-sided", owner, path, message, hint)
    elif session.password and other.password and session.password != other.password and owner <= other_owner:
        mine, theirs = passwords.get(session.password), passwords.get(other.password)
        if mine is None or theirs is None or mine != theirs:
            severity: Severity = "warning" if mine is None or theirs is None else "error"
            message = (
                f"takes the password from {_named(session.password)}, "
                f"and {other_owner} for the other end from {_named(other.password)}"
            )
            hint = "refer to one Secret and key at both ends"
            yield Problem(severity, "password-differs", owner, "spec.password.secretKeyRef", message, hint)


def _named(password: SecretKeyRef) -> str:
    return f"Secret/{password.name} key {password.key!r}"


def _wrong_as(session: Session, other: Router) -> Iterator[Problem]:
    """Of a router that has no session with this one, but an AS that is known."""
    actual = asn_of(other)
    if session.peer_asn != actual:
        message = f"says AS {session.peer_asn} of {ref_of(session.peer)}, which has AS {actual}"
        hint = f"write asNumber: {actual}, or correct the AS there"
        yield Problem("error", "as-pair-impossible", owner_of(session.source), "spec.asNumber", message, hint)


def _no_way_back(view: View, owner: str, peer: str, ends: Iterable[str]) -> Iterator[Problem]:
    """The router is ours and has no session with these. Where it is no node, the compiler says why."""
    if not peer.startswith("node/"):
        return
    far, near = ref_of(peer), some_of(map(ref_of, ends))
    message = f"{near} would dial {far}, which has no session in return"
    if _is_manual(view, owner):
        path, hint = "spec.reversePeering", "set it to Auto, or declare a BGPPeer of the other end"
    else:
        path, hint = "spec.peerIP", "select the other end with a peerSelector, or declare a BGPPeer of that end too"
    yield Problem("warning", "missing-reverse-peering", owner, path, message, hint)


def _is_manual(view: View, ref: str) -> bool:
    resource = view.graph.snapshot.get(*ref.split("/", 1))
    return resource is not None and getattr(resource.spec, "reverse_peering", "Auto") == "Manual"


def _passwords(*secrets: Resource) -> dict[SecretKeyRef, str]:
    return {
        SecretKeyRef(resource.name, key): value
        for resource in secrets
        for key, value in cast(SecretSpec, resource.spec).values.items()
    }
