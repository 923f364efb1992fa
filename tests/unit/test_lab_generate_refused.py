"""`underlay lab generate`: what a lab cannot be is told in one line each, and then nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containerlab import draft
from containerlab.kinds import KINDS, LabKind, kind_of
from peering.compile import plan
from tests.unit.lab_declarations import Document, documents, dual_tor, generate, of, snapshot_of
from underlay.lab_generate import _no_kind


def spoil(change: Callable[[list[Document]], object], sample: str = "rack-aggregate") -> list[Document]:
    declared = documents(sample)
    change(declared)
    return declared


def peers(declared: list[Document], name: str) -> Any:
    return of(declared, "Switch", name)["fabricPeers"]


def crowd(declared: list[Document]) -> None:
    node = next(d for d in declared if d["metadata"]["name"] == "node-1")
    for n in range(60):
        copy = {**node, "metadata": {"name": f"more-{n}", "labels": {"rack": "rack-1"}}}
        low = 10 + 2 * n
        uplinks = [{"interface": f"eth{tor}", "addresses": [f"10.1.{tor}.{low + 1}/31"]} for tor in (1, 2)]
        copy["spec"] = {"bgp": {"ipv4Address": f"10.0.12.{n}/32"}, "uplinks": uplinks}
        declared.append(copy)


REFUSED: dict[str, tuple[list[Document], tuple[str, ...], str, str]] = {
    "lab-peer-shared": (
        spoil(lambda d: peers(d, "tor-1b")[0].update(address="10.254.1.0")), (), "Switch/tor-1b", "Switch/tor-1a"),
    "lab-peer-asn": (spoil(lambda d: peers(d, "tor-1b")[1].update(asNumber=65009)), (), "spine-1", "AS 65009"),
    "lab-link-ambiguous": (
        spoil(lambda d: of(d, "Switch", "tor-1b")["linkSubnets"].append("10.1.1.0/24"), "as-per-node"),
        (), "Node/node-1", "tor-1a and tor-1b"),
    "lab-bad-interface": (
        spoil(lambda d: of(d, "Node", "node-1")["uplinks"][0].update(switchInterface="ethernet-1/1"), "unnumbered"),
        (), "Switch/tor-1a", "ethernet-1/1"),
    "lab-too-many-links": (spoil(crowd), ("--kind", "srlinux"), "Switch/tor-1a", "64 ports"),
    "lab-shared-subnet": (spoil(lambda d: None, "shared-subnet"), ("--kind", "ceos"), "Switch/tor-1a", "arista_ceos"),
    "lab-same-name": (
        spoil(lambda d: [p.update(name="node-1") for s in ("tor-1a", "tor-1b") for p in peers(d, s)[:2]]),
        (), "node-1", ""),
    "lab-empty": (spoil(lambda d: None, "calico-mesh"), (), "Lab/lab", "no switch"),
    "lab-no-kind": (
        spoil(lambda d: of(d, "Switch", "tor-1a").update(platform="nxos")), (), "Switch/tor-1a", "nxos"),
    "unknown-platform": (
        spoil(lambda d: of(d, "Switch", "tor-1a").update(platform="fr")), (), "Switch/tor-1a", "frr"),
}  # fmt: skip


@pytest.mark.parametrize("code", REFUSED)
def test_what_cannot_be_generated_is_refused_in_one_line(tmp_path: Path, code: str) -> None:
    declared, options, who, part = REFUSED[code]
    result = generate(tmp_path, declared, *options)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line for line in lines if who in line and part in line], result.stderr
    assert "nothing was generated" in result.stderr
    assert code in codes_of(declared, options), result.stderr
    assert not (tmp_path / "lab").exists()


def codes_of(declared: list[Document], options: tuple[str, ...]) -> set[str]:
    """The codes, which the command does not print."""
    snapshot = snapshot_of(declared)
    compiled = plan(snapshot)
    found = {n: options[1] if options else kind_of(s.platform) for n, s in compiled.switches.items()}
    if without := [n for n, kind in found.items() if kind is None]:
        return {_no_kind(n, compiled.switches[n].platform).code for n in without}
    kinds: dict[str, LabKind] = {n: KINDS[kind] for n, kind in found.items() if kind}
    problems = draft.draft(snapshot, compiled, kinds)[1]
    return {p.code for p in problems if p.severity == "error"} or {"lab-empty"}


LEFT_OUT: dict[str, tuple[str, list[Document], str]] = {
    "a switch without links": (
        "lab-left-out",
        [*documents("as-per-node"), {
            "apiVersion": "underlay.io/v1alpha1", "kind": "Switch", "metadata": {"name": "tor-9"},
            "spec": {"asNumber": 65099, "addresses": ["10.0.9.9/32"]}}],
        "Switch/tor-9 spec: has no link"),
    "an uplink to nowhere": (
        "lab-left-out",
        spoil(lambda d: of(d, "Node", "node-1")["uplinks"].append(
            {"interface": "eth3", "addresses": ["10.77.0.1/31"]}), "as-per-node"),
        "Node/node-1 spec: eth3 (10.77.0.1/31) leads to no declared switch"),
    "a pair that is one-sided": (
        "lab-left-out", spoil(lambda d: peers(d, "tor-1b").__delitem__(slice(2, None))),
        "Switch/tor-1a spec.fabricPeers: tor-1b is a fabric peer, but"),
    "no spine": (
        "lab-no-uplink", spoil(lambda d: of(d, "Switch", "tor-1a").pop("fabricPeers"), "as-per-node"),
        "Switch/tor-1a spec.fabricPeers: has no fabric peer with an IPv4 address"),
    "no spine in one family": (
        "lab-no-uplink", documents("loopbacks"),
        "Switch/tor-1a spec.fabricPeers: has no fabric peer with an IPv6 address"),
    "a neighbour elsewhere": (
        "lab-session-outside",
        [*documents("as-per-node"), {
            "apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "far"},
            "spec": {"peerIP": "192.0.2.99", "asNumber": 64999}}],
        "Node/node-1: session far"),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_is_told_and_the_rest_is_generated(tmp_path: Path, case: str) -> None:
    code, declared, line = LEFT_OUT[case]
    result = generate(tmp_path, declared)
    assert result.exit_code == 0, result.stderr
    assert f"warning: {line}" in result.stderr
    assert (tmp_path / "lab/lab.clab.yml").exists()
    snapshot = snapshot_of(declared)
    compiled = plan(snapshot)
    assert code in {p.code for p in draft.draft(snapshot, compiled, dict.fromkeys(compiled.switches, KINDS["frr"]))[1]}


@pytest.mark.parametrize("sample", ["dual-tor", "unnumbered", "rack-aggregate"])
def test_a_whole_sample_has_nothing_to_tell(tmp_path: Path, sample: str) -> None:
    assert generate(tmp_path, dual_tor() if sample == "dual-tor" else documents(sample)).stderr == ""


def test_a_declaration_with_errors_is_refused(tmp_path: Path) -> None:
    declared = spoil(lambda d: of(d, "Rack", "rack-1").update(switches=["tor-7"]))
    result = generate(tmp_path, declared)
    assert result.exit_code == 1
    assert "nothing was generated" in result.stderr
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "eos"),
        ("--image", "ceos"),
        ("--image", "ceos="),
        ("--image", "ceoz=x:1"),
        ("--image", "ceos=x: y"),
        ("--name", "Lab"),
        ("--name", "a/b"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, str]) -> None:
    result = generate(tmp_path, dual_tor(), *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert not (tmp_path / "lab").exists()
