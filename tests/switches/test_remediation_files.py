"""`diff` for daemons that are configured by a file: `patch` makes the new one, and the daemon's own parser reads it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fabric_templates.remediation.blocks import tables
from fabric_templates.remediation.compare import compare
from fabric_templates.render import check
from peering.problems import errors
from peering.session import SwitchPlan
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.platforms import bird, openbgpd
from tests.switches.scenarios import SCENARIOS, scenario
from tests.switches.test_remediation import GOLDEN, SCENARIO, before, text_of

PLATFORMS = list(tables.names())
DESIGNS = [(p, d) for p in PLATFORMS for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, p)))]
JUDGES = {"bird": bird.parsed, "openbgpd": openbgpd.parsed}
#: What somebody else has in the file: before ours, between, and behind.
BY_HAND = {
    "bird": (
        "# the office\nfunction office() { return net ~ [ 192.0.2.0/24{24,32} ]; }\n\n",
        "protocol static office_routes {\n  ipv4; # theirs\n  route 198.51.100.0/24 unreachable;\n}\n\n",
        'protocol bgp office_bgp {\n  local as 65011; neighbor 10.99.0.9 as 65999;\n  password "theirs";\n'
        "  ipv4 { import where office(); export none; };\n};\n",
    ),
    "openbgpd": (
        '# the office\nprefix-set "office" { 192.0.2.0/24 }\n\n',
        'network 198.51.100.0/24\ngroup "OTHERS" {\n\tneighbor 10.99.0.9 {\n\t\tremote-as 65999\n'
        "\t\ttcp md5sig password theirs\n\t}\n}\n\n",
        'allow quick from 10.99.0.9 prefix-set "office" # theirs\n',
    ),
}
NOTES = {
    "bird": [("info", "foreign-neighbor", "neighbor 10.99.0.9")],
    "openbgpd": [
        ("info", "foreign-neighbor", "neighbor 10.99.0.9"),
        ("info", "foreign-network", "network 198.51.100.0/24"),
    ],
}
#: The statement that stands behind the first half of ours.
_MIDDLE = {"bird": "\nfilter 'UNDERLAY-NODES-IN-V4' {", "openbgpd": '\ngroup "UNDERLAY-NODES'}


def beside(platform: str, text: str) -> str:
    """The file with what somebody else has in it."""
    first, middle, last = BY_HAND[platform]
    place = text.find(_MIDDLE[platform])
    cut = place + 1 if place >= 0 else len(text)
    return first + text[:cut] + middle + text[cut:] + last


def patched(running: str, lines: Iterable[str], where: Path) -> str:
    """What `patch` makes of the file."""
    file = where / "underlay.conf"
    file.write_text(running, "utf-8")
    said = "".join(f"{line}\n" for line in lines)
    if said:
        done = subprocess.run(
            ["patch", "--fuzz=0", "-p0"], cwd=where, input=said, text=True, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout
        assert "offset" not in done.stdout
    return file.read_text("utf-8")


def meaning(text: str) -> list[str]:
    """The words, without comments; both languages have none of their comment signs in what is rendered."""
    return re.sub(r"#[^\n]*", "", text).split()


def complaints(platform: str, plan: SwitchPlan, text: str) -> list[str]:
    return JUDGES[platform]({"underlay.conf": text}, plan)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_said_to_a_switch_that_runs_the_plan(platform: str) -> None:
    for name, plan in sorted(cases(platform).items()):
        for passwords in (None, PASSWORDS):
            remedy = compare("tor-1a", plan, text_of(plan, PASSWORDS), passwords=passwords)
            assert (remedy.lines, remedy.problems) == ((), ()), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_comments_and_spaces_do_not_count(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    other = text_of(plan).replace("  ", "\t").replace("{\n", "{ # a remark\n\n")
    assert other != text_of(plan)
    assert compare("tor-1a", plan, other).lines == ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_that_changed(platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, text_of(before(plan)))
    assert remedy.problems == ()
    equals_golden(GOLDEN / f"{platform}.txt", "\n".join(remedy.lines) + "\n")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_patched_file_is_that_of_the_plan(platform: str, tmp_path: Path) -> None:
    plans = [plan for _, plan in sorted(cases(platform).items()) if plan.asn == 65011]
    for one, other in pairwise(plans):
        running = text_of(one, PASSWORDS)
        remedy = compare("tor-1a", other, running, passwords=PASSWORDS)
        new = patched(running, remedy.lines, tmp_path)
        # Where no list of ours says that we announce it, it may be somebody else's.
        assert {p.code for p in remedy.problems} <= {"foreign-network"}
        for problem in remedy.problems:
            new = new.replace(f"{problem.path}\n", "")
        assert meaning(new) == meaning(text_of(other, PASSWORDS))


@pytest.mark.parametrize(("platform", "design"), DESIGNS)
def test_what_others_wrote_stays_where_it_is(platform: str, design: str, tmp_path: Path) -> None:
    plan = scenario(design, platform)
    running = beside(platform, text_of(before(plan), PASSWORDS))
    remedy = compare("tor-1a", plan, running, passwords=PASSWORDS)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == NOTES[platform]
    new = patched(running, remedy.lines, tmp_path)
    places = [new.index(text) for text in BY_HAND[platform]]
    assert places == sorted(places)
    assert not any(re.search(r"office|10\.99\.|198\.51|theirs", line) for line in changes(remedy.lines))
    for text in BY_HAND[platform]:
        new = new.replace(text, "")
    assert meaning(new) == meaning(text_of(plan, PASSWORDS))
    assert compare("tor-1a", plan, patched(running, remedy.lines, tmp_path), passwords=PASSWORDS).lines == ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_daemon_reads_the_patched_file(platform: str, tmp_path: Path) -> None:
    plan = scenario(SCENARIO, platform)
    running = beside(platform, text_of(before(plan), PASSWORDS))
    assert complaints(platform, plan, running) == []
    new = patched(running, compare("tor-1a", plan, running, passwords=PASSWORDS).lines, tmp_path)
    assert complaints(platform, plan, new) == []
    broken = new.replace("10.99.0.9", "10.99.0.999")
    assert complaints(platform, plan, broken) != []


def changes(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_file_without_any_of_it_gets_all(platform: str, tmp_path: Path) -> None:
    plan = scenario(SCENARIO, platform)
    running = "".join(BY_HAND[platform])
    remedy = compare("tor-1a", plan, running, passwords=PASSWORDS)
    assert {line[0] for line in changes(remedy.lines)} == {"+"}
    assert complaints(platform, plan, patched(running, remedy.lines, tmp_path)) == []


@pytest.mark.parametrize(("platform", "place"), [("bird", " as 65011;"), ("openbgpd", "AS 65011\n")])
def test_another_as_is_not_changed_in_passing(platform: str, place: str) -> None:
    plan = scenario(SCENARIO, platform)
    text = text_of(plan)
    assert place in text
    remedy = compare("tor-1a", plan, text.replace(place, place.replace("65011", "65099")))
    assert (remedy.lines, [(p.severity, p.code) for p in remedy.problems]) == ((), [("error", "running-as-differs")])
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "running-config-empty"),
        ("# nothing\n", "running-config-empty"),
        ("group {\n", "running-config-unreadable"),
        ("}\n", "running-config-unreadable"),
        ('include "/etc/bird/underlay.conf"; # ours\n', "running-config-unreadable"),
    ],
)
def test_what_is_no_configuration_is_a_mistake(platform: str, text: str, code: str) -> None:
    remedy = compare("tor-1a", scenario(SCENARIO, platform), text)
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), [code])


TAKEN = {
    "bird": "protocol bgp mine { local as 65011; neighbor 10.1.1.1 as 65101; ipv4 { import none; export none; }; }\n",
    "openbgpd": 'AS 65011\ngroup "OTHERS" {\n\tneighbor 10.1.1.1 {\n\t\tremote-as 65101\n\t}\n'
    "\tneighbor 10.99.0.9 {\n\t\tremote-as 65999\n\t}\n}\ndeny from 10.1.1.1\nallow from 10.99.0.9\n",
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over(platform: str, tmp_path: Path) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, TAKEN[platform], passwords=PASSWORDS)
    found = [(p.severity, p.code, p.path) for p in remedy.problems if p.severity == "warning"]
    assert found == [("warning", "neighbor-taken-over", "neighbor 10.1.1.1")]
    new = patched(TAKEN[platform], remedy.lines, tmp_path)
    assert len(re.findall(r"neighbor 10\.1\.1\.1[ ;]", new)) == 1
    assert complaints(platform, plan, new) == []
    if platform == "openbgpd":
        assert "deny from 10.1.1.1" not in new
        assert new.index('group "OTHERS" {\n\tneighbor 10.99.0.9 {') < new.index("allow from 10.99.0.9")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_password_is_shown_or_compared_unless_asked_for(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    old = dict.fromkeys(PASSWORDS, "an-old-one")
    running = beside(platform, text_of(plan, old))
    assert running.count("an-old-one") == 2
    assert compare("tor-1a", plan, running).lines == ()
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    taken, given = compare("tor-1a", without, running).lines, compare("tor-1a", plan, text_of(without)).lines
    assert [line.split()[-1].strip(";") for line in changes(taken)] == ['"<hidden>"', '"<hidden>"']
    assert ["<secret:" in line for line in changes(given)] == [True, True]
    changed = compare("tor-1a", plan, beside(platform, text_of(before(plan), old))).lines
    assert not any(word in line for line in (*taken, *given, *changed) for word in ("an-old-one", 'theirs"'))
    assert not any("password" in line for line in changes(changed) if "<hidden>" not in line and "<secret:" not in line)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_passwords_are_compared_where_they_are_given(platform: str, tmp_path: Path) -> None:
    plan = scenario(SCENARIO, platform)
    running = text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one"))
    lines = changes(compare("tor-1a", plan, running, passwords=PASSWORDS).lines)
    assert [line[0] for line in lines if "password" in line] == ["-", "+", "-", "+"]
    assert len(lines) == 4


def test_the_openbgpd_key_in_hexadecimal_is_a_password() -> None:
    plan = scenario(SCENARIO, "openbgpd")
    running = text_of(plan) + "neighbor 10.99.0.9 {\n\tremote-as 65999\n\ttcp md5sig key deadbeef\n}\n"
    lines = compare("tor-1a", plan, running.replace("holdtime 90", "holdtime 91")).lines
    assert not any("deadbeef" in line for line in lines)
