"""The last good plan on disk: the same comes back, a damaged or foreign file is told and not used."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from peering.prefixes import pack_prefix
from peering.problems import Problem
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import BfdParameters, ListenRange, ReflectorPlan, SecretKeyRef, Session
from peering.snapshot import Snapshot
from reflector.configuration import Owners
from reflector.declaration import Declaration, declaration_of
from reflector.saved_plan import SavedPlan
from tests.unit.declarations import compiled, declare, host

FILTER = BGPFilterSpec.model_validate(
    {
        "importV4": [
            {
                "action": "Accept",
                "cidr": "10.0.0.0/8",
                "matchOperator": "In",
                "prefixLength": {"min": 24, "max": 26},
                "communities": {"values": ["no-export"]},
                "asPathPrefix": [65000, "6.1"],
                "operations": [{"setMED": {"value": 7}}, {"prependASPath": {"prefix": [65001]}}],
            }
        ],
        "exportV6": [{"action": "Reject", "peerType": "eBGP"}],
    }
)
PLAN = ReflectorPlan(
    asn=4200000000,
    cluster_id="1.2.3.4",
    router_id="10.0.0.100",
    addresses=("10.0.0.100", "fd00::100"),
    listen_port=1790,
    sessions=(
        Session(
            name="node-1-ipv4",
            peer="node/node-1",
            source="RouteReflector/rr-1",
            type="ibgp",
            local_address="10.0.0.100",
            local_asn=4200000000,
            peer_address="10.0.0.1",
            peer_asn=4200000000,
            passive=True,
            password=SecretKeyRef("bgp", "key"),
            multihop=255,
            hold_time=9,
            keepalive_time=3,
            graceful_restart_time=30,
            long_lived_stale_time=3600,
            connect_retry=5,
            bfd=BfdParameters(profile="fast", receive_interval=300, transmit_interval=300, detect_multiplier=3),
            rr_client=True,
            cluster_id="1.2.3.4",
            next_hop="keep",
            allow_as_in=2,
            as_override=True,
            add_paths="both",
            families=("ipv4-unicast", "ipv6-unicast"),
            import_filters=("pools",),
            export_filters=("pools", "gone"),
            max_prefixes=50,
        ),
    ),
    listen_ranges=(ListenRange(cidr="10.9.0.0/16", peer_asn=4200000000, limit=7, rr_client=True),),
    ownership="enforce",
    node="node-9",
)
DECLARATION = Declaration(
    name="rr-1",
    plan=PLAN,
    filters={"pools": FILTER},
    owners=Owners(
        {
            pack_prefix("10.1.0.0/26"): frozenset({"node/node-1", "10.0.0.1"}),
            pack_prefix("fd00::/64"): frozenset({"node/b"}),
        },
        frozenset({pack_prefix("10.96.0.0/12")}),
    ),
    relays=frozenset({"old-reflector"}),
)


def saved(folder: Path) -> SavedPlan:
    found = SavedPlan(folder, "rr-1")
    found.save(DECLARATION)
    return found


def why(found: Declaration | Problem | None, path: Path) -> str:
    """What is said of the file, without what is said of all."""
    assert isinstance(found, Problem)
    assert (found.severity, found.code, found.object) == ("warning", "saved-plan-unusable", str(path))
    assert found.hint == "it is not used, and written anew as soon as the store can be read"
    return found.message


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    assert saved(tmp_path).read() == DECLARATION
    assert SavedPlan(tmp_path, "rr-2").read() is None


def test_what_comes_back_makes_the_same_configuration(tmp_path: Path) -> None:
    rr = declare("RouteReflector", "rr-1", addresses=["192.0.2.101"], nodeSelector="all()", filters=["f"])
    resources = (rr, host("a", 1), host("b", 2), declare("BGPFilter", "f", importV4=[{"action": "Reject"}]))
    declaration = declaration_of("rr-1", compiled(*resources), Snapshot(resources))
    assert declaration is not None
    file = SavedPlan(tmp_path, "rr-1")
    file.save(declaration)
    back = file.read()
    assert isinstance(back, Declaration)
    assert back.configuration() == declaration.configuration()
    assert len(back.configuration().peers) == 2


def test_the_file_is_ours_alone_and_has_no_password(tmp_path: Path) -> None:
    path = saved(tmp_path / "new" / "folder").path
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    password = json.loads(path.read_text())["content"]["plan"]["sessions"][0]["password"]
    assert password == {"name": "bgp", "key": "key"}


def test_it_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = saved(tmp_path)
    before = file.path.stat().st_ino
    file.save(replace(DECLARATION, relays=frozenset()))
    assert file.path.stat().st_ino != before
    assert file.read() == replace(DECLARATION, relays=frozenset())


def test_the_old_one_stays_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    file = saved(tmp_path)
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")), pytest.raises(OSError, match="28"):
        file.save(replace(DECLARATION, relays=frozenset()))
    assert file.read() == DECLARATION
    assert list(tmp_path.iterdir()) == [file.path]


def test_it_is_synced_before_it_is_moved_into_place(tmp_path: Path) -> None:
    steps: list[str] = []
    fsync, moved = os.fsync, os.replace

    def synced(fd: int) -> None:
        steps.append("fsync")
        fsync(fd)

    def replaced(old: str, new: Path) -> None:
        steps.append("replace")
        moved(old, new)

    with mock.patch("os.fsync", synced), mock.patch("os.replace", replaced):
        saved(tmp_path)
    assert steps == ["fsync", "replace", "fsync"]


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    (tmp_path / ".rr-1.json-abcdefgh").write_text("half a fi")
    (tmp_path / ".rr-10.json-abcdefgh").write_text("of another")
    assert sorted(path.name for path in saved(tmp_path).path.parent.iterdir()) == [
        ".rr-10.json-abcdefgh",
        "rr-1.json",
    ]


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.update(format="other"), "is no saved plan of a reflector"),
        (lambda d: d.pop("format"), "is no saved plan of a reflector"),
        (lambda d: d.update(version=2), "was written by another version of underlay (2)"),
        (lambda d: d.update(name="rr-2"), "is of another reflector, 'rr-2'"),
        (lambda d: d.update(sha256="0" * 64), "is damaged: its checksum is another"),
        (lambda d: d.pop("sha256"), "is damaged: its checksum is another"),
        (lambda d: d.pop("content"), "is damaged: its checksum is another"),
        (lambda d: d["content"]["plan"].update(asn=1), "is damaged: its checksum is another"),
        (lambda d: d["content"]["owners"].clear(), "is damaged: its checksum is another"),
    ],
)
def test_a_file_that_is_not_what_was_saved(tmp_path: Path, edit: Edit, said: str) -> None:
    file = saved(tmp_path)
    document = json.loads(file.path.read_text())
    edit(document)
    file.path.write_text(json.dumps(document))
    assert why(file.read(), file.path) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged: it is not JSON"),
        (b"\x00" * 4096, "is damaged: it is not JSON"),
        (b"\xff\xfe", "is damaged: it is not JSON"),
        (b"[" * 200_000, "is damaged: it is not JSON"),
        (b"[]", "is no saved plan of a reflector"),
        (b"null", "is no saved plan of a reflector"),
    ],
)
def test_a_file_that_is_none_of_ours(tmp_path: Path, content: bytes, said: str) -> None:
    file = SavedPlan(tmp_path, "rr-1")
    file.path.write_bytes(content)
    assert why(file.read(), file.path) == said


def test_a_file_with_the_right_checksum_and_wrong_values(tmp_path: Path) -> None:
    """As a program that is not underlay may write it."""
    with mock.patch("reflector.saved_plan._digest", return_value="same"):
        file = saved(tmp_path)
        document = json.loads(file.path.read_text())
        document["content"]["plan"]["asn"] = "many"
        document["content"]["shared"] = 7
        file.path.write_text(json.dumps(document))
        assert why(file.read(), file.path) == "is damaged: 2 of its values cannot be read"
        document["content"]["plan"]["asn"] = 1
        document["content"]["shared"] = ["10.96.0.1/12"]
        file.path.write_text(json.dumps(document))
        assert why(file.read(), file.path) == "is damaged: 1 of its values cannot be read"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = SavedPlan(tmp_path, "rr-1")
    file.path.mkdir()
    assert why(file.read(), file.path) == "cannot be read: Is a directory"


def test_no_damage_of_one_byte_goes_unnoticed(tmp_path: Path) -> None:
    file = saved(tmp_path)
    good = file.path.read_bytes()
    chance = random.Random(7)
    for _ in range(300):
        spot = chance.randrange(len(good))
        damaged = bytearray(good)
        damaged[spot] ^= chance.randrange(1, 256)
        file.path.write_bytes(damaged)
        found = file.read()
        assert isinstance(found, Problem) or found == DECLARATION, spot
