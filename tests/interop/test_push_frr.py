"""`underlay push` against a live FRR with a spine: a good change stays, one that breaks the sessions does not, whoever
dies in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.netns_daemons import Frr, Network, eventually
from tests.interop.test_remediation_frr import BY_HAND
from tests.interop.test_render_frr import statements, without_base
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES
from underlay.switch_shell import SwitchShell

pytestmark = pytest.mark.lab

SPINE = """router bgp 65000
 no bgp ebgp-requires-policy
 bgp router-id 10.0.9.1
 neighbor 10.254.1.1 remote-as 65011
 neighbor 10.254.1.1 timers connect 1
 neighbor 10.254.1.1 passive
"""
LEFT = Path("/run/underlay")


@dataclass
class Site:
    """A switch that a person has set up, a spine beside it, the declaration of both, and the way to the switch."""

    frr: Frr
    fabric: Path
    via: str
    name: str

    def running(self) -> set[tuple[str, ...]]:
        return statements(without_base(self.frr.ask("show running-config")))

    def push(self, *options: str) -> Result:
        return run_underlay(*self.words(*options))

    def words(self, *options: str) -> tuple[str, ...]:
        return ("push", "-f", str(self.fabric), "--switch", self.name, "--via", self.via, *options)

    def declare(self, old: str, new: str) -> None:
        text = self.fabric.read_text()
        assert old in text
        self.fabric.write_text(text.replace(old, new))

    def is_up(self) -> bool:
        return bool(self.frr.json("show bgp neighbors")["10.254.1.0"]["bgpState"] == "Established")

    def left(self) -> bool:
        """Whether the push has left anything on the switch."""
        return (LEFT / f"push-{self.name}").exists()


@pytest.fixture
def site() -> Iterator[Site]:
    with Network() as network:
        switch, spine = network.namespace("tor"), network.namespace("spine")
        network.link(switch, spine, "fabric", {"10.254.1.1/31": "10.254.1.0/31"})
        Frr(network, spine, SPINE, zebra=True)
        frr = Frr(network, switch, BY_HAND, zebra=True, integrated=True)
        name = f"{switch}".lower()
        text = next(t for t in (SAMPLES / "dual-tor" / "switches.yaml").read_text().split("---\n") if "tor-1a" in t)
        fabric = network.directory / "fabric.yaml"
        fabric.write_text(re.sub(r".*(spine-2|fd00:fe:1::).*\n", "", text).replace("tor-1a", name))
        (frr.directory / "vtysh.conf").write_text("service integrated-vtysh-config\n")
        tools = network.directory / "tools"
        tools.mkdir()
        wrapper = tools / "vtysh"
        wrapper.write_text(
            f'#!/bin/sh\nexec /usr/bin/vtysh --vty_socket {frr.directory} --config_dir {frr.directory} "$@"\n'
        )
        wrapper.chmod(0o755)
        yield Site(frr, fabric, f"ip netns exec {switch} env PATH={tools}:{os.environ['PATH']}", name)


def test_a_good_change_stays_and_what_others_made_too(site: Site) -> None:
    pushed = site.push()
    assert pushed.exit_code == 0, pushed.stderr
    assert pushed.stdout.endswith("confirmed: 1 sessions are up\n")
    assert site.is_up()
    family = ("router bgp 65011", "address-family ipv4 unicast")
    # With `no bgp default ipv4-unicast`, which we add, FRR shows the activation at the group that it came from.
    shown = statements(BY_HAND) - {(*family, "neighbor 10.99.0.9 activate")} | {(*family, "neighbor OTHERS activate")}
    assert shown < site.running()
    assert not site.left()
    again = site.push()
    assert (again.exit_code, again.stdout) == (0, f"Switch/{site.name} runs the plan\n")


def test_sessions_that_were_down_need_not_come_up_if_so_asked(site: Site) -> None:
    site.declare("asNumber: 65000", "asNumber: 65001")
    pushed = site.push("--expect", "kept", "--save")
    assert pushed.stdout.endswith("confirmed: 0 sessions are up\nsaved as startup configuration\n")
    assert " neighbor 10.254.1.0 remote-as 65001\n" in (site.frr.directory / "frr.conf").read_text()
    site.declare("asNumber: 65001", "asNumber: 65000")
    assert site.push("--expect", "kept").exit_code == 0
    eventually(site.is_up, within=120)
    site.declare("asNumber: 65000", "asNumber: 65001")
    assert site.push("--expect", "kept", "--within", "5").exit_code == 1


def test_a_dry_run_changes_nothing(site: Site) -> None:
    before = site.running()
    shown = site.push("--dry-run")
    assert (shown.exit_code, site.running(), site.left()) == (0, before, False)
    assert " neighbor 10.254.1.0 remote-as 65000\n" in shown.stdout


def test_the_first_change_of_all_is_taken_back_too(site: Site) -> None:
    site.declare("asNumber: 65000", "asNumber: 65001")
    before = site.running()
    refused = site.push("--within", "5")
    assert refused.exit_code == 1
    assert "session spine-1-ipv4 with 10.254.1.0: " in refused.stderr
    assert refused.stderr.endswith("rolled back: what is ours on the switch is as it was before\n")
    assert (site.running(), site.left()) == (before, False)


def test_a_change_that_breaks_the_session_is_taken_back(site: Site) -> None:
    assert site.push().exit_code == 0
    before = site.running()
    site.declare("asNumber: 65000", "asNumber: 65001")
    site.declare("10.0.1.1/32", "10.0.1.7/32")
    refused = site.push("--within", "5")
    assert refused.exit_code == 1
    assert "10.0.1.7" in refused.stdout
    assert "error: session spine-1-ipv4 with 10.254.1.0: Idle (OPEN Message Error/Bad Peer AS)\n" in refused.stderr
    assert (site.running(), site.left()) == (before, False)
    eventually(site.is_up, within=120)


def test_the_switch_takes_it_back_when_the_pushing_process_dies(site: Site) -> None:
    assert site.push().exit_code == 0
    before = site.running()
    site.declare("asNumber: 65000", "asNumber: 65001")
    pushing = subprocess.Popen(
        [sys.executable, "-m", "underlay", *site.words("--within", "20")], stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: ("router bgp 65011", "neighbor 10.254.1.0 remote-as 65001") in site.running())
        assert "error: another push has /run/underlay/push-" in site.push().stderr
    finally:
        pushing.send_signal(signal.SIGKILL)
        pushing.wait()
    assert site.left()
    eventually(lambda: not site.left() and site.running() == before, within=120)
    eventually(site.is_up, within=120)


def test_what_the_switch_refuses_is_not_tried(site: Site) -> None:
    wrapper = next(word for word in site.via.split() if word.startswith("PATH="))[5:].split(":")[0]
    path = Path(wrapper) / "vtysh"
    path.write_text(
        path.read_text().replace("exec", 'case "$*" in *-C*) echo "% Unknown command"; exit 2;; esac\nexec')
    )
    before = site.running()
    refused = site.push()
    assert (refused.exit_code, site.running(), site.left()) == (1, before, False)
    assert "the switch refuses the configuration: exit code 2: % Unknown command" in refused.stderr


def test_a_shell_that_is_not_there(site: Site) -> None:
    site.via = "no-such-command"
    assert "error: no-such-command: cannot be run" in site.push().stderr
    assert SwitchShell("false").run("true").code != 0
