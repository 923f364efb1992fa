"""What to ask a switch, by platform: `sources.yml`, and the reader of what it answers.

`read(platform, text)` is the border to whoever asks: a command on the switch's shell, a file that somebody saved, or a
device driver. The text is the output of the first command, or of several, each after a line `### NAME`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from fabric_templates.verification import bird, cisco, eos, frr, gobgp, junos, kernel, openbgpd, srlinux
from fabric_templates.verification.end import Ends, Kernel
from fabric_templates.verification.sections import head, sections

Reader = Callable[[Mapping[str, str]], Ends]
Command = tuple[str, ...]

_READERS: dict[str, Reader] = {
    "bird": bird.read,
    "cisco": cisco.read,
    "eos": eos.read,
    "frr": frr.read,
    "gobgp": gobgp.read,
    "junos": junos.read,
    "openbgpd": openbgpd.read,
    "srlinux": srlinux.read,
}
_ROUTES: dict[str, Callable[[str, str], frozenset[str]]] = {
    "frr": frr.routes,
    "gobgp": gobgp.routes,
    "openbgpd": openbgpd.routes,
}


class Source(BaseModel):
    """How a platform is asked. A command of `cli` is one line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reader: str
    via: Literal["shell", "cli"]
    asks: dict[str, Command]
    routes: Command | None = None

    @property
    def lines(self) -> dict[str, str]:
        """The commands by their names, as a person types them. The output of the first alone is enough."""
        return {name: ask[0] if self.via == "cli" else shlex.join(ask) for name, ask in self.asks.items()}

    @property
    def first(self) -> str:
        return next(iter(self.lines.values()))

    def script(self) -> str:
        """All commands for a shell; it fails where the first one does."""
        needed, *others = (f"echo {shlex.quote(head(name))}\n{line}" for name, line in self.lines.items())
        optional = (f"{other} 2>/dev/null || true" for other in others)
        return "\n".join((f"{needed} || exit $?", *optional, ""))

    def routes_script(self, neighbor: str) -> str:
        """Empty where the platform is not asked for them."""
        family = "ipv6" if ":" in neighbor else "ipv4"
        words = (word.replace("{family}", family).replace("{neighbor}", neighbor) for word in self.routes or ())
        return f"{shlex.join(words)}\n" if self.routes else ""


def names() -> tuple[str, ...]:
    """The platforms whose state can be read, sorted."""
    return tuple(sorted(_table()))


def find(platform: str) -> Source | None:
    """Of `NAME` or `NAME@RELEASE`; None where its state is not read."""
    return _table().get(platform.partition("@")[0])


def read(platform: str, text: str) -> tuple[Ends, Kernel | None]:
    """What a switch of a platform of `names()` says of its sessions. Raises ValueError for any other text."""
    source = _table()[platform.partition("@")[0]]
    parts = sections(text)
    if "" in parts:
        parts = {next(iter(source.asks)): parts[""]}
    return _READERS[source.reader](parts), kernel.read(parts.get("kernel", ""))


def read_routes(platform: str, text: str, neighbor: str) -> frozenset[str]:
    """The prefixes in what `routes` prints for a neighbour. Raises ValueError."""
    reader = _ROUTES.get(_table()[platform.partition("@")[0]].reader)
    if reader is None:
        raise ValueError("its routes are not read")
    return reader(text, neighbor)


@cache
def _table() -> dict[str, Source]:
    text = resources.files(__package__).joinpath("sources.yml").read_text("utf-8")
    return {name: Source.model_validate(row) for name, row in yaml.safe_load(text).items()}
