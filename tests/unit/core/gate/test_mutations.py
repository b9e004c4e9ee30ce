"""Challengers that must not pass, each stopped by one rule alone; and better ones that must."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
import numpy as np
import pytest

from shared.core.gate.evidence import Evidence, Facts, Model
from shared.core.gate.judge import judge
from shared.core.gate.rules import RULES
from shared.core.scenario import Loss, Scenario
from tests.kit.data.gate_world import CHAMPION, FACTS, SCENARIO, START, World, change, facts, pick, scenario

Trial: TypeAlias = tuple[Scenario, Evidence, Facts]
SEED = 11
WORLD = World.draw(SEED)
NOW = WORLD.now
HOUR = np.arange(WORLD.truth.shape[1])
BETTER = 0.85
ALIKE = 0.97


def challenger(size: object = BETTER, world: World = WORLD) -> Evidence:
    """A challenger whose errors are `size` times as large as a champion's of the usual kind."""
    return world.evidence(world.error(1, size, ALIKE), world.error(0, 1.0, ALIKE))


def known(**changes: object) -> Trial:
    return SCENARIO, challenger(), facts(**changes)


def with_nan() -> Trial:
    good = challenger()
    return SCENARIO, change(good, lower=np.where(np.arange(len(good)) % 9999 == 5, np.nan, good.lower)), FACTS


def shuffled() -> Trial:
    """Truth and forecasts stay together, so that all errors are right, but on rows of other devices and hours."""
    good = challenger()
    order = np.random.default_rng(1).permutation(len(good))
    moved = ("truth", "challenger", "champion", "persistence", "damped", "lower", "upper")
    return SCENARIO, change(good, **{name: getattr(good, name)[order] for name in moved}), FACTS


def counted_twice() -> Trial:
    good = challenger()
    return SCENARIO, pick(good, np.repeat(np.arange(len(good)), 1 + (np.arange(len(good)) % 50 == 0))), FACTS


def seen_in_training() -> Trial:
    good = challenger()
    late = np.arange(len(good)) % 1000 == 0
    return SCENARIO, change(good, trained_until=np.where(late, good.as_of + 1, good.trained_until)), FACTS


def champion_on_its_training() -> Trial:
    return known(champion=Model(version="v1", sha256="a" * 64, trained_until=START + 1))


def few_rows() -> Trial:
    good = challenger()
    return SCENARIO, pick(good, np.arange(0, len(good), 61)), FACTS


def few_days() -> Trial:
    world = World.draw(SEED, days=13, memory=3)
    return SCENARIO, challenger(0.7, world), FACTS


def few_blocks() -> Trial:
    world = World.draw(SEED, days=20, memory=200)
    return SCENARIO, challenger(0.6, world), FACTS


def hardly_better() -> Trial:
    error = WORLD.error(0)
    return SCENARIO, WORLD.evidence(0.995 * error, error), FACTS


def better_by_chance() -> Trial:
    """Better in one stretch of four days, a thousandth worse in all others."""
    episode = (HOUR >= 1000) & (HOUR < 1096)
    error = WORLD.error(0)
    return SCENARIO, WORLD.evidence(np.where(episode, 0.0, 1.001) * error, np.where(episode, 1.8, 1.0) * error), FACTS


def below_the_floor() -> Trial:
    return SCENARIO, WORLD.evidence(WORLD.error(1, 2.6, ALIKE), WORLD.error(0, 3.2, ALIKE)), FACTS


def too_good() -> Trial:
    return SCENARIO, challenger(0.55), FACTS


def copies_the_truth_damped() -> Trial:
    return SCENARIO, WORLD.evidence(-0.2 * WORLD.truth), FACTS


def harms_a_device() -> Trial:
    return SCENARIO, challenger(np.where(np.arange(12) == 3, 1.5, 0.8)[:, None]), FACTS


def harms_a_band() -> Trial:
    return SCENARIO, challenger(np.where((NOW > 9) & (NOW <= 35.4), 1.4, 0.7)), FACTS


def intervals_too_narrow() -> Trial:
    good = challenger()
    middle = good.challenger
    return SCENARIO, change(good, lower=(middle + good.lower) / 2, upper=(middle + good.upper) / 2), FACTS


ONE_RULE: dict[str, Callable[[], Trial]] = {
    "version": lambda: known(challenger=Model(version="v1", sha256="b" * 64, trained_until=START)),
    "sha256": lambda: known(challenger=Model(version="v2", sha256="a" * 64, trained_until=START)),
    "files": lambda: known(damage="model.onnx: sha256 differs"),
    "features": lambda: known(unknown_features=("pm25.latest@9",)),
    "parity": lambda: known(parity=0.0011),
    "size": lambda: known(size_mb=50.1),
    "latency": lambda: known(latency_ms=50.1),
    "finite": with_nan,
    "aligned": shuffled,
    "ordered": counted_twice,
    "out_of_fold": seen_in_training,
    "champion_out_of_fold": champion_on_its_training,
    "rows": few_rows,
    "days": few_days,
    "blocks": few_blocks,
    "improvement": hardly_better,
    "confidence": better_by_chance,
    "floor": below_the_floor,
    "too_good": too_good,
    "correlation": copies_the_truth_damped,
    "devices": harms_a_device,
    "bands": harms_a_band,
    "coverage": intervals_too_narrow,
}
AMOUNT = ("rows", "days", "blocks")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_alone_stops_a_challenger_that_all_others_let_pass(rule: Callable[..., object]) -> None:
    name = rule.__name__
    trial = ONE_RULE[name]()
    verdict = judge(*trial)
    assert (verdict.kind, verdict.reasons) == ("not enough data" if name in AMOUNT else "refuse", (name,))
    assert [found.name for found in verdict.rules if not found.holds] == [name]
    without = judge(*trial, rules=[other for other in RULES if other is not rule])
    assert without.kind == "promote"


def test_every_rule_has_its_bad_challenger() -> None:
    assert list(ONE_RULE) == [rule.__name__ for rule in RULES]


def nan_everywhere(name: str) -> Evidence:
    good = challenger()
    return change(good, **{name: np.full(len(good), np.nan, np.float32)})


def with_one(name: str, value: float) -> Evidence:
    good = challenger()
    return change(good, **{name: np.where(np.arange(len(good)) == 7777, np.float32(value), getattr(good, name))})


BAD: dict[str, tuple[Callable[[], Evidence], Facts, set[str]]] = {
    "worse": (lambda: challenger(1.1), FACTS, {"improvement", "confidence", "devices", "bands"}),
    "equal": (lambda: challenger(1.0), FACTS, {"confidence"}),
    "the champion's own forecasts": (lambda: WORLD.evidence(WORLD.error(0)), FACTS, {"improvement", "confidence"}),
    "the truth itself": (lambda: WORLD.evidence(0 * WORLD.truth), FACTS,
                         {"too_good", "correlation", "coverage"}),
    "the truth of one device": (
        lambda: challenger(np.where(np.arange(12) == 5, 0.01, 0.9)[:, None]), FACTS, {"correlation"}),
    "forecasts are NaN": (lambda: nan_everywhere("challenger"), FACTS, {"finite"}),
    "one forecast is NaN": (lambda: with_one("challenger", np.nan), FACTS, {"finite"}),
    "one forecast is infinite": (lambda: with_one("challenger", np.inf), FACTS, {"finite"}),
    "a champion's forecast is infinite": (lambda: with_one("champion", -np.inf), FACTS, {"finite"}),
    "a value as of now is infinite": (lambda: with_one("persistence", np.inf), FACTS, {"finite"}),
    "truths are NaN": (lambda: nan_everywhere("truth"), FACTS, {"finite", "aligned"}),
    "the truth cannot be read anew": (lambda: nan_everywhere("witness"), FACTS, {"aligned"}),
    "no floor is known": (lambda: nan_everywhere("damped"), FACTS, {"floor", "too_good"}),
    "trained on all of it": (lambda: change(challenger(), trained_until=challenger().as_of + 24), FACTS,
                             {"out_of_fold"}),
    "compared with itself": (lambda: WORLD.evidence(WORLD.error(0)), facts(challenger=CHAMPION), {"version", "sha256"}),
    "nothing is known of the package": (challenger, facts(parity=None, size_mb=float("nan"), latency_ms=-1.0),
                                        {"parity", "size", "latency"}),
    "corrupt, and better": (challenger, facts(damage="golden rows differ"), {"files"}),
    "intervals without end": (
        lambda: change(challenger(), lower=challenger().lower - 1e6, upper=challenger().upper + 1e6), FACTS,
        {"coverage"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_challenger_is_refused_for_the_right_reason(name: str) -> None:
    make, given, reasons = BAD[name]
    verdict = judge(SCENARIO, make(), given)
    assert (verdict.kind, set(verdict.reasons)) == ("refuse", reasons)
    assert all(reason in verdict.text for reason in reasons)


GOOD: dict[str, Callable[[], Evidence]] = {
    "5 % better everywhere": lambda: WORLD.evidence(0.95 * WORLD.error(0)),
    "15 % better with errors of its own": challenger,
    "better where values are high": lambda: challenger(np.where(NOW > 55.4, 0.75, 0.98)),
    "better on half of the devices": lambda: challenger(np.where(np.arange(12) < 6, 0.7, 1.0)[:, None]),
    "better at night": lambda: challenger(np.where(HOUR % 24 < 12, 0.65, 0.99)),
    "without the champion's bias": lambda: WORLD.evidence(WORLD.error(1, 1.0, ALIKE), WORLD.error(0, 1.0, ALIKE) - 12),
    "after a change of season": lambda: challenger(np.where(HOUR > 1500, 0.6, 1.0)),
    "where half of the champion's answers are missing": lambda: change(
        challenger(), champion=np.where(np.arange(28_800) % 2 == 0, challenger().champion, np.nan)
    ),
    "where the value as of now is sometimes missing": lambda: change(
        challenger(), persistence=np.where(np.arange(28_800) % 5 == 0, np.nan, challenger().persistence),
        damped=np.where(np.arange(28_800) % 5 == 0, np.nan, challenger().damped)),
}  # fmt: skip


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("name", GOOD)
def test_a_better_challenger_is_promoted(name: str, loss: Loss) -> None:
    verdict = judge(scenario(loss=loss), GOOD[name](), FACTS)
    assert msgspec.json.decode(msgspec.json.encode(verdict))["kind"] == "promote", "it is kept as JSON"
    assert (verdict.kind, verdict.reasons) == ("promote", ()), verdict.text


@pytest.mark.slow
def test_an_equal_challenger_is_seldom_promoted_and_a_better_one_mostly(capsys: pytest.CaptureFixture[str]) -> None:
    seeds, shares = 200, {}
    for size in (1.0, 0.95, 0.9):
        promoted = 0
        for seed in range(seeds if size == 1.0 else seeds // 4):
            world = World.draw(10_000 + seed)
            promoted += judge(scenario(resamples=500), challenger(size, world), FACTS).kind == "promote"
        shares[size] = promoted / (seeds if size == 1.0 else seeds // 4)
    with capsys.disabled():
        print(  # noqa: T201
            f"\npromoted: {', '.join(f'{share:.1%} at {size:g} of the error' for size, share in shares.items())}"
        )
    sure = SCENARIO.gate.confidence
    assert shares[1.0] <= 1 - sure + 3 * np.sqrt(sure * (1 - sure) / seeds)
    assert shares[0.95] >= 0.7
    assert shares[0.9] >= 0.9
