"""What `diff` says to a switch: nothing where it runs the plan, and never a word about what others made by hand.

That the lines of FRR lead where they should is seen on a real one, tests/interop/test_remediation_frr.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from fabric_templates.remediation import tables
from fabric_templates.remediation.compare import compare
from fabric_templates.remediation.ways import ways
from fabric_templates.render import check, render
from peering.problems import errors
from peering.session import SecretKeyRef, Session, SwitchPlan
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.platforms import releases
from tests.switches.scenarios import SCENARIOS, scenario

PLATFORMS = [name for name in releases() if name in tables.names()]
GOLDEN = Path(__file__).parent / "golden_remedy"
SCENARIO = "ebgp-as-per-rack"
#: OS10 has no TTL security.
SCENARIO_OF = {"os10": "ebgp-as-per-cluster-allow-as-in"}

_LIST = "ip prefix-list OFFICE seq 5 permit 192.0.2.0/24\n"
_MAP = "route-map OFFICE permit 10\n match ip address prefix-list OFFICE\n"
_FLAT = f"""{_LIST}{_MAP}ip route 10.0.99.1/32 10.1.1.99
router bgp 65011
 timers bgp 10 30
 neighbor OTHERS peer{{0}}group
 neighbor 10.99.0.9 remote-as 65999
 neighbor 10.99.0.9 peer{{0}}group OTHERS
 neighbor 10.99.0.9 password 7 045802150C2E
 address-family ipv4
  network 198.51.100.0/24
  neighbor 10.99.0.9 activate
router ospf 1
 network 10.0.0.0/8 area 0
"""
_SECTIONS = """router bgp 65011
 timers bgp 10 30
 address-family ipv4 unicast
  network 198.51.100.0/24
 neighbor 10.99.0.9
  remote-as 65999
  password encrypted 045802150C2E
  address-family ipv4 unicast
   {} OFFICE in
 vrf OFFICE
  neighbor 10.1.1.1
   remote-as 65999
"""
#: What somebody else has on the switch, in the same BGP instance and beside it.
BY_HAND = {
    "frr": "hostname tor-1a\n" + _FLAT.format("-").replace("family ipv4", "family ipv4 unicast"),
    "eos": "hostname tor-1a\n" + _FLAT.format(" "),
    "iosxe": "version 17.12\n" + _FLAT.format("-").replace("198.51.100.0/24", "198.51.100.0 mask 255.255.255.0"),
    "nxos": f"feature ospf\n{_LIST}{_MAP}{_SECTIONS.format('route-map')}",
    "os10": f"{_LIST}{_MAP}ip route 10.0.99.1/32 10.1.1.99\n{_SECTIONS.format('route-map')}".replace("encrypted", "9"),
    "iosxr": f"""hostname tor-1a
prefix-set OFFICE
  192.0.2.0/24
end-set
route-policy OFFICE
  if destination in OFFICE then
    pass
  endif
end-policy
router static
 address-family ipv4 unicast
  10.0.99.1/32 10.1.1.99
{_SECTIONS.format("route-policy")}""",
}
DESIGNS = [(p, d) for p in PLATFORMS for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, p)))]
NOTES = {"neighbor 10.99.0.9", "network 198.51.100.0/24"}


def usual(platform: str) -> SwitchPlan:
    return scenario(SCENARIO_OF.get(platform, SCENARIO), platform)


def text_of(plan: SwitchPlan, passwords: dict[SecretKeyRef, str] | None = None) -> str:
    return _text(plan, None if passwords is None else frozenset(passwords.items()))


@cache
def _text(plan: SwitchPlan, passwords: frozenset[tuple[SecretKeyRef, str]] | None) -> str:
    return "\n".join(render("tor-1a", plan, passwords=None if passwords is None else dict(passwords)).values())


def before(plan: SwitchPlan) -> SwitchPlan:
    """The plan as it was: another router ID, node-2 at other addresses, other timers, a spine in another AS."""
    return replace(
        plan, router_id="10.0.1.99", networks=("10.0.1.99/32",), sessions=tuple(_before(s) for s in plan.sessions)
    )


def _before(session: Session) -> Session:
    if session.peer == "node/node-2":
        return replace(
            session, peer_address={4: "10.1.1.77", 6: "fd00:1:1::77"}[6 if ":" in session.peer_address else 4]
        )
    if session.peer == "node/node-1":
        return replace(session, hold_time=180, keepalive_time=60)
    return replace(session, peer_asn=65001) if session.peer_address == "10.254.1.0" else session


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_said_to_a_switch_that_runs_the_plan(platform: str) -> None:
    for name, plan in sorted(cases(platform).items()):
        remedy = compare("tor-1a", plan, text_of(plan, PASSWORDS))
        assert (remedy.lines, remedy.problems) == ((), ()), name


def paths(lines: Iterable[str]) -> list[tuple[str, ...]]:
    """Each line with those that it stands under, by indentation alone."""
    found: list[tuple[str, ...]] = []
    above: list[tuple[int, str]] = []
    for line in lines:
        text = " ".join(line.split())
        if not text or text[0] in "!#" or text in ("exit", "exit-address-family", "end-set", "end-policy"):
            continue
        depth = len(line) - len(line.lstrip())
        above = [(d, t) for d, t in above if d < depth]
        found.append((*(t for _, t in above), text))
        above.append((depth, text))
    return found


def obeyed(running: Iterable[str], said: Iterable[str]) -> set[tuple[str, ...]]:
    """What a switch runs that does each line it is told: `no` takes away a line and what is below it, or a neighbour
    or group with all of its lines; a set or policy is told as a whole; the rest comes on top."""
    state = dict.fromkeys(paths(running))
    for path in paths(said):
        *above, text = path
        if len(path) == 1 and re.match(r"(prefix|as-path|community|large-community)-set |route-policy ", text):
            gone = [p for p in state if p[0] == text]
        elif found := re.fullmatch(r"no neighbor (\S+)(?: peer[- ]group)?", text):
            gone = [p for p in state if any(re.match(rf"(no )?neighbor {re.escape(found[1])}( |$)", t) for t in p)]
        elif found := re.match(r"bgp router-id |description ", text):
            gone = [p for p in state if p[:-1] == path[:-1] and p[-1].startswith(found[0])]
        else:
            opposite = (*above, text.removeprefix("no ") if text.startswith("no ") else f"no {text}")
            gone = [p for p in state if p[: len(opposite)] == opposite or is_password(opposite, p)]
        for one in gone:
            del state[one]
        if not (gone and text.startswith("no ")) and not (gone and f"no {text}" == gone[0][-1]):
            state[path] = None
    return set(state)


def is_password(said: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether the line that ends in `password` means the one that goes on with one."""
    return said[-1].endswith("password") and path[:-1] == said[:-1] and path[-1].startswith(f"{said[-1]} ")


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if name not in ("frr", "os10")])
def test_who_does_what_is_said_gets_from_each_plan_to_the_next(platform: str) -> None:
    by_asn: dict[int, list[SwitchPlan]] = {}
    for _, plan in sorted(cases(platform).items()):
        by_asn.setdefault(plan.asn, []).append(plan)
    for one, other in (pair for plans in by_asn.values() for pair in pairwise(plans)):
        running, wanted = text_of(one).splitlines(), text_of(other).splitlines()
        reached = obeyed(running, compare("tor-1a", other, "\n".join(running)).lines)
        goal = set(paths(wanted))
        assert goal <= reached
        assert {path for path in reached - goal if not is_left(path, goal, running)} == set()


def is_left(path: tuple[str, ...], goal: set[tuple[str, ...]], running: list[str]) -> bool:
    """What may be somebody else's, too: a family that the plan has not, what is announced, what the switch can do."""
    families = [path[:n] for n in range(1, len(path) + 1) if path[n - 1].startswith("address-family ")]
    mine = any("neighbor" in text or "UNDERLAY-" in text for text in path)
    return not mine and (
        path[-1].startswith(("network ", "feature ", "router static"))
        or any(family not in goal for family in families)
        or (path[-1].startswith("aggregate-address ") and not is_announced(path[-1], running))
    )


def is_announced(text: str, running: list[str]) -> bool:
    """Whether the switch has a list of ours that names what is announced in this family, and so the aggregates."""
    name = f"UNDERLAY-ANNOUNCE-V{6 if ':' in text else 4}"
    return any(re.match(rf"(?:ip(?:v6)? prefix-list|prefix-set) {name}\b", line) for line in running)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_switch_without_any_of_it_is_told_all(platform: str) -> None:
    plan = usual(platform)
    words = {" ".join(line.split()) for line in text_of(plan).splitlines()}
    said = {" ".join(line.split()) for line in compare("tor-1a", plan, "hostname tor-1a\n").lines}
    assert {w for w in words if w and w[0] not in "!#"} - {"exit-address-family", "exit"} <= said


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_that_changed(platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    plan = usual(platform)
    remedy = compare("tor-1a", plan, text_of(before(plan)))
    assert remedy.problems == ()
    equals_golden(GOLDEN / f"{platform}.txt", "\n".join(remedy.lines) + "\n")


@pytest.mark.parametrize(("platform", "design"), DESIGNS)
def test_what_others_made_changes_nothing_of_what_is_said(platform: str, design: str) -> None:
    plan = scenario(design, platform)
    running = text_of(before(plan))
    alone, beside = (compare("tor-1a", plan, text) for text in (running, running + BY_HAND[platform]))
    assert beside.lines == alone.lines
    assert {p.path for p in beside.problems} - {"neighbor OTHERS"} == NOTES
    assert {(p.severity, p.code) for p in beside.problems} == {
        ("info", "foreign-neighbor"),
        ("info", "foreign-network"),
    }


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_aggregate_that_was_ours_goes_and_one_made_by_hand_is_told(platform: str) -> None:
    plan = scenario("rack-aggregate", platform)
    before = text_of(plan)
    rest = tuple(rule for rule in plan.announce if rule.cidr not in plan.aggregates)
    without = replace(plan, aggregates=(), announce=(*rest, *plan.accept))
    remedy = compare("tor-1a", without, before)
    assert len([line for line in remedy.lines if "no aggregate-address " in line]) == 2
    assert remedy.problems == ()
    by_hand = before.replace("aggregate-address 10.244.", "aggregate-address 10.99.")
    remedy = compare("tor-1a", without, by_hand)
    assert [line.split()[2][:3] for line in remedy.lines if "no aggregate-address " in line] == ["fd0"]
    assert [problem.path for problem in remedy.problems] == ["network 10.99.0.0/16"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_is_said_twice_counts_once(platform: str) -> None:
    plan = usual(platform)
    twice = text_of(plan, PASSWORDS) + "\n" + text_of(plan, PASSWORDS)
    assert compare("tor-1a", plan, twice).lines == ()


def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over() -> None:
    plan = scenario(SCENARIO, "frr")
    running = "router bgp 65011\n neighbor 10.1.1.1 remote-as 65101\n neighbor 10.1.1.1 peer-group OTHERS\n"
    remedy = compare("tor-1a", plan, running)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == [
        ("warning", "neighbor-taken-over", "neighbor 10.1.1.1")
    ]
    assert remedy.lines[:3] == ("router bgp 65011", " no neighbor 10.1.1.1", "exit")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_another_as_is_not_changed_in_passing(platform: str) -> None:
    plan = usual(platform)
    remedy = compare("tor-1a", plan, text_of(plan).replace("router bgp 65011", "router bgp 65099"))
    assert remedy.lines == ()
    assert [(p.severity, p.code) for p in remedy.problems] == [("error", "running-as-differs")]
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize("text", ["", "\n!\n"])
def test_an_empty_configuration_is_a_mistake(text: str) -> None:
    remedy = compare("tor-1a", scenario(SCENARIO, "frr"), text)
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), ["running-config-empty"])


def test_a_platform_without_a_table_is_told() -> None:
    plan = scenario(SCENARIO, "frr")
    remedy = compare("tor-1a", replace(plan, platform="catos"), text_of(plan))
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), ["platform-not-compared"])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_password_is_shown_or_compared_unless_asked_for(platform: str) -> None:
    plan = usual(platform)
    others = dict.fromkeys(PASSWORDS, "an-old-one")
    running = text_of(plan, others)
    assert "an-old-one" in running
    assert compare("tor-1a", plan, running).lines == ()
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    taken = compare("tor-1a", without, running).lines
    assert sum("password" in line for line in taken) == 2
    given = compare("tor-1a", plan, text_of(without)).lines
    assert sum("<secret:" in line for line in given) == 2
    assert not any("an-old-one" in line or "hidden" in line for line in (*taken, *given))


def test_where_the_switch_shows_passwords_they_are_compared() -> None:
    plan = scenario(SCENARIO, "frr")
    running = text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one"))
    remedy = compare("tor-1a", plan, running, passwords=PASSWORDS)
    new = set(PASSWORDS.values())
    assert [line.split()[:3] for line in remedy.lines if "password" in line] == [
        ["neighbor", "10.1.1.1", "password"],
        ["neighbor", "fd00:1:1::1", "password"],
    ]
    assert {line.split()[3] for line in remedy.lines if "password" in line} <= new
    assert compare("tor-1a", plan, text_of(plan, PASSWORDS), passwords=PASSWORDS).lines == ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_family_that_the_plan_has_not_is_left_to_others(platform: str) -> None:
    plan = usual(platform)
    ipv4 = replace(
        plan,
        sessions=tuple(s for s in plan.sessions if ":" not in s.peer_address),
        networks=("10.0.1.1/32",),
        accept=tuple(rule for rule in plan.accept if ":" not in rule.cidr),
        announce=tuple(rule for rule in plan.announce if ":" not in rule.cidr),
    )
    lines = compare("tor-1a", ipv4, text_of(plan)).lines
    assert any(re.match(r" *no neighbor fd00:1:1::1", line) for line in lines)
    assert [line for line in lines if line.strip().startswith("no address-family")] == []


def test_a_switch_that_had_no_instance_has_none_after_the_way_back() -> None:
    found = ways("tor-1a", scenario(SCENARIO, "frr"), "hostname tor-1a\n", PASSWORDS)
    assert "router bgp 65011" in found.forth
    assert found.back[0] == "no router bgp 65011"
    assert "router bgp 65011" not in found.back
    assert {line.split()[0] for line in found.back} == {"no"}


def test_what_is_shown_of_a_push_has_no_password() -> None:
    plan = scenario(SCENARIO, "frr")
    found = ways("tor-1a", plan, text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one")), PASSWORDS)
    new = next(line.split()[-1] for line in found.forth if "password" in line)
    assert new in PASSWORDS.values()
    assert [line.split()[-1] for line in found.back if "password" in line] == ["an-old-one", "an-old-one"]
    assert [line.split()[-1] for line in found.shown if "password" in line] == ["<hidden>", "<hidden>"]
    assert not any(new in line or "an-old-one" in line for line in found.shown)
