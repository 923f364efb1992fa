"""What host-local has given, by its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipam import host_local
from ipam.conflist import FILE_NAME, NETWORK
from underlay.node_pods import CniPlaces

CIDRS = ("10.1.7.0/24", "fd00:1:0:7::/64")


@pytest.mark.parametrize(
    ("files", "unused"),
    [
        ((), set(CIDRS)),
        (("lock", "last_reserved_ip.0", "last_reserved_ip.1"), set(CIDRS)),
        (("10.1.7.2", "lock"), {CIDRS[1]}),
        (("fd00:1:0:7::2",), {CIDRS[0]}),
        (("10.1.7.2", "fd00:1:0:7::2"), set()),
        (("10.1.8.2", "fd00:1:0:8::2"), set(CIDRS)),
    ],
)
def test_a_pod_cidr_is_used_while_a_pod_has_an_address(
    tmp_path: Path, files: tuple[str, ...], unused: set[str]
) -> None:
    for name in files:
        (tmp_path / name).write_text("container\r\neth0")
    assert host_local.unused(tmp_path, CIDRS) == unused


def test_where_nothing_was_ever_given_nobody_knows(tmp_path: Path) -> None:
    assert host_local.unused(tmp_path / "none", CIDRS) == set()


def test_a_node_without_our_list_has_pods_of_others(tmp_path: Path) -> None:
    places = CniPlaces(net_dir=tmp_path, socket=tmp_path / "run" / "agent.sock")
    (tmp_path / "run" / "host-local" / NETWORK).mkdir(parents=True)
    assert places.unused_pod_cidrs(CIDRS) == set()
    (tmp_path / FILE_NAME).write_text("{}")
    assert places.unused_pod_cidrs(CIDRS) == set(CIDRS)
