"""The list of plugins and the plugin among the others: what is written, when, and that it is whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ipam import cni_plugin
from ipam.conflist import FILE_NAME, Conflist, install_plugin, keep_conflist, usual_python

GOLDEN = Path(__file__).parent / "golden" / "cni" / FILE_NAME


def written(path: Path) -> tuple[int, int]:
    """Which file it is, and when it was written; that it was read does not matter."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_list(tmp_path: Path, equals_golden: Callable[[Path, str], None]) -> None:
    assert keep_conflist(tmp_path, Conflist(mtu=9000), ready=True)
    path = tmp_path / FILE_NAME
    equals_golden(GOLDEN, path.read_text())
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("name", "blocks"), [("pod-cidrs", False), ("blocks-and-a-pod-cidr", True)])
def test_list_of_a_node_with_pod_cidrs(name: str, blocks: bool, equals_golden: Callable[[Path, str], None]) -> None:
    pod_cidrs = ("10.1.7.0/24",) if blocks else ("10.1.7.0/24", "fd00:1:0:7::/64")
    conflist = Conflist(mtu=9000, pod_cidrs=pod_cidrs, blocks=blocks)
    equals_golden(GOLDEN.with_name(f"{name}.conflist"), conflist.text())


def test_only_a_ready_node_gets_one_and_it_stays(tmp_path: Path) -> None:
    folder = tmp_path / "net.d"
    assert not keep_conflist(folder, Conflist(mtu=1500), ready=False)
    assert not folder.exists()
    assert keep_conflist(folder, Conflist(mtu=1500), ready=True)
    first = written(folder / FILE_NAME)
    assert not keep_conflist(folder, Conflist(mtu=1500), ready=True)
    assert not keep_conflist(folder, Conflist(mtu=9000), ready=False)
    assert written(folder / FILE_NAME) == first
    assert keep_conflist(folder, Conflist(mtu=9000), ready=True)
    assert json.loads((folder / FILE_NAME).read_text())["plugins"][0]["mtu"] == 9000
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_what_fails_leaves_the_list_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_conflist(tmp_path, Conflist(mtu=1500), ready=True)
    before = (tmp_path / FILE_NAME).read_text()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        keep_conflist(tmp_path, Conflist(mtu=9000), ready=True)
    assert (tmp_path / FILE_NAME).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_plugin_runs_where_it_is_installed(tmp_path: Path) -> None:
    path = install_plugin(tmp_path / "bin")
    assert path.name == "underlay-ipam"
    assert path.stat().st_mode & 0o777 == 0o755
    first, rest = path.read_text().split("\n", 1)
    assert first == f"#!{usual_python()} -IS"
    assert rest == Path(cni_plugin.__file__).read_text().split("\n", 1)[1]
    done = subprocess.run([path], env={"CNI_COMMAND": "VERSION"}, input="", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["supportedVersions"] == ["1.0.0", "1.1.0"]
    installed = written(path)
    install_plugin(tmp_path / "bin")
    assert written(path) == installed


@pytest.mark.parametrize(
    ("python", "taken"), [("exit 0", True), ("exit 1", False), ("kill -9 $$", False), (None, False)]
)
def test_the_systems_python_runs_the_plugin_unless_it_is_too_old(
    tmp_path: Path, python: str | None, taken: bool
) -> None:
    path = tmp_path / "python3"
    if python is not None:
        path.write_text(f"#!/bin/sh\n{python}\n")
        path.chmod(0o755)
    assert usual_python(str(path)) == (str(path) if taken else os.path.realpath(sys.executable))


def test_the_question_to_a_python_is_one_that_ours_answers_with_yes() -> None:
    assert usual_python(sys.executable) == sys.executable


def test_another_python_may_be_named(tmp_path: Path) -> None:
    assert install_plugin(tmp_path, "/opt/python").read_text().startswith("#!/opt/python -IS\n")
