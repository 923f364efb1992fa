"""What is wrong with a session, and at which side: one `Problem` per fault, none where both sides say that it is up.

First what is known for sure: a side has no such session, or is configured otherwise than the plan says. Then what a
side was told, or said, when the session ended (NOTIFICATION). Last what nobody says: then what is known stands in the
message, and what may be the cause in the hint, the likeliest first.

Speakers run the plan and nothing else, so where a refusal does not say who is wrong, it is the switch that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fabric_templates.verification.end import Notice
from fabric_templates.verification.pairs import Pair, Side
from peering.problems import Problem
from peering.session import SecretKeyRef, Session

Passwords = Mapping[SecretKeyRef, str]
Rule = Callable[[Pair, Passwords], Iterator[Problem]]


def down(pair: Pair, passwords: Passwords) -> tuple[Problem, ...]:
    """Why it is not up: all that the first rule finds that finds anything. Empty where nobody is known to say so."""
    if not pair.told and not any(side.is_missing for side in pair.sides):
        return ()
    if pair.is_up and not any(side.is_missing for side in pair.sides):
        return ()
    return next((found for rule in _RULES if (found := tuple(rule(pair, passwords)))), ())


def _missing(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side in pair.sides:
        if not side.is_missing:
            continue
        if side.kind == "switch":
            message = f"is not configured; the plan has it for {_name(pair.far(side))}"
            hint = side.remedy
        else:
            message = "is not among those that it tells of: it goes by another plan"
            hint = "look whether it reads the same store"
        yield _at(side, "session-missing", message, hint)


def _other_as(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side, session in _configured(pair):
        assert side.end is not None
        told, far = side.end.peer_asn, _name(pair.far(side))
        if told and session.peer_asn and told != session.peer_asn:
            message = f"expects AS {told} of {far}, the plan says {session.peer_asn}"
            yield _at(side, "session-as-differs", message, side.remedy)
        own = side.end.local_asn
        if own and own != session.local_asn:
            message = f"speaks to {far} as AS {own}, the plan says {session.local_asn}"
            yield _at(side, "session-as-differs", message, side.remedy)


def _other_password(pair: Pair, passwords: Passwords) -> Iterator[Problem]:
    for side, session in _configured(pair):
        assert side.end is not None
        wanted, has = session.password, side.end.has_password
        if has is not None and has != (wanted is not None):
            message = "has a password, the plan has none" if has else "has no password, the plan has one"
            yield _at(side, "session-password", message, side.remedy)
        elif wanted and side.end.password and passwords.get(wanted, side.end.password) != side.end.password:
            message = f"has another password than Secret/{wanted.name} has in {wanted.key}"
            yield _at(side, "session-password", message, side.remedy)


def _other_ttl(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side, session in _configured(pair):
        assert side.end is not None
        told, wanted = side.end.ttl_security, session.ttl_security or 0
        if told is not None and told != wanted:
            message = f"has {_hops(told)}, the plan says {_hops(wanted)}"
            yield _at(side, "session-ttl", message, side.remedy)


def _other_families(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side, session in _configured(pair):
        assert side.end is not None
        lacking = sorted(set(session.families) - side.end.families) if side.end.families is not None else []
        if lacking:
            yield _at(side, "session-family-missing", f"does not carry {' and '.join(lacking)}", side.remedy)


def _shut(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side in pair.told:
        if side.end and side.end.shut_down:
            yield _at(side, "session-shut-down", "is shut down by an administrator", "take the shutdown away there")


def _too_many(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side in pair.told:
        if side.end and side.end.over_limit:
            yield _limit(pair, side)


def _limit(pair: Pair, side: Side) -> Problem:
    """`side` has closed the session because it got too many prefixes."""
    far, session = pair.far(side), side.session
    told = side.end.limit if side.end else None
    wanted = session.max_prefixes if session else None
    announced = far.end.announced if far.end else None
    many = f", and {_name(far)} has {len(announced)} to announce" if announced else ""
    if told and told != wanted:
        message = f"closed the session at its limit of {told} prefixes, the plan says {wanted or 'no limit'}{many}"
        return _at(side, "session-over-limit", message, side.remedy)
    message = f"announces more than the {wanted or told or 'allowed'} prefixes that {_name(side)} takes{many}"
    hint = f"look at what it announces, or raise maxPrefixes of {session.source if session else 'the session'}"
    return _at(far, "session-over-limit", message, f"{hint}; the switch may have to be told to begin again")


def _bfd(pair: Pair, _: Passwords) -> Iterator[Problem]:
    for side in pair.told:
        if side.end and side.end.bfd_down:
            yield _bfd_down(pair, side)


def _bfd_down(pair: Pair, side: Side) -> Problem:
    message = f"BFD with {_name(pair.far(side))} is down"
    causes = "in this order: the link or its address, BFD is not running at one end, UDP 3784 or 4784 is filtered"
    return _at(side, "session-bfd-down", message, causes)


def _left_out(pair: Pair, _: Passwords) -> Iterator[Problem]:
    """What a speaker says of a session that it did not even try."""
    for side in pair.told:
        said = side.end.reason if side.end else ""
        if side.kind == "node" and said and not said.startswith(_TRIED):
            yield _at(side, "session-left-out", f"its speaker says: {said}", "correct that; the session waits for it")


#: How the reasons of a speaker begin that did try.
_TRIED = (
    "notification", "closing connection", "never came up", "not up yet", "ExaBGP ended", "connection received",
    "process problem", "stop, message", "graceful restarted", "configuration change",
)  # fmt: skip


def _one_sided(pair: Pair, _: Passwords) -> Iterator[Problem]:
    up = [side for side in pair.told if side.end and side.end.is_up]
    if up and len(up) < len(pair.told):
        far = pair.far(up[0])
        message = f"says Established, {_name(far)} says {far.end.state if far.end else 'nothing'}"
        hint = f"it changes just now, or one has not noticed yet that the other is gone: look again after {_hold(pair)}"
        yield _at(up[0], "session-one-sided", message, hint)


def _refused(pair: Pair, _: Passwords) -> Iterator[Problem]:
    """A speaker's reason is of its last attempt; a switch's may be older, so it comes second."""
    for side in sorted(pair.told, key=lambda one: one.kind != "node"):
        notice = side.end.notice if side.end else None
        if notice is None or (notice.code, notice.subcode) in _PASSING:
            continue
        refuser = pair.far(side) if notice.sent is False else side
        verdict = _REFUSALS.get((notice.code, notice.subcode), _REFUSALS.get((notice.code, None), _other_notice))
        yield verdict(pair, refuser, notice)
        return


def _as_refused(pair: Pair, refuser: Side, _: Notice) -> Problem:
    far = pair.far(refuser)
    wanted = refuser.session.peer_asn if refuser.session else "?"
    if refuser.end and refuser.end.peer_asn == wanted:
        message = f"says another AS than {wanted} in its OPEN, which {_name(refuser)} expects as the plan says"
        return _at(far, "session-as-differs", message, far.remedy)
    message = f"refuses the AS that {_name(far)} has in its OPEN (Bad Peer AS); by the plan that is {wanted}"
    hint = f"compare its remote AS with the plan; if that is right, {_name(far)} runs with another AS of its own"
    return _at(refuser, "session-as-differs", message, hint)


def _hold_refused(pair: Pair, refuser: Side, _: Notice) -> Problem:
    message = f"refuses the hold time of {_hold(pair)} (Unacceptable Hold Time)"
    hint = f"lower the smallest hold time that it takes, or raise holdTime of {pair.shared.source}"
    return _at(refuser, "session-hold-time", message, hint)


def _limit_reached(pair: Pair, refuser: Side, _: Notice) -> Problem:
    return _limit(pair, refuser)


def _admin(_: Pair, refuser: Side, __: Notice) -> Problem:
    return _at(refuser, "session-shut-down", "is shut down by an administrator", "take the shutdown away there")


def _deconfigured(pair: Pair, refuser: Side, _: Notice) -> Problem:
    message = f"says that {_name(pair.far(refuser))} is no peer of it any more (Peer De-configured)"
    return _at(refuser, "session-missing", message, refuser.remedy)


def _rejected(pair: Pair, refuser: Side, _: Notice) -> Problem:
    message = f"rejects the connection of {_name(pair.far(refuser))} (Cease, Connection Rejected)"
    hint = "in this order: the neighbor is not configured there, or not for this address; it waits after an error"
    return _at(refuser, "session-missing", message, hint)


def _bfd_notice(pair: Pair, refuser: Side, _: Notice) -> Problem:
    return _bfd_down(pair, refuser)


def _silent(pair: Pair, refuser: Side, _: Notice) -> Problem:
    """Hold Timer Expired. Of a session that does not come up, it is the OPEN that was waited for."""
    far = pair.far(refuser)
    switch = next((side for side in pair.sides if side.kind == "switch"), far)
    dropped = switch.kernel.ttl if switch.kernel else 0
    seen = f"; its kernel has dropped {dropped} segments for their TTL" if dropped else ""
    message = f"{_name(refuser)} heard nothing for the hold time (Hold Timer Expired){seen}"
    ttl = "TTL security at one end only"
    others = ["the link loses packets (MTU?)", f"{_name(far)} hangs"]
    causes = [ttl, *others] if dropped or pair.shared.ttl_security else [*others, ttl]
    return _at(switch, "session-silent", message, f"in this order: {', '.join(causes)}")


def _other_notice(pair: Pair, refuser: Side, notice: Notice) -> Problem:
    message = f"ended the session with {_name(pair.far(refuser))}: {_words(notice)}"
    return _at(refuser, "session-refused", message, "its log says more")


def _words(notice: Notice) -> str:
    words = _NOTICES.get((notice.code, notice.subcode)) or _NOTICES.get((notice.code, None), "unknown")
    return f"{words} (NOTIFICATION {notice.code}/{notice.subcode})"


def _no_connection(pair: Pair, passwords: Passwords) -> Iterator[Problem]:
    """The end of the list: it is down, and nobody says why."""
    side = next((one for one in pair.sides if one.kind == "switch"), pair.told[0])
    said = ", ".join([*map(_says, pair.told), *_last(pair)])
    yield _at(
        side,
        "session-no-connection",
        f"no BGP connection with {_name(pair.far(side))}, and nobody says why ({said}{_dropped(side)})",
        f"in this order: {', '.join(_causes(pair, side))}",
    )


def _says(side: Side) -> str:
    """A switch's own reason is of its last session, which may be long ago."""
    assert side.end is not None
    is_plain = side.kind in ("node", "reflector") and side.end.reason and side.end.notice is None
    reason = f": {side.end.reason}" if is_plain else ""
    return f"{_name(side)} says {side.end.state}{reason}"


def _last(pair: Pair) -> Iterator[str]:
    """How it ended, where that is known."""
    notice = next((side.end.notice for side in pair.told if side.end and side.end.notice), None)
    if notice:
        yield f"it ended with {_words(notice)}"


def _dropped(side: Side) -> str:
    kernel = side.kernel
    md5 = f"; its kernel has dropped {kernel.md5} segments for their MD5" if kernel and kernel.md5 else ""
    ttl = f"; its kernel has dropped {kernel.ttl} segments for their TTL" if kernel and kernel.ttl else ""
    return md5 + ttl


def _causes(pair: Pair, side: Side) -> list[str]:
    """The likeliest first: what was counted, then the link, then what the session has options for."""
    kernel = side.kernel
    unsure = [one for one in pair.sides if not one.asked and one.end is None]
    found = ["the passwords differ"] if kernel and kernel.md5 else []
    found += ["TTL security at one end only"] if kernel and kernel.ttl else []
    found += [f"{_name(one)} has no such neighbor, or has it shut down" for one in unsure]
    found += ["the link or an address of it is down", "TCP port 179 is filtered"]
    found += ["the passwords differ"] if pair.shared.password and not (kernel and kernel.md5) else []
    found += ["TTL security at one end only"] if pair.shared.ttl_security and not (kernel and kernel.ttl) else []
    return found


_RULES: tuple[Rule, ...] = (
    _one_sided,
    _missing,
    _other_as,
    _other_password,
    _other_ttl,
    _other_families,
    _shut,
    _too_many,
    _left_out,
    _refused,
    _bfd,
    _no_connection,
)
#: NOTIFICATIONs that tell what to do, by code and subcode (RFC 4271, 6; RFC 4486; RFC 9384).
_REFUSALS: dict[tuple[int, int | None], Callable[[Pair, Side, Notice], Problem]] = {
    (2, 2): _as_refused,
    (2, 6): _hold_refused,
    (4, None): _silent,
    (6, 1): _limit_reached,
    (6, 2): _admin,
    (6, 3): _deconfigured,
    (6, 5): _rejected,
    (6, 10): _bfd_notice,
}
#: Those that end a session to begin it again: they are not why it stays down.
_PASSING = frozenset({(6, 4), (6, 6), (6, 7), (6, 9)})
#: The words for others.
_NOTICES: dict[tuple[int, int | None], str] = {
    (1, None): "message header error",
    (2, 1): "unsupported BGP version",
    (2, 3): "bad BGP identifier, which two routers may have",
    (2, 4): "unsupported optional parameter",
    (2, 5): "authentication failure",
    (2, 7): "unsupported capability",
    (2, 11): "role mismatch",
    (2, None): "OPEN error",
    (3, None): "UPDATE error",
    (5, None): "finite state machine error",
    (6, 4): "administrative reset",
    (6, 6): "other configuration change",
    (6, 7): "connection collision",
    (6, 8): "out of resources",
    (6, 9): "hard reset",
    (6, None): "Cease",
    (7, None): "ROUTE-REFRESH error",
}


def _configured(pair: Pair) -> Iterator[tuple[Side, Session]]:
    """Sides that tell how they are configured, with what the plan says they should be."""
    for side in pair.sides:
        if side.end is not None and side.session is not None:
            yield side, side.session


def _at(side: Side, code: str, message: str, hint: str) -> Problem:
    return Problem("error", code, side.object, side.path, message, hint)


def _name(side: Side) -> str:
    return side.ref if side.kind != "external" else "the fabric peer"


def _hops(number: int) -> str:
    return f"TTL security ({number} {'hop' if number == 1 else 'hops'})" if number else "no TTL security"


def _hold(pair: Pair) -> str:
    return f"{pair.shared.hold_time} s"
