"""Test results as JUnit XML: the dialect that Jenkins, GitLab and the actions for GitHub read.

    testsuites > testsuite > testcase > failure | error | skipped, system-out

There is no standard; what is written here is what all of them have: counts and times as attributes, `failure` for what
is not as expected, `error` for what could not be found out, `skipped` for what was not reached. Written with the
standard library: a package for some twenty lines would be one more thing to keep up to date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree

Status = Literal["passed", "failed", "error", "skipped"]

_ELEMENTS: dict[Status, str] = {"failed": "failure", "error": "error", "skipped": "skipped"}
_COUNTED: tuple[tuple[str, Status], ...] = (("failures", "failed"), ("errors", "error"), ("skipped", "skipped"))
#: All but these may stand in XML 1.0 (section 2.2).
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test. `group`: what it belongs to; `message`: one line; `seen`: the evidence."""

    name: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    seen: tuple[str, ...] = ()
    group: str = ""


def junit(suite: str, outcomes: Sequence[Outcome], started: float, properties: Iterable[tuple[str, str]] = ()) -> str:
    """The document of one suite; `started` in Unix time."""
    totals = {"tests": str(len(outcomes)), **{key: str(_count(outcomes, status)) for key, status in _COUNTED}}
    totals["time"] = f"{sum(one.seconds for one in outcomes):.3f}"
    # The schema of Jenkins knows no `skipped` here.
    root = ElementTree.Element("testsuites", {"name": _text(suite), **totals})
    del root.attrib["skipped"]
    when = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    element = ElementTree.SubElement(root, "testsuite", {"name": _text(suite), **totals, "timestamp": when})
    if listed := list(properties):
        under = ElementTree.SubElement(element, "properties")
        for name, value in listed:
            ElementTree.SubElement(under, "property", {"name": name, "value": _text(value)})
    for outcome in outcomes:
        _testcase(element, suite, outcome)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _testcase(parent: ElementTree.Element, suite: str, outcome: Outcome) -> None:
    classname = f"{suite}.{outcome.group}" if outcome.group else suite
    attributes = {"classname": _text(classname), "name": _text(outcome.name), "time": f"{outcome.seconds:.3f}"}
    case = ElementTree.SubElement(parent, "testcase", attributes)
    evidence = _text("\n".join(outcome.seen))
    if outcome.status == "passed":
        if evidence:
            ElementTree.SubElement(case, "system-out").text = evidence
        return
    wrong = ElementTree.SubElement(case, _ELEMENTS[outcome.status], {"message": _text(outcome.message)})
    if outcome.status != "skipped":
        wrong.set("type", "expectation" if outcome.status == "failed" else "set-up")
        wrong.text = evidence or None


def _count(outcomes: Sequence[Outcome], status: Status) -> int:
    return sum(one.status == status for one in outcomes)


def _text(value: str) -> str:
    """What a program printed may hold what XML may not."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", value)
