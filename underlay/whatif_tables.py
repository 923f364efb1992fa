"""The answers of `whatif` as a person reads them: the verdict first, then sessions, racks and pools, what is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from peering.whatif.answers import Answer, Change, LostPrefix, Row, session_json
from peering.whatif.every import Sort
from underlay.output import Format, console, print_data, print_table

#: What a person reads through; `-o json` has everything.
_MOST_ROWS = 24
_MOST_SESSIONS = 12
_MOST_NAMES = 4
_NO_RACK = "(no rack)"


def show_answer(found: Answer, output: Format) -> bool:
    """Prints it; whether something is cut off."""
    if output is not Format.table:
        print_data(found.to_json(), output)
        return found.cuts_off
    lines = (_verdict(found), *_own_lines(found), *_before_lines(found), *_width_lines(found), *_session_lines(found))
    for line in lines:
        console.print(line, markup=False)
    _print_rows(found.rows)
    _print_lost(found)
    return found.cuts_off


def _verdict(found: Answer) -> str:
    if not found.lost:
        return "Nothing else is cut off." if found.own else "Nothing is cut off."
    prefixes, nodes = {one.prefix for one in found.lost}, {one.node for one in found.lost}
    where = _listed(sorted({one.rack or _NO_RACK for one in found.lost}))
    how = "Cut off" if any(one.entirely for one in found.lost) else "Cut off in part"
    return f"{how}: {_count(len(prefixes), 'prefix', 'prefixes')} of {_count(len(nodes), 'node')} in {where}."


def _own_lines(found: Answer) -> list[str]:
    if not found.own:
        return []
    nodes = len({node for node, _ in found.own})
    prefixes = _count(len(found.own), "prefix", "prefixes")
    one = nodes == 1
    return [f"{_count(nodes, 'node')} {'fails and takes its' if one else 'fail and take their'} own {prefixes} along."]


def _before_lines(found: Answer) -> list[str]:
    """What is wrong without any failure."""
    wrong = [
        f"{row.rack or _NO_RACK} {_pool(row.pool)}"
        for row in found.rows
        if {"no", "partly"} & {row.from_racks.before, row.in_rack.before, row.from_outside.before}
    ]
    return [f"Not reachable from everywhere even before: {_listed(wrong)}."] if wrong else []


def _width_lines(found: Answer) -> list[str]:
    """The racks whose equal-cost width falls, those alike together."""
    falls: dict[tuple[int, int], dict[str, None]] = {}
    for row in found.rows:
        if row.widths is not None and row.widths[1] < row.widths[0]:
            falls.setdefault(row.widths, {})[row.rack or _NO_RACK] = None
    return [f"ECMP width {old} -> {new} in {_listed(list(racks))}." for (old, new), racks in sorted(falls.items())]


def _session_lines(found: Answer) -> list[str]:
    if not found.sessions:
        return ["No session goes."]
    ends = found.sessions_by_end()
    most = sorted(ends, key=lambda end: (-ends[end], end))
    verb = "goes" if len(found.sessions) == 1 else "go"
    lines = [f"{_count(len(found.sessions), 'session')} {verb}: {_listed([f'{end} {ends[end]}' for end in most], 8)}."]
    if len(found.sessions) <= _MOST_SESSIONS:
        for one in map(session_json, found.sessions):
            lines.append(f"  {one['end']} {one['name']} -> {one['peer']}")
    return lines


def _print_rows(rows: Sequence[Row]) -> None:
    shown = rows if len(rows) <= _MOST_ROWS else [row for row in rows if row.changed]
    columns = ["RACK", "POOL", "FAMILY", "PREFIXES", "FROM RACKS", "IN RACK", "FROM OUTSIDE", "TO OUTSIDE", "ECMP"]
    if shown:
        print_table("", columns, [_row(row) for row in shown[:_MOST_ROWS]])
    for count, what in ((len(rows) - len(shown), "as before"), (len(shown) - _MOST_ROWS, "more; -o json has all")):
        if count > 0:
            console.print(f"{_count(count, 'rack and pool', 'racks and pools')} {what}", markup=False)


def _row(row: Row) -> tuple[object, ...]:
    changes = (row.from_racks, row.in_rack, row.from_outside, row.to_outside)
    width = "-" if row.widths is None else _arrow(*row.widths)
    return (
        row.rack or "-",
        _pool(row.pool),
        "ipv6" if row.is_ipv6 else "ipv4",
        row.prefixes,
        *map(_change, changes),
        width,
    )


def _change(change: Change) -> str:
    return "-" if change.before is None else _arrow(change.before, change.after)


def _arrow(before: object, after: object) -> str:
    return f"{before}" if before == after else f"{before} -> {after}"


def _print_lost(found: Answer) -> None:
    if not found.lost:
        return
    racks = {row.rack for row in found.rows}
    columns = ["PREFIX", "NODE", "RACK", "POOL", "NOT REACHED ANY MORE"]
    print_table("", columns, [_lost_row(one, racks) for one in found.lost[:_MOST_ROWS]])
    if len(found.lost) > _MOST_ROWS:
        console.print(f"{len(found.lost) - _MOST_ROWS} more; -o json has all", markup=False)
    if any(one.assumed for one in found.lost):
        console.print("* assumed: which block the node will own is not known yet", markup=False)


def _lost_row(one: LostPrefix, racks: set[str | None]) -> tuple[object, ...]:
    if racks <= set(one.racks) and one.from_outside:
        where = ["from everywhere"]
    else:
        where = [f"from {_listed([rack or _NO_RACK for rack in one.racks])}"] if one.racks else []
        where += ["from outside"] if one.from_outside else []
    where += ["to outside"] if one.to_outside else []
    mark, partly = "*" if one.assumed else "", "" if one.entirely else " (in part)"
    return (one.prefix + mark, one.node, one.rack or "-", _pool(one.pool), ", ".join(where) + partly)


def _pool(name: str | None) -> str:
    return "loopbacks" if name is None else name or "(no pool)"


def show_every(sorts: Sequence[Sort], output: Format) -> bool:
    """Prints what every single failure does, by sort; whether one of them cuts something off."""
    cutting = [one for one in sorts if one.answer.cuts_off]
    if output is not Format.table:
        total = sum(len(one.names) for one in sorts)
        data = {"failures": total, "cutsOff": bool(cutting), "sorts": [one.to_json() for one in sorts]}
        print_data(data, output)
        return bool(cutting)
    bad, total = sum(len(one.names) for one in cutting), sum(len(one.names) for one in sorts)
    verdict = (
        f"{bad} of {total} single failures cut something off."
        if bad
        else f"None of {total} single failures cuts anything off."
    )
    console.print(f"{verdict} They are of {_count(len(sorts), 'sort')}:", markup=False)
    shown = [*cutting, *(one for one in sorts if not one.answer.cuts_off)]
    print_table("", ["FAILURE", "ALIKE", "SESSIONS", "OWN PREFIXES", "CUT OFF", "ECMP"], map(_sort_row, shown))
    return bool(cutting)


def _sort_row(one: Sort) -> tuple[object, ...]:
    found = one.answer
    nodes = {lost.node for lost in found.lost}
    cut = (
        f"{_count(len(found.lost), 'prefix', 'prefixes')} of {_count(len(nodes), 'node')}" if found.lost else "nothing"
    )
    widths = sorted({row.widths for row in found.rows if row.widths and row.widths[0] != row.widths[1]})
    return (
        one.names[0],
        len(one.names),
        len(found.sessions),
        len(found.own),
        cut,
        ", ".join(_arrow(*width) for width in widths),
    )


def _listed(names: Iterable[str], most: int = _MOST_NAMES) -> str:
    """The first few, and how many more."""
    known = list(names)
    rest = len(known) - most
    return ", ".join(known[:most]) + (f" and {rest} more" if rest > 0 else "")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
