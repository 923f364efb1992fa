"""ExaBGP's configuration, rendered from a node's plan: text in, text out.

One `process` (the shim), one template, one `neighbor` for each session. Routes are never in the file: they
come over the API, so that a reload changes sessions only.

*Generation.* Each neighbor's `description` carries `gen-<generation> <session>`. ExaBGP acknowledges a reload
that it silently drops, so the description read back is the only proof that the new file is in force. A
change of the description alone does not touch a session. The generation is a hash of the file without
itself: equal plans give equal bytes, and equal bytes need no reload. It is seen in logs, so the passwords
enter it by way of a slow hash (scrypt): it is no help in guessing them.

*Hostile text.* Nothing that a user names reaches the tokeniser as it is. Addresses and numbers are parsed and
printed again, session names are percent-encoded, passwords go as base64. What cannot be expressed leaves
one session out (session_objections.py); it never takes the other sessions with it, and a session whose
password is unknown is never rendered without one.

Limits of ExaBGP 5: keepalive is always a third of the hold time; the restart time is 12 bits on the wire
(RFC 4724, section 3) though the parser takes more; `peer-as auto` breaks its JSON and is never used; no
unnumbered peers, so link-local peer addresses are left out. BGP roles, long-lived graceful restart, BFD and
maximum-prefix do not exist there; the agent deals with what it can.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from bgp_speaker.session_objections import MAX_TTL, Address, omitted
from bgp_speaker.session_roles import role_of
from peering.session import SecretKeyRef, Session, SpeakerPlan

#: The name of the only process; every neighbor reports to it.
PROCESS = "agent"
#: Seconds; the restart time of RFC 4724 has 12 bits.
MAX_RESTART_TIME = 4095
_PORT = 179

_FAMILIES = {"ipv4-unicast": "ipv4 unicast", "ipv6-unicast": "ipv6 unicast"}
#: By `Session.add_paths`: what this end can do (RFC 7911, 4).
_ADD_PATHS = {"send": "send", "receive": "receive", "both": "send/receive"}
_NAME_SAFE = string.ascii_letters + string.digits + "-._/:@"
_WORD = re.compile(r"[A-Za-z0-9_./:@+=-]+")
_WRITTEN_PASSWORD = re.compile(r'md5-password "([^"]+)"')
_DESCRIPTION = re.compile(r'description "?(gen-[^"\s;]* [^"\s;]*)"?;')


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration ready to be written; `omitted` is session name -> why it is not in it."""

    text: str
    generation: str
    omitted: Mapping[str, str]


def compile_config(
    plan: SpeakerPlan,
    *,
    socket_path: str,
    shim_command: Sequence[str],
    passwords: Mapping[SecretKeyRef, str],
) -> Rendered:
    """The configuration with its own generation. Equal arguments give equal bytes."""

    def render(generation: str) -> str:
        return render_config(
            plan,
            generation=generation,
            socket_path=socket_path,
            shim_command=tuple(shim_command),
            passwords=passwords,
        )

    veiled = _WRITTEN_PASSWORD.sub(lambda found: _slow_hash(found[1]), render(""))
    generation = hashlib.sha256(veiled.encode()).hexdigest()[:12]
    return Rendered(render(generation), generation, omitted(plan, passwords))


def render_config(
    plan: SpeakerPlan,
    *,
    generation: str,
    socket_path: str,
    shim_command: tuple[str, ...],
    passwords: Mapping[SecretKeyRef, str],
) -> str:
    """The file. `socket_path` is appended to `shim_command`; the first word of that is an absolute path.

    Raises ValueError for a generation, a path or a router ID that cannot be written; sessions never raise,
    see session_objections.py.
    """
    left_out = omitted(plan, passwords)
    sessions = sorted((s for s in plan.sessions if s.name not in left_out), key=lambda s: s.name)
    blocks = [_process((*shim_command, socket_path)), _template(plan)]
    blocks += [_neighbor(plan, s, f"gen-{_word_or_empty(generation)}", passwords) for s in sessions]
    return "\n".join(blocks)


def descriptions(text: str) -> frozenset[str]:
    """The descriptions in a configuration, or in the answer to `show neighbor configuration`.

    That two of them are equal proves that ExaBGP runs this generation with these sessions.
    """
    return frozenset(_DESCRIPTION.findall(text))


@lru_cache(maxsize=256)
def _slow_hash(secret: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=b"underlay generation", n=1 << 14, r=8, p=1).hex()


def _process(run: tuple[str, ...]) -> str:
    words = " ".join(_word(word) for word in run)
    return _block(f"process {PROCESS}", [f"run {words};", "encoder json;"])


def _template(plan: SpeakerPlan) -> str:
    return _block(
        "template",
        _block(
            "neighbor base",
            [
                f"router-id {ipaddress.IPv4Address(plan.router_id)};",
                "adj-rib-in false;",
                "adj-rib-out true;",
                "group-updates true;",
                "manual-eor true;",
                "api {",
                f"    processes [ {PROCESS} ];",
                "    neighbor-changes;",
                "    receive { parsed; open; update; notification; refresh; }",
                "}",
            ],
        ).splitlines(),
    )


def _neighbor(plan: SpeakerPlan, session: Session, marker: str, passwords: Mapping[SecretKeyRef, str]) -> str:
    peer = ipaddress.ip_address(session.peer_address)
    name = quote(session.name, safe=_NAME_SAFE, errors="replace")
    extended_next_hop = _wants_extended_next_hop(session, peer)
    lines = ["inherit base;", f'description "{marker} {name}";', *_transport(plan, session, passwords)]
    lines += [f"local-as {session.local_asn};", f"peer-as {session.peer_asn};"]
    lines += [f"hold-time {session.hold_time};"]
    lines += _capability(session, extended_next_hop)
    lines += _block("family", [f"{_FAMILIES[f]};" for f in session.families]).splitlines()
    if extended_next_hop:
        lines.append("nexthop { ipv4 unicast ipv6; }")
    return _block(f"neighbor {peer}", lines)


def _transport(plan: SpeakerPlan, session: Session, passwords: Mapping[SecretKeyRef, str]) -> Iterator[str]:
    role = role_of(session, plan.loopbacks)
    yield f"local-address {ipaddress.ip_address(role.local) if role.local else 'auto'};"
    if role.passive:
        yield "passive true;"
    if role.listens:
        yield f"listen {plan.listen_port};"
    if session.peer_port != _PORT:
        yield f"connect {session.peer_port};"
    if session.ttl_security is not None:
        yield f"incoming-ttl {MAX_TTL + 1 - session.ttl_security};"
    elif session.multihop is not None:
        yield f"outgoing-ttl {session.multihop};"
    if session.password is not None:
        encoded = base64.b64encode(passwords[session.password].encode()).decode("ascii")
        yield f'md5-password "{encoded}"; md5-base64 true;'


def _capability(session: Session, extended_next_hop: bool) -> list[str]:
    restart = min(session.graceful_restart_time, MAX_RESTART_TIME)
    lines = [
        "asn4 enable;",
        "route-refresh enable;",
        f"graceful-restart {restart if restart > 0 else 'disable'};",
        "extended-message enable;",
    ]
    if session.add_paths is not None:
        lines.append(f"add-path {_ADD_PATHS[session.add_paths]};")
    if extended_next_hop:
        lines.append("nexthop enable;")
    return _block("capability", lines).splitlines()


def _wants_extended_next_hop(session: Session, peer: Address) -> bool:
    """IPv4 routes over an IPv6 session have IPv6 next hops: RFC 8950. ExaBGP wants both families for it."""
    return peer.version == 6 and set(session.families) == set(_FAMILIES)


def _block(head: str, lines: Sequence[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"{head} {{\n{body}}}\n"


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text!r} cannot be written into an ExaBGP configuration")
    return text


def _word_or_empty(text: str) -> str:
    return _word(text) if text else ""
