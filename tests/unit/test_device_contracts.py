"""What the table of drivers says of napalm, netmiko and scrapli, asked of the libraries that are installed.

No switch is here for most platforms. So it is looked up whether the real drivers have what we call, take the options
that check host keys and certificates, and do what the table claims of confirmations.
"""

from __future__ import annotations

import importlib.resources
import inspect
import re
import ssl
from importlib import import_module
from typing import Any

import pytest

from fabric_templates import devices
from tests.unit.samples import SAMPLES
from underlay.devices.credentials import Credentials
from underlay.devices.device import DeviceError
from underlay.devices.drivers import Driver, confirming, platform_called, platforms_of, table
from underlay.devices.napalm_device import NapalmDevice
from underlay.devices.target import Target

NetworkDriver = import_module("napalm.base.base").NetworkDriver
CLASS_MAPPER = import_module("netmiko.ssh_dispatcher").CLASS_MAPPER
OVER_NAPALM = platforms_of(Driver.napalm)
READS = {"open": (), "close": (), "get_config": ("retrieve",), "cli": ("commands",)}
CONFIRMS = {
    "load_merge_candidate": ("config",),
    "compare_config": (),
    "discard_config": (),
    "commit_config": ("revert_in",),
    "has_pending_commit": (),
    "confirm_commit": (),
    "rollback": (),
    "get_bgp_neighbors": (),
}


def driver_of(platform: str) -> Any:
    known = table()[platform].napalm
    assert known is not None
    return import_module("napalm").get_network_driver(known.name)


def made(platform: str) -> Any:
    """The library's own object, not connected."""
    target = Target("tor-1a", platform, "192.0.2.1", 8022)
    return NapalmDevice(target, Credentials("admin", "let-me-in"))._driver


def test_every_platform_has_a_row_and_no_name_means_two() -> None:
    assert set(table()) == set(devices.names())
    called = [name for ours, row in table().items() for name in (ours, *row.also)]
    assert sorted(called) == sorted(set(called))
    assert {platform_called(name.upper()) for name in ("cisco-ios", "ios-xe")} == {"iosxe"}
    assert platform_called("catos") is None


def test_a_command_is_quoted_for_a_shell_and_for_nothing_else() -> None:
    assert table()["frr"].said("show bgp neighbors json") == "vtysh -c 'show bgp neighbors json'"
    assert table()["frr"].said("show bgp ; reboot") == "vtysh -c 'show bgp ; reboot'"
    assert table()["eos"].said("show ip bgp summary | json") == "show ip bgp summary | json"


@pytest.mark.parametrize("platform", OVER_NAPALM)
def test_napalm_has_what_is_called(platform: str) -> None:
    wanted = READS | (CONFIRMS if platform in confirming() else {})
    for name, parameters in wanted.items():
        method = getattr(driver_of(platform), name)
        assert method is not getattr(NetworkDriver, name), f"{name} is not implemented"
        assert set(parameters) <= set(inspect.signature(method).parameters), name


@pytest.mark.parametrize("platform", OVER_NAPALM)
def test_napalm_confirms_where_the_table_says_so_and_nowhere_else(platform: str) -> None:
    """A driver that has no confirmation raises for `revert_in`, or has not the methods at all."""
    driver = driver_of(platform)
    has_all = all(getattr(driver, n) is not getattr(NetworkDriver, n) for n in ("has_pending_commit", "confirm_commit"))
    assert has_all is (platform in confirming())
    source = inspect.getsource(driver.commit_config)
    assert ("Commit confirm has not been implemented" in source) is (platform not in confirming())


def test_the_platforms_that_are_pushed_to() -> None:
    assert confirming() == ("eos", "iosxe", "junos")


def test_the_handbook_says_what_speaks_to_what() -> None:
    page = (SAMPLES.parents[1] / "docs" / "switches.md").read_text()
    napalm = page.split("\n### Pushing over napalm\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", napalm, re.MULTILINE) == list(confirming())
    others = set(table())
    assert others - set(platforms_of(Driver.netmiko)) == {"aci"}
    assert others - set(platforms_of(Driver.scrapli)) == {"aci", "os10"}
    assert OVER_NAPALM == ("eos", "iosxe", "iosxr", "junos", "nxos")
    for said in ("EOS, IOS-XE, IOS-XR (NETCONF, running configuration only), Junos, NX-OS", "all but ACI, over SSH"):
        assert said in page
    assert "all but ACI and OS10, by the `ssh`" in page


def test_eos_checks_the_certificate() -> None:
    context = made("eos").eapi_kwargs["context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True
    assert made("eos").eapi_kwargs["port"] == 8022


@pytest.mark.parametrize("platform", ["iosxe", "nxos"])
def test_what_goes_over_netmiko_checks_host_keys(platform: str) -> None:
    options = made(platform).netmiko_optional_args
    assert (options["ssh_strict"], options["system_host_keys"], options["port"]) == (True, True, 8022)


def test_iosxr_checks_host_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {}

    def connect(**options: Any) -> None:
        said.update(options)
        raise ConnectionError("enough")

    driver = made("iosxr")
    monkeypatch.setattr(f"{type(driver).__module__}.manager.connect", connect)
    with pytest.raises(Exception, match="enough"):
        driver.open()
    assert (said["hostkey_verify"], said["port"]) == (True, 8022)


def test_junos_checks_host_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """napalm gives PyEZ no `hostkey_verify`: what PyEZ hands on to ncclient is looked at."""
    said: dict[str, Any] = {}

    def connect(**options: Any) -> None:
        said.update(options)
        raise ConnectionError("enough")

    monkeypatch.setattr("jnpr.junos.device.netconf_ssh.connect", connect)
    with pytest.raises(Exception, match="enough"):
        made("junos").open()
    assert (said["hostkey_verify"], said["port"]) == (True, 8022)


def test_a_driver_that_runs_no_commands_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """iosxr_netconf returns the exception instead of raising it."""
    device = NapalmDevice(Target("tor-1a", "iosxr", "192.0.2.1"), Credentials())
    with pytest.raises(DeviceError, match="runs no commands"):
        device.show("show version")


@pytest.mark.parametrize("platform", platforms_of(Driver.netmiko))
def test_netmiko_knows_the_platform(platform: str) -> None:
    assert table()[platform].netmiko in CLASS_MAPPER


@pytest.mark.parametrize("platform", platforms_of(Driver.scrapli))
def test_scrapli_knows_the_platform(platform: str) -> None:
    definitions = importlib.resources.files("scrapli").joinpath("definitions")
    assert definitions.joinpath(f"{table()[platform].scrapli}.yaml").is_file()
