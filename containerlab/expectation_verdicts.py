"""Whether what was seen is what was expected, and how to tell it. Pure.

A verdict has one line that says what differs, and the evidence: what was seen, line by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from containerlab.expectations import Command, NoPing, NoRoute, Ping, Route, Sessions, Traffic, text_of
from containerlab.node_outputs import UP, PingSeen, RouteSeen, SessionSeen

_OUTPUT_LINES = 40
_FEW = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    ok: bool
    message: str
    seen: tuple[str, ...] = ()


def sessions(what: Sessions, seen: Sequence[SessionSeen]) -> Verdict:
    """`seen`: all sessions of all nodes that were asked."""
    chosen = [s for s in seen if s.node in (what.node or (s.node,)) and s.peer in (what.with_ or (s.peer,))]
    lines = tuple(s.line() for s in chosen)
    if not chosen:
        return Verdict(False, "there is no such session", tuple(s.line() for s in seen))
    wrong = tuple(s.line() for s in chosen if (s.state == UP) is not (what.state == "established"))
    if not wrong:
        return Verdict(True, f"{len(chosen)} sessions {what.state}", lines)
    how = "not established" if what.state == "established" else "established"
    return Verdict(False, f"{len(wrong)} of {len(chosen)} sessions are {how}", wrong)


def route(what: Route, place: str, version: int, seen: RouteSeen | None) -> Verdict:
    """`seen`: the route of one place and IP version."""
    where = f"{place} IPv{version}"
    if seen is None:
        return Verdict(False, f"{where}: no route to {what.prefix or what.to}", (f"{where}: no route",))
    evidence = (f"{where}: {seen.line()}",)
    if not seen.forwards:
        return Verdict(False, f"{where}: {seen.line()}", evidence)
    if what.via is not None and not _are(what.via, seen):
        return Verdict(False, f"{where}: {seen.line()}, expected via {', '.join(what.via)}", evidence)
    if what.paths is not None and len(seen.hops) != what.paths:
        return Verdict(False, f"{where}: {len(seen.hops)} paths, expected {what.paths}", evidence)
    return Verdict(True, evidence[0], evidence)


def _are(via: Sequence[str], seen: RouteSeen) -> bool:
    """Each next hop is named, and each name is a next hop."""
    known = [hop.names() for hop in seen.hops]
    return all(names & set(via) for names in known) and all(any(name in names for names in known) for name in via)


def no_route(what: NoRoute, place: str, version: int, seen: RouteSeen | None) -> Verdict:
    where = f"{place} IPv{version}"
    if seen is None:
        return Verdict(True, f"{where}: no route to {what.prefix}")
    return Verdict(not seen.forwards, f"{where}: {seen.line()}", (f"{where}: {seen.line()}",))


def ping(what: Ping | NoPing, source: str, target: str, seen: PingSeen) -> Verdict:
    text = f"{source} to {target}: {seen.received} of {seen.sent} answered"
    ok = seen.received == 0 if isinstance(what, NoPing) else seen.sent - seen.received <= what.lost
    return Verdict(ok and seen.sent > 0, text, (text,))


def traffic(what: Traffic, source: str, target: str, seen: Mapping[str, Any]) -> Verdict:
    """`seen`: the result of probe.py."""
    lost, silent = seen["sent"] - seen["answered"], seen["worstGapMs"] / 1000
    text = f"{source} to {target}: {lost} of {seen['sent']} packets lost, longest silence of a flow {text_of(silent)}"
    ok = (what.silent is None or silent <= what.silent) and (what.lost is None or lost <= what.lost)
    flows = tuple(
        f"source port {flow['port']}: {flow['sent'] - flow['answered']} of {flow['sent']} lost,"
        f" silent for {text_of(flow['gapMs'] / 1000)}"
        for flow in seen["flows"]
        if flow["answered"] < flow["sent"]
    )
    return Verdict(ok and seen["sent"] > 0, text, (text, *flows))


def command(what: Command, place: str, code: int, output: str) -> Verdict:
    lines = tuple(output.strip().splitlines()[-_OUTPUT_LINES:])
    if code != what.exit:
        return Verdict(False, f"{place}: exit code {code}, expected {what.exit}", lines)
    if what.prints is not None and not re.search(what.prints, output):
        return Verdict(False, f"{place}: does not print {what.prints!r}", lines)
    return Verdict(True, f"{place}: exit code {code}", lines)


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One for a check that holds in several places: what is wrong, or that all is well."""
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    if not wrong:
        few = len(verdicts) <= _FEW
        message = (
            "; ".join(one.message for one in verdicts) if few else f"{len(verdicts)} of {len(verdicts)} as expected"
        )
        return Verdict(True, message, tuple(line for verdict in verdicts for line in verdict.seen))
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Verdict(False, wrong[0].message + more, tuple(line for verdict in wrong for line in verdict.seen))
