"""A fabric with mistakes in it: all of them are told, each with its object and path, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import DictLoader, Environment, StrictUndefined

from fabric_templates import devices
from fabric_templates import render as rendering
from fabric_templates.naming import owned
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES

Manifest = dict[str, Any]
NODE = """
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {name: node-1, labels: {rack: rack-1}}
spec:
  bgp: {ipv4Address: 10.0.11.1/32, ipv6Address: 'fd00:0:11::1/128'}
  uplinks:
    - {interface: eth1, addresses: [10.1.1.1/31, 'fd00:1:1::1/127']}
    - {interface: eth2, addresses: [10.1.2.1/31, 'fd00:1:2::1/127']}
"""


class Fabric:
    """The dual-ToR sample with a node, which a test changes; and where it is rendered to."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "fabric.yaml"
        self.out = directory / "out"
        texts = [file.read_text() for file in sorted((SAMPLES / "dual-tor").iterdir())]
        self.resources: list[Manifest] = [m for text in [*texts, NODE] for m in yaml.safe_load_all(text) if m]

    def spec(self, kind: str, name: str) -> Any:
        return next(m for m in self.resources if (m["kind"], m["metadata"]["name"]) == (kind, name))["spec"]

    def render(self, *options: str) -> Result:
        self.file.write_text(yaml.safe_dump_all(self.resources))
        return run_underlay("render", "-f", str(self.file), "--out", str(self.out), *options)

    def refusal(self, *options: str) -> list[str]:
        """The errors, of a command that writes nothing."""
        before = files(self.out)
        result = self.render(*options)
        assert (result.exit_code, result.stdout) == (1, ""), result
        assert "Traceback" not in result.stderr
        assert "a bug in underlay" not in result.stderr
        assert files(self.out) == before
        return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def files(directory: Path) -> dict[str, str]:
    return {str(f.relative_to(directory)): f.read_text() for f in sorted(directory.rglob("*")) if f.is_file()}


@pytest.fixture
def fabric(tmp_path: Path) -> Fabric:
    return Fabric(tmp_path)


def test_the_fabric_is_good_as_it_is(fabric: Fabric) -> None:
    result = fabric.render()
    assert result.exit_code == 0, result.stderr
    assert sorted(files(fabric.out)) == [f"{name}/frr.conf" for name in ("tor-1a", "tor-1b", "tor-2a", "tor-2b")]


def test_every_unknown_platform_is_told_with_the_nearest_name(fabric: Fabric) -> None:
    fabric.render()
    fabric.spec("Switch", "tor-1a")["platform"] = "junoss"
    fabric.spec("Switch", "tor-2b")["platform"] = "arista"
    fabric.spec("Switch", "tor-1b")["platform"] = "frr@x"
    known = ", ".join(devices.names())
    found = fabric.refusal()
    assert found[0] == (
        f"error: Switch/tor-1a spec.platform: there is no platform 'junoss' (did you mean junos? known: {known})"
    )
    assert [line.split(": ")[1] for line in found] == [
        f"Switch/{n} spec.platform" for n in ("tor-1a", "tor-1b", "tor-2b")
    ]


def unnumbered(fabric: Fabric) -> None:
    fabric.spec("Rack", "rack-1")["peerAddresses"] = "unnumbered"
    links = [
        {"interface": f"eth{n}", "switch": s, "switchInterface": "swp1"} for n, s in ((1, "tor-1a"), (2, "tor-1b"))
    ]
    fabric.spec("Node", "node-1")["uplinks"] = links


def without_interface(fabric: Fabric) -> None:
    unnumbered(fabric)
    del fabric.spec("Node", "node-1")["uplinks"][1]["switchInterface"]


def without_link(fabric: Fabric) -> None:
    del fabric.spec("Node", "node-1")["uplinks"][1]


def with_a_wide_link(fabric: Fabric) -> None:
    fabric.spec("Node", "node-1")["uplinks"][1]["addresses"] = ["10.1.2.1/24"]


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (
            without_interface,
            "error: Node/node-1 spec.uplinks: the uplink eth2 is unnumbered, "
            "so the interface of Switch/tor-1b is unknown (set switchInterface of the uplink)",
        ),
        (
            without_link,
            "error: Node/node-1 spec.uplinks: has no uplink to Switch/tor-1b of Rack/rack-1 "
            "(give an uplink an address in the switch's linkSubnets: 10.1.2.0/24, fd00:1:2::/64)",
        ),
        (
            with_a_wide_link,
            "error: Node/node-1 spec.uplinks: 10.1.2.1/24 on eth2 is no point-to-point address, "
            "so the end of Switch/tor-1b is unknown (give the link a /31 or /30 (IPv6: /127 or /126), or name the "
            "switch's own address in its linkAddresses)",
        ),
    ],
)
def test_a_missing_interface_or_link(fabric: Fabric, mistake: Callable[[Fabric], None], line: str) -> None:
    mistake(fabric)
    assert line in fabric.refusal()


def test_an_unnumbered_link_with_its_interface_is_good(fabric: Fabric) -> None:
    unnumbered(fabric)
    assert fabric.render().exit_code == 0


def profiles_that_are_called_the_same() -> tuple[str, str]:
    """Two names with one digest, which everything after the platform's limit is cut to: found by trying."""
    seen: dict[str, str] = {}
    for number in count():
        name = f"{'a' * 80}-{number}"
        other = seen.setdefault(owned(63, name), name)
        if other != name:
            return other, name
    raise AssertionError


def test_names_that_collide_when_they_are_cut(fabric: Fabric) -> None:
    first, second = profiles_that_are_called_the_same()
    for name in (first, second):
        fabric.resources.append(
            {"apiVersion": "underlay.io/v1alpha1", "kind": "BFDProfile", "metadata": {"name": name}, "spec": {}}
        )
    fabric.spec("Rack", "rack-1")["bfd"] = first
    assert fabric.render().exit_code == 0
    spec = {"node": "node-1", "peerIP": "10.1.1.99", "asNumber": 65011, "bfd": second}
    peer = {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "x"}, "spec": spec}
    fabric.resources.append(peer)
    spec["peerIP"] = "10.0.1.1"
    found = [line for line in fabric.refusal() if " are both called " in line]
    assert found == [
        f"error: Switch/tor-1a bfd: BFDProfile/{first} and BFDProfile/{second} are both called {owned(63, first)} on "
        "FRRouting 8.4+ (give one of them a shorter name)"
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (65000.1, "65000.1 is no AS number; asdot notation must be quoted"),
        ("1.65536", "1.65536 is no AS number in asdot notation (both halves are at most 65535)"),
        (4294967296, "AS number 4294967296 is out of range (1..4294967294)"),
        (23456, "AS number 23456 is reserved (AS_TRANS, RFC 6793)"),
        ("AS65011", "'AS65011' is no AS number"),
    ],
)
def test_as_notation(fabric: Fabric, given: object, message: str) -> None:
    fabric.spec("Switch", "tor-1a")["asNumber"] = given
    assert fabric.refusal() == [f"error: Switch/tor-1a spec.asNumber: {message}"]


def test_asdot_is_the_number_that_it_means(fabric: Fabric) -> None:
    fabric.spec("Switch", "tor-1a")["asNumber"] = "1.10"
    assert fabric.render().exit_code == 0
    assert "router bgp 65546\n" in files(fabric.out)["tor-1a/frr.conf"]


def test_too_many_neighbours(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    few = devices.find("frr", "").limits.model_copy(update={"neighbors": 3})  # type: ignore[union-attr]
    device = devices.find("frr", "").model_copy(update={"limits": few})  # type: ignore[union-attr]
    monkeypatch.setattr(devices, "find", lambda *_: device)
    assert fabric.refusal() == [
        f"error: Switch/{name} sessions: FRRouting 8.4+ takes 3 neighbours, {planned} are planned (use more switches)"
        for name, planned in (("tor-1a", 6), ("tor-1b", 6), ("tor-2a", 4), ("tor-2b", 4))
    ]


def broken(text: str) -> Callable[[], Environment]:
    environment = Environment(loader=DictLoader({"frr/frr.conf.j2": text}), undefined=StrictUndefined)
    return lambda: environment


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ view.no_such_field }}", "'fabric_templates.shapes.View object' has no attribute 'no_such_field'"),
        ("{% if %}", "Expected an expression, got 'end of statement block'"),
        ("{{ view.name + 1 }}", 'can only concatenate str (not "int") to str'),
        ("{{ 1 // 0 }}", "integer division or modulo by zero"),
        ("{% include 'frr/gone.j2' %}", "frr/gone.j2"),
    ],
)
def test_a_template_error_is_told_for_each_switch(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch, template: str, said: str
) -> None:
    fabric.resources = [m for m in fabric.resources if m["metadata"]["name"] not in ("rack-2", "tor-2a", "tor-2b")]
    fabric.render()
    monkeypatch.setattr(rendering, "_environment", broken(template))
    found = fabric.refusal()
    hint = " (this is a mistake of the template, not of the declaration)"
    names = ("tor-1a", "tor-1b")
    assert [line.partition(": template ")[0] for line in found] == [f"error: Switch/{name} frr.conf" for name in names]
    assert all(said in line and line.endswith(hint) for line in found), found


def test_a_template_error_in_a_comparison_is_told(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fabric.render()
    running = tmp_path / "running.conf"
    running.write_text("router bgp 65011\n")
    monkeypatch.setattr(rendering, "_environment", broken("{{ view.no_such_field }}"))
    command = ("diff", "-f", str(fabric.file), "--switch", "tor-1a", "--running", str(running))
    result = run_underlay(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: Switch/tor-1a frr.conf: template frr/frr.conf.j2: " in result.stderr
    assert result.stderr.endswith("nothing was compared\n")


@pytest.mark.parametrize("form", ["files", "ansible"])
def test_a_disk_that_fills_up_leaves_what_was_there(fabric: Fabric, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    assert fabric.render("--format", form).exit_code == 0
    fabric.spec("Switch", "tor-1a")["asNumber"] = 65099
    fabric.spec("Switch", "tor-2b")["asNumber"] = 65098
    moves, replace = count(), os.replace

    def fails_at_the_third(source: Any, target: Any) -> None:
        if next(moves) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("fabric_templates.output.os.replace", fails_at_the_third)
    found = fabric.refusal("--format", form)
    assert found == [f"error: {fabric.out}: cannot be written: No space left on device"]
    assert next(moves) > 3
    assert not [name for name in os.listdir(fabric.out) if name.startswith(".")]


def test_a_password_in_another_platforms_file_is_for_its_owner_only(fabric: Fabric) -> None:
    """The files are those of the platform that is asked for."""
    fabric.spec("Rack", "rack-1")["password"] = {"secretKeyRef": {"name": "md5", "key": "key"}}
    fabric.resources.append(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "md5"}, "stringData": {"key": "let-me-in"}}
    )
    assert fabric.render("--platform", "eos", "--with-secrets").exit_code == 0
    for name in ("tor-1a", "tor-1b"):
        file = fabric.out / name / "eos.cfg"
        assert ("let-me-in" in file.read_text(), file.stat().st_mode & 0o777) == (True, 0o600)
