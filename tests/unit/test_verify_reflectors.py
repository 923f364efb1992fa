"""What a reflector's admin socket says of its sessions, for `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fabric_templates.verification.end import End
from tests.unit.command_line import run_underlay
from tests.unit.samples import SAMPLES
from underlay import reflector_states
from underlay.output import Refused
from underlay.reflector_states import hear_reflectors

FAMILY = {"received": 7, "accepted": 5, "refused": 2, "stale": 0}
ROW = {
    "name": "node-1-ipv4",
    "asn": 64512,
    "state": "Established",
    "lastError": "",
    "families": {"ipv4-unicast": FAMILY, "ipv6-unicast": FAMILY},
}


def answer(path: Path, request: str, **_: Any) -> dict[str, Any]:
    """Of rr-1, which is the only one that runs."""
    if path.stem != "rr-1":
        raise Refused(message=f"error: {path}: no reflector listens there")
    down = {**ROW, "name": "node-2-ipv4", "state": "Idle", "lastError": "hold timer expired", "families": {}}
    return {"reflector": "rr-1"} if request == "status" else {"rows": [ROW, down]}


def test_its_sessions_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_states, "ask", answer)
    heard, problems = hear_reflectors(["/run/x/rr-1.sock"], {"rr-2": Path("/run/x/rr-2.sock")})
    assert dict(heard["rr-1"].ends) == {
        "node-1-ipv4": End(state="Established", received=14, accepted=10),
        "node-2-ipv4": End(state="Idle", reason="hold timer expired", received=0, accepted=0),
    }
    (problem,) = problems
    assert (problem.code, problem.object) == ("reflector-unreachable", "RouteReflector/rr-2")
    assert problem.message == "does not answer: /run/x/rr-2.sock: no reflector listens there"


def test_verify_fails_where_it_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reflector_states, "ask", answer)
    store = f"sqlite:{tmp_path / 'store.db'}"
    found = run_underlay("verify", "-f", str(SAMPLES / "calico-mesh"), "--reflector", "rr-9", "--store", store)
    assert found.exit_code == 1
    assert "error: RouteReflector/rr-9: does not answer: " in found.stderr
