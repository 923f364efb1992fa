"""The log: one line for each event whatever its fields are, and no password in it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.session import SecretKeyRef
from reflector.configuration import Transport
from reflector.server.json_log import EventLog, Form

#: 2026-01-31T12:00:00Z
NOON = 1769860800.0


def written(form: Form, event: str, now: float = NOON, **fields: Any) -> str:
    stream = io.StringIO()
    EventLog(stream, form, lambda: now)(event, **fields)
    return stream.getvalue()


def parsed(event: str, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written("json", event, **fields))
    return found


def test_a_line_for_a_machine() -> None:
    line = written("json", "session-up", now=NOON + 0.1239, peer="10.0.0.1", families=["ipv4-unicast"])
    assert line == (
        '{"time": "2026-01-31T12:00:00.123Z", "level": "info", "event": "session-up", '
        '"peer": "10.0.0.1", "families": ["ipv4-unicast"]}\n'
    )


def test_a_line_for_a_person() -> None:
    line = written("text", "session-down", peer="10.0.0.1", reason="hold timer expired", n=3, up=False, at=None)
    assert line == (
        '2026-01-31T12:00:00.000Z session-down peer=10.0.0.1 reason="hold timer expired" n=3 up=false at=null\n'
    )
    assert written("text", "x", level="warning", a=1) == "2026-01-31T12:00:00.000Z x level=warning a=1\n"


def test_what_somebody_has_to_look_at_is_a_warning() -> None:
    assert parsed("foreign-block")["level"] == "warning"
    assert parsed("foreign-block-over")["level"] == "info"
    assert parsed("foreign-block", level="error")["level"] == "error"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ('"', '"\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\ud800", '"\\ud800"'),
        ("ü", '"\\u00fc"'),
        (["a", 1], '["a", 1]'),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_a_value_keeps_the_line_one_line(value: Any, shown: str) -> None:
    assert written("text", "x", v=value) == f"2026-01-31T12:00:00.000Z x v={shown}\n"


@dataclass
class Thing:
    name: str
    password: str


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Endless:
    """An object that says it can be iterated, and fails."""

    def __iter__(self) -> Iterator[object]:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (bytes((10, 0, 0, 1)), "10.0.0.1"),
        (bytes(15) + b"\x01", "::1"),
        (b"\x01\x02\x03", "010203"),
        ((1, "a"), [1, "a"]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (1.5, 1.5),
        ({1: b"\x0a\x00\x00\x01"}, {"1": "10.0.0.1"}),
        (SecretKeyRef("bgp", "key"), "bgp/key"),
        (Odd(), "(Odd)"),
        (Endless(), "(Endless)"),
    ],
)
def test_what_json_does_not_have_is_turned_into_what_it_has(value: Any, kept: Any) -> None:
    assert parsed("x", v=value)["v"] == kept


def test_what_is_said_of_the_event_is_not_overwritten() -> None:
    found = parsed("x", time="never", v=1)
    assert (found["time"], found["event"], found["v"]) == ("2026-01-31T12:00:00.000Z", "x", 1)
    assert list(found)[:3] == ["time", "level", "event"]


def test_a_password_is_never_written() -> None:
    fields = {
        "password": b"hunter2!",
        "md5_password": "hunter2!",
        "Secret": ["hunter2!"],
        "passwords": {SecretKeyRef("bgp", "key"): b"hunter2!"},
        "thing": Thing("a", "hunter2!"),
        "deep": [{"password": "hunter2!"}, {"x": Thing("b", "hunter2!")}],
    }
    for form in ("text", "json"):
        assert "hunter2" not in written(form, "x", **fields)  # type: ignore[arg-type]
    found = parsed("x", **fields)
    assert found["thing"] == {"name": "a", "password": "***"}
    assert found["deep"][0] == {"password": "***"}


def test_where_a_password_is_and_that_there_is_one_may_be_told() -> None:
    transport = Transport(password=SecretKeyRef("bgp", "key"))
    assert parsed("x", transport=transport, password=True)["transport"]["password"] == "bgp/key"
    assert parsed("x", password=True)["password"] is True
    assert parsed("x", password=None)["password"] is None


def test_a_ring_comes_to_an_end() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert parsed("x", v=ring)["v"] != []


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_stream_that_takes_nothing_stops_nobody() -> None:
    EventLog(Broken())("x", a=1)
    closed = io.StringIO()
    closed.close()
    EventLog(closed)("x", a=1)


def test_every_line_is_there_at_once() -> None:
    class Counted(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Counted()
    log = EventLog(stream)
    log("one")
    log("two")
    assert (stream.flushed, len(stream.getvalue().splitlines())) == (2, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers()),
)


@given(st.dictionaries(st.sampled_from(["a", "b", "time", "password"]), JSON))
def test_any_fields_make_one_line_in_both_forms(fields: dict[str, Any]) -> None:
    assert written("text", "x", **fields).count("\n") == 1
    line = written("json", "x", **fields)
    assert line.count("\n") == 1
    assert set(json.loads(line)) == {"time", "level", "event", *fields}
