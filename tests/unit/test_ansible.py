"""`underlay render --format ansible`, judged by Ansible: its parser, its inventory, its modules' own documentation, the
comparison that its modules make before they say anything to a switch, and a run where no switch is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabric_templates import devices
from fabric_templates.render import check, render
from peering.problems import errors
from tests.switches.scenarios import SCENARIOS, scenario
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES
from underlay.ansible_files import AnsibleSwitch, ansible_files, table

BIN = Path(sys.executable).parent
SWITCH = next(t for t in (SAMPLES / "dual-tor" / "switches.yaml").read_text().split("---\n") if "tor-1a" in t)
ACI = """  settings:
    - {name: tenant, value: k8s}
    - {name: vrf, value: k8s}
    - {name: fabricAS, value: "65011"}
    - {name: l3Domain, value: k8s}
    - {name: physicalDomain, value: k8s}
    - {name: node, value: "101"}
    - {name: vlan, value: "30"}
    - {name: address, value: none}
    - {name: floatingAddress, value: none}
    - {name: address6, value: none}
    - {name: floatingAddress6, value: none}
"""
SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: md5}}\nstringData: {{key: {}}}\n"
#: The platforms whose module compares line by line with what runs.
COMPARED = sorted(name for name, row in table().items() if row.connection == "ansible.netcommon.network_cli")
COPIED = sorted(name for name, row in table().items() if row.module == "ansible.builtin.copy")


def fabric(directory: Path, *platforms: str) -> Path:
    """A switch called as its platform, for each platform."""
    file = directory / "fabric.yaml"
    file.write_text("---\n".join(_switch(name, number) for number, name in enumerate(platforms, 11)))
    return file


def _switch(platform: str, number: int) -> str:
    management = f"  management: {{address: 192.0.2.{number}, port: 80{number}}}\n"
    text = SWITCH.replace("tor-1a", platform).replace("10.0.1.1/32", f"10.0.1.{number}/32")
    text = re.sub(r"fd00:0:1::1/128", f"fd00:0:1::{number}/128", text)
    return text.replace("  platform: frr\n", f"  platform: {platform}\n{ACI * (platform == 'aci')}{management}")


def rendered(directory: Path, *options: str) -> Result:
    out = ("--format", "ansible", "--out", str(directory / "out"))
    return run_underlay("render", "-f", str(directory / "fabric.yaml"), *out, *options)


def ansible(tool: str, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = {"HOME": str(directory), "ANSIBLE_LOCAL_TEMP": str(directory / ".tmp"), "ANSIBLE_NOCOLOR": "1"}
    environment = {**os.environ, **settings, "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_NOCOWS": "1"}
    return subprocess.run(
        (str(BIN / tool), *words), cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def printable(directory: Path) -> list[str]:
    """The platforms that the sample's switch can be rendered for."""
    found = []
    for platform in devices.names():
        fabric(directory, platform)
        if run_underlay("render", "-f", str(directory / "fabric.yaml")).exit_code == 0:
            found.append(platform)
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a switch of each platform, as Ansible gets it."""
    directory = tmp_path_factory.mktemp("ansible")
    platforms = printable(directory)
    fabric(directory, *platforms)
    assert rendered(directory).exit_code == 0
    return directory / "out", platforms


def test_there_is_a_row_for_each_platform_and_the_sample_is_for_nearly_all() -> None:
    assert set(table()) == set(devices.names())


def test_ansible_reads_the_playbook(everything: tuple[Path, list[str]]) -> None:
    out, platforms = everything
    assert len(platforms) >= len(devices.names()) - 2
    done = ansible("ansible-playbook", out, "-i", "inventory.yml", "--syntax-check", "underlay.yml")
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    plays = yaml.safe_load((out / "underlay.yml").read_text())
    assert [play["hosts"] for play in plays] == [f"underlay_{platform}" for platform in platforms]


def test_ansible_knows_each_switch_and_how_to_get_there(everything: tuple[Path, list[str]]) -> None:
    out, platforms = everything
    done = ansible("ansible-inventory", out, "-i", "inventory.yml", "--list")
    assert (done.returncode, done.stderr) == (0, "")
    listed = json.loads(done.stdout)
    assert sorted(listed["underlay"]["children"]) == sorted(f"underlay_{platform}" for platform in platforms)
    for number, platform in enumerate(platforms, 11):
        said = dict(listed["_meta"]["hostvars"][platform])
        assert (said.pop("ansible_host"), said.pop("ansible_port")) == (f"192.0.2.{number}", int(f"80{number}"))
        row = table()[platform]
        there = {"ansible_network_os": row.network_os, "ansible_connection": row.connection}
        assert said == {name: value for name, value in there.items() if value}
    assert "password" not in done.stdout


def test_the_modules_are_there_and_have_these_options(tmp_path: Path) -> None:
    modules = sorted({row.module for row in table().values() if row.module})
    done = ansible("ansible-doc", tmp_path, "-j", *modules)
    told = json.loads(done.stdout)
    assert sorted(told) == modules
    for name, row in table().items():
        if row.module is not None:
            known = told[row.module]["doc"]["options"]
            aliases = {alias for option in known.values() for alias in option.get("aliases", [])}
            assert set(row.options) <= set(known) | aliases, name


@pytest.mark.parametrize(
    ("kind", "connection"), [("cliconf", "ansible.netcommon.network_cli"), ("netconf", "ansible.netcommon.netconf")]
)
def test_the_platforms_of_the_connections_are_there(kind: str, connection: str, tmp_path: Path) -> None:
    wanted = sorted({row.network_os for row in table().values() if row.connection == connection and row.network_os})
    assert wanted
    assert sorted(json.loads(ansible("ansible-doc", tmp_path, "-t", kind, "-j", *wanted).stdout)) == wanted
    assert connection in json.loads(ansible("ansible-doc", tmp_path, "-t", "connection", "-j", connection).stdout)


def texts(platform: str) -> Iterator[tuple[str, str]]:
    """What Ansible would be given, for each design that the platform can say."""
    for design in sorted(SCENARIOS):
        plan = scenario(design, platform)
        if not errors(check("tor-1a", plan)):
            files = ansible_files([AnsibleSwitch("tor-1a", platform, render("tor-1a", plan))])
            yield design, next(text for path, text in files.items() if path.startswith("files/"))


def cliconf(platform: str) -> Any:
    """The plugin whose `get_diff` the platform's module asks what to say."""
    collection, name = (table()[platform].network_os or "").rsplit(".", 1)
    return import_module(f"ansible_collections.{collection}.plugins.cliconf.{name}").Cliconf(None)


def said_to(platform: str, text: str, running: str) -> list[str]:
    plugin = cliconf(platform)
    operations = {"supports_generate_diff": True, "supports_diff_replace": True, "supports_onbox_diff": False}
    plugin.get_device_operations = lambda: operations
    found = plugin.get_diff(candidate=text, running=running)["config_diff"]
    return [line.strip() for line in (found.splitlines() if isinstance(found, str) else found)]


@pytest.mark.parametrize("platform", COMPARED)
def test_the_modules_comparison_says_all_to_an_empty_switch_and_nothing_to_one_that_has_it(platform: str) -> None:
    """Comments and what ends a section are no lines to it; everything else is said, and in this order."""
    for design, text in texts(platform):
        lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "!#"]
        assert said_to(platform, text, "set system host-name x\n" if platform == "vyos" else "hostname x\n") == lines, (
            design
        )
        assert said_to(platform, text, text) == [], design


@pytest.mark.parametrize("platform", COMPARED)
def test_the_modules_comparison_finds_what_differs(platform: str) -> None:
    design, text = next(texts(platform))
    running = text.replace("10.0.1.1", "10.0.1.9")
    assert running != text, design
    said = said_to(platform, text, running)
    assert any("10.0.1.1" in line for line in said)
    assert len(said) < len(text.splitlines()) / 3


def test_the_lines_of_junos_begin_as_the_module_wants_them() -> None:
    module = import_module("ansible_collections.junipernetworks.junos.plugins.modules.junos_config")
    for design, text in texts("junos"):
        assert module.guess_format(text) == "set", design
        assert {line.split()[0] for line in text.splitlines()} <= {"set", "delete"}, design


def test_a_run_puts_the_files_where_nothing_reads_them_yet(everything: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, platforms = everything
    here = ("-e", "ansible_connection=local", "-e", f"underlay_dest={tmp_path}/{{{{ inventory_hostname }}}}")
    limit = ",".join(name for name in platforms if name in COPIED)
    done = ansible("ansible-playbook", out, "-i", "inventory.yml", "--limit", limit, *here, "underlay.yml")
    assert done.returncode == 0, done.stdout
    assert len(COPIED) == 6
    for platform in limit.split(","):
        sent = {file.name: file.read_text() for file in (out / "files" / platform).iterdir()}
        assert {file.name: file.read_text() for file in (tmp_path / platform).iterdir()} == sent
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / platform).iterdir()} == {0o640}


def with_password(directory: Path, platform: str, password: str) -> None:
    """A rack whose sessions have a password."""
    racks = (SAMPLES / "dual-tor" / "racks.yaml").read_text()
    rack = next(t for t in racks.split("---\n") if "rack-1" in t).replace("[tor-1a, tor-1b]", f"[{platform}]")
    rack += "  password: {secretKeyRef: {name: md5, key: key}}\n"
    node = """---
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {name: node-1, labels: {rack: rack-1}}
spec:
  bgp: {ipv4Address: 10.0.11.1/32}
  uplinks:
    - {interface: eth1, addresses: [10.1.1.1/31]}
"""
    text = "---\n".join([_switch(platform, 1), rack, (SAMPLES / "dual-tor" / "pools.yaml").read_text()])
    (directory / "fabric.yaml").write_text(text + node + SECRET.format(json.dumps(password)))


def test_what_has_a_placeholder_of_a_password_is_never_loaded(tmp_path: Path) -> None:
    with_password(tmp_path, "bird", "let-me-in")
    assert rendered(tmp_path).exit_code == 0
    file = tmp_path / "out" / "files" / "bird" / "underlay.conf"
    assert "<secret:md5/key>" in file.read_text()
    run = (
        "-i",
        "inventory.yml",
        "-e",
        "ansible_connection=local",
        "-e",
        f"underlay_dest={tmp_path}/dest",
        "underlay.yml",
    )
    refused = ansible("ansible-playbook", tmp_path / "out", *run)
    assert (refused.returncode, "render it with --with-secrets" in refused.stdout) == (2, True)
    assert not (tmp_path / "dest").exists()
    assert rendered(tmp_path, "--with-secrets").exit_code == 0
    assert (file.stat().st_mode & 0o777, "let-me-in" in file.read_text()) == (0o600, True)
    done = ansible("ansible-playbook", tmp_path / "out", *run, "--diff", "-v")
    assert (done.returncode, "let-me-in" in done.stdout + done.stderr) == (0, False)
    assert (tmp_path / "dest" / "underlay.conf").read_text() == file.read_text()


def test_what_ansible_would_take_for_a_template_is_refused(tmp_path: Path) -> None:
    with_password(tmp_path, "eos", "let{{me}}in")
    assert rendered(tmp_path).exit_code == 0
    shutil.rmtree(tmp_path / "out")
    refused = rendered(tmp_path, "--with-secrets")
    said = "error: Switch/eos eos.cfg: has {{, where Ansible would begin a template ("
    assert (refused.exit_code, said in refused.stderr, "let{{me" in refused.stderr) == (1, True, False)
    assert not (tmp_path / "out").exists()


def test_the_handbook_says_which_module_each_platform_has() -> None:
    page = (SAMPLES.parents[1] / "docs" / "switches.md").read_text()
    section = page.split("\n## Ansible\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    said = {name: what for names, what in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(said) == set(table())
    assert {
        name: row.module in re.findall(r"`([\w.]+)`", said[name]) for name, row in table().items() if row.module
    } == {name: True for name, row in table().items() if row.module}
    assert [name for name, row in table().items() if not row.module] == [
        n for n in said if said[n].startswith("nothing")
    ]


def test_ansible_needs_a_directory() -> None:
    result = run_underlay("render", "-f", str(SAMPLES / "dual-tor"), "--format", "ansible")
    assert (result.exit_code, result.stdout) == (2, "")
