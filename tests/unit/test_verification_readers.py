"""What platforms print of their sessions, as `End`s. FRR, BIRD, OpenBGPD and GoBGP are asked live, in tests/interop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fabric_templates import devices
from fabric_templates.verification import kernel, sources, speakers
from fabric_templates.verification.end import End, Kernel, Notice
from fabric_templates.verification.notices import named
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.session import Family, Session, SpeakerPlan

STATES = Path(__file__).parent / "session_states"
DOCUMENTED = ("eos", "iosxe", "iosxr", "junos", "nxos", "srlinux")
#: Prefixes received before the policy, where the platform counts them.
RECEIVED = {"eos": 5, "junos": 5, "srlinux": 5}
#: Whether it is told that the switch sent the NOTIFICATION; EOS tells of none.
NOTICES = {"eos": None, "srlinux": Notice(2, 2, None)}
#: Nothing in the text tells a shut down session from an idle one.
NO_SHUTDOWN = frozenset({"junos"})


def ends_of(platform: str) -> dict[str, End]:
    found, _ = sources.read(platform, (STATES / f"{platform}.txt").read_text())
    return {key.lower(): end for key, end in found.items()}


@pytest.mark.parametrize("platform", DOCUMENTED)
def test_the_same_four_sessions_are_read_from_every_platform(platform: str) -> None:
    ends = ends_of(platform)
    assert set(ends) == {"10.1.1.1", "10.1.2.1", "10.1.3.1", "fd00:1::1"}
    up, refused, shut, six = (ends[key] for key in ("10.1.1.1", "10.1.2.1", "10.1.3.1", "fd00:1::1"))
    assert (up.state, up.peer_asn, up.sent, up.accepted) == ("Established", 65101, 3, 4)
    assert up.received == RECEIVED.get(platform)
    assert up.hold_time == (None if platform == "srlinux" else 9)
    assert (six.state, six.sent, six.accepted) == ("Established", 1, 1)
    assert (refused.is_up, refused.peer_asn) == (False, 65600)
    assert refused.notice == NOTICES.get(platform, Notice(2, 2, True))
    assert (shut.is_up, shut.shut_down) == (False, platform not in NO_SHUTDOWN)


@pytest.mark.parametrize("platform", sources.names())
def test_another_text_is_refused_with_what_was_found(platform: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*% Invalid input"):
        sources.read(platform, "% Invalid input detected\n")
    assert sources.find(f"{platform}@1.0") == sources.find(platform)


def test_every_source_is_of_a_platform() -> None:
    assert set(sources.names()) <= set(devices.names())
    assert sources.find("aci") is None


RESETS = """BGP neighbor is 10.1.1.1, remote AS 65101, ebgp link, Peer index 4
  BGP state = Idle, down for 00:10:12
  Last reset by us {us}, due to {why}
  Last reset by peer {peer}, due to {why}
"""


@pytest.mark.parametrize(
    ("us", "peer", "expected"),
    [
        ("never", "00:00:09", Notice(2, 6, False)),
        ("00:04:59", "never", Notice(2, 6, True)),
        ("00:05:01", "never", None),
        ("5w0d", "never", None),
    ],
)
def test_cisco_says_who_has_reset_a_session_and_when(us: str, peer: str, expected: Notice | None) -> None:
    text = RESETS.format(us=us, peer=peer, why="unacceptable hold time")
    assert sources.read("nxos", text)[0]["10.1.1.1"].notice == expected


def test_a_neighbor_that_cisco_tells_of_once_for_each_family_is_one() -> None:
    one = "BGP neighbor is 10.1.1.1,  remote AS 65101, external link\n  BGP state = Established\n"
    text = "".join(f"{one} For address family: IPv{v} Unicast\n    Prefixes Current: {v} 1\n" for v in (4, 6))
    end = sources.read("iosxe", text)[0]["10.1.1.1"]
    assert (end.sent, end.accepted, len(end.families or ())) == (10, 2, 2)


FRR_ROW = {
    "remoteAs": 65101,
    "localAs": 65011,
    "bgpState": "Active",
    "lastResetTimerMsecs": 10_000,
    "lastErrorCodeSubcode": "0601",
    "lastNotificationReason": "Cease/Maximum Number of Prefixes Reached",
    "lastResetDueTo": "BGP Notification send",
    "prefixesConfigExceedMax": True,
    "authenticationEnabled": 1,
    "addressFamilyInfo": {"ipv4Unicast": {"acceptedPrefixCounter": 2, "sentPrefixCounter": 1, "prefixAllowedMax": 64}},
}
FRR_CONFIG = """
router bgp 65011
 neighbor UNDERLAY-NODES peer-group
 neighbor UNDERLAY-NODES ttl-security hops 1
 neighbor 10.1.1.1 peer-group UNDERLAY-NODES
 neighbor 10.1.1.1 password the rack
 neighbor 10.1.2.1 remote-as 65101
 !
 address-family ipv4 unicast
 exit-address-family
exit
!
router bgp 65099 vrf other
 neighbor 10.1.2.1 password of another vrf
exit
"""


def frr(config: str = "", **changes: object) -> dict[str, End]:
    rows = {"10.1.1.1": {**FRR_ROW, **changes}, "10.1.2.1": FRR_ROW, "vrfName": "default"}
    text = f"### neighbors\n{json.dumps(rows)}\n### config\n{config}"
    return sources.read("frr", text)[0]


def test_frr_says_who_closed_a_session_and_when() -> None:
    assert frr()["10.1.1.1"].notice == Notice(6, 1, True)
    assert frr(lastResetDueTo="BGP Notification received")["10.1.1.1"].notice == Notice(6, 1, False)
    assert frr(lastResetTimerMsecs=301_000)["10.1.1.1"].notice is None  # not why it is down now
    assert frr()["10.1.1.1"].over_limit
    assert frr()["10.1.1.1"].limit == 64
    assert frr()["10.1.1.1"].families == frozenset[Family](("ipv4-unicast",))


def test_frr_says_why_a_session_is_down() -> None:
    assert frr()["10.1.1.1"].reason == "Cease/Maximum Number of Prefixes Reached"
    assert frr(lastNotificationReason="")["10.1.1.1"].reason == "BGP Notification send"
    unnumbered = '{"eth1": {"bgpState": "Established"}, "totalPeers": 2}'
    assert {key: (end.state, end.reason) for key, end in sources.read("frr", unnumbered)[0].items()} == {
        "eth1": ("Established", "")
    }
    assert sources.read("frr", "{}")[0] == {}
    with pytest.raises(ValueError, match="expected an object of neighbors"):
        sources.read("frr", "[]")


def test_frrs_running_configuration_adds_what_its_json_leaves_out() -> None:
    plain = frr()["10.1.1.1"]
    assert (plain.has_password, plain.password, plain.ttl_security) == (True, None, None)
    ends = frr(FRR_CONFIG)
    assert (ends["10.1.1.1"].password, ends["10.1.1.1"].ttl_security) == ("the rack", 1)
    assert (ends["10.1.2.1"].password, ends["10.1.2.1"].ttl_security) == ("", 0)
    assert "the rack" not in repr(ends)


def test_one_output_alone_needs_no_head() -> None:
    assert sources.read("frr", json.dumps({"10.1.1.1": FRR_ROW}))[0]["10.1.1.1"].peer_asn == 65101


def test_the_kernels_counters() -> None:
    counters = "TcpExt: TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPMinTTLDrop Other\nTcpExt: 1 20 300 4 9\n"
    assert kernel.read(f"IpExt: A\nIpExt: 1\n{counters}") == Kernel(md5=321, ttl=4)
    assert kernel.read("no such file") is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("OPEN Message Error/Bad Peer AS", (2, 2)),
        ("error in OPEN message, AS unacceptable", (2, 2)),
        ("Unacceptable hold time", (2, 6)),
        ("HoldTimer expired", (4, 0)),
        ("BGP Notification sent: hold time expired", (4, 0)),
        ("Cease, received max-prefix exceeded", (6, 1)),
        ("Administrative Shutdown", (6, 2)),
        ("Cease", (6, 0)),
        ("None", None),
    ],
)
def test_notifications_by_name(said: str, expected: tuple[int, int] | None) -> None:
    found = named(said, sent=True)
    assert (found and (found.code, found.subcode)) == expected


def row(reason: str, state: str = "Idle") -> PeerStatus:
    return PeerStatus.model_validate(
        {"session": "tor", "peer": "switch/tor", "peerAddress": "10.1.1.0", "peerASN": 65011, "state": state,
         "since": 1.0, "reason": reason, "announced": 3, "received": 2, "accepted": 1}
    )  # fmt: skip


SESSION = Session(
    name="tor",
    peer="switch/tor",
    source="Rack/rack-1",
    type="ebgp",
    local_address="10.1.1.1",
    local_asn=65101,
    peer_address="10.1.1.0",
    peer_asn=65011,
)


def test_what_a_speaker_says() -> None:
    plan = SpeakerPlan(
        asn=65101,
        router_id="10.0.11.1",
        sessions=(SESSION,),
        loopbacks=("10.0.11.1", "fd00::1"),
        unexported=("10.99.0.0/16",),
        aggregates=("10.245.0.0/16",),
    )
    blocks = ("10.244.1.0/26", "10.99.0.0/26", "10.245.3.0/26", "fd00:244::/122")
    status = BGPNodeStatusSpec(node="node-1", sessions=(row("notification received (2,6)"),), blocks=blocks)
    end = speakers.ends(status, plan, late=False)["tor"]
    assert (end.notice, end.sent, end.received, end.accepted) == (Notice(2, 6, False), 3, 2, 1)
    assert sorted(end.announced or ()) == ["10.0.11.1/32", "10.244.1.0/26", "10.245.0.0/16"]
    assert speakers.ends(status, plan, late=True)["tor"] == End(state="Unknown", peer_asn=65011)
    assert speakers.ends(status, None, late=False)["tor"].announced is None
