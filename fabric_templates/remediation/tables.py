"""How a platform shows its running configuration, and what of it is ours: `remediation/PLATFORM.yml`.

Patterns are regular expressions that begin at the beginning of a line without its indentation. What differs between
platforms is in these tables, so that no platform's name is in the code.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fabric_templates.remediation import table_files

Patterns = Annotated[tuple[re.Pattern[str], ...], Field(default=())]
Slot = tuple[str, ...]


def _with_key(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if "key" not in pattern.groupindex:
        raise ValueError("has no group (?P<key>...)")
    return pattern


KeyPattern = Annotated[re.Pattern[str], AfterValidator(_with_key)]


class Removal(BaseModel):
    """What takes a whole neighbour or peer-group away in one line; `{key}` is its address, interface or name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbor: str
    group: str


class PushCommands(BaseModel):
    """Argument lists for the shell of the switch; `{file}` is a file there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: tuple[str, ...]
    check: tuple[str, ...]
    load: tuple[str, ...]
    save: tuple[str, ...]


class Reading(BaseModel):
    """A platform whose configuration is lines with indented lines below them.

    - `engine`: who works out the remedy: `reload`, our own, or a driver of hier_config.
    - `noise`: lines that are no configuration. `closers`: lines that end a section. `ends`: those that a section needs
      that is said to the switch.
    - `instance`: the section of BGP, with a group `asn`. `containers`: sections that are shared with others, at whose
      lines one has to look one by one.
    - `neighbor`: the lines of a neighbour or peer-group, with a group `key`.
    - `owned`: lines that are ours wherever they stand, with all that is below them.
    - `slots`: lines of which there is one; the groups, or without any the whole match, say which. Another one of the
      same slot replaces it. `claims`: likewise, but they stand side by side, so that the other one has to be removed.
    - `routes`: static host routes, with a group `key` for the address: those to our neighbours are ours.
    - `early`: lines at the top that have to go before others come.
    - `numbered`, `uses`: lists without a name, and the lines that refer to them, each with a group `key`: those that
      our route maps use are ours.
    - `recreate`: lines of a neighbour that cannot be changed: the neighbour is removed and made again.
    - `same`: what a line is compared without: pattern and replacement.
    - `implied`: what a section has without showing it: the section around it, the section, and the line, which is there
      where none of its slot is.
    - `secrets`: what stands before a password. `secretsShown`: whether the switch shows passwords as they were given.
    - `networks`: what the instance originates, to report what others have added. `aggregates`: what it announces while
      it knows a part of it, likewise.
    - `push`: how the lines get into force, where that is known.
    - `close`: the line that ends a section in the remedy: pattern and line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    engine: Literal["reload", "ARISTA_EOS", "CISCO_NXOS", "CISCO_IOS", "CISCO_XR"]
    show: str
    noise: Patterns
    closers: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    instance: re.Pattern[str]
    containers: Patterns
    neighbor: KeyPattern
    owned: Patterns
    slots: Patterns
    claims: Patterns
    routes: tuple[KeyPattern, ...] = ()
    numbered: KeyPattern | None = None
    uses: KeyPattern | None = None
    early: Patterns
    recreate: Patterns
    same: tuple[tuple[re.Pattern[str], str], ...] = ()
    implied: tuple[tuple[re.Pattern[str], re.Pattern[str], str], ...] = ()
    secrets: Patterns
    secrets_shown: bool = Field(False, alias="secretsShown")
    networks: KeyPattern
    aggregates: KeyPattern | None = None
    remove: Removal | None = None
    push: PushCommands | None = None
    close: tuple[tuple[re.Pattern[str], str], ...] = ()

    def slot(self, line: str) -> Slot:
        """What a line is about: equal for two lines that replace each other."""
        return _first(self.slots, line) or (line,)

    def claim(self, line: str) -> Slot:
        """What a line is about, where two of them may stand side by side, too."""
        return _first(self.claims, line) or self.slot(line)

    def is_owned(self, line: str) -> bool:
        return any(pattern.match(line) for pattern in self.owned)

    def is_container(self, line: str) -> bool:
        return bool(self.instance.match(line)) or any(pattern.match(line) for pattern in self.containers)

    def key(self, line: str) -> str | None:
        """The neighbour or peer-group that a line is about."""
        found = self.neighbor.match(line)
        return found["key"] if found else None

    def destination(self, line: str) -> str | None:
        """The address that a static host route leads to."""
        return next((found["key"] for pattern in self.routes if (found := pattern.match(line))), None)


def _first(patterns: tuple[re.Pattern[str], ...], line: str) -> Slot:
    for number, pattern in enumerate(patterns):
        if found := pattern.match(line):
            return (str(number), *(found.groups() or (found[0],)))
    return ()


def names() -> tuple[str, ...]:
    """The platforms whose running configuration can be compared, sorted."""
    return table_files.names(__package__)


@cache
def load(platform: str) -> Reading:
    """The table of a platform of `names()`."""
    return table_files.load(__package__, platform, Reading)
