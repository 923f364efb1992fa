"""The reflectors that are measured: ours, and four peers at their best settings; how each is started.

A contender gets a folder of its own, listens on 10.200.0.1 or fd00:c8::1, port 179, and takes every address of
10.200.0.0/14 or fd00:c8::/32 as an iBGP client of AS 64512. Where a setting is not plain, the comment says why it is
the best one.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.reflector_policy import METRICS_ADDRESS, filters_file, owners_file, prefix_limit
from bench.reflector_scenarios import OURS, OURS_WITH_POLICY, Scenario

AS, HOLD_S = 64512, 240
_CLUSTER = "10.200.0.1"


@dataclass(frozen=True, slots=True)
class Launch:
    """`files` are put into the folder before `argv` is run. `window` is how many handshakes it gets at a time.

    `ready_s` is how long it may take until it listens, `metrics` an address that is scraped as Prometheus does.
    `chroot` is an empty folder that its own service would make.
    """

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    window: int = 64
    ready_s: float = 15
    metrics: str | None = None
    chroot: str | None = None


Contender = Callable[[Path, Scenario], Launch]


def _network(scenario: Scenario) -> tuple[str, str, int]:
    """The clients' network, the reflector's address, the IP version."""
    return ("fd00:c8::/32", "fd00:c8::1", 6) if scenario.ipv6 else ("10.200.0.0/14", "10.200.0.1", 4)


def underlay(folder: Path, scenario: Scenario) -> Launch:
    """Ours without a store, as a newcomer starts it: every client of a prefix, no filters. The peers' hold time."""
    return Launch(_command(folder, scenario))


def underlay_with_policy(folder: Path, scenario: Scenario) -> Launch:
    """The same with ownership enforced, filters both ways, a prefix limit, metrics on."""
    files = {"owners.json": owners_file(scenario), "filters.yaml": filters_file(scenario)}
    policy = ["--owners", str(folder / "owners.json"), "--ownership", "enforce"]
    policy += ["--filters", str(folder / "filters.yaml"), "--max-prefixes", str(prefix_limit(scenario))]
    argv = (*_command(folder, scenario), *policy, "--metrics", METRICS_ADDRESS)
    return Launch(argv, files, metrics=METRICS_ADDRESS)


def _command(folder: Path, scenario: Scenario) -> tuple[str, ...]:
    network, address, version = _network(scenario)
    listen = f"[{address}]:179" if version == 6 else f"{address}:179"
    identity = ("--as", str(AS), "--router-id", _CLUSTER, "--cluster-id", _CLUSTER, "--hold-time", str(HOLD_S))
    own = ("--state-dir", str(folder / "state"), "--admin-socket", str(folder / "admin.sock"))
    return (
        *(sys.executable, "-m", "underlay", "reflector", *own),
        *("--listen", listen, *identity, "--accept", network),
    )


def bird(folder: Path, scenario: Scenario) -> Launch:
    network, address, version = _network(scenario)
    # scan time 1: bounds a stall of up to 3 s that BIRD 2.0.12 has when idle (it can fall asleep with a feed pending)
    config = f"""log "{folder}/bird.log" {{ warning, error, fatal, bug }};
router id {_CLUSTER};
protocol device {{ scan time 1; }}
ipv{version} table igptab;
protocol static {{ ipv{version} {{ table igptab; }}; route {network} via "lo"; }}
protocol bgp clients {{
  local {address} port 179 as {AS};
  neighbor range {network} as {AS};
  dynamic name "c"; dynamic name digits 5;
  rr client; rr cluster id {_CLUSTER};
  passive; hold time {HOLD_S}; strict bind yes;
  graceful restart off; long lived graceful restart off;
  ipv{version} {{ import all; export all; igp table igptab; }};
}}
"""
    argv = ("/usr/sbin/bird", "-f", "-c", f"{folder}/conf", "-s", f"{folder}/ctl")
    # It listens with a backlog of 8: with more at a time the kernel drops SYNs, for a second each.
    return Launch(argv, {"conf": config}, window=8)


def frr(folder: Path, scenario: Scenario) -> Launch:
    network, address, version = _network(scenario)
    # A view needs no next-hop tracking (there is no zebra to ask). coalesce-time: the default (1 s and more with many
    # peers) holds a late joiner back for that long; 0 breaks update groups apart in a cold start.
    config = f"""frr defaults traditional
hostname rr
log file {folder}/frr.log warnings
router bgp {AS} view RR
 bgp router-id {_CLUSTER}
 bgp cluster-id {_CLUSTER}
 timers bgp {HOLD_S // 3} {HOLD_S}
 no bgp default ipv4-unicast
 no bgp network import-check
 coalesce-time 50
 bgp listen limit 20000
 neighbor RR peer-group
 neighbor RR remote-as {AS}
 neighbor RR advertisement-interval 0
 neighbor RR passive
 bgp listen range {network} peer-group RR
 address-family ipv{version} unicast
  neighbor RR activate
  neighbor RR route-reflector-client
 exit-address-family
"""
    argv = ["/usr/lib/frr/bgpd", "-S", "-Z", "-n", "-l", address, "-p", "179", "-P", "0", "-f", f"{folder}/conf"]
    argv += ["--vty_socket", str(folder), "-i", f"{folder}/pid", "--limit-fds", "20000"]
    return Launch(tuple(argv), {"conf": config})


def gobgp(folder: Path, scenario: Scenario) -> Launch:
    network, address, version = _network(scenario)
    config = f"""[global.config]
  as = {AS}
  router-id = "{_CLUSTER}"
  port = 179
  local-address-list = ["{address}"]
[[peer-groups]]
  [peer-groups.config]
    peer-group-name = "rr"
    peer-as = {AS}
  [peer-groups.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "{_CLUSTER}"
  [peer-groups.timers.config]
    hold-time = {HOLD_S}
    keepalive-interval = {HOLD_S // 3}
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "ipv{version}-unicast"
[[dynamic-neighbors]]
  [dynamic-neighbors.config]
    prefix = "{network}"
    peer-group = "rr"
"""
    argv = ["/usr/bin/gobgpd", "-t", "toml", "-f", f"{folder}/conf", "-l", "error"]
    argv += ["--api-hosts", "127.0.0.1:50051", "--pprof-disable"]
    # GOGC=400: less CPU than the default (500 clients: 27 s, not 33 s), for about twice the memory
    return Launch(tuple(argv), {"conf": config}, {"GOGC": "400"})


def openbgpd(folder: Path, scenario: Scenario) -> Launch:
    network, address, version = _network(scenario)
    no_ipv4 = "announce IPv4 none\n  " if version == 6 else ""
    config = f"""AS {AS}
router-id {_CLUSTER}
listen on {address} port 179
socket "{folder}/ctl"
fib-update no
holdtime {HOLD_S}
group "rr" {{
  remote-as {AS}
  passive
  route-reflector
  {no_ipv4}announce IPv{version} unicast
  neighbor {network} {{ descr "c" }}
}}
allow from ibgp
allow to ibgp
"""
    # It listens with a backlog of 5.
    return Launch(("/usr/sbin/bgpd", "-d", "-f", f"{folder}/conf"), {"conf": config}, window=4, chroot="/run/openbgpd")


def command(text: str) -> Contender:
    """A reflector of the caller's own; `{dir}` stands for its folder, `{family}` for 4 or 6."""

    def launch(folder: Path, scenario: Scenario) -> Launch:
        filled = text.replace("{dir}", str(folder)).replace("{family}", "6" if scenario.ipv6 else "4")
        return Launch(tuple(shlex.split(filled)), ready_s=60)

    return launch


CONTENDERS: dict[str, Contender] = {
    OURS: underlay,
    OURS_WITH_POLICY: underlay_with_policy,
    "bird": bird,
    "frr": frr,
    "gobgp": gobgp,
    "openbgpd": openbgpd,
}
#: What each peer calls its version, on standard output or error.
VERSION_COMMANDS = {
    "bird": ("/usr/sbin/bird", "--version"),
    "frr": ("/usr/lib/frr/bgpd", "--version"),
    "gobgp": ("/usr/bin/gobgpd", "--version"),
    "openbgpd": ("/usr/sbin/bgpd", "-V"),
}
