"""As much of NetBox's REST interface as a search for a device needs: tokens, errors, related objects; for pynetbox."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class NetBox:
    """A context: listens on 127.0.0.1. `devices` are changed as one would in NetBox."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.devices: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def add(self, name: str, address: str | None, platform: str | None, site: str = "dc-1") -> None:
        number = len(self.devices) + 1
        self.devices.append(
            {
                "id": number,
                "url": f"{self.url}/api/dcim/devices/{number}/",
                "display": name,
                "name": name,
                "site": {"id": 1, "url": f"{self.url}/api/dcim/sites/1/", "display": site, "name": site, "slug": site},
                "platform": _related(f"{self.url}/api/dcim/platforms/1/", platform),
                "primary_ip": _address(f"{self.url}/api/ipam/ip-addresses/1/", address),
                "config_context": {"underlay": "is not read"},
            }
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, token: str) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if token not in (f"Token {self.token}", f"Bearer {self.token}"):
            return 403, {"detail": "Invalid token"}
        place = urlsplit(path)
        if place.path != "/api/dcim/devices/":
            return 404, {"detail": "Not found."}
        names = parse_qs(place.query).get("name", [])
        found = [device for device in self.devices if device["name"] in names]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}


def _related(url: str, slug: str | None) -> dict[str, Any] | None:
    return None if slug is None else {"id": 1, "url": url, "display": slug, "name": slug.title(), "slug": slug}


def _address(url: str, address: str | None) -> dict[str, Any] | None:
    if address is None:
        return None
    return {"id": 1, "url": url, "display": address, "family": {"value": 4, "label": "IPv4"}, "address": address}


def _handler(netbox: NetBox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = netbox.answer(self.path, self.headers.get("Authorization", ""))
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("API-Version", "4.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
