"""Settings from the plan: nothing of it is lost on the way into the OPEN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peering.session import ListenRange, Session
from reflector.session.local_open import local_open
from reflector.session.settings import DYNAMIC_FAMILIES, SessionSettings
from reflector.session.states import State
from reflector.wire.capabilities import AddPath
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from tests.unit.reflector.session_cases import KEEPALIVE_MESSAGE, NOW, PEER_ID, plain_open, session_in

PLANNED = Session(
    name="rr-1-node-1",
    peer="node/node-1",
    source="RouteReflector/rr-1",
    type="ibgp",
    local_address="10.0.0.1",
    local_asn=64512,
    peer_address="10.0.0.2",
    peer_asn=64512,
    passive=True,
    hold_time=30,
    keepalive_time=10,
    graceful_restart_time=60,
    long_lived_stale_time=3600,
    add_paths="send",
    families=("ipv4-unicast", "ipv6-unicast"),
)
RANGE = ListenRange(cidr="10.0.0.0/16", peer_asn=64512, limit=500)


def of(**fields: Any) -> SessionSettings:
    return SessionSettings.from_plan(replace(PLANNED, **fields), "10.0.0.1")


def test_a_named_neighbour() -> None:
    assert of() == SessionSettings(
        name="anything",
        local_asn=64512,
        router_id=bytes((10, 0, 0, 1)),
        peer_asn=64512,
        peer_type="ibgp",
        passive=True,
        families=(IPV4_UNICAST, IPV6_UNICAST),
        add_path=AddPath.SEND,
        hold_time=30,
        keepalive_time=10,
        graceful_restart_time=60,
        long_lived_stale_time=3600,
    )
    assert of().name == "rr-1-node-1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("local_asn", 64513),
        ("peer_asn", 64513),
        ("type", "ebgp"),
        ("passive", False),
        ("families", ("ipv6-unicast",)),
        ("add_paths", "receive"),
        ("hold_time", 90),
        ("keepalive_time", 7),
        ("graceful_restart_time", 0),
        ("long_lived_stale_time", None),
        ("connect_retry", 30),
    ],
)
def test_every_parameter_of_the_session_counts(field: str, value: object) -> None:
    """Equal settings keep a session, so none may be left out of the comparison."""
    assert of(**{field: value}) != of()


@pytest.mark.parametrize("field", ["name", "peer", "source"])
def test_a_name_does_not_count(field: str) -> None:
    assert of(**{field: "other"}) == of()


@pytest.mark.parametrize(("planned", "first", "longest"), [(None, 5, 60), (2, 2, 60), (300, 300, 300)])
def test_connect_retry(planned: int | None, first: float, longest: float) -> None:
    settings = of(connect_retry=planned)
    assert (settings.connect_retry, settings.connect_retry_max) == (first, longest)


def test_a_neighbour_of_a_range_is_offered_everything_and_gets_what_it_has() -> None:
    settings = SessionSettings.for_range(RANGE, "10.0.3.4", 64512, "10.0.0.1", hold_time=180)
    assert (settings.name, settings.passive, settings.peer_asn, settings.hold_time) == ("10.0.3.4", True, 64512, 180)
    said = local_open(settings)
    assert said.capabilities.multiprotocol == DYNAMIC_FAMILIES
    evpn = bytes((2, 6, 1, 4, 0, 25, 0, 70))
    for parameters, families in ((evpn, {(25, 70)}), (b"", {IPV4_UNICAST})):
        session = session_in(State.OPEN_SENT, settings)
        session.receive(plain_open(parameters=parameters) + KEEPALIVE_MESSAGE, NOW)
        assert session.agreed is not None
        assert set(session.agreed.terms.families) == families


def test_the_open_to_a_range_fits_the_shorter_form_of_the_parameters() -> None:
    """A peer that does not know RFC 9072 would refuse the longer one."""
    body = local_open(SessionSettings.for_range(RANGE, "x", 4200000000, "10.0.0.1")).encode()
    assert body[9] == len(body) - 10 < 255


@pytest.mark.parametrize(
    ("peer_asn", "peer_type", "taken", "refused"),
    [
        (0, "any", (64512, 65001, 4200000000), ()),
        (65001, "any", (65001,), (64512, 65002)),
        (65001, "ebgp", (65001,), (64512, 65002)),
        (0, "ebgp", (65001, 4200000000), (64512,)),
        (0, "ibgp", (64512,), (65001,)),
    ],
)
def test_which_as_is_taken(peer_asn: int, peer_type: Any, taken: tuple[int, ...], refused: tuple[int, ...]) -> None:
    settings = SessionSettings(name="x", local_asn=64512, router_id=PEER_ID, peer_asn=peer_asn, peer_type=peer_type)
    assert [settings.accepts_asn(asn) for asn in (*taken, *refused)] == [True] * len(taken) + [False] * len(refused)


def test_a_range_of_any_as() -> None:
    settings = SessionSettings.for_range(replace(RANGE, peer_asn=0), "x", 64512, "10.0.0.1")
    assert settings.accepts_asn(64512)
    assert settings.accepts_asn(65001)


@pytest.mark.parametrize("router_id", ["0.0.0.0", "fd00::1"])
def test_a_router_id_is_needed(router_id: str) -> None:
    with pytest.raises(ValueError, match="rr-1-node-1: a router ID is four bytes"):
        SessionSettings.from_plan(PLANNED, router_id)
