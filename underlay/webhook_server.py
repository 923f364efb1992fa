"""The server behind `underlay webhook`; admission_review.py has the answers.

    store ─► snapshot ─► POST /validate ─► answer

The certificate is read again when its files change, since somebody else renews it. While the store cannot be read there
is no answer, and the API server goes by the webhook's failurePolicy.
"""

from __future__ import annotations

import asyncio
import ssl
from json import JSONDecodeError
from pathlib import Path

from aiohttp import web

from peering.prefixes import format_address
from peering.resources.catalog import PLAN_KINDS
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.protocol import Store, StoreError
from peering.store.resources import Loader
from underlay.admission_review import NotAReview, answer
from underlay.output import Refused
from underlay.processes import log, until_signalled
from underlay.reflector_options import Endpoint

_LARGEST_REVIEW = 8 << 20
_CERTIFICATE_LOOK_S = 60.0


class Certificate:
    """A server's side of TLS, with files that somebody renews. Raises Refused when they cannot be read at first."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._seen = self._versions()
        try:
            for path in self._files:
                path.open("rb").close()  # OpenSSL does not tell which of the two it cannot read
            self.context.load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            why = "are no certificate in PEM and the key of it"
            raise Refused(message=f"error: --tls-cert {certificate}, --tls-key {key}: {why} ({error})") from error
        except OSError as error:
            raise Refused(message=f"error: --tls-cert, --tls-key: {error}") from error

    def _versions(self) -> list[float]:
        return [path.stat().st_mtime if path.exists() else 0.0 for path in self._files]

    async def follow(self) -> None:
        """Takes what is new, for connections from then on; works until it is cancelled."""
        while True:
            await asyncio.sleep(_CERTIFICATE_LOOK_S)
            now = self._versions()
            if now == self._seen:
                continue
            try:
                self.context.load_cert_chain(*self._files)
            except (OSError, ssl.SSLError) as error:
                log(f"certificate: {error} (the former one stays)")
            else:
                log("certificate: renewed")
            self._seen = now


async def serve(place: Endpoint, certificate: Certificate, url: str, max_loss: float) -> None:
    store = open_store(url, ())
    try:
        await until_signalled(_serve(place, certificate, Questions(store, max_loss)))
    finally:
        await store.close()


class Questions:
    """The handler of the reviews; each is judged on what is declared at that moment."""

    def __init__(self, store: Store, max_loss: float) -> None:
        self._loader = Loader(store)
        self._max_loss = max_loss

    async def look(self) -> None:
        """Reads what is declared, so that the first question does not wait for it; says so if that fails."""
        try:
            await self._loader.load(PLAN_KINDS)
        except StoreError as error:
            log(f"store: {error} (each question asks again)")

    async def validate(self, request: web.Request) -> web.Response:
        """POST /validate."""
        try:
            review = await request.json()
            resources, _, _ = await self._loader.load(PLAN_KINDS)
            made = await asyncio.to_thread(answer, review, Snapshot(resources), self._max_loss)
        except (JSONDecodeError, UnicodeDecodeError, NotAReview) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        except StoreError as error:
            log(f"store: {error}")
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return web.json_response(made)


def application(questions: Questions) -> web.Application:
    """What is served."""
    made = web.Application(client_max_size=_LARGEST_REVIEW)
    made.router.add_post("/validate", questions.validate)
    made.router.add_get("/livez", _alive)
    return made


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _serve(place: Endpoint, certificate: Certificate, questions: Questions) -> None:
    runner = web.AppRunner(application(questions), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, format_address(place.address), place.port, ssl_context=certificate.context).start()
        await asyncio.gather(certificate.follow(), questions.look())
    except OSError as error:
        raise Refused(message=f"error: --listen {place}: {error.strerror}") from error
    finally:
        await runner.cleanup()
