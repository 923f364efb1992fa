"""The ExaBGP driver against a real peer: bgpd of FRR, two sessions, in two network namespaces.

The peer's own view is what counts: its routes, its counters of established sessions.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import exabgp
import pytest

from bgp_speaker.exabgp_channel import Disconnected
from bgp_speaker.exabgp_commands import (
    Announcement,
    announce_lines,
    difference,
    end_of_rib_lines,
    route_refresh_lines,
)
from bgp_speaker.exabgp_driver import ConfigRefused, Connected, Exited
from bgp_speaker.exabgp_events import EndOfRib, PeerState, RouteRefresh, Update
from peering.prefixes import format_address, format_prefix
from peering.session import SecretKeyRef
from tests.interop.exabgp_peer import PEER, PEER_2, Agent, Peer, eventually, run, session

pytestmark = pytest.mark.lab

REF = SecretKeyRef("bgp", "password")
PREFIXES = [f"100.64.{i}.0/26" for i in range(100)]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    # ExaBGP may run as nobody: its directory must not be below pytest's, which is private.
    directory = Path("/run") / f"underlay-exabgp-{os.getpid()}-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o755)
    made = Peer(directory)
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()
        shutil.rmtree(directory)


def announcements(prefixes: list[str], **options: Any) -> dict[str, dict[str, Announcement]]:
    return {PEER: {p: Announcement(p, **options) for p in prefixes}}


def with_agent(peer: Peer, scenario: Callable[[Agent], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        agent = Agent(peer, **options)
        try:
            async with asyncio.timeout(90):
                await scenario(agent)
        finally:
            await agent.exa.stop()

    asyncio.run(main())


def test_announces_withdraws_and_learns(peer: Peer) -> None:
    peer.start(networks=("192.0.2.0/24", "198.51.100.0/24"))

    async def scenario(agent: Agent) -> None:
        assert await agent.exa.start(agent.config([session()])) == "started"
        connected = await agent.until(lambda e: isinstance(e, Connected))
        assert connected.fresh
        assert not connected.adopted
        await agent.until_up()
        options = {"communities": ("65100:7", "no-peer"), "large_communities": ("65100:1:2",), "med": 5}
        desired = announcements(PREFIXES, **options)
        assert await agent.exa.send_all(difference(desired, {})) == []
        assert await agent.exa.send_all(end_of_rib_lines([PEER], ["ipv4-unicast", "ipv6-unicast"])) == []
        await eventually(lambda: peer.routes() == set(PREFIXES))
        assert await agent.exa.announced() == {PEER: set(PREFIXES)}
        path = peer.ask(f"show bgp ipv4 unicast {PREFIXES[3]} json")["paths"][0]
        assert path["community"]["string"] == "65100:7 no-peer"
        assert path["largeCommunity"]["string"] == "65100:1:2"
        assert path["metric"] == 5
        kept = announcements(PREFIXES[:40], **options)
        assert await agent.exa.send_all(difference(kept, desired)) == []
        await eventually(lambda: peer.routes() == set(PREFIXES[:40]))
        assert await agent.exa.announced() == {PEER: set(PREFIXES[:40])}

        await agent.until(lambda e: e == EndOfRib(PEER, "ipv4-unicast"))
        await agent.until(lambda e: e == EndOfRib(PEER, "ipv6-unicast"))
        learned = {
            (format_prefix(p), format_address(next_hop)): event.attributes
            for event in agent.events
            if isinstance(event, Update)
            for _, p, next_hop, _ in event.announced
        }
        assert ("192.0.2.0/24", PEER) in learned
        assert ("198.51.100.0/24", PEER) in learned
        attributes = learned["192.0.2.0/24", PEER]
        assert attributes is not None
        assert (attributes.as_path, attributes.as_path_length, attributes.origin) == ((65001,), 1, "igp")
        assert any(p == "2001:db8:5::/48" for p, _ in learned)

        agent.forget()
        assert await agent.exa.send_all(route_refresh_lines([PEER], ["ipv4-unicast"])) == []
        await agent.until(lambda e: e == RouteRefresh(PEER, "ipv4-unicast", "end"))
        assert any(isinstance(e, Update) and len(e.announced) == 2 for e in agent.events)
        (state,) = await agent.exa.neighbors()
        assert (state.up, state.graceful_restart, state.asn) == (True, True, 65001)
        assert set(state.families) == {"ipv4-unicast", "ipv6-unicast"}

    with_agent(peer, scenario)
    assert not (peer.directory / "exabgp" / "exabgp.pid").exists()


def test_killed_it_is_back_within_a_second_and_can_be_replayed(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        lines = difference(announcements(PREFIXES), {})
        await agent.exa.send_all(lines)
        await eventually(lambda: peer.routes() == set(PREFIXES))
        first = agent.exa.pid
        assert first is not None
        agent.forget()
        killed = time.monotonic()
        os.kill(first, signal.SIGKILL)
        await agent.until(lambda e: isinstance(e, Exited))
        connected = await agent.until(lambda e: isinstance(e, Connected))
        assert time.monotonic() - killed < 1.0
        assert connected.fresh
        assert connected.pid != first
        await agent.until_up()
        await agent.exa.send_all([*lines, *end_of_rib_lines([PEER], ["ipv4-unicast", "ipv6-unicast"])])
        assert peer.all_routes() == set(PREFIXES)
        await eventually(lambda: peer.routes() == set(PREFIXES))
        assert peer.established() == 2

    with_agent(peer, scenario)


def test_one_that_does_not_answer_is_replaced(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        first = agent.exa.pid
        assert first is not None
        agent.forget()
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(Disconnected):
            await agent.exa.neighbors()
        await agent.until(lambda e: isinstance(e, Exited), within=20)
        await agent.until_up()
        assert agent.exa.pid != first

    with_agent(peer, scenario, ack_timeout=0.5)


def test_a_later_agent_adopts_it(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        first = Agent(peer)
        config = first.config([session()])
        assert await first.exa.start(config) == "started"
        await first.until_up()
        await first.exa.send_all(difference(announcements(PREFIXES), {}))
        await eventually(lambda: peer.routes() == set(PREFIXES))
        pid = first.exa.pid
        await first.exa.leave()
        # Longer than the hold time: a helper that blocked ExaBGP would cost the session.
        await asyncio.to_thread(peer.ask_text, "configure terminal", "router bgp 65001", "network 203.0.113.0/24")
        started = time.monotonic()
        await eventually(lambda: time.monotonic() - started > 10 or not peer.is_up())
        (peer.directory / "exabgp" / "exabgp.pid").unlink()

        assert await agent.exa.start(config) == "adopted"
        connected = await agent.until(lambda e: isinstance(e, Connected))
        assert (connected.pid, connected.adopted, connected.fresh) == (pid, True, False)
        assert connected.lost >= 1
        assert [n.up for n in connected.neighbors] == [True]
        assert await agent.exa.announced() == {PEER: set(PREFIXES)}
        await agent.exa.send_all(difference(announcements(PREFIXES[:1]), announcements(PREFIXES)))
        await eventually(lambda: peer.routes() == {PREFIXES[0]})
        assert peer.established() == 1
        assert agent.exa.pid == pid

    with_agent(peer, scenario)


def test_without_an_agent_it_ends(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        first = Agent(peer, orphan_timeout=1)
        await first.exa.start(first.config([session()]))
        pid = first.exa.pid
        assert pid is not None
        await first.exa.leave()
        await eventually(lambda: _dead(pid), within=10)
        await agent.exa.start(agent.config([session()]))
        connected = await agent.until(lambda e: isinstance(e, Connected))
        assert connected.fresh
        assert connected.pid != pid

    with_agent(peer, scenario, orphan_timeout=1)


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_reload_leaves_other_sessions_alone(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        await agent.exa.send_all(difference(announcements(PREFIXES), {}))
        pid = agent.exa.pid
        both = agent.config([session(), session(1)])
        assert await agent.exa.ensure(both) == "reloaded"
        assert await agent.exa.ensure(both) == "unchanged"
        await agent.until_up(PEER_2)
        await agent.exa.send_all(announce_lines({a: [Announcement("100.65.0.0/26")] for a in (PEER, PEER_2)}))
        await eventually(lambda: "100.65.0.0/26" in peer.routes())
        assert await agent.exa.announced() == {PEER: {*PREFIXES, "100.65.0.0/26"}, PEER_2: {"100.65.0.0/26"}}
        assert await agent.exa.ensure(agent.config([session(), session(1, hold_time=30)])) == "reloaded"
        await eventually(lambda: peer.established("10.201.1.1") == 2)
        assert await agent.exa.ensure(agent.config([session()])) == "reloaded"
        await eventually(lambda: not peer.is_up("10.201.1.1"))
        assert peer.established() == 1
        assert agent.exa.pid == pid
        assert await agent.exa.ensure(agent.config([])) == "reloaded"
        await eventually(lambda: not peer.is_up())

    with_agent(peer, scenario)


def test_a_neighbour_that_is_down_with_unsent_routes_does_not_stop_a_reload(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        absent = session(1, peer_address="10.201.1.77")
        await agent.exa.start(agent.config([session(), absent]))
        await agent.until_up()
        await agent.exa.send_all(announce_lines({"10.201.1.77": [Announcement(p) for p in PREFIXES]}))
        both = agent.config([session(), absent, session(1)])
        assert await agent.exa.ensure(both) in ("reloaded", "restarted")
        await eventually(lambda: peer.is_up() and peer.is_up("10.201.1.1"))

    with_agent(peer, scenario)


def test_a_refused_configuration_changes_nothing(peer: Peer) -> None:
    peer.start()
    password = secrets.token_hex(12)

    async def scenario(agent: Agent) -> None:
        config = agent.config([session()])
        await agent.exa.start(config)
        await agent.until_up()
        bad = config.replace("hold-time 9;", f'md5-password "{password}"; no-such-word {password};')
        with pytest.raises(ConfigRefused) as refused:
            await agent.exa.ensure(bad)
        assert "no-such-word" in str(refused.value)
        assert password not in str(refused.value)
        assert (peer.directory / "exabgp" / "exabgp.conf").read_text() == config
        assert await agent.exa.ensure(agent.config([session(), session(1)])) == "reloaded"
        assert peer.established() == 1
        assert not any(password in line for line in agent.logged)

    with_agent(peer, scenario)


def test_md5_right_and_wrong(peer: Peer) -> None:
    right = secrets.token_hex(16)
    peer.start(password=right)

    async def scenario(agent: Agent) -> None:
        wanted = session(password=REF)
        wrong = agent.config([wanted], {REF: right[:-1] + "x"})
        await agent.exa.start(wrong)
        await eventually(lambda: peer.counter("TCPMD5Failure") >= 2)
        assert not peer.is_up()
        assert await agent.exa.ensure(agent.config([wanted], {REF: right})) == "reloaded"
        await agent.until_up()
        assert peer.is_up()
        assert (peer.directory / "exabgp" / "exabgp.conf").stat().st_mode & 0o777 == 0o600
        arguments = run("cat", f"/proc/{agent.exa.pid}/cmdline")
        answer = "\n".join(await agent.exa.query("show neighbor configuration"))
        for place in (arguments, answer, *agent.logged, *map(repr, agent.events)):
            assert right not in place

    with_agent(peer, scenario)


async def attempts(agent: Agent, number: int, within: float) -> float:
    """Seconds between the last two of that many attempts, which ExaBGP reports as "connected"."""

    def seen() -> list[float]:
        pairs = zip(agent.events, agent.times, strict=True)
        return [when for e, when in pairs if isinstance(e, PeerState) and e.state == "connected"]

    await agent.until(lambda _: len(seen()) >= number, within)
    return seen()[number - 1] - seen()[number - 2]


def test_the_reconnect_delay_stays_short(peer: Peer) -> None:
    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        # The seventh attempt of an unchanged ExaBGP comes 5 s after the sixth.
        assert await attempts(agent, 7, within=30) < 3.5
        await asyncio.to_thread(peer.start)
        await agent.until_up()

    with_agent(peer, scenario)


def test_an_attempt_that_nobody_answers_is_given_up(peer: Peer) -> None:
    nobody = ("dev", "e0", "lladdr", "02:00:00:00:00:99", "nud", "permanent")
    run("ip", "-n", peer.ours, "neigh", "replace", PEER, *nobody)

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        # The kernel alone would repeat its SYN for two minutes.
        assert await attempts(agent, 2, within=30) < 12

    with_agent(peer, scenario)


def interpreter_for_everybody(peer: Peer) -> str:
    """With a package that everybody may read, unlike a virtual environment below /root."""
    environment = peer.directory / "venv"
    run("/usr/bin/python3", "-m", "venv", "--without-pip", str(environment))
    (packages,) = environment.glob("lib/python3*/site-packages")
    shutil.copytree(Path(exabgp.__path__[0]), packages / "exabgp")
    run("chmod", "-R", "a+rX", str(environment))
    return str(environment / "bin" / "python3")


def status_of(pid: int | None) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def listeners(peer: Peer) -> set[str]:
    shown = run("ip", "netns", "exec", peer.ours, "ss", "-Hltn").splitlines()
    return {line.split()[3] for line in shown}


def test_runs_as_an_unprivileged_user_that_may_bind_and_nothing_else(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        assert not any("runs as" in line for line in agent.logged)
        nobody = pwd.getpwnam("nobody")
        status = status_of(agent.exa.pid)
        assert (status["Uid"].split()[0], status["Groups"]) == (str(nobody.pw_uid), "")
        assert {status[name] for name in ("CapPrm", "CapEff")} == {"0000000000000400"}  # CAP_NET_BIND_SERVICE
        assert {status[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}
        (shim,) = run("pgrep", "-P", str(agent.exa.pid)).split()
        assert {status_of(int(shim))[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert await agent.exa.ensure(agent.config([session(), session(1)])) == "reloaded"
        await agent.until_up(PEER_2)

    with_agent(peer, scenario, interpreter=interpreter_for_everybody(peer))


def test_a_listening_session_that_a_reload_brings_is_listened_for(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        assert listeners(peer) == set()
        assert await agent.exa.ensure(agent.config([session(), session(1, passive=True)])) == "reloaded"
        await eventually(lambda: listeners(peer) == {"10.201.1.1:179"})
        assert await agent.exa.ensure(agent.config([session()])) == "reloaded"
        await eventually(lambda: listeners(peer) == set())
        assert peer.established() == 1

    with_agent(peer, scenario, interpreter=interpreter_for_everybody(peer))


def test_an_address_that_is_not_there_yet_is_listened_on_and_costs_no_other_session(peer: Peer) -> None:
    peer.start()
    absent = session(1, passive=True, local_address="10.201.7.1", peer_address="10.201.7.2")

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session(), absent]))
        await agent.until_up()
        assert listeners(peer) == {"10.201.7.1:179"}

    with_agent(peer, scenario)


def test_a_port_that_somebody_else_has_costs_its_session_only_until_it_is_free(peer: Peer) -> None:
    peer.start()
    script = "import socket, time; s = socket.create_server(('0.0.0.0', 179)); print(flush=True); time.sleep(60)"
    other = subprocess.Popen(("ip", "netns", "exec", peer.ours, sys.executable, "-c", script), stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session(), session(1, passive=True)]))
        await agent.until_up()
        await eventually(lambda: any("can not bind to 10.201.1.1:179" in line for line in agent.logged))
        other.kill()
        other.wait()
        await eventually(lambda: listeners(peer) == {"10.201.1.1:179"}, within=20)
        await eventually(lambda: any("listening on every address" in line for line in agent.logged))

    try:
        with_agent(peer, scenario)
    finally:
        other.kill()


def test_runs_as_ourselves_where_that_user_cannot(peer: Peer) -> None:
    peer.start()

    async def scenario(agent: Agent) -> None:
        await agent.exa.start(agent.config([session()]))
        await agent.until_up()
        assert sum("ExaBGP runs as" in line for line in agent.logged) == 1
        assert f"\nUid:\t{os.getuid()}\t" in run("cat", f"/proc/{agent.exa.pid}/status")

    with_agent(peer, scenario, user="no-such-user")
