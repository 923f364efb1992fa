"""JUnit XML: the structure that readers of it have in common, whatever the texts hold."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from underlay.junit import Outcome, junit

GOLDEN = Path(__file__).parent / "golden" / "lab_test" / "report.xml"
OUTCOMES = [
    Outcome("lab up", "passed", 10.25),
    Outcome("sessions all", "passed", 0.5, "2 sessions established", ("tor: 10.0.0.1 Established",)),
    Outcome("route", "failed", 30.0004, "tor IPv4: no route", ("tor IPv4: no route", "<&\x1b[31m>")),
    Outcome("ping", "error", 1.0, "tor: `ping`: not found", ("not found",), "a link goes"),
    Outcome("later", "skipped", 0.0, "the lab is not there", (), "a link goes"),
]


#: Element -> its attributes and children, as the schema that Jenkins checks reports with has them (junit-10.xsd).
SCHEMA = {
    "testsuites": ("name time tests failures errors", "testsuite"),
    "testsuite": ("name tests failures errors time skipped timestamp", "properties testcase"),
    "properties": ("", "property"),
    "property": ("name value", ""),
    "testcase": ("name time classname", "skipped error failure system-out"),
    "failure": ("type message", ""),
    "error": ("type message", ""),
    "skipped": ("type message", ""),
    "system-out": ("", ""),
}


def document(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_the_document_is_the_one_that_was_looked_at() -> None:
    text = junit("dual-tor", OUTCOMES, 1_700_000_000.0, [("topology", "dual-tor.clab.yml")])
    assert text == GOLDEN.read_text()


def test_counts_are_those_of_the_test_cases() -> None:
    root = document(junit("dual-tor", OUTCOMES, 0.0))
    (suite,) = root
    counts = {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert {key: suite.get(key) for key in counts} == counts
    assert {key: root.get(key) for key in counts} == {**counts, "skipped": None}
    cases = suite.findall("testcase")
    assert [len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")] == [1, 1, 1]
    assert float(root.get("time", "")) == 41.75
    assert [case.get("classname") for case in cases] == ["dual-tor"] * 3 + ["dual-tor.a link goes"] * 2


def test_what_a_failure_saw_is_its_text_and_what_passed_has_it_as_output() -> None:
    suite = document(junit("x", OUTCOMES, 0.0))[0]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("tor IPv4: no route", "tor IPv4: no route\n<&\ufffd[31m>")
    assert suite.findtext("testcase/system-out") == "tor: 10.0.0.1 Established"


def test_characters_that_xml_may_not_have_are_replaced() -> None:
    bad = "\x00\x08\x1f\ud800\ufffe"
    suite = document(junit(bad, [Outcome(bad, "failed", 0, bad, (bad,), bad)], 0.0, [("p", bad)]))[0]
    assert suite.get("name") == "\ufffd" * len(bad)
    assert suite.findtext("testcase/failure") == "\ufffd" * len(bad)


def test_elements_and_attributes_are_those_of_the_schema() -> None:
    root = document(junit("x", OUTCOMES, 0.0, [("topology", "x.clab.yml")]))
    assert {element.tag for element in root.iter()} == set(SCHEMA)
    for element in root.iter():
        attributes, children = (set(names.split()) for names in SCHEMA[element.tag])
        assert set(element.attrib) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
