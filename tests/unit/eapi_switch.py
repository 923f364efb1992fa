"""An Arista switch as eAPI shows it, for napalm's real driver: configuration sessions with commit timers, over HTTPS.

It is a stand-in, written from what pyeapi and napalm send and read; no EOS was asked. It keeps real state: lines
change the configuration of the session alone, a commit swaps it in, a timer that ends takes it back, and a neighbour
is up when the configuration names the AS that the other end has.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Config = dict[tuple[str, ...], None]
_NOWHERE: tuple[str, ...] = ()
#: Lines that stand at the top, wherever they are said, and those inside `router bgp` that have lines below them.
_TOP = re.compile(
    r"(no )?(router bgp|route-map|ip(v6)? prefix-list|ip (as-path|community-list|large-community-list))\b"
)
_SECTIONS = re.compile(r"router bgp \S+$|route-map \S+ \S+ \d+$|ip(v6)? prefix-list \S+$|address-family \S+$")
_SINGLE = re.compile(r"(router-id|maximum-paths|neighbor \S+ (?:description|timers|remote-as|peer group)) ")


class EapiSwitch:
    """A context: listens on 127.0.0.1. `ases` is {neighbour's address: the AS it has}; `seconds` how long one second of
    the switch's timer is."""

    def __init__(self, running: str, ases: dict[str, str], seconds: float = 1.0) -> None:
        self.running: Config = said({}, running.splitlines(), indented=True)
        self.ases = ases
        self.saved = dict(self.running)
        self.sessions: dict[str, Config] = {}
        self.commands: list[str] = []
        self.login = ("admin", "let-me-in")
        self.refuses = "never said"
        self._before: Config | None = None
        self._pending = ""
        self._ends = 0.0
        self._seconds = seconds
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def serve(self, certificate: Path) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def run(self, commands: list[Any]) -> list[dict[str, Any]]:
        """The answers of one request. Raises ValueError for a command that is refused."""
        with self._lock:
            self._expire()
            answers: list[dict[str, Any]] = []
            session, mode = "", _NOWHERE
            for command in (str(c["cmd"] if isinstance(c, dict) else c) for c in commands):
                self.commands.append(command)
                if found := re.fullmatch(r"configure session (\S+)", command):
                    session, mode = found[1], _NOWHERE
                    self.sessions.setdefault(session, dict(self.running))
                    answers.append({})
                elif command == "end":
                    session = ""
                    answers.append({})
                elif session:
                    if command.startswith(self.refuses):
                        raise ValueError(f"invalid command {command}")
                    mode = _say(self.sessions[session], mode, command)
                    answers.append({})
                else:
                    answers.append(self._answer(command))
            return answers

    def text(self, config: Config | None = None) -> str:
        """As `show running-config` prints it."""
        return "\n".join(_printed(self.running if config is None else config, ())) + "\n"

    def is_pending(self) -> bool:
        with self._lock:
            self._expire()
            return bool(self._pending)

    def _expire(self) -> None:
        if self._pending and time.monotonic() >= self._ends:
            self._revert()

    def _revert(self) -> None:
        assert self._before is not None
        self.running, self._before, self._pending = self._before, None, ""

    def _answer(self, command: str) -> dict[str, Any]:
        for pattern, answer in _ANSWERS:
            if found := re.fullmatch(pattern, command):
                return answer(self, *found.groups())
        raise ValueError(f"the stand-in does not know {command!r}")

    def version(self) -> dict[str, Any]:
        return {"version": "4.33.1F", "uptime": time.monotonic(), "modelName": "cEOSLab"}

    def shown_sessions(self) -> dict[str, Any]:
        return {"sessions": {name: {"state": "pending"} for name in self.sessions}}

    def shown_details(self) -> dict[str, Any]:
        states = {name: {"state": "pending"} for name in self.sessions}
        if self._pending:
            states[self._pending] = {"state": "pendingCommitTimer", "commitBy": time.monotonic() + 60}  # type: ignore[dict-item]
        return {"sessions": states}

    def difference(self, name: str) -> dict[str, Any]:
        wanted = self.sessions[name]
        lines = [f"-{line}" for line in _printed(_only(self.running, wanted), ())]
        lines += [f"+{line}" for line in _printed(_only(wanted, self.running), ())]
        head = ["--- system:/running-config", f"+++ session:/{name}-session-config"] if lines else []
        return {"output": "\n".join([*head, *lines])}

    def commit_for(self, name: str, hours: str, minutes: str, seconds: str) -> dict[str, Any]:
        self._before, self._pending = dict(self.running), name
        self._ends = time.monotonic() + (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * self._seconds
        self.running = self.sessions.pop(name)
        return {"output": ""}

    def commit(self, name: str) -> dict[str, Any]:
        assert name == self._pending
        self._before, self._pending = None, ""
        return {"output": ""}

    def abort(self, name: str) -> dict[str, Any]:
        if name == self._pending:
            self._revert()
        self.sessions.pop(name, None)
        return {"output": ""}

    def save(self) -> dict[str, Any]:
        self.saved = dict(self.running)
        return {"output": ""}

    def shown_running(self) -> dict[str, Any]:
        return {"output": self.text()}

    def peers(self) -> dict[str, Any]:
        """Of both families; napalm takes them together."""
        configured = {
            found[1]: found[2]
            for path in self.running
            if (found := re.fullmatch(r"neighbor (\S+) remote-as (\d+)", path[-1])) and len(path) == 2
        }
        rows = [
            {
                "peerAddress": address,
                "localAsn": "65011",
                "asn": asn,
                "routerId": "0.0.0.0",
                "state": "Established" if self.ases.get(address) == asn else "Active",
                "prefixesReceived": 0,
                "prefixesSent": 0,
                "v6PrefixesReceived": 0,
                "v6PrefixesSent": 0,
            }
            for address, asn in configured.items()
        ]
        return {"vrfs": {"default": {"peerList": rows}}}

    def summary(self) -> dict[str, Any]:
        return {"vrfs": {"default": {"routerId": "10.0.1.1", "peers": {}}}}


_ANSWERS: tuple[tuple[str, Callable[..., dict[str, Any]]], ...] = (
    ("enable", lambda _: {}),
    ("show version", EapiSwitch.version),
    ("show configuration sessions", EapiSwitch.shown_sessions),
    ("show configuration sessions detail", EapiSwitch.shown_details),
    (r"show session-config named (\S+) diffs", EapiSwitch.difference),
    ("copy startup-config flash:rollback-0", lambda _: {"output": ""}),
    (r"configure session (\S+) commit timer (\d\d):(\d\d):(\d\d)", EapiSwitch.commit_for),
    (r"configure session (\S+) commit", EapiSwitch.commit),
    (r"configure session (\S+) abort", EapiSwitch.abort),
    ("write memory", EapiSwitch.save),
    ("show running-config", EapiSwitch.shown_running),
    ("show ip bgp neighbors vrf all", EapiSwitch.peers),
    ("show ipv6 bgp peers vrf all", lambda _: {"vrfs": {}}),
    ("show ip bgp summary vrf all", EapiSwitch.summary),
    ("show ipv6 bgp summary vrf all", EapiSwitch.summary),
    ("show clock", lambda _: {"output": "Sat Nov 21 21:00:00 2026\n"}),
)


def said(config: Config, lines: list[str], *, indented: bool = False) -> Config:
    """What a switch with `config` has after the lines: with their sections by indentation, or by what they are."""
    mode: tuple[str, ...] = ()
    for line in lines:
        text = line.strip()
        if not text or text.startswith("!"):
            continue
        if indented and not line.startswith(" "):
            mode = ()
        mode = _say(config, mode, text)
    return config


def _say(config: Config, mode: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Changes `config` by one line, and gives the section that the next one stands in."""
    if text == "exit":
        return mode[:-1]
    if _TOP.match(text):
        mode = ()
    elif text.startswith("address-family") and mode:
        mode = mode[:1]
    if text.startswith("no "):
        _remove(config, mode, text.removeprefix("no "))
        if text == "no bgp default ipv4-unicast":
            config[*mode, text] = None
        return mode
    if found := _SINGLE.match(text):
        for path in [p for p in config if p[:-1] == mode and p[-1].startswith(found[0])]:
            del config[path]
    config.setdefault((*mode, text))
    return (*mode, text) if _SECTIONS.fullmatch(text) else mode


def _remove(config: Config, mode: tuple[str, ...], text: str) -> None:
    path = (*mode, text)
    gone = [p for p in config if p[: len(path)] == path or (p[:-1] == mode and p[-1].startswith(f"{text} "))]
    if found := re.fullmatch(r"neighbor (\S+)(?: peer group)?", text):
        gone += [p for p in config if p[:1] == mode[:1] and any(t.startswith(f"neighbor {found[1]} ") for t in p)]
    for one in set(gone):
        del config[one]


def _printed(config: Config, above: tuple[str, ...]) -> list[str]:
    lines = []
    for path in [p for p in config if p[:-1] == above]:
        lines += ["   " * len(above) + path[-1], *_printed(config, path)]
    return lines


def _only(one: Config, other: Config) -> Config:
    """The lines of `one` that `other` has not, with the sections that they stand in."""
    found: Config = {}
    for path in one:
        if path not in other:
            found.update(dict.fromkeys(path[:n] for n in range(1, len(path) + 1)))
    return found


def _handler(switch: EapiSwitch) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not _is_login(self.headers.get("Authorization", ""), switch.login):
                self._send(401, b"Unable to authenticate user: Bad username/password combination\n")
                return
            try:
                answer: dict[str, Any] = {"result": switch.run(request["params"]["cmds"])}
            except ValueError as error:
                answer = {
                    "error": {"code": 1002, "message": f"CLI command failed: {error}", "data": [{"errors": [""]}]}
                }
            self._send(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode())

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _is_login(header: str, login: tuple[str, str]) -> bool:
    return header == "Basic " + base64.b64encode(":".join(login).encode()).decode()


def certificate(directory: Path) -> tuple[Path, Path]:
    """A key with its certificate for 127.0.0.1 in one file, and the certificate alone in another."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tor-1a")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both, alone = directory / "switch.pem", directory / "authority.pem"
    both.write_bytes(private + public)
    alone.write_bytes(public)
    return both, alone
