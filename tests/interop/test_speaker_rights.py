"""An agent with the rights of config/speaker and no others does all that an agent does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.speaker_lab import command
from tests.interop.test_speaker_pods import BIRD, PodLab, pods, soon
from tests.unit.kustomize import Document, build

pytestmark = pytest.mark.lab
__all__ = ["pods"]

CONFIG = Path(__file__).parents[2] / "config"
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def container() -> Document:
    (daemon_set,) = [d for d in build(CONFIG / "default") if d["kind"] == "DaemonSet"]
    (found,) = daemon_set["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def rights() -> tuple[str, ...]:
    """`setpriv` as a runtime would start the container: nothing beside, and no way to get more."""
    context = container()["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    kept = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
    return ("setpriv", "--no-new-privs", f"--bounding-set=-all,{kept}", "--inh-caps=-all")


def asked(lab: PodLab, path: str) -> str:
    (place,) = [a.partition("=")[2] for a in container()["args"] if a.startswith("--health=")]
    return command(
        "ip", "netns", "exec", lab.node.namespace, "python3", "-c", ASK, f"http://{place}{path}", check=False
    )


def own_routes(lab: PodLab) -> list[Any]:
    """Those of its blocks in the kernel, which takes NET_ADMIN."""
    return list(json.loads(command("ip", "-n", lab.node.namespace, "-j", "route", "show", "type", "blackhole")))


def test_the_daemon_sets_rights_are_enough(pods: PodLab) -> None:
    (health,) = [a for a in container()["args"] if a.startswith("--health=")]
    pods.start_agent(health, rights=rights())
    pods.router.start(BIRD)
    soon(lambda: pods.mtu() == 1500)
    assert asked(pods, "/livez").strip() == "ok"
    assert asked(pods, "/readyz").strip() == "ok"
    assert 'underlay_speaker_session_up{peer="external"' in asked(pods, "/metrics")
    pod = pods.pod("one")
    four, six = pods.add(pod)
    soon(lambda: pods.reaches(four) and pods.reaches(six))
    assert own_routes(pods)
    pods.delete(pod)


def test_without_them_the_kernel_refuses(pods: PodLab) -> None:
    """So that the test above can tell."""
    pods.start_agent(rights=("setpriv", "--no-new-privs", "--bounding-set=-all,+net_raw", "--inh-caps=-all"))
    soon(lambda: "not permitted" in pods.said().lower())
    assert own_routes(pods) == []
