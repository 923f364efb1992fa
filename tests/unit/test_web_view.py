"""What the page shows for what is there: counted as `underlay status` does, drawn, and every text escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, cast

import pytest

from bench.fabric_sample import fabric
from peering.compile import Compiler
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec
from tests.unit.samples import dual_tor, sample
from tests.unit.web_world import NOW, block, known_world, report, resource, seen_world, world
from underlay.reports import OVERDUE_S
from underlay.web_drawing import MOST_RACKS, drawing, figure, short
from underlay.web_facts import Count, Seen, known, natural, seen, with_reports
from underlay.web_ipam import MOST_BLOCKS, ipam_of, number
from underlay.web_rendering import Away, html
from underlay.web_view import (
    Page,
    ipam_page,
    node_page,
    overview,
    rack_page,
    reflector_page,
    summary,
    switch_page,
)

NASTY = "<script>alert('1')</script>&\"<b>"


class Words(HTMLParser):
    """The text of a page, its tags and their attributes; and that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def shown(page: Page | None, what: Seen, away: Away | None = None) -> Words:
    assert page is not None
    return Words(html(page, what.now, 1, summary(what), away))


def big(racks: int, nodes: int, reflectors: int = 0) -> Seen:
    return seen(known(Compiler(), fabric(nodes, racks, reflectors), ()), NOW)


# What is counted


def test_the_line_at_the_top_counts_what_is_declared() -> None:
    what = seen_world()
    top = summary(what)
    assert (top.sessions, top.reporting, top.nodes) == (Count(up=15, down=1), 4, 4)
    assert (top.problems, top.is_good, top.age) == ("no other problems", False, 12.0)


def test_a_node_that_never_spoke_and_one_that_is_late_are_unknown() -> None:
    what = seen_world(report(dual_tor(), "node-3", age=OVERDUE_S), without=["node-4"])
    top = summary(what)
    assert (top.sessions, top.reporting, top.nodes) == (Count(up=7, down=1, unknown=8), 2, 4)
    assert top.problems == "2 errors"
    reasons = {row.node: row.reason for row in what.rows if row.state == "Unknown"}
    assert reasons == {
        "node-3": "no report for 2m15s: no speaker runs on the node",
        "node-4": "no speaker has ever reported",
    }


def test_what_the_plan_does_not_have_is_shown_and_not_counted() -> None:
    gone = replace(report(dual_tor(), "node-1"), name="node-9")
    gone = replace(gone, spec=gone.spec.model_copy(update={"node": "node-9"}))
    what = seen_world(gone)
    assert what.total == Count(up=15, down=1)
    assert {row.declared for row in what.by_node["node-9"]} == {False}
    assert "not declared (any more)" in shown(node_page(what, "node-9"), what).text


def test_a_session_that_the_speaker_does_not_know_yet_is_unknown() -> None:
    full = report(dual_tor(), "node-1")
    rows = cast(BGPNodeStatusSpec, full.spec).sessions[1:]
    what = seen_world(replace(full, spec=full.spec.model_copy(update={"sessions": rows})))
    assert [(row.session, row.reason) for row in what.rows if row.state == "Unknown"] == [
        ("tor-1a-ipv4", "the node's speaker does not report it")
    ]


def test_all_is_well_only_when_it_is() -> None:
    up = report(dual_tor(), "node-1")
    rows = tuple(row.model_copy(update={"state": "Established"}) for row in cast(BGPNodeStatusSpec, up.spec).sessions)
    good = replace(up, spec=up.spec.model_copy(update={"sessions": rows}))
    assert summary(seen_world(good)).is_good
    assert not summary(seen_world()).is_good
    assert not summary(seen_world(good, now=NOW + OVERDUE_S)).is_good


@pytest.mark.parametrize(
    ("count", "health"),
    [
        (Count(), "none"),
        (Count(up=2), "up"),
        (Count(down=2), "down"),
        (Count(up=1, down=1), "partly"),
        (Count(down=1, unknown=1), "down"),
        (Count(up=1, unknown=1), "unknown"),
        (Count(unknown=2), "unknown"),
    ],
)
def test_health_in_a_word(count: Count, health: str) -> None:
    assert count.health == health


def test_new_reports_need_no_new_plan() -> None:
    before = known_world()
    after = with_reports(before, world(without=["node-1"]))
    assert after.plan is before.plan
    assert seen(after, NOW).total == Count(up=12, unknown=4)


def test_passwords_are_not_asked_for_and_so_not_missed() -> None:
    rack = next(one for one in dual_tor() if one.ref == "Rack/rack-1")
    document = rack.to_document()["spec"]
    secret = {"secretKeyRef": {"name": "fabric", "key": "password"}}
    what = seen_world(resource("Rack", "rack-1", {**document, "password": secret}))
    assert what.known.problems == ()
    text = shown(switch_page(what, "tor-1a"), what).text
    assert "<secret:fabric/password>" in text


# What is drawn


def test_a_rack_is_drawn_with_its_switches_and_a_line_for_each_pair() -> None:
    what = seen_world()
    rack = figure(what, "rack-1")
    assert [(box.label, box.kind, box.health, box.href) for box in rack.boxes] == [
        ("tor-1a", "switch", "up", "/switches/tor-1a"),
        ("tor-1b", "switch", "partly", "/switches/tor-1b"),
        ("node-1", "node", "partly", "/nodes/node-1"),
        ("node-2", "node", "up", "/nodes/node-2"),
    ]
    assert [(line.title, line.health, line.mark) for line in rack.lines] == [
        ("tor-1a and node-1: 2 of 2 established", "up", ""),
        ("tor-1b and node-1: 1 of 2 established", "partly", "1/2"),
        ("tor-1a and node-2: 2 of 2 established", "up", ""),
        ("tor-1b and node-2: 2 of 2 established", "up", ""),
    ]


@pytest.mark.parametrize("nodes", [1, 2, 6, 7, 16, 17, 40])
@pytest.mark.parametrize("reflectors", [0, 3])
def test_nothing_overlaps_and_every_line_ends_at_a_box(nodes: int, reflectors: int) -> None:
    one = figure(big(1, nodes, reflectors), "rack-1")
    boxes = [*one.boxes, *one.squares, one.frame]
    for box in boxes:
        assert min(box.x, box.y) >= 0
        assert box.x + box.width <= one.width
        assert box.y + box.height <= one.height
    for a in boxes[:-1]:
        for b in boxes[:-1]:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            assert a is b or apart, (a.label, b.label)
    for line in one.lines:
        ends = [(line.x1, line.y1), (line.x2, line.y2)]
        for x, y in ends:
            assert any(b.x <= x <= b.x + b.width and y in (b.y, b.y + b.height) for b in boxes), line.title


def test_what_is_in_a_row_stands_in_the_middle() -> None:
    rack = figure(big(1, 6, 3), "rack-1")
    for kind, many in (("switch", 2), ("node", 6), ("reflector", 3)):
        middles = [box.middle for box in rack.boxes if box.kind == kind]
        assert len(middles) == many
        assert sum(middles) / many == rack.width / 2


def test_marks_are_apart_where_lines_cross() -> None:
    places = [(line.mx, line.my) for line in figure(seen_world(), "rack-1").lines]
    assert min(abs(a - c) + abs(b - d) for a, b in places for c, d in places if (a, b) != (c, d)) > 30
    assert len(set(places)) == 4


def test_many_nodes_of_a_rack_are_squares_with_one_line_to_each_switch() -> None:
    rack = figure(big(1, 20), "rack-1")
    assert [box.href for box in rack.squares] == [f"/nodes/node-{n}" for n in range(1, 21)]
    assert [line.title.partition(":")[0] for line in rack.lines] == ["tor-1a and rack-1", "tor-1b and rack-1"]


def test_many_racks_are_tiles_in_the_order_in_which_people_count() -> None:
    few, many = drawing(big(MOST_RACKS, MOST_RACKS)), drawing(big(MOST_RACKS + 1, 50))
    assert (len(few.figures), len(few.tiles)) == (MOST_RACKS, 0)
    assert [tile.name for tile in many.tiles] == [f"rack-{n}" for n in range(1, MOST_RACKS + 2)]
    assert {tile.nodes for tile in many.tiles} == {2}


def test_a_mesh_is_arcs_between_nodes_that_stand_in_no_rack() -> None:
    from_sample = [*sample("calico-mesh"), *(one for one in dual_tor() if one.kind == "Node")]
    what = seen(known(Compiler(), from_sample, ()), NOW)
    (only,) = drawing(what).figures
    arcs = [line for line in only.lines if line.bend]
    assert only.name == "in no rack"
    assert len(arcs) == len([box for box in only.boxes if box.kind == "node"]) * 3 / 2


def test_a_fabric_of_which_nothing_is_declared_has_a_page() -> None:
    what = seen(known(Compiler(), [], ()), NOW)
    assert "Nothing is declared." in shown(overview(what), what).text


def test_names_are_cut_in_the_middle() -> None:
    assert short("worker-eu-west-1a-0042", 14) == "worker…1a-0042"
    assert [len(short("x" * n, 14)) for n in (13, 14, 15, 40)] == [13, 14, 14, 14]


def test_the_order_of_names() -> None:
    assert sorted(["n-10", "n-9", "n", "n-9b", "m-1"], key=natural) == ["m-1", "n", "n-9", "n-9b", "n-10"]


# Pages


def test_the_first_page_of_a_small_fabric_has_every_session() -> None:
    what = seen_world()
    words = shown(overview(what), what)
    assert "15 of 16 sessions established" in words.text
    assert "node-1 tor-1b 10.1.2.0 65012 Idle 1h02m 0 0 0 hold timer expired" in words.text
    assert words.words.count("Established") == 15


def test_the_first_page_of_a_large_fabric_has_those_that_are_not_established() -> None:
    what = big(25, 100)
    words = shown(overview(what), what)
    assert words.words.count("Unknown") == 200
    assert "And 200 more" in words.text


def test_a_node_is_shown_with_its_blocks_and_what_is_wrong_with_it() -> None:
    what = seen_world(report(dual_tor(), "node-2", age=OVERDUE_S))
    text = shown(node_page(what, "node-1"), what).text
    assert "10.244.0.0/26" in text
    assert "Routes in the kernel 7" in text
    late = shown(node_page(what, "node-2"), what).text
    assert "2m15s ago (overdue)" in late
    assert "borrowed" in late
    assert late.count("no speaker runs on the node") == 5


def test_a_switch_is_shown_with_both_ends_and_its_configuration() -> None:
    what = seen_world()
    page = switch_page(what, "tor-1b")
    text = shown(page, what).text
    assert "node-1 10.1.2.0 10.1.2.1 65101 Idle 1h02m 0 0 hold timer expired" in text
    assert "spine-1-ipv4 any 10.254.1.2 65000 nobody tells" in text
    assert "router bgp 65012" in text
    assert page is not None
    assert page.values["others"] == []


def test_a_switch_that_takes_whoever_dials_in_shows_who_did() -> None:
    rack = next(one for one in dual_tor() if one.ref == "Rack/rack-1")
    what = seen_world(resource("Rack", "rack-1", {**rack.to_document()["spec"], "neighbors": "listen"}))
    page = switch_page(what, "tor-1b")
    assert page is not None
    assert [pair.row.node for pair in page.values["pairs"] if pair.row] == ["node-1", "node-1", "node-2", "node-2"]
    assert "Takes whoever comes from 10.1.2.0/24, fd00:1:2::/64" in shown(page, what).text


def test_a_node_that_a_switch_does_not_know_any_more_is_shown_with_it() -> None:
    gone = replace(report(dual_tor(), "node-2"), name="node-9")
    what = seen_world(replace(gone, spec=gone.spec.model_copy(update={"node": "node-9"})))
    page = switch_page(what, "tor-1b")
    assert page is not None
    assert [row.node for row in page.values["others"]] == ["node-9", "node-9"]
    assert page.values["count"] == Count(up=3, down=1)


def test_a_switch_that_cannot_be_rendered_says_why() -> None:
    tor = next(one for one in dual_tor() if one.ref == "Switch/tor-1a")
    odd = resource("Switch", "tor-1a", {**tor.to_document()["spec"], "platform": "abacus"})
    what = seen_world(odd)
    text = shown(switch_page(what, "tor-1a"), what).text
    assert "It cannot be rendered:" in text
    assert "abacus" in text


def test_a_rack_and_a_reflector_have_pages() -> None:
    what = seen_world()
    assert "7 of 8, 1 down" in shown(rack_page(what, "rack-1"), what).text
    many = big(1, 2, 1)
    assert shown(reflector_page(many, "rr-1"), many).words.count("Declared") >= 4


@pytest.mark.parametrize("make", [node_page, switch_page, rack_page, reflector_page])
def test_there_is_no_page_of_what_is_not_there(make: Any) -> None:
    assert make(seen_world(), "nobody") is None


def test_away_is_said_at_the_top() -> None:
    what = seen_world()
    text = shown(overview(what), what, Away(NOW - 65, 65.0, "the disk is on fire")).text
    assert "The store does not answer since 2027-01-15 07:58:55 UTC (1m05s): the disk is on fire." in text
    assert "What is shown is what was known then." in text


# Addresses


def test_pools_blocks_and_who_uses_what() -> None:
    what = seen_world()
    found = ipam_of(what.known)
    v4, v6 = found.pools
    assert (v4.name, v4.blocks, v4.of_blocks, v4.addresses, v4.of_addresses) == ("pods-v4", 2, 1024, 3, 65536)
    assert (v6.blocks, v6.of_blocks) == (0, 1 << 74)
    assert [(one.address, one.owner, one.node, one.holder) for one in found.borrowed] == [
        ("10.244.0.1", "node-1", "node-2", "shop/cart-1")
    ]
    assert [(one.address, one.holder) for one in found.services] == [("10.244.9.7", "lb.shop.web")]
    assert "10.244.9.7" in shown(ipam_page(what), what).text


def test_of_very_many_blocks_the_fullest_are_shown() -> None:
    many = [block(f"10.244.{n}.64/26", "host:node-3") for n in range(MOST_BLOCKS)]
    what = seen_world(*many)
    page = ipam_page(what)
    blocks = page.values["ipam"].blocks
    assert (len(blocks), page.values["ipam"].total) == (MOST_BLOCKS, MOST_BLOCKS + 2)
    assert {blocks[0]["cidr"], blocks[1]["cidr"]} == {"10.244.0.0/26", "10.244.9.0/26"}


def test_large_numbers_are_powers() -> None:
    assert [number(n) for n in (0, 65536, 1 << 80, (1 << 80) - 1)] == ["0", "65,536", "2^80", "about 2^79"]


# Safety


def test_what_others_write_is_text_and_nothing_else() -> None:
    """A neighbour may write into its NOTIFICATION what it likes (RFC 9003), and so may who names pods or peers."""
    bad = report(dual_tor(), "node-1", reason=NASTY)
    bad = replace(bad, spec=bad.spec.model_copy(update={"problems": (NASTY,)}))
    pod = {"ordinal": 3, "namespace": NASTY, "pod": NASTY, "handle": NASTY, "node": "node-2"}
    tor = next(one for one in dual_tor() if one.ref == "Switch/tor-1b").to_document()["spec"]
    tor["platform"] = NASTY
    labelled = cast(Resource, dual_tor().get("Node", "node-1"))
    labelled = replace(labelled, annotations={"description": NASTY})
    what = seen_world(bad, labelled, block("10.244.0.0/26", "host:node-1", pod), resource("Switch", "tor-1b", tor))
    pages = [overview(what), node_page(what, "node-1"), switch_page(what, "tor-1b"), rack_page(what, "rack-1")]
    for page in [*pages, ipam_page(what)]:
        words = shown(page, what, Away(NOW, 0.0, NASTY))
        assert words.tags.count("script") == 1
        assert not [name for name, _ in words.attributes if name == "style" or name.startswith("on")]
        assert NASTY in words.text


@pytest.mark.parametrize("path", ["style.css", "changes.js"])
def test_nothing_is_had_from_elsewhere(path: str) -> None:
    from importlib.resources import files  # noqa: PLC0415

    text = (files("underlay") / "web_pages" / path).read_text()
    assert not re.findall(r"https?:|//[a-z]|@import|url\(", text.replace("\n// ", "\n"))
