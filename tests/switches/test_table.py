"""The table of the handbook is the one of now, and says no more than what is run."""

from __future__ import annotations

from typing import get_args

import pytest

from fabric_templates.devices import Feature
from tests.switches import table
from tests.switches.judges import Judge, ran
from tests.switches.platforms import releases
from tests.switches.wants import NEVER_ASKED


def test_the_handbook_has_the_table_of_now() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.written(page) == page, "run python -m tests.switches.table --write, and read the difference"


def test_every_feature_has_a_row() -> None:
    assert sorted(table.features_shown()) == sorted(set(get_args(Feature)) - NEVER_ASKED)
    assert set(table.TITLES) == set(table.features_shown())


@pytest.mark.parametrize("platform", releases())
def test_without_judges_everything_is_only_rendered(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "judges", lambda _: ())
    monkeypatch.setattr(table, "live", lambda _: ())
    assert {table.proof_of(platform, feature) for feature in table.features_shown()} <= {"·", "no line"}


def test_a_letter_stands_only_where_a_judge_takes_a_plan_with_the_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = Judge(
        level="schema", name="blind", complaints=lambda *_: [], breaks=(), takes=lambda p: not p.listen_ranges
    )
    one = Judge(level="read back", name="one", complaints=lambda *_: [], breaks=(), proves=frozenset({"bfd"}))
    monkeypatch.setattr(table, "judges", lambda _: (blind, one))
    monkeypatch.setattr(table, "live", lambda _: (ran("x::y", "password"),))
    shown = {feature: table.proof_of("frr", feature) for feature in ("listenRanges", "bfd", "password")}
    assert shown == {"listenRanges": "·", "bfd": "SB", "password": "RS"}
