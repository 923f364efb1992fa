"""Reads a file of expectations and collects everything that is wrong with it, each mistake with its place and a hint.

Pure: text and topology in, expectations and problems out. Names are looked up in the topology here, so that a lab is
not brought up, and nothing in it broken, for a file that cannot be run to its end.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from containerlab.expectations import (
    KINDS,
    WITHIN_S,
    Check,
    Expectation,
    Expectations,
    Failure,
    Phase,
    Scenario,
    Traffic,
    named_places,
    seconds,
)
from containerlab.topology import Topology
from peering.manifest_yaml import SyntaxMistake, yaml_documents
from peering.problems import Problem, errors, ordered

M = TypeVar("M", bound=Expectation)

SUFFIX = ".expect.yml"

_FILE_KEYS = ("within", "checks")
_CHECK_KEYS = ("name", "within")
_SCENARIO_KEYS = ("name", "within", "fail", "traffic", "then", "recover")
_RECOVER_KEYS = ("traffic", "then")
_POD = re.compile(r"pod-([1-9]\d*)")
_PODS_LABEL = "underlay/pods"


def load_expectations(
    text: str, file: str, topology: Topology, *, power: bool = True
) -> tuple[Expectations | None, tuple[Problem, ...]]:
    """The expectations of one file and all problems found; None if any of them is an error.

    `power`: whether a node can be switched off where the lab runs.
    """
    reader = _Reader(file, topology, power)
    found = reader.read(text)
    problems = ordered(reader.problems)
    return (None if errors(problems) else found), problems


class _Reader:
    def __init__(self, file: str, topology: Topology, power: bool) -> None:
        self.file, self.topology, self.power = file, topology, power
        self.problems: list[Problem] = []

    def error(self, code: str, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem("error", code, self.file, path, message, hint))

    def read(self, text: str) -> Expectations | None:
        documents = list(yaml_documents(text))
        if mistake := next((one for one in documents if isinstance(one, SyntaxMistake)), None):
            self.error("yaml", "", mistake.message, mistake.hint)
            return None
        if len(documents) != 1 or not isinstance(documents[0], dict):
            self.error("yaml", "", "is not one map", "a file of expectations has `checks:`, a list")
            return None
        raw = self._keys(documents[0], "", _FILE_KEYS)
        within = self._within(raw, "", WITHIN_S)
        steps = [self._step(one, path, within) for one, path in self._items(raw.get("checks"), "checks")]
        if not steps and not self.problems:
            self.error("nothing-to-check", "checks", "there is no check", f"one of: {_quoted(KINDS)}, or a `fail`")
        return Expectations(tuple(_unique([step for step in steps if step is not None])))

    def _step(self, raw: Any, path: str, within: float) -> Check | Scenario | None:
        if isinstance(raw, dict) and "fail" in raw:
            return self._scenario(raw, path, within)
        return self._check(raw, path, within)

    def _scenario(self, raw: dict[Any, Any], path: str, within: float) -> Scenario | None:
        known = self._keys(raw, path, _SCENARIO_KEYS)
        within = self._within(known, path, within)
        failure = self._model(Failure, known["fail"], f"{path}.fail")
        if failure is not None:
            self._check_failure(failure, f"{path}.fail")
        broken = self._phase(known, path, within)
        recover = known.get("recover")
        if recover is not None and not isinstance(recover, dict):
            self.error("wrong-value", f"{path}.recover", "is not a map", f"of {_quoted(_RECOVER_KEYS)}")
            recover = None
        mended = self._phase(self._keys(recover or {}, f"{path}.recover", _RECOVER_KEYS), f"{path}.recover", within)
        name = self._name(known, path)
        return Scenario(name or failure.title(), failure, broken, mended) if failure is not None else None

    def _phase(self, raw: dict[str, Any], path: str, within: float) -> Phase:
        traffic = raw.get("traffic")
        listed = traffic if isinstance(traffic, list) else [traffic] if traffic is not None else []
        measured = []
        for index, one in enumerate(listed):
            place = f"{path}.traffic[{index}]" if isinstance(traffic, list) else f"{path}.traffic"
            if isinstance(one, dict) and "for" in one:
                self.error(
                    "wrong-value", f"{place}.for", "it goes on until the checks of `then` are through", "leave it"
                )
            if (load := self._model(Traffic, one, place)) is not None:
                self._check_places(load, place)
                measured.append(Check(load.title(), load, within))
        then = [self._check(one, place, within) for one, place in self._items(raw.get("then", []), f"{path}.then")]
        return Phase(tuple(_unique(measured)), tuple(_unique([check for check in then if check is not None])))

    def _check(self, raw: Any, path: str, within: float) -> Check | None:
        if not isinstance(raw, dict):
            self.error("wrong-value", path, "is not a map", f"one of: {_quoted(KINDS)}")
            return None
        kinds = [key for key in raw if key in KINDS]
        known = self._keys(raw, path, (*_CHECK_KEYS, *KINDS, *(() if kinds else ("fail",))))
        if len(kinds) != 1:
            if kinds or len(known) == len(raw):
                count = "has no check" if not kinds else f"has {len(kinds)} checks: {_quoted(kinds)}"
                self.error("one-check", path, count, f"each item of the list has one of: {_quoted(KINDS)}")
            return None
        within, (kind,) = self._within(known, path, within), kinds
        what = self._model(KINDS[kind], known[kind], f"{path}.{kind}")
        if what is None:
            return None
        self._check_places(what, f"{path}.{kind}")
        return Check(self._name(known, path) or what.title(), what, within)

    def _items(self, raw: Any, path: str) -> list[tuple[Any, str]]:
        if isinstance(raw, list):
            return [(one, f"{path}[{index}]") for index, one in enumerate(raw)]
        hint = f"a list; each item has one of: {_quoted(KINDS)}"
        if raw is None:
            self.error("missing-key", path, "is missing", hint)
        else:
            self.error("wrong-value", path, "is not a list", hint)
        return []

    def _keys(self, raw: dict[Any, Any], path: str, known: Collection[str]) -> dict[str, Any]:
        for key in raw:
            if key not in known:
                self._unknown_key(str(key), path, known)
        return {key: value for key, value in raw.items() if key in known}

    def _unknown_key(self, key: str, path: str, known: Collection[str]) -> None:
        where = f"{path}.{key}".lstrip(".")
        self.error("unknown-key", where, "there is no such key", _nearest(key, known) or f"one of: {_quoted(known)}")

    def _within(self, raw: dict[str, Any], path: str, otherwise: float) -> float:
        try:
            return seconds(raw["within"]) if "within" in raw else otherwise
        except ValueError as error:
            self.error("wrong-value", f"{path}.within".lstrip("."), str(error))
            return otherwise

    def _name(self, raw: dict[str, Any], path: str) -> str:
        name = raw.get("name", "")
        if not isinstance(name, str):
            self.error("wrong-value", f"{path}.name", "is no text", "put it in quotes")
            return ""
        return " ".join(name.split())

    def _model(self, model: type[M], raw: Any, path: str) -> M | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            known = [field.alias or name for name, field in model.model_fields.items()]
            for one in error.errors():
                self._invalid(one["type"], one["loc"], one["msg"], path, known)
            return None

    def _invalid(self, kind: str, loc: tuple[int | str, ...], message: str, path: str, known: Collection[str]) -> None:
        where = path + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
        if kind == "extra_forbidden":
            self._unknown_key(str(loc[-1]), where.rpartition(".")[0], known)
        elif kind == "missing":
            self.error("missing-key", where, "is missing")
        else:
            text = message.removeprefix("Value error, ")
            self.error("wrong-value", where, text[:1].lower() + text[1:])

    # Against the topology

    def _check_places(self, what: Expectation, path: str) -> None:
        for field, name in named_places(what):
            self._check_place(name, f"{path}.{field}", pods=field != "with")

    def _check_place(self, name: str, path: str, *, pods: bool) -> bool:
        node, _, pod = name.partition("/")
        known = self.topology.nodes
        if node not in known:
            self.error("unknown-node", path, f"there is no node {node!r}", _nearest(node, known) or _some(known))
            return False
        if pod and not (pods and self._has_pod(node, pod)):
            label = known[node].labels.get(_PODS_LABEL, "0")
            self.error("unknown-pod", path, f"{node} has no {pod!r}", f"its label {_PODS_LABEL} is {label}")
            return False
        return True

    def _has_pod(self, node: str, pod: str) -> bool:
        number, count = _POD.fullmatch(pod), self.topology.nodes[node].labels.get(_PODS_LABEL, "0")
        return bool(number) and count.isdigit() and int(number[1]) <= int(count)  # type: ignore[index]

    def _check_failure(self, failure: Failure, path: str) -> None:
        found = [self._check_place(name, path, pods=name == failure.node) for name in failure.nodes()]
        if not all(found):
            return
        if failure.link is not None and not ends_of(self.topology, failure.link)[1]:
            node, hint = failure.nodes()[0], _links_of(self.topology, failure.nodes()[0])
            self.error("no-link", f"{path}.link", f"there is no {failure.title()}", f"{node} has: {hint}")
        if failure.isolate is not None and not self.topology.interfaces(failure.isolate):
            self.error("no-link", f"{path}.isolate", f"{failure.isolate} has no link")
        if failure.power is not None and not self.power:
            self.error(
                "no-power-switch", f"{path}.power", "a node cannot be switched off by commands in it",
                "`isolate` takes all its links down; without --exec, `power` works",
            )  # fmt: skip


def ends_of(topology: Topology, link: tuple[str, ...]) -> tuple[str, list[str]]:
    """The node and its interfaces that a failure's `link` means: all towards another node, or the one that is named."""
    node, _, interface = link[0].partition(":")
    return node, [name for name, far in _far_ends(topology, node) if interface == name or far in link[1:]]


def _links_of(topology: Topology, node: str) -> str:
    return ", ".join(f"{node}:{name} to {far}" for name, far in _far_ends(topology, node)) or "no link"


def _far_ends(topology: Topology, node: str) -> list[tuple[str, str]]:
    """Each interface of a node with the node at the other end."""
    ends = [pair for link in topology.links for pair in ((link.a, link.b), (link.b, link.a))]
    return [(near.interface, far.node) for near, far in ends if near.node == node]


S = TypeVar("S", Check, Scenario, Check | Scenario)


def _unique(steps: list[S]) -> list[S]:
    """Reports tell test cases apart by their names: the second of a name gets ` #2`."""
    seen: Counter[str] = Counter()
    for index, step in enumerate(steps):
        seen[step.name] += 1
        if seen[step.name] > 1:
            steps[index] = _renamed(step, f"{step.name} #{seen[step.name]}")
    return steps


def _renamed(step: Any, name: str) -> Any:
    return type(step)(name, *(getattr(step, slot) for slot in step.__slots__ if slot != "name"))


def _nearest(key: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(key, list(known), 1)
    return f"did you mean {found[0]!r}?" if found else ""


def _some(names: Iterable[str]) -> str:
    return f"there are: {', '.join(names)}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
