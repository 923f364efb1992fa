"""`underlay lab test` on a small lab that is really up: what holds, what does not, what is broken and mended again.

h1 hangs on r1 and h2 on r2; r1 and r2 are FRR with two links between them and an eBGP session over each.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from containerlab import namespaces

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
UNDERLAY = (sys.executable, "-m", "underlay")
PATIENCE_S = 60.0

TOPOLOGY = """
name: NAME
topology:
  defaults:
    kind: linux
    sysctls:
      net.ipv4.ip_forward: 1
      net.ipv4.fib_multipath_hash_policy: 1
      net.ipv4.conf.all.ignore_routes_with_linkdown: 1
      net.ipv4.conf.default.ignore_routes_with_linkdown: 1
  nodes:
    r1:
      binds: [r1.conf:/etc/frr/frr.conf]
      exec: [ip addr add 10.9.0.0/31 dev eth1, ip addr add 10.9.0.2/31 dev eth2, ip addr add 10.9.1.0/31 dev eth3]
    r2:
      binds: [r2.conf:/etc/frr/frr.conf]
      exec: [ip addr add 10.9.0.1/31 dev eth1, ip addr add 10.9.0.3/31 dev eth2, ip addr add 10.9.2.0/31 dev eth3]
    h1:
      exec: [ip addr add 10.9.1.1/31 dev eth1, ip route add default via 10.9.1.0]
    h2:
      exec: [ip addr add 10.9.2.1/31 dev eth1, ip route add default via 10.9.2.0]
  links:
    - endpoints: ["r1:eth1", "r2:eth1"]
    - endpoints: ["r1:eth2", "r2:eth2"]
    - endpoints: ["r1:eth3", "h1:eth1"]
    - endpoints: ["r2:eth3", "h2:eth1"]
"""
DECLARATION = """
apiVersion: crd.projectcalico.org/v1
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeToNodeMeshEnabled: false}
"""
GOOD = """
within: 30s
checks:
  - sessions: all
  - route: {node: r1, prefix: 10.9.2.0/31, via: r2, paths: 2}
  - route: {node: r1, to: h2, via: [eth1, eth2], family: ipv4}
  - no-route: {node: [r1, r2], prefix: 10.77.0.0/16}
  - ping: {from: h1, to: h2, family: ipv4}
  - no-ping: {from: h1, to: 10.9.2.7}
  - command: {node: r2, run: vtysh -c 'show version', prints: "FRRouting .* \\\\(r2\\\\)"}
  - name: one of two links goes
    fail: {link: 'r1:eth1'}
    traffic: {from: h1, to: h2, silent: 3s, family: ipv4}
    then:
      - route: {node: r1, prefix: 10.9.2.0/31, via: eth2}
      - ping: {from: h1, to: h2, family: ipv4}
    recover:
      then: [{route: {node: r1, prefix: 10.9.2.0/31, via: [eth1, eth2]}}]
"""


POWER = """
checks:
  - fail: {power: r2}
    then: [{sessions: {node: r1, with: r2, state: down}}, {no-ping: {from: h1, to: h2, family: ipv4}}]
    recover: {then: [{sessions: all}, {ping: {from: h1, to: h2, family: ipv4}}]}
"""

#: Stands for `docker exec -i {container}`: a command in a node, with that node's vtysh.
ENTER = """#!/bin/sh
node=$1 folder=/run/underlay/lab/NAME/nodes/$1
shift
if [ "$1" = vtysh ]; then
    shift
    set -- vtysh --vty_socket "$folder/run/frr" --config_dir "$folder/etc/frr" "$@"
fi
exec ip netns exec "clab-NAME-$node" "$@"
"""


def frr(number: int, host: str) -> str:
    other, far = (2, (1, 3)) if number == 1 else (1, (0, 2))
    neighbors = "".join(
        f" neighbor 10.9.0.{x} remote-as 6500{other}\n neighbor 10.9.0.{x} timers connect 1\n" for x in far
    )
    return (
        f"frr defaults traditional\nhostname r{number}\nservice integrated-vtysh-config\n"
        "no zebra nexthop kernel enable\n"
        f"router bgp 6500{number}\n bgp router-id 10.9.9.{number}\n timers bgp 1 3\n no bgp ebgp-requires-policy\n"
        f"{neighbors} address-family ipv4 unicast\n  network {host}\n exit-address-family\nexit\n"
    )


class SmallLab:
    """A topology, and what is expected of it, in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.topology = folder / "small.clab.yml"
        self.topology.write_text(TOPOLOGY.replace("NAME", name))
        (folder / "r1.conf").write_text(frr(1, "10.9.1.0/31"))
        (folder / "r2.conf").write_text(frr(2, "10.9.2.0/31"))
        (folder / "declaration.yaml").write_text(DECLARATION)

    def argv(self, *arguments: str, text: str = "") -> list[str]:
        (self.folder / "small.expect.yml").write_text(text)
        declaration = str(self.folder / "declaration.yaml")
        return [*UNDERLAY, "lab", "test", str(self.topology), "-f", declaration, *arguments]

    def test(self, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = self.argv(*arguments, text=text)
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S * 3, check=False, cwd=ROOT)

    def tests(self, text: str, *arguments: str) -> dict[str, dict[str, object]]:
        """Name -> outcome, with the exit code that goes with them."""
        done = self.test(text, *arguments, "-o", "json")
        data = json.loads(done.stdout)
        assert done.returncode == (0 if data["passed"] == len(data["tests"]) else 1)
        return {one["name"]: one for one in data["tests"]}

    def underlay(self, *arguments: str) -> None:
        subprocess.run([*UNDERLAY, "lab", *arguments], check=True, capture_output=True, timeout=PATIENCE_S, cwd=ROOT)

    def spaces(self) -> set[str]:
        return {name for name in namespaces.names() if name.startswith(f"clab-{self.name}-")}

    def link_is_up(self, node: str, interface: str) -> bool:
        argv = ["ip", "-n", f"clab-{self.name}-{node}", "-j", "link", "show", interface]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return "UP" in json.loads(done.stdout)[0]["flags"]

    def state_of(self, daemon: str, node: str) -> str:
        """The letter that the kernel has for the state of a daemon."""
        pid = Path(f"/run/underlay/lab/{self.name}/nodes/{node}/init/{daemon}.pid").read_text().strip()
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(what: str, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, f"after {PATIENCE_S:.0f} s still not: {what}"
        time.sleep(0.05)


@pytest.fixture
def new(tmp_path: Path) -> Iterator[SmallLab]:
    """A lab that is not up; whatever is left of it goes."""
    lab = SmallLab(tmp_path, f"x{secrets.token_hex(3)}")
    yield lab
    if lab.spaces():
        lab.underlay("down", str(lab.topology))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallLab]:
    """A lab that somebody has brought up."""
    lab = SmallLab(tmp_path_factory.mktemp("lab"), f"y{secrets.token_hex(3)}")
    try:
        lab.underlay("up", str(lab.topology), "-f", str(lab.folder / "declaration.yaml"))
        yield lab
    finally:
        lab.underlay("down", str(lab.topology))


def test_a_lab_is_brought_up_tested_and_taken_down(new: SmallLab) -> None:
    report = new.folder / "report.xml"
    done = new.test(GOOD, "--junit", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    suite = ElementTree.fromstring(report.read_text())[0]
    assert [suite.get(key) for key in ("name", "tests", "failures", "errors")] == [new.name, "14", "0", "0"]
    assert next(suite.iter("testcase")).get("name") == "lab up"
    assert "14 tests: 14 passed" in done.stdout
    assert new.spaces() == set()
    assert not Path(f"/run/underlay/lab/{new.name}").exists()


def test_a_lab_that_was_up_stays_and_one_that_was_brought_up_stays_if_told_so(up: SmallLab, new: SmallLab) -> None:
    text = "checks: [{ping: {from: h1, to: h2, family: ipv4}}]"
    assert set(up.tests(text)) == {"ping h1 to h2 (IPv4)"}
    assert len(up.spaces()) == 4
    assert [one["status"] for one in new.tests(text, "--keep").values()] == ["passed", "passed"]
    assert len(new.spaces()) == 4


def test_what_does_not_hold_is_a_failure_with_what_was_seen(up: SmallLab) -> None:
    done = up.test("""
within: 1s
checks:
  - sessions: {node: r1, state: down}
  - route: {node: r1, prefix: 10.9.2.0/31, via: h1}
  - no-route: {node: r1, prefix: 10.9.2.0/31}
  - ping: {from: h1, to: 10.9.2.7}
  - no-ping: {from: h1, to: h2, family: ipv4}
  - command: {node: r1, run: ip link show eth9}
  - ping: {from: h1, to: h2, family: ipv4}
""", "--junit", "-")  # fmt: skip
    assert done.returncode == 1
    cases = ElementTree.fromstring(done.stdout)[0].findall("testcase")
    seen = [case.findtext("failure") or "" for case in cases]
    assert [case.find("failure") is not None for case in cases] == [True] * 6 + [False]
    assert "r1: 10.9.0.1 (r2) Established" in seen[0]
    assert seen[1] == "r1 IPv4: 10.9.2.0/31 via r2 (10.9.0.1 eth1), r2 (10.9.0.3 eth2)"
    assert seen[2] == seen[1]
    assert seen[3:5] == ["h1 to 10.9.2.7: 0 of 5 answered", "h1 to h2 (10.9.2.1): 3 of 3 answered"]
    assert "does not exist" in seen[5]


def test_what_cannot_be_found_out_is_an_error_and_no_failure(up: SmallLab) -> None:
    found = up.tests("""
within: 0s
checks:
  - ping: {from: h1, to: h2, family: ipv6}
  - sessions: {node: h1}
  - name: broken
    fail: {process: nobody, node: r1}
    then: [{sessions: all}]
    recover: {then: [{sessions: all}]}
  - ping: {from: h1, to: h2, family: ipv4}
""")
    assert [(one["status"], one["message"]) for one in found.values()] == [
        ("error", "h2 has no IPv6 address"),
        ("error", "h1: nothing is known there that speaks BGP"),
        ("error", "r1: no process 'nobody' runs there"),
        ("skipped", "nothing was broken"),
        ("skipped", "nothing was broken"),
        ("passed", "h1 to h2 (10.9.2.1): 5 of 5 answered"),
    ]


def test_a_lab_that_does_not_come_up_is_an_error_and_the_rest_is_skipped(new: SmallLab) -> None:
    (new.folder / "r1.conf").unlink()
    found = new.tests("checks: [{sessions: all}]")
    assert [(one["status"], "r1.conf" in str(one["message"])) for one in found.values()] == [
        ("error", True), ("skipped", False),
    ]  # fmt: skip
    assert new.spaces() == set()


def test_lost_packets_are_measured_while_it_is_broken_and_while_it_is_mended(up: SmallLab) -> None:
    """The only way of h2 is cut for as long as the pings take that see it: that long its flows are silent."""
    found = up.tests("""
checks:
  - name: cut
    fail: {isolate: h2}
    traffic: [{from: h1, to: h2, silent: 100ms, family: ipv4}, {from: h1, to: h2, silent: 60s, family: ipv4}]
    then: [{no-ping: {from: r1, to: h2, family: ipv4, count: 5}}]
    recover:
      traffic: {from: r1, to: r2, lost: 0, family: ipv4}
      then: [{ping: {from: r1, to: h2, family: ipv4}}]
""")
    by_name = {name: (one["status"], str(one["message"])) for name, one in found.items()}
    short, long = (f"traffic h1 to h2 (IPv4), silent for {time} at most" for time in ("100ms", "60s"))
    assert by_name[short][0] == "failed"
    assert by_name[short][1].startswith("h1 to h2 (IPv4): ")
    assert by_name[long][0] == "passed"
    assert 1 < float(by_name[long][1].rpartition(" ")[2].removesuffix("s")) < 60
    del by_name[short]
    assert {status for status, _ in by_name.values()} == {"passed"}, by_name
    assert up.link_is_up("h2", "eth1")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_was_broken_is_mended_when_the_test_is_interrupted(up: SmallLab, number: int, code: int) -> None:
    never = "then: [{ping: {from: h1, to: 10.9.2.7}, within: 30m}]"
    text = f"checks: [{{fail: {{link: 'r1:eth2'}}, {never}}}]"
    with subprocess.Popen(up.argv(text=text), cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as running:
        wait_until("the link is down", lambda: not up.link_is_up("r1", "eth2"))
        os.killpg(running.pid, number)
        assert running.wait(PATIENCE_S) == code
    wait_until("the link is up again", lambda: up.link_is_up("r1", "eth2"))
    assert len(up.spaces()) == 4


def test_a_process_that_is_stopped_goes_on_after_an_interrupt(up: SmallLab) -> None:
    text = """
checks:
  - fail: {process: bgpd, node: r1, signal: STOP}
    then: [{sessions: {node: r2, state: down}}]
    recover: {then: [{sessions: all}]}
  - fail: {process: bgpd, node: r2, signal: STOP}
    then: [{ping: {from: h1, to: 10.9.2.7}, within: 30m}]
"""
    with subprocess.Popen(up.argv(text=text), cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        wait_until("bgpd is stopped", lambda: up.state_of("bgpd", "r2") == "T")
        running.kill()
    wait_until("bgpd goes on", lambda: up.state_of("bgpd", "r2") in "SR")
    assert up.state_of("bgpd", "r1") in "SR"


def test_a_node_without_power_comes_back_and_after_a_kill_it_does_so_by_lab_up(up: SmallLab) -> None:
    assert {one["status"] for one in up.tests(POWER).values()} == {"passed"}
    never = POWER.replace("{no-ping: {from: h1", "{within: 30m, ping: {from: h1")
    with subprocess.Popen(up.argv(text=never), cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        wait_until("r2 has no power", lambda: not up.link_is_up("r2", "eth3"))
        running.kill()
    wait_until("its links are up again", lambda: up.link_is_up("r2", "eth3"))
    up.underlay("up", str(up.topology), "-f", str(up.folder / "declaration.yaml"))
    assert {one["status"] for one in up.tests("checks: [{sessions: all}]").values()} == {"passed"}


def test_a_lab_is_tested_by_commands_in_its_nodes(up: SmallLab) -> None:
    """Nothing of our runner is used then: sessions are those of FRR, processes are found by their names."""
    enter = up.folder / "enter"
    enter.write_text(ENTER.replace("NAME", up.name))
    enter.chmod(0o755)
    found = up.tests(
        """
within: 60s
checks:
  - sessions: all
  - route: {node: r1, prefix: 10.9.2.0/31, via: r2, paths: 2}
  - fail: {process: bgpd, node: r2, signal: STOP}
    then: [{sessions: {node: r1, with: r2, state: down}}]
    recover: {then: [{sessions: all}]}
  - fail: {link: [r1, r2]}
    traffic: {from: h1, to: h2, lost: 0, family: ipv4}
    then: [{no-ping: {from: h1, to: h2, family: ipv4}}]
    recover: {then: [{ping: {from: h1, to: h2, family: ipv4}}]}
""",
        "--exec",
        f"{enter} {{node}}",
    )
    lost = "traffic h1 to h2 (IPv4), 0 packets lost at most"
    assert {name: one["status"] for name, one in found.items() if one["status"] != "passed"} == {lost: "failed"}
    assert found["sessions all"]["message"] == "4 sessions established"


def test_a_command_that_does_not_get_there_is_an_error(up: SmallLab) -> None:
    found = up.tests("checks: [{sessions: all}, {ping: {from: h1, to: h2}}]", "--exec", "no-such-program {container}")
    assert [one["status"] for one in found.values()] == ["error", "skipped", "skipped"]
    assert "no-such-program" in str(found["lab up"]["message"])
