"""docs/reflector.md against the code, in both directions: metrics, requests, events, conditions, codes, limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from reflector.configuration import PeerRange
from reflector.engine import path_choice
from reflector.server import admission, metrics, refusal_teller, requests
from reflector.server.file_limit import RESERVED
from tests.unit.test_docs import ROOT, rows, sections
from underlay import reflector_tables

PAGE = sections("reflector.md", 3)


def table(title: str) -> list[list[str]]:
    """The cells of all tables of a section, without their heads."""
    heads = {"column", "step", "code", "condition", "what", "event", "name", "request"}
    return [row for row in rows(PAGE[title]) if row[0] not in heads]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_metric_is_documented_and_no_other() -> None:
    documented = {(names(row[0])[0], row[1], tuple(names(row[2]))) for row in table("Metrics")}
    of_neighbours = {(row.name, "gauge", ("neighbor", *row.labels)) for row in metrics.NEIGHBOR_ROWS}
    assert documented == {(row.name, row.kind, row.labels) for row in metrics.ROWS} | of_neighbours
    for row in metrics.ROWS:
        assert row.name.endswith("_total") is (row.kind == "counter"), row.name


def test_every_request_is_documented_with_its_fields_and_no_other() -> None:
    documented = {names(row[0])[0]: (tuple(names(row[1])), set(names(row[2]))) for row in table("The admin socket")}
    known = {
        name: (request.needs, {*request.may, *(() if request.single else ("limit",))})
        for name, request in requests.REQUESTS.items()
    }
    assert documented == known


def events(path: Path) -> Iterator[str]:
    """The names that are given to a log in a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("log", "_log"):
                yield str(node.args[0].value)


def test_every_event_is_documented_and_no_other() -> None:
    modules = [*(ROOT / "reflector").rglob("*.py"), *(ROOT / "underlay").glob("reflect*.py")]
    known = {event for path in modules for event in events(path)}
    known |= {refusal_teller.SESSION_FAILED, refusal_teller.REFUSED}
    documented = {name for row in table("Log") for name in names(row[0])}
    assert documented == known


def test_every_condition_is_documented_and_has_words_and_no_other() -> None:
    known = {*metrics.CONDITIONS_OF_NEIGHBOURS, "foreign-block", "duplicate-announcer"}
    assert {names(row[0])[0] for row in table("Conditions")} == known
    assert set(reflector_tables.CONDITIONS) == known


def refusals(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
            assert isinstance(node.args[0], ast.Constant), f"{path}: a code that this test cannot see"
            yield str(node.args[0].value)


def test_every_reason_to_refuse_a_route_is_documented_and_no_other() -> None:
    known = {code for path in (ROOT / "reflector").rglob("*.py") for code in refusals(path)}
    assert {names(row[0])[0] for row in table("Refused")} == known


def refused_connections() -> Iterator[str]:
    yield from get_args(admission.RefusalCode)
    tree = ast.parse((ROOT / "reflector" / "server" / "server.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_refuse":
            code = node.args[1]
            yield from [str(code.value)] if isinstance(code, ast.Constant) else ()


def test_every_reason_to_refuse_a_connection_is_documented_and_no_other() -> None:
    documented = {name for row in table("Limits") if len(row) == 2 for name in names(row[0])}
    assert documented == set(refused_connections())


def test_the_limits_are_those_of_the_code() -> None:
    cells = [row[1] for row in table("Limits") if len(row) == 3]
    limits = admission.Limits(connections=0)
    assert cells == [
        f"{limits.per_address} at a time",
        f"{limits.burst} at once, then one each second",
        str(PeerRange.__dataclass_fields__["limit"].default),
        str(limits.waiting),
        f"the hard limit of open files (`ulimit -Hn`) less {RESERVED}, and less those that it dials itself",
        "`maxPrefixes`",
    ]
    assert (limits.interval, limits.patience) == (1.0, 5.0)


def test_the_steps_of_best_path_are_in_their_order() -> None:
    code = [name for name, _ in path_choice.STEPS_BEFORE_MED]
    code += [path_choice.MED, *(name for name, _ in path_choice.STEPS_AFTER_MED)]
    assert [row[0] for row in rows(PAGE["Routes"]) if row[0] != "step"] == code
