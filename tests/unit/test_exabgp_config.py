"""The rendered configuration, judged by ExaBGP's own parser."""

from __future__ import annotations

import base64
import dataclasses
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker import exabgp_launch
from bgp_speaker.exabgp_config import Rendered, compile_config, descriptions, render_config
from bgp_speaker.session_objections import omitted
from peering.session import SecretKeyRef, Session, SpeakerPlan

REF = SecretKeyRef("bgp", "password")
RUN: dict[str, Any] = {"socket_path": "/run/x/exabgp.sock", "shim_command": ("/bin/true", "-SEI", "shim.py")}


def session(name: str = "tor-1", address: str = "10.0.0.2", **changes: Any) -> Session:
    made = Session(
        name=name,
        peer="switch/tor-1",
        source="Rack/r1",
        type="ebgp",
        local_address="10.0.0.1",
        local_asn=65100,
        peer_address=address,
        peer_asn=65001,
    )
    return dataclasses.replace(made, **changes)


def compiled(*sessions: Session, passwords: dict[SecretKeyRef, str] | None = None) -> Rendered:
    return compile_config(plan(*sessions), passwords=passwords or {}, **RUN)


def plan(*sessions: Session) -> SpeakerPlan:
    return SpeakerPlan(asn=65100, router_id="10.0.0.1", sessions=sessions)


def validate(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    path = directory / "exabgp.conf"
    path.write_text(text)
    settings = directory / "exabgp.env"
    settings.write_text("[exabgp.api]\n")
    environment = {**os.environ, "exabgp_api_cli": "false", "EXABGP_ENVFILE": str(settings)}
    return subprocess.run(
        [sys.executable, exabgp_launch.__file__, "validate", "-n", "-r", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def neighbor(text: str, address: str) -> str:
    """The block of one neighbor, white space collapsed."""
    block = text.partition(f"neighbor {address} {{")[2].partition("\n}\n")[0]
    return " ".join(block.split())


VARIANTS = [
    session(),
    session("port", "10.0.0.3", peer_port=1790, hold_time=0),
    session("gtsm", "10.0.0.4", ttl_security=1, multihop=5),
    session("multihop", "10.0.0.5", multihop=10, graceful_restart_time=0, local_address=None),
    session("passive", "10.0.0.6", passive=True, graceful_restart_time=9999),
    session("v6", "fd00::2", local_address="fd00::1", families=("ipv4-unicast", "ipv6-unicast")),
    session("v6-only", "fd00::3", local_address="fd00::1", families=("ipv6-unicast",)),
    session("ibgp", "10.0.0.7", peer_asn=65100, type="ibgp"),
    session("secret", "10.0.0.8", password=REF),
    session("paths", "10.0.0.10", add_paths="both"),
    session("paths-in", "10.0.0.11", add_paths="receive"),
    session("paths-out", "10.0.0.12", add_paths="send"),
    session("node", "10.0.0.13", peer="node/node-2", type="ibgp", peer_asn=65100),
]


def test_every_field_is_honoured_and_exabgp_takes_it(tmp_path: Path) -> None:
    password = secrets.token_urlsafe(20)
    rendered = compiled(*VARIANTS, passwords={REF: password})
    assert rendered.omitted == {}
    text = rendered.text
    found = validate(text, tmp_path)
    assert found.returncode == 0, found.stderr + found.stdout
    base = neighbor(text, "10.0.0.2")
    assert "local-address 10.0.0.1; local-as 65100; peer-as 65001; hold-time 90;" in base
    assert "graceful-restart 120;" in base
    assert "family { ipv4 unicast; }" in base
    for word in ("connect", "ttl", "passive", "listen", "md5", "nexthop", "add-path"):
        assert word not in base
    assert "connect 1790;" in neighbor(text, "10.0.0.3")
    assert "hold-time 0;" in neighbor(text, "10.0.0.3")
    assert "incoming-ttl 255;" in neighbor(text, "10.0.0.4")
    assert "outgoing-ttl" not in neighbor(text, "10.0.0.4")
    assert "outgoing-ttl 10;" in neighbor(text, "10.0.0.5")
    assert "local-address auto;" in neighbor(text, "10.0.0.5")
    assert "graceful-restart disable;" in neighbor(text, "10.0.0.5")
    assert "passive true; listen 179;" in neighbor(text, "10.0.0.6")
    assert "graceful-restart 4095;" in neighbor(text, "10.0.0.6")
    assert "nexthop { ipv4 unicast ipv6; }" in neighbor(text, "fd00::2")
    assert "nexthop" not in neighbor(text, "fd00::3")
    encoded = base64.b64encode(password.encode()).decode()
    assert f'md5-password "{encoded}"; md5-base64 true;' in neighbor(text, "10.0.0.8")
    assert "add-path send/receive;" in neighbor(text, "10.0.0.10")
    assert "add-path receive;" in neighbor(text, "10.0.0.11")
    assert "add-path send;" in neighbor(text, "10.0.0.12")
    assert "local-address 10.0.0.1; listen 179;" in neighbor(text, "10.0.0.13")
    assert password not in text
    assert text.count("manual-eor true;") == 1
    assert text.count("process agent") == 1


def test_a_session_without_its_password_is_left_out() -> None:
    rendered = compiled(session(), session("secret", "10.0.0.8", password=REF))
    assert set(rendered.omitted) == {"secret"}
    assert "10.0.0.8" not in rendered.text
    assert "10.0.0.2" in rendered.text
    assert omitted(plan(session(password=REF)), {REF: ""}) != {}
    assert omitted(plan(session(password=REF)), {REF: "x" * 81}) != {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peer_address": "10.0.0.2; }"}, "does not appear to be"),
        ({"peer_address": "fe80::2", "local_address": "fe80::1"}, "link-local"),
        ({"peer_address": "fd00::2"}, "different families"),
        ({"local_address": "x"}, "does not appear to be"),
        ({"local_address": None, "passive": True}, "passive"),
        ({"hold_time": 2}, "hold time"),
        ({"peer_asn": 0}, "any AS but our own (dynamicASNumber: external)"),
        ({"peer_asn": 1 << 32}, "AS number"),
        ({"peer_address": "", "local_address": None, "interface": "eth0"}, "unnumbered on eth0"),
        ({"peer_port": 70000}, "port"),
        ({"ttl_security": 300}, "ttlSecurity"),
        ({"families": ()}, "address family"),
    ],
)
def test_what_exabgp_cannot_be_given_is_left_out_with_a_reason(changes: dict[str, Any], reason: str) -> None:
    rendered = compiled(session("good", "10.0.0.9"), session(**changes))
    assert set(rendered.omitted) == {"tor-1"}
    assert reason in rendered.omitted["tor-1"]
    assert rendered.text.count("\nneighbor ") == 1


def test_between_nodes_the_end_that_dials_listens_too_and_from_a_known_address() -> None:
    node = {"peer": "node/node-2", "type": "ibgp", "peer_asn": 65100}
    sessions = (
        session("both-dial", "10.0.0.2", **node),
        session("from-anywhere", "10.0.0.3", local_address=None, **node),
        session("passive", "10.0.0.4", passive=True, local_address=None, **node),
        session("v6", "fd00::2", local_address=None, **node),
        session("switch", "10.0.0.5", local_address=None),
    )
    loopbacks = ("10.0.11.1",)
    made = SpeakerPlan(asn=65100, router_id="10.0.0.1", sessions=sessions, loopbacks=loopbacks, listen_port=1179)
    rendered = compile_config(made, passwords={}, **RUN)
    assert rendered.omitted == {}
    assert "local-address 10.0.0.1; listen 1179;" in neighbor(rendered.text, "10.0.0.2")
    assert "local-address 10.0.11.1; listen 1179;" in neighbor(rendered.text, "10.0.0.3")
    assert "local-address 10.0.11.1; passive true; listen 1179;" in neighbor(rendered.text, "10.0.0.4")
    for dials_only in ("fd00::2", "10.0.0.5"):
        assert "local-address auto;" in neighbor(rendered.text, dials_only)
        assert "listen" not in neighbor(rendered.text, dials_only)


def test_a_shared_listening_address_has_one_ttl_security() -> None:
    near = session("near", "10.0.0.2", passive=True, ttl_security=1)
    same = session("same", "10.0.0.3", passive=True, ttl_security=1)
    far = session("far", "10.0.0.4", passive=True)
    elsewhere = session("elsewhere", "10.0.0.5", passive=True, local_address="10.0.0.9")
    dialled = session("dialled", "10.0.0.6")
    assert omitted(plan(near, same, elsewhere, dialled), {}) == {}
    reasons = omitted(plan(near, same, far, elsewhere, dialled), {})
    assert set(reasons) == {"near", "same"}
    assert "listens on 10.0.0.1 like sessions of another ttlSecurity" in reasons["near"]


def test_two_sessions_to_one_address() -> None:
    assert set(compiled(session("a"), session("b")).omitted) == {"b"}


HOSTILE = [
    'x"; } neighbor 10.9.9.9 {',
    "x\nprocess evil { run /bin/sh; encoder text; }",
    "x;}{#[],\\",
    "x'\\u0022;",
    "ünïcödé ☃ \udcff",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_breaks_out_of_a_name_or_a_password(text: str, tmp_path: Path) -> None:
    password = text.replace("\udcff", "") or "x"
    rendered = compiled(session(f"{text}-a", password=REF), session("b", "10.0.0.3"), passwords={REF: password})
    found = validate(rendered.text, tmp_path)
    assert found.returncode == 0, found.stderr + found.stdout
    assert rendered.text.isascii()
    assert rendered.text.count("\nneighbor ") == 2
    assert rendered.text.count("process ") == 1
    assert len(descriptions(rendered.text)) == 2


def test_what_is_not_a_sessions_fault_is_refused() -> None:
    for options in (
        {"generation": 'x"; '},
        {"socket_path": "/run/x y"},
        {"shim_command": ("/bin/sh", ";")},
        {"shim_command": ("/bin/sh", "")},
    ):
        arguments: dict[str, Any] = {**RUN, "generation": "g", "passwords": {}, **options}
        with pytest.raises(ValueError):
            render_config(plan(session()), **arguments)


def test_equal_plans_give_equal_bytes_and_others_another_generation() -> None:
    one, two = session("a"), session("b", "10.0.0.3")
    assert compiled(one, two) == compiled(two, one)
    texts = [
        compiled(one).generation,
        compiled(one, two).generation,
        compiled(dataclasses.replace(one, hold_time=30)).generation,
        compiled(dataclasses.replace(one, password=REF), passwords={REF: "a"}).generation,
        compiled(dataclasses.replace(one, password=REF), passwords={REF: "b"}).generation,
    ]
    assert len(set(texts)) == len(texts)


def test_descriptions_carry_the_generation() -> None:
    rendered = compiled(session("rack 1/tör"), session("b", "10.0.0.3"))
    assert descriptions(rendered.text) == {
        f"gen-{rendered.generation} rack%201/t%C3%B6r",
        f"gen-{rendered.generation} b",
    }
    assert descriptions('  description "gen-1 a";\n  router-id 1.2.3.4;') == {"gen-1 a"}
    assert descriptions(compiled().text) == frozenset()
