"""The scripts of a push, run by a shell against a switch that only writes down what is said to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fabric_templates.remediation import tables
from fabric_templates.remediation.push_scripts import BUSY, NOT_PENDING, Scripts
from fabric_templates.remediation.tables import PushCommands
from fabric_templates.verification import sources
from tests.interop.netns_daemons import eventually

FILES = {"forth": "forth it's $HOME `x`", "back": "back", "plan": "plan"}


class Switch:
    """A folder in which `said` grows by every file that is loaded."""

    def __init__(self, folder: Path, check: tuple[str, ...] = ("true",)) -> None:
        self.folder = folder / "a folder" / "push"
        self.said = folder / "said"
        self.said.touch()
        tool = folder / "tool"
        tool.write_text(f'#!/bin/sh\ncat "$1" >> {self.said}\n')
        tool.chmod(0o755)
        self.commands = PushCommands(show=("echo", "running"), check=check, load=(str(tool), "{file}"), save=("true",))

    def scripts(self, token: str = "one") -> Scripts:
        return Scripts(str(self.folder), token, self.commands)


def run(script: str) -> int:
    return subprocess.run(["sh", "-s"], input=script, text=True, check=False).returncode


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path)


def test_what_is_confirmed_stays(switch: Switch) -> None:
    scripts = switch.scripts()
    assert [run(s) for s in (scripts.prepare(FILES), scripts.apply(60), scripts.confirm())] == [0, 0, 0]
    assert switch.said.read_text() == FILES["forth"] + "\n"
    assert not switch.folder.exists()
    assert run(scripts.take_back()) == NOT_PENDING


def test_what_is_taken_back_cannot_be_confirmed(switch: Switch) -> None:
    scripts = switch.scripts()
    assert [run(s) for s in (scripts.prepare(FILES), scripts.apply(60), scripts.take_back())] == [0, 0, 0]
    assert switch.said.read_text() == FILES["forth"] + "\nback\n"
    assert run(scripts.confirm()) == NOT_PENDING


def test_the_timer_takes_it_back_alone(switch: Switch) -> None:
    scripts = switch.scripts()
    assert [run(s) for s in (scripts.prepare(FILES), scripts.apply(1))] == [0, 0]
    eventually(lambda: not switch.folder.exists())
    assert switch.said.read_text() == FILES["forth"] + "\nback\n"
    assert run(scripts.confirm()) == NOT_PENDING


def test_the_timer_of_an_earlier_push_leaves_the_next_one_alone(switch: Switch, tmp_path: Path) -> None:
    first, second = switch.scripts("one"), switch.scripts("two")
    fires = tmp_path / "fires"
    timed = first.apply(5).replace("sleep 5; ", f"sleep 5; : > {fires}; ")
    assert [run(s) for s in (first.prepare(FILES), timed, first.confirm())] == [0, 0, 0]
    assert [run(s) for s in (second.prepare(FILES), second.apply(60))] == [0, 0]
    eventually(fires.exists)
    assert run(second.confirm()) == 0
    assert "back" not in switch.said.read_text().split()


def test_one_push_at_a_time(switch: Switch) -> None:
    first, second = switch.scripts("one"), switch.scripts("two")
    assert run(first.look()) == 0
    assert run(first.prepare(FILES)) == 0
    assert (run(second.look()), run(second.prepare(FILES))) == (BUSY, BUSY)
    assert run(first.discard()) == 0
    assert run(second.look()) == 0


def test_a_folder_that_cannot_be_made_is_no_other_push(switch: Switch, tmp_path: Path) -> None:
    switch.folder.parent.mkdir()
    switch.folder.symlink_to(tmp_path / "nowhere")
    assert run(switch.scripts().prepare(FILES)) not in (0, BUSY)
    assert list(Path.cwd().glob("forth")) == []


def test_files_with_passwords_are_nobody_elses(switch: Switch) -> None:
    assert run(switch.scripts().prepare(FILES)) == 0
    assert {file.name: file.stat().st_mode & 0o777 for file in switch.folder.iterdir()} == dict.fromkeys(FILES, 0o600)
    assert switch.folder.stat().st_mode & 0o777 == 0o700


def test_what_the_check_refuses_leaves_nothing(tmp_path: Path) -> None:
    switch = Switch(tmp_path, check=("sh", "-c", 'grep -q plan "$0" && exit 9', "{file}"))
    assert run(switch.scripts().prepare(FILES)) == 9
    assert not switch.folder.exists()


def test_the_sessions_of_what_is_pushed_to_are_read_by_the_same_shell() -> None:
    found = [sources.find(name) for name in tables.names() if tables.load(name).push]
    assert found
    assert all(source is not None and source.via == "shell" for source in found)


def test_the_way_back_is_known_only_where_passwords_are_shown() -> None:
    pushed = [tables.load(name) for name in tables.names() if tables.load(name).push]
    assert pushed
    assert all(table.secrets_shown for table in pushed)
