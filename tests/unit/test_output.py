"""What is printed is what was said, to the byte."""

from __future__ import annotations

import pytest

from peering.problems import Problem
from underlay.output import console, print_problems, print_table, print_text


def test_an_address_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`:100:` and `:a:` have pictures of that name in the library that prints tables."""
    address = "fd00:100::1, fd00:a::1"
    print_table("", ["ADDRESS"], [[address]])
    console.print(address, markup=False)
    print_problems([Problem("error", "bad-value", "Node/n", "spec", address)])
    printed = capsys.readouterr()
    assert printed.out.count(address) == 2
    assert address in printed.err


def test_a_configuration_keeps_its_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("neighbor {\n\tpeer\n}\n")
    assert capsys.readouterr().out == "neighbor {\n\tpeer\n}\n"
