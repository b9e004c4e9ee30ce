"""The page of a gate's verdict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from shared.app.reports.gate import gate_report
from shared.core.gate.classes import judge_classes
from shared.core.gate.evidence import Model
from shared.core.gate.judge import judge
from tests.kit.data.gate_world import FACTS, SCENARIO, START, World, change, facts, pick
from tests.unit.app.reports.test_pages import HOSTILE, Outline, text
from tests.unit.core.gate.test_gate import classes

WORLD = World.draw(3, devices=3, days=40)
GOOD = WORLD.evidence(WORLD.error(1, 0.8, 0.97), WORLD.error(0, 1.0, 0.97))
BAD = WORLD.evidence(WORLD.error(1, np.array([0.8, 0.8, 1.6])[:, None], 0.97), WORLD.error(0, 1.0, 0.97))


def words(page: str) -> str:
    return " ".join(Outline(page).words)


def test_the_page_of_a_promoted_challenger_shows_its_gain_and_that_all_rules_hold() -> None:
    verdict = judge(SCENARIO, GOOD, FACTS)
    page = words(gate_report(verdict, title="PM2.5"))
    (one,) = verdict.improvements
    assert one.value is not None
    assert "Promoted" in page
    assert f"{100 * one.value:.1f}" in page
    assert "every rule holds" in page
    assert "✕" not in page
    assert "2,880" in page


def test_the_page_of_a_refused_challenger_names_the_rule_the_group_value_and_limit() -> None:
    verdict = judge(SCENARIO, BAD, FACTS)
    page = words(gate_report(verdict))
    (rule,) = [rule for rule in verdict.rules if rule.name == "devices"]
    assert verdict.reasons
    assert "devices" in verdict.reasons
    assert "Refused" in page
    assert rule.value is not None
    assert all(found in page for found in ("Is it better? No.", "station-02", f"{rule.value:.4g}", "1.1"))
    assert page.count("✕") == 1 + len(verdict.reasons)


def test_pages_of_few_rows_none_no_champion_nan_and_classes_are_whole() -> None:
    nan = change(GOOD, challenger=np.full(len(GOOD), np.nan, np.float32))
    assert "Not enough data" in words(gate_report(judge(SCENARIO, pick(GOOD, slice(0, 100)), FACTS)))
    assert "too little yet to judge" in words(gate_report(judge(SCENARIO, pick(GOOD, slice(0, 0)), FACTS)))
    assert "damped persistence" in words(gate_report(judge(SCENARIO, GOOD, facts(champion=None))))
    assert "All numbers are finite" not in words(gate_report(judge(SCENARIO, nan, facts(latency_ms=None))))
    assert "Macro F1" in words(gate_report(judge_classes(SCENARIO, classes(4), FACTS)))
    assert "Macro F1" in words(gate_report(judge_classes(SCENARIO, classes(4), facts(champion=None))))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_ever_text(name: str) -> None:
    plain = judge(SCENARIO, GOOD, FACTS)
    evidence = dataclasses.replace(GOOD, devices=(name, "b", "c"))
    model = Model(version=name, sha256=name, trained_until=2**62)
    about = facts(challenger=model, damage=name, unknown_features=(name,))
    page = gate_report(judge(SCENARIO, evidence, about), title=name)
    assert {tag for tag, _ in Outline(page).tags} <= {tag for tag, _ in Outline(gate_report(plain)).tags} | {"bdi"}
    assert text(name) == name or name not in page


def test_days_without_forecasts_are_gaps() -> None:
    day = (GOOD.as_of - START) // 24
    page = gate_report(judge(SCENARIO, pick(GOOD, (day < 15) | (day > 20)), FACTS))
    drawn = [value for tag, key, value in Outline(page).values if (tag, key) == ("path", "d")]
    assert any(path.count("M") == 2 and path.count("L") > 20 for path in drawn)
