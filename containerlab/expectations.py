"""What is expected of a lab: checks, and failures with checks while they last and after they are mended.

Model of a file of expectations (`NAME.expect.yml`). A check says what is to be seen in a running lab; it is true as
soon as it is seen so, and false if it is not within its time. A scenario breaks something, measures what traffic feels
of it, looks at checks while it is broken, mends it, and does the same again.

    within: 30s
    checks:
      - sessions: all
      - route: {node: node-1, prefix: default, via: [tor-1a, tor-1b]}
      - ping: {from: edge, to: node-1/pod-1}
      - fail: {link: [tor-1a, node-1]}
        traffic: {from: edge, to: node-1/pod-1, silent: 2s}
        then: [{route: {node: node-1, prefix: default, via: tor-1b}}]
        recover: {then: [{sessions: all}]}

A *place* is a node of the topology, or `NODE/POD`. A *target* is a place or an IP address. Where a check names
several places and no family, it holds for each of them, with IPv4 and with IPv6. `expectations_file.py` reads the
text and collects what is wrong with it; this module holds the models and does no I/O.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

WITHIN_S = 30.0
"""How long a check may take to become true, in seconds, if the file does not say."""

DEFAULT_PREFIX = "default"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_LONGEST_S = 3600.0


def seconds(value: object) -> float:
    """`500ms`, `30s`, `2m`, or a number of seconds. Raises ValueError."""
    match = _DURATION.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if match is None:
        raise ValueError("is no time such as 500ms, 30s or 2m")
    found = float(match[1]) * _UNITS[match[2]]
    if found > _LONGEST_S:
        raise ValueError("is longer than an hour")
    return found


def _several(value: object) -> object:
    """One name may stand without its list."""
    return (value,) if isinstance(value, str) else value


def _prefix(value: str) -> str:
    if value == DEFAULT_PREFIX:
        return value
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"is neither `default` nor a prefix: {error}") from error


def _words(value: object) -> object:
    return tuple(shlex.split(value)) if isinstance(value, str) else value


def _ends(value: tuple[str, ...]) -> tuple[str, ...]:
    """Two nodes, or one end."""
    if len(value) != (1 if ":" in value[0] else 2) or any(":" in end for end in value[1:]):
        raise ValueError("is neither two nodes, as in [tor-1a, node-1], nor one end, as in tor-1a:eth3")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


Duration = Annotated[float, BeforeValidator(seconds)]
Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
LinkEnds = Annotated[Names, AfterValidator(_ends)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Family = Literal["ipv4", "ipv6"]
Versions = tuple[int, ...]

_VERSIONS: Mapping[str | None, Versions] = {None: (4, 6), "ipv4": (4,), "ipv6": (6,)}


class Expectation(BaseModel):
    """What all checks share. `places` and `targets` are the fields whose names have to be in the topology."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)
    places: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ()

    def title(self) -> str:
        """What a person calls it, in one line."""
        raise NotImplementedError


class Sessions(Expectation):
    """BGP sessions: of `node`, with the nodes `with`; of all, with all, where they are not named."""

    places = ("node", "with")
    node: Names | None = None
    with_: Names | None = Field(default=None, alias="with")
    state: Literal["established", "down"] = "established"

    @model_validator(mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return {} if value == "all" else value

    def title(self) -> str:
        of = f" on {_listed(self.node)}" if self.node else ""
        to = f" with {_listed(self.with_)}" if self.with_ else ""
        state = " down" if self.state == "down" else ""
        return f"sessions{of}{to}{state}" if of or to else f"sessions all{state}"


class Route(Expectation):
    """A route in the kernel of each `node`: to exactly `prefix`, or the one that packets to `to` take.

    `via`: its next hops, all of them: nodes, addresses or interfaces; `paths`: how many there are.
    """

    places, targets = ("node",), ("to",)
    node: Names
    prefix: Prefix | None = None
    to: str | None = None
    via: Names | None = None
    paths: int | None = Field(default=None, ge=1)
    family: Family | None = None

    @model_validator(mode="after")
    def _one(self) -> Route:
        _exactly_one(self, "prefix", "to")
        return self

    def versions(self) -> Versions:
        return _of_family(self.prefix or self.to or "", self.family)

    def title(self) -> str:
        via = f" via {_listed(self.via)}" if self.via else ""
        paths = f" over {self.paths} paths" if self.paths else ""
        return f"route on {_listed(self.node)} to {self.prefix or self.to}{via}{paths}{_family(self.family)}"


class NoRoute(Expectation):
    """No `node` forwards by a route to exactly `prefix`."""

    places = ("node",)
    node: Names
    prefix: Prefix
    family: Family | None = None

    def versions(self) -> Versions:
        return _of_family(self.prefix, self.family)

    def title(self) -> str:
        return f"no route on {_listed(self.node)} to {self.prefix}{_family(self.family)}"


class _Packets(Expectation):
    places, targets = ("from",), ("to",)
    from_: Names = Field(alias="from")
    to: Names
    family: Family | None = None

    def pairs(self) -> Iterator[tuple[str, str, int]]:
        """Source, target, IP version."""
        for source in self.from_:
            for target in self.to:
                for version in _of_family(target, self.family):
                    yield source, target, version

    def _title(self, what: str) -> str:
        return f"{what} {_listed(self.from_)} to {_listed(self.to)}{_family(self.family)}"


class Ping(_Packets):
    """`count` echo requests of which at most `lost` stay without an answer; `size`: of the IP packet, not to be
    fragmented on the way."""

    count: int = Field(default=5, ge=1, le=1000)
    lost: int = Field(default=0, ge=0)
    size: int | None = Field(default=None, ge=68, le=65535)

    def title(self) -> str:
        return self._title("ping") + (f" of {self.size} bytes" if self.size else "")


class NoPing(_Packets):
    """Echo requests of which none is answered."""

    count: int = Field(default=3, ge=1, le=1000)

    def title(self) -> str:
        return self._title("no ping")


class Traffic(_Packets):
    """`flows` of UDP, `rate` packets a second each: none is without an answer for longer than `silent`, and at most
    `lost` packets of all are. `for`: how long, where it does not go on while something is broken or mended."""

    silent: Duration | None = None
    lost: int | None = Field(default=None, ge=0)
    flows: int = Field(default=16, ge=1, le=256)
    rate: int = Field(default=25, ge=1, le=1000)
    for_: Duration = Field(default=3.0, alias="for")

    @model_validator(mode="after")
    def _measured(self) -> Traffic:
        if self.silent is None and self.lost is None:
            raise ValueError("says neither `silent` nor `lost`: what may it cost?")
        return self

    def title(self) -> str:
        silent = f", silent for {text_of(self.silent)} at most" if self.silent is not None else ""
        lost = f", {self.lost} packets lost at most" if self.lost is not None else ""
        return self._title("traffic") + silent + lost


class Command(Expectation):
    """A command on each `node` ends with `exit` and prints what `prints` (a regular expression) finds."""

    places = ("node",)
    node: Names
    run: Words
    prints: Pattern | None = None
    exit: int = Field(default=0, ge=0, le=255)

    def title(self) -> str:
        return f"command on {_listed(self.node)}: {shlex.join(self.run)}"


class Failure(Expectation):
    """What is broken; one of five.

    `link`: all links between two nodes, taken down at the first, or the one at `NODE:INTERFACE`. `isolate`: all links
    of a node. `power`: a node loses it. `process`: a signal to a process of a `node`. `run`: any command in a `node`;
    `undo` mends it.
    """

    link: LinkEnds | None = None
    isolate: str | None = None
    power: str | None = None
    process: str | None = None
    signal: Literal["KILL", "TERM", "STOP"] = "KILL"
    run: Words | None = None
    undo: Words | None = None
    node: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Failure:
        _exactly_one(self, "link", "isolate", "power", "process", "run")
        for name, needed, with_what in (
            ("process", ("node",), "`node`: where it runs"),
            ("run", ("node", "undo"), "`node` and `undo`: a node, and the command that mends it"),
        ):
            if getattr(self, name) is not None and any(getattr(self, other) is None for other in needed):
                raise ValueError(f"`{name}` goes with {with_what}")
        if self.node is not None and self.process is None and self.run is None:
            raise ValueError("`node` goes with `process` or `run`")
        return self

    def nodes(self) -> tuple[str, ...]:
        """The nodes that it names."""
        ends = (end.partition(":")[0] for end in self.link or ())
        return tuple(name for name in (*ends, self.isolate, self.power, self.node) if name)

    def title(self) -> str:
        if self.link:
            return f"link {' - '.join(self.link)}"
        if self.process:
            return f"process {self.process} on {self.node} ({self.signal})"
        if self.run:
            return f"{shlex.join(self.run)} on {self.node}"
        return f"power of {self.power}" if self.power else f"all links of {self.isolate}"


KINDS: Mapping[str, type[Expectation]] = {
    "sessions": Sessions,
    "route": Route,
    "no-route": NoRoute,
    "ping": Ping,
    "no-ping": NoPing,
    "traffic": Traffic,
    "command": Command,
}
"""What a check may be, by its key in the file."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `name` is unique within its scenario, `within` in seconds."""

    name: str
    what: Expectation
    within: float


@dataclass(frozen=True, slots=True)
class Phase:
    """What is measured while something happens, and what is to be seen after it."""

    traffic: tuple[Check, ...] = ()
    then: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something is broken, and mended again."""

    name: str
    failure: Failure
    broken: Phase
    mended: Phase = field(default_factory=Phase)


@dataclass(frozen=True, slots=True)
class Expectations:
    """A file of expectations that passed every check: its steps in the order of the file."""

    steps: tuple[Check | Scenario, ...]

    def checks(self) -> Iterator[Check]:
        """All checks, those of scenarios too."""
        for step in self.steps:
            if isinstance(step, Check):
                yield step
            else:
                for phase in (step.broken, step.mended):
                    yield from (*phase.traffic, *phase.then)

    def places(self) -> tuple[str, ...]:
        """Every node and pod that is named, each once; addresses are not among them."""
        named = (name for check in self.checks() for _, name in named_places(check.what))
        broken = (name for step in self.steps if isinstance(step, Scenario) for name in step.failure.nodes())
        return tuple(dict.fromkeys((*named, *broken)))


def named_places(what: Expectation) -> Iterator[tuple[str, str]]:
    """Field and name of each place that a check names."""
    for field_name in (*what.places, *what.targets):
        value = getattr(what, field_name, None) or getattr(what, f"{field_name}_", None)
        for name in (value,) if isinstance(value, str) else value or ():
            if field_name not in what.targets or not is_address(name):
                yield field_name, name


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def text_of(duration: float) -> str:
    """As people write it: `500ms`, `1.5s`."""
    return f"{duration * 1000:.0f}ms" if 0 < duration < 1 else f"{duration:g}s"


def _of_family(target: str, family: str | None) -> Versions:
    """An address or prefix has one family, a name has both."""
    if target != DEFAULT_PREFIX and (is_address(target) or "/" in target):
        try:
            return (ipaddress.ip_network(target).version,)
        except ValueError:
            pass  # a pod
    return _VERSIONS[family]


def _exactly_one(model: Expectation, *names: str) -> None:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        choice = ", ".join(f"`{name}`" for name in names)
        raise ValueError(f"needs one of {choice}" + (f", not {' and '.join(given)}" if given else ""))


def _listed(names: tuple[str, ...] | None) -> str:
    return ", ".join(names or ())


def _family(family: str | None) -> str:
    return f" ({'IPv4' if family == 'ipv4' else 'IPv6'})" if family else ""
