"""What holds for every platform: its judges find nothing, each of them can, and nothing is left out in silence."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest

from fabric_templates import devices, features
from fabric_templates.devices import Device, Feature
from fabric_templates.render import RenderRefused, check, render
from peering.problems import errors
from peering.session import SwitchPlan
from tests.switches.judges import Files, Judge
from tests.switches.matrix import BASE, PARAMETERS, PASSWORD, PASSWORDS, build, cases, said_values, samples
from tests.switches.platforms import judges, live, releases
from tests.switches.scenarios import SCENARIOS, scenario
from tests.switches.wants import IMPLIED_BY, NEVER_ASKED, ROWS, wanting

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
PLATFORMS = releases()
JUDGES = [pytest.param(p, j, id=f"{p}-{j.name.strip('`')}") for p in PLATFORMS for j in judges(p)]


@cache
def rendered(plan: SwitchPlan) -> Mapping[str, str]:
    return render("tor-1a", plan, passwords=PASSWORDS)


def device_of(platform: str) -> Device:
    device = devices.find(platform, "Switch/tor-1a")
    assert isinstance(device, Device)
    return device


# Judges


@pytest.mark.parametrize(("platform", "judge"), JUDGES)
def test_a_judge_finds_nothing(platform: str, judge: Judge) -> None:
    found = {
        name: judge.complaints(rendered(plan), plan) for name, plan in cases(platform).items() if judge.takes(plan)
    }
    assert {name: complaints for name, complaints in found.items() if complaints} == {}
    assert len(found) >= 10


@pytest.mark.parametrize(("platform", "judge"), JUDGES)
def test_a_judge_can_complain(platform: str, judge: Judge) -> None:
    """Each of its breaks, in the first case that has the place for it."""
    assert judge.breaks
    for change in judge.breaks:
        files, plan = next(
            (broken, plan)
            for plan in cases(platform).values()
            if judge.takes(plan) and (broken := broken_files(rendered(plan), change.pattern, change.replacement))
        )
        assert judge.complaints(files, plan) != [], change


def broken_files(files: Files, pattern: str, replacement: str) -> Files | None:
    for name, text in files.items():
        changed, times = re.subn(pattern, replacement, text, count=1)
        if times and changed != text:
            return {**files, name: changed}
    return None


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_live_test_that_is_named_is_there(platform: str) -> None:
    for one in live(platform):
        file, _, name = one.test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), one.test


# Features


def test_every_feature_has_a_plan_that_asks_for_it() -> None:
    assert set(ROWS) | NEVER_ASKED == set(get_args(Feature))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("feature", ROWS)
def test_what_is_lacking_is_said(feature: Feature, platform: str) -> None:
    device = device_of(platform)
    bare = device.model_copy(update={"features": {**device.features, feature: False}})
    codes = {problem.code for problem in features.check("Switch/x", wanting(feature, platform), bare)}
    assert features.code_of(feature) in codes
    codes = {problem.code for problem in features.check("Switch/x", wanting(feature, platform), device)}
    support = device.features[feature]
    if isinstance(support, bool) or support == "partly":
        assert (features.code_of(feature) in codes) is (support is not True)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_no_option_is_left_out_in_silence(parameter: str, platform: str) -> None:
    """Two values of an option are rendered differently, or something is said about them, or the table says why not."""
    feature, implied = IMPLIED_BY.get(parameter), device_of(platform).implied
    values = [v for v in said_values(platform)[parameter] if not {feature, f"{feature}={v}"} & set(implied)]
    plans = {value: build(BASE | {parameter: value}, platform) for value in values}
    base = {problem.line() for problem in check("tor-1a", build(BASE, platform))}
    told = {value: {p.line() for p in check("tor-1a", plan)} - base for value, plan in plans.items()}
    for one, other in combinations(values, 2):
        assert told[one] or told[other] or words(plans[one]) != words(plans[other]), (one, other)


def words(plan: SwitchPlan) -> dict[str, list[str]]:
    """What is rendered without its white space: an empty line says nothing."""
    return {name: text.split() for name, text in rendered(plan).items()}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_samples_are_rendered_or_refused_for_what_the_platform_lacks(platform: str) -> None:
    for name, plan in samples(platform).items():
        for problem in errors(check("tor-1a", plan)):
            assert problem.code.startswith("platform-lacks-"), (name, problem.line())


# The text


@pytest.mark.parametrize("platform", PLATFORMS)
def test_order_of_the_plan_does_not_matter(platform: str) -> None:
    shuffle = random.Random(7)
    for plan in cases(platform).values():
        shuffled: dict[str, Any] = {
            name: tuple(shuffle.sample(value, len(value)))
            for name in ("sessions", "listen_ranges", "networks", "accept", "send", "announce", "keep_communities")
            if (value := getattr(plan, name))
        }
        assert rendered(replace(plan, **shuffled)) == rendered(plan)


def _with_password(platform: str) -> SwitchPlan:
    return build(BASE | {"password": "md5"}, platform)


@pytest.mark.parametrize("platform", [p for p in PLATFORMS if not errors(check("tor-1a", _with_password(p)))])
def test_a_password_is_in_no_file_unless_it_is_given(platform: str) -> None:
    plan = _with_password(platform)
    assert all(PASSWORD not in text for text in render("tor-1a", plan).values())
    holders = {name for name, text in rendered(plan).items() if PASSWORD in text}
    assert holders == {file.name for file in device_of(platform).files if file.secrets}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "text", ["true", "10", "a: b", "x # y", "it's", '"', "{{ view }}", "[1]", "-", "a\\b", "%s $x"]
)
def test_a_peers_name_is_text_whatever_it_looks_like(text: str, platform: str) -> None:
    """It is rendered, and every judge that takes the plan of another name takes this."""
    base = build(BASE, platform)
    plan = replace(
        base, sessions=tuple(replace(s, name=text) if s.peer == "external" else s for s in base.sessions[:3])
    )
    files = rendered(plan)
    for judge in judges(platform):
        if judge.takes(plan):
            assert judge.complaints(files, plan) == []


# Golden files


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_golden(name: str, platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    """What a platform cannot say has its problems for a golden file."""
    folder, plan = GOLDEN / platform / name, scenario(name, platform)
    try:
        files = render("tor-1a", plan)
    except RenderRefused as refused:
        files = {"refused.txt": f"{refused}\n"}
    for file, text in files.items():
        equals_golden(folder / file, text)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(files)


def test_every_golden_file_has_its_platform_and_scenario() -> None:
    assert {path.name for path in GOLDEN.iterdir()} >= set(PLATFORMS)
    assert {path.name.partition("@")[0] for path in GOLDEN.iterdir()} <= set(devices.names())
    for platform in PLATFORMS:
        assert {path.name for path in (GOLDEN / platform).iterdir()} == set(SCENARIOS)
