"""What a change does to the sessions, for a person: a line for each end or, when they are many, counts and examples.

A summary has a line for each thing that happens and whoever declared the sessions, with the kinds of ends. The
examples begin with what goes down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from peering.plan_diff import SessionChange, What
from peering.session_loss import Tally
from underlay.output import console

_FEW = 20
_EXAMPLES = 10
_ORDER: tuple[What, ...] = ("removed", "restarts", "changed", "added")
_WORDS: dict[What, str] = {"restarts": "restart"}
_STYLES = {"+": "green", "-": "red", "~": "yellow"}


def print_changes(changes: Sequence[SessionChange], counted: Tally, *, verbose: bool) -> None:
    """All lines if they are few or `verbose`, else the summary and some; then the count. Nothing if nothing changes."""
    shown = changes
    if len(changes) > _FEW and not verbose:
        shown = sorted(changes, key=lambda change: _ORDER.index(change.what))[:_EXAMPLES]
        for sign, line in summary(changes):
            console.print(line, markup=False, style=_STYLES[sign])
    for change in shown:
        console.print(change.line(), markup=False, style=_STYLES[change.sign])
    if len(shown) < len(changes):
        console.print(f"... and {len(changes) - len(shown)} more (--verbose lists all)", markup=False)
    if changes:
        console.print(counted.line(), markup=False)


def summary(changes: Sequence[SessionChange]) -> list[tuple[str, str]]:
    """(sign, line) for each thing that happens and each source: `- BGPPeer/rr: 12 removed (8 node, 4 reflector)`."""
    groups: dict[tuple[int, str, str], Counter[str]] = {}
    for change in changes:
        key = (_ORDER.index(change.what), change.session.source.removeprefix("reverse:"), change.sign)
        groups.setdefault(key, Counter())[change.end.partition("/")[0]] += 1
    return [
        (sign, _line(sign, source, _ORDER[order], groups[order, source, sign]))
        for order, source, sign in sorted(groups)
    ]


def _line(sign: str, source: str, what: What, ends: Counter[str]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(ends.items()))
    return f"{sign} {source}: {ends.total()} ends {_WORDS.get(what, what)} ({kinds})"
