"""The drawing of the fabric: where each box, line and mark of it is. Pure geometry, in pixels; a template prints it.

    a rack:   [tor-1a] [tor-1b]        switches, and what else is dialled and is not ours
                  | \\ / |              a line for all sessions between two ends
            +-----------------+
            | [node-1] [node-2]|        from `_MOST_NODES` on small squares, and a line for all of them
            +-----------------+
                 [rr-1]                reflectors

A rack is a figure by itself, so that figures stand beside each other on a wall and below each other on a phone; who
serves several racks is drawn in each. From `MOST_RACKS` on a rack is a tile with its counts. Colour never says what the
dash of a line, the mark on it or the shape of a box does not say too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from underlay.web_facts import NO_RACK, Count, Health, Row, Seen, count

#: More racks than these are drawn as tiles.
MOST_RACKS = 24
#: More nodes of a rack are drawn as squares.
_MOST_NODES = 6
#: More ends above or below a rack are one box.
_MOST_PEERS = 6

_BOX, _HIGH, _GAP, _PAD = 112, 34, 18, 16
_LEVEL = 84
_TITLE = 22
_SQUARE, _SQUARE_STEP, _SQUARES = 14, 20, 16
#: So far along a line is its mark: lines cross in the middle.
_MARK_AT = 0.7
_LETTERS = 14


@dataclass(frozen=True, slots=True)
class Box:
    """`label` is cut to what fits; `title` is whole, for a pointer that rests and for screen readers."""

    x: float
    y: float
    width: float
    height: float
    label: str
    title: str
    href: str
    health: Health
    kind: str

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Line:
    """From one end to another; with `bend` an arc that hangs so far below. `mark` is written on it at `mx`, `my`."""

    x1: float
    y1: float
    x2: float
    y2: float
    health: Health
    title: str
    mark: str
    mx: float
    my: float
    bend: float = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A rack: its frame, what is in it and around it."""

    name: str
    href: str
    title: str
    width: float
    height: float
    frame: Box
    boxes: Sequence[Box]
    squares: Sequence[Box]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rack among many."""

    name: str
    label: str
    href: str
    nodes: int
    count: Count


@dataclass(frozen=True, slots=True)
class Drawing:
    """Either figures or tiles."""

    figures: Sequence[Figure] = ()
    tiles: Sequence[Tile] = ()


def drawing(what: Seen) -> Drawing:
    """Racks by name, and at the end the nodes that stand in none."""
    racks = [*what.known.racks, *((NO_RACK,) if what.nodes_of.get(NO_RACK) else ())]
    if len(racks) > MOST_RACKS:
        return Drawing(tiles=[_tile(what, rack) for rack in racks])
    return Drawing(figures=[figure(what, rack) for rack in racks])


def rack_name(rack: str) -> str:
    """What a person calls it."""
    return rack or "in no rack"


def rack_href(rack: str) -> str:
    """The page of a rack; the nodes that stand in none are all on the first."""
    return f"/racks/{rack}" if rack else "/"


def short(text: str, letters: int = _LETTERS) -> str:
    """Cut in the middle: names of machines differ at both ends."""
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[head + 1 - letters :]}"


def _tile(what: Seen, rack: str) -> Tile:
    name = rack_name(rack)
    nodes = len(what.nodes_of.get(rack, ()))
    return Tile(name, short(name), rack_href(rack), nodes, count(what.by_rack.get(rack, ())))


def figure(what: Seen, rack: str) -> Figure:
    """One rack with all that its nodes speak with."""
    nodes = what.nodes_of.get(rack, ())
    rows = [row for row in what.by_rack.get(rack, ()) if row.declared]
    above, below = _peers(rows, what.known.racks.get(rack, ()))
    one_by_one = len(nodes) <= _MOST_NODES
    wide = max(len(above), len(below), len(nodes) if one_by_one else 0, 1)
    squares = 0 if one_by_one else min(len(nodes), _SQUARES) * _SQUARE_STEP
    width = max(wide * (_BOX + _GAP) - _GAP, squares) + 4 * _PAD
    top = _PAD / 2
    upper = _line_up(above, width, top, rows)
    frame_y = top + (_HIGH + _LEVEL if above else 0)
    inner = _node_boxes(what, nodes, width, frame_y + _TITLE) if one_by_one else ()
    dots = () if one_by_one else _squares(what, nodes, width, frame_y + _TITLE)
    arcs = _arcs(rows, inner)
    high = max((box.y + box.height for box in (*inner, *dots)), default=frame_y + _TITLE) - frame_y + _PAD
    high += 26 if arcs else 0
    frame = Box(
        _PAD, frame_y, width - 2 * _PAD, high, rack_name(rack), rack_name(rack), rack_href(rack), "none", "rack"
    )
    lower = _line_up(below, width, frame_y + high + _LEVEL, rows)
    lines = [*_lines(rows, upper, inner, frame, down=False), *_lines(rows, lower, inner, frame, down=True), *arcs]
    total = count(rows)
    return Figure(
        name=rack_name(rack),
        href=rack_href(rack),
        title=f"{rack_name(rack)}: {len(nodes)} nodes, {total.up} of {total.total} sessions established",
        width=width,
        height=(frame_y + high + (_LEVEL + _HIGH if below else 0)) + _PAD / 2,
        frame=frame,
        boxes=[*upper.values(), *inner, *lower.values()],
        squares=dots,
        lines=lines,
    )


Peers = dict[str, tuple[str, str]]


def _peers(rows: Iterable[Row], switches: Sequence[str]) -> tuple[Peers, Peers]:
    """What stands above and below, as the drawing calls it: its label and where it leads."""
    above: Peers = {f"switch/{name}": (name, f"/switches/{name}") for name in switches}
    outside: Peers = {}
    below: Peers = {}
    for row in rows:
        kind = row.peer.partition("/")[0]
        if kind == "switch":
            above.setdefault(row.peer, (row.peer_name, f"/switches/{row.peer_name}"))
        elif kind == "reflector":
            below.setdefault(row.peer, (row.peer_name, f"/reflectors/{row.peer_name}"))
        elif kind != "node":
            outside.setdefault(_end(row), (row.peer_address or row.session, ""))
    return above | outside, dict(sorted(below.items()))


def _end(row: Row) -> str:
    """Who is at the far end, as lines have it: who is none of ours is known by its address."""
    return row.peer if "/" in row.peer else f"external/{row.peer_address or row.session}"


def _line_up(peers: Peers, width: float, y: float, rows: Iterable[Row]) -> dict[str, Box]:
    """A row of boxes in the middle. Where they are too many, what is left over is not drawn: tables have it."""
    shown = list(peers.items())[:_MOST_PEERS]
    of = defaultdict(list)
    for row in rows:
        of[_end(row)].append(row)
    x = (width - len(shown) * (_BOX + _GAP) + _GAP) / 2
    boxes = {}
    for position, (end, (label, href)) in enumerate(shown):
        found = count(of[end])
        title = f"{end.replace('/', ' ')}: {found.up} of {found.total} sessions with this rack established"
        kind = end.partition("/")[0]
        boxes[end] = Box(x + position * (_BOX + _GAP), y, _BOX, _HIGH, short(label), title, href, found.health, kind)
    return boxes


def _node_boxes(what: Seen, nodes: Sequence[str], width: float, y: float) -> list[Box]:
    x = (width - len(nodes) * (_BOX + _GAP) + _GAP) / 2
    return [_node(what, name, x + n * (_BOX + _GAP), y, _BOX, _HIGH) for n, name in enumerate(nodes)]


def _squares(what: Seen, nodes: Sequence[str], width: float, y: float) -> list[Box]:
    columns = min(len(nodes), _SQUARES)
    x = (width - columns * _SQUARE_STEP + _SQUARE_STEP - _SQUARE) / 2
    return [
        _node(what, name, x + n % columns * _SQUARE_STEP, y + n // columns * _SQUARE_STEP, _SQUARE, _SQUARE)
        for n, name in enumerate(nodes)
    ]


def _node(what: Seen, name: str, x: float, y: float, width: float, height: float) -> Box:
    found = count(what.by_node.get(name, ()))
    title = f"node {name}: {found.up} of {found.total} sessions established"
    return Box(x, y, width, height, short(name), title, f"/nodes/{name}", found.health, "node")


def _lines(
    rows: Iterable[Row], peers: Mapping[str, Box], nodes: Sequence[Box], frame: Box, *, down: bool
) -> list[Line]:
    """One for each pair of ends; to the frame where nodes are squares."""
    at = {box.href.removeprefix("/nodes/"): box for box in nodes}
    of: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        of[_end(row), row.node if at else ""].append(row)
    lines = []
    for (end, name), found in of.items():
        far = peers.get(end)
        if far is not None:
            near = at.get(name, frame)
            x = near.middle if at else min(max(far.middle, frame.x + 10), frame.x + frame.width - 10)
            ways = (far.y, near.y + near.height) if down else (far.y + far.height, near.y)
            lines.append(_line(far, x, ways, end, name or frame.label, count(found)))
    return lines


def _line(far: Box, x: float, ways: tuple[float, float], end: str, name: str, found: Count) -> Line:
    y1, y2 = ways
    mx, my = far.middle + (x - far.middle) * _MARK_AT, y1 + (y2 - y1) * _MARK_AT
    title = f"{end.partition('/')[2]} and {name}: {found.up} of {found.total} established"
    return Line(far.middle, y1, x, y2, found.health, title, _mark(found), mx, my)


def _arcs(rows: Iterable[Row], nodes: Sequence[Box]) -> list[Line]:
    """Sessions between the nodes of a rack, below their boxes."""
    at = {box.href.removeprefix("/nodes/"): box for box in nodes}
    of: dict[frozenset[str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.peer.startswith("node/") and row.peer_name in at:
            of[frozenset((row.node, row.peer_name))].append(row)
    lines = []
    for one, other in combinations(at, 2):
        found = count(of.get(frozenset((one, other)), ()))
        if found.total:
            a, b = at[one], at[other]
            bend = 14 + 8 * (round((b.x - a.x) / (_BOX + _GAP)) - 1)
            title = f"{one} and {other}: {found.up} of {found.total} ends established"
            y, middle = a.y + a.height, (a.middle + b.middle) / 2
            lines.append(Line(a.middle, y, b.middle, y, found.health, title, _mark(found), middle, y + bend / 2, bend))
    return lines


def _mark(found: Count) -> str:
    """Beside the dash of the line: nothing where all is well."""
    return {"up": "", "down": "×", "unknown": "?", "none": ""}.get(found.health, f"{found.up}/{found.total}")
