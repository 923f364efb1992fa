"""Classes of the APIC's object model, as far as two publications of Cisco say them: nothing in here is ours.

The model itself is in no package. But each module of the Ansible collection cisco.aci (in PyPI ansible) builds the JSON
of its classes, and acc-provision (PyPI, the provisioning tool of Cisco's network plugin) that of an L3Out for Calico.
Both do it with literals, so their source is read, not run: which class has which attributes, which is inside which, and
of cisco.aci which words an attribute may have, by the `choices` of the module's parameter that it is made of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

_COLLECTION = "ansible_collections.cisco.aci.plugins"
#: Attributes that every object has.
_ALWAYS = frozenset({"dn", "rn", "status", "annotation"})


@dataclass(frozen=True, slots=True)
class Attribute:
    """`words` are the choices there are, `number` says that it is one, `seen` is a word that somebody gives it.

    Without choices, and where it is no number, any text is taken.
    """

    words: frozenset[str] = frozenset()
    number: bool = False
    seen: frozenset[str] = frozenset()

    def takes(self, value: str) -> bool:
        given = set(value.split(",")) if value else set()
        if self.words:
            return given <= self.words | self.seen
        return value.isdigit() or given <= self.seen if self.number else True

    def __or__(self, other: Attribute) -> Attribute:
        return Attribute(self.words | other.words, self.number or other.number, self.seen | other.seen)


@dataclass(frozen=True, slots=True)
class Model:
    """{class: {attribute: what it takes}}, and (class, class inside it)."""

    classes: dict[str, dict[str, Attribute]] = field(default_factory=dict)
    inside: set[tuple[str, str]] = field(default_factory=set)

    def add(self, name: str, attributes: dict[str, Attribute]) -> None:
        known = self.classes.setdefault(name, {})
        for key, one in attributes.items():
            known[key] = known.get(key, Attribute()) | one


def complaints(tree: Any, model: Model, inside: str = "polUni") -> Iterator[str]:
    """What an object and those in it say that is not of the model."""
    for name, content in tree.items():
        known = model.classes.get(name)
        if known is None:
            yield f"{name}: no such class"
            continue
        if (inside, name) not in model.inside:
            yield f"{name}: not inside {inside}"
        if unknown := sorted(content.keys() - {"attributes", "children"}):
            yield f"{name}: {', '.join(unknown)} beside its attributes"
        yield from _of_attributes(name, content.get("attributes"), known)
        for child in content.get("children", []):
            yield from complaints(child, model, name)


def _of_attributes(name: str, attributes: Any, known: dict[str, Attribute]) -> Iterator[str]:
    if not isinstance(attributes, dict):
        yield f"{name}: no attributes"
        return
    for key, value in attributes.items():
        if not isinstance(value, str):
            yield f"{name} {key}: {value!r} is no text"
        elif key not in known.keys() | _ALWAYS:
            yield f"{name} {key}: no such attribute"
        elif key in known and not known[key].takes(value):
            yield f"{name} {key}: not {value!r}"


@cache
def model() -> Model:
    found = Model(inside={("polUni", "fvTenant")})
    for file in sorted(_directory(f"{_COLLECTION}.modules").glob("aci_*.py")):
        _Module(ast.parse(file.read_text(encoding="utf-8")), found).read()
    source = (_directory("acc_provision") / "apic_provision.py").read_text(encoding="utf-8")
    _literals(ast.parse(source), found, {})
    return found


def _directory(package: str) -> Path:
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    assert locations, f"{package} is not installed"
    return Path(next(iter(locations)))


def _literals(tree: ast.AST, found: Model, parameters: dict[str, Attribute], outside: str = "") -> None:
    """Every `{class: {"attributes": {...}, "children": [...]}}`, however the map is written."""
    for node in ast.walk(tree):
        for name, value in _pairs(node).items():
            content = _pairs(value)
            if "attributes" in content:
                found.add(name, _attributes(content["attributes"], parameters))
                if outside:
                    found.inside.add((outside, name))
                for child in _children(content):
                    found.inside.add((name, child))


def _children(content: dict[str, ast.AST]) -> list[str]:
    items = getattr(content.get("children"), "elts", [])
    return [name for item in items for name, value in _pairs(item).items() if "attributes" in _pairs(value)]


def _pairs(node: ast.AST | None) -> dict[str, ast.AST]:
    """A map of constant keys: `{"a": b}`, `dict(a=b)`, `OrderedDict([("a", b)])`."""
    if isinstance(node, ast.Dict):
        return {key: v for k, v in zip(node.keys, node.values, strict=True) if (key := _text(k))}
    if not isinstance(node, ast.Call):
        return {}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "dict":
        return {k.arg: k.value for k in node.keywords if k.arg}
    if name == "OrderedDict" and node.args and isinstance(node.args[0], ast.List):
        twos = [e.elts for e in node.args[0].elts if isinstance(e, ast.Tuple) and len(e.elts) == 2]
        return {key: v for k, v in twos if (key := _text(k))}
    return {}


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _attributes(node: ast.AST, parameters: dict[str, Attribute]) -> dict[str, Attribute]:
    return {key: _attribute(value, parameters) for key, value in _pairs(node).items()}


def _attribute(node: ast.AST, parameters: dict[str, Attribute]) -> Attribute:
    if word := _text(node):
        return Attribute(seen=frozenset(word.split(",")))
    return parameters.get(node.id, Attribute()) if isinstance(node, ast.Name) else Attribute()


class _Module:
    """One module of cisco.aci: a function that reads parameters, says where its object is, and what is in it."""

    def __init__(self, tree: ast.Module, found: Model) -> None:
        self._tree, self._found = tree, found
        self._assigned: dict[str, list[ast.AST]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._assigned.setdefault(node.targets[0].id, []).append(node.value)
        self._parameters = self._specified()
        self._variables = {name: self._made_of(name, frozenset()) for name in self._assigned}

    def read(self) -> None:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                arguments = {k.arg: k.value for k in node.keywords if k.arg}
                if node.func.attr == "construct_url":
                    self._place(arguments)
                elif node.func.attr == "payload":
                    self._payload(arguments)

    def _place(self, arguments: Mapping[str, ast.AST]) -> None:
        levels = [self._classes(value) for key, value in arguments.items() if key == "root_class" or "subclass" in key]
        for outer, inner in pairwise(levels):
            self._found.inside.update((one, other) for one in outer for other in inner)

    def _classes(self, node: ast.AST) -> set[str]:
        found = set()
        for one in self._values(node):
            name = _pairs(one).get("aci_class")
            found |= {_text(value) for value in self._values(name)} - {""}
        return found

    def _values(self, node: ast.AST | None) -> list[ast.AST]:
        """What a variable is assigned, or the literal itself."""
        if isinstance(node, ast.Name):
            return [value for one in self._assigned.get(node.id, []) for value in self._values(one)]
        if isinstance(node, ast.IfExp):
            return [*self._values(node.body), *self._values(node.orelse)]
        return [] if node is None else [node]

    def _payload(self, arguments: Mapping[str, ast.AST]) -> None:
        config = arguments.get("class_config")
        for name in {_text(value) for value in self._values(arguments.get("aci_class"))} - {""}:
            for one in self._values(config):
                self._found.add(name, _attributes(one, self._variables))
            for key in self._keys(config):
                self._found.add(name, {key: Attribute()})
            if "child_configs" in arguments:
                _literals(self._tree, self._found, self._variables, name)
                self._one_by_one(name)

    def _keys(self, config: ast.AST | None) -> set[str]:
        """`class_config["password"] = ...`"""
        targets = [node.targets[0] for node in ast.walk(self._tree) if isinstance(node, ast.Assign)]
        name = config.id if isinstance(config, ast.Name) else None
        mine = [one for one in targets if isinstance(one, ast.Subscript) and getattr(one.value, "id", "") == name]
        return {_text(one.slice) for one in mine} - {""}

    def _one_by_one(self, outside: str) -> None:
        """`rtctrlSetPref=dict(attribute_name="localPref", ...)`, of which the module makes objects in a loop."""
        for values in self._assigned.values():
            for name, said in [pair for value in values for pair in _pairs(value).items()]:
                if attribute := _text(_pairs(said).get("attribute_name")):
                    self._found.add(name, {attribute: Attribute()})
                    self._found.inside.add((outside, name))

    def _specified(self) -> dict[str, Attribute]:
        """{parameter: what it takes} of the calls `argument_spec.update(name=dict(type=..., choices=[...]))`."""
        found = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
                for keyword in node.keywords:
                    said = _pairs(keyword.value)
                    words = self._choices(said.get("choices"))
                    found[keyword.arg or ""] = Attribute(words, getattr(said.get("type"), "value", "") == "int")
        return found

    def _choices(self, node: ast.AST | None) -> frozenset[str]:
        """The words of a literal, and of the tables that it names: the module's own or the collection's."""
        words: set[str] = set()
        for one in ast.walk(node) if node else ():
            if isinstance(one, ast.Constant):
                words.add(str(one.value))
            elif isinstance(one, ast.Name):
                words |= _words(getattr(_constants(), one.id, ()))
                words |= {word for value in self._assigned.get(one.id, []) for word in self._choices(value)}
        return frozenset(words)

    def _made_of(self, variable: str, seen: frozenset[str]) -> Attribute:
        """What a variable takes: the choices of all parameters that it is made of, and the words in between."""
        words: set[str] = set()
        number = True
        for node in self._assigned.get(variable, []):
            parameter = _parameter(node)
            if parameter in self._parameters:
                one = self._parameters[parameter]
                words |= one.words
                number = number and one.number
            else:
                more, number = self._made_of_others(node, seen | {variable}), False
                words |= more
        return Attribute(frozenset(words), number and bool(self._assigned.get(variable)))

    def _made_of_others(self, node: ast.AST, seen: frozenset[str]) -> set[str]:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & self._assigned.keys() - seen
        return {word for name in sorted(names) for word in self._made_of(name, seen).words}


@cache
def _constants() -> ModuleType:
    return import_module(f"{_COLLECTION}.module_utils.constants")


def _words(table: Any) -> set[str]:
    return set(map(str, [*table, *table.values()] if isinstance(table, dict) else table))


def _parameter(node: ast.AST) -> str:
    """`module.params.get("x")` -> `"x"`, and with a function around it."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "module.params.get":
            return _text(call.args[0])
    return ""
