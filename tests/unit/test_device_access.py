"""Where a switch is, who logs in to it, and what speaks to it: NetBox by pynetbox, nornir by nornir, and our own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from peering.manifests import parse_manifests
from peering.snapshot import Snapshot
from tests.unit.command_line import run_underlay
from tests.unit.netbox_stand_in import NetBox
from underlay.devices import libraries, netbox_inventory
from underlay.devices.access import Access, Login
from underlay.devices.credentials import Credentials, from_file
from underlay.devices.drivers import Driver
from underlay.devices.netmiko_device import NetmikoDevice
from underlay.devices.target import Target
from underlay.output import Refused

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SWITCH = """
apiVersion: underlay.io/v1alpha1
kind: Switch
metadata: {name: tor-1a}
spec:
  platform: eos
  asNumber: 65011
  addresses: [10.0.1.1/32]
"""
LOGIN = """---
apiVersion: v1
kind: Secret
metadata: {name: switch-login}
stringData: {username: from-secret, password: secret-password}
"""


def snapshot(management: str = "", secret: str = "") -> Snapshot:
    text = SWITCH + (f"  management: {management}\n" if management else "") + secret
    resources, problems = parse_manifests(text, "test")
    assert problems == []
    return Snapshot(resources)


def target(management: str = "", inventory: str = "switches", driver: Driver | None = None) -> Target:
    return Access(snapshot(management), Login(driver, inventory)).target("tor-1a")


def refusal(*arguments: Any) -> str:
    with pytest.raises(Refused) as refused:
        target(*arguments)
    return "\n".join([*(problem.line() for problem in refused.value.problems), refused.value.message])


@pytest.fixture
def netbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[NetBox]:
    monkeypatch.setenv("UNDERLAY_NETBOX_TOKEN", TOKEN)
    with NetBox(TOKEN) as running:
        yield running


def test_of_the_switch_itself() -> None:
    found = target("{address: 192.0.2.11, port: 8443, driver: napalm}")
    assert found == Target("tor-1a", "eos", "192.0.2.11", 8443, "napalm")
    assert target("{address: tor-1a.example.net}").address == "tor-1a.example.net"
    assert target("{address: 192.0.2.11, driver: napalm}", "switches", Driver.netmiko).driver == "netmiko"


def test_a_switch_without_an_address() -> None:
    assert refusal() == (
        "Switch/tor-1a spec.management: the declaration has no address for it (set spec.management.address)\n"
    )


@pytest.mark.parametrize("address", ["-oProxyCommand=reboot", "a b", "tor;reboot", "''"])
def test_an_address_is_never_an_option_of_ssh(address: str, netbox: NetBox) -> None:
    resources, problems = parse_manifests(SWITCH + f"  management: {{address: {address}}}\n", "test")
    assert (resources, problems[0].path) == ([], "spec.management.address")
    netbox.add("tor-1a", f"{address}/24", None)
    assert "NetBox has " in refusal("", f"netbox:{netbox.url}")


@pytest.mark.parametrize(("platform", "address"), [("arista-eos", "192.0.2.11"), (None, "fd00::11"), ("x", "10.0.0.1")])
def test_of_netbox(netbox: NetBox, platform: str | None, address: str) -> None:
    netbox.add("tor-2a", "192.0.2.99/24", "arista-eos")
    netbox.add("tor-1a", f"{address}/24", platform)
    found = target("{address: 198.51.100.1, port: 8443, driver: napalm}", f"netbox:{netbox.url}", Driver.netmiko)
    assert found == Target("tor-1a", "eos", address, None, "netmiko")


def test_netbox_knows_another_platform(netbox: NetBox) -> None:
    netbox.add("tor-1a", "192.0.2.11/24", "juniper-junos")
    said = "is 'eos' here, and 'juniper-junos' in NetBox (correct the one that is wrong)"
    assert refusal("", f"netbox:{netbox.url}") == f"Switch/tor-1a spec.platform: {said}\n"


def test_netbox_does_not_know_the_switch_or_not_enough(netbox: NetBox) -> None:
    where = f"netbox:{netbox.url}"
    assert "NetBox has no device 'tor-1a'" in refusal("", where)
    netbox.add("tor-1a", None, None)
    assert "NetBox has no address for it (set the device's primary IP address in NetBox)" in refusal("", where)
    netbox.add("tor-1a", "192.0.2.11/24", None, "dc-2")
    assert "NetBox has 2 devices 'tor-1a' (dc-1, dc-2); names have to be unique" in refusal("", where)


def test_netbox_wants_its_token_and_nobody_else_sees_it(netbox: NetBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_NETBOX_TOKEN", "wrong-token")
    said = refusal("", f"netbox:{netbox.url}")
    assert "Invalid token" in said
    assert "(the token is UNDERLAY_NETBOX_TOKEN)" in said
    assert "wrong-token" not in said
    assert "127.0.0.1:1" in refusal("", "netbox:http://127.0.0.1:1")


def test_a_netbox_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netbox_inventory, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "Read timed out" in refusal("", f"netbox:{where}")


def test_of_nornir(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("tor-1a: {hostname: 192.0.2.11, port: 8022, groups: [tors]}\ntor-1b: {groups: [tors]}\n")
    (tmp_path / "groups.yaml").write_text("tors: {platform: arista_eos, username: admin, password: of-nornir}\n")
    found = target("", f"nornir:{hosts}", Driver.netmiko)
    assert found == Target("tor-1a", "eos", "192.0.2.11", 8022, "netmiko", "admin", "of-nornir")
    assert "of-nornir" not in repr(found)
    assert not (Path.cwd() / "nornir.log").exists()


def test_a_configuration_file_of_nornir(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("tor-1a: {hostname: 192.0.2.11, platform: eos}\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"inventory: {{plugin: SimpleInventory, options: {{host_file: {tmp_path}/there.yaml}}}}\n")
    assert target("", f"nornir:{config}").address == "192.0.2.11"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tor-1b: {hostname: 192.0.2.12}", "nornir's inventory has no device 'tor-1a'"),
        ("tor-1a: {}", "nornir's inventory has no address for it (set its hostname)"),
        ("tor-1a: {hostname: 192.0.2.11, platform: junos}", "and 'junos' in nornir's inventory"),
        ("tor-1a: {hostname: -oX}", "nornir's inventory has an address that is none: '-oX'"),
        ("tor-1a: [", "nornir cannot read it: "),
        ("", "nornir's inventory has no device 'tor-1a'"),
    ],
)
def test_an_inventory_of_nornir_that_is_of_no_use(tmp_path: Path, text: str, said: str) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text(text)
    assert said in refusal("", f"nornir:{hosts}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal("", f"nornir:{tmp_path}/x.yaml")


@pytest.mark.parametrize("text", ["", "netbox", "netbox:ftp://x", "nornir:", "ansible:x"])
def test_an_inventory_that_is_none(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        target("", text)


def who(management: str, secret: str, file: Path | None = None, found: Target | None = None) -> Credentials:
    access = Access(snapshot(management, secret), Login(credentials=file))
    return access._who(found or access.target("tor-1a"))


def test_who_logs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file before the environment, that before the Secret, that before the inventory; a password only with the user
    name that it was given with."""
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"UNDERLAY_DEVICE_{name}", raising=False)
    plain, named = "{address: 192.0.2.11}", "{address: 192.0.2.11, secretRef: {name: switch-login}}"
    assert who(plain, LOGIN) == Credentials(None, None)
    assert who(named, LOGIN) == Credentials("from-secret", "secret-password")
    nornir = Target("tor-1a", "eos", "192.0.2.11", username="of-nornir", password="its-password")
    assert who(plain, LOGIN, found=nornir) == Credentials("of-nornir", "its-password")
    assert who(named, LOGIN, found=nornir) == Credentials("from-secret", "secret-password")
    monkeypatch.setenv("UNDERLAY_DEVICE_USERNAME", "from-env")
    assert who(named, LOGIN) == Credentials("from-env", None)
    monkeypatch.setenv("UNDERLAY_DEVICE_PASSWORD", "env-password")
    assert who(named, LOGIN) == Credentials("from-env", "env-password")
    file = tmp_path / "login.yaml"
    file.touch(0o600)
    file.write_text("{username: from-file, password: file-password}")
    assert who(named, LOGIN, file) == Credentials("from-file", "file-password")
    assert "password" not in repr(who(named, LOGIN, file)).replace("Credentials", "")


def test_a_secret_that_is_not_there() -> None:
    with pytest.raises(Refused) as refused:
        who("{address: 192.0.2.11, secretRef: {name: other}}", LOGIN)
    assert [(p.code, p.path) for p in refused.value.problems] == [("missing-secret", "spec.management.secretRef")]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("{username: a, password: hidden-word}", 0o640, "others may read it (chmod 600 "),
        ("{username: a, password: [hidden-word]}", 0o600, "expected username and password"),
        ("{user: a, password: hidden-word}", 0o600, "expected username and password"),
        ("hidden-word", 0o600, "expected username and password"),
        ("", 0o600, "expected username and password"),
        ("{hidden-word", 0o600, "is no YAML"),
    ],
)
def test_a_file_with_credentials_that_is_of_no_use(tmp_path: Path, text: str, mode: int, said: str) -> None:
    file = tmp_path / "login.yaml"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(Refused) as refused:
        from_file(file)
    assert said in refused.value.message
    assert "hidden-word" not in refused.value.message


def problem_of(management: str, driver: Driver | None, platform: str = "eos") -> tuple[str, str]:
    with pytest.raises(Refused) as refused, Access(snapshot(management), Login(driver)) as access:
        access.device("tor-1a", platform)
    return refused.value.problems[0].code, refused.value.problems[0].line()


def test_a_driver_has_to_be_chosen_and_to_know_the_platform() -> None:
    here = "{address: 127.0.0.1, port: 1}"
    assert problem_of(here, None)[0] == "driver-not-chosen"
    code, line = problem_of(here, Driver.napalm, "frr")
    assert code == "driver-lacks-platform"
    assert line.endswith("napalm does not speak to platform 'frr' (it speaks to eos, iosxe, iosxr, junos, nxos)")


@pytest.mark.parametrize("driver", list(Driver))
def test_a_switch_that_nobody_answers_for_is_one_line(driver: Driver, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UNDERLAY_DEVICE_USERNAME", "admin")
    monkeypatch.setenv("UNDERLAY_DEVICE_PASSWORD", "hidden-word")
    code, line = problem_of("{address: 127.0.0.1, port: 1}", driver)
    assert (code, line.count("\n"), "hidden-word" in line) == ("device-failed", 0, False)
    assert line.startswith("Switch/tor-1a spec.management: ")


@pytest.mark.parametrize("driver", list(Driver))
def test_what_libraries_log_does_not_reach_a_person(driver: Driver, tmp_path: Path) -> None:
    """In a process of its own: pytest handles what is logged."""
    fabric = tmp_path / "fabric.yaml"
    fabric.write_text(SWITCH + "  management: {address: 127.0.0.1, port: 1}\n")
    words = ("diff", "-f", str(fabric), "--switch", "tor-1a", "--driver", driver)
    done = subprocess.run([sys.executable, "-m", "underlay", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "options"),
    [
        ("napalm", "napalm", ("--driver", "napalm")),
        ("netmiko", "netmiko", ("--driver", "netmiko")),
        ("scrapli", "scrapli", ("--driver", "scrapli")),
        ("pynetbox", "netbox", ("--driver", "napalm", "--inventory", "netbox:https://netbox.example.net")),
        ("nornir", "nornir", ("--driver", "napalm", "--inventory", "nornir:hosts.yaml")),
    ],
)
def test_a_library_that_is_not_installed(
    module: str, extra: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(libraries, "import_module", missing)
    fabric = tmp_path / "fabric.yaml"
    fabric.write_text(SWITCH + "  management: {address: 127.0.0.1}\n")
    result = run_underlay("diff", "-f", str(fabric), "--switch", "tor-1a", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"{extra} is not installed: No module named '{module}' (pip install 'underlay[{extra}]')"
    assert result.stderr.splitlines()[-1].endswith(said)


def test_no_command_imports_a_library_before_it_is_used() -> None:
    """They take a second and more, and are not there everywhere."""
    code = (
        "import sys; from underlay import cli; cli.command_line()\n"
        "print(sorted({'napalm', 'netmiko', 'scrapli', 'pynetbox', 'nornir'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_verify_asks_over_one_connection_each(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def enter(device: NetmikoDevice) -> NetmikoDevice:
        said.append("open")
        return device

    monkeypatch.setattr(NetmikoDevice, "__enter__", enter)
    monkeypatch.setattr(NetmikoDevice, "__exit__", lambda *_: said.append("close"))
    monkeypatch.setattr(NetmikoDevice, "show", lambda _, command: f"<{command}>")
    with Access(snapshot("{address: 192.0.2.11, driver: netmiko}"), Login()) as access:
        assert access.show("tor-1a", "show version") == "<show version>"
        assert access.show("tor-1a", "show clock") == "<show clock>"
    assert said == ["open", "close"]
