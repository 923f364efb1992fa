"""The container runtime of the lab, with plugins that write down how they were called."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from containerlab import namespaces
from containerlab.cni_runtime import ANNOTATIONS, Attachment, CniFailed, NoConflist, Runtime, addresses

#: Notes its call in the file `calls` beside it, then does what `answers` has for its name and command.
PLUGIN = """#!{python} -IS
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
name, command = pathlib.Path(__file__).name, os.environ["CNI_COMMAND"]
variables = {{key: value for key, value in os.environ.items() if key.startswith("CNI_")}}
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([name, command, variables, json.load(sys.stdin)]) + "\\n")
code, stdout = json.loads((here / "answers").read_text()).get(name + " " + command, [0, ""])
print(stdout)
sys.exit(code)
"""

CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "net",
    "plugins": [
        {"type": "first", "mtu": 9000, "capabilities": {ANNOTATIONS: True, "ips": False}},
        {"type": "second", "name": "not this", "cniVersion": "0.1.0"},
    ],
}
FIRST = {"ips": [{"address": "fd00::1/128"}, {"address": "10.0.0.1/32"}], "interfaces": [{"name": "veth1"}]}
SECOND = {**FIRST, "routes": [{"dst": "0.0.0.0/0"}]}
POD = Attachment(
    "c1",
    "/run/netns/c1",
    args={"IgnoreUnknown": "1", "K8S_POD_NAME": "web"},
    capabilities={ANNOTATIONS: {"a": "b"}, "ips": ["10.0.0.9"], "portMappings": []},
)


class World:
    """A node whose plugins are `first` and `second`."""

    def __init__(self, folder: Path) -> None:
        self.plugins = folder / "bin"
        self.lists = folder / "net.d"
        for made in (self.plugins, self.lists):
            made.mkdir()
        for name in ("first", "second"):
            (self.plugins / name).write_text(PLUGIN.format(python=sys.executable))
            (self.plugins / name).chmod(0o755)
        self.declare(CONFLIST)
        self.answer()
        self.runtime = Runtime("node", self.lists, (self.plugins,), folder / "results")

    def declare(self, conflist: Mapping[str, Any]) -> None:
        (self.lists / "10-net.conflist").write_text(json.dumps(conflist))

    def answer(self, **answers: tuple[int, Any]) -> None:
        """`first_ADD=(1, {...})`; what is not named works, and ADDs have a result."""
        all_answers: dict[str, tuple[int, Any]] = {"first_ADD": (0, FIRST), "second_ADD": (0, SECOND), **answers}
        texts = {
            name.replace("_", " "): (code, said if isinstance(said, str) else json.dumps(said))
            for name, (code, said) in all_answers.items()
        }
        (self.plugins / "answers").write_text(json.dumps(texts))

    def calls(self) -> list[tuple[str, str, dict[str, str], dict[str, Any]]]:
        """Plugin, command, environment, configuration of each call so far."""
        path = self.plugins / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def order(self) -> list[str]:
        return [f"{plugin} {command}" for plugin, command, _, _ in self.calls()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    async def here(
        namespace: str, argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None
    ) -> namespaces.Completed:
        assert namespace == "node"
        return await namespaces.command(argv, stdin, env)

    monkeypatch.setattr(namespaces, "run", here)
    return World(tmp_path)


def add(world: World, attachment: Attachment = POD) -> dict[str, Any]:
    return asyncio.run(world.runtime.add(attachment))


def test_add_passes_every_result_on_and_gives_the_last(world: World) -> None:
    assert add(world) == SECOND
    (_, _, _, first), (_, _, _, second) = world.calls()
    assert first == {
        "type": "first", "mtu": 9000, "name": "net", "cniVersion": "1.0.0",
        "runtimeConfig": {ANNOTATIONS: {"a": "b"}},
    }  # fmt: skip
    assert second == {"type": "second", "name": "net", "cniVersion": "1.0.0", "prevResult": FIRST}


def test_the_environment_is_that_of_the_specification(world: World) -> None:
    add(world)
    assert [variables for _, _, variables, _ in world.calls()] == 2 * [
        {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/run/netns/c1",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
            "CNI_PATH": str(world.plugins),
        }
    ]


def test_delete_goes_backwards_by_the_list_and_the_result_of_the_add(world: World) -> None:
    add(world)
    world.declare({**CONFLIST, "name": "other", "plugins": [{"type": "gone"}]})
    asyncio.run(world.runtime.delete(POD))
    assert world.order()[2:] == ["second DEL", "first DEL"]
    for _, _, _, config in world.calls()[2:]:
        assert (config["name"], config["prevResult"]) == ("net", SECOND)
    assert world.calls()[3][3]["runtimeConfig"] == {ANNOTATIONS: {"a": "b"}}
    assert world.runtime.attachments() == []


def test_delete_of_what_was_never_added_goes_by_the_list_that_is_there(world: World) -> None:
    asyncio.run(world.runtime.delete(POD))
    assert world.order() == ["second DEL", "first DEL"]
    assert all("prevResult" not in config for _, _, _, config in world.calls())
    (world.lists / "10-net.conflist").unlink()
    asyncio.run(world.runtime.delete(POD))
    assert len(world.calls()) == 2


def test_a_delete_that_fails_can_be_repeated(world: World) -> None:
    add(world)
    world.answer(second_DEL=(1, {"code": 5, "msg": "no"}))
    with pytest.raises(CniFailed, match="second DEL: no"):
        asyncio.run(world.runtime.delete(POD))
    assert world.order()[2:] == ["second DEL"]
    assert world.runtime.attachments() == [POD]
    world.answer()
    asyncio.run(world.runtime.delete(POD))
    assert world.order()[3:] == ["second DEL", "first DEL"]
    assert world.runtime.attachments() == []


def test_check_has_the_result_of_the_add_for_every_plugin(world: World) -> None:
    with pytest.raises(LookupError, match="c1 has not been added"):
        asyncio.run(world.runtime.check(POD))
    add(world)
    asyncio.run(world.runtime.check(POD))
    assert world.order()[2:] == ["first CHECK", "second CHECK"]
    assert [config["prevResult"] for _, _, _, config in world.calls()[2:]] == [SECOND, SECOND]
    world.answer(first_CHECK=(1, {"code": 111, "msg": "lost", "details": "not-held"}))
    with pytest.raises(CniFailed, match=r"first CHECK: lost \(not-held\)"):
        asyncio.run(world.runtime.check(POD))


def test_an_add_that_fails_is_taken_back(world: World) -> None:
    world.answer(second_ADD=(1, {"cniVersion": "1.0.0", "code": 11, "msg": "away", "details": "is it running?"}))
    with pytest.raises(CniFailed, match=r"second ADD: away \(is it running\?\)") as failed:
        add(world)
    assert failed.value.try_again
    assert world.order() == ["first ADD", "second ADD", "second DEL", "first DEL"]
    assert all("prevResult" not in config for _, _, _, config in world.calls()[2:])
    assert world.runtime.attachments() == []


def test_an_add_that_cannot_be_taken_back_says_both_and_is_remembered(world: World) -> None:
    world.answer(first_ADD=(1, {"code": 101, "msg": "full"}), second_DEL=(1, {"code": 5, "msg": "no"}))
    with pytest.raises(CniFailed, match="first ADD: full") as failed:
        add(world)
    assert not failed.value.try_again
    assert failed.value.__notes__ == ["nor could it be taken back: second DEL: no"]
    assert world.runtime.attachments() == [POD]
    kept = world.runtime.kept(POD)
    assert kept is not None
    assert kept.result is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((3, ""), "first ADD: exit code 3"),
        ((1, "segmentation fault"), "first ADD: segmentation fault"),
        ((1, {"code": "x", "msg": ""}), 'first ADD: {"code": "x", "msg": ""}'),
        ((1, [1]), r"first ADD: \[1\]"),
    ],
)
def test_a_plugin_that_ends_without_an_error_object(world: World, answer: tuple[int, Any], said: str) -> None:
    world.answer(first_ADD=answer)
    with pytest.raises(CniFailed, match=said) as failed:
        add(world)
    assert (failed.value.code, failed.value.try_again) == (0, False)


def test_an_add_without_a_result_has_failed(world: World) -> None:
    world.answer(second_ADD=(0, ""))
    with pytest.raises(CniFailed, match="net ADD: no plugin has given a result"):
        add(world)


def test_a_plugin_that_is_not_there(world: World) -> None:
    (world.plugins / "second").chmod(0o644)
    with pytest.raises(CniFailed, match="second ADD: there is no such program in "):
        add(world)


def test_the_first_list_of_the_folder_counts(world: World) -> None:
    (world.lists / "05-first.conflist").write_text(json.dumps({**CONFLIST, "name": "earlier"}))
    (world.lists / "00-no-list.conf").write_text("{}")
    add(world)
    assert {config["name"] for _, _, _, config in world.calls()} == {"earlier"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cniVersion": "1.0.0", "name": "n", "plugins": [{}]}'])
def test_a_list_that_is_none(world: World, text: str) -> None:
    (world.lists / "10-net.conflist").write_text(text)
    with pytest.raises(NoConflist, match=r"10-net\.conflist cannot be read"):
        add(world)


def test_no_list(world: World) -> None:
    (world.lists / "10-net.conflist").unlink()
    with pytest.raises(NoConflist, match=r"net\.d has no \.conflist"):
        add(world)
    assert world.runtime.attachments() == []


def test_containers_and_interfaces_are_remembered_apart(world: World) -> None:
    others = [Attachment("c1", "/run/netns/c1", "net1"), Attachment("c2", "/run/netns/c2")]
    for one in (POD, *others):
        add(world, one)
    asyncio.run(world.runtime.delete(others[0]))
    assert world.runtime.attachments() == [POD, others[1]]


def test_addresses_of_a_result() -> None:
    assert addresses(FIRST) == ("10.0.0.1", "fd00::1")
    assert addresses({}) == ()
