"""The handbook against the code: what it lists is what there is, in both directions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bgp_speaker.kernel_routes import METRIC, PROTOCOL, TABLE
from fabric_templates import devices
from fabric_templates.devices import Device, Feature, Quantity
from fabric_templates.features import code_of
from fabric_templates.render import render
from peering.compile import plan
from peering.manifests import parse_manifests
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.catalog import KINDS, PLAN_KINDS, Kind
from tests.unit.samples import dual_tor
from underlay.cli import command_line

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PACKAGES = ("peering", "bgp_speaker", "reflector", "fabric_templates", "ipam", "containerlab", "underlay")
#: Those that people write; Services are Kubernetes' own.
DECLARED = [kind for kind in KINDS.values() if kind.name in (*PLAN_KINDS, "Secret")]
#: First folders of paths that are the same on every machine, and those of the API server's URLs.
EVERYWHERE = {"etc", "run", "tmp", "var", "usr", "opt", "proc", "api"}
#: A Secret's values are written as Kubernetes writes them.
SECRET_FIELDS = {"stringData": "`{}`", "data": "`{}`"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sections(page: str, level: int = 2) -> dict[str, str]:
    """Heading without backticks -> the text below it, up to the next heading of that level or a higher one."""
    pattern = re.compile(rf"^#{{1,{level}}} (.+)$", re.MULTILINE)
    text = without_code((DOCS / page).read_text())
    heads = list(pattern.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {h[1].replace("`", ""): text[h.end() : end] for h, end in zip(heads, ends, strict=True)}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"^\|[-| ]+\|$", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# Problem codes


class Codes:
    """The codes that a module gives to problems, found in its syntax tree.

    Starts at calls of `Problem`, whose second argument is the code. Where that is a parameter of the function
    around it, the calls of that function are looked at, and so on. `computed` are those that no constant gives.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self.constant: set[str] = set()
        self.computed: list[int] = []
        self._seen: set[tuple[str, int]] = set()
        self._calls("Problem", 1)

    def _calls(self, name: str, position: int) -> None:
        if (name, position) in self._seen:
            return
        self._seen.add((name, position))
        for function in [None, *(n for n in ast.walk(self._tree) if isinstance(n, ast.FunctionDef))]:
            for call in self._own_calls(function or self._tree):
                target = call.func
                called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                if called == name and len(call.args) > position:
                    self._resolve(call.args[position], function)

    def _own_calls(self, scope: ast.AST) -> Iterator[ast.Call]:
        """The calls in a scope without those of functions inside it."""
        for child in ast.iter_child_nodes(scope):
            if isinstance(child, ast.FunctionDef):
                continue
            if isinstance(child, ast.Call):
                yield child
            yield from self._own_calls(child)

    def _resolve(self, code: ast.expr, function: ast.FunctionDef | None) -> None:
        if isinstance(code, ast.Constant):
            self.constant.add(str(code.value))
            return
        if isinstance(code, ast.Name):
            parameters = [a.arg for a in function.args.args if a.arg != "self"] if function else []
            if function and code.id in parameters:
                self._calls(function.name, parameters.index(code.id))
                return
            values = [v for scope in (function, self._tree) if scope for v in self._assigned(scope, code.id)]
            if values:
                self._resolve(values[0], function)
                return
        self.computed.append(code.lineno)

    def _assigned(self, scope: ast.AST, name: str) -> Iterator[ast.expr]:
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == name for t in node.targets):
                yield node.value


def codes_of(path: Path) -> Codes:
    return Codes(ast.parse(path.read_text()))


def all_devices() -> list[Device]:
    found = [devices.find(name, "Switch/x") for name in devices.names()]
    return [device for device in found if isinstance(device, Device)]


def platform_codes() -> set[str]:
    """The computed ones of fabric_templates/features.py, from the words of the feature tables."""
    codes = {code_of(feature) for feature in get_args(Feature)}
    codes |= {f"{code_of(quantity)}-value" for quantity in get_args(Quantity)}
    for device in all_devices():
        codes |= {f"{code_of(option)}-per-session" for option in device.instance_wide}
        for first, second in device.conflicts:
            codes.add(f"{code_of(first)}-with-{code_of(second).removeprefix('platform-lacks-')}")
    return codes


def test_codes_are_found_through_helpers_and_variables() -> None:
    source = """
CODE = "by-constant"
def helper(code, ref):
    return Problem("error", code, ref)
def user():
    code = "by-variable"
    yield Problem("error", code, "")
    yield Problem("error", CODE, "")
    yield helper("by-helper", "")
    yield Problem("error", f"by-{CODE}", "")
"""
    found = Codes(ast.parse(source))
    assert found.constant == {"by-constant", "by-variable", "by-helper"}
    assert len(found.computed) == 1


def test_every_problem_code_is_documented_and_no_other() -> None:
    known = platform_codes()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found = codes_of(path)
            known |= found.constant
            if ids(path) != "fabric_templates/features.py":
                assert found.computed == [], f"{ids(path)}: codes that this test cannot see"
    headings = {title for title in sections("problems.md", 3) if re.fullmatch(r"[a-z]+(-[a-z]+)*", title)}
    cells = {row[0].strip("`") for text in sections("problems.md").values() for row in rows(text)} - {"code"}
    assert not headings & cells, "a code has one place"
    assert headings | cells == known


def test_every_problem_section_has_an_example() -> None:
    text = (DOCS / "problems.md").read_text()
    for match in re.finditer(r"^### `([^`\n]+)`$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL):
        assert re.search(r"^```\n(error|warning|info): ", match[2], re.MULTILINE), match[1]


# Resources


def field_paths(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """`bgp.asNumber`, `uplinks[].interface`: the leaves of a spec, by the names that manifests use.

    Of lists of the same model (those of a BGPFilter) the first is opened.
    """
    opened = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = inner_model(field.annotation)
        if inner is None or (inner in opened and "tuple" in str(field.annotation) and model is BGPFilterSpec):
            yield path, field
        else:
            opened.add(inner)
            many = "[]" if "tuple" in str(field.annotation) else ""
            yield from field_paths(inner, f"{path}{many}.")


def inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := inner_model(part))), None)


def default_cells(field: FieldInfo) -> set[str]:
    """How a default may be written: durations with their unit, too."""
    if field.is_required():
        return {"required"}
    value = field.default
    if value is None:
        return {"none"}
    if isinstance(value, bool):
        return {f"`{str(value).lower()}`"}
    if isinstance(value, tuple):
        return {f"`[{', '.join(value)}]`"}
    return {f"`{value}`", f"`{value}s`", f"`{value}ms`"} if isinstance(value, int) else {f"`{value}`"}


def documented_fields(kind: str) -> dict[str, str]:
    """Field path -> the cell of its default."""
    return {row[0].strip("`"): row[2] for row in rows(sections("resources.md")[kind]) if row[0] != "field"}


@pytest.mark.parametrize("kind", DECLARED, ids=lambda kind: kind.name)
def test_every_field_is_documented_with_its_default(kind: Kind) -> None:
    documented = documented_fields(kind.name)
    if kind.name == "Secret":
        assert documented == SECRET_FIELDS
        return
    fields = dict(field_paths(kind.spec))
    assert set(documented) == set(fields)
    for path, field in fields.items():
        assert documented[path] in default_cells(field), path


def test_examples_of_resources_are_read_without_problems() -> None:
    text = (DOCS / "resources.md").read_text()
    examples = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    kinds = set()
    for number, example in enumerate(examples, start=1):
        resources, problems = parse_manifests(example, f"example {number}")
        assert problems == []
        kinds |= {resource.kind for resource in resources}
    assert kinds == {kind.name for kind in DECLARED}


# Commands


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words."""
    if hasattr(command, "commands"):
        for name, child in sorted(command.commands.items()):
            yield from commands(child, f"{path} {name}")
    else:
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(command_line()), "underlay"))


def test_every_command_has_a_section_and_no_other() -> None:
    titles = {title for title in sections("commands.md") if title.startswith("underlay ")}
    assert titles == set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_is_documented_and_no_other(words: str) -> None:
    documented = {name for row in rows(sections("commands.md")[words]) for name in re.findall(r"`([^`]+)`", row[0])}
    parameters = COMMANDS[words].params
    options = {opt for p in parameters if p.param_type_name == "option" for opt in (*p.opts, *p.secondary_opts)}
    arguments = {(p.metavar or p.name).upper() for p in parameters if p.param_type_name == "argument"}
    assert documented == (options - {"--help"}) | arguments


# Facts that pages repeat


def test_the_kernel_numbers_are_those_of_the_code() -> None:
    table = {row[0]: row[1] for row in rows(sections("speaker.md")["Kernel routes"])}
    assert f"`{PROTOCOL}`" in table["protocol"]
    assert f"`{TABLE}`" in table["table"]
    assert f"`{METRIC}`" in table["metric"]


@pytest.mark.parametrize("sample", ["dual-tor", "dual-tor-ibgp"])
def test_every_name_on_a_switch_is_documented(sample: str) -> None:
    documented = {n for row in rows(sections("switches.md")["What we own"]) for n in re.findall(r"`(.+?)`", row[0])}
    compiled = plan(dual_tor(sample))
    rendered = "".join(text for n, s in compiled.switches.items() for text in render(n, s).values())
    names = {name.replace("-V6", "-V4") for name in re.findall(r"UNDERLAY-[A-Z0-9-]*[A-Z0-9]", rendered)}
    assert names
    assert names <= documented


def test_every_platform_is_documented() -> None:
    assert {row[0] for row in rows(sections("switches.md")["Platforms"])} - {"platform"} == {
        f"`{name}`" for name in devices.names()
    }


def test_every_dependency_has_its_reason_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    named = {re.split(r"[<>=~! ]", requirement)[0] for requirement in wanted}
    texts = sections("design/dependencies.md")
    titles = ("Runtime", "Extras", "On Kubernetes", "Development", "Judges and stand-ins")
    listed = {row[0].strip("`") for title in titles for row in rows(texts[title])}
    assert listed - {"package"} == named


def test_every_debian_package_has_its_reason_and_no_other() -> None:
    script = (ROOT / "containerlab" / "prerequisites.sh").read_text()
    table = re.search(r"^needs='$(.*?)^'$", script, re.MULTILINE | re.DOTALL)
    assert table
    installed = {line.split()[0] for line in table[1].splitlines() if line} | {"python3-venv"}
    listed = {row[0].strip("`") for row in rows(sections("design/dependencies.md")["Debian packages"])}
    assert listed - {"package"} == installed


# Every page


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    heads = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_pages_stay_inside_the_project(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"shared/|\.\./\.\./\.\.|^.*\bissue #?\d", text, re.MULTILINE) == []
    assert set(re.findall(r"(?<![\w.})/>*:-])/([a-z]\w*)/", text)) <= EVERYWHERE


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.rglob("*.md"):
        if page.name != "README.md":
            assert f"({page.relative_to(DOCS)})" in index, page
