"""What the API server is told about a change: refused for what it brings, warned of the rest, over real TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import ClientSession, web

from peering.resource import Resource, parse_resource
from peering.snapshot import Snapshot
from peering.store.protocol import StoreError
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import run_underlay
from tests.unit.samples import dual_tor
from underlay.admission_review import FORCE, NotAReview, answer
from underlay.webhook_server import Certificate, Questions, application

Document = dict[str, Any]
FABRIC: Snapshot = dual_tor()


def rack(**changes: Any) -> Document:
    """rack-1 of the sample, as the API server has it."""
    known = FABRIC.get("Rack", "rack-1")
    assert known is not None
    document = known.to_document()
    document["spec"] = {**document["spec"], **changes}
    return document


def review(operation: str = "UPDATE", *, before: Document | None = None, after: Document | None = None) -> Document:
    request = {"uid": "7", "operation": operation, "object": after, "oldObject": before}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def asked(question: Document, on: Snapshot = FABRIC, max_loss: float = 20.0) -> Document:
    made = answer(question, on, max_loss)
    assert (made["apiVersion"], made["kind"], made["response"]["uid"]) == (
        "admission.k8s.io/v1",
        "AdmissionReview",
        "7",
    )
    response: Document = made["response"]
    return response


def test_a_change_that_does_no_harm_is_taken() -> None:
    assert asked(review(after=rack())) == {"uid": "7", "allowed": True}


def test_an_error_of_the_plan_refuses_it_and_says_why() -> None:
    response = asked(review(after=rack(switches=["tor-1a", "tor-9"])))
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert "Rack/rack-1 spec.switches[1]: there is no Switch/tor-9" in response["status"]["message"]


def test_what_a_schema_cannot_say_refuses_it() -> None:
    response = asked(review("CREATE", after=rack(nodeSelector="rack ==")))
    assert response["status"]["message"].startswith("Rack/rack-1 spec.nodeSelector: ")


def test_the_loss_of_many_sessions_refuses_it() -> None:
    gone = review("DELETE", before=rack())
    response = asked(gone)
    assert "sessions" in response["status"]["message"]
    assert asked(gone, max_loss=100.0)["allowed"] is True


def test_who_knows_better_says_so_and_is_warned() -> None:
    known = rack()
    known["metadata"]["annotations"] = {FORCE: "true"}
    response = asked(review("DELETE", before=known))
    assert response["allowed"] is True
    assert any("sessions" in line for line in response["warnings"])


def test_an_error_that_was_there_before_stops_nobody() -> None:
    broken = FABRIC.with_changes([_resource(rack(switches=["tor-1a", "tor-9"]))], [])
    assert asked(review(after=rack(switches=["tor-1a", "tor-9"], downward="all")), broken, 100.0)["allowed"] is True


def _resource(document: Document) -> Resource:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def test_what_only_deserves_a_warning_is_printed_by_kubectl() -> None:
    response = asked(review(after=rack(gracefulRestartTime="120s", holdTime="90s")), max_loss=100.0)
    assert response["allowed"] is True
    assert any("black hole" in line for line in response["warnings"])
    assert max(map(len, response["warnings"])) <= 256


def test_what_cannot_be_read_any_more_may_be_deleted() -> None:
    assert asked(review("DELETE", before=rack(nodeSelector="rack ==")))["allowed"] is True


@pytest.mark.parametrize("wrong", [None, [], {}, {"kind": "AdmissionReview"}, {"kind": "Pod", "request": {"uid": "1"}}])
def test_what_is_no_review_is_refused(wrong: Any) -> None:
    with pytest.raises(NotAReview):
        answer(wrong, FABRIC, 20.0)


# The server


class Tls:
    """A certificate in files, and what trusts it."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.trusting = ssl.create_default_context()
        self._authority.configure_trust(self.trusting)
        self.renew("127.0.0.1")

    def renew(self, name: str) -> None:
        made = self._authority.issue_cert(name)
        self.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


@asynccontextmanager
async def served(questions: Questions, certificate: Certificate) -> AsyncIterator[str]:
    runner = web.AppRunner(application(questions))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context)
    await site.start()
    try:
        assert site._server is not None
        yield f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


async def _story(tmp_path: Path, tls: Tls, told: Callable[[str, ClientSession], Any]) -> Any:
    store = SqliteStore(tmp_path / "store.db")
    try:
        for one in FABRIC:
            await store.create(one.kind, one.name, one.to_document())
        certificate = Certificate(tls.certificate, tls.key)
        async with (
            served(Questions(store, 20.0), certificate) as url,
            ClientSession() as session,
        ):
            return await told(url, session)
    finally:
        await store.close()


def test_the_api_server_is_answered_from_the_store(tmp_path: Path, tls: Tls) -> None:
    async def told(url: str, session: ClientSession) -> list[Any]:
        found = []
        for question in (review(after=rack()), review(after=rack(switches=["tor-9"]))):
            async with session.post(f"{url}/validate", json=question, ssl=tls.trusting) as response:
                found.append((await response.json())["response"]["allowed"])
        return found

    assert asyncio.run(_story(tmp_path, tls, told)) == [True, False]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", json.dumps({"kind": "Pod"}).encode(), b"\xff\xfe"])
def test_a_bad_question_is_a_bad_request(tmp_path: Path, tls: Tls, body: bytes) -> None:
    async def told(url: str, session: ClientSession) -> int:
        async with session.post(f"{url}/validate", data=body, ssl=tls.trusting) as response:
            return response.status

    assert asyncio.run(_story(tmp_path, tls, told)) == 400


def test_without_a_store_there_is_no_answer(tmp_path: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise StoreError("the store is away")

    async def told(url: str, session: ClientSession) -> int:
        monkeypatch.setattr(SqliteStore, "snapshot", away)
        async with session.post(f"{url}/validate", json=review(after=rack()), ssl=tls.trusting) as response:
            return response.status

    assert asyncio.run(_story(tmp_path, tls, told)) == 503


def test_a_store_that_is_away_at_the_start_is_told_before_anybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def away(*_: Any) -> None:
        raise StoreError("the store is away")

    async def told() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await Questions(store, 20.0).look()
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(SqliteStore, "snapshot", away)
        await Questions(store, 20.0).look()
        await store.close()

    asyncio.run(told())
    assert capsys.readouterr().err.endswith("store: the store is away (each question asks again)\n")


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    tls: Tls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("underlay.webhook_server._CERTIFICATE_LOOK_S", 0.01)

    async def until(word: str) -> str:
        said = ""
        while word not in said:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().err
        return said

    async def story() -> None:
        following = asyncio.create_task(Certificate(tls.certificate, tls.key).follow())
        tls.certificate.write_text("nonsense")
        await until("the former one stays")
        tls.renew("127.0.0.1")
        await until("renewed")
        following.cancel()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_missing_certificate_is_one_line(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'store.db'}"
    options = ["--tls-cert", str(tmp_path / "no.crt"), "--tls-key", str(tmp_path / "no.key"), "--store", store]
    done = run_underlay("webhook", "--listen", "127.0.0.1:9443", *options)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --tls-cert, --tls-key: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_place_is_one_line() -> None:
    done = run_underlay("webhook", "--listen", "nowhere", "--tls-cert", "x", "--tls-key", "y")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --listen: 'nowhere' is no address and port")
