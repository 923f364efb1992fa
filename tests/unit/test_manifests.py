"""YAML to resources: files, folders, Lists; and whatever stands in them gives resources or problems, no exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("items", ["null", "5", "{a: 1}"])
def test_a_list_without_a_list_is_no_resource(items: str) -> None:
    assert only_problem(f"kind: List\nitems: {items}\n").severity == "error"


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
        ("unreadable-manifest", str(latin), "cannot be read: not UTF-8"),
        ("unreadable-manifest", str(looped), "cannot be read: Too many levels of symbolic links"),
        ("unreadable-manifest", long, "cannot be read: File name too long"),
    ]


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
        ("a: 2001-02-30\n", "line 1, column 4: this is no timestamp"),
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
    assert line.startswith("Switch/a spec.x\\n\\x1b[31merror:\\u2028y: is no field of this kind")


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
