"""FRR configurations: golden files to read, and what must hold for any of them."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabric_templates import devices, features
from fabric_templates.devices import Device
from fabric_templates.naming import fit
from fabric_templates.render import RenderRefused, check, render, secret_files
from peering.problems import Problem, errors
from peering.session import ListenRange, PrefixRule, SecretKeyRef, SwitchPlan
from tests.unit.frr_cases import CASES, FAR, FAST, SECRET, ibgp, switch, to_node, to_spine, unnumbered

GOLDEN = Path(__file__).parent / "golden" / "frr"
ROOM = Path(features.__file__).parent


def frr_conf(plan: SwitchPlan, **options: Any) -> str:
    return render("tor-1a", plan, **options)["frr.conf"]


def frr() -> Device:
    device = devices.find("frr", "Switch/tor-1a")
    assert isinstance(device, Device)
    return device


@pytest.mark.parametrize("case", sorted(CASES))
def test_golden(case: str, equals_golden: Callable[[Path, str], None]) -> None:
    equals_golden(GOLDEN / f"{case}.conf", frr_conf(CASES[case]))


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", sorted(CASES))
def test_order_of_the_plan_does_not_matter(case: str) -> None:
    plan = CASES[case]
    shuffle = random.Random(7)
    shuffled: dict[str, Any] = {
        name: tuple(shuffle.sample(value, len(value)))
        for name in ("sessions", "listen_ranges", "networks", "aggregates", "accept", "send", "announce")
        if (value := getattr(plan, name))
    }
    assert frr_conf(replace(plan, **shuffled)) == frr_conf(plan)


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_new_node_takes_no_line_away(case: str) -> None:
    """Sessions stay up when a node joins, even one that differs from all others, and policy grows by its lines only."""
    plan = CASES[case]
    design = {key: getattr(plan.sessions[0], key) for key in ("type", "peer_asn")} if plan.sessions else {}
    other = to_node(9, hold_time=240, max_prefixes=3, ttl_security=5, graceful_restart_time=0, **design)
    grown = replace(
        plan,
        sessions=(*plan.sessions, other),
        accept=(PrefixRule("10.0.0.9/32", 32, 32), *plan.accept),
        announce=(PrefixRule("10.0.0.9/32", 32, 32), *plan.announce),
    )
    before = frr_conf(plan).splitlines()
    after = frr_conf(grown).splitlines()
    assert [line for line in before if line not in after and "deny any" not in line] == []


def test_a_new_as_takes_no_line_away() -> None:
    plan = CASES["as-per-node"]
    before = frr_conf(plan).splitlines()
    after = frr_conf(replace(plan, sessions=(*plan.sessions, to_node(9, peer_asn=23)))).splitlines()
    assert [line for line in before if line not in after] == []
    assert "bgp as-path access-list UNDERLAY-NODES seq 23 permit ^23(_23)*$" in after


def test_of_two_path_rules_for_one_as_the_wider_stands() -> None:
    reflector = to_node(2, peer="reflector/rr-1", name="rr-1-ipv4")
    shown = frr_conf(switch(to_node(1), reflector, to_spine(1)))
    rack = [line for line in shown.splitlines() if "access-list UNDERLAY-RACK " in line]
    assert [line.split(" permit ")[1] for line in rack] == ["^$", "^65101(_65101)*(_[0-9]+)*$"]


def test_passwords_are_placeholders_unless_given() -> None:
    plan = CASES["password"]
    password = secrets.token_urlsafe(16)
    shown = frr_conf(plan)
    assert "password <secret:rack-1/bgp>" in shown
    assert frr_conf(plan, passwords={SECRET: password}) == shown.replace("<secret:rack-1/bgp>", password)
    assert secret_files(plan) == {"frr.conf"}
    assert secret_files(CASES["max-prefixes"]) == frozenset()


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (PrefixRule("10.0.0.0/16", 16, 16), "10.0.0.0/16"),
        (PrefixRule("10.0.0.0/16", 0, 16), "10.0.0.0/16"),
        (PrefixRule("10.0.0.0/16", 16, 24), "10.0.0.0/16 le 24"),
        (PrefixRule("10.0.0.0/16", 17, 24), "10.0.0.0/16 ge 17 le 24"),
        (PrefixRule("10.0.0.0/16", 26, 26), "10.0.0.0/16 ge 26 le 26"),
        (PrefixRule("10.0.0.0/16", 32, 32), "10.0.0.0/16 ge 32 le 32"),
        (PrefixRule("0.0.0.0/0", 0, 0), "0.0.0.0/0"),
        (PrefixRule("0.0.0.0/0", 0, 32), "0.0.0.0/0 le 32"),
    ],
)
def test_prefix_bounds(rule: PrefixRule, line: str) -> None:
    shown = frr_conf(switch(to_node(1), accept=(rule,)))
    assert f"ip prefix-list UNDERLAY-ACCEPT-V4 permit {line}\n" in shown


BAD_VALUES: dict[str, SwitchPlan] = {
    "sessions['node\\n'].name": switch(to_node(1, name="node\n")),
    "sessions[node-1-ipv4].peer": switch(to_node(1, peer="node/a\nrouter bgp 1")),
    "sessions[node-1-ipv4].bfd": switch(to_node(1, bfd=replace(FAST, profile="two words"))),
    "sessions[node-1-ipv4].peerAddress": switch(to_node(1, peer_address="fe80::1%eth0")),
    "sessions[node-1-ipv4].localAddress": switch(to_node(1, local_address="10.0.0.1\n")),
    "sessions[node-1-ipv4].clusterID": switch(to_node(1, **ibgp(cluster_id="one"))),
    "sessions[node-1-ipv4].peerASN": switch(to_node(1, peer_asn=1 << 32)),
    "sessions[node-1-ipv4].localASN": switch(to_node(1, local_asn=0)),
    "sessions[node-1-eth 3].interface": switch(unnumbered(1, "eth 3")),
    "sessions[node-1-ipv4].reachableBy": switch(to_node(1, reachable_by="tor")),
    "sessions[node-1-ipv4].peerPort": switch(to_node(1, peer_port=0)),
    "sessions[node-1-ipv4].password.secretKeyRef": switch(to_node(1, password=SecretKeyRef("a", "b\n"))),
    "rack": switch(rack="rack-1 "),
    "routerID": switch(router_id="fd00::1"),
    "asn": switch(asn=0),
    "networks[0]": switch(networks=("10.0.0.1/24",)),
    "aggregates[0]": switch(aggregates=("10.0.0.1/24",)),
    "accept[0]": switch(accept=(PrefixRule("10.0.0.0/16", 27, 26),)),
    "send[0]": switch(send=(PrefixRule("10.0.0.0/16", 8, 15),)),
    "announce[0]": switch(announce=(PrefixRule("10.0.0.0/16", 16, 33),)),
    "listenRanges[0].cidr": switch(listen_ranges=(ListenRange(cidr="all", peer_asn=1, limit=1),)),
    "listenRanges[0].peerASN": switch(listen_ranges=(ListenRange(cidr="10.0.0.0/8", peer_asn=0, limit=1),)),
}


@pytest.mark.parametrize("path", sorted(BAD_VALUES))
def test_bad_values_are_refused(path: str) -> None:
    with pytest.raises(RenderRefused) as refused:
        frr_conf(BAD_VALUES[path])
    assert {(p.code, p.path) for p in refused.value.problems} == {("unprintable-value", path)}
    assert "\n" not in "".join(p.line() for p in refused.value.problems)


def test_a_bad_switch_name_is_refused() -> None:
    assert [p.path for p in check("tor\nexit", switch())] == ["name"]


@pytest.mark.parametrize("form", ["{}\n", "{}\nexit", " {}", "{} ", "{}  {}", "{} {}", "\x1b{}", "{}é", ""])
def test_bad_passwords_are_refused_and_not_shown(form: str) -> None:
    password = secrets.token_hex(8)
    text = form.format(password, password)
    with pytest.raises(RenderRefused) as refused:
        frr_conf(CASES["password"], passwords={SECRET: text})
    assert {p.code for p in refused.value.problems} == {"unprintable-value"}
    assert password not in str(refused.value)


def test_a_missing_or_long_password_is_refused() -> None:
    for passwords in ({}, {SECRET: secrets.token_hex(41)}):
        problems = check("tor-1a", CASES["password"], passwords=passwords)
        assert [p.path for p in problems] == ["sessions[node-1-ipv4].password", "sessions[node-2-ipv4].password"]


LACKING: dict[str, SwitchPlan] = {
    "multihop-with-ttl-security": switch(to_node(1, multihop=2, ttl_security=2)),
    "import-filters": switch(to_node(1, import_filters=("a",))),
    "export-filters": switch(to_node(1, export_filters=("a",))),
    "as-override": switch(to_node(1, **ibgp(as_override=True))),
    "local-asn": switch(to_node(1, type="ibgp", local_asn=65101, peer_asn=65101)),
    "rr-client": switch(to_node(1, rr_client=True)),
    "add-paths": switch(to_node(1, add_paths="some")),
    "allow-as-in-value": switch(to_node(1, allow_as_in=11)),
    "ttl-security-value": switch(to_node(1, ttl_security=255)),
    "cluster-id-per-session": switch(to_node(1, **ibgp()), to_node(2, **ibgp(cluster_id="10.0.1.9"))),
    "long-lived-stale-time-per-session": switch(
        to_node(1, long_lived_stale_time=1), to_node(2, long_lived_stale_time=2)
    ),
    "sessions-with-same-address": switch(
        to_node(1, 6), to_node(2, 6, peer_address="fd00:1:1:0::1"), unnumbered(1, "eth3"), unnumbered(2, "eth3")
    ),
    "bfd-minimum-ttl-value": switch(to_node(1, bfd=replace(FAR, minimum_ttl=255))),
    "bfd-receive-interval-value": switch(to_node(1, bfd=replace(FAR, receive_interval=5))),
    "bfd-transmit-interval-value": switch(to_node(1, bfd=replace(FAR, transmit_interval=60001))),
    "bfd-detect-multiplier-value": switch(to_node(1, bfd=replace(FAR, detect_multiplier=1))),
    "listen-limit-value": switch(listen_ranges=(ListenRange(cidr="10.0.0.0/8", peer_asn=1, limit=65536),)),
}


@pytest.mark.parametrize("code", sorted(LACKING))
def test_what_frr_cannot_express_is_refused(code: str) -> None:
    with pytest.raises(RenderRefused) as refused:
        frr_conf(LACKING[code])
    assert {p.code for p in refused.value.problems} == {f"platform-lacks-{code}"}


def test_warnings_are_reported_and_pass() -> None:
    problems = check("tor-1a", CASES["as-per-node"])
    assert {p.code for p in problems} == {"platform-lacks-listen-limit-per-range"}
    assert errors(problems) == ()
    assert frr_conf(CASES["as-per-node"])


def test_a_platform_that_can_nothing_says_so_for_every_option() -> None:
    """Each feature of the table is asked for by some session: none is dead, none is left out in silence."""
    bare = frr().model_copy(update={"features": dict.fromkeys(frr().features, False), "conflicts": ()})
    plans = [*CASES.values(), *LACKING.values()]
    found = {p.code for plan in plans for p in features.check("Switch/x", plan, bare)}
    assert found >= {features.code_of(feature) for feature in bare.features}


def test_forty_sessions_are_one_problem() -> None:
    plan = switch(*(to_node(n, import_filters=("a",)) for n in range(1, 41)), to_spine(1, export_filters=("a",)))
    lines = [p.line() for p in check("tor-1a", plan)]
    assert lines == [
        "Switch/tor-1a exportFilters: FRRouting 8.4+ cannot express exportFilters for session spine-1-ipv4 of "
        "Switch/tor-1a (put the filter on the node's end)",
        "Switch/tor-1a importFilters: FRRouting 8.4+ cannot express importFilters for session node-1-ipv4, "
        "node-10-ipv4, node-11-ipv4, node-12-ipv4, node-13-ipv4 and 35 more of Rack/rack-1 "
        "(put the filter on the node's end)",
    ]


def test_unknown_platform_names_the_nearest() -> None:
    problem = devices.find("fr", "Switch/tor-1a")
    assert isinstance(problem, Problem)
    assert problem.line() == (
        f"Switch/tor-1a spec.platform: there is no platform 'fr' (did you mean frr? known: "
        f"{', '.join(devices.names())})"
    )
    with pytest.raises(RenderRefused):
        frr_conf(switch(platform="../frr"))


def test_every_platform_file_is_complete() -> None:
    assert all(isinstance(devices.find(name, ""), Device) for name in devices.names())


def test_a_platform_file_that_forgets_a_feature_is_refused() -> None:
    rows = frr().model_dump(by_alias=True)
    del rows["features"]["bfd"]
    with pytest.raises(ValueError, match="lacks a row for bfd"):
        Device.model_validate(rows)


def test_no_module_knows_a_platform() -> None:
    for module in ROOM.glob("*.py"):
        assert [name for name in devices.names() if f'"{name}"' in module.read_text()] == []


def test_long_names_fit_and_stay_different() -> None:
    assert fit("a" * 20, 20) == "a" * 20
    first, second = fit("a" * 21, 20), fit("a" * 22, 20)
    assert len(first) == len(second) == 20
    assert first != second
