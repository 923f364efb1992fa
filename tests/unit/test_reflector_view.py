"""`underlay routes` and `underlay status --reflector`, against a reflector that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from peering.prefixes import pack_prefix
from reflector.configuration import Owners
from tests.unit.command_line import Result, run_underlay
from tests.unit.reflector.policy_samples import filters
from tests.unit.reflector.running_reflector import Running, named, reflector
from underlay import reflector_client
from underlay.reflector_tables import condition_line, detail_rows, in_order, refused_lines
from underlay.reflector_view import LIMIT

PREFIX = "10.1.0.0/24"
OWNED = Owners({pack_prefix(PREFIX): frozenset(("node/node-1",))}, frozenset((pack_prefix("10.2.0.0/15"),)))
REJECT = filters("importV4", {"action": "Reject", "cidr": "10.3.0.0/16", "matchOperator": "In"}, name="no-bogons")


class Background:
    """A reflector and its clients in a loop of another thread, as the commands are not in one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rr-1.sock"
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        peers = [named(1), named(2, import_filters=REJECT), named(3)]
        async with reflector(self._folder, *peers, ownership="enforce", owners=OWNED) as running:
            await self._fill(running)
            self._ready.set()
            await self._over.wait()

    async def _fill(self, running: Running) -> None:
        """node-3 stays away; a dynamic client announces the same as node-1, worse, and refused by nobody."""
        one, two, other = await running.client(1), await running.client(2), await running.client(9)
        one.announce(1, PREFIX, "10.2.0.0/24", "10.2.10.0/24", local_pref=200, communities=(0xFC000064,))
        two.announce(2, PREFIX, "10.2.0.0/24", "10.3.0.0/24", "10.2.2.0/24", med=7)
        other.announce(9, "10.2.0.0/24", as_path=(65001, 65002))
        await running.settled(1, 3)
        await running.settled(2, 4)
        await running.settled(9, 1)

    def __enter__(self) -> Background:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def background(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Background(tmp_path_factory.mktemp("reflector")) as running:
        yield running


def underlay(background: Background, *arguments: str) -> Result:
    result = run_underlay(*arguments, "--reflector", str(background.path))
    assert "Traceback" not in result.stderr
    return result


def lines(result: Result) -> list[list[str]]:
    """The cells of a table's rows, without its head; cells are two blanks or more apart."""
    _, _, below = result.stdout.partition("─")
    return [re.split(r"\s{2,}", line.strip()) for line in below.splitlines()[1:] if line.strip()]


def test_a_prefix_has_all_its_paths_the_winner_and_why(background: Background) -> None:
    result = underlay(background, "routes", "10.2.0.0/24")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].strip() == "10.2.0.0/24: best is node-1, by local preference"
    assert lines(result) == [
        [">", "node-1", "client", "10.0.1.1", "200", "igp", "64512:100", "best"],
        ["node-2", "client", "10.0.1.2", "(100)", "igp", "7", "lost by local preference"],
        ["127.0.1.9", "client", "10.0.1.9", "(100)", "65001 65002", "igp", "lost by local preference"],
    ]


def test_an_address_has_the_longest_match_with_refused_paths_and_the_owner(background: Background) -> None:
    result = underlay(background, "routes", "10.1.0.7")
    title = "10.1.0.0/24 (asked for: 10.1.0.7/32): best is node-1, the only path"
    assert result.stdout.splitlines()[0].strip() == (f"{title}; owned by node/node-1; announced by node-1, node-2")
    assert [row[0] for row in lines(result)] == [">", "x"]
    assert lines(result)[1][-1] == "refused: the block belongs to another"
    result = underlay(background, "routes", "10.3.0.0/24")
    assert result.stdout.splitlines()[0].strip() == "10.3.0.0/24: every path is refused"


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_prefix_as_a_document(background: Background, form: str, load: Any) -> None:
    document = load(underlay(background, "routes", PREFIX, "-o", form).stdout)
    assert {name: document[name] for name in ("prefix", "match", "reason", "owners", "duplicateAnnouncers")} == {
        "prefix": PREFIX,
        "match": PREFIX,
        "reason": "only path",
        "owners": ["node/node-1"],
        "duplicateAnnouncers": ["node-1", "node-2"],
    }
    assert [(path["from"], path["best"], path["accepted"]) for path in document["paths"]] == [
        ("node-1", True, True),
        ("node-2", False, False),
    ]


def test_what_is_not_known_is_an_error_also_of_a_document(background: Background) -> None:
    result = underlay(background, "routes", "192.0.2.0/24")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: nothing is known of 192.0.2.0/24, nor of a prefix around it\n"
    result = underlay(background, "routes", "192.0.2.0/24", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)["paths"]) == (1, [])


def test_the_table_is_in_the_order_of_addresses(background: Background) -> None:
    result = underlay(background, "routes")
    assert [(row[0], row[1], row[-1]) for row in lines(result)] == [
        ("10.1.0.0/24", "node-1", "1"),
        ("10.2.0.0/24", "node-1", "3"),
        ("10.2.2.0/24", "node-2", "1"),
        ("10.2.10.0/24", "node-1", "1"),
    ]
    result = underlay(background, "routes", "10.2.0.0/21", "--longer")
    assert [row[0] for row in lines(result)] == ["10.2.0.0/24", "10.2.2.0/24"]


def test_what_a_neighbour_said_is_told_and_has_refused(background: Background) -> None:
    result = underlay(background, "routes", "--received", "node-2")
    assert [(row[0], row[-1]) for row in lines(result)] == [
        ("10.1.0.0/24", "refused: the block belongs to another"),
        ("10.2.0.0/24", "yes"),
        ("10.2.2.0/24", "yes"),
        ("10.3.0.0/24", "refused: BGPFilter/no-bogons spec.importV4[0]"),
    ]
    result = underlay(background, "routes", "--refused", "127.0.1.2")
    assert [row[0] for row in lines(result)] == ["10.1.0.0/24", "10.3.0.0/24"]
    result = underlay(background, "routes", "--advertised", "node-2")
    assert [(row[0], row[1], row[-2:]) for row in lines(result)] == [
        (prefix, "node-1", ["127.0.1.1", "10.255.0.1"]) for prefix in ("10.1.0.0/24", "10.2.0.0/24", "10.2.10.0/24")
    ]
    result = underlay(background, "routes", "10.2.0.0/16", "--received", "node-2", "-o", "json")
    document = json.loads(result.stdout)
    assert ([row["prefix"] for row in document["routes"]], document["truncated"]) == (
        ["10.2.0.0/24", "10.2.2.0/24"],
        False,
    )


def test_a_table_that_is_cut_says_so(background: Background) -> None:
    result = underlay(background, "routes", "--limit", "2")
    assert (result.exit_code, len(lines(result))) == (0, 2)
    assert result.stderr == "warning: there are more than these 2 (--limit 0 shows all)\n"
    assert underlay(background, "routes", "--limit", "0").stderr == ""
    assert LIMIT == 10_000


def test_status_has_the_neighbours_and_what_is_wrong(background: Background) -> None:
    result = underlay(background, "status")
    assert result.exit_code == 1
    is_what = r"reflector/rr-1: AS 64512, router ID 10\.255\.0\.1, ownership enforce"
    head = result.stdout.splitlines()[0].strip()
    assert re.fullmatch(is_what + r", up 0m\d\ds, 3 of 4 neighbours Established", head)
    table = {row[0]: row for row in lines(result) if len(row) > 1}  # below it: what the kernel dropped, if anything
    assert list(table) == ["node-1", "node-2", "node-3", "127.0.1.9"]
    assert table["node-2"][:5] == ["node-2", "127.0.1.2", "64512", "client", "Established"]
    assert table["node-2"][6:] == ["4", "2", "2", "0", "0"]
    assert table["node-3"][:4] == ["node-3", "127.0.1.3", "64512", "Active"]
    assert result.stderr.splitlines() == [
        "warning: foreign-block: 10.1.0.0/24 is announced by node-2, and belongs to node/node-1",
        "warning: duplicate-announcer: 10.1.0.0/24 is announced by node-1 and node-2, and belongs to node/node-1",
    ]


def test_status_as_a_document(background: Background) -> None:
    document = json.loads(underlay(background, "status", "-o", "json").stdout)
    assert document["status"]["reflector"] == "rr-1"
    assert [row["name"] for row in document["neighbors"]] == ["node-1", "node-2", "node-3", "127.0.1.9"]
    assert {row["condition"] for row in document["conditions"]} == {"foreign-block", "duplicate-announcer"}


def test_one_neighbour_in_full(background: Background) -> None:
    result = underlay(background, "status", "--neighbor", "node-2")
    assert result.exit_code == 0
    fields = {row[0]: row[1] if len(row) > 1 else "" for row in lines(result)}
    assert fields["families.ipv4-unicast.advertised"] == "3"
    assert fields["session.holdTime"] == "90"
    assert fields["policy.importFilters"] == "no-bogons"
    assert fields["connections"] == "state=Established incoming=True sendBlocked=False"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields["since"])
    assert underlay(background, "status", "--neighbor", "node-3").exit_code == 1
    document = json.loads(underlay(background, "status", "--neighbor", "node-2", "-o", "json").stdout)
    assert document["families"]["ipv4-unicast"]["refused"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("routes", "--received", "a", "--refused", "b"), 2, "only one of them"),
        (("routes", "--longer"), 2, "longer than what? Give PREFIX"),
        (("routes", "--limit", "-1"), 2, "--limit"),
        (("status", "--node", "node-1"), 2, "not together with --reflector"),
        (("routes", "10.0.0.1/8"), 1, 'error: "10.0.0.1/8" has host bits set (the prefix is 10.0.0.0/8)\n'),
        (("routes", "--refused", "node-8"), 1, 'error: there is no neighbour "node-8" (name or address; '),
        (("routes", "--family", "ipv5"), 1, 'error: there is no family "ipv5" (there are ipv4-unicast, '),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    background: Background, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = underlay(background, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_a_neighbor_without_a_reflector_is_wrong_usage() -> None:
    result = run_underlay("status", "--neighbor", "node-1")
    assert (result.exit_code, "goes with --reflector" in result.stderr) == (2, True)


# The socket.


def test_without_a_reflector_the_only_one_here_is_asked(
    background: Background, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reflector_client, "FOLDER", background.path.parent)
    assert run_underlay("routes").exit_code == 0
    monkeypatch.setattr(reflector_client, "FOLDER", tmp_path)
    assert run_underlay("routes").stderr == (
        f"error: no reflector has a socket in {tmp_path} (give its name, or the path of its socket, as --reflector)\n"
    )
    for name in ("b", "a"):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(tmp_path / f"{name}.sock"))
    assert run_underlay("routes").stderr.startswith("error: there are several reflectors here: a, b (")


def test_the_socket_of_one_that_was_killed_is_in_nobodys_way(
    background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = background.path.parent
    monkeypatch.setattr(reflector_client, "FOLDER", folder)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(folder / "killed.sock"))
    try:
        assert run_underlay("routes").exit_code == 0
    finally:
        (folder / "killed.sock").unlink()


def test_a_name_is_a_socket_in_the_folder_of_sockets() -> None:
    assert str(reflector_client.socket_of("rr-1")) == "/run/underlay/reflector/rr-1.sock"
    assert str(reflector_client.socket_of("./rr-1")) == "rr-1"


def talking(path: Path, answer: bytes) -> threading.Thread:
    """Somebody who is no reflector, for one connection."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        with listening, listening.accept()[0] as client:
            client.recv(1000)
            client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"hello\n", "that is no reflector: its answer is not JSON"),
        (b"", "the reflector hung up before its answer was whole"),
        (b'{"rows": [], "more": true}\n', "the reflector hung up before its answer was whole"),
    ],
)
def test_an_answer_that_is_none_is_said_to_be_none(tmp_path: Path, answer: bytes, said: str) -> None:
    path = tmp_path / "x.sock"
    thread = talking(path, answer)
    result = run_underlay("routes", "--reflector", str(path))
    thread.join()
    assert (result.exit_code, result.stderr) == (1, f"error: {path}: {said}\n")


def test_where_nobody_listens_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    for _ in range(2):
        result = run_underlay("status", "--reflector", str(path))
        assert result.stderr.startswith(f"error: {path}: no reflector listens there (give its name,")
        with socket.socket(socket.AF_UNIX) as gone:
            path.unlink(missing_ok=True)
            gone.bind(str(path))


# Words.


def test_what_did_not_come_in_is_told_where_there_is_any() -> None:
    status = {
        "connectionsRefused": {"too-many": 2, "no-such-neighbour": 20, "stopped": 0},
        "sessionsFailed": {},
        "kernelDrops": {"TCPMD5Failure": 3, "ListenOverflows": 0},
    }
    assert list(refused_lines(status)) == [
        "refused connections: no-such-neighbour 20, too-many 2",
        "dropped by the kernel, for all of this network namespace: TCPMD5Failure 3",
    ]


def test_rows_are_sorted_by_family_address_and_path() -> None:
    def row(family: str, prefix: str, path_id: int | None = None) -> dict[str, Any]:
        return {"family": family, "prefix": prefix, "pathID": path_id}

    wanted = [
        row("ipv4-unicast", "9.0.0.0/8"),
        row("ipv4-unicast", "10.0.0.0/8"),
        row("ipv4-unicast", "10.0.0.0/9", 1),
        row("ipv4-unicast", "10.0.0.0/9", 2),
        row("ipv6-unicast", "fd00::/8"),
        row("l2vpn-evpn", "03ff"),
    ]
    assert in_order(reversed(wanted)) == wanted


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"condition": "prefix-limit-near", "neighbor": "a", "prefixes": 80, "family": "f", "limit": 100},
            "prefix-limit-near: a announces 80 prefixes of f, of at most 100",
        ),
        (
            {"condition": "stale-routes", "neighbor": "a", "prefixes": 3, "family": "f", "longLived": False},
            "stale-routes: a is away, and 3 of its prefixes of f are kept",
        ),
        ({"condition": "prefix-limit", "neighbor": "a", "reason": "x"}, "prefix-limit: a is kept out: x"),
        ({"condition": "stopped", "neighbor": "a", "reason": "x"}, "stopped: a is stopped: x"),
        (
            {"condition": "foreign-block", "prefix": "10.0.0.0/8", "clients": ["a", "b"], "owners": []},
            "foreign-block: 10.0.0.0/8 is announced by a and b, and belongs to nobody",
        ),
        ({"condition": "new-one", "detail": 1}, "new-one: detail=1"),
    ],
)
def test_conditions_in_words(row: dict[str, Any], said: str) -> None:
    assert condition_line(row) == said


def test_fields_of_a_neighbour_are_written_one_by_one() -> None:
    view = {"a": {"b": [1, 2], "c": {}}, "startsAgain": 0, "up": True, "none": None}
    assert list(detail_rows(view)) == [
        ("a.b", "1, 2"),
        ("a.c", ""),
        ("startsAgain", "1970-01-01T00:00:00Z"),
        ("up", "true"),
        ("none", None),
    ]
