"""`diff` for platforms whose configuration is a document: nothing where it runs the plan, and not a word about others.

What does as it is told is in document_models.py. GoBGP's file is read by gobgpd itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabric_templates import devices
from fabric_templates.remediation.compare import compare, unreadable
from fabric_templates.remediation.documents import tables
from fabric_templates.remediation.notes import Remedy
from fabric_templates.render import check
from peering.problems import errors
from peering.session import Setting, SwitchPlan
from tests.switches.commands import with_file
from tests.switches.document_models import Apic, SrLinux, patched
from tests.switches.facts import differences
from tests.switches.matrix import BASE, PASSWORD, PASSWORDS, build, cases
from tests.switches.platforms import releases
from tests.switches.platforms.gobgp import READS, understood
from tests.switches.scenarios import SCENARIOS
from tests.switches.test_remediation import GOLDEN, SCENARIO, before
from tests.switches.test_remediation import text_of as rendered

PLATFORMS = [name for name in releases() if name.partition("@")[0] in tables.names()]
#: What a platform's plans cannot have, so that it can say the designs.
FEWER = {
    "sonic": {"password": "none", "longLived": "none"},
    "srlinux": {"ttlSecurity": "no", "longLived": "none"},
    "aci": {"ttlSecurity": "no"},
    "gobgp": {"neighbors": "named", "bfd": "no"},
}


def loaded(text: str) -> Any:
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dumped(tree: Any) -> str:
    return yaml.dump(tree, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))


@cache
def text_of(plan: SwitchPlan, secrets: bool = False) -> str:
    return rendered(plan, PASSWORDS if secrets else None)


def scenario(name: str, platform: str) -> SwitchPlan:
    return build(BASE | SCENARIOS[name] | FEWER[platform.partition("@")[0]], platform)


DESIGNS = [(p, d) for p in PLATFORMS for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, p)))]
_LEAF = "topology/pod-1/node-101"
_PEER = {"bgpPeerP": {"attributes": {"addr": "10.99.0.9", "descr": "by hand"}, "children": []}}
_SVI = {"nodeDn": _LEAF, "encap": "vlan-13"}
#: What somebody else has on the switch, in the same instance and beside it.
BY_HAND: dict[str, Any] = {
    "sonic": {
        "PORT": {"Ethernet0": {"lanes": "0,1", "mtu": "9100"}},
        "BGP_GLOBALS": {"default": {"keepalive": "10"}, "VrfOffice": {"local_asn": "65099"}},
        "BGP_GLOBALS_AF_NETWORK": {"default|ipv4_unicast|198.51.100.0/24": {}},
        "BGP_NEIGHBOR": {
            "default|10.99.0.9": {"asn": "65999", "peer_group_name": "OTHERS", "auth_password": "theirs"},
            "10.99.0.10": {"asn": "65999"},
            "VrfOffice|10.1.1.1": {"asn": "65999"},
        },
        "BGP_NEIGHBOR_AF": {"default|10.99.0.9|ipv4_unicast": {"admin_status": "up"}},
        "BGP_PEER_GROUP": {"default|OTHERS": {}},
        "PREFIX_SET": {"OFFICE": {"mode": "IPv4"}},
        "PREFIX": {"OFFICE|192.0.2.0/24|exact": {"action": "permit"}},
        "STATIC_ROUTE": {"default|10.0.99.1/32": {"nexthop": "10.1.1.99"}},
    },
    "srlinux": {
        "interface": [{"name": "ethernet-1/1", "admin-state": "enable"}],
        "routing-policy": {
            "prefix-set": [
                {"name": "OFFICE", "prefix": [_OFFICE := {"ip-prefix": "192.0.2.0/24", "mask-length-range": "exact"}]}
            ]
        },
        "system": {"authentication": {"keychain": [{"name": "OFFICE", "type": "tcp-md5"}]}},
        "network-instance": [
            {
                "name": "default",
                "type": "default",
                "interface": [{"name": "ethernet-1/1.0"}],
                "protocols": {
                    "bgp": {
                        "neighbor": [{"peer-address": "10.99.0.9", "peer-as": 65999, "peer-group": "OTHERS"}],
                        "group": [{"group-name": "OTHERS", "admin-state": "enable"}],
                        "preference": {"ebgp": 20},
                    }
                },
                "static-routes": {"route": [{"prefix": "10.0.99.1/32", "next-hop-group": "OFFICE"}]},
                "next-hop-groups": {"group": [{"name": "OFFICE", "nexthop": [{"index": 1}]}]},
                "aggregate-routes": {"route": [{"prefix": "198.51.100.0/24", "admin-state": "enable"}]},
            },
            {"name": "office", "protocols": {"bgp": {"neighbor": [{"peer-address": "10.1.1.1", "peer-as": 65999}]}}},
        ],
    },
    "gobgp": {
        "zebra": {"config": {"enabled": False, "url": "unix:/run/frr/zserv.api"}},
        "neighbors": [
            {"config": {"neighbor-address": "10.99.0.9", "peer-as": 65999, "auth-password": "theirs"}},
        ],
        "defined-sets": {
            "prefix-sets": [
                {
                    "prefix-set-name": "OFFICE",
                    "prefix-list": [{"ip-prefix": "192.0.2.0/24", "masklength-range": "24..32"}],
                }
            ]
        },
        "policy-definitions": [
            {
                "name": "OFFICE",
                "statements": [
                    {
                        "name": "OFFICE-10",
                        "conditions": {"match-prefix-set": {"prefix-set": "OFFICE"}},
                        "actions": {"route-disposition": "reject-route"},
                    }
                ],
            }
        ],
        "global": {"apply-policy": {"config": {"import-policy-list": ["OFFICE"]}}},
    },
    "aci": {
        "fvTenant": {
            "attributes": {"name": "kubernetes"},
            "children": [
                {"fvCtx": {"attributes": {"name": "pods"}}},
                {"rtctrlSubjP": {"attributes": {"name": "OFFICE"}}},
                {"rtctrlProfile": {"attributes": {"name": "UNDERLAY-NODES-IN-V4-102", "type": "global"}}},
                {"bgpPeerPfxPol": {"attributes": {"name": "UNDERLAY-101", "maxPfx": "101"}}},
                {
                    "l3extOut": {
                        "attributes": {"name": "UNDERLAY"},
                        "children": [
                            {"l3extLNodeP": {"attributes": {"name": "UNDERLAY-102"}, "children": [_PEER]}},
                            {
                                "l3extLNodeP": {
                                    "attributes": {"name": "UNDERLAY-101"},
                                    "children": [
                                        {
                                            "l3extLIfP": {
                                                "attributes": {"name": "UNDERLAY-101-V4"},
                                                "children": [
                                                    {"l3extVirtualLIfP": {"attributes": _SVI, "children": [_PEER]}}
                                                ],
                                            }
                                        },
                                        {
                                            "l3extLIfP": {
                                                "attributes": {"name": "OFFICE"},
                                                "children": [
                                                    {
                                                        "l3extRsPathL3OutAtt": {
                                                            "attributes": {"tDn": f"{_LEAF}/pathep-[eth1/9]"}
                                                        }
                                                    }
                                                ],
                                            }
                                        },
                                    ],
                                }
                            },
                        ],
                    }
                },
            ],
        }
    },
}
NOTES = {
    "sonic": ["neighbor 10.99.0.10", "neighbor 10.99.0.9", "network 198.51.100.0/24"],
    "srlinux": ["neighbor 10.99.0.9", "network 198.51.100.0/24"],
    "gobgp": ["neighbor 10.99.0.9"],
    "aci": ["neighbor 10.99.0.9"],
}


def kind_of(platform: str) -> str:
    return platform.partition("@")[0]


def beside(text: str, platform: str) -> str:
    """The configuration with what somebody else has in the same places."""
    kind = kind_of(platform)
    if kind == "aci":
        return Apic(text, json.dumps(BY_HAND["aci"])).get()
    if kind == "gobgp":
        return dumped(merge(loaded(text), BY_HAND["gobgp"]))
    return json.dumps(merge(bare(json.loads(text)), BY_HAND[kind]))


def bare(tree: Any) -> Any:
    """Without the modules that SR Linux' names are of: as its CLI prints them."""
    if isinstance(tree, list):
        return [bare(one) for one in tree]
    if not isinstance(tree, dict):
        return tree.split(":", 1)[1] if isinstance(tree, str) and tree.startswith("srl_nokia-") else tree
    return {key.split(":")[1] if key.startswith("srl_nokia-") else key: bare(value) for key, value in tree.items()}


def merge(one: Any, other: Any) -> Any:
    """Two documents in one: maps by key, an instance of the same name with that of the same name."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one | other | {key: merge(one[key], other[key]) for key in one.keys() & other.keys()}
    if isinstance(one, list) and isinstance(other, list):
        names = {entry["name"]: entry for entry in one if isinstance(entry, dict) and "name" in entry}
        pairs = [merge(names[e["name"]], e) for e in other if isinstance(e, dict) and e.get("name") in names]
        merged = {entry["name"] for entry in pairs}
        rest = [e for e in (*one, *other) if not (isinstance(e, dict) and e.get("name") in merged)]
        return [*pairs, *rest]
    return other


def state(text: str, platform: str) -> Any:
    """What a configuration says, in the form of the platform's model."""
    kind = kind_of(platform)
    if kind == "srlinux":
        return SrLinux(text).said
    if kind == "aci":
        return Apic(text).seen()
    return loaded(text) if kind == "gobgp" else json.loads(text)


def obeyed(text: str, remedy: Remedy, goal: str, platform: str) -> Any:
    """What is there when somebody who runs `text` did as he was told."""
    kind, said = kind_of(platform), "\n".join(remedy.lines)
    if kind == "sonic":
        return patched(text, remedy.lines)
    if kind == "gobgp":
        return loaded(said or text)
    if kind == "aci":
        apic = Apic(text)
        if said:
            apic.post(said)
        return apic.seen()
    switch, shape = SrLinux(text), SrLinux(goal)
    switch.load(remedy.lines, shape)
    in_goal = [path for path in switch.statements() if path in shape.statements()]
    assert in_goal == shape.statements()
    return switch.said


def leftover(reached: Any, goal: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of what is there and not in the goal."""
    for key, value in reached.items():
        here = (*path, *(key if isinstance(key, tuple) else (key,)))
        if key not in goal:
            yield from leftover(value, {}, here) if isinstance(value, dict) and value else [here]
        elif isinstance(value, dict):
            yield from leftover(value, goal[key], here)
        elif value != goal[key]:
            yield here


def is_left(platform: str, path: tuple[str, ...], told: set[str]) -> bool:
    """What may be somebody else's, too: a family that the plan has not, what is announced and is `told` of; of ACI what
    all leaves share."""
    kind = kind_of(platform)
    if kind == "sonic" and path[0] in ("BGP_GLOBALS_AF_NETWORK", "BGP_GLOBALS_AF_AGGREGATE_ADDR"):
        return path[1].split("|")[2] in told
    if kind == "sonic":
        return path[0] == "BGP_GLOBALS_AF"
    if kind == "srlinux":
        return path[2:5] == ("protocols", "bgp", "afi-safi")
    return kind == "aci" and not any(key.endswith(("-101", "-V4", "-V6")) for key in path)


def contains(reached: Any, goal: Any) -> bool:
    if isinstance(goal, dict) and isinstance(reached, dict):
        return all(key in reached and contains(reached[key], value) for key, value in goal.items())
    return bool(reached == goal)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_said_to_a_switch_that_runs_the_plan(platform: str) -> None:
    for name, plan in sorted(cases(platform).items()):
        text = text_of(plan, True)
        for passwords in (None, PASSWORDS):
            remedy = compare("tor-1a", plan, text, passwords=passwords)
            assert (remedy.lines, remedy.problems) == ((), ()), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_that_changed(platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, text_of(before(plan)))
    assert remedy.problems == ()
    equals_golden(GOLDEN / f"{platform}.txt", "\n".join(remedy.lines) + "\n")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_who_does_what_is_said_gets_from_each_plan_to_the_next(platform: str) -> None:
    plans = [plan for _, plan in sorted(cases(platform).items()) if plan.asn == 65011]
    assert len(plans) > 20
    for one, other in pairwise(plans):
        running, wanted = text_of(one), text_of(other)
        remedy = compare("tor-1a", other, running)
        reached, goal = obeyed(running, remedy, wanted, platform), state(wanted, platform)
        assert contains(reached, goal)
        told = {problem.path.removeprefix("network ") for problem in remedy.problems}
        assert [path for path in leftover(reached, goal) if not is_left(platform, path, told)] == []


@pytest.mark.parametrize(("platform", "design"), DESIGNS)
def test_what_others_made_changes_nothing_of_what_is_said(platform: str, design: str) -> None:
    plan = scenario(design, platform)
    alone = text_of(before(plan))
    remedy = compare("tor-1a", plan, beside(alone, platform))
    if kind_of(platform) != "gobgp":
        assert remedy.lines == compare("tor-1a", plan, alone).lines
    assert [(p.severity, p.path) for p in remedy.problems] == [("info", path) for path in NOTES[kind_of(platform)]]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_others_made_is_there_after_any_change(platform: str) -> None:
    if kind_of(platform) == "aci":
        theirs = Apic(json.dumps(BY_HAND["aci"])).seen()
    for one, other in pairwise([plan for _, plan in sorted(cases(platform).items()) if plan.asn == 65011]):
        running = beside(text_of(one), platform)
        remedy = compare("tor-1a", other, running)
        if kind_of(platform) == "aci":
            apic = Apic(text_of(one), json.dumps(BY_HAND["aci"]))
            if remedy.lines:
                apic.post("\n".join(remedy.lines))
            assert contains(apic.seen(), theirs)
        elif kind_of(platform) == "sonic":
            assert contains(patched(running, remedy.lines), BY_HAND["sonic"])
        elif kind_of(platform) == "srlinux":
            switch = SrLinux(running)
            switch.load(remedy.lines, SrLinux(beside(text_of(other), platform)))
            assert contains(switch.said, SrLinux(json.dumps(BY_HAND["srlinux"])).said)
        else:
            file = loaded("\n".join(remedy.lines))
            neighbor = {**BY_HAND["gobgp"]["neighbors"][0]["config"], "auth-password": "<secret>"}
            assert {"config": neighbor} in file["neighbors"]
            assert BY_HAND["gobgp"]["policy-definitions"][0] in file["policy-definitions"]
            assert file["zebra"] == BY_HAND["gobgp"]["zebra"]
            assert "OFFICE" in file["global"]["apply-policy"]["config"]["import-policy-list"]


AS = {
    "sonic": ('"local_asn": "65011"', '"local_asn": "65099"'),
    "srlinux": ('"autonomous-system": 65011', '"autonomous-system": 65099'),
    "gobgp": ("as: 65011", "as: 65099"),
}


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if kind_of(name) in AS])
def test_another_as_is_not_changed_in_passing(platform: str) -> None:
    plan, (mine, another) = scenario(SCENARIO, platform), AS[kind_of(platform)]
    text = text_of(plan)
    assert mine in text
    remedy = compare("tor-1a", plan, text.replace(mine, another))
    assert (remedy.lines, [(p.severity, p.code) for p in remedy.problems]) == ((), [("error", "running-as-differs")])
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("\n", "running-config-empty"),
        ("{}", "running-config-empty"),
        ("- 1", "running-config-unreadable"),
        ("hostname: [", "running-config-unreadable"),
        ("!\nhostname tor-1a\n", "running-config-unreadable"),
    ],
)
def test_what_is_no_configuration_is_a_mistake(platform: str, text: str, code: str) -> None:
    remedy = compare("tor-1a", scenario(SCENARIO, platform), text)
    codes = ["running-config-unreadable"] if (platform, text) == ("aci", "{}") else [code]
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), codes)


def test_what_the_apic_has_not_been_asked_for_is_a_mistake() -> None:
    plan = scenario(SCENARIO, "aci")
    error = {"imdata": [{"error": {"attributes": {"code": "403", "text": "Token was invalid"}}}]}
    other = text_of(plan).replace('"name": "kubernetes"', '"name": "office"')
    alone = {"imdata": [{"fvTenant": {"attributes": {"name": "kubernetes"}}}]}
    broken = '{"fvTenant": {"attributes": {"name": "kubernetes"}, "children": ["text"]}}'
    for text in (json.dumps(error), json.dumps(alone), other, broken):
        remedy = compare("tor-1a", plan, text)
        assert (remedy.lines, [p.code for p in remedy.problems]) == ((), ["running-config-unreadable"])


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if kind_of(name) != "sonic"])
def test_no_password_is_shown_unless_asked_for(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    nothing = replace(plan, sessions=())
    for running in (text_of(nothing), rendered(plan, dict.fromkeys(PASSWORDS, "an-old-one"))):
        for target in (plan, without):
            assert "an-old-one" not in "\n".join(compare("tor-1a", target, running).lines)
    known = dict.fromkeys(PASSWORDS, "an-old-one")
    said = "\n".join(compare("tor-1a", plan, beside(rendered(before(plan), known), platform)).lines)
    assert (bool(said), "an-old-one" in said, "theirs" in said) == (True, False, False)
    given = "\n".join(compare("tor-1a", plan, text_of(nothing)).lines)
    assert ("<secret:rack-1/bgp>" in given, PASSWORD in given) == (True, False)
    real = "\n".join(compare("tor-1a", plan, text_of(nothing), passwords=PASSWORDS).lines)
    assert ("<secret" in real, PASSWORD in real) == (False, True)


def test_gobgp_shows_its_passwords_so_they_are_compared_when_they_are_asked_for() -> None:
    plan = scenario(SCENARIO, "gobgp")
    running = beside(rendered(plan, dict.fromkeys(PASSWORDS, "an-old-one")), "gobgp")
    assert compare("tor-1a", plan, beside(text_of(plan), "gobgp")).lines == ()
    assert compare("tor-1a", plan, running).lines == ()
    said = compare("tor-1a", plan, running, passwords=PASSWORDS).lines
    assert [line for line in said if line.startswith("# changed")] == [
        "# changed: neighbors 10.1.1.1 config auth-password",
        "# changed: neighbors fd00:1:1::1 config auth-password",
    ]
    passwords = {n["config"].get("auth-password") for n in loaded("\n".join(said))["neighbors"]}
    assert passwords == {None, PASSWORD, "theirs"}


def test_what_a_sonic_says_without_being_asked_is_no_difference() -> None:
    plan = scenario(SCENARIO, "sonic")
    running = json.loads(text_of(plan))
    for table, field in (("BGP_NEIGHBOR", "ebgp_multihop"), ("BGP_NEIGHBOR_AF", "rrclient"), ("BGP_PEER_GROUP", "bfd")):
        for row in running[table].values():
            row.setdefault(field, "false")
    assert compare("tor-1a", plan, json.dumps(running)).lines == ()
    running["BGP_NEIGHBOR"]["default|10.1.1.3"]["passive_mode"] = "true"
    said = json.loads("\n".join(compare("tor-1a", plan, json.dumps(running)).lines))
    assert said == [{"op": "remove", "path": "/BGP_NEIGHBOR/default|10.1.1.3/passive_mode"}]


def test_the_first_row_comes_with_its_table_and_the_last_one_goes_with_it() -> None:
    plan = scenario(SCENARIO, "sonic")
    rows = {"BGP_GLOBALS": {"default": {"local_asn": "65011"}}, "PORT": {"Ethernet0": {"lanes": "0"}}}
    tables_of = json.loads(text_of(plan))
    assert patched(json.dumps(rows), compare("tor-1a", plan, json.dumps(rows)).lines) == tables_of | {
        "PORT": rows["PORT"]
    }
    none = replace(plan, sessions=(), networks=())
    reached = patched(text_of(plan), compare("tor-1a", none, text_of(plan)).lines)
    assert {"BGP_NEIGHBOR", "BGP_NEIGHBOR_AF", "BGP_GLOBALS_AF_NETWORK"} & reached.keys() == set()


def test_sr_linux_says_a_policy_again_whose_statements_would_be_in_another_order() -> None:
    plan = scenario(SCENARIO, "srlinux@25.3")
    running = json.loads(text_of(plan))
    policies = running["srl_nokia-routing-policy:routing-policy"]["policy"]
    policy = next(one for one in policies if one["name"] == "UNDERLAY-FABRIC-IN-V4")
    policy["statement"].reverse()
    said = compare("tor-1a", plan, json.dumps(running)).lines
    assert said[0] == "delete / routing-policy policy UNDERLAY-FABRIC-IN-V4"
    words = [line.split() for line in said[1:]]
    assert {(w[0], w[4]) for w in words} == {("set", "UNDERLAY-FABRIC-IN-V4")}
    assert list(dict.fromkeys(w[6] for w in words if w[5] == "statement")) == ["10", "20", "30"]


def test_sr_linux_has_a_list_of_policies_as_long_as_it_was_said() -> None:
    """Setting adds to a list, so it is deleted before."""
    plan = scenario(SCENARIO, "srlinux@25.3")
    text = text_of(plan).replace('"UNDERLAY-FABRIC-IN-V4"\n', '"UNDERLAY-FABRIC-IN-V4", "OFFICE"\n', 1)
    said = compare("tor-1a", plan, text).lines
    place = "/ network-instance default protocols bgp group UNDERLAY-FABRIC afi-safi ipv4-unicast import-policy"
    assert said == (f"delete {place}", f"set {place} [ UNDERLAY-FABRIC-IN-V4 ]")


def test_sr_linux_is_the_same_with_modules_and_without() -> None:
    plan = scenario(SCENARIO, "srlinux@25.3")
    text = text_of(before(plan))
    assert compare("tor-1a", plan, json.dumps(bare(json.loads(text)))).lines == compare("tor-1a", plan, text).lines
    assert compare("tor-1a", plan, json.dumps(bare(json.loads(text_of(plan))))).lines == ()
    answer = {"jsonrpc": "2.0", "id": 0, "result": [json.loads(text)]}
    assert compare("tor-1a", plan, json.dumps(answer)).lines == compare("tor-1a", plan, text).lines


def test_an_apic_that_was_posted_the_plan_runs_it() -> None:
    for name, plan in sorted(cases("aci").items()):
        assert compare("tor-1a", plan, Apic(text_of(plan, True)).get()).lines == (), name


def test_an_attribute_that_the_apic_does_not_show_is_empty() -> None:
    plan = scenario(SCENARIO, "aci")
    answer = Apic(text_of(plan)).get()
    assert '"peerCtrl": ""' in answer
    assert compare("tor-1a", plan, re.sub(r'"peerCtrl": "", |, "peerCtrl": ""', "", answer)).lines == ()


def test_the_apic_is_told_the_value_that_an_attribute_has_without_a_word() -> None:
    plan = scenario("loopbacks", "aci")
    one = replace(plan, sessions=tuple(replace(s, multihop=None) for s in plan.sessions))
    said = "\n".join(compare("tor-1a", one, text_of(plan)).lines)
    assert ('"ttl": "1"' in said, '"ttl": "2"' in said) == (True, False)


def test_of_other_leaves_nothing_is_taken() -> None:
    plan = scenario(SCENARIO, "aci")
    settings = tuple(Setting(s.name, "102" if s.name == "node" else s.value) for s in plan.settings)
    other = replace(before(plan), settings=settings)
    apic = Apic(text_of(plan), text_of(other))
    none = replace(plan, sessions=(), networks=())
    apic.post("\n".join(compare("tor-1a", none, apic.get()).lines))
    assert contains(apic.seen(), Apic(text_of(other)).seen())
    assert compare("tor-1b", other, apic.get()).lines == ()


def test_gobgpd_reads_the_file_and_it_may_have_been_toml() -> None:
    plan = scenario(SCENARIO, "gobgp")
    toml = '[global.config]\nas = 65011\nrouter-id = "10.0.1.9"\n[[neighbors]]\n[neighbors.config]\n'
    toml += 'neighbor-address = "10.99.0.9"\npeer-as = 65999\n'
    tomllib.loads(toml)
    said = compare("tor-1a", plan, toml, passwords=PASSWORDS)
    assert [p.path for p in said.problems] == ["neighbor 10.99.0.9"]
    text = "\n".join(said.lines) + "\n"
    done = with_file("gobgpd.yml", text, "gobgpd", "-d", "-t", "yaml", "-f", "{file}")
    assert done.returncode == 0, done.stdout + done.stderr
    file, mine = loaded(text), loaded(text_of(plan, True))
    assert file | {"neighbors": file["neighbors"][1:]} == mine
    assert file["neighbors"][0]["config"] == {"neighbor-address": "10.99.0.9", "peer-as": 65999}


#: Starts it with one file, gives it the other one, and prints its answers once it has taken that.
_RELOAD = """
ip link set lo up
cp before.yml gobgpd.yml
gobgpd -t yaml -f gobgpd.yml --api-hosts 127.0.0.1:50051 --pprof-disable >log 2>&1 &
daemon=$!
until gobgp -j neighbor 10.1.1.77 >/dev/null 2>&1; do sleep 0.05; kill -0 $daemon; done
cp after.yml gobgpd.yml
kill -HUP $daemon
until grep -q "Update Peer" log && gobgp -j neighbor 10.254.1.0 | grep -q 65000; do sleep 0.05; kill -0 $daemon; done
gobgp -j global && gobgp -j neighbor && gobgp -j policy prefix
kill $daemon
"""


def test_a_gobgpd_that_runs_takes_the_file(tmp_path: Path) -> None:
    """Told that its file is another one: neighbours come, go and one changes, and policies match other prefixes."""
    plan = scenario(SCENARIO, "gobgp")
    sessions = tuple(
        n if n.peer == "node/node-1" else o for n, o in zip(plan.sessions, before(plan).sessions, strict=True)
    )
    old = beside(text_of(replace(plan, networks=("10.0.1.99/32",), sessions=sessions), True), "gobgp")
    (tmp_path / "before.yml").write_text(old, encoding="utf-8")
    said = compare("tor-1a", plan, old, passwords=PASSWORDS)
    (tmp_path / "after.yml").write_text("\n".join(said.lines) + "\n", encoding="utf-8")
    command = ["timeout", "90", "unshare", "-n", "sh", "-ec", _RELOAD]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done, (tmp_path / "log").read_text(encoding="utf-8"))
    instance, neighbors, sets = map(json.loads, done.stdout.splitlines())
    theirs = [n for n in neighbors if n["conf"]["neighbor_address"] == "10.99.0.9"]
    assert [n["conf"]["peer_asn"] for n in theirs] == [65999]
    ours = [n for n in neighbors if n not in theirs]
    lists = [one for one in sets if one["name"] != "OFFICE"]
    assert differences(plan, understood(instance, ours, lists), READS) == []


def test_a_file_says_when_gobgpd_has_to_be_started_again() -> None:
    plan = scenario(SCENARIO, "gobgp")
    one, *others = plan.sessions
    slower = [replace(s, hold_time=180, keepalive_time=60) for s in plan.sessions]
    for old, again in (
        (replace(plan, sessions=(slower[0], *others)), False),
        (replace(plan, sessions=(one, *others[1:])), False),
        (replace(plan, sessions=(*slower[:2], *others[1:])), True),
        (replace(plan, router_id="10.0.1.99"), True),
    ):
        said = "\n".join(compare("tor-1a", plan, text_of(old)).lines)
        assert ("started again for this" in said) is again


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if kind_of(name) != "aci"])
def test_lists_whose_order_says_nothing_may_be_in_another_one(platform: str) -> None:
    names = ("as_path_set_member", "send-community-type", "as-path-set-member", "member", "neighbor-info-list")

    def turned(tree: Any, name: str = "") -> Any:
        if isinstance(tree, dict):
            return {key: turned(value, key) for key, value in tree.items()}
        if isinstance(tree, list):
            return [turned(one) for one in (reversed(tree) if name in names else tree)]
        return tree

    plan = scenario(SCENARIO, platform)
    before_and_after = loaded(text_of(plan)), turned(loaded(text_of(plan)))
    assert before_and_after[0] != before_and_after[1]
    assert compare("tor-1a", plan, json.dumps(before_and_after[1])).lines == ()


def test_every_platform_that_is_rendered_is_compared() -> None:
    plan = scenario(SCENARIO, "gobgp")
    assert [name for name in devices.names() if unreadable("tor-1a", replace(plan, platform=name))] == []


def test_policies_of_others_stay_where_they_are_beside_ours() -> None:
    plan = scenario(SCENARIO, "gobgp")
    running = loaded(text_of(before(plan)))
    config = running["global"]["apply-policy"]["config"]
    mine = list(config["import-policy-list"])
    config["import-policy-list"] = ["FIRST", mine[1], "MIDDLE", "LAST"]
    file = loaded("\n".join(compare("tor-1a", plan, dumped(running)).lines))
    assert file["global"]["apply-policy"]["config"]["import-policy-list"] == ["FIRST", *mine, "MIDDLE", "LAST"]


TAKEN = {
    "sonic": '{"BGP_NEIGHBOR": {"default|10.254.1.0": {"asn": "65000", "peer_group_name": "OTHERS"}}}',
    "srlinux": '{"network-instance": [{"name": "default", "protocols": {"bgp": {"neighbor": '
    '[{"peer-address": "10.254.1.0", "peer-group": "OTHERS"}]}}}]}',
    "gobgp": "neighbors: [{config: {neighbor-address: 10.254.1.0, peer-group: OTHERS}}]",
}


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if kind_of(name) in TAKEN])
def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over(platform: str) -> None:
    plan, running = scenario(SCENARIO, platform), TAKEN[kind_of(platform)]
    remedy = compare("tor-1a", plan, running)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == [
        ("warning", "neighbor-taken-over", "neighbor 10.254.1.0")
    ]
    assert "OTHERS" not in str(obeyed(running, remedy, text_of(plan), platform))
