"""`underlay verify` from files: what it prints, and when it exits with 1. With real daemons: tests/interop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from peering.problems import Problem
from peering.resources.observed import RENEWAL_S
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES, node
from underlay.devices.access import Access
from underlay.output import Refused
from underlay.switch_states import Unreachable, Way, via

LATE = 3 * RENEWAL_S + 10.0


class World:
    """The sample's rack-1 with one node, its speaker's report, and what its switches print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = ["-f", str(SAMPLES / "dual-tor"), "-f", self.write("node.yaml", node(1, 1, 1).to_document())]
        self.sessions = self.planned()

    def write(self, name: str, document: Any) -> str:
        path = self.folder / name
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return str(path)

    def planned(self) -> list[dict[str, Any]]:
        shown = run_underlay("plan", *self.files, "-o", "json")
        found = json.loads(shown.stdout)["speakers"]["node-1"]["sessions"]
        assert len(found) == 4
        return list(found)

    def report(self, *, age: float = 0.0, **changed: dict[str, Any]) -> list[str]:
        """The option for a report in which all is up, but for the sessions whose names are given."""
        rows = [
            {
                "session": s["name"], "peer": s["peer"], "localAddress": s["localAddress"],
                "peerAddress": s["peerAddress"], "peerASN": s["peerASN"], "state": "Established", "since": 1.0,
                "received": 1, "accepted": 1, "announced": 1, **changed.get(s["name"].replace("-", "_"), {}),
            }
            for s in self.sessions
        ]  # fmt: skip
        spec = {"node": "node-1", "reported": time.time() - age, "sessions": rows}
        document = {"apiVersion": "underlay.io/v1alpha1", "kind": "BGPNodeStatus"}
        return ["-f", self.write("report.yaml", {**document, "metadata": {"name": "node-1"}, "spec": spec})]

    def state(self, switch: str, *missing: str) -> list[str]:
        """The option for a switch that has all sessions of its plan but the ones with these neighbors."""
        shown = run_underlay("plan", *self.files, "-o", "json")
        sessions = json.loads(shown.stdout)["switches"][switch]["sessions"]
        rows = {
            s["peerAddress"]: {
                "bgpState": "Established", "remoteAs": s["peerASN"], "localAs": s["localASN"],
                "bgpTimerHoldTimeMsecs": s["holdTime"] * 1000,
                "addressFamilyInfo": {
                    s["families"][0].replace("-u", "U"): {"acceptedPrefixCounter": 1, "sentPrefixCounter": 1}
                },
            }
            for s in sessions if s["peerAddress"] not in missing
        }  # fmt: skip
        return ["--state", f"{switch}={self.write(f'{switch}.json', json.dumps(rows))}"]

    def verify(self, *options: str) -> Result:
        return run_underlay("verify", *self.files, *options)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_all_is_well(world: World) -> None:
    options = [*world.report(), *world.state("tor-1a"), *world.state("tor-1b"), "--node", "node-1"]
    good = world.verify(*options)
    assert (good.exit_code, good.stdout, good.stderr) == (0, "4 sessions: 4 up at both ends; 0 faults\n", "")
    table = world.verify(*options, "-v").stdout
    row = "switch/tor-1a 10.1.1.1 Established node/node-1 tor-1a-ipv4 Established 1/1 1/1"
    assert row in [" ".join(line.split()) for line in table.splitlines()]


def test_what_the_switch_has_not(world: World) -> None:
    options = [*world.report(tor_1a_ipv4={"state": "Idle", "reason": "closing connection"}), "--node", "node-1"]
    options += [*world.state("tor-1a", "10.1.1.1"), *world.state("tor-1b")]
    bad = world.verify(*options)
    assert (bad.exit_code, bad.stdout) == (1, "4 sessions: 3 up at both ends, 1 not up; 1 fault\n")
    assert bad.stderr == (
        "error: Switch/tor-1a neighbor 10.1.1.1: is not configured; the plan has it for node/node-1 "
        "(load the plan into it: underlay diff --switch tor-1a)\n"
    )
    told = json.loads(world.verify(*options, "-o", "json").stdout)
    assert [problem["code"] for problem in told["problems"]] == ["session-missing"]
    (session,) = [s for s in told["sessions"] if not s["established"]]
    assert [(end["end"], end["state"]) for end in session["ends"]] == [
        ("switch/tor-1a", "missing"),
        ("node/node-1", "Idle"),
    ]


def test_only_what_is_named_is_looked_at(world: World) -> None:
    options = [*world.report(), *world.state("tor-1a", "10.1.1.1"), "--node", "node-1"]
    assert world.verify(*options, "--switch", "tor-1b").stdout == (
        "2 sessions: 2 up at the one end that tells; 0 faults\n"
    )
    assert world.verify("--switch", "tor-9").stderr.startswith("error: there is no Switch/tor-9 (there are: tor-1a, ")
    assert world.verify("--node", "node-9").exit_code == 1


def test_switches_that_nobody_asks_are_told_of_when_asked_for(world: World) -> None:
    quiet = world.verify(*world.report(), "--node", "node-1")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    told = world.verify(*world.report(), "--node", "node-1", "-v").stderr
    assert "info: Switch/tor-1a: was not asked, its sessions are judged by their other ends (" in told


def test_speakers_that_say_nothing(world: World) -> None:
    late = world.verify(*world.report(age=LATE), "--node", "node-1", *world.state("tor-1a"))
    assert late.exit_code == 1
    assert late.stdout == ("4 sessions: 2 up at the one end that tells, 2 of which nothing is known; 1 fault\n")
    assert late.stderr.startswith("error: Node/node-1: no report for 2m25s: no speaker runs on the node; its sessions ")
    never = world.verify("--store", f"sqlite:{world.folder / 'empty.db'}", "--node", "node-1")
    assert "error: Node/node-1: no speaker has ever reported; its sessions are judged by their other " in never.stderr


def test_switches_that_cannot_be_read(world: World) -> None:
    options = [*world.report(), "--node", "node-1", "--switch", "tor-1a"]
    other = world.write("other.txt", "% Invalid input detected\n")
    assert world.verify(*options, "--state", f"tor-1a={other}").stderr == (
        "error: Switch/tor-1a: its state cannot be read: expected JSON, found '% Invalid input detected' "
        "(give the output of: vtysh -c 'show bgp neighbors json')\n"
    )
    gone = world.verify(*options, "--state", f"tor-1a={world.folder / 'gone'}")
    assert "error: Switch/tor-1a: does not answer, its sessions are judged by their other ends: " in gone.stderr
    assert gone.exit_code == 1
    assert world.verify(*options, "--via", "no-such-command").stderr.startswith(
        "error: Switch/tor-1a: does not answer, its sessions are judged by their other ends: no-such-command: cannot be"
    )
    assert world.verify(*options, "--state", "tor-1a").exit_code == 2
    assert world.verify(*options, "--via", "'").exit_code == 2


def test_a_platform_that_is_not_read(world: World) -> None:
    text = (SAMPLES / "dual-tor" / "switches.yaml").read_text().replace("platform: frr", "platform: os10")
    racks = [
        word
        for name in ("bgpconfiguration", "pools", "racks")
        for word in ("-f", str(SAMPLES / f"dual-tor/{name}.yaml"))
    ]
    world.files = [*racks, "-f", world.write("switches.yaml", text), *world.files[2:]]
    found = world.verify(*world.report(), "--node", "node-1", "--via", "false")
    assert found.exit_code == 0
    assert (
        "warning: Switch/tor-1a spec.platform: the state of platform 'os10' is not read; its sessions" in found.stderr
    )


def test_a_switch_is_asked_over_a_library(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line by itself; only the first one has to be answered."""
    state = Path(world.state("tor-1a", "10.1.1.1")[1].partition("=")[2]).read_text()
    asked = []

    def show(_: Access, switch: str, line: str) -> str:
        asked.append((switch, line))
        if line == "vtysh -c 'show bgp neighbors json'":
            return state
        raise Refused([Problem("error", "device-failed", "Switch/tor-1a", "", "no such file")])

    monkeypatch.setattr(Access, "show", show)
    idle = world.report(tor_1a_ipv4={"state": "Idle", "reason": "closing connection"})
    options = [*idle, "--node", "node-1", "--switch", "tor-1a", "--driver", "netmiko"]
    found = world.verify(*options)
    assert found.stderr.startswith("error: Switch/tor-1a neighbor 10.1.1.1: is not configured; the plan has it for ")
    lines = ["vtysh -c 'show bgp neighbors json'", "vtysh -c 'show running-config'", "cat /proc/net/netstat"]
    assert asked == [("tor-1a", line) for line in lines]
    state = "% no"
    assert (
        "error: Switch/tor-1a: its state cannot be read: expected JSON, found '% no' (" in world.verify(*options).stderr
    )
    monkeypatch.undo()
    away = world.verify(*options).stderr
    assert away.startswith("error: Switch/tor-1a: does not answer, its sessions are judged by their other ends: ")


def test_a_switch_whose_state_is_saved_is_not_asked_at_all(world: World) -> None:
    """Not for the names of prefixes either: they would be of another time."""
    asked = world.folder / "asked"
    options = [*world.report(tor_1a_ipv4={"announced": 3}), *world.state("tor-1a"), "--node", "node-1"]
    found = world.verify(*options, "--switch", "tor-1a", "--via", f"sh -c 'touch {asked}' --")
    assert "Switch/tor-1a neighbor 10.1.1.1: does not accept 2 of the 3 prefixes that node/node-1 sends" in found.stderr
    assert not asked.exists()
    world.verify(*world.report(), "--node", "node-1", "--switch", "tor-1a", "--via", f"sh -c 'touch {asked}' --")
    assert asked.exists()


def test_ways_to_a_switch() -> None:
    assert via("ssh {switch}.lab sudo")("tor-1a").prefix == ("ssh", "tor-1a.lab", "sudo")
    way = Way((), "say() { printf '%s\\n' \"$1\"; }\n")
    assert way.shell("say 'two words'") == "two words\n"
    with pytest.raises(Unreachable, match="exit code 3: broken"):
        way.shell("echo broken >&2; exit 3")
