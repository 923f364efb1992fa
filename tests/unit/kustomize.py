"""As much of kustomize as config/ uses, so that the manifests can be looked at where no kubectl is.

Known: resources, components, and patches of JSON 6902 with a target, which is a kind and a name or one label. Any other
key is an error, so that nothing is left out in silence. A target that nothing fits is none, as in kustomize.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

_KEYS = {"apiVersion", "kind", "resources", "components", "patches"}


def build(folder: Path) -> list[Document]:
    """The documents of `kustomize build FOLDER`, in the order of the files."""
    return _within(folder, [])


def _within(folder: Path, found: list[Document]) -> list[Document]:
    """`found` and what the folder adds to it; a component changes what is there already."""
    own = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(own) <= _KEYS, f"{folder}: {set(own) - _KEYS}"
    for name in own.get("resources", ()):
        path = folder / name
        found = [*found, *(build(path) if path.is_dir() else _documents(path))]
    for name in own.get("components", ()):
        found = _within(folder / name, found)
    for patch in own.get("patches", ()):
        _patch(found, patch)
    return found


def _documents(path: Path) -> list[Document]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def _patch(found: list[Document], patch: Document) -> None:
    target, operations = patch["target"], yaml.safe_load(patch["patch"])
    assert set(target) <= {"kind", "name", "labelSelector"}, target
    for document in found:
        if _fits(document, target):
            for operation in operations:
                _apply(document, operation)


def _fits(document: Document, target: Document) -> bool:
    metadata = document["metadata"]
    key, _, value = target.get("labelSelector", "").partition("=")
    labelled = not key or metadata.get("labels", {}).get(key) == value
    return document["kind"] == target["kind"] and metadata["name"] == target.get("name", metadata["name"]) and labelled


def _apply(document: Any, operation: Document) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in way:
        document = document[int(part) if isinstance(document, list) else part]
    key: Any = last if isinstance(document, dict) or last == "-" else int(last)
    match operation["op"], key:
        case "add", "-":
            document.append(operation["value"])
        case "add", _:
            document[key] = operation["value"]
        case "replace", _:
            assert key in document if isinstance(document, dict) else key < len(document)
            document[key] = operation["value"]
        case "test", _:
            assert document[key] == operation["value"]
        case "remove", _:
            del document[key]
        case other, _:
            raise AssertionError(other)
