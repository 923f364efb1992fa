"""`underlay diff` and `push` over napalm: its real EOS driver against a stand-in of a switch with its own timer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.command_line import Result, run_underlay
from tests.unit.eapi_switch import EapiSwitch, certificate
from tests.unit.samples import SAMPLES
from underlay import pushing_confirmed
from underlay.devices.credentials import Credentials
from underlay.devices.device import DeviceError
from underlay.devices.drivers import row
from underlay.devices.napalm_device import NapalmDevice
from underlay.devices.target import Target

SPINES = {"10.254.1.0": "65000", "10.254.2.0": "65000", "fd00:fe:1::": "65000", "fd00:fe:2::": "65000"}
BY_HAND = """hostname tor-1a
router bgp 65011
   timers bgp 10 30
   neighbor 10.99.0.9 remote-as 65999
   neighbor 10.99.0.9 password 7 045802150C2E
"""
MANAGEMENT = "  management: {{address: 127.0.0.1, port: {}, driver: napalm}}\n"


@dataclass
class Site:
    """A switch, and the declaration of what it is to run."""

    switch: EapiSwitch
    fabric: Path

    def push(self, *options: str) -> Result:
        return run_underlay("push", "-f", str(self.fabric), "--switch", "tor-1a", *options)

    def diff(self, *options: str) -> Result:
        return run_underlay("diff", "-f", str(self.fabric), "--switch", "tor-1a", *options)

    def declare(self, old: str, new: str) -> None:
        text = self.fabric.read_text()
        assert old in text
        self.fabric.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def site(
    tmp_path: Path, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Site]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[1]))
    monkeypatch.setenv("UNDERLAY_DEVICE_USERNAME", "admin")
    monkeypatch.setenv("UNDERLAY_DEVICE_PASSWORD", "let-me-in")
    seconds = getattr(request, "param", 1.0)
    with EapiSwitch(BY_HAND, dict(SPINES), seconds).serve(certificates[0]) as switch:
        text = next(t for t in (SAMPLES / "dual-tor" / "switches.yaml").read_text().split("---\n") if "tor-1a" in t)
        fabric = tmp_path / "fabric.yaml"
        management = MANAGEMENT.format(switch.port)
        fabric.write_text(text.replace("  platform: frr\n", "  platform: eos\n" + management))
        yield Site(switch, fabric)


def test_the_difference_is_asked_of_the_switch_itself(site: Site) -> None:
    shown = site.diff()
    assert (shown.exit_code, shown.stderr.count("10.99.0.9")) == (1, 1)
    assert " neighbor 10.254.1.0 remote-as 65000\n" in shown.stdout
    assert site.switch.text() == EapiSwitch(BY_HAND, {}).text()


def test_a_good_change_stays_is_saved_and_is_the_plan(site: Site) -> None:
    pushed = site.push("--within", "20")
    assert (pushed.exit_code, pushed.stdout.splitlines()[-1]) == (0, "confirmed, and saved: 4 sessions are up"), pushed
    assert "+   neighbor 10.254.1.0 remote-as 65000\n" in pushed.stdout
    assert "neighbor 10.99.0.9 remote-as 65999" in site.switch.text()
    assert site.switch.saved == site.switch.running
    assert (site.switch.is_pending(), site.switch.sessions) == (False, {})
    again = site.push()
    assert (again.exit_code, again.stdout) == (0, "Switch/tor-1a runs the plan\n")
    assert site.diff().exit_code == 0


def test_a_change_that_leaves_a_session_down_is_rolled_back(site: Site) -> None:
    assert site.push("--within", "20").exit_code == 0
    before = site.switch.text()
    site.declare("address: 10.254.1.0, asNumber: 65000", "address: 10.254.1.0, asNumber: 65001")
    refused = site.push("--within", "5")
    assert refused.exit_code == 1
    assert "+   neighbor 10.254.1.0 remote-as 65001\n" in refused.stdout
    assert refused.stderr.endswith(
        "error: session spine-1-ipv4 with 10.254.1.0: it is down\nrolled back: the switch runs what it ran before\n"
    )
    assert (site.switch.text(), site.switch.is_pending()) == (before, False)


def test_what_was_down_before_need_not_come_up_if_so_asked(site: Site) -> None:
    site.switch.ases.clear()
    pushed = site.push("--expect", "kept")
    assert (pushed.exit_code, pushed.stdout.splitlines()[-1]) == (0, "confirmed, and saved: 0 sessions are up")


def test_a_dry_run_shows_the_switchs_own_difference_and_changes_nothing(site: Site) -> None:
    shown = site.push("--dry-run")
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "dry run: nothing was changed")
    assert "+   neighbor 10.254.1.0 remote-as 65000\n" in shown.stdout
    assert site.switch.text() == EapiSwitch(BY_HAND, {}).text()
    assert site.switch.sessions == {}


def test_a_line_that_the_switch_refuses_changes_nothing(site: Site) -> None:
    site.switch.refuses = "route-map "
    refused = site.push()
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "error: Switch/tor-1a spec.management: the candidate: " in refused.stderr
    assert "CLI command failed" in refused.stderr
    assert site.switch.text() == EapiSwitch(BY_HAND, {}).text()


@pytest.mark.parametrize("site", [1 / 60], indirect=True)
def test_the_switch_takes_it_back_when_the_push_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions cannot be asked any more, nor the rollback said: the switch's own timer is what is left."""
    before = site.switch.text()
    committed = threading.Event()
    ask = site.switch.run

    def cut_off(commands: list[object]) -> list[dict[str, object]]:
        if site.switch.is_pending():
            committed.set()
            raise ConnectionResetError
        return ask(commands)

    monkeypatch.setattr(site.switch, "run", cut_off)
    refused = site.push("--within", "60")
    assert refused.exit_code == 1
    assert committed.is_set()
    assert "the switch did not answer the rollback" in refused.stderr
    assert "it takes the change back by itself within 120 seconds" in refused.stderr
    monkeypatch.undo()
    pause = threading.Event()
    while site.switch.is_pending():
        pause.wait(0.05)
    assert site.switch.text() == before


def test_an_interrupted_push_is_rolled_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.switch.text()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    site.switch.ases.clear()
    monkeypatch.setattr("underlay.pushing_confirmed.time.sleep", interrupt)
    # napalm's EOS driver aborts the change when it is closed, too; others do not.
    rolled_back: list[NapalmDevice] = []
    roll_back = NapalmDevice.roll_back

    def note(device: NapalmDevice) -> None:
        rolled_back.append(device)
        roll_back(device)

    monkeypatch.setattr(NapalmDevice, "roll_back", note)
    assert (site.push().exit_code, len(rolled_back)) == (130, 1)
    assert (site.switch.text(), site.switch.is_pending()) == (before, False)


def test_a_confirmation_that_comes_too_late_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.switch.text()
    monkeypatch.setattr(NapalmDevice, "confirm", lambda _: pytest.fail("nothing is left to confirm"))
    running = NapalmDevice.running

    def slow(device: NapalmDevice) -> str:
        text = running(device)
        site.switch._ends = 0.0
        return text

    monkeypatch.setattr(NapalmDevice, "running", slow)
    refused = site.push()
    assert refused.exit_code == 1
    assert refused.stderr.endswith("the confirmation came too late: the switch has rolled back by itself\n")
    assert site.switch.text() == before


def test_a_change_of_somebody_else_that_waits_is_left_alone(site: Site) -> None:
    site.switch.sessions["theirs"] = dict(site.switch.running)
    site.switch.commit_for("theirs", "00", "10", "00")
    refused = site.push()
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "a change waits there for its confirmation" in refused.stderr
    assert site.switch.is_pending()


def test_a_commit_that_fails_takes_nothing_else_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """napalm's rollback without a change that waits would replace the configuration with an older one."""
    before = site.switch.text()

    def refuse(*_: str) -> dict[str, object]:
        raise ValueError("no space left")

    monkeypatch.setattr(
        site.switch, "_answer", lambda c: refuse() if "timer" in c else EapiSwitch._answer(site.switch, c)
    )
    refused = site.push()
    assert refused.exit_code == 1
    assert "no space left" in refused.stderr
    assert not [command for command in site.switch.commands if command.startswith("configure replace")]
    assert site.switch.text() == before


def test_every_section_is_ended_where_indentation_is_lost() -> None:
    lines = ["router bgp 1", " a", " address-family x", "  b", "  c", " address-family y", "  d", " e", "f", " g", "h"]
    found = [line.strip() for line in pushing_confirmed.with_ends(lines, "exit")]
    assert found[:7] == ["router bgp 1", "a", "address-family x", "b", "c", "exit", "address-family y"]
    assert found[7:] == ["d", "exit", "e", "exit", "f", "g", "exit", "h"]
    assert list(pushing_confirmed.with_ends(lines, None)) == lines


def test_no_password_is_shown_not_even_by_the_switchs_difference() -> None:
    difference = "+   neighbor 10.1.1.1 password 7 045802150C2E\n-   neighbor 10.1.1.1 password 0 secret\n    x y"
    known = row("eos").napalm
    assert known is not None
    hidden = "+   neighbor 10.1.1.1 password <hidden>\n-   neighbor 10.1.1.1 password <hidden>\n    x y"
    assert known.without_secrets(difference) == hidden


def test_a_refused_line_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    device = NapalmDevice(Target("tor-1a", "eos", "192.0.2.1"), Credentials())

    def refuse(config: str) -> None:
        raise ValueError(f"CLI command 5 of 9 {config!r} failed: invalid command")

    monkeypatch.setattr(device, "_driver", SimpleNamespace(load_merge_candidate=refuse))
    with pytest.raises(DeviceError) as told:
        device.load("neighbor 10.1.1.1 password 0 let-me-in")
    assert str(told.value) == "CLI command 5 of 9 'neighbor 10.1.1.1 password <hidden>"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("UNDERLAY_DEVICE_PASSWORD", "wrong", "Bad username/password"),
        ("SSL_CERT_FILE", "/dev/null", "certificate verify failed"),
    ],
)
def test_a_switch_that_lets_nobody_in_and_one_that_nobody_knows(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    refused = site.diff()
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith("error: Switch/tor-1a spec.management: ")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert value not in refused.stderr or value == "/dev/null"


def test_a_driver_cannot_go_with_a_shell(site: Site) -> None:
    assert site.push("--driver", "napalm", "--via", "ssh tor-1a").exit_code == 2
    assert site.diff("--driver", "napalm", "--running", "x").exit_code == 2


@pytest.mark.parametrize(("platform", "driver"), [("eos", "netmiko"), ("eos", "scrapli"), ("nxos", "napalm")])
def test_what_cannot_confirm_is_not_pushed_over(site: Site, platform: str, driver: str) -> None:
    site.declare("platform: eos", f"platform: {platform}")
    refused = site.push("--driver", driver)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"error: Switch/tor-1a spec.platform: nothing is pushed to platform '{platform}' over {driver} (" in (
        refused.stderr
    )
    assert site.switch.commands == []
