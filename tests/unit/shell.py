"""A folder with a store in it, and the commands that work on that: exit codes and both streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import yaml

from peering.resource import Resource
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.command_line import Result, run_underlay
from tests.unit.samples import SAMPLES, dual_tor, nodes

FABRIC = str(SAMPLES / "dual-tor")


class Shell:
    """A folder with a store in it, and the commands that work on that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "store.db"

    def __call__(self, *arguments: str) -> Result:
        return run_underlay(*arguments, "--store", f"sqlite:{self.path}")

    def good(self, *arguments: str) -> str:
        """What the command says when it ends well."""
        result = self(*arguments)
        assert (result.exit_code, "Traceback" in result.stderr) == (0, False), result.stderr
        return result.stdout

    def bad(self, *arguments: str) -> str:
        """What a refused command says; nothing of it on stdout."""
        result = self(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        return result.stderr

    def misused(self, *arguments: str) -> str:
        result = self(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr

    def data(self, *arguments: str) -> Any:
        return json.loads(self.good(*arguments, "-o", "json"))

    def with_nodes(self) -> Shell:
        """Declares the sample with its four nodes."""
        manifest = self.manifest("nodes.yaml", *(node.to_document() for node in nodes()))
        self.good("apply", "-f", FABRIC, "-f", manifest)
        return self

    def manifest(self, name: str, *documents: dict[str, Any]) -> str:
        file = self.folder / name
        file.write_text(yaml.safe_dump_all(documents))
        return str(file)

    def edited(self, kind: str, name: str, **changes: object) -> str:
        """A manifest of a resource of the sample with some fields of its spec replaced."""
        found = dual_tor().get(kind, name)
        assert found is not None
        document = found.to_document()
        document["spec"] |= changes
        return self.manifest("edited.yaml", document)

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run(work)

    def put(self, *resources: Resource) -> None:
        async def work() -> None:
            store = SqliteStore(self.path)
            for resource in resources:
                await put(store, resource)
            await store.close()

        self.run(work())
