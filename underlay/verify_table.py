"""What `verify` shows of sessions: a row for each, its JSON, and the line at the end. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fabric_templates.verification.end import UP, End
from fabric_templates.verification.pairs import Pair, Side
from peering.problems import Problem

#: `->` and `<-` are prefixes sent and accepted, in either direction.
COLUMNS = ("END", "SESSION", "STATE", "FAR END", "SESSION", "STATE", "->", "<-")


def rows(pairs: Iterable[Pair]) -> Iterator[Sequence[object]]:
    for pair in pairs:
        one, other = pair.sides
        yield (*_cells(one), *_cells(other), _way(one.end, other.end), _way(other.end, one.end))


def session_json(pair: Pair) -> dict[str, Any]:
    """What both ends say of a session; null is what is not known."""
    return {"ends": [_side_json(side) for side in pair.sides], "established": pair.is_up if pair.told else None}


def summary(pairs: Sequence[Pair], problems: Iterable[Problem]) -> str:
    """`16 sessions: 12 up at both ends, 4 up at the one end that tells; 0 faults`."""
    counts = Counter(map(_verdict, pairs))
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])
    faults = sum(problem.severity == "error" for problem in problems)
    return f"{len(pairs)} sessions{f': {told}' if told else ''}; {faults} fault{'' if faults == 1 else 's'}"


_VERDICTS = ("up at both ends", "up at the one end that tells", "not up", "of which nothing is known")


def _verdict(pair: Pair) -> str:
    if any(side.is_missing for side in pair.sides):
        return _VERDICTS[2]
    if not pair.told:
        return _VERDICTS[3]
    return _VERDICTS[2 if not pair.is_up else 0 if len(pair.told) == len(pair.sides) else 1]


def _cells(side: Side) -> tuple[str, str, str]:
    return side.ref, side.path.rpartition(" ")[2], _state(side)


def _state(side: Side) -> str:
    if side.end is not None:
        return side.end.state
    return "missing" if side.is_missing else ""


def _way(sender: End | None, receiver: End | None) -> str:
    if sender is None and receiver is None:
        return ""
    if (sender and sender.state != UP) or (receiver and receiver.state != UP):
        return ""
    return f"{_count(sender.sent if sender else None)}/{_count(receiver.accepted if receiver else None)}"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _reason(side: Side) -> str:
    """A switch goes on telling how the last session ended while the next one is up."""
    end = side.end
    return end.reason if end and (not end.is_up or side.kind == "node") else ""


def _side_json(side: Side) -> dict[str, Any]:
    end, session = side.end, side.session
    return {
        "end": side.ref,
        "session": session.name if session else None,
        "address": session.local_address if session else None,
        "state": _state(side) or None,
        "reason": _reason(side),
        "sent": end.sent if end else None,
        "received": end.received if end else None,
        "accepted": end.accepted if end else None,
    }
