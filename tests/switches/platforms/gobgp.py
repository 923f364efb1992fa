"""GoBGP: a dry run looks at the keys and no further, so each file is started too, and the daemon asked what it has.

It runs in a network namespace of its own, where nobody else listens on its ports. Read back are the sessions and the
prefix sets; that a policy names sets which are there is what starting looks at.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from peering.session import SwitchPlan
from tests.switches.commands import with_file
from tests.switches.facts import Facts, differences, features_of
from tests.switches.judges import Break, Files, Judge, ran


def parsed(files: Files, plan: SwitchPlan) -> list[str]:
    done = with_file("gobgpd.yml", files["gobgpd.yml"], "gobgpd", "-d", "-t", "yaml", "-f", "{file}")
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


READS = (
    *("asn", "router_id", "entries"),
    *("remote_asn", "local_asn", "description", "local_address", "passive", "port", "hold", "keepalive"),
    *("connect_retry", "password", "ttl_security", "multihop", "rr_client", "as_override", "allow_as_in"),
    *("max_prefixes", "add_paths", "long_lived", "families"),
)
#: Starts it, waits until it listens (on port 0xC383; who asks before waits a second) and knows its last neighbour, or
#: has ended, and prints its answers, one a line.
_ASK = """
ip link set lo up
gobgpd -t yaml -f {file} --api-hosts 127.0.0.1:50051 --pprof-disable >{file}.log 2>&1 &
daemon=$!
while kill -0 $daemon 2>/dev/null; do
  grep -q :C383 /proc/net/tcp && gobgp -j neighbor LAST >/dev/null 2>&1 && break
  sleep 0.02
done
gobgp -j global && gobgp -j neighbor && gobgp -j policy prefix || cat {file}.log
kill $daemon
"""


def read_back(files: Files, plan: SwitchPlan) -> list[str]:
    text = files["gobgpd.yml"]
    addresses = [line.split()[1].strip("'") for line in text.splitlines() if "neighbor-address:" in line]
    script = _ASK.replace("LAST", shlex.quote(addresses[-1]))
    done = with_file("gobgpd.yml", text, "timeout", "60", "unshare", "-n", "sh", "-c", script)
    lines = done.stdout.splitlines()
    if len(lines) != 3 or not lines[1].startswith("["):
        return [done.stdout]
    return differences(plan, understood(*map(json.loads, lines)), READS)


def understood(instance: dict[str, Any], neighbors: list[dict[str, Any]], sets: list[dict[str, Any]]) -> Facts:
    """The facts of what `gobgp -j` tells."""
    found: Facts = {("switch", ""): {"asn": instance["asn"], "router_id": instance["router_id"]}}
    for one in sets or []:
        found["prefix-list", one["name"]] = {"entries": frozenset(map(_entry, one.get("prefixes", [])))}
    for n in neighbors:
        found["neighbor", n["conf"]["neighbor_address"]] = _session(n)
    return found


def _entry(said: dict[str, Any]) -> tuple[str, int, int]:
    """Zeros are left out."""
    return said["ip_prefix"], said.get("mask_length_min", 0), said.get("mask_length_max", 0)


def _session(n: dict[str, Any]) -> dict[str, Any]:
    said, timers, transport = n["conf"], n["timers"]["config"], n["transport"]
    families = n["afi_safis"]
    paths = families[0]["add_paths"]["config"]
    limit = families[0].get("prefix_limits", {})
    local = transport.get("local_address", "")
    return {
        "remote_asn": said["peer_asn"],
        "local_asn": said["local_asn"],
        "description": said["description"],
        "local_address": None if local in ("", "0.0.0.0", "::") else local,
        "passive": transport.get("passive_mode", False),
        "port": transport.get("remote_port", 179),
        "hold": timers["hold_time"],
        "keepalive": timers["keepalive_interval"],
        "connect_retry": timers["connect_retry"],
        "password": "auth_password" in said,
        "ttl_security": 256 - n["ttl_security"]["ttl_min"] if n["ttl_security"].get("enabled") else None,
        "multihop": n["ebgp_multihop"].get("multihop_ttl"),
        "rr_client": n["route_reflector"].get("route_reflector_client", False),
        "as_override": said.get("replace_peer_asn", False),
        "allow_as_in": said.get("allow_own_asn"),
        "max_prefixes": limit.get("max_prefixes"),
        "add_paths": {(True, True): "both", (True, False): "send", (False, True): "receive"}.get(
            (paths.get("send_max", 0) > 0, paths.get("receive", False))
        ),
        "long_lived": families[0]["long_lived_graceful_restart"]["config"].get("restart_time"),
        "families": frozenset({1: 4, 2: 6}[f["config"]["family"]["afi"]] for f in families),
    }


_LIVE = "tests/interop/test_live_switches.py"

JUDGES = (
    Judge(
        level="parsed",
        name="`gobgpd -d`",
        complaints=parsed,
        breaks=(
            Break(r"hold-time:", "hold-tyme:"),
            Break(r"hold-time: \d+", "hold-time: long"),
            Break(r"default-export-policy:", "default-exports-policy:"),
        ),
    ),
    Judge(
        level="read back",
        name="`gobgp -j` of a running gobgpd",
        complaints=read_back,
        proves=features_of(READS),
        # `gobgp` has no command that tells of dynamic neighbours, and without any other there is nothing to wait for.
        takes=lambda plan: bool(plan.sessions) and not plan.listen_ranges,
        breaks=(
            Break(r"prefix-set: UNDERLAY-ACCEPT-V4", "prefix-set: UNDERLAY-ACEPT-V4"),
            Break(r"peer-as: \d+", "peer-as: 64999"),
            Break(r"masklength-range: 26\.\.26", "masklength-range: 24..26"),
            Break(r"ttl-min: 255", "ttl-min: 254"),
            Break(r"keepalive-interval: \d+", "keepalive-interval: 7"),
            Break(r"max-prefixes: \d+", "max-prefixes: 5"),
            Break(r"replace-peer-as: true", "replace-peer-as: false"),
        ),
    ),
)
RAN = (
    ran(
        f"{_LIVE}::test_only_what_the_plan_allows_passes",
        "blackhole",
        "gracefulShutdown",
        "passive",
        "password",
        "pathFilters",
        "prefixFilters",
        "stripCommunities",
        "ttlSecurity",
    ),
    ran(f"{_LIVE}::test_too_many_prefixes_close_the_session", "maxPrefixes"),
    ran(f"{_LIVE}::test_a_wrong_password_is_no_session", "password"),
    ran(f"{_LIVE}::test_a_packet_from_afar_is_no_session", "ttlSecurity"),
    ran(f"{_LIVE}::test_nodes_dial_in_from_a_range", "listenRanges"),
    ran(f"{_LIVE}::test_nodes_of_several_ass_dial_in_from_a_range", "listenASFilter"),
    ran(
        "tests/interop/test_live_helper.py::test_the_routes_of_a_dead_node_stay_where_it_said_it_would_return",
        "gracefulRestart",
    ),
    ran(
        "tests/interop/test_live_reflects.py::test_reflected_routes_keep_their_next_hop_and_others_get_ours",
        "clusterID",
        "rrClient",
    ),
    ran("tests/interop/test_live_gobgp.py::test_ipv4_goes_over_an_ipv6_session", "extendedNextHop"),
)
