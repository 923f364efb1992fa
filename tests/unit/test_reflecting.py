"""`underlay reflector`: every mistake at once with its exit code, and a process that nothing wrong takes down."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from peering.prefixes import Address, format_prefix, pack_address, pack_prefix
from peering.problems import Problem
from peering.session import SecretKeyRef
from reflector.configuration import Owners, PeerPolicy, PeerRange, ReflectorConfiguration, Transport
from reflector.desired import Desired
from reflector.engine.text import key_of
from reflector.plan_follower import NothingToRun
from reflector.restart_marker import RestartMarker
from reflector.server.tcp_options import TcpError
from reflector.session.settings import SessionSettings
from reflector.standalone import NAME, PASSWORD
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import KEEPALIVE, NOTIFICATION, OPEN, UPDATE, Framer
from reflector.wire.packing import encode_updates
from tests.unit.command_line import run_underlay
from tests.unit.declarations import NO_MESH, declare
from tests.unit.reflector.policy_samples import block
from tests.unit.reflector.session_cases import KEEPALIVE_MESSAGE, plain_open
from tests.unit.shell import Shell
from underlay.output import Refused
from underlay.reflector_options import Given
from underlay.reflector_process import GOODBYE, ReflectorProcess
from underlay.reflector_sources import OptionsSource, Source, StoreSource, Tell, desired_of

GOLDEN = Path(__file__).parent / "golden" / "reflecting"
OWNERS = Path(__file__).parent / "golden" / "owners"
FILTERS = Path(__file__).parent / "golden" / "filters"
GOOD = ("--listen", "127.0.0.1:1790", "--as", "64512", "--router-id", "10.0.0.1", "--accept", "10.0.0.0/8")


def with_options(**changes: str) -> tuple[str, ...]:
    """The good options with other values."""
    values = {
        **dict(zip(GOOD[::2], GOOD[1::2], strict=True)),
        **{f"--{k.replace('_', '-')}": v for k, v in changes.items()},
    }
    return tuple(part for pair in values.items() for part in pair)


# What is written on the command line.

BAD: dict[str, tuple[str, ...]] = {
    "everything-at-once": (
        *with_options(listen="localhost:179", router_id="rr-1", accept="10.0.0.1/8", cluster_id="0.0.0.0"),
        *("--as", "0", "--hold-time", "1", "--metrics", "9179", "--owners", "gone.json", "--password-file", "gone"),
        *("--admin-socket", "/" + "x" * 107),
    ),
    "as-number": with_options(**{"as": "AS64512"}),
    "as-number-reserved": with_options(**{"as": "23456"}),
    "as-number-too-large": with_options(**{"as": "4294967296"}),
    "router-id-zero": with_options(router_id="0.0.0.0"),
    "router-id-of-six": with_options(router_id="fd00::1"),
    "listen-without-port": with_options(listen="127.0.0.1"),
    "listen-without-address": with_options(listen=":179"),
    "listen-on-a-name": with_options(listen="rr-1.example:179"),
    "listen-on-six-without-brackets": with_options(listen="fd00::1:179"),
    "listen-on-port-zero": with_options(listen="127.0.0.1:0"),
    "listen-on-port-too-large": with_options(listen="127.0.0.1:65536"),
    "listen-on-a-scope": with_options(listen="[fe80::1%eth0]:179", accept="fd00::/8"),
    "listen-on-two-ports": (*GOOD, "--listen", "127.0.0.2:1791"),
    "listen-twice": (*GOOD, "--listen", "127.0.0.1:1790"),
    "accept-host-bits": with_options(accept="10.0.0.1/8"),
    "accept-a-name": with_options(accept="nodes"),
    "accept-twice": (*GOOD, "--accept", "10.0.0.0/8"),
    "accept-of-no-family": (*GOOD, "--accept", "fd00::/8"),
    "hold-time-of-one": with_options(hold_time="1"),
    "hold-time-in-words": with_options(hold_time="long"),
    "hold-time-too-long": with_options(hold_time="65536"),
    "ownership-without-owners": with_options(ownership="enforce"),
    "metrics-without-port": with_options(metrics="127.0.0.1"),
    "max-prefixes-in-words": with_options(max_prefixes="many"),
    "max-prefixes-zero": with_options(max_prefixes="0"),
    "max-prefixes-too-many": with_options(max_prefixes="4294967296"),
    "filters-on-standard-input": with_options(filters="-"),
    "filters-gone": with_options(filters="gone.yaml"),
    "socket-path-too-long": with_options(admin_socket="/" + "x" * 107),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values(case: str, equals_golden: Callable[[Path, str], None]) -> None:
    result = run_underlay("reflector", *BAD[case])
    equals_golden(GOLDEN / f"{case}.txt", result.stderr)
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(BAD)


@pytest.mark.parametrize("file", sorted(OWNERS.glob("*.json")), ids=lambda path: path.stem)
def test_bad_owners(file: Path, equals_golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(OWNERS)
    result = run_underlay("reflector", *GOOD, "--owners", file.name)
    equals_golden(file.with_suffix(".txt"), result.stderr)
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(line.startswith(f"error: {file.name}") for line in result.stderr.splitlines())


@pytest.mark.parametrize("file", sorted(FILTERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_filters(file: Path, equals_golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILTERS)
    result = run_underlay("reflector", *GOOD, "--filters", file.name)
    equals_golden(file.with_suffix(".txt"), result.stderr)
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(line.startswith(("error: ", "warning: ")) for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "has more than one line"),
        (b"x" * 81, "holds more than 80 octets, the most that TCP-MD5 takes"),
    ],
)
@pytest.mark.parametrize("form", [GOOD, ("--name", "rr-1", "--store", "sqlite:/nowhere/store.db")])
def test_bad_password_files(tmp_path: Path, content: bytes | None, said: str, form: tuple[str, ...]) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    result = run_underlay("reflector", *form, "--password-file", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"error: {file}: {said}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--name: is missing: give it, or --listen"),
        ((*GOOD, "--name", "rr-1"), "--name: not together with --listen"),
        (("--name", "rr/1"), "--name: 'rr/1' is no name of a RouteReflector"),
        (("--name", ""), "--name: '' is no name of a RouteReflector"),
        (("--name", "rr-1", "--as", "1", "--owners", "x"), "--as, --owners: with --name it is the store that says so"),
        (("--listen", "0.0.0.0:179"), "--as, --router-id, --accept: missing (without --accept nobody can come in"),
        (GOOD[:-2], "--accept: missing (without --accept nobody can come in: give the prefixes of the clients)"),
        ((*GOOD[:2], *GOOD[4:]), "--as: missing"),
        ((*GOOD, "--store", "sqlite:x"), "--store: goes with --name"),
        (("--name", "rr-1", "--filters", "x", "--max-prefixes", "1"), "--filters, --max-prefixes: with --name it is"),
        ((*GOOD, "--ownership", "maybe"), "--ownership"),
        ((*GOOD, "--log", "xml"), "--log"),
        ((*GOOD, "--password", "hunter2"), "--password"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    result = run_underlay("reflector", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "hunter2" not in result.stderr


def test_a_store_that_is_none() -> None:
    result = run_underlay("reflector", "--name", "rr-1", "--store", "etcd:x")
    assert (result.exit_code, result.stderr[:36]) == (1, "error: --store: 'etcd:x' is no store")


def given(*arguments: str, **fields: Any) -> Given:
    """The good options as the command gives them on."""
    plain: dict[str, Any] = {"listen": ["127.0.0.1:1790"], "asn": "64512", "router_id": "10.0.0.1"}
    return Given(**{**plain, "accept": ["10.0.0.0/8"], **fields})


def desired(**fields: Any) -> Desired:
    found, problems = desired_of(given(**fields))
    assert found is not None, problems
    return found


def test_what_the_options_make() -> None:
    assert desired() == Desired(
        ReflectorConfiguration(
            name=NAME,
            asn=64512,
            router_id=bytes((10, 0, 0, 1)),
            cluster_id=bytes((10, 0, 0, 1)),
            addresses=(bytes((127, 0, 0, 1)),),
            port=1790,
            ranges=(
                PeerRange(
                    prefix=pack_prefix("10.0.0.0/8"),
                    session=SessionSettings(
                        name="10.0.0.0/8",
                        local_asn=64512,
                        router_id=bytes((10, 0, 0, 1)),
                        peer_asn=64512,
                        peer_type="ibgp",
                        passive=True,
                        hold_time=90,
                    ),
                    transport=Transport(multihop=255),
                ),
            ),
            ownership="off",
        ),
        {},
        "options",
    )


def test_every_option_has_its_effect(tmp_path: Path) -> None:
    owners, password = tmp_path / "owners.json", tmp_path / "password"
    owners.write_text('{"10.0.0.7": ["10.244.0.0/26"]}')
    password.write_bytes(b" pass word \r\n")
    found = desired(
        listen=["10.0.0.1:1790", "[fd00::1]:1790"],
        asn="64086.59904",
        cluster_id="1.2.3.4",
        accept=["10.0.0.0/8", "fd00::/8", "192.0.2.1"],
        hold_time="30",
        max_prefixes="4294967295",
        owners=owners,
        password_file=password,
    )
    one = found.configuration
    assert one.addresses == (pack_address("10.0.0.1"), pack_address("fd00::1"))
    assert (one.asn, one.cluster_id) == (4200000000, bytes((1, 2, 3, 4)))
    assert [r.prefix for r in one.ranges] == [pack_prefix(p) for p in ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")]
    assert {r.session.hold_time for r in one.ranges} == {30}
    assert {r.policy for r in one.ranges} == {PeerPolicy(max_prefixes=4294967295)}
    assert {r.session.peer_asn for r in one.ranges} == {4200000000}
    assert {r.transport.password for r in one.ranges} == {PASSWORD}
    assert found.passwords == {PASSWORD: b" pass word "}
    assert one.owners == Owners({pack_prefix("10.244.0.0/26"): frozenset({"10.0.0.7"})})
    assert one.ownership == "report"
    assert desired(owners=owners, ownership="enforce").configuration.ownership == "enforce"
    assert desired(owners=owners, ownership="off").configuration.ownership == "off"
    assert desired(hold_time="0").configuration.ranges[0].session.hold_time == 0


# What runs.


@dataclass
class Server:
    """Stands for ReflectorServer."""

    configuration: ReflectorConfiguration
    passwords: Mapping[SecretKeyRef, bytes]
    log: Callable[..., None]
    restarting: bool = False
    were_up: Collection[Address] = ()
    fails: Exception | None = None
    peers: set[Address] = field(default_factory=lambda: {bytes((10, 0, 0, 7)), bytes(15) + b"\7"})
    stops: list[tuple[bool, str]] = field(default_factory=list)
    configured: list[ReflectorConfiguration] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        if self.fails is not None:
            raise self.fails
        await self.ended.wait()

    def configure(self, configuration: ReflectorConfiguration, passwords: Mapping[SecretKeyRef, bytes]) -> None:
        self.configured.append(configuration)
        self.passwords = passwords
        if self.fails is not None:
            raise self.fails

    def stop(self, *, graceful: bool = False, reason: str = "") -> None:
        self.stops.append((graceful, reason))
        self.peers = set()
        self.ended.set()

    def up(self) -> Collection[Address]:
        return self.peers


class Script:
    """A source whose sets are given by the test."""

    def __init__(self, *first: Desired | NothingToRun) -> None:
        self.waiting: asyncio.Queue[Desired | NothingToRun | Exception] = asyncio.Queue()
        self.looks = 0
        for one in first:
            self.waiting.put_nowait(one)

    async def run(self, tell: Tell) -> None:
        while True:
            told = await self.waiting.get()
            if isinstance(told, Exception):
                raise told
            tell(told)

    def look(self) -> None:
        self.looks += 1


class World:
    """A process with a server that is none, and everything that it logged."""

    def __init__(self, source: Source, fails: Exception | None = None, **options: Any) -> None:
        self.servers: list[Server] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._fails = fails
        self.process = ReflectorProcess(source, self._make, self._log, **options)

    def _make(self, *arguments: Any, **options: Any) -> Server:
        server = Server(*arguments, **options)
        server.fails = self._fails
        self.servers.append(server)
        return server

    def _log(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def events(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]

    async def until(self, condition: Callable[[], object]) -> None:
        """Looks at every turn of the loop: nothing here waits for the world."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0)

    async def started(self) -> Server:
        await self.until(lambda: self.servers)
        await self.until(lambda: self.process._serving)
        return self.servers[0]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Handlers of a loop that is closed are nobody's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_set_starts_a_server_and_the_next_ones_change_it() -> None:
    async def work() -> None:
        source = Script(desired())
        world = World(source)
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        assert (server.configuration, server.passwords, server.restarting) == (desired().configuration, {}, False)
        source.waiting.put_nowait(desired())
        source.waiting.put_nowait(replace(desired(hold_time="9"), passwords={PASSWORD: b"x"}))
        await world.until(lambda: server.configured)
        world.process.stop()
        await running
        assert server.configured == [desired(hold_time="9").configuration], "what is as before is no change"
        assert server.passwords == {PASSWORD: b"x"}
        assert server.stops == [(False, GOODBYE)]
        assert world.events("configured") == [{"origin": "options", "peers": 0}]
        assert len(world.servers) == 1

    asyncio.run(work())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("graceful", [True, False])
def test_signals_end_it(number: signal.Signals, graceful: bool) -> None:
    async def work() -> None:
        world = World(Script(desired()), graceful=graceful)
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(running, 20)
        assert server.stops == [(graceful, GOODBYE)]

    asyncio.run(work())


def test_hangup_has_the_source_look_again() -> None:
    async def work() -> None:
        source = Script(desired())
        world = World(source)
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        os.kill(os.getpid(), signal.SIGHUP)
        await world.until(lambda: source.looks)
        world.process.stop()
        await running
        assert (source.looks, server.configured) == (1, [])
        assert world.events("reading-again") == [{}]

    asyncio.run(work())


def test_a_signal_before_there_is_anything_to_serve() -> None:
    """As while the store is away."""

    async def work() -> None:
        source = Script()
        world = World(source)
        running = asyncio.ensure_future(world.process.run())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 20)
        assert world.servers == []

    asyncio.run(work())


def test_nothing_to_run_at_the_start_is_refused_and_later_only_told() -> None:
    problem = Problem("error", "unknown-reflector", "RouteReflector/rr-1", "", "is not declared")

    async def at_the_start() -> None:
        world = World(Script(NothingToRun((problem,)), desired()))
        with pytest.raises(Refused) as refused:
            await world.process.run()
        assert refused.value.problems == (problem,)
        assert world.servers == []

    async def later() -> None:
        world = World(Script(desired(), NothingToRun((problem,))))
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        await world.until(lambda: world.events("problem"))
        world.process.stop()
        await running
        assert server.configured == []
        (line,) = world.events("problem")
        assert (line["level"], line["code"], line["problem"]) == ("error", "unknown-reflector", problem.line())

    asyncio.run(at_the_start())
    asyncio.run(later())


def test_where_it_cannot_listen_there_is_one_line() -> None:
    async def work() -> None:
        world = World(Script(desired()), TcpError("listening on 127.0.0.1 port 179: not permitted"))
        with pytest.raises(Refused) as refused:
            await world.process.run()
        assert refused.value.message == "error: listening on 127.0.0.1 port 179: not permitted"

    asyncio.run(work())


def test_where_it_cannot_listen_later_it_goes_on() -> None:
    async def work() -> None:
        source = Script(desired())
        world = World(source)
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        server.fails = TcpError("listening on 10.0.0.1 port 179: the address is on no interface of this machine")
        source.waiting.put_nowait(desired(hold_time="9"))
        await world.until(lambda: world.events("cannot-listen"))
        assert not running.done()
        world.process.stop()
        await running

    asyncio.run(work())


def test_a_bug_ends_it_and_leaves_the_routes() -> None:
    async def work() -> None:
        source = Script(desired())
        world = World(source)
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        source.waiting.put_nowait(ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(running, 20)
        assert server.stops == [(True, "")]

    asyncio.run(work())


def test_what_is_served_beside_ends_with_it() -> None:
    async def work() -> None:
        place = Place()
        world = World(Script(desired()), beside=(place,))
        running = asyncio.ensure_future(world.process.run())
        server = await world.started()
        await world.until(lambda: len(place.seen) > 1)
        world.process.stop()
        await running
        assert place.seen == ["open", server, "over", "close"]

    asyncio.run(work())


class Place:
    """What is served beside; one that cannot be had where it `fails`."""

    def __init__(self, fails: str = "") -> None:
        self.seen: list[object] = []
        self._fails = fails

    def open(self) -> None:
        if self._fails:
            raise TcpError(self._fails)
        self.seen.append("open")

    async def serve(self, server: object) -> None:
        self.seen.append(server)
        try:
            await asyncio.Event().wait()
        finally:
            self.seen.append("over")

    def close(self) -> None:
        self.seen.append("close")


@pytest.mark.parametrize("what", ["place", "server"])
def test_what_cannot_be_had_is_found_before_anything_begins(tmp_path: Path, what: str) -> None:
    """Nobody is let in for a moment, and the next start is no restart."""

    async def work() -> None:
        first = Place()
        beside = (first, Place("it is taken")) if what == "place" else (first,)
        fails = TcpError("it is taken") if what == "server" else None
        marker = RestartMarker(tmp_path, "rr-1")
        world = World(Script(desired()), fails, beside=beside, marker=marker)
        with pytest.raises(Refused) as refused:
            await asyncio.wait_for(world.process.run(), 20)
        assert refused.value.message == "error: it is taken"
        assert first.seen == ["open", "close"]
        assert world.servers[0].stops == []
        assert marker.age() is None

    asyncio.run(work())


class TestRestarts:
    """A start is a restart while peers may have our routes; then it says so, and waits for theirs."""

    @staticmethod
    def start(folder: Path, *, graceful: bool = False, kill: bool = False) -> bool:
        return TestRestarts.server(folder, graceful=graceful, kill=kill).restarting

    @staticmethod
    def server(folder: Path, *, graceful: bool = False, kill: bool = False) -> Server:
        async def work() -> Server:
            marker = RestartMarker(folder, "rr-1")
            world = World(Script(desired()), marker=marker, graceful=graceful)
            running = asyncio.ensure_future(world.process.run())
            server = await world.started()
            await world.until(lambda: marker.age() is not None)
            if kill:
                running.cancel()
                await asyncio.wait([running])
            else:
                world.process.stop()
                await running
            return server

        return asyncio.run(work())

    @pytest.mark.parametrize("end", ["kill", "graceful"])
    def test_those_that_were_up_are_waited_for(self, tmp_path: Path, end: str) -> None:
        first = self.server(tmp_path, **{end: True})
        assert first.were_up == ()
        assert self.server(tmp_path).were_up == Server(first.configuration, {}, first.log).peers
        assert self.server(tmp_path).were_up == (), "it was an end in order"

    def test_what_cannot_be_read_of_those_that_were_up_is_passed_over(self, tmp_path: Path) -> None:
        marker = RestartMarker(tmp_path, "rr-1")
        assert marker.were_up() == set()
        marker.path.write_bytes(b"10.0.0.7\nnobody\n10.0.0.\n")
        assert marker.were_up() == {bytes((10, 0, 0, 7))}
        marker.path.write_bytes(b"\xff")
        assert marker.were_up() == set()

    def test_after_an_end_in_order(self, tmp_path: Path) -> None:
        assert [self.start(tmp_path), self.start(tmp_path)] == [False, False]

    def test_after_a_silent_end(self, tmp_path: Path) -> None:
        assert [self.start(tmp_path, graceful=True), self.start(tmp_path), self.start(tmp_path)] == [False, True, False]

    def test_after_a_death(self, tmp_path: Path) -> None:
        assert [self.start(tmp_path, kill=True), self.start(tmp_path)] == [False, True]

    def test_longer_ago_than_peers_keep_routes(self, tmp_path: Path) -> None:
        self.start(tmp_path, kill=True)
        (marker,) = tmp_path.iterdir()
        restart_time = desired().configuration.ranges[0].session.graceful_restart_time
        for ago, restarts in ((restart_time - 10, True), (restart_time + 10, False)):
            os.utime(marker, (time.time() - ago, time.time() - ago))
            assert self.start(tmp_path, kill=True) is restarts

    def test_where_nothing_can_be_kept(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")

        async def work() -> None:
            world = World(Script(desired()), marker=RestartMarker(tmp_path / "file", "rr-1"))
            running = asyncio.ensure_future(world.process.run())
            assert not (await world.started()).restarting
            await world.until(lambda: world.events("no-restart-marker"))
            world.process.stop()
            await running
            place = str(tmp_path / "file" / "rr-1.running")
            assert world.events("no-restart-marker") == [{"level": "warning", "file": place, "error": "File exists"}]

        asyncio.run(work())


def test_the_files_of_the_options_are_read_again_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    owners, password = tmp_path / "owners.json", tmp_path / "password"
    owners.write_text("{}")
    password.write_text("one")
    asked = given(owners=owners, password_file=password)

    async def work() -> None:
        world: list[World] = []
        first, warnings = desired_of(asked)
        assert first is not None
        source = OptionsSource(asked, first, warnings, lambda event, **fields: world[0]._log(event, **fields))
        world.append(World(source))
        running = asyncio.ensure_future(world[0].process.run())
        server = await world[0].started()

        owners.write_text('{"10.0.0.1": ["10.0.0.1/8"], "node-1": 1}')
        password.unlink()
        source.look()
        await world[0].until(lambda: len(world[0].events("problem")) == 4)
        assert (server.configured, server.passwords) == ([], {PASSWORD: b"one"})
        assert [line["problem"].partition(": ")[0] for line in world[0].events("problem")] == [
            f'{owners} ["10.0.0.1"][0]',
            f'{owners} ["node-1"]',
            f'{owners} ["node-1"]',
            str(password),
        ]

        owners.write_text('{"10.0.0.1": ["10.0.0.0/8"]}')
        password.write_text("two")
        source.look()
        await world[0].until(lambda: server.configured)
        assert server.passwords == {PASSWORD: b"two"}
        assert server.configured[0].owners.by_prefix == {pack_prefix("10.0.0.0/8"): frozenset({"10.0.0.1"})}
        world[0].process.stop()
        await running

    asyncio.run(work())


def test_sessions_get_the_password_of_the_file_only_while_the_store_is_away(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("spare")
    reference = SecretKeyRef("bgp", "key")
    lines: list[str] = []
    source = StoreSource("sqlite:x", "rr-1", tmp_path, file, lambda event, **fields: lines.append(event))
    (one,) = desired().configuration.ranges
    signed = replace(desired().configuration, ranges=(replace(one, transport=Transport(password=reference)),))
    for told, expected in (
        (Desired(signed, {}, "saved"), {reference: b"spare"}),
        (Desired(signed, {}, "store"), {}),
        (Desired(signed, {reference: b"real"}, "store"), {reference: b"real"}),
    ):
        found = source._with_password(told)
        assert isinstance(found, Desired)
        assert found.passwords == expected
    file.unlink()
    found = source._with_password(Desired(signed, {}, "saved"))
    assert isinstance(found, Desired)
    assert (found.passwords, lines) == ({}, ["problem"])


# The whole process.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """`underlay reflector` as a process of its own; lines of its log as they come."""

    def __init__(self, admin_socket: Path, *arguments: str) -> None:
        argv = [sys.executable, "-m", "underlay", "reflector", *arguments, "--log", "json"]
        argv += ["--admin-socket", str(admin_socket)]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(json.loads(line))
                self._changed.notify_all()

    def until(self, event: str, count: int = 1) -> dict[str, Any]:
        """The last of so many events of that name."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events(event)) >= count, 30), self.lines
            return self.events(event)[count - 1]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def ended(self) -> int:
        return self.process.wait(20)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []
    folder = tmp_path_factory.mktemp("sockets")

    def start(*arguments: str) -> Running:
        started.append(Running(folder / "admin.sock", *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def announced_in(body: bytes) -> Iterator[str]:
    """The prefixes of IPv4 that an UPDATE announces."""
    attributes = 4 + int.from_bytes(body[:2])
    field = body[attributes + int.from_bytes(body[attributes - 2 : attributes]) :]
    while field:
        end = 1 + (field[0] + 7) // 8
        yield format_prefix(field[:end].ljust(5, b"\0"))
        field = field[end:]


class Client:
    """A client with one session; one from each address."""

    def __init__(self, port: int, number: int = 1) -> None:
        here = f"127.0.0.{number}"
        self.socket = socket.create_connection(("127.0.0.1", port), 20, source_address=(here, 0))
        self.messages: list[tuple[int, bytes]] = []
        self._framer = Framer(4096)
        self.socket.sendall(plain_open(router_id=socket.inet_aton(here)))
        self.until(OPEN)
        self.socket.sendall(KEEPALIVE_MESSAGE)
        self.until(KEEPALIVE)

    def announce(self, *prefixes: str) -> None:
        keys = [key_of(prefix)[1] for prefix in prefixes]
        hop = pack_address("10.0.1.1")
        self.socket.sendall(b"".join(encode_updates(IPV4_UNICAST, [], [(hop, block().raw, keys)])))

    def told(self, count: int) -> set[str]:
        """So many prefixes, from the next UPDATEs that announce any."""
        found: set[str] = set()
        while len(found) < count:
            found.update(announced_in(self.until(UPDATE)))
        return found

    def until(self, kind: int | None) -> bytes:
        """The body of the next message of that kind; of the end, nothing."""
        while True:
            while self.messages:
                found, body = self.messages.pop(0)
                if found == kind:
                    return body
                assert found != NOTIFICATION, body
            data = self.socket.recv(65536)
            if not data:
                assert kind is None
                return b""
            self.messages += self._framer.feed(data)


def standalone(port: int, *more: str) -> tuple[str, ...]:
    place = ("--listen", f"127.0.0.1:{port}", "--as", "64512", "--router-id", "10.0.0.1")
    return (*place, "--accept", "127.0.0.0/8", *more)


def test_a_client_keeps_its_session_whatever_is_wrong_with_the_files(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    port, owners = free_port(), tmp_path / "owners.json"
    owners.write_text("{}")
    reflector = run(*standalone(port, "--owners", str(owners)))
    reflector.until("listening")
    client = Client(port)
    reflector.until("session-up")
    owners.write_text("{")
    reflector.process.send_signal(signal.SIGHUP)
    assert reflector.until("problem")["problem"].startswith(f"{owners}: is not JSON: line 1")
    owners.write_text('{"127.0.0.1": ["10.244.0.0/26"]}')
    reflector.process.send_signal(signal.SIGHUP)
    reflector.until("configured")
    assert reflector.events("session-down") == []
    reflector.process.send_signal(signal.SIGTERM)
    said = client.until(NOTIFICATION)
    assert said[:2] == bytes((6, 2)), "Cease, Administrative Shutdown"
    assert GOODBYE.encode() in said
    assert reflector.ended() == 0


BLOCKS, SERVICES = "10.244.0.0/16", "10.96.0.0/12"


def pass_only(*cidrs: str) -> str:
    """A file of one filter for what is received."""
    rules = [{"action": "Accept", "matchOperator": "In", "cidr": cidr} for cidr in cidrs]
    spec = {"importV4": [*rules, {"action": "Reject"}]}
    document = {"apiVersion": "projectcalico.org/v3", "kind": "BGPFilter", "metadata": {"name": "pods"}, "spec": spec}
    return json.dumps(document)


def test_filters_and_a_limit_without_a_store(run: Callable[..., Running], tmp_path: Path) -> None:
    """At SIGHUP what was refused is judged again, without a word from the client, and a broken file changes nothing."""
    port, file = free_port(), tmp_path / "filters.yaml"
    file.write_text(pass_only(BLOCKS))
    reflector = run(*standalone(port, "--filters", str(file), "--max-prefixes", "3"))
    reflector.until("listening")
    one, two = Client(port), Client(port, 2)
    reflector.until("session-up", 2)
    one.announce("10.244.0.0/26", "10.96.0.10/32", "192.0.2.0/24")
    assert two.told(1) == {"10.244.0.0/26"}
    file.write_text("kind: BGPFilter\n")
    reflector.process.send_signal(signal.SIGHUP)
    reflector.until("problem")
    file.write_text(pass_only(BLOCKS, SERVICES))
    reflector.process.send_signal(signal.SIGHUP)
    reflector.until("configured")
    assert two.told(1) == {"10.96.0.10/32"}
    assert [line["problem"].partition(": ")[0] for line in reflector.events("problem")] == [f"{file} document 1"]
    assert reflector.events("session-down") == []
    one.announce("10.244.1.0/26")
    reflector.until("prefix-limit")
    reflector.until("session-down")


def test_metrics_are_served(run: Callable[..., Running]) -> None:
    port, place = free_port(), f"127.0.0.1:{free_port()}"
    reflector = run(*standalone(port, "--metrics", place))
    reflector.until("listening")
    client = Client(port)
    reflector.until("session-up")
    with urllib.request.urlopen(f"http://{place}/metrics", timeout=20) as page:
        assert b'\nunderlay_reflector_neighbor_up{neighbor="127.0.0.1"} 1\n' in page.read()
    reflector.process.send_signal(signal.SIGTERM)
    assert client.until(NOTIFICATION)[:2] == bytes((6, 2))
    assert reflector.ended() == 0


def test_a_graceful_end_says_nothing(run: Callable[..., Running], tmp_path: Path) -> None:
    port = free_port()
    reflector = run(*standalone(port, "--graceful", "--state-dir", str(tmp_path)))
    reflector.until("listening")
    client = Client(port)
    reflector.until("session-up")
    reflector.process.send_signal(signal.SIGTERM)
    assert client.until(None) == b""
    assert reflector.ended() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["reflector.running"]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "underlay", "reflector", *standalone(port)]
        argv += ["--admin-socket", str(tmp_path / "admin.sock")]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: listening on 127.0.0.1 port {port}: the address and port are in use: is there another BGP daemon?\n"
    )


def test_a_reflector_of_the_store_outlives_the_store(run: Callable[..., Running], tmp_path: Path) -> None:
    port, shell = free_port(), Shell(tmp_path)
    fields: dict[str, Any] = {"addresses": ["127.0.0.1"], "routerID": "10.0.0.1", "listenPort": port}
    fields["acceptPrefixes"] = ["127.0.0.0/8"]
    shell.put(NO_MESH, declare("RouteReflector", "rr-1", **fields))
    place = ("--name", "rr-1", "--store", f"sqlite:{shell.path}", "--state-dir", str(tmp_path / "state"))
    reflector = run(*place)
    reflector.until("listening")
    first = Client(port)
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    shutil.copy(__file__, shell.path)
    reflector.process.send_signal(signal.SIGHUP)
    reflector.until("reading-again")
    second = Client(port, 2)
    reflector.until("session-up", 2)
    assert reflector.events("session-down") == []
    reflector.process.kill()
    reflector.ended()
    assert first.until(None) == second.until(None) == b""

    again = run(*place)
    assert "not a database" in again.until("store-away")["error"]
    assert again.until("saved-plan-used")["file"] == str(tmp_path / "state" / "rr-1.json")
    again.until("listening")
    Client(port)
    again.until("session-up")
    again.process.send_signal(signal.SIGTERM)
    assert again.ended() == 0


def test_a_reflector_that_nobody_declared(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.put(NO_MESH, declare("RouteReflector", "rr-1", addresses=["127.0.0.1"]))
    argv = [sys.executable, "-m", "underlay", "reflector", "--name", "rr-9", "--store", f"sqlite:{shell.path}"]
    result = subprocess.run([*argv, "--state-dir", str(tmp_path / "state")], capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "error: RouteReflector/rr-9: is not declared, so there is nothing to do for this process (declared: rr-1)\n"
    )


def test_a_password_is_in_no_line_and_no_file_that_it_writes(run: Callable[..., Running], tmp_path: Path) -> None:
    port, password = free_port(), secrets.token_hex(16)
    file = tmp_path / "password"
    file.write_text(password)
    reflector = run(*standalone(port, "--password-file", str(file), "--state-dir", str(tmp_path / "state")))
    reflector.until("listening")
    reflector.process.send_signal(signal.SIGHUP)
    reflector.until("reading-again")
    command_line = Path(f"/proc/{reflector.process.pid}/cmdline").read_bytes()
    reflector.process.send_signal(signal.SIGTERM)
    assert reflector.ended() == 0
    assert password not in json.dumps(reflector.lines)
    assert password.encode() not in command_line
    assert all(password not in path.read_text() for path in (tmp_path / "state").iterdir())
