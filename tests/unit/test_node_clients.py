"""A node's clients on its PATH: told where that node's daemons are, whoever calls them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from containerlab import daemons, node_clients


@pytest.fixture
def machine(tmp_path: Path) -> str:
    """A PATH with a vtysh that prints its arguments one a line, and no other client."""
    folder = tmp_path / "a bin"
    folder.mkdir()
    (folder / "vtysh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "vtysh").chmod(0o755)
    (folder / "sh").symlink_to("/bin/sh")
    return str(folder)


def node(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "a lab" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def said(path: str, script: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.splitlines()


def test_a_script_that_knows_of_no_lab_talks_to_the_node(tmp_path: Path, machine: str) -> None:
    folder = node(tmp_path, "tor-1a")
    path = node_clients.search_path(folder, machine)
    (_, *arguments) = daemons.vtysh(folder)
    assert said(path, "vtysh -c 'show  bgp $HOME'") == [*arguments, "-c", "show  bgp $HOME"]


def test_in_a_shell_of_another_node_it_is_still_this_nodes(tmp_path: Path, machine: str) -> None:
    one, two = node(tmp_path, "tor-1a"), node(tmp_path, "tor-1b")
    path = node_clients.search_path(one, machine)
    nested = node_clients.search_path(two, path)
    assert said(nested, "vtysh") == list(daemons.vtysh(two)[1:])
    assert said(node_clients.search_path(two, nested), "vtysh") == list(daemons.vtysh(two)[1:])
    assert nested.split(os.pathsep)[1:] == [machine]


def test_what_is_not_installed_is_not_there(tmp_path: Path, machine: str) -> None:
    path = node_clients.search_path(node(tmp_path, "tor-1a"), machine)
    assert [file.name for file in Path(path.split(os.pathsep)[0]).iterdir()] == ["vtysh"]


def test_what_another_version_has_put_there_is_replaced(tmp_path: Path, machine: str) -> None:
    folder = node(tmp_path, "tor-1a")
    path = node_clients.search_path(folder, machine)
    (file,) = Path(path.split(os.pathsep)[0]).iterdir()
    text = file.read_text()
    file.write_text("old")
    assert node_clients.search_path(folder, machine) == path
    assert (file.read_text(), list(file.parent.iterdir())) == (text, [file])
