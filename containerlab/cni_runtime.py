"""What a container runtime does with a list of CNI plugins, as libcni does it (CNI specification 1.0.0, sections 2, 3).

    ADD    every plugin in order, each with the result of the one before
    CHECK  every plugin in order, each with the result of the ADD
    DEL    every plugin in reverse order, each with the result of the ADD if there is one

The list is the first `.conflist` of a folder. The one that an ADD goes by is written down before it, and its result
after: DEL and CHECK go by those, whatever the folder has by then. An ADD that fails is followed by a DEL. Every
plugin gets the list's name and version and, of what the runtime knows of the container, the capabilities that
its configuration names. Plugins run inside a namespace, that of the node, since that is where a pod's veth ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from containerlab import namespaces
from containerlab.lab_state import read_json, write_json
from containerlab.namespaces import Completed

Json = dict[str, Any]

ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
"""The capability of a plugin that wants to know the pod's annotations."""

_TRY_AGAIN = 11


class NoConflist(Exception):
    """The folder has no list of plugins, or one that cannot be read."""


class CniFailed(Exception):
    """A plugin's error object (section 5); `code` is 0 where a plugin has ended without one."""

    def __init__(self, plugin: str, command: str, code: int, msg: str, details: str = "") -> None:
        super().__init__(f"{plugin} {command}: {msg}{f' ({details})' if details else ''}")
        self.code = code

    @property
    def try_again(self) -> bool:
        """Whether the same call may succeed later without anybody doing something."""
        return self.code == _TRY_AGAIN


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of a container. `args` are CNI_ARGS; `capabilities` by name, for plugins that know them."""

    container: str
    netns: str
    interface: str = "eth0"
    args: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of an ADD; without a result it has not come to its end."""

    attachment: Attachment
    conflist: Json
    result: Json | None


@dataclass(frozen=True, slots=True)
class Runtime:
    """One node's: `namespace` is where plugins run, `lists` has the conflist, `plugins` are folders of programs.

    `results` is the folder in which ADDs are remembered.
    """

    namespace: str
    lists: Path
    plugins: tuple[Path, ...]
    results: Path

    def conflist(self) -> Json:
        """The first list of the folder. Raises NoConflist."""
        path = min(self.lists.glob("*.conflist"), default=None)
        if path is None:
            raise NoConflist(f"{self.lists} has no .conflist")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if all(isinstance(one["type"], str) for one in found["plugins"]) and found["cniVersion"] and found["name"]:
                return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise NoConflist(f"{path} cannot be read as a list of plugins")

    async def add(self, attachment: Attachment) -> Json:
        """The last plugin's result. Raises CniFailed, with everything taken back, and NoConflist."""
        conflist = self.conflist()
        self._remember(Kept(attachment, conflist, None))
        result: Json | None = None
        try:
            for plugin in conflist["plugins"]:
                result = await self._call("ADD", plugin, Kept(attachment, conflist, result))
            if result is None:
                raise CniFailed(str(conflist["name"]), "ADD", 0, "no plugin has given a result")
        except CniFailed as error:
            try:
                await self.delete(attachment)
            except CniFailed as also:
                error.add_note(f"nor could it be taken back: {also}")
            raise
        self._remember(Kept(attachment, conflist, result))
        return result

    async def check(self, attachment: Attachment) -> None:
        """Whether everything is as the ADD made it. Raises CniFailed; LookupError if there was no ADD."""
        kept = self.kept(attachment)
        if kept is None or kept.result is None:
            raise LookupError(f"{attachment.container} has not been added")
        for plugin in kept.conflist["plugins"]:
            await self._call("CHECK", plugin, kept)

    async def delete(self, attachment: Attachment) -> None:
        """Takes an attachment back; may be repeated. Raises CniFailed; what is remembered stays then."""
        kept = self.kept(attachment)
        if kept is None:
            try:
                kept = Kept(attachment, self.conflist(), None)
            except NoConflist:
                return  # nobody can have been attached
        for plugin in reversed(kept.conflist["plugins"]):
            await self._call("DEL", plugin, kept)
        self._path(attachment).unlink(missing_ok=True)

    def kept(self, attachment: Attachment) -> Kept | None:
        """What is remembered of this container's interface."""
        return _kept(self._path(attachment))

    def attachments(self) -> list[Attachment]:
        """All that have been added and not deleted."""
        found = (_kept(path) for path in sorted(self.results.glob("*.json")))
        return [kept.attachment for kept in found if kept is not None]

    def _path(self, attachment: Attachment) -> Path:
        return self.results / f"{attachment.container}@{attachment.interface}.json"

    def _remember(self, kept: Kept) -> None:
        self.results.mkdir(parents=True, exist_ok=True)
        write_json(self._path(kept.attachment), asdict(kept))

    async def _call(self, command: str, plugin: Json, kept: Kept) -> Json | None:
        """One plugin; its result, if it has printed one. Raises CniFailed."""
        kind = str(plugin["type"])
        path = ":".join(map(str, self.plugins))
        program = shutil.which(kind, path=path)
        if program is None:
            raise CniFailed(kind, command, 0, f"there is no such program in {path}")
        environment = _environment(command, kept.attachment) | {"CNI_PATH": path}
        stdin = json.dumps(execution_configuration(plugin, kept))
        done = await namespaces.run(self.namespace, (program,), stdin, environment)
        if not done.ok:
            raise _failure(kind, command, done)
        return _object(done.stdout)


def execution_configuration(plugin: Mapping[str, Any], kept: Kept) -> Json:
    """What a plugin gets on stdin: its part of the list, and what the specification has the runtime add to it."""
    config = {key: value for key, value in plugin.items() if key != "capabilities"}
    config |= {"name": kept.conflist["name"], "cniVersion": kept.conflist["cniVersion"]}
    known = {name for name, wanted in plugin.get("capabilities", {}).items() if wanted}
    if passed := {name: value for name, value in kept.attachment.capabilities.items() if name in known}:
        config["runtimeConfig"] = passed
    if kept.result is not None:
        config["prevResult"] = kept.result
    return config


def addresses(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses of a result without their lengths, IPv4 first."""
    found: Sequence[str] = [ip["address"].split("/")[0] for ip in result.get("ips", ())]
    return tuple(sorted(found, key=lambda address: ":" in address))


def _environment(command: str, attachment: Attachment) -> dict[str, str]:
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": attachment.container,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": attachment.interface,
        "CNI_ARGS": ";".join(f"{name}={value}" for name, value in attachment.args.items()),
    }


def _failure(plugin: str, command: str, done: Completed) -> CniFailed:
    """The plugin's own words, or what is known of one that ended without."""
    said = _object(done.stdout) or {}
    if isinstance(said.get("code"), int) and said.get("msg"):
        return CniFailed(plugin, command, said["code"], str(said["msg"]), str(said.get("details", "")))
    return CniFailed(plugin, command, 0, done.reason())


def _object(text: str) -> Json | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _kept(path: Path) -> Kept | None:
    try:
        raw = read_json(path)
        return Kept(Attachment(**raw["attachment"]), raw["conflist"], raw["result"])
    except (KeyError, TypeError):
        return None
