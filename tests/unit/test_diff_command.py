"""`underlay diff` as a shell sees it: where the running configuration comes from, exit codes, both streams."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES

SAMPLE = str(SAMPLES / "dual-tor")
TOR = ("diff", "-f", SAMPLE, "--switch", "tor-1a")
BY_HAND = "router bgp 65011\n neighbor 10.99.0.9 remote-as 65999\n"


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """What the switch runs: the plan."""
    file = tmp_path / "running.conf"
    file.write_text(run_underlay("render", "-f", SAMPLE, "--switch", "tor-1a").stdout)
    return file


def edited(running: Path, old: str, new: str) -> str:
    text = running.read_text()
    assert old in text
    running.write_text(text.replace(old, new))
    return str(running)


def error(result: Result) -> str:
    """The last line of a command that refuses."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_nothing_is_printed_where_the_switch_runs_the_plan(running: Path) -> None:
    result = run_underlay(*TOR, "--running", str(running))
    assert (result.exit_code, result.stdout) == (0, "")


def test_the_lines_that_lead_to_the_plan(running: Path) -> None:
    result = run_underlay(*TOR, "--running", edited(running, "bgp router-id 10.0.1.1", "bgp router-id 10.0.1.2"))
    assert result.exit_code == 1
    assert result.stdout == "router bgp 65011\n bgp router-id 10.0.1.1\nexit\n"


def test_an_address_is_printed_as_it_is(running: Path) -> None:
    """The console makes pictures of what stands between two colons."""
    old = "router bgp 65011\n neighbor fd00:100:1::1 peer-group UNDERLAY-FABRIC\n"
    result = run_underlay(*TOR, "--running", edited(running, "router bgp 65011\n", old))
    assert result.stdout == "router bgp 65011\n no neighbor fd00:100:1::1\nexit\n"


def test_what_is_left_alone_is_told_and_no_difference(running: Path) -> None:
    result = run_underlay(*TOR, "--running", edited(running, "router bgp 65011\n", BY_HAND))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "info: Switch/tor-1a neighbor 10.99.0.9: is on the switch and not in the plan; it is left alone" in (
        result.stderr
    )


@pytest.mark.parametrize(("how", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_one_document_for_scripts(running: Path, how: str, read: object) -> None:
    assert callable(read)
    result = run_underlay(*TOR, "--running", edited(running, "router bgp 65011\n", BY_HAND), "-o", how)
    document = read(result.stdout)
    assert (result.exit_code, document["switch"], document["platform"]) == (0, "tor-1a", "frr")
    assert document["lines"] == []
    assert [problem["code"] for problem in document["problems"]] == ["foreign-neighbor"]


def test_the_configuration_from_a_command(running: Path) -> None:
    command = f"{sys.executable} -c \"print(open('{running}').read())\""
    assert run_underlay(*TOR, "--running-command", command).exit_code == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('router bgp 65011'); sys.exit('no route to host')", "no route to host"),
        ("raise SystemExit(7)", "exit code 7"),
        (r"import sys; sys.stdout.buffer.write(b'\xff')", "not UTF-8"),
    ],
)
def test_a_command_that_fails_gives_no_configuration(code: str, said: str) -> None:
    assert said in error(run_underlay(*TOR, "--running-command", f'{sys.executable} -c "{code}"'))


def test_a_command_that_is_not_there() -> None:
    assert "no-such-command: cannot be run" in error(run_underlay(*TOR, "--running-command", "no-such-command x"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in error(run_underlay(*TOR, "--running", str(tmp_path / "none")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in error(run_underlay(*TOR, "--running", str(tmp_path / "binary")))


@pytest.mark.parametrize(
    "options",
    [(), ("--running", "x", "--running-command", "y"), ("--running-command", "'x"), ("--running-command", "")],
)
def test_one_source_is_wanted(options: tuple[str, ...]) -> None:
    result = run_underlay(*TOR, *options)
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_unknown_switch(running: Path) -> None:
    result = run_underlay("diff", "-f", SAMPLE, "--switch", "tor-9", "--running", str(running))
    assert "there is no Switch/tor-9 (there are: tor-1a," in error(result)


def test_a_daemons_file_is_changed_by_patch(tmp_path: Path) -> None:
    run_underlay("render", "-f", SAMPLE, "--switch", "tor-1a", "--platform", "openbgpd", "--out", str(tmp_path))
    file = tmp_path / "tor-1a" / "underlay.conf"
    wanted = file.read_text()
    file.write_text(wanted.replace("\tholdtime 9\n", "\tholdtime 10\n"))
    assert file.read_text() != wanted
    result = run_underlay(*TOR, "--platform", "openbgpd", "--running", str(file))
    assert result.exit_code == 1
    assert "\n \tneighbor " in result.stdout
    done = subprocess.run(
        ["patch", "--fuzz=0"],
        cwd=file.parent,
        input=result.stdout,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert file.read_text() == wanted


def test_another_as_refuses_the_comparison(running: Path) -> None:
    result = run_underlay(*TOR, "--running", edited(running, "router bgp 65011", "router bgp 65099"))
    assert "the switch runs BGP with AS 65099, the plan has AS 65011" in error(result)
