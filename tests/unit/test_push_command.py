"""`underlay push` where no switch is asked: what is refused before anything is run."""

from __future__ import annotations

import pytest

from tests.unit.command_line import run_underlay
from tests.unit.samples import SAMPLES

SAMPLE = SAMPLES / "dual-tor"
TOR = ("push", "--switch", "tor-1a", "--via", "no-such-command")


def test_a_platform_that_nothing_is_pushed_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fabric")
    text = (SAMPLE / "switches.yaml").read_text()
    (folder / "switches.yaml").write_text(text.replace("platform: frr", "platform: eos"))
    result = run_underlay(*TOR, "-f", str(folder))
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "error: Switch/tor-1a spec.platform: nothing is pushed to platform 'eos' by a shell (to frr only; "
        in result.stderr
    )


def test_a_shell_that_cannot_be_run() -> None:
    result = run_underlay(*TOR, "-f", str(SAMPLE))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("error: no-such-command: cannot be run: No such file or directory\n")


@pytest.mark.parametrize("options", [("--via", "'x"), ("--within", "4"), ("--within", "3601"), ("--expect", "none")])
def test_wrong_usage(options: tuple[str, ...]) -> None:
    result = run_underlay(*TOR, *options, "-f", str(SAMPLE))
    assert (result.exit_code, result.stdout) == (2, "")
