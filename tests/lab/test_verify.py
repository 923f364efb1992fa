"""`underlay verify --lab`: nothing is wrong with a converged lab, and what is wrong with it is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from containerlab import daemons
from tests.lab.running_lab import RunningLab, wait_until
from tests.unit.command_line import Result, run_underlay
from underlay import verifying
from underlay.fabric_lab import FabricLab

Verify = Callable[..., Result]


@pytest.fixture
def verify(each_lab: RunningLab, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """The labs of tests are in a run directory of their own."""
    monkeypatch.setattr(verifying, "FabricLab", partial(FabricLab, run_dir=each_lab.run_dir))
    return partial(run_underlay, "verify", "--lab", str(each_lab.topology_file), "--name", each_lab.name)


def test_a_converged_lab_has_no_fault_and_a_shut_session_is_one(each_lab: RunningLab, verify: Verify) -> None:
    wait_until("no fault", lambda: verify().exit_code == 0, 60)
    good = verify()
    assert good.stdout.endswith("; 0 faults\n")
    assert "not up" not in good.stdout
    session = next(s for s in each_lab.plan().switches["tor-1a"].sessions if s.peer == "node/node-1")
    vtysh = [*daemons.vtysh(each_lab.fabric.lab.node_dir("tor-1a")), "-c", "configure terminal"]
    vtysh += ["-c", f"router bgp {session.local_asn}"]
    each_lab.run(each_lab.namespace("tor-1a"), *vtysh, "-c", f"neighbor {session.peer_address} shutdown")
    try:
        line = (
            f"error: Switch/tor-1a neighbor {session.peer_address}: is shut down by an administrator "
            "(take the shutdown away there)\n"
        )
        wait_until("one fault", lambda: verify().stderr == line, 60)
        assert verify("--switch", "tor-1b").exit_code == 0
    finally:
        each_lab.run(each_lab.namespace("tor-1a"), *vtysh, "-c", f"no neighbor {session.peer_address} shutdown")
    wait_until("no fault", lambda: verify().exit_code == 0, 60)
