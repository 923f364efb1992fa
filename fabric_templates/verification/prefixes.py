"""What is wrong with a session that is up: prefixes that do not arrive, and options that differ nevertheless.

A side's count of what it sent is compared with what the other side counts. What the plan lets pass tells who is wrong:
a prefix that the plan accepts and the switch does not is the switch's fault, another one the sender's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from fabric_templates.verification.pairs import Pair, Side
from peering.problems import Problem, Severity
from peering.session import PrefixRule, SwitchPlan

#: Prefixes that are named; others are counted.
_NAMED = 3


def up(pair: Pair, switches: Mapping[str, SwitchPlan]) -> tuple[Problem, ...]:
    """All that is wrong with a session that every known side says is Established."""
    if not pair.is_up:
        return ()
    found = [*_timers(pair), *_families(pair), *_notes(pair), *_limits(pair)]
    for side in pair.sides:
        found += _way(side, pair.far(side), switches)
    return tuple(found)


def missing(side: Side, far: Side) -> frozenset[str] | None:
    """What `side` announces and `far` has not accepted; None where the names are not known."""
    announced = side.end.announced if side.end else None
    taken = far.end.taken if far.end else None
    if announced is None or taken is None or side.end is None or side.end.sent != len(announced):
        return None
    return announced - taken


def _timers(pair: Pair) -> Iterator[Problem]:
    side = next((s for s in pair.told if s.end and s.end.hold_time not in (None, pair.shared.hold_time)), None)
    if side and side.end:
        message = f"was agreed on a hold time of {side.end.hold_time} s, the plan says {pair.shared.hold_time} s"
        hint = "one end has another hold time than the plan, and the smaller one holds"
        yield _at(side, "session-hold-time", message, hint, "warning")


def _families(pair: Pair) -> Iterator[Problem]:
    for side in pair.told:
        known = side.end.families if side.end else None
        lacking = sorted(set(pair.shared.families) - known) if known is not None else []
        if lacking:
            yield _at(side, "session-family-missing", f"does not carry {' and '.join(lacking)}", side.remedy)


def _notes(pair: Pair) -> Iterator[Problem]:
    """What a speaker holds back while the session is up."""
    for side in pair.told:
        if side.kind == "node" and side.end and side.end.reason:
            yield _at(side, "session-restricted", f"its speaker says: {side.end.reason}", "correct that")


def _limits(pair: Pair) -> Iterator[Problem]:
    """FRR, for one, may notice no sooner than with the next UPDATE."""
    for side in pair.told:
        end = side.end
        if end and end.limit and end.accepted and end.accepted > end.limit:
            message = f"has {end.accepted} prefixes of {pair.far(side).ref}, and its limit is {end.limit}"
            yield _at(side, "session-over-limit", message, side.remedy)


def _way(sender: Side, receiver: Side, switches: Mapping[str, SwitchPlan]) -> Iterator[Problem]:
    """One direction."""
    sent = sender.end.sent if sender.end else None
    if sender.end and sender.end.announced and sent == 0 and sender.session and not sender.session.export_filters:
        message = f"announces nothing to {receiver.ref}, and has {_list(sender.end.announced)} to announce"
        yield _at(sender, "prefixes-missing", message, "its report and its log say more")
        return
    if receiver.end is None or receiver.end.accepted is None:
        return
    if receiver.end.no_policy:
        message = f"takes nothing from {sender.ref}, or tells it nothing: the neighbor has no route map (RFC 8212)"
        yield _at(receiver, "prefixes-refused", message, receiver.remedy)
    elif sender.kind == "switch" and receiver.kind == "node":
        yield from _downward(sender, receiver, sent)
    elif sent and receiver.end.accepted < (sent if receiver.kind == "switch" and sender.kind == "node" else 1):
        # What is not of a rack's nodes may be refused as it comes back: all of it is too much.
        yield from _refused(sender, receiver, sent, switches)


def _downward(switch: Side, node: Side, sent: int | None) -> Iterator[Problem]:
    """Routes that have the node's own AS come back and are refused, so only none at all is a fault."""
    assert node.end is not None
    received, accepted = node.end.received, node.end.accepted
    if accepted:
        return
    if sent and not received:
        message = f"says that it sent {sent} prefixes, {node.ref} says that none came"
        yield _at(switch, "prefixes-missing", message, "one of the reports is old: look again")
    else:
        came = f"only {received} that it does not use" if received else "none"
        message = f"sends {node.ref} no prefix that it can use: it has received {came}"
        hint = "in this order: it has no default route from the fabric; its policy towards nodes is not the plan's"
        yield _at(switch, "prefixes-missing", message, hint)


def _refused(sender: Side, receiver: Side, sent: int, switches: Mapping[str, SwitchPlan]) -> Iterator[Problem]:
    assert receiver.end is not None
    names = missing(sender, receiver)
    count = sent - (receiver.end.accepted or 0)
    if names is None:
        message = f"does not accept {count} of the {sent} prefixes that {sender.ref} sends"
        hint = f"in this order: its policy is not the plan's; {sender.ref} sends what the plan does not accept"
        yield _at(receiver, "prefixes-refused", message, hint)
        return
    plan = switches.get(receiver.ref.partition("/")[2]) if receiver.kind == "switch" else None
    allowed = {name for name in names if plan is None or _passes(name, plan.accept)}
    if allowed:
        message = f"does not accept {_list(allowed)} of {sender.ref}, which the plan accepts"
        yield _at(receiver, "prefixes-refused", message, receiver.remedy)
    if names - allowed:
        message = f"announces {_list(names - allowed)}, which the plan does not accept at {receiver.ref}"
        hint = "look whether it is of a pool that the rack's nodes may claim from, and of that pool's block size"
        yield _at(sender, "prefixes-refused", message, hint)


def _passes(prefix: str, rules: Iterable[PrefixRule]) -> bool:
    network = ipaddress.ip_network(prefix)
    for rule in rules:
        outer = ipaddress.ip_network(rule.cidr)
        inside = network.version == outer.version and network.subnet_of(outer)  # type: ignore[arg-type]
        if inside and rule.min_length <= network.prefixlen <= rule.max_length:
            return True
    return False


def _list(prefixes: Iterable[str]) -> str:
    names = sorted(prefixes)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _at(side: Side, code: str, message: str, hint: str, severity: Severity = "error") -> Problem:
    return Problem(severity, code, side.object, side.path, message, hint)
