"""Rendered files on disk: all or none, secrets closed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fabric_templates.output import write_atomically


def contents(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_writes_new_and_replaces_old(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_atomically(target, {"tor-1a/frr.conf": "one\n", "tor-1b/frr.conf": "two\n"})
    (target / "notes.txt").write_text("not ours")
    write_atomically(target, {"tor-1a/frr.conf": "three\n"})
    assert contents(target) == {"tor-1a/frr.conf": "three\n", "tor-1b/frr.conf": "two\n", "notes.txt": "not ours"}
    assert [p.name for p in target.iterdir() if p.name.startswith(".")] == []


def test_modes_do_not_depend_on_umask_or_what_was_there(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write_atomically(tmp_path, {"open": "", "closed": ""})
        write_atomically(tmp_path, {"open": "", "closed": ""}, secret={"closed"})
    finally:
        os.umask(old)
    assert (mode(tmp_path / "open"), mode(tmp_path / "closed")) == (0o644, 0o600)


def test_a_failing_move_leaves_what_was_there(tmp_path: Path) -> None:
    write_atomically(tmp_path, {"a": "old"})
    (tmp_path / "z").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path, {"a": "new", "b": "new", "z": "new"})
    assert contents(tmp_path) == {"a": "old"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "z"]


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/../../x"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        write_atomically(tmp_path / "out", {name: "text"})
    assert list(tmp_path.rglob("*")) == []
