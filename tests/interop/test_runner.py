"""A small lab, really up: namespaces, FRR, pods by the reference CNI plugin. Everything in unique namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from containerlab import daemons, namespaces, pods
from containerlab.cni_runtime import CniFailed, Runtime
from containerlab.lab_state import LabBusy, locked
from containerlab.probe import LATE
from containerlab.runner import Lab, LabFailed, kill_daemon
from containerlab.topology import Topology
from containerlab.topology_file import load_topology

pytestmark = pytest.mark.lab

PROBE = str(Path(pods.__file__).with_name("probe.py"))

# r1 == r2 are routers; h hangs on r1. Static routes between them, so that nothing has to converge.
TOPOLOGY = """
name: NAME
topology:
  defaults:
    kind: linux
    sysctls:
      net.ipv4.ip_forward: 1
      net.ipv6.conf.all.forwarding: 1
      net.ipv6.conf.all.accept_dad: 0
      net.ipv6.conf.default.accept_dad: 0
      net.ipv6.conf.all.keep_addr_on_down: 1
      net.ipv6.conf.default.keep_addr_on_down: 1
  nodes:
    r1:
      exec:
        - ip addr add 10.9.0.0/31 dev eth1
        - ip -6 addr add fd00:9::0/127 dev eth1
        - ip addr add 10.9.1.0/31 dev eth2
        - ip route add 10.44.2.0/24 via 10.9.0.1
        - ip -6 route add fd00:44:2::/64 via fd00:9::1
    r2:
      exec:
        - ip addr add 10.9.0.1/31 dev eth1
        - ip -6 addr add fd00:9::1/127 dev eth1
        - ip route add 10.44.1.0/24 via 10.9.0.0
        - ip -6 route add fd00:44:1::/64 via fd00:9::0
    h:
      exec:
        - ip addr add 10.9.1.1/31 dev eth1
  links:
    - {type: veth, mtu: 9000, endpoints: [{node: r1, interface: eth1}, {node: r2, interface: eth1}]}
    - endpoints: ["r1:eth2", "h:eth1"]
"""

NEW_NODE = """
    r3:
      exec: [ip addr add 10.9.2.1/31 dev eth1]
"""
NEW_LINK = """
    - endpoints: ["r2:eth9", "r3:eth1"]
"""


def frr_config(number: int) -> str:
    other, there = (2, "10.9.0.1") if number == 1 else (1, "10.9.0.0")
    return f"""
frr defaults datacenter
hostname r{number}
service integrated-vtysh-config
router bgp 6500{number}
 bgp router-id 10.9.9.{number}
 timers bgp 1 3
 neighbor {there} remote-as 6500{other}
 neighbor {there} timers connect 1
 address-family ipv4 unicast
  redistribute static
 exit-address-family
exit
ip route 192.0.2.{number}/32 blackhole
route-map SOURCE permit 10
 set src 10.9.0.{number - 1}
exit
ip protocol bgp route-map SOURCE
"""


FILES = {f"r{number}": {daemons.FRR_CONFIG: frr_config(number)} for number in (1, 2)}


def topology(name: str, text: str = TOPOLOGY) -> Topology:
    loaded, problems = load_topology(text.replace("NAME", name), "test.clab.yml")
    assert loaded is not None, problems
    return loaded


@pytest.fixture
def name() -> Iterator[str]:
    """Nobody else's; what a failed test leaves under it is taken away."""
    unique = f"t{secrets.token_hex(3)}"
    yield unique
    left = {found for found in namespaces.names() if unique in found}
    asyncio.run(namespaces.kill(left))
    asyncio.run(namespaces.delete(left))


@pytest.fixture
def run_dir(name: str) -> Iterator[Path]:
    """Short, and open to the daemons' users, which pytest's own directories are not."""
    path = Path(tempfile.mkdtemp(prefix=f"lab-{name}-"))
    path.chmod(0o755)
    yield path / "run"
    shutil.rmtree(path)


@pytest.fixture
def lab(name: str, run_dir: Path) -> Iterator[Lab]:
    made = Lab(topology(name), run_dir, files=FILES)
    asyncio.run(made.up())
    yield made
    asyncio.run(made.down())
    assert leftovers(name) == ([], [])
    assert not run_dir.exists()


def leftovers(name: str) -> tuple[list[str], list[str]]:
    """Namespaces and processes that carry the lab's name."""
    left = sorted(found for found in namespaces.names() if name in found)
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return left, [line for line in listed.splitlines() if f"lab-{name}-" in line]


def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "time is up"
        time.sleep(0.05)


def output(lab: Lab, node: str, *argv: str) -> str:
    return asyncio.run(lab.run(node, argv)).stdout


def daemon_pids(lab: Lab) -> dict[tuple[str, str], int | None]:
    return {(node.node, daemon.name): daemon.pid for node in lab.status() for daemon in node.daemons}


def vtysh(lab: Lab, node: str, command: str) -> str:
    return output(lab, node, *daemons.vtysh(lab.node_dir(node)), "-c", command)


def established(lab: Lab, node: str) -> int:
    """Seconds of the one session's life; 0 while it is down, or FRR has not read its configuration yet."""
    summary = json.loads(vtysh(lab, node, "show bgp ipv4 unicast summary json"))
    for peer in summary.get("peers", {}).values():
        return int(peer["peerUptimeMsec"]) if peer["state"] == "Established" else 0
    return 0


def has_route(lab: Lab, node: str) -> bool:
    return "192.0.2." in output(lab, node, "ip", "route", "show", "proto", "bgp")


def test_up_makes_what_the_topology_says(lab: Lab) -> None:
    assert all(node.up for node in lab.status())
    assert daemon_pids(lab).keys() == {
        (node, daemon) for node in ("r1", "r2") for daemon in ("zebra", "staticd", "bgpd")
    }
    mtus = {link["ifname"]: link["mtu"] for link in json.loads(output(lab, "r1", "ip", "-j", "link"))}
    assert mtus == {"lo": 65536, "eth1": 9000, "eth2": 9500}
    # Interfaces took `default` over: the sysctl was there before them.
    assert output(lab, "r1", "sysctl", "-n", "net.ipv6.conf.eth1.accept_dad").strip() == "0"
    wait_until(lambda: has_route(lab, "r2"))
    assert "src 10.9.0.1" in output(lab, "r2", "ip", "route", "show", "192.0.2.1"), "all of frr.conf was loaded"


def test_second_up_changes_nothing(lab: Lab) -> None:
    before, links = daemon_pids(lab), output(lab, "r1", "ip", "-o", "link")
    asyncio.run(lab.up())
    assert daemon_pids(lab) == before
    assert output(lab, "r1", "ip", "-o", "link") == links


def test_a_missing_part_is_made_again(lab: Lab) -> None:
    before = daemon_pids(lab)
    asyncio.run(lab.run("r1", ("ip", "link", "del", "eth2")))
    asyncio.run(lab.up())
    assert daemon_pids(lab) == before
    assert "10.9.1.0/31" in output(lab, "r1", "ip", "addr", "show", "eth2")
    assert asyncio.run(lab.run("h", ("ping", "-c1", "-W2", "10.9.1.0"))).ok


def test_a_node_comes_and_goes_without_touching_the_others(lab: Lab, name: str) -> None:
    before = daemon_pids(lab)
    wait_until(lambda: established(lab, "r1"))
    larger = TOPOLOGY.replace("  links:", NEW_NODE.strip("\n") + "\n  links:").rstrip() + NEW_LINK
    grown = Lab(topology(name, larger), lab.run_dir, files=FILES)
    asyncio.run(grown.up())
    assert grown.namespace("r3") in namespaces.names()
    assert "eth9" in output(lab, "r2", "ip", "-o", "link")
    asyncio.run(lab.up())
    assert grown.namespace("r3") not in namespaces.names()
    assert "eth9" not in output(lab, "r2", "ip", "-o", "link")
    assert not grown.node_dir("r3").exists()
    assert daemon_pids(lab) == before
    assert established(lab, "r1")


def test_a_killed_daemon_comes_back_with_its_configuration(lab: Lab) -> None:
    wait_until(lambda: has_route(lab, "r2"))
    others = {key: pid for key, pid in daemon_pids(lab).items() if key != ("r1", "bgpd")}
    killed = asyncio.run(kill_daemon(lab, "r1", "bgpd"))
    wait_until(lambda: daemon_pids(lab)["r1", "bgpd"] not in (None, killed))
    wait_until(lambda: established(lab, "r1") and has_route(lab, "r1"))
    assert {key: pid for key, pid in daemon_pids(lab).items() if key != ("r1", "bgpd")} == others
    (status,) = (daemon for daemon in lab.init("r1").status() if daemon.name == "bgpd")
    assert status.restarts == 1


def test_a_node_loses_power_and_comes_back(lab: Lab) -> None:
    wait_until(lambda: established(lab, "r1"))
    asyncio.run(lab.stop("r2"))
    assert namespaces.pids([lab.namespace("r2")]) == {lab.namespace("r2"): set()}
    assert [node.node for node in lab.status() if not node.up] == ["r2"]
    wait_until(lambda: not established(lab, "r1"))
    asyncio.run(lab.start("r2"))
    wait_until(lambda: established(lab, "r1"))
    assert all(node.up for node in lab.status())


def test_a_dead_init_is_replaced(lab: Lab) -> None:
    before, pid = daemon_pids(lab), lab.init("r1").pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lab.init("r1").pid() is None)
    asyncio.run(lab.up())
    after = daemon_pids(lab)
    assert after["r1", "bgpd"] not in (None, before["r1", "bgpd"])
    assert after["r2", "bgpd"] == before["r2", "bgpd"]


def test_reload_touches_only_what_differs(lab: Lab) -> None:
    wait_until(lambda: established(lab, "r1") > 2000)
    node_dir, before = lab.node_dir("r1"), daemon_pids(lab)
    unchanged = asyncio.run(lab.run("r1", daemons.frr_reload_diff(node_dir)))
    assert "Lines To" not in unchanged.stdout
    changed = frr_config(1).replace(" timers connect 1", " timers connect 2").replace("192.0.2.1/32", "192.0.2.7/32")
    assert lab.write_file("r1", daemons.FRR_CONFIG, changed)
    assert asyncio.run(lab.run("r1", daemons.frr_reload(node_dir))).ok
    wait_until(lambda: "192.0.2.7" in output(lab, "r2", "ip", "route"))
    assert "hostname r1" in vtysh(lab, "r1", "show running-config")
    assert established(lab, "r1") > 2000
    assert daemon_pids(lab) == before


def test_daemons_are_changed_at_run_time(lab: Lab) -> None:
    def sleeper(name: str, seconds: int) -> daemons.Daemon:
        return daemons.Daemon(name=name, argv=("sleep", str(seconds)))

    asyncio.run(
        Lab(lab.topology, lab.run_dir, files=FILES, daemons={"h": [sleeper("a", 1001), sleeper("b", 1002)]}).up()
    )
    first = daemon_pids(lab)
    asyncio.run(
        Lab(lab.topology, lab.run_dir, files=FILES, daemons={"h": [sleeper("a", 1001), sleeper("b", 1003)]}).up()
    )
    second = daemon_pids(lab)
    assert second["h", "a"] == first["h", "a"]
    assert second["h", "b"] not in (None, first["h", "b"])
    asyncio.run(lab.up())
    assert ("h", "a") not in daemon_pids(lab)
    assert lab.init("h").pid() in namespaces.pids([lab.namespace("h")])[lab.namespace("h")]
    assert len(namespaces.pids([lab.namespace("h")])[lab.namespace("h")]) == 1


def test_orphans_outlive_a_restart_and_end_with_their_daemon(lab: Lab) -> None:
    """As an agent's helper does: it survives the agent's death, and goes when the agent is removed."""
    script = "sleep 2001 & exec sleep 2002"
    agent = daemons.Daemon(name="agent", argv=("sh", "-c", script))
    with_agent = Lab(lab.topology, lab.run_dir, files=FILES, daemons={"h": [agent]})
    asyncio.run(with_agent.up())
    namespace = lab.namespace("h")
    wait_until(lambda: len(namespaces.pids([namespace])[namespace]) == 3)
    killed = asyncio.run(kill_daemon(with_agent, "h", "agent"))
    wait_until(lambda: len(namespaces.pids([namespace])[namespace]) == 4)
    assert killed not in namespaces.pids([namespace])[namespace]
    asyncio.run(lab.up())
    wait_until(lambda: namespaces.pids([namespace])[namespace] == {lab.init("h").pid()})


def test_a_broken_exec_is_named_and_down_cleans(name: str, run_dir: Path) -> None:
    text = TOPOLOGY.replace("- ip addr add 10.9.1.1/31 dev eth1", "- ip addr add 10.9.1.1/99 dev eth1")
    lab = Lab(topology(name, text), run_dir, files=FILES)
    try:
        with pytest.raises(LabFailed) as failed:
            asyncio.run(lab.up())
        (problem,) = failed.value.problems
        assert (problem.object, problem.path, problem.code) == ("Node/h", "exec[0]", "exec-failed")
        assert "10.9.1.1/99" in problem.message
        assert lab.namespace("r1") in namespaces.names()
    finally:
        asyncio.run(lab.down())
    assert leftovers(name) == ([], [])


def test_a_configuration_that_frr_refuses_is_named(name: str, run_dir: Path) -> None:
    broken = {"r1": {daemons.FRR_CONFIG: frr_config(1) + "router bgp no-number\n"}}
    lab = Lab(topology(name), run_dir, files=broken)
    try:
        with pytest.raises(LabFailed) as failed:
            asyncio.run(lab.up())
        assert {problem.object for problem in failed.value.problems} == {"Node/r1"}
        assert "no-number" in str(failed.value)
    finally:
        asyncio.run(lab.down())


def test_nothing_is_touched_if_a_bind_is_missing(name: str, run_dir: Path) -> None:
    text = TOPOLOGY.replace("    h:\n", "    h:\n      binds: [nowhere/x.conf:/etc/frr/x.conf]\n")
    with pytest.raises(LabFailed, match=r"nowhere/x\.conf"):
        asyncio.run(Lab(topology(name, text), run_dir, base_dir=run_dir.parent).up())
    assert leftovers(name) == ([], [])


def test_down_after_a_half_failed_up(name: str, run_dir: Path) -> None:
    """The second link cannot be made: the namespaces are there, nothing else."""
    made = topology(name)
    bad = replace(made, links=(made.links[0], replace(made.links[1], mtu=1)))
    lab = Lab(bad, run_dir, files=FILES)
    with pytest.raises(LabFailed, match=r"eth2|MTU|mtu|argument"):
        asyncio.run(lab.up())
    assert lab.namespace("h") in namespaces.names()
    asyncio.run(lab.down())
    assert leftovers(name) == ([], [])
    asyncio.run(lab.down())


def test_down_spares_what_is_not_ours(lab: Lab, name: str) -> None:
    stranger = f"clab-{name}x-r1"
    asyncio.run(namespaces.create([stranger]))
    try:
        asyncio.run(lab.down())
        assert stranger in namespaces.names()
    finally:
        asyncio.run(namespaces.delete([stranger]))


def test_two_ups_do_not_race(lab: Lab) -> None:
    async def second() -> None:
        async with locked(lab.run_dir):
            with pytest.raises(LabBusy):
                async with locked(lab.run_dir, 0.1):
                    pass

    asyncio.run(second())
    with pytest.raises(LabFailed, match="holds the lab"):
        asyncio.run(Lab(lab.topology, lab.run_dir, "other").up())


@contextlib.contextmanager
def running(argv: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def cni(lab: Lab, node: str, *addresses: str, mtu: int = 9000) -> Runtime:
    """What attaches one pod, by CNI's own plugins alone: addresses with their gateways, IPv4 in a /31 with its."""
    ips = [dict(zip(("address", "gateway"), one.split(), strict=True)) for one in addresses]
    routes = [{"dst": "::/0" if ":" in ip["gateway"] else "0.0.0.0/0"} for ip in ips]
    ipam = {"type": "static", "addresses": ips, "routes": routes}
    plugins = [{"type": "ptp", "ipMasq": False, "mtu": mtu, "ipam": ipam}, {"type": "tuning"}]
    folder = lab.node_dir(node) / "cni"
    folder.mkdir(exist_ok=True)
    (folder / "10-test.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "test", "plugins": plugins}))
    return Runtime(lab.namespace(node), folder, pods.reference_plugins(), folder / "results")


async def two_pods(lab: Lab) -> tuple[pods.Pod, pods.Pod]:
    ways = {
        "r1": cni(lab, "r1", "10.44.1.5/31 10.44.1.4", "fd00:44:1::5/128 fe80::1"),
        "r2": cni(lab, "r2", "10.44.2.7/31 10.44.2.6", "fd00:44:2::6/128 fe80::1"),
    }
    return await pods.add_pod(lab, "r1", "p1", ways["r1"]), await pods.add_pod(lab, "r2", "p2", ways["r2"])


def test_pods_reach_each_other_by_their_own_addresses(lab: Lab) -> None:
    one, two = asyncio.run(two_pods(lab))
    for address in two.addresses:
        ping = ("ping", "-c1", "-W2", "-M", "do", "-s", "8952", address)
        assert asyncio.run(namespaces.run(one.namespace, ping)).ok, address
    pod_links = asyncio.run(namespaces.links(one.namespace))
    assert pod_links["eth0"] == 9000
    assert one.host_interface in asyncio.run(namespaces.links(lab.namespace("r1")))
    (r1,) = (node for node in lab.status() if node.node == "r1")
    assert r1.pods == (one.namespace,)
    runtime = cni(lab, "r1")
    assert asyncio.run(pods.running_pod(lab, "r1", "p1", runtime)) == one
    asyncio.run(runtime.check(pods.attachment(lab, "r1", "p1")))
    asyncio.run(pods.del_pod(lab, "r1", "p1", runtime))
    assert asyncio.run(pods.running_pod(lab, "r1", "p1", runtime)) is None
    assert runtime.attachments() == []
    asyncio.run(pods.del_pod(lab, "r1", "p1", replace(runtime, plugins=())))  # calls nobody
    assert one.host_interface not in asyncio.run(namespaces.links(lab.namespace("r1")))
    assert one.namespace not in namespaces.names()
    assert "10.44.1.5" not in output(lab, "r1", "ip", "route")
    # The second pod goes with the lab: the fixture looks.


def test_a_pod_that_cni_refuses_leaves_nothing(lab: Lab) -> None:
    asyncio.run(pods.add_pod(lab, "r1", "p1", cni(lab, "r1", "10.44.1.5/31 10.44.1.4")))
    links = asyncio.run(namespaces.links(lab.namespace("r1")))
    runtime = cni(lab, "r1", "10.44.1.7/32 10.44.1.7")
    with pytest.raises(CniFailed, match=r"ptp ADD: .*no such process"):
        asyncio.run(pods.add_pod(lab, "r1", "p2", runtime))
    assert asyncio.run(namespaces.links(lab.namespace("r1"))) == links
    assert pods.pod_namespace(lab, "r1", "p2") not in namespaces.names()
    assert [one.container for one in runtime.attachments()] == [pods.pod_namespace(lab, "r1", "p1")]


def test_a_pod_without_its_interface_or_its_end_is_made_anew(lab: Lab) -> None:
    """A pod that lost its wire with the node's namespace, and one whose making was broken off."""
    runtime = cni(lab, "r1", "10.44.1.5/31 10.44.1.4")
    one = asyncio.run(pods.add_pod(lab, "r1", "p1", runtime))
    asyncio.run(namespaces.delete_links(lab.namespace("r1"), [one.host_interface]))
    assert asyncio.run(pods.running_pod(lab, "r1", "p1", runtime)) is None
    asyncio.run(pods.del_pod(lab, "r1", "p1", runtime))
    asyncio.run(pods.add_pod(lab, "r1", "p1", runtime))
    (remembered,) = runtime.results.iterdir()
    remembered.write_text(json.dumps({**json.loads(remembered.read_text()), "result": None}))
    assert asyncio.run(pods.running_pod(lab, "r1", "p1", runtime)) is None
    asyncio.run(pods.del_pod(lab, "r1", "p1", runtime))
    assert one.namespace not in namespaces.names()
    again = asyncio.run(pods.add_pod(lab, "r1", "p1", runtime))
    assert again.addresses == one.addresses


@pytest.mark.parametrize("to", ["10.44.2.7", "fd00:44:2::6"])
def test_probe_measures_the_gap_of_a_dead_link(lab: Lab, to: str) -> None:
    one, two = asyncio.run(two_pods(lab))
    serve = namespaces.inside(two.namespace, (sys.executable, "-I", PROBE, "serve", "--port", "7007"))
    flows = ("flows", "--to", to, "--port", "7007", "--flows", "8", "--rate", "50", "--seconds", "60", "--json")
    send = namespaces.inside(one.namespace, (sys.executable, "-I", PROBE, *flows))
    with running(serve) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        with running(send) as client:
            time.sleep(0.7)  # traffic before the fault
            asyncio.run(lab.set_link("r2", "eth1", up=False))
            down = time.monotonic()
            time.sleep(0.5)  # the length of the fault, which the probe has to find
            asyncio.run(lab.set_link("r2", "eth1", up=True))
            fixed_routes(lab)
            outage = (time.monotonic() - down) * 1000
            time.sleep(0.7)  # traffic after it
            client.send_signal(signal.SIGINT)
            assert client.stdout is not None
            result = json.loads(client.stdout.read())
    assert result["sources"] == [one.addresses[":" in to]]
    assert len(result["flows"]) == 8
    # The last of the fault's packets may have waited (LATE at most) for the neighbour to be resolved again, which
    # takes another second if the first solicitation of IPv6 came too early.
    assert 500 - LATE * 1000 - 20 < result["worstGapMs"] < outage + 1500
    assert all(flow["gapMs"] > 250 and flow["answered"] > 20 for flow in result["flows"])
    assert result["answered"] < result["sent"]


def fixed_routes(lab: Lab) -> None:
    """The kernel drops a link's static routes with it; a routing daemon would bring them back."""
    for line in lab.topology.nodes["r2"].exec:
        if "route add" in line:
            asyncio.run(lab.run("r2", line.replace("route add", "route replace").split()))
