"""The admin socket of a running reflector with clients: what it answers, and that it keeps nobody waiting."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from peering.prefixes import pack_prefix
from reflector.configuration import Owners
from reflector.server import admin_socket
from reflector.server.admin_socket import CLIENTS, default_socket, listen
from reflector.server.refusal_log import RefusalLog
from reflector.server.refusal_teller import RefusalTeller
from reflector.server.requests import REQUESTS
from reflector.server.tcp_options import TcpError
from reflector.wire import framing
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import encode_message
from reflector.wire.notification import Notification, decode_notification
from reflector.wire.packing import encode_updates
from reflector.wire.route_refresh import decode_route_refresh
from tests.unit.reflector.policy_samples import block, filters
from tests.unit.reflector.running_reflector import LONG, Running, named, next_hop, reflector, until

PREFIX = "10.1.0.0/24"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(work: Callable[[Running], Coroutine[Any, Any, None]], folder: Path, *peers: Any, **fields: Any) -> None:
    """Some work with a running reflector."""

    async def main() -> None:
        async with reflector(folder, *peers, **fields) as running:
            await work(running)

    asyncio.run(main())


# What it is asked.


def test_status_says_what_the_reflector_is_and_how_it_is(folder: Path) -> None:
    async def work(running: Running) -> None:
        client = await running.client(1)
        client.announce(1, PREFIX, "10.2.0.0/16")
        await running.settled(1, 2)
        status = await running.ask(request="status")
        port = running.server.configuration.port
        assert (status["reflector"], status["asn"], status["routerID"], status["clusterID"]) == (
            "rr-1",
            64512,
            "10.255.0.1",
            "10.255.0.1",
        )
        assert (status["listening"], status["accepts"]) == ([f"127.0.0.1:{port}"], ["127.0.0.0/8"])
        assert (status["declared"], status["neighbors"]) == (1, {"Established": 1, "Active": 1})
        assert status["tables"] == {"ipv4-unicast": {"prefixes": 2, "accepted": 2, "refused": 0, "stale": 0}}
        assert status["conditions"] == {}

    run(work, folder, named(9))


def test_a_neighbour_is_shown_with_its_session_and_its_counts(folder: Path) -> None:
    reject = filters("importV4", {"action": "Reject", "cidr": "10.2.0.0/16", "matchOperator": "In"})

    async def work(running: Running) -> None:
        client = await running.client(1, restart=90)
        client.announce(1, PREFIX, "10.2.0.0/16")
        await running.settled(1, 2)
        other = await running.client(2)
        other.announce(2, "10.3.0.0/16")
        await running.settled(2, 1)
        for asked in ("node-1", "127.0.1.1"):
            view = await running.ask(request="neighbor", neighbor=asked)
            assert (view["name"], view["address"], view["state"], view["asn"], view["kind"], view["dynamic"]) == (
                "node-1",
                "127.0.1.1",
                "Established",
                64512,
                "client",
                False,
            )
        assert view["families"] == {
            "ipv4-unicast": {"received": 2, "accepted": 1, "refused": 1, "stale": 0, "advertised": 1}
        }
        assert abs(view["since"] - (await running.ask(request="status"))["since"]) <= 2
        session = view["session"]
        assert (session["routerID"], session["holdTime"], session["families"]) == ("127.0.1.1", 90, ["ipv4-unicast"])
        assert (session["routeRefresh"], session["enhancedRouteRefresh"], session["fourOctetAS"]) == (True, False, True)
        assert session["gracefulRestart"]["restartTime"] == 90
        assert session["endOfRibAwaited"] == ["ipv4-unicast"]
        assert session["updatesReceived"] == 2
        assert (view["policy"]["importFilters"], view["policy"]["maxPrefixes"]) == (["f"], 100)
        assert view["owner"] == "node/node-1"
        assert view["connections"] == [{"state": "Established", "incoming": True, "sendBlocked": False}]

    run(work, folder, named(1, import_filters=reject, max_prefixes=100))


def test_a_session_that_ended_leaves_its_reason(folder: Path) -> None:
    async def work(running: Running) -> None:
        client = await running.client(1)
        notice = Notification(ErrorCode.CEASE, Cease.ADMINISTRATIVE_SHUTDOWN, b"\x04bye!")
        client.say(encode_message(framing.NOTIFICATION, notice.encode()))
        await until(lambda: running.events("session-down"))
        (row,) = (await running.ask(request="neighbors"))["rows"]
        assert (row["state"], row["flaps"]) == ("Active", 1)
        assert row["lastError"] == "received cease, administrative shutdown: bye!"
        assert row["families"] == {}
        status = await running.ask(request="status")
        assert status["sessionsEnded"] == {"received cease, administrative shutdown": 1}

    run(work, folder, named(1))


def test_all_neighbours_are_listed_those_that_are_away_too(folder: Path) -> None:
    async def work(running: Running) -> None:
        await running.client(1)
        await running.client(7)
        rows = (await running.ask(request="neighbors"))["rows"]
        assert {(row["name"], row["state"], row["dynamic"]) for row in rows} == {
            ("node-1", "Established", False),
            ("node-2", "Active", False),
            ("127.0.1.7", "Established", True),
        }

    run(work, folder, named(1), named(2))


def test_paths_routes_and_refusals_over_the_socket(folder: Path) -> None:
    belongs = Owners({pack_prefix(PREFIX): frozenset(("node/node-1",))})

    async def work(running: Running) -> None:
        one, two = await running.client(1), await running.client(2)
        one.announce(1, PREFIX, local_pref=200)
        two.announce(2, PREFIX, "10.2.0.0/24")
        await running.settled(1, 1)
        await running.settled(2, 2)
        paths = await running.ask(request="paths", prefix="10.1.0.5")
        assert (paths["match"], paths["reason"], paths["owners"]) == (PREFIX, "only path", ["node/node-1"])
        assert [(row["from"], row["best"]) for row in paths["rows"]] == [("node-1", True), ("node-2", False)]
        assert paths["rows"][1]["refusal"]["code"] == "foreign-block"
        refused = await running.ask(request="refused", neighbor="node-2")
        assert {row["prefix"] for row in refused["rows"]} == {PREFIX, "10.2.0.0/24"}
        routes = await running.ask(request="routes")
        assert [(row["prefix"], row["from"]) for row in routes["rows"]] == [(PREFIX, "node-1")]
        told = await running.ask(request="routes-out", neighbor="node-2")
        assert [(row["prefix"], row["originatorID"], row["clusterList"]) for row in told["rows"]] == [
            (PREFIX, "127.0.1.1", ["10.255.0.1"])
        ]
        said = await running.ask(request="routes-in", neighbor="node-2", prefix="10.2.0.0/16")
        assert [(row["prefix"], row["accepted"]) for row in said["rows"]] == [("10.2.0.0/24", False)]
        conditions = await running.ask(request="conditions")
        assert {row["condition"] for row in conditions["rows"]} == {"foreign-block", "duplicate-announcer"}

    run(work, folder, named(1), named(2), ownership="enforce", owners=belongs)


def test_a_neighbour_without_a_session_has_no_routes(folder: Path) -> None:
    async def work(running: Running) -> None:
        for name in ("routes-in", "routes-out", "refused"):
            assert await running.ask(request=name, neighbor="node-1") == {"rows": [], "truncated": False}

    run(work, folder, named(1))


def test_reset_ends_the_session_with_the_notification_that_says_so(folder: Path) -> None:
    async def work(running: Running) -> None:
        client = await running.client(1)
        answer = await running.ask(request="reset", neighbor="node-1")
        assert answer["neighbor"] == "node-1"
        await until(lambda: client.closed)
        kind, body = client.messages[-1]
        said = decode_notification(body)
        assert (kind, said.code, said.subcode) == (framing.NOTIFICATION, ErrorCode.CEASE, Cease.ADMINISTRATIVE_RESET)

    run(work, folder, named(1))


def test_reset_starts_a_neighbour_that_exceeded_its_limit(folder: Path) -> None:
    async def work(running: Running) -> None:
        client = await running.client(1)
        client.announce(1, PREFIX, "10.2.0.0/16", "10.3.0.0/16")
        await until(lambda: client.closed)
        conditions = (await running.ask(request="conditions"))["rows"]
        assert [(row["condition"], row["neighbor"], row["startsAgain"]) for row in conditions] == [
            ("prefix-limit", "node-1", False)
        ]
        assert (await running.ask(request="status"))["conditions"] == {"prefix-limit": 1}
        await running.ask(request="reset", neighbor="node-1")
        assert (await running.ask(request="conditions"))["rows"] == []
        await running.client(1)

    run(work, folder, named(1, max_prefixes=2, restart_after=None))


def test_refresh_asks_the_client_at_once(folder: Path) -> None:
    async def work(running: Running) -> None:
        client = await running.client(1)
        assert await running.ask(request="refresh", neighbor="node-1") == {
            "neighbor": "node-1",
            "families": ["ipv4-unicast"],
        }
        await until(lambda: framing.ROUTE_REFRESH in client.kinds())
        assert decode_route_refresh(client.messages[-1][1]).family == IPV4_UNICAST
        answer = await running.ask(request="refresh", neighbor="node-2")
        assert answer["error"] == "node-2 cannot be asked: Active, or without route refresh"

    run(work, folder, named(1), named(2))


# What is wrong.


BAD: list[tuple[Any, str]] = [
    ("status", "that is not JSON"),
    ("[" * 3000, "that is not JSON"),
    ([1], "a request is a JSON object"),
    ({}, "there is no request null"),
    ({"request": ["status"]}, 'there is no request ["status"]'),
    ({"request": "stat"}, 'there is no request "stat"'),
    ({"request": "neighbor"}, "neighbor needs neighbor"),
    ({"request": "neighbor", "neighbor": 7}, "neighbor has to be text"),
    ({"request": "neighbor", "neighbor": "node-8"}, 'there is no neighbour "node-8"'),
    ({"request": "status", "neighbor": "node-1"}, 'status has no field "neighbor"'),
    ({"request": "paths"}, "paths needs prefix"),
    ({"request": "paths", "prefix": "10.0.0.1/24"}, '"10.0.0.1/24" has host bits set'),
    ({"request": "paths", "prefix": "ten"}, '"ten" is no prefix'),
    ({"request": "paths", "prefix": "fd00::/8", "family": "ipv4-unicast"}, "fd00::/8 is no prefix of ipv4-unicast"),
    ({"request": "routes", "family": "ipv5"}, 'there is no family "ipv5"'),
    ({"request": "routes", "limit": -1}, "limit has to be a number of rows"),
    ({"request": "routes", "limit": True}, "limit has to be a number of rows"),
]


def test_what_is_wrong_with_a_request_is_said_and_the_next_one_is_answered(folder: Path) -> None:
    async def work(running: Running) -> None:
        reader, writer = await asyncio.open_unix_connection(str(running.path))
        for request, said in BAD:
            line = request if isinstance(request, str) else json.dumps(request)
            writer.write(line.encode() + b"\n")
            assert json.loads(await asyncio.wait_for(reader.readline(), LONG))["error"] == said
        writer.write(b'\n{"request": "status"}\n')
        assert json.loads(await asyncio.wait_for(reader.readline(), LONG))["reflector"] == "rr-1"
        writer.close()

    run(work, folder, named(1))


def test_a_request_without_an_end_is_hung_up_on(folder: Path) -> None:
    async def work(running: Running) -> None:
        reader, writer = await asyncio.open_unix_connection(str(running.path))
        writer.write(b"x" * 10_000)
        assert "at most 4096 bytes" in (await asyncio.wait_for(reader.readline(), LONG)).decode()
        assert await asyncio.wait_for(reader.read(), LONG) == b""
        writer.close()
        assert "reflector" in await running.ask(request="status")

    run(work, folder)


def test_there_is_room_for_so_many_clients_and_again_when_one_leaves(folder: Path) -> None:
    async def work(running: Running) -> None:
        open_ones = [await asyncio.open_unix_connection(str(running.path)) for _ in range(CLIENTS)]
        answer = await running.ask(request="status")
        assert answer == {"error": f"there are {CLIENTS} clients already"}
        open_ones[0][1].close()
        await asyncio.sleep(0)
        deadline = asyncio.get_running_loop().time() + LONG
        while "error" in await running.ask(request="status"):
            assert asyncio.get_running_loop().time() < deadline
        for _, writer in open_ones[1:]:
            writer.close()

    run(work, folder)


def test_a_client_that_takes_nothing_is_hung_up_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_socket, "PATIENCE", 0.3)

    async def work(running: Running) -> None:
        await _fill(running, 20_000)
        with socket.socket(socket.AF_UNIX) as hanging:
            hanging.connect(str(running.path))
            hanging.sendall(b'{"request": "routes", "limit": 0}\n' * 10)
            answers = [await running.ask(request="status") for _ in range(3)]
            assert all("error" not in answer for answer in answers)
            await until(lambda: has_hung_up(hanging))

    run(work, folder)


def has_hung_up(on: socket.socket) -> bool:
    try:
        on.send(b"\n", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


# Large tables.


async def _fill(running: Running, count: int, number: int = 1) -> None:
    client = await running.client(number)
    keys = [bytes((24,)) + (0x0B0000 + n).to_bytes(3) for n in range(count)]
    client.say(*encode_updates(IPV4_UNICAST, [], [(next_hop(number), block().raw, keys)]))
    await running.settled(number, count)


def test_a_long_answer_comes_in_many_lines_and_whole(folder: Path) -> None:
    async def work(running: Running) -> None:
        await _fill(running, 30_000)
        reader, writer = await asyncio.open_unix_connection(str(running.path), limit=1 << 24)
        writer.write(b'{"request": "routes", "limit": 0}\n')
        rows, lines = [], 0
        while True:
            answer = json.loads(await asyncio.wait_for(reader.readline(), LONG))
            rows += answer["rows"]
            lines += 1
            if not answer.get("more"):
                break
        writer.close()
        assert len({row["prefix"] for row in rows}) == len(rows) == 30_000
        assert lines > 10
        assert answer["truncated"] is False

    run(work, folder)


def test_an_answer_is_cut_at_its_limit_and_says_so(folder: Path) -> None:
    async def work(running: Running) -> None:
        await _fill(running, 12_000)
        for fields, count, cut in (({}, 10_000, True), ({"limit": 5}, 5, True), ({"limit": 12_000}, 12_000, False)):
            answer = await running.ask(request="routes-in", neighbor="127.0.1.1", **fields)
            assert (len(answer["rows"]), answer["truncated"]) == (count, cut)

    run(work, folder)


def test_sessions_are_served_while_long_answers_are_made(folder: Path) -> None:
    """Between two slices of work the loop has its turn, however many ask."""

    async def work(running: Running) -> None:
        await _fill(running, 30_000)
        asking = [asyncio.ensure_future(running.ask(request="routes", prefix="12.0.0.0/8")) for _ in range(4)]
        rounds = 0
        while not all(one.done() for one in asking):
            rounds += 1
            await asyncio.sleep(0)
        assert rounds > 4
        for one in asking:
            assert one.result()["rows"] == []

    run(work, folder)


# The file.


def test_only_the_owner_may_connect_whatever_the_umask_is(folder: Path) -> None:
    before = os.umask(0)
    try:
        listen(folder / "new" / "a.sock").close()
    finally:
        os.umask(before)
    mode = (folder / "new" / "a.sock").stat().st_mode
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)


def test_a_socket_that_nobody_listens_on_is_replaced_and_no_other(folder: Path) -> None:
    path = folder / "a.sock"
    listen(path).close()
    first = path.lstat().st_ino
    second = listen(path)
    with pytest.raises(TcpError, match=r"a\.sock: another process listens on it"):
        listen(path)
    second.close()
    assert path.exists()
    assert first
    path.unlink()
    path.write_text("mine")
    with pytest.raises(TcpError, match="there is a file that is no socket"):
        listen(path)
    assert path.read_text() == "mine"


def test_where_there_can_be_no_socket_the_reason_is_said(folder: Path) -> None:
    (folder / "file").write_text("")
    for path in (folder / "file" / "a.sock", folder / ("x" * 200)):
        with pytest.raises(TcpError, match="admin socket /"):
            listen(path)


def test_the_end_removes_the_socket_but_not_one_that_came_in_its_place(folder: Path) -> None:
    async def nothing(running: Running) -> None:
        assert running.path.exists()

    async def replaced(running: Running) -> None:
        running.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(running.path))

    run(nothing, folder)
    assert not (folder / "rr-1.sock").exists()
    run(replaced, folder)
    assert (folder / "rr-1.sock").exists()


def test_the_place_of_the_socket_follows_from_the_name() -> None:
    assert str(default_socket("rr-1")) == "/run/underlay/reflector/rr-1.sock"


# What strangers do, in the log.


def test_who_is_refused_again_and_again_is_logged_once_and_counted(folder: Path) -> None:
    async def work(running: Running) -> None:
        for _ in range(20):
            client = await running.connect(1)
            await until(lambda: client.closed)  # noqa: B023  done before the next
        status = await running.ask(request="status")
        assert status["connectionsRefused"] == {"no-such-neighbour": 20}
        (line,) = running.events("connection-refused")
        assert (line["code"], line["peer"]) == ("no-such-neighbour", "127.0.1.1")

    run(work, folder, accept="10.0.0.0/8")


def test_sessions_that_fail_again_and_again_are_logged_once_and_counted(folder: Path) -> None:
    async def work(running: Running) -> None:
        for _ in range(5):
            client = await running.connect(1)
            client.open(1, asn=65000)
            await until(lambda: client.closed)  # noqa: B023
        status = await running.ask(request="status")
        assert status["sessionsFailed"] == {"sent open message, bad peer as": 5}
        (line,) = running.events("session-failed")
        assert (line["peer"], line["reason"]) == ("127.0.1.1", "sent open message, bad peer as: AS 65000, wanted 64512")

    run(work, folder)


def test_a_neighbour_of_the_plan_is_told_of_once_until_something_changes(folder: Path) -> None:
    async def work(running: Running) -> None:
        for asn in (65000, 65000, 65001, 65001, 65000):
            client = await running.connect(1)
            client.open(1, asn=asn)
            await until(lambda: client.closed)  # noqa: B023
        said = [fields["reason"].split(": ")[1] for fields in running.events("session-down")]
        assert said == [f"AS {asn}, wanted 64512" for asn in (65000, 65001, 65000)]
        (row,) = (await running.ask(request="neighbors"))["rows"]
        assert row["lastError"].endswith("AS 65000, wanted 64512")

    run(work, folder, named(1))


def test_what_was_only_counted_is_told_when_the_time_is_over() -> None:
    log: list[tuple[str, dict[str, Any]]] = []

    async def main() -> None:
        teller = RefusalTeller(lambda event, **fields: log.append((event, fields)), RefusalLog(interval=0.05))
        for number in range(300):
            teller.note(bytes((192, 0, 2, number % 256)), "too-often", f"text {number}")
        assert len(log) == 1
        await until(lambda: len(log) == 2)
        for network in range(3):
            teller.note(bytes((198, 51, network, 1)), "session-failed", "a")
            teller.note(bytes((198, 51, network, 2)), "session-failed", "b")
        teller.close()

    asyncio.run(main())
    assert log[0] == ("connection-refused", {"code": "too-often", "reason": "text 0", "peer": "192.0.2.0"})
    about = {"code": "too-often", "reason": "text 299", "network": "192.0.2.0/24", "times": 299}
    assert log[1] == ("connection-refused", about)
    assert [(event, fields.get("network"), fields.get("times")) for event, fields in log[2:]] == [
        *[("session-failed", None, None)] * 3,
        *[("session-failed", f"198.51.{network}.0/24", 1) for network in range(3)],
    ]


def test_every_request_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in REQUESTS if f'"{name}"' not in text] == []
