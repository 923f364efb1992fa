"""`underlay ipam show`, `check` and `release`, on stores that are as they should be, and as they must never be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peering.resources.observed import RENEWAL_S
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import Result
from tests.unit.shell import Shell
from tests.unit.test_reflector_view import Background
from underlay import ipam_release

GOLDEN = Path(__file__).parent / "golden" / "ipam"
Document = tuple[str, str, dict[str, Any]]
EMPTY = "2026-01-01T00:00:00Z"

POOL: Document = ("IPPool", "pods", {"cidr": "10.244.0.0/16"})
NODES: list[Document] = [("Node", name, {}) for name in ("node-1", "node-2")]


def block(cidr: str, owner: str, *allocations: dict[str, Any]) -> Document:
    name = cidr.replace(".", "-").replace("/", "-")
    empty = {} if allocations else {"emptySince": EMPTY}
    return "IPAMBlock", name, {"cidr": cidr, "affinity": owner, "allocations": list(allocations), **empty}


def held(ordinal: int, handle: str, sequence: int, node: str, pod: str = "", **more: Any) -> dict[str, Any]:
    of_pod = {"namespace": "default", "pod": pod, **more} if pod else more
    return {"ordinal": ordinal, "handle": handle, "sequence": sequence, "node": node, "since": EMPTY, **of_pod}


def claim(node: str, cidr: str, state: str = "confirmed") -> Document:
    name = f"{node}-{cidr.replace('.', '-').replace('/', '-')}"
    return "BlockAffinity", name, {"node": node, "cidr": cidr, "state": state}


def borrower(node: str, cidr: str, *addresses: tuple[str, int]) -> Document:
    name = f"{node}-{cidr.replace('.', '-').replace('/', '-')}-borrower"
    listed = [{"address": address, "sequence": sequence} for address, sequence in addresses]
    return "BlockAffinity", name, {"node": node, "cidr": cidr, "type": "borrower", "addresses": listed}


def handle(name: str, *blocks: str) -> Document:
    return "IPAMHandle", name, {"handle": name, "blocks": list(blocks)}


def report(node: str, *blocks: str, age: float = 0) -> Document:
    """`reported` is made a time when it is written: the tests may begin long after this module was read."""
    return "BGPNodeStatus", node, {"node": node, "reported": -age, "blocks": list(blocks)}


#: node-2 uses an address in a block of node-1.
HEALTHY: list[Document] = [
    POOL, *NODES,
    block(
        "10.244.0.0/26", "host:node-1",
        held(9, "node-2.pod-1", 12, "node-2", "web-2", borrowed=True),
        held(5, "node-1.pod-1", 7, "node-1", "web-1"),
    ),
    block("10.244.0.64/26", "host:node-2"),
    claim("node-1", "10.244.0.0/26"),
    claim("node-2", "10.244.0.64/26"),
    borrower("node-2", "10.244.0.0/26", ("10.244.0.9", 12)),
    handle("node-1.pod-1", "10.244.0.0/26"),
    handle("node-2.pod-1", "10.244.0.0/26"),
    report("node-1", "10.244.0.0/26"),
    report("node-2", "10.244.0.64/26", "10.244.0.9/32"),
]  # fmt: skip

#: Everything that can be wrong, once.
SICK: list[Document] = [
    *HEALTHY[:-2],
    report("node-2", "10.244.0.64/26", "10.244.0.9/32", "10.244.0.0/26", "10.244.7.0/26", "10.244.0.5/32"),
    block("10.244.1.0/26", "host:node-1", held(3, "twin-1", 20, "node-1"), held(3, "twin-2", 21, "node-1")),
    claim("node-1", "10.244.1.0/26"),
    handle("twin-1", "10.244.1.0/26"),
    handle("twin-2", "10.244.1.0/26"),
    block("10.244.1.32/27", "host:node-2"),
    block("10.244.1.48/28", "host:node-2"),
    claim("node-2", "10.244.1.32/27"),
    claim("node-2", "10.244.1.48/28"),
    claim("node-2", "10.244.1.0/26"),
    claim("node-2", "10.244.2.0/26"),
    claim("node-1", "10.244.2.64/26", "pendingDeletion"),
    block("10.244.3.0/26", "host:node-9", held(1, "node-9.pod-1", 30, "node-9"), held(2, "", 31, "node-9")),
    claim("node-9", "10.244.3.0/26"),
    handle("node-9.pod-1", "10.244.3.0/26", "10.244.0.64/26"),
    block("10.244.4.0/26", ""),
    block("10.244.4.64/26", "", held(1, "node-1.pod-2", 40, "node-1")),
    block("10.244.4.128/26", "host:node-1"),
    block("10.99.0.0/26", "host:node-1", held(1, "old", 41, "node-1")),
    block("10.99.0.64/26", "host:node-1"),
    claim("node-1", "10.99.0.0/26"),
    claim("node-1", "10.99.0.64/26"),
    handle("old", "10.99.0.0/26"),
    block("10.244.5.0/26", "host:node-1", *(held(i, "", 50 + i, "node-2", borrowed=True) for i in (1, 2, 3))),
    claim("node-1", "10.244.5.0/26"),
    borrower("node-2", "10.244.5.0/26", ("10.244.5.1", 51), ("10.244.5.2", 51)),
    report("node-1", "10.244.0.0/26", "10.244.5.1/32"),
]


class World(Shell):
    """A store with these documents, written as they are."""

    def declare(self, *documents: Document) -> World:
        async def work() -> None:
            store = SqliteStore(self.path)
            for kind, name, spec in documents:
                head = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}}
                if "reported" in spec:
                    spec = {**spec, "reported": time.time() + spec["reported"]}
                await store.create(kind, name, {**head, "spec": spec})
            await store.close()

        self.run(work())
        return self

    def check(self, *arguments: str) -> Result:
        return self("ipam", "check", "--again", "0", *arguments)

    def told(self) -> list[str]:
        """The addresses that are in use."""
        return [address for row in self.data("ipam", "show") for address in row["addresses"]]


@pytest.fixture(autouse=True)
def no_reflectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever runs on this machine."""
    monkeypatch.setattr("underlay.reflector_announcements.FOLDER", tmp_path / "nowhere")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def everything(result: Result) -> str:
    out = "\n".join(line.rstrip() for line in result.stdout.splitlines())
    return f"exit {result.exit_code}\n--- stdout\n{out}\n--- stderr\n{result.stderr}"


VIEWS = {
    "show": ("show",),
    "show-node": ("show", "--node", "node-2"),
    "show-blocks": ("show", "--blocks"),
    "show-ip": ("show", "--ip", "10.244.0.9"),
    "show-json": ("show", "--node", "node-2", "-o", "json"),
}


@pytest.mark.parametrize("case", VIEWS)
def test_show(world: World, case: str, equals_golden: Callable[[Path, str], None]) -> None:
    shown = world.declare(*HEALTHY)("ipam", *VIEWS[case])
    equals_golden(GOLDEN / f"{case}.txt", everything(shown))


def test_show_has_a_row_for_what_nobody_owns_and_for_who_claims_what_is_not_his(
    world: World, equals_golden: Callable[[Path, str], None]
) -> None:
    shown = world.declare(*SICK)("ipam", "show", "--blocks")
    equals_golden(GOLDEN / "show-sick.txt", everything(shown))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nod-1", "error: there is no Node nod-1 (did you mean node-1?)\n"),
        ("x", "error: there is no Node x (underlay get nodes lists them)\n"),
    ],
)
def test_show_of_a_node_that_is_not_there(world: World, name: str, said: str) -> None:
    shown = world.declare(*HEALTHY)("ipam", "show", "--node", name)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (1, "", said)


def test_show_of_a_node_without_blocks(world: World) -> None:
    shown = world.declare(*NODES)("ipam", "show", "--node", "node-1", "-o", "json")
    assert (shown.exit_code, shown.stdout.strip(), shown.stderr) == (0, "[]", "")


def test_check_finds_nothing_where_nothing_is_wrong(world: World) -> None:
    found = world.declare(*HEALTHY).check()
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout == (
        "2 blocks, 2 addresses, 2 handles; reports of 2 speakers; reflectors: none here; nothing is wrong\n"
    )
    assert json.loads(world.check("-o", "json").stdout) == {
        "blocks": 2, "addresses": 2, "handles": 2, "speakers": 2, "reflectors": [], "problems": [],
    }  # fmt: skip


def test_check_finds_everything_that_is_wrong(world: World, equals_golden: Callable[[Path, str], None]) -> None:
    world.declare(*SICK)
    equals_golden(GOLDEN / "check.txt", everything(world.check()))
    found = json.loads(world.check("-o", "json").stdout)["problems"]
    printed = (GOLDEN / "check.txt").read_text()
    assert {problem["code"] for problem in found} == set(CODES)
    for problem in found:
        assert problem["object"] in printed


CODES = (
    "address-held-twice", "address-leaked", "announced-not-owned", "block-owner-differs", "block-unclaimed",
    "block-without-node", "block-without-owner", "blocks-overlap", "borrowed-not-announced", "borrowed-too-much",
    "borrowed-unlisted", "outside-pools", "promise-missing", "promise-too-large", "unfinished-claim",
)  # fmt: skip


def test_a_store_without_nodes_is_told_once(world: World) -> None:
    documents = [one for one in HEALTHY if one[0] != "Node"]
    found = world.declare(*documents).check()
    assert (found.exit_code, [line for line in found.stderr.splitlines() if line.startswith("error")]) == (
        1,
        [
            "error: store: there is no Node, and nodes have claims of 2 blocks "
            "(declare the nodes again: until then nothing is freed)"
        ],
    )


def test_what_cannot_be_read_is_told(world: World) -> None:
    found = world.declare(*HEALTHY, ("IPAMBlock", "x", {"cidr": "10.244.9.0/26", "allocations": 7})).check()
    assert found.exit_code == 1
    assert "error: IPAMBlock/x spec.allocations: " in found.stderr


def test_a_report_that_is_overdue_does_not_count(world: World) -> None:
    documents = [one for one in HEALTHY if one[0] != "BGPNodeStatus"]
    found = world.declare(*documents, report("node-2", "10.244.0.0/26", age=3 * RENEWAL_S + 10)).check()
    assert (found.exit_code, found.stderr) == (0, "")
    assert "reports of 0 speakers" in found.stdout


def test_what_is_under_way_is_not_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle is promised before its block is written; at the second look it is."""
    world.declare(*HEALTHY, handle("node-1.pod-2", "10.244.0.0/26"))
    assert world.check().exit_code == 1

    def finish(seconds: float) -> None:
        assert seconds == 1.5
        world.good("ipam", "release", "--handle", "node-1.pod-1", "--force")
        world.bad("ipam", "release", "--handle", "node-1.pod-2")

    monkeypatch.setattr("underlay.ipam_commands.sleep", finish)
    found = world("ipam", "check", "--again", "1.5")
    assert (found.exit_code, found.stderr) == (0, "")


# Against a reflector


@pytest.fixture(scope="module")
def reflector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with Background(tmp_path_factory.mktemp("reflector")) as running:
        yield running


FABRIC: list[Document] = [
    ("IPPool", "one", {"cidr": "10.1.0.0/16", "blockSize": 24}),
    ("IPPool", "two", {"cidr": "10.2.0.0/16", "blockSize": 24}),
    ("Node", "worker-1", {"bgp": {"ipv4Address": "127.0.1.1/32"}}),
    ("Node", "worker-2", {"bgp": {"ipv4Address": "127.0.1.2/32"}}),
    block("10.1.0.0/24", "host:worker-1"),
    claim("worker-1", "10.1.0.0/24"),
    block("10.2.10.0/24", "host:worker-1"),
    claim("worker-1", "10.2.10.0/24"),
    block("10.2.2.0/24", "host:worker-2"),
    claim("worker-2", "10.2.2.0/24"),
]


def test_what_a_reflector_is_told_by_who_does_not_own_it(world: World, reflector: Background) -> None:
    """worker-2 announces the block of worker-1, behind it; worker-1 one that nobody owns. 10.3/16 is in no pool."""
    found = world.declare(*FABRIC).check("--reflector", str(reflector.path), "-o", "json")
    document = json.loads(found.stdout)
    assert document["reflectors"] == ["rr-1"]
    assert [(one["code"], one["object"], one["message"]) for one in document["problems"]] == [
        ("announced-not-owned", "Node/worker-1", "announces 10.2.0.0/24, says reflector rr-1, and it is nobody's"),
        (
            "announced-not-owned",
            "Node/worker-2",
            "announces 10.1.0.0/24, says reflector rr-1, and it is Node/worker-1's",
        ),
    ]
    assert found.exit_code == 1


def test_a_client_that_is_no_node_owns_nothing(world: World, reflector: Background) -> None:
    documents = [one for one in FABRIC if one[:2] != ("Node", "worker-1")]
    found = json.loads(world.declare(*documents).check("--reflector", str(reflector.path), "-o", "json").stdout)
    strangers = {one["object"] for one in found["problems"] if one["code"] == "announced-not-owned"}
    assert strangers == {"neighbor/node-1", "Node/worker-2"}


def test_reflectors_that_do_not_answer(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is named is missed; one that has left its socket behind is only told."""
    world.declare(*HEALTHY)
    assert "no reflector listens there" in world.check("--reflector", "rr-9").stderr
    assert world.check("--reflector", "rr-9").exit_code == 1
    (tmp_path / "sockets").mkdir()
    (tmp_path / "sockets" / "rr-8.sock").touch()
    monkeypatch.setattr("underlay.reflector_announcements.FOLDER", tmp_path / "sockets")
    found = world.check()
    assert (found.exit_code, found.stderr.startswith("warning: ")) == (0, True)
    assert "rr-8.sock" in found.stderr


# Release

RELEASES = {
    "release-lives": ("10.244.0.5", "--sequence", "7"),
    "release-stale": ("10.244.0.5", "--sequence", "6"),
    "release-free": ("10.244.0.6", "--sequence", "6"),
    "release-force": ("10.244.0.5", "--sequence", "7", "--force"),
    "release-json": ("10.244.0.5", "--sequence", "7", "--force", "-o", "json"),
    "release-handle-lives": ("--handle", "node-2.pod-1"),
    "release-handle": ("--handle", "node-2.pod-1", "--force"),
    "release-no-handle": ("--handle", "node-3.pod-1"),
    "release-gone": ("--handle", "node-9.pod-1"),
}


@pytest.mark.parametrize("case", RELEASES)
def test_release(world: World, case: str, equals_golden: Callable[[Path, str], None]) -> None:
    gone = [
        block("10.244.3.0/26", "host:node-9", held(1, "node-9.pod-1", 30, "node-9"), held(2, "node-9.pod-1", 31, "")),
        handle("node-9.pod-1", "10.244.3.0/26"),
    ]
    before = world.declare(*HEALTHY, *gone).told()
    done = world("ipam", "release", *RELEASES[case])
    freed = sorted(set(before) - set(world.told()))
    equals_golden(GOLDEN / f"{case}.txt", f"{everything(done)}--- freed\n{' '.join(freed)}\n")


def test_a_release_settles_the_handle(world: World) -> None:
    world.declare(*HEALTHY)
    world.good("ipam", "release", "10.244.0.5", "--sequence", "7", "--force")
    assert [one["metadata"]["name"] for one in world.data("get", "ipamhandles")["items"]] == ["node-2.pod-1"]
    world.good("ipam", "release", "--handle", "node-2.pod-1", "--force")
    assert world.data("get", "ipamhandles")["items"] == []
    problems = json.loads(world.check("-o", "json").stdout)["problems"]
    assert [one["message"] for one in problems] == [
        "announces 10.244.0.9/32, says its speaker, and it is Node/node-1's"
    ]


def test_an_address_that_is_given_anew_while_it_is_looked_at_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.declare(*HEALTHY)
    free = ipam_release.free

    async def too_late(store: SqliteStore, found: list[ipam_release.Holding]) -> list[ipam_release.Holding]:
        stored = await store.get("IPAMBlock", "10-244-0-0-26")
        stored.document["spec"]["allocations"][1]["sequence"] = 99
        await store.update("IPAMBlock", "10-244-0-0-26", stored.document)
        return await free(store, found)

    monkeypatch.setattr("underlay.ipam_release.free", too_late)
    said = world.bad("ipam", "release", "--handle", "node-1.pod-1", "--force")
    assert said == "error: 1 of 1 were released or given anew meanwhile\n"
    assert "10.244.0.5" in world.told()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give one of them"),
        (("10.244.0.5", "--handle", "x"), "give one of them"),
        (("--handle", ""), "give one of them"),
        (("10.244.0.5",), "goes with ADDRESS"),
        (("--handle", "x", "--sequence", "3"), "goes with ADDRESS"),
        (("10.244.0", "--sequence", "3"), "is no IP address"),
    ],
)
def test_wrong_usage(world: World, arguments: tuple[str, ...], said: str) -> None:
    assert said in world.misused("ipam", "release", *arguments)


def test_every_golden_file_has_its_case() -> None:
    cases = {*VIEWS, *RELEASES, "show-sick", "check"}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == cases
