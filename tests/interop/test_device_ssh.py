"""netmiko and scrapli over a real SSH connection into the shell of a live FRR: what they read is what it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peering.manifests import read_manifests
from peering.snapshot import Snapshot
from tests.interop.netns_daemons import Frr, Network
from tests.interop.ssh_login import SshLogin
from tests.interop.test_remediation_frr import BY_HAND
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES
from underlay.devices.access import Access, Login
from underlay.devices.drivers import Driver
from underlay.output import Refused

pytestmark = pytest.mark.lab

OVER_SSH = [Driver.netmiko, Driver.scrapli]


@dataclass
class Site:
    """A live FRR, the way into its shell, and the declaration of what it is to run."""

    frr: Frr
    login: SshLogin
    fabric: Path
    home: Path

    def diff(self, *options: str) -> Result:
        return run_underlay("diff", "-f", str(self.fabric), "--switch", "tor-1a", *options)

    def access(self, driver: Driver) -> Access:
        resources, problems = read_manifests([self.fabric])
        assert problems == []
        return Access(Snapshot(resources), Login(driver))


@pytest.fixture(scope="module")
def live() -> Iterator[Site]:
    with Network() as network:
        namespace = network.namespace("tor")
        frr = Frr(network, namespace, BY_HAND, zebra=True, integrated=True)
        (frr.directory / "vtysh.conf").write_text("service integrated-vtysh-config\n")
        tools = network.directory / "tools"
        tools.mkdir()
        places = f"--vty_socket {frr.directory} --config_dir {frr.directory}"
        (tools / "vtysh").write_text(f'#!/bin/sh\nexec /usr/bin/vtysh {places} "$@"\n')
        (tools / "vtysh").chmod(0o755)
        shell = ("ip", "netns", "exec", namespace, "bash", "--noprofile", "--norc", "-i")
        environment = {"PATH": f"{tools}:{os.environ['PATH']}", "PS1": "tor-1a:\\w\\$ ", "HOME": "/", "TERM": "dumb"}
        with SshLogin(shell, environment) as login:
            text = next(t for t in (SAMPLES / "dual-tor" / "switches.yaml").read_text().split("---\n") if "tor-1a" in t)
            management = f"  management: {{address: 127.0.0.1, port: {login.port}}}\n"
            fabric = network.directory / "fabric.yaml"
            fabric.write_text(re.sub(r"(  platform: frr\n)", rf"\1{management}", text))
            yield Site(frr, login, fabric, network.directory)


@pytest.fixture
def site(live: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """With a person's home that knows the switch, and the password in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("UNDERLAY_DEVICE_USERNAME", live.login.user)
    monkeypatch.setenv("UNDERLAY_DEVICE_PASSWORD", live.login.password)
    live.login.trust(tmp_path)
    live.home = tmp_path
    return live


@pytest.mark.parametrize("driver", OVER_SSH)
def test_the_difference_is_that_of_the_running_configuration(site: Site, driver: Driver, tmp_path: Path) -> None:
    file = tmp_path / "running.conf"
    file.write_text(site.frr.ask("show running-config"))
    wanted = site.diff("--running", str(file))
    assert (wanted.exit_code, " neighbor 10.254.1.0 remote-as 65000\n" in wanted.stdout) == (1, True)
    assert site.diff("--driver", driver) == wanted


@pytest.mark.parametrize("driver", OVER_SSH)
def test_what_it_shows_is_read_whole(site: Site, driver: Driver) -> None:
    with site.access(driver) as access:
        shown = access.show("tor-1a", "show running-config")
        assert access.show("tor-1a", "show bgp neighbors json").strip().startswith("{")
        assert "10.99.0.9" in access.show("tor-1a", "show bgp neighbors json")
    lines = [line.rstrip() for line in site.frr.ask("show running-config").splitlines() if line.strip()]
    assert [line.rstrip() for line in shown.splitlines() if line.strip()] == lines
    assert len(lines) > 20


@pytest.mark.parametrize("driver", OVER_SSH)
def test_a_switch_whose_key_is_not_known_gets_no_password(site: Site, driver: Driver) -> None:
    (site.home / ".ssh" / "known_hosts").write_text("")
    refused = site.diff("--driver", driver)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith("error: Switch/tor-1a spec.management: ")


@pytest.mark.parametrize("driver", OVER_SSH)
def test_a_wrong_password_is_one_line(site: Site, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_DEVICE_PASSWORD", "wrong-password")
    refused = site.diff("--driver", driver)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith("error: Switch/tor-1a spec.management: ")
    assert "wrong-password" not in refused.stderr


def test_a_key_of_ssh_is_enough(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of netmiko: scrapli runs ssh, which looks for keys in the home of the account and not in `HOME`."""
    monkeypatch.delenv("UNDERLAY_DEVICE_PASSWORD")
    site.login.key.write_private_key(site.home / ".ssh" / "id_ed25519")
    (site.home / ".ssh" / "id_ed25519").chmod(0o600)
    assert " neighbor 10.254.1.0 remote-as 65000\n" in site.diff("--driver", "netmiko").stdout


def test_what_the_switch_cannot_show_is_not_silence(site: Site) -> None:
    with site.access(Driver.netmiko) as access:
        assert "Unknown command" in access.show("tor-1a", "show nothing")
        with pytest.raises(Refused):
            access.show("tor-2a", "show version")
