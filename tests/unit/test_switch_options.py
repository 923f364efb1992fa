"""What a Switch and its Rack say for the switch's platform reaches the plan, and nothing else of the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peering.compile import plan
from peering.problems import Problem
from peering.resource import Resource, parse_resource
from peering.session import Setting
from peering.snapshot import Snapshot
from tests.unit.samples import nodes, sample


def parsed(kind: str, name: str, **spec: Any) -> Resource | list[Problem]:
    """A resource of the sample with more said by it, or the problems of that."""
    (resource,) = (one for one in sample("dual-tor") if (one.kind, one.name) == (kind, name))
    document = resource.to_document()
    return parse_resource({**document, "spec": {**document["spec"], **spec}})


def changed(kind: str, name: str, **spec: Any) -> Snapshot:
    """The sample with more said by one resource."""
    resource = parsed(kind, name, **spec)
    assert isinstance(resource, Resource)
    others = [one for one in (*sample("dual-tor"), *nodes()) if (one.kind, one.name) != (kind, name)]
    return Snapshot([*others, resource])


def test_settings_are_the_switchs_own() -> None:
    given = [{"name": "vrf", "value": "k8s"}, {"name": "tenant", "value": "blue"}]
    before = plan(changed("Switch", "tor-1a"))
    after = plan(changed("Switch", "tor-1a", settings=given, platform="frr@8.5"))
    assert after.switches["tor-1a"] == replace(
        before.switches["tor-1a"],
        platform="frr@8.5",
        settings=(Setting("tenant", "blue"), Setting("vrf", "k8s")),
    )
    assert after.to_json()["switches"]["tor-1a"]["settings"] == [
        {"name": "tenant", "value": "blue"},
        {"name": "vrf", "value": "k8s"},
    ]
    assert replace(after, switches={**after.switches, "tor-1a": before.switches["tor-1a"]}) == before


def test_kept_communities_are_those_of_the_rack() -> None:
    after = plan(changed("Rack", "rack-1", keepCommunities=["65101:0100", "65101:1:2"]))
    kept = {name: switch.keep_communities for name, switch in after.switches.items()}
    one = ("65101:100", "65101:1:2")
    assert kept == {"tor-1a": one, "tor-1b": one, "tor-2a": (), "tor-2b": ()}


@pytest.mark.parametrize(
    ("kind", "name", "spec", "path", "message"),
    [
        (
            "Switch",
            "tor-1a",
            {"settings": [{"name": "vrf", "value": "a"}, {"name": "vrf", "value": "b"}]},
            "spec.settings[1].name",
            "vrf is set twice",
        ),
        (
            "Rack",
            "rack-1",
            {"keepCommunities": ["65101:1", "blackhole"]},
            "spec.keepCommunities[1]",
            "blackhole is well-known: switches keep or refuse those by themselves",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, name: str, spec: dict[str, Any], path: str, message: str) -> None:
    problems = parsed(kind, name, **spec)
    assert isinstance(problems, list)
    (problem,) = problems
    assert (problem.path, problem.message) == (path, message)
