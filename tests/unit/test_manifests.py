"""YAML to resources: files, folders, Lists; and whatever stands in them gives resources or problems, no exception."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peering.manifest_yaml import yaml_documents
from peering.manifests import parse_manifests, read_manifests
from peering.problems import Problem

POOL = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {0}}}\nspec: {{cidr: 10.{1}.0.0/16}}\n"


def pool(name: str, number: int = 1) -> str:
    return POOL.format(name, number)


def refs(text: str) -> list[str]:
    resources, problems = parse_manifests(text, "test")
    assert [problem.line() for problem in problems] == []
    return [resource.ref for resource in resources]


def only_problem(text: str) -> Problem:
    resources, problems = parse_manifests(text, "test")
    assert resources == []
    (problem,) = problems
    return problem


def test_documents_in_one_text_and_empty_ones_between() -> None:
    assert refs(f"---\n{pool('a')}---\n---\n# a comment\n---\n{pool('b', 2)}...\n") == ["IPPool/a", "IPPool/b"]
    assert refs("") == refs("# nothing\n") == refs("---\n---\n") == []


@pytest.mark.parametrize("kind", ["List", "IPPoolList"])
def test_lists_are_opened(kind: str) -> None:
    items = [{"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": n}} for n in ("a", "b")]
    for number, item in enumerate(items, start=1):
        item["spec"] = {"cidr": f"10.{number}.0.0/16"}
    document = {"apiVersion": "v1", "kind": kind, "items": items}
    assert refs(json.dumps(document)) == ["IPPool/a", "IPPool/b"]
    assert refs(json.dumps({**document, "items": []})) == []


@pytest.mark.parametrize(("items", "found"), [("null", "nothing"), ("5", "a number"), ("{a: 1}", "a mapping")])
def test_a_list_without_a_list_is_no_resource(items: str, found: str) -> None:
    problem = only_problem(f"kind: List\nitems: {items}\n")
    assert problem.line() == f"test document 1 items: expected a list of resources, found {found}"


def test_a_problem_in_a_list_names_the_item() -> None:
    text = f"kind: List\napiVersion: v1\nitems: [{{kind: Nonsense}}, 5, {json.dumps(document_of('a'))}]\n"
    resources, problems = parse_manifests(text, "test")
    assert [resource.ref for resource in resources] == ["IPPool/a"]
    assert [problem.object for problem in problems] == ["test document 1 items[0]", "test document 1 items[1]"]


def test_items_of_a_named_list_may_leave_their_kind_out() -> None:
    items = [{"metadata": {"name": "a"}, "spec": {"cidr": "10.1.0.0/16"}}]
    assert refs(json.dumps({"apiVersion": "projectcalico.org/v3", "kind": "IPPoolList", "items": items})) == [
        "IPPool/a"
    ]
    assert only_problem(json.dumps({"apiVersion": "v1", "kind": "List", "items": items})).code == "unknown-kind"


def test_a_bad_document_hides_no_other() -> None:
    resources, problems = parse_manifests(f"{pool('a')}---\nkind: Nonsense\n---\n{pool('b', 2)}", "test")
    assert [resource.ref for resource in resources] == ["IPPool/a", "IPPool/b"]
    assert [(problem.code, problem.object) for problem in problems] == [("unknown-kind", "test document 2")]


def test_files_and_folders_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "z.yaml").write_text(pool("z", 1))
    (tmp_path / "deep" / "er" / "b.yml").write_text(pool("b", 2))
    (tmp_path / "deep" / "a.json").write_text(json.dumps({"kind": "List", "items": []}))
    (tmp_path / "README.md").write_text("kind: Nonsense")
    (tmp_path / "any.txt").write_text(pool("any", 3))
    resources, problems = read_manifests([tmp_path, str(tmp_path / "any.txt")])
    assert ([r.ref for r in resources], problems) == (["IPPool/b", "IPPool/z", "IPPool/any"], [])


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    good, latin, missing, long = tmp_path / "good.yaml", tmp_path / "latin.yaml", tmp_path / "no.yaml", "x" * 300
    good.write_text(pool("a"))
    latin.write_bytes("# Zürich\n".encode("latin-1"))
    looped = tmp_path / "loop.yaml"
    looped.symlink_to(looped)
    resources, problems = read_manifests([missing, latin, looped, long, good])
    assert [r.ref for r in resources] == ["IPPool/a"]
    assert [(p.code, p.object, p.message) for p in problems] == [
        ("unreadable-manifest", str(missing), "does not exist"),
        ("unreadable-manifest", str(latin), "cannot be read: line 1 is not UTF-8"),
        ("unreadable-manifest", str(looped), "cannot be read: Too many levels of symbolic links"),
        ("unreadable-manifest", long, "cannot be read: File name too long"),
    ]


def test_a_path_without_a_resource_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# later\n---\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text(pool("a"))
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "empty.yaml").write_text("")
    (tmp_path / "both" / "pool.yaml").write_text(pool("a"))
    resources, problems = read_manifests([tmp_path / name for name in ("empty.yaml", "folder", "both")])
    assert [r.ref for r in resources] == ["IPPool/a"]
    assert [(p.code, p.object, p.message) for p in problems] == [
        ("unreadable-manifest", str(tmp_path / name), "holds no resource") for name in ("empty.yaml", "folder")
    ]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{pool('a')}---\nkind: [\n".encode())))
    resources, problems = read_manifests(["-"])
    assert [r.ref for r in resources] == ["IPPool/a"]
    assert [(p.object, p.message[:34]) for p in problems] == [("standard input", "is no valid YAML: line 7, column 1")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pool("a").encode("utf-16"), "cannot be read: it is UTF-16"),
        (pool("a").encode() + b"\n# \xff", "cannot be read: line 6 is not UTF-8"),
        (b"\xef\xbb\xbf" + pool("a").encode(), None),
        (pool("a").replace("\n", "\r\n").encode(), None),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, said: str | None) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(content)
    resources, problems = read_manifests([file])
    assert len(resources) == (said is None)
    assert [problem.message for problem in problems] == [said] * (said is not None)


def test_json_is_read_as_json(tmp_path: Path) -> None:
    """With tabs, which YAML refuses; what is no JSON but YAML is read, too."""
    tabbed = json.dumps(json.loads(json.dumps(document_of("a"))), indent="\t")
    (tmp_path / "tabs.json").write_text(tabbed)
    (tmp_path / "marked.json").write_text("\ufeff" + tabbed.replace('"a"', '"m"'))
    (tmp_path / "yaml.json").write_text(pool("b", 2) + "---\n" + pool("c", 3))
    (tmp_path / "broken.json").write_text(tabbed.replace(",", ";", 1))
    (tmp_path / "deep.json").write_text("[" * 100000)
    (tmp_path / "long.json").write_text(f'{{"a": {"9" * 5000}}}')
    resources, problems = read_manifests([tmp_path])
    assert [r.ref for r in resources] == ["IPPool/m", "IPPool/a", "IPPool/b", "IPPool/c"]
    assert [(p.object.rpartition("/")[2], p.message) for p in problems] == [
        ("broken.json", "is no valid JSON: line 2, column 38: Expecting ',' delimiter"),
        ("deep.json", "is no valid JSON: it nests too deep"),
        ("long.json", "is no valid JSON: it holds a number of too many digits"),
    ]


def document_of(name: str) -> dict[str, object]:
    spec = {"cidr": "10.1.0.0/16"}
    return {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name}, "spec": spec}


def test_after_a_mistake_of_syntax_reading_goes_on_at_the_next_document() -> None:
    third = f"# c\n%YAML 1.1\n---\n{pool('c', 3)}"
    text = f"{pool('a')}---\nkind: [\n---\n{pool('b', 2)}---\n{third}---\nx: {{y: 1, y: 2}}\n"
    resources, problems = parse_manifests(text, "test")
    assert [resource.ref for resource in resources] == ["IPPool/a", "IPPool/b", "IPPool/c"]
    assert [problem.message for problem in problems] == [
        "is no valid YAML: line 7, column 1: expected the node content, but found the end of the document",
        "is no valid YAML: line 21, column 11: key 'y' is given twice",
    ]


def test_three_dashes_inside_a_text_end_nothing() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  key: |\n    ---\n    b\n"
    resources, problems = parse_manifests(text, "test")
    assert problems == []
    assert resources[0].to_document()["stringData"] == {"key": "---\nb\n"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("65000:50", "65000:50"),
        ("1:2:3.5", "1:2:3.5"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("10", 10),
        ("-3", -3),
        ("+5", 5),
        ("0", 0),
        ("00", 0),
        ("010", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.5e+3", 1500.0),
        ("1e3", "1e3"),
        ("0o7", "0o7"),
        ("09", "09"),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("null", None),
        ("-", "-"),
        (".inf", float("inf")),
        ("'10'", "10"),
    ],
)
def test_plain_words_are_what_they_are_for_kubernetes(word: str, value: object) -> None:
    (document,) = yaml_documents(f"a: [{word}]" if word != "-" else "a: ['-']")
    (found,) = document["a"]
    assert (found, type(found)) == (value, type(value))


def test_merges() -> None:
    text = """
base: &base {a: 1, b: 1}
other: &other {b: 2, c: 2}
one: {<<: *base, b: 0}
two: {<<: [*base, *other], d: 4}
first: {inner: &inner {<<: *base, a: 3}}
second: {<<: *inner, z: 1}
"""
    (document,) = yaml_documents(text)
    assert document["one"] == {"a": 1, "b": 0}
    assert document["two"] == {"a": 1, "b": 1, "c": 2, "d": 4}
    assert document["first"] == {"inner": {"a": 3, "b": 1}}
    assert document["second"] == {"a": 3, "b": 1, "z": 1}


def test_merges_of_merges_end() -> None:
    """Nine copies of nine copies ...: each key once."""
    layers = "".join(f"x{i + 1}: &x{i + 1} {{<<: [{', '.join([f'*x{i}'] * 9)}]}}\n" for i in range(30))
    (document,) = yaml_documents(f"x0: &x0 {{a: 1, b: 2}}\n{layers}ring: &ring {{<<: *ring, c: 3}}\n")
    assert document["x30"] == {"a": 1, "b": 2}
    assert document["ring"] == {"c": 3}


@pytest.mark.parametrize(
    "field", ["nodeSelector", "nodeASNumber", "holdTime", "design", "maxPrefixes", "bfd", "password"]
)
def test_a_bomb_of_aliases_is_never_printed(field: str) -> None:
    layers = "".join(f"  {chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12))
    head = f"apiVersion: underlay.io/v1alpha1\nkind: Rack\nmetadata: {{name: a}}\nstatus:\n  a: &a [x]\n{layers}"
    fields = {"nodeSelector": "all()", "switches": "[tor-1a]", field: "*m"}
    spec = ", ".join(f"{name}: {value}" for name, value in fields.items())
    problem = only_problem(f"{head}spec: {{{spec}}}\n")
    assert problem.path == f"spec.{field}"
    assert len(problem.line()) < 250


def test_the_same_object_in_two_files_names_both(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(pool("a", 1))
    two.write_text(pool("a", 2))
    resources, problems = read_manifests([one, two])
    assert len(resources) == 1
    assert [p.line() for p in problems] == [
        f"IPPool/a: is declared in {one} and again in {two} (keep one of them)",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [\n", "line 3, column 1"),
        ("a: 1\nb: !!bool maybe\n", "line 2, column 4: this is no bool"),
        ("a: !!timestamp soon\n", "line 1, column 4: this is no timestamp"),
        ("a: !!int ''\n", "line 1, column 4: this is no int"),
        ("a: !!float '-'\n", "line 1, column 4"),
        ("a: !!timestamp 2001-02-30\n", "line 1, column 4: this is no timestamp"),
        ("a: !!python/object:os.system x\n", "line 1, column 4"),
        ("a: *nowhere\n", "line 1, column 4"),
        ("a: {b: 1, b: 2}\n", "line 1, column 11: key 'b' is given twice"),
        ("? [a]\n: b\n", "line 1, column 3"),
    ],
)
def test_yaml_that_is_none_is_told_with_its_place(text: str, place: str) -> None:
    problem = only_problem(text)
    assert problem.code == "unreadable-manifest"
    assert problem.message.startswith(f"is no valid YAML: {place}")


@pytest.mark.parametrize("text", ["[" * 3000, "\x00", "a: 0o9" + "9" * 5000, "a: " + "9" * 5000])
def test_yaml_that_breaks_the_reader_is_told_too(text: str) -> None:
    assert only_problem(text).severity == "error"


@pytest.mark.parametrize(
    ("spot", "said"),
    [
        (f"asNumber: 0x{'f' * 5000}", "a number of 20000 bits"),
        ('routerID: "\\ud800"', "half a surrogate pair"),
        ("platform: !!binary Zm9v", "!!binary"),
        ("addresses: !!set {10.0.0.1}", "!!set"),
        ("addresses: !!pairs [a: b]", "!!pairs"),
        (f"? 0x{'f' * 5000}\n  : 1", "a number of 20000 bits"),
    ],
)
def test_what_only_yaml_can_say_is_refused_before_it_is_looked_at(spot: str, said: str) -> None:
    text = f"apiVersion: underlay.io/v1alpha1\nkind: Switch\nmetadata: {{name: a}}\nspec:\n  {spot}\n"
    problem = only_problem(text)
    assert (problem.code, problem.object) == ("bad-value", "test document 1")
    assert said in problem.message


def test_rings_and_bombs_of_aliases_end() -> None:
    ring = "apiVersion: underlay.io/v1alpha1\nkind: Switch\nmetadata: {name: a}\nspec: &s\n  asNumber: *s\n"
    assert only_problem(ring).severity == "error"
    layers = "".join(f"  {chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12))
    head = "apiVersion: underlay.io/v1alpha1\nkind: Switch\nmetadata: {name: a}\nspec:\n  a: &a [x]\n"
    _, problems = parse_manifests(head + layers, "test")
    assert {problem.code for problem in problems} == {"unknown-field", "missing-field"}


def test_a_problem_is_one_printable_line_whatever_a_field_is_called() -> None:
    text = (
        "apiVersion: underlay.io/v1alpha1\nkind: Switch\nmetadata: {name: a}\n"
        'spec: {asNumber: 1, "x\\n\\e[31merror:\\u2028y": 1}\n'
    )
    line = only_problem(text).line()
    assert line.isprintable()
    assert line.startswith("Switch/a spec[x\\n\\x1b[31merror:\\u2028y]: is no field of this kind")


YAML_LIKE = st.text(st.sampled_from("ab: -[]{},'\"\n#&*!|>%?0.~<=\t"), max_size=60)
WORDS = [
    "kind: ",
    "List",
    "items: ",
    "- ",
    "metadata: ",
    "{name: a}",
    "spec: ",
    "\n",
    "  ",
    "!!set ",
    "&a ",
    "*a",
    "<<: ",
]


@settings(deadline=None, max_examples=150)
@given(st.text() | YAML_LIKE | st.lists(st.sampled_from(WORDS), max_size=15).map("".join))
@example("a: !!bool x")
def test_no_text_raises(text: str) -> None:
    resources, problems = parse_manifests(text, "test")
    assert resources == []
    assert all(problem.line().isprintable() for problem in problems)


@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=50)
def test_no_file_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    resources, _ = read_manifests([file])
    assert resources == []
