"""The daemons that can be a switch as helpers of graceful restart (RFC 4724): the routes of a node that died stay.

Beside it a node without the capability, whose routes go. A node dies after its End-of-RIB: OpenBGPD 7.7, in which
one process tells another of it, drops the routes of a node that died in the milliseconds between.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from fabric_templates.render import render
from tests.interop.live_gobgp import GoBgpSwitch
from tests.interop.live_openbgpd import OpenBgpdSwitch
from tests.interop.netns_daemons import Network, eventually
from tests.interop.test_live_switches import SETTLE, a_node, plan_for, to_node

pytestmark = pytest.mark.lab

HELPERS: dict[str, type[GoBgpSwitch] | type[OpenBgpdSwitch]] = {"gobgp": GoBgpSwitch, "openbgpd": OpenBgpdSwitch}


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def kill(namespace: str) -> None:
    """Everything that runs in it."""
    found = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=True).stdout
    for pid in map(int, found.split()):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("platform", sorted(HELPERS))
def test_the_routes_of_a_dead_node_stay_where_it_said_it_would_return(platform: str, network: Network) -> None:
    tor = network.namespace("tor")
    a_node(network, tor, 1, ("10.244.1.0/26",), "capability { graceful-restart 120; }")
    a_node(network, tor, 2, ("10.244.2.0/26",))
    sessions = (to_node(1, graceful_restart_time=120), to_node(2, graceful_restart_time=0))
    switch = HELPERS[platform](network, tor, render("tor", plan_for(platform, *sessions)))
    for number in (1, 2):
        eventually(lambda n=number: switch.accepted(f"10.1.{n}.1") != {}, SETTLE)  # type: ignore[misc]
        eventually(lambda n=number: switch.end_of_rib(f"10.1.{n}.1"), SETTLE)  # type: ignore[misc]
        kill(f"{tor.removesuffix('-tor')}-node{number}")
        eventually(lambda n=number: not switch.established(f"10.1.{n}.1"), SETTLE)  # type: ignore[misc]
    eventually(lambda: switch.accepted("10.1.2.1") == {}, SETTLE)
    assert set(switch.accepted("10.1.1.1")) == {"10.244.1.0/26"}
