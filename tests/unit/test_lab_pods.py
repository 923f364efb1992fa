"""Pods of a lab that cannot be made, and where their nodes have their things."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from containerlab.pods import reference_plugins
from underlay.fabric_lab import FabricLab
from underlay.lab_pods import ensure_pods
from underlay.output import Refused


def test_nodes_that_do_not_take_pods_are_named_with_their_logs(tmp_path: Path) -> None:
    fabric = FabricLab("dual-tor", name="nowhere", run_dir=tmp_path)
    with pytest.raises(Refused) as refused:
        asyncio.run(ensure_pods(fabric, patience=0))
    lines = str(refused.value.message).splitlines()
    assert len(lines) == 8
    assert lines[0] == (
        "error: node-1/pod-1: the node's agent does not say that pods may come "
        f"({tmp_path}/nowhere/nodes/node-1/cni/net.d has no .conflist); "
        f"see {tmp_path}/nowhere/nodes/node-1/log/speaker.log"
    )


def test_a_socket_with_too_long_a_path_is_told_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(Refused) as refused:
        asyncio.run(FabricLab("dual-tor", name="nowhere", run_dir=folder).up())
    assert [problem.code for problem in refused.value.problems] == ["run-dir-too-long"]
    assert not folder.exists()


@pytest.mark.parametrize(("told", "expected"), [("/a:/b", ["/a", "/b"]), ("/a:", ["/a"])])
def test_cni_path_says_where_the_reference_plugins_are(
    monkeypatch: pytest.MonkeyPatch, told: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CNI_PATH", told)
    assert list(map(str, reference_plugins())) == expected
