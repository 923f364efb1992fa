"""Options and fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine makes an example slow, not wrong: time is measured in bench/.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files with what is rendered now")


@pytest.fixture
def equals_golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Asserts that a text is that of a golden file; with --update-golden writes the file instead."""

    def compare(golden: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(text, encoding="utf-8")
        assert golden.exists(), f"no golden file {golden.name}: run pytest --update-golden and read what it wrote"
        assert text == golden.read_text(encoding="utf-8")

    return compare
