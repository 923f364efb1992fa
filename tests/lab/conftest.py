"""The running lab: brought up once per topology, put right before every test, gone at the end.

Each lab has a name of its own and a run directory of its own, so that a lab that somebody uses on the same
machine is not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.running_lab import RunningLab

_RUN_DIR = Path("/run/underlay-test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.lab)


def _lab(topology: str, short: str) -> Iterator[RunningLab]:
    lab = RunningLab(topology, f"{short}{os.getpid()}", _RUN_DIR)
    try:
        lab.up()
        yield lab
    finally:
        left = lab.down()
        if _RUN_DIR.exists() and not any(_RUN_DIR.iterdir()):
            _RUN_DIR.rmdir()
    assert left == []


@pytest.fixture(scope="session")
def ebgp_lab() -> Iterator[RunningLab]:
    yield from _lab("dual-tor", "e")


@pytest.fixture(scope="session")
def ibgp_lab() -> Iterator[RunningLab]:
    yield from _lab("dual-tor-ibgp", "i")


@pytest.fixture
def lab(ebgp_lab: RunningLab) -> RunningLab:
    """The eBGP lab, converged."""
    ebgp_lab.wait_converged()
    return ebgp_lab


@pytest.fixture(params=["ebgp_lab", "ibgp_lab"])
def each_lab(request: pytest.FixtureRequest) -> RunningLab:
    """Both labs, one after the other, converged."""
    running: RunningLab = request.getfixturevalue(request.param)
    running.wait_converged()
    return running
