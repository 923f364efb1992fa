"""Commands on a cluster: what an admin types, down to what the API server keeps."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube_api.faults import Fault
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


def refused(*arguments: str) -> str:
    """The one line that a command ends with; no bug, no traceback, no word of the client's own."""
    result = run_underlay(*arguments)
    assert result.exit_code == 1, result
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "bug in underlay" not in line
    return line


COMMANDS = (("get", "racks"), ("plan",), ("apply", "-f", str(SAMPLE)), ("drain", "node-1"), ("status",))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_cluster_without_our_kinds_is_told_with_what_helps(server: ApiServer, command: tuple[str, ...]) -> None:
    asyncio.run(server.put({"kind": "Node", "metadata": {"name": "node-1"}}, ""))
    for key, resource in [*server.registry.found.items()]:
        if resource.group == "underlay.io":
            del server.registry.found[key]
    line = refused(*command)
    assert "/apis/underlay.io/v1alpha1/" in line
    assert line.endswith("(404) (the cluster does not have our kinds: kubectl apply -k config/crd)")


@pytest.mark.parametrize(
    ("code", "hint"), [(403, "kubectl auth can-i --list"), (401, "log in again")], ids=["forbidden", "unauthorized"]
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_who_may_not_is_told_what_helps(
    server: ApiServer, command: tuple[str, ...], code: int, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of many requests at once the first that fails ends the command, and the others leave no connection behind."""
    server.faults.next_fault = lambda verb, resource: Fault(code) if resource != "nodes" else None
    assert hint in refused(*command)
    gc.collect()
    assert "Unclosed" not in capfd.readouterr().err


def test_one_object_that_is_missing_is_no_missing_kind(server: ApiServer) -> None:
    succeeds("apply", "-f", str(SAMPLE))
    assert refused("get", "node", "node-9").endswith(
        "Node/node-9: there is no such resource (there are: node-1, node-2, node-3, node-4, node-5, node-6)"
    )
    assert "there are: node-1, node-2" in refused("drain", "node-9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no kubeconfig"),
        ("hello", "is no kubeconfig"),
        ("contexts: 3", "is no kubeconfig"),
        ("a: [", "while parsing a flow node"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_told(text: str, said: str, server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    assert said in refused("get", "nodes")


def test_a_context_that_is_misspelt_is_told_with_those_there_are(server: ApiServer, tmp_path: Path) -> None:
    assert refused("get", "nodes", "--store", "kubernetes:stand-im").endswith(
        "has no context stand-im (there are: stand-in)"
    )
    assert run_underlay("get", "nodes", "--store", "kubernetes:stand-in").exit_code == 0


def test_where_nobody_answers_is_told(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, "http://127.0.0.1:1"))
    assert refused("get", "nodes") == "error: the API server does not answer at 127.0.0.1:1: Connection refused"


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", ""])
def test_a_webhook_without_a_certificate_tells_which_file(missing: str, server: ApiServer, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for path in (certificate, key):
        path.write_text("no PEM")
    if missing:
        (tmp_path / missing).unlink()
    line = refused("webhook", "--listen", "127.0.0.1:9443", "--tls-cert", str(certificate), "--tls-key", str(key))
    assert (missing or "are no certificate in PEM") in line
