"""Commands on a cluster: what an admin types, down to what the API server keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube_api.server import ApiServer
from tests.unit.command_line import Result, run_underlay

SAMPLE = Path(__file__).parents[2] / "config" / "samples" / "reflectors"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server in a thread of its own, where KUBECONFIG leads."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    made: list[ApiServer] = []

    async def serve() -> None:
        made.append(ApiServer())
        await made[0].start()
        made[0].kubeconfig(tmp_path / "kubeconfig")
        ready.set()

    def work() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(30)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("UNDERLAY_STORE", "kubernetes")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield made[0]
    asyncio.run_coroutine_threadsafe(made[0].stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def succeeds(*arguments: str) -> Result:
    result = run_underlay(*arguments)
    assert result.exit_code == 0, result
    return result


def test_a_declaration_is_applied_read_and_deleted(server: ApiServer) -> None:
    assert "sessions: 26 added" in succeeds("apply", "-f", str(SAMPLE)).stdout
    kept = {(one["kind"], one["metadata"]["name"]) for one in server.objects.documents.values()}
    assert {("RouteReflector", "rr-1"), ("Node", "node-6"), ("IPPool", "pods-v4")} <= kept
    again = succeeds("apply", "-f", str(SAMPLE)).stdout
    assert "created" not in again
    assert "RouteReflector/rr-1 unchanged" in again
    assert "node-3" in succeeds("get", "nodes").stdout
    succeeds("lint")
    succeeds("delete", "ippool", "pods-v6")
    assert "pods-v6" not in succeeds("get", "ippools").stdout
    missing = run_underlay("delete", "ippool", "pods-v6")
    assert missing.exit_code == 1
    assert "there is no such resource" in missing.stderr


def test_a_dry_run_writes_nothing(server: ApiServer) -> None:
    before = server.objects.revision
    succeeds("apply", "-f", str(SAMPLE), "--dry-run")
    assert server.objects.revision == before
    assert {verb for verb, _ in server.requests} == {"list"}


def test_a_cluster_that_does_not_answer_is_told(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, "http://127.0.0.1:1"))
    result = run_underlay("get", "nodes")
    assert result.exit_code == 1
    assert "the API server does not answer" in result.stderr
    assert "Traceback" not in result.stderr
