"""The one lab of these tests, in a run directory and under a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab_kubernetes.kubernetes_lab import KubernetesLab, running

_RUN_DIR = Path("/run/underlay-test-kubernetes")


@pytest.fixture(scope="package")
def kubernetes_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesLab]:
    with running(f"k{os.getpid()}", _RUN_DIR, tmp_path_factory.mktemp("cluster")) as lab:
        yield lab


@pytest.fixture
def lab(kubernetes_lab: KubernetesLab) -> KubernetesLab:
    """Converged."""
    kubernetes_lab.wait_converged()
    return kubernetes_lab
