"""`underlay push` to a ToR of the lab, with `underlay lab exec` as the way to its shell: a good change stays, one that
breaks the sessions does not."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.running_lab import RunningLab, wait_until
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES

TOR = "tor-1a"
#: `underlay`, for a lab that has its run directory, the first argument, elsewhere than users' labs have theirs.
UNDERLAY = """
import sys
from functools import partial
from pathlib import Path
from underlay import cli, lab_commands
lab_commands.FabricLab = partial(lab_commands.FabricLab, run_dir=Path(sys.argv.pop(1)))
cli.main()
"""


class Switch:
    """A ToR, and the declaration of its fabric in files."""

    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.lab = lab
        self.files = folder / "fabric"
        shutil.copytree(SAMPLES / "dual-tor", self.files)
        nodes = run_underlay("get", "nodes", "-o", "yaml", "--store", lab.fabric.store_url)
        (self.files / "nodes.yaml").write_text(nodes.stdout)

    def exec(self, *command: str) -> tuple[str, ...]:
        """`underlay lab exec LAB TOR -- COMMAND`."""
        start = (sys.executable, "-c", UNDERLAY, str(self.lab.run_dir), "lab", "exec")
        return (*start, str(self.lab.topology_file), TOR, "--name", self.lab.name, "--", *command)

    def push(self, *options: str) -> Result:
        return run_underlay("push", "--switch", TOR, "--via", shlex.join(self.exec()), *options)

    def declare(self, file: str, old: str, new: str) -> None:
        text = (self.files / file).read_text()
        assert old in text
        (self.files / file).write_text(text.replace(old, new))

    def running(self) -> str:
        """As a script prints it that knows nothing of the lab."""
        argv = self.exec("sh", "-c", "exec vtysh -c 'show running-config'")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def left(self) -> bool:
        return Path(f"/run/underlay/push-{TOR}").exists()


@pytest.fixture
def switch(lab: RunningLab, tmp_path: Path) -> Switch:
    return Switch(lab, tmp_path)


def test_a_good_change_is_in_force_and_the_next_one_leads_back(lab: RunningLab, switch: Switch) -> None:
    before, flaps, sessions = switch.running(), lab.all_connections(), len(lab.plan().switches[TOR].sessions)
    assert f"hostname {TOR}\n" in before
    switch.declare("racks.yaml", "maxPrefixes: 64", "maxPrefixes: 60")
    pushed = switch.push("-f", str(switch.files))
    try:
        assert (pushed.exit_code, pushed.stderr) == (0, "")
        assert pushed.stdout.endswith(f"confirmed: {sessions} sessions are up\n")
        assert switch.running() == before.replace("maximum-prefix 64", "maximum-prefix 60") != before
    finally:
        back = switch.push("--store", lab.fabric.store_url)
    assert (back.exit_code, switch.running(), switch.left()) == (0, before, False)
    assert lab.all_connections() == flaps


def test_a_change_that_breaks_the_sessions_is_rolled_back(lab: RunningLab, switch: Switch) -> None:
    before = switch.running()
    fabric = {peer for peer, row in lab.summary(TOR).items() if row["remoteAs"] == 65000}
    switch.declare("switches.yaml", "asNumber: 65000", "asNumber: 65001")
    refused = switch.push("-f", str(switch.files), "--within", "5")
    assert refused.exit_code == 1
    told = re.findall(r"^error: session \S+ with (\S+): (?!Established)\w+", refused.stderr, re.MULTILINE)
    assert set(told) == fabric
    assert refused.stderr.endswith("rolled back: what is ours on the switch is as it was before\n")
    assert (switch.running(), switch.left()) == (before, False)
    wait_until("all sessions are up again", lambda: _all_up(lab), 120)


def _all_up(lab: RunningLab) -> bool:
    return all(row["state"] == "Established" for row in lab.summary(TOR).values())
