"""Day two at the command line: hier_config, which works out what to say to a switch that runs something else.

What we render has to be a configuration that it reads as the tree it is: said again it changes nothing, and from one
plan's configuration its remediation leads to another's, to no line more or less.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hier_config import HConfig, Platform, WorkflowRemediation, get_hconfig

from fabric_templates.render import render
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.platforms import releases

DRIVERS = {
    "eos": Platform.ARISTA_EOS,
    "nxos": Platform.CISCO_NXOS,
    "iosxe": Platform.CISCO_IOS,
    "iosxr": Platform.CISCO_XR,
}
PLATFORMS = [name for name in releases() if name in DRIVERS]
#: Of IOS-XR hier_config replaces sets and policies whole, which its prediction of the outcome does not know.
PREDICTED = [name for name in PLATFORMS if name != "iosxr"]


def configurations(platform: str) -> list[str]:
    return [
        text
        for _, plan in sorted(cases(platform).items())
        for text in render("tor-1a", plan, passwords=PASSWORDS).values()
    ]


def loaded(platform: str, text: str) -> HConfig:
    return get_hconfig(DRIVERS[platform], text)


def remediation(running: HConfig, wanted: HConfig) -> HConfig:
    return WorkflowRemediation(running, wanted).remediation_config


def lines(config: HConfig) -> set[tuple[str, ...]]:
    """Every line with those above it."""
    return {tuple(child.path()) for child in config.all_children()}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_a_switch_runs_already_is_not_said_again(platform: str) -> None:
    for text in configurations(platform):
        left = remediation(loaded(platform, text), loaded(platform, text))
        assert [line.cisco_style_text() for line in left.all_children()] == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_empty_switch_is_told_every_line(platform: str) -> None:
    for text in configurations(platform):
        wanted = loaded(platform, text)
        assert lines(remediation(loaded(platform, ""), wanted)) == lines(wanted)


@pytest.mark.parametrize("platform", PREDICTED)
def test_remediation_leads_from_one_plan_to_the_next(platform: str) -> None:
    for before, after in pairwise(configurations(platform)):
        running, wanted = loaded(platform, before), loaded(platform, after)
        assert lines(running.future(remediation(running, wanted))) == lines(wanted)
