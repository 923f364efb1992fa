"""OpenBGPD: its own parser, `bgpd -n`, and with `-v` what it understood, printed back in a form of its own.

Read back are the sessions, prefix sets and networks; of the filters it is seen that they parse, and in tests/interop
that they do what they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from peering.session import SwitchPlan
from tests.switches.commands import with_file
from tests.switches.facts import Facts, differences, features_of
from tests.switches.judges import Break, Files, Judge, ran


def parsed(files: Files, plan: SwitchPlan) -> list[str]:
    done = with_file("bgpd.conf", files["underlay.conf"], "/usr/sbin/bgpd", "-n", "-f", "{file}")
    return [] if done.returncode == 0 else [done.stderr or f"exit code {done.returncode}"]


READS = (
    *("asn", "router_id", "networks", "entries"),
    *("remote_asn", "local_asn", "passive", "port", "hold", "password", "ttl_security", "multihop"),
    *("rr_client", "add_paths", "max_prefixes", "families"),
)
_BLOCK = re.compile(r"neighbor (\S+) \{\n(.*?)\n\t?\}", re.DOTALL)
_SET = re.compile(r'prefix-set "(\S+)" \{\n(.*?)\}', re.DOTALL)


def read_back(files: Files, plan: SwitchPlan) -> list[str]:
    done = with_file("bgpd.conf", files["underlay.conf"], "/usr/sbin/bgpd", "-n", "-v", "-f", "{file}")
    return [done.stderr] if done.returncode else differences(plan, understood(done.stdout), READS)


def understood(text: str) -> Facts:
    """The facts of what `bgpd -nv` prints."""
    asn = int(_said(r"^AS (\d+)$", text) or 0)
    found: Facts = {
        ("switch", ""): {
            "asn": asn,
            "router_id": _said(r"^router-id (\S+)$", text),
            "networks": frozenset(re.findall(r"^network (\S+)$", text, re.MULTILINE)),
        }
    }
    for name, inside in _SET.findall(text):
        found["prefix-list", name] = {"entries": frozenset(_entries(inside))}
    for key, block in _BLOCK.findall(text):
        found["range" if "/" in key else "neighbor", key] = _session(asn, block, 6 if ":" in key else 4)
    return found


def _said(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match and match[1]


def _entries(inside: str) -> Iterator[tuple[str, int, int]]:
    """`10.0.11.1/32`, `10.244.0.0/16 prefixlen = 26`, `... prefixlen 24 - 26`, `... maxlen 26`, `... or-longer`."""
    for prefix, lengths in re.findall(r"([0-9a-f.:]+/\d+)([^,\n]*)", inside):
        network = ip_network(prefix)
        numbers = [int(number) for number in re.findall(r"\d+", lengths)]
        if not lengths or "maxlen" in lengths:
            numbers.insert(0, network.prefixlen)
        if "or-longer" in lengths:
            numbers = [network.prefixlen, network.max_prefixlen]
        yield prefix, numbers[0], numbers[-1]


def _session(asn: int, block: str, version: int) -> dict[str, Any]:
    def number(word: str) -> int | None:
        found = _said(rf"^\s*{word} (\d+)", block)
        return int(found) if found else None

    hops, gtsm = number("multihop"), "ttl-security yes" in block
    limit = number("max-prefix")
    families = frozenset(int(one) for one in re.findall(r"announce IPv(\d) unicast", block))
    paths = ("announce add-path send all" in block, "announce add-path recv yes" in block)
    return {
        "remote_asn": number("remote-as") or 0,
        "local_asn": number("local-as") or asn,
        "passive": bool(_said(r"^\s*(passive)$", block)),
        "port": number("port") or 179,
        "hold": number("holdtime"),
        "password": "tcp md5sig" in block,
        "ttl_security": (hops or 1) if gtsm else None,
        "multihop": None if gtsm else hops,
        "rr_client": "route-reflector" in block,
        "add_paths": {(True, True): "both", (True, False): "send", (False, True): "receive"}.get(paths),
        "max_prefixes": limit // len(families) if limit and families else None,
        "families": families or frozenset((version,)),
    }


_LIVE = "tests/interop/test_live_switches.py"

JUDGES = (
    Judge(
        level="parsed",
        name="`bgpd -n`",
        complaints=parsed,
        breaks=(
            Break(r'from group "UNDERLAY-NODES" prefix-set "UNDERLAY-ACCEPT-V4"', r'from prefix-set "UNDERLAY-X"'),
            Break(r'(from group \S+ prefix-set) "UNDERLAY-ACCEPT-V4"', r'\1 "UNDERLAY-ACCEPTED-V4"'),
            Break(r"max-prefix \d+ restart", "max-prefixes 5 restart"),
            Break(r"holdtime \d+", "holdtime 2"),
            Break(r"10\.244\.0\.0/16 prefixlen = 26", "10.244.0.0/33 prefixlen = 26"),
            Break(r"peer-as \d+", "peer-as 4294967296"),
            Break(r"origin incomplete", "origin unknown"),
        ),
    ),
    Judge(
        level="read back",
        name="`bgpd -nv`",
        complaints=read_back,
        proves=features_of(READS) - {"timers", "listenRanges"},
        breaks=(
            Break(r"remote-as \d+", "remote-as 64999"),
            Break(r"prefixlen = 26", "prefixlen 24 - 26"),
            Break(r"\t\tpassive\n", ""),
            Break(r"\t\tttl-security yes\n", ""),
            Break(r"max-prefix \d+", "max-prefix 6"),
            Break(r"network 10\S+\n", ""),
            Break(r"announce add-path recv yes\n", ""),
            Break(r"local-as \d+\n", "local-as 65098\n"),
        ),
    ),
)
RAN = (
    ran(
        f"{_LIVE}::test_only_what_the_plan_allows_passes",
        "blackhole",
        "gracefulShutdown",
        "originate",
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
    ran(f"{_LIVE}::test_nodes_of_one_as_hear_of_each_other", "peerASInPath"),
    ran(f"{_LIVE}::test_the_racks_other_switch_is_believed_last", "setOrigin"),
    ran(
        "tests/interop/test_live_helper.py::test_the_routes_of_a_dead_node_stay_where_it_said_it_would_return",
        "gracefulRestart",
    ),
    ran(
        "tests/interop/test_live_reflects.py::test_reflected_routes_keep_their_next_hop_and_others_get_ours",
        "clusterID",
        "rrClient",
    ),
)
