"""The gate's parts against independent computations, its limits, and what it says of odd evidence."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from shared.core.gate.bootstrap import Draws, Timeline, bootstrap, expanded, memory, student
from shared.core.gate.classes import CLASS_RULES, judge_classes, macro_f1
from shared.core.gate.evidence import LATEST_HOUR, ClassEvidence, Evidence, decode, encode
from shared.core.gate.groups import Losses, harmed, tabulate
from shared.core.gate.judge import judge
from shared.core.gate.measure import bands, measure
from shared.core.gate.rules import RULES
from shared.core.gate.verdict import Verdict
from shared.core.gate.verdict import decode as read_verdict
from shared.core.gate.verdict import encode as write_verdict
from shared.core.model.manifest import decode_arrays, encode_arrays
from shared.core.rollout.improvement import Days, improvement
from shared.core.scenario import Loss, RolloutRules, with_overrides
from shared.core.task.losses import cost, power
from shared.errors import ConfigError, ContractBroken
from tests.kit.data.gate_world import FACTS, SCENARIO, START, World, change, facts, pick, rules, scenario, wander

WORLD = World.draw(3, devices=4, days=40)
GOOD = WORLD.evidence(WORLD.error(1, 0.8, 0.97), WORLD.error(0, 1.0, 0.97))
DRAWS = Draws(horizon=24, confidence=0.95, resamples=4000, seed=1)


def found(verdict: Verdict, name: str) -> Any:
    return next(rule for rule in verdict.rules if rule.name == name)


@pytest.mark.parametrize(
    ("name", "fact", "limit"),
    [("parity", "parity", 0.001), ("size", "size_mb", 50.0), ("latency", "latency_ms", 50.0)],
)
def test_a_fact_may_reach_its_limit_and_nothing_else(name: str, fact: str, limit: float) -> None:
    for value, holds in [
        (limit, True), (0.0, True), (math.nextafter(limit, 99), False), (-1e-9, False), (math.nan, False),
        (math.inf, False), (-math.inf, False), (None, False),
    ]:  # fmt: skip
        rule = found(judge(SCENARIO, GOOD, facts(**{fact: value})), name)
        assert (rule.holds, rule.limit) == (holds, limit), value


@pytest.mark.parametrize(
    ("limit", "name"),
    [("minimum_rows", "rows"), ("minimum_days", "days")],
)
def test_an_amount_may_equal_its_limit_but_not_fall_below(limit: str, name: str) -> None:
    there = {"rows": 3840, "days": 40}[name]
    limits: list[dict[str, Any]] = [{limit: there}, {limit: there + 1}]
    assert found(judge(scenario(**limits[0]), GOOD, FACTS), name).holds
    assert judge(scenario(**limits[1]), GOOD, FACTS).reasons == (name,)


def test_improvement_and_errors_are_those_of_plain_arithmetic() -> None:
    errors: tuple[tuple[Loss, Any], ...] = (
        ("squared", lambda x: math.sqrt(np.mean(x.astype(float) ** 2))),
        ("absolute", lambda x: np.mean(np.abs(x.astype(float)))),
    )
    for loss, error in errors:
        verdict = judge(scenario(loss=loss), GOOD, FACTS)
        mine, theirs = error(GOOD.challenger - GOOD.truth), error(GOOD.champion - GOOD.truth)
        (one,) = verdict.improvements
        assert one.value == pytest.approx(1 - mine / theirs, rel=1e-5)
        assert found(verdict, "floor").value == pytest.approx(mine / error(GOOD.damped - GOOD.truth), rel=1e-5)
        worst = max(
            error((GOOD.challenger - GOOD.truth)[GOOD.device == d])
            / error((GOOD.champion - GOOD.truth)[GOOD.device == d])
            for d in range(4)
        )
        assert found(verdict, "devices").value == pytest.approx(worst, rel=1e-5)
    scores = verdict.scores["challenger"]
    assert scores.bias == pytest.approx(float(np.mean((GOOD.challenger - GOOD.truth).astype(float))), rel=1e-4)
    assert scores.coverage == np.mean((GOOD.lower <= GOOD.truth) & (GOOD.truth <= GOOD.upper))
    lately = GOOD.as_of > GOOD.as_of.max() - 14 * 24
    covered = (GOOD.lower <= GOOD.truth) & (GOOD.truth <= GOOD.upper)
    assert found(verdict, "coverage").value in {np.mean(covered), np.mean(covered[lately])}
    assert (len(verdict.days), {day.rows for day in verdict.days}) == (40, {96})
    first = GOOD.as_of < START + 24
    assert verdict.days[0].challenger == pytest.approx(error((GOOD.challenger - GOOD.truth)[first]), rel=1e-5)


def test_intervals_that_hold_again_in_the_newest_days_hold() -> None:
    """After a change of the world no interval holds until a model has seen it."""
    early = GOOD.as_of <= GOOD.as_of.max() - 15 * 24
    missed = dataclasses.replace(GOOD, lower=np.where(early, GOOD.upper, GOOD.lower).astype(np.float32))
    assert found(judge(SCENARIO, missed, FACTS), "coverage").holds
    assert not found(judge(scenario(coverage_days=40), missed, FACTS), "coverage").holds


def test_correlation_is_the_highest_of_all_rows_and_of_each_device() -> None:
    known = np.corrcoef(GOOD.challenger, GOOD.truth)[0, 1]
    each = [np.corrcoef(GOOD.challenger[GOOD.device == d], GOOD.truth[GOOD.device == d])[0, 1] for d in range(4)]
    assert measure(SCENARIO, GOOD, FACTS).correlation == pytest.approx(max(known, *each), rel=1e-5)
    still = change(GOOD, challenger=np.full(len(GOOD), 40, np.float32))
    assert measure(SCENARIO, still, FACTS).correlation == 0


def test_neither_the_order_of_devices_nor_how_rows_are_laid_out_changes_the_verdict() -> None:
    by_time = pick(GOOD, np.argsort(GOOD.as_of, kind="stable"))
    first, second = judge(SCENARIO, GOOD, FACTS), judge(SCENARIO, by_time, FACTS)
    assert second.kind == first.kind == "promote"
    assert second.improvements[0].lower == pytest.approx(first.improvements[0].lower, rel=1e-9)


def test_without_a_champion_the_floor_is_what_has_to_be_beaten() -> None:
    alone = change(GOOD, champion=np.full(len(GOOD), np.nan, np.float32))
    verdict = judge(SCENARIO, alone, facts(champion=None))
    assert (verdict.kind, verdict.improvements[0].against) == ("promote", "floor")
    assert verdict.improvements[0].value == pytest.approx(1 - found(verdict, "floor").value, rel=1e-9)
    assert "champion" not in verdict.scores
    bad = WORLD.evidence(WORLD.error(1, 3.0))
    assert {"improvement", "floor"} <= set(judge(SCENARIO, bad, facts(champion=None)).reasons)


def test_a_champion_that_answered_nothing_leaves_too_little_data() -> None:
    verdict = judge(SCENARIO, change(GOOD, champion=np.full(len(GOOD), np.nan, np.float32)), FACTS)
    assert (verdict.kind, verdict.reasons) == ("not enough data", ("rows", "days", "blocks"))


def test_no_evidence_at_all_is_too_little_data_and_can_be_written() -> None:
    verdict = judge(SCENARIO, pick(GOOD, slice(0, 0)), FACTS)
    assert (verdict.kind, verdict.days, verdict.groups) == ("not enough data", (), ())
    assert read_verdict(write_verdict(verdict)) == verdict


def test_a_broken_package_is_refused_even_where_data_are_few() -> None:
    verdict = judge(SCENARIO, pick(GOOD, slice(0, 10)), facts(damage="golden rows differ"))
    assert (verdict.kind, verdict.reasons) == ("refuse", ("files",))


def test_the_same_evidence_gives_the_same_bytes_and_they_read_back() -> None:
    for evidence, about in [
        (GOOD, FACTS), (change(GOOD, challenger=np.full(len(GOOD), np.nan, np.float32)), facts(latency_ms=math.nan)),
    ]:  # fmt: skip
        raw = write_verdict(judge(SCENARIO, evidence, about))
        assert raw == write_verdict(judge(SCENARIO, decode(encode(evidence)), about))
        assert write_verdict(read_verdict(raw)) == raw
        assert b"NaN" not in raw


def test_another_format_of_a_verdict_or_none_is_refused() -> None:
    raw = write_verdict(judge(SCENARIO, GOOD, FACTS))
    with pytest.raises(ContractBroken, match="format 2 is not 1"):
        read_verdict(raw.replace(b'"format": 1', b'"format": 2'))
    for broken in (b"", b"{}", raw[:-9], b"\xff"):
        with pytest.raises(ContractBroken):
            read_verdict(broken)


def test_evidence_that_does_not_fit_together_is_refused() -> None:
    for name, value, message in [
        ("champion", GOOD.champion[:-1], "champion has not the shape"),
        ("devices", (*GOOD.devices[:-1], GOOD.devices[0]), "a device stands in devices twice"),
        ("device", GOOD.device + 1, "device is outside 0 to 3"),
        ("device", GOOD.device - 1, "device is outside 0 to 3"),
        ("as_of", GOOD.as_of - GOOD.as_of.max(), "as_of is outside 0"),
        ("as_of", GOOD.as_of + LATEST_HOUR, "as_of is outside 0"),
    ]:
        with pytest.raises(ContractBroken, match=message):
            change(GOOD, **{name: value})


def test_bytes_that_are_no_evidence_are_refused() -> None:
    raw = encode(GOOD)
    assert all(
        np.array_equal(getattr(decode(raw), field.name), getattr(GOOD, field.name))
        for field in dataclasses.fields(Evidence)
    )
    for broken in (b"", raw[:-30], b"PK\x03\x04", raw.replace(b"damped.npy", b"dumped.npy")):
        with pytest.raises(ContractBroken):
            decode(broken)


def test_arrays_of_another_kind_are_no_evidence() -> None:
    arrays = decode_arrays("evidence.npz", encode(GOOD))
    for name, value in [("as_of", GOOD.as_of * 0.5), ("devices", np.frombuffer(b"[1,", np.uint8))]:
        with pytest.raises(ContractBroken, match=r"evidence\.npz: "):
            decode(encode_arrays({**arrays, name: value}))


def test_hours_far_apart_come_nearer_but_keep_their_hour_of_day() -> None:
    axis = Timeline.of(np.array([1000, 1000, 1003, 1003 + 24 * 900 + 5, 1003 + 24 * 900 + 30]), 24)
    assert axis.place.tolist() == [0, 0, 3, 32, 57]
    assert axis.hours == 58
    assert Timeline.of(np.array([], np.int64), 24).hours == 0


@pytest.mark.parametrize(("hours", "low", "high"), [(2, 2, 14), (12, 14, 60), (40, 45, 168)])
def test_memory_grows_with_what_the_series_remembers(hours: int, low: int, high: int) -> None:
    lengths = [memory(wander(np.random.default_rng(seed), (4800,), hours)) for seed in range(20)]
    assert low <= np.median(lengths) <= high


def test_memory_of_noise_is_short_a_daily_course_adds_nothing_and_a_lasting_change_reaches_the_limit() -> None:
    noise = np.random.default_rng(1).standard_normal(2400)
    hours = np.arange(2400)
    assert memory(noise) <= 2
    assert memory(noise + 3 * np.sin(hours / 24 * 2 * np.pi)) == memory(noise)
    assert memory(noise + 3 * (hours > 1000)) == 168
    assert memory((noise + 3 * (hours > 1000))[900:1380]) == 40
    assert [memory(np.full(n, 2.5)) for n in (1, 2, 5, 30, 500)] == [0] * 5
    assert memory(np.where(hours == 7, np.nan, noise)) == 168


def test_expanded_percentiles_follow_student_and_the_factor_for_few_blocks() -> None:
    for count in (8, 20, 100):
        exact = stats.norm.cdf(stats.t.ppf(0.05, count - 1) * math.sqrt(count / (count - 1)))
        assert expanded(0.05, count) == pytest.approx(exact, rel=0.02)
        assert student(-1.6448536, count - 1) == pytest.approx(stats.t.ppf(0.05, count - 1), rel=0.005)


def test_bounds_of_independent_hours_are_those_of_normal_theory() -> None:
    random = np.random.default_rng(5)
    sums = np.stack([random.normal(10, 2, 24_000), np.full(24_000, 10.0)], axis=1)
    one = bootstrap(sums, lambda drawn: 1 - drawn[:, 0] / drawn[:, 1], sums[:, 0] - 10, DRAWS)
    error = 2 / 10 / math.sqrt(24_000)
    assert one.value == pytest.approx(1 - sums[:, 0].mean() / 10)
    assert one.value - one.lower == pytest.approx(1.645 * error, rel=0.1)
    assert one.upper - one.value == pytest.approx(1.645 * error, rel=0.1)
    assert (one.block, one.blocks) == (24 + one.memory, 24_000 / one.block)


def test_bounds_of_few_blocks_are_those_of_student() -> None:
    random = np.random.default_rng(5)
    sums = np.stack([random.normal(10, 2, 216), np.full(216, 10.0)], axis=1)
    one = bootstrap(sums, lambda drawn: 1 - drawn[:, 0] / drawn[:, 1], np.zeros(216), DRAWS)
    circle = np.concatenate([sums[:, 0], sums[:23, 0]])
    stretches = np.convolve(circle, np.ones(24), "valid") / 240
    wide = -stats.t.ppf(0.05, 8) * math.sqrt(9 / 8) * stretches.std() / 3
    assert one.blocks == 9
    assert (one.upper - one.lower) / 2 == pytest.approx(wide, rel=0.06)


def test_bounds_of_alike_hours_are_wider_by_what_theory_says() -> None:
    series = wander(np.random.default_rng(8), (60_000,), 10)
    sums = np.stack([10 + series, np.full(60_000, 10.0)], axis=1)
    one = bootstrap(sums, lambda drawn: 1 - drawn[:, 0] / drawn[:, 1], series, DRAWS)
    keep = math.exp(-1 / 10)
    error = math.sqrt((1 + keep) / (1 - keep) / 60_000) / 10
    assert one.value - one.lower == pytest.approx(1.645 * error, rel=0.15)


@pytest.mark.parametrize(
    ("field", "name"),
    [("floor", "floor"), ("floor", "too_good"), ("correlation", "correlation"), ("coverage", "coverage")],
)
def test_a_measure_that_is_no_number_fails_its_rule(field: str, name: str) -> None:
    case = measure(SCENARIO, GOOD, FACTS)
    rule = next(rule for rule in RULES if rule.__name__ == name)
    assert rule(case).holds
    unknown: dict[str, Any] = {field: math.nan}
    assert not rule(dataclasses.replace(case, **unknown)).holds


@pytest.mark.parametrize(
    ("name", "field", "holds"),
    [
        ("improvement", "value", {0.01: True, 0.0099: False, math.nan: False}),
        ("confidence", "lower", {1e-9: True, 0.0: False, -1.0: False, math.nan: False}),
        ("blocks", "blocks", {8.0: True, 7.99: False, math.nan: False}),
    ],
)
def test_an_interval_may_equal_its_limit_but_not_fall_below(name: str, field: str, holds: dict[float, bool]) -> None:
    case = measure(SCENARIO, GOOD, FACTS)
    rule = next(rule for rule in RULES if rule.__name__ == name)
    for value, expected in holds.items():
        changed: dict[str, Any] = {field: value}
        interval = dataclasses.replace(case.intervals["rmse"], **changed)
        assert rule(dataclasses.replace(case, intervals={"rmse": interval})).holds == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 100), st.integers(1, 200))
def test_bounds_hold_the_value_and_do_not_depend_on_the_unit(seed: int, unit: float, days: int) -> None:
    random = np.random.default_rng(seed)
    sums = random.gamma(2, 1, (days * 24, 2))
    results = [
        bootstrap(scaled, lambda drawn: 1 - drawn[:, 0] / drawn[:, 1], scaled[:, 0] - scaled[:, 1],
                  dataclasses.replace(DRAWS, resamples=400))
        for scaled in (sums, sums * unit)
    ]  # fmt: skip
    one, other = results
    assert other.lower == pytest.approx(one.lower, rel=1e-6, nan_ok=True)
    assert math.isnan(one.lower) == (one.blocks < 2)
    assert math.isnan(one.lower) or one.lower <= one.value <= one.upper


def table(
    ratio: float, rows: int, noise: float, limits: Any, groups: int = 1, seed: int = 0, loss: Loss = "absolute"
) -> Any:
    """Losses of 200 hours a block whose ratio is `ratio`; `noise` scatters it from block to block."""
    hours = np.tile(np.arange(rows), groups)
    random = np.random.default_rng(seed)
    reference = np.ones(rows * groups)
    challenger = ratio + noise * np.repeat(random.standard_normal(groups * -(-rows // 40)), 40)[: rows * groups]
    axis = Timeline.of(hours, 24)
    losses = Losses(challenger=challenger, reference=reference, axis=axis, block=40, loss=loss)
    return tabulate([f"d{i}" for i in range(groups)], np.repeat(np.arange(groups), rows), losses, limits)


@pytest.mark.parametrize(("ratio", "harm"), [(1.2099, False), (1.2101, True), (9.0, True), (math.nan, True)])
def test_a_group_is_harmed_from_the_limit_of_the_error_on(ratio: float, harm: bool) -> None:
    with np.errstate(all="ignore"):
        found = harmed(table(ratio, 400, 0.0, rules(), loss="squared"), rules())
        assert found.tolist() == [harm]  # 1.21 is 1.1 squared


def test_a_group_that_may_be_worse_by_chance_alone_is_not_harmed() -> None:
    limits = rules()
    noisy = table(1.0, 400, 0.6, limits, groups=300)
    assert (noisy.challenger / noisy.reference > 1.1).sum() > 50
    assert harmed(noisy, limits).sum() <= 3
    assert harmed(table(2.5, 400, 0.6, limits, groups=300), limits).mean() > 0.9


def test_small_groups_are_judged_together() -> None:
    limits = rules(minimum_group_rows=200)
    small = table(1.5, 80, 0.0, limits, groups=4)
    assert (small.names[-1], small.judged.tolist()) == ("4 small ones together", [False] * 4 + [True])
    assert harmed(small, limits).tolist() == [False] * 4 + [True]
    assert tabulate(["a", "b"], np.zeros(300, int), Losses(
        challenger=np.ones(300), reference=np.ones(300), axis=Timeline.of(np.arange(300), 24), block=40,
        loss="absolute"), limits
    ).names == ("a",)  # fmt: skip
    assert not harmed(table(0.0, 400, 0.0, limits), limits).any()


def test_bands_are_the_categories_of_the_value_as_of_now() -> None:
    names, band = bands(SCENARIO, np.array([0, 9, 9.01, 35.4, 35.5, 1000, 2000, np.nan, np.inf], np.float32))
    assert [names[index] for index in band] == [
        "good", "good", "moderate", "moderate", "unhealthy for sensitive groups", "hazardous", "hazardous",
        "no value as of now", "no value as of now",
    ]  # fmt: skip
    plain = with_overrides(SCENARIO, categories=())
    names, band = bands(plain, np.arange(100, dtype=np.float32))
    assert np.bincount(band).tolist() == [25, 25, 25, 25]
    assert names[0] == "lowest quarter"
    assert bands(plain, np.full(3, np.nan, np.float32))[1].tolist() == [4, 4, 4]


@pytest.mark.parametrize("apart", [-0.05, 0.05])
def test_coverage_may_be_off_by_the_tolerance_to_either_side(apart: float) -> None:
    case = measure(SCENARIO, GOOD, FACTS)
    rule = next(rule for rule in RULES if rule.__name__ == "coverage")
    assert rule(dataclasses.replace(case, coverage=0.9 + apart)).holds
    assert not rule(dataclasses.replace(case, coverage=0.9 + 1.001 * apart)).holds


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("minimum_improvement", 0.0, 0.5), ("confidence", 0.5, 0.999), ("minimum_rows", 1, 10**9),
        ("minimum_days", 1, 3650), ("minimum_blocks", 2, 1000), ("worst_group_ratio", 1.0, 10.0),
        ("minimum_group_rows", 1, 10**9), ("coverage_tolerance", 0.0, 0.5), ("coverage_days", 1, 3650),
        ("maximum_parity", 0.0, 1e6),
        ("maximum_mb", 0.0, 10_000.0), ("maximum_latency_ms", 0.0, 60_000.0), ("suspicious_ratio", 0.0, 1.0),
        ("suspicious_correlation", 0.0, 1.0), ("resamples", 200, 20_000), ("seed", 0, 2**63 - 1),
    ],
)  # fmt: skip
def test_limits_of_the_gate_have_limits_themselves(name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(rules(**{name: value}), name) == value
    step = 1 if isinstance(low, int) else 1e-6
    for value in (low - step, high + step):
        changes: dict[str, Any] = {name: value}
        with pytest.raises(ConfigError, match=f"gate.{name}: .* is outside"):
            scenario(**changes)


@pytest.mark.parametrize("loss", ["absolute", "squared"])
@pytest.mark.parametrize("size", [0.7, 1.0, 1.3])
def test_gate_floor_and_rollout_go_by_one_loss(loss: Loss, size: float) -> None:
    evidence = WORLD.evidence(WORLD.error(1, size, 0.97), WORLD.error(0, 1.0, 0.97))
    (judged,) = judge(scenario(loss=loss), evidence, FACTS).improvements
    errors = [(each - evidence.truth).astype(np.float64) for each in (evidence.champion, evidence.challenger)]
    day = evidence.as_of // 24
    sums = {
        int(each): (int((day == each).sum()), *(float(cost(loss, error)[day == each].sum()) for error in errors))
        for each in np.unique(day)
    }
    climbed = improvement(Days.of(sums, power(loss)), RolloutRules())  # type: ignore[arg-type]
    assert climbed.estimate == pytest.approx(judged.value, rel=1e-4, abs=1e-6)
    assert climbed.lower < climbed.estimate < climbed.upper
    plain = improvement(Days.of(sums), RolloutRules())  # type: ignore[arg-type]
    assert [np.sign(end) for end in (plain.lower, plain.upper)] == [np.sign(e) for e in (climbed.lower, climbed.upper)]


def classes(seed: int, right: tuple[float, float] = (0.8, 0.7), days: int = 60, **changes: Any) -> ClassEvidence:
    """Three classes, the last rare; each model is right in a share of the rows, otherwise a class beside."""
    random = np.random.default_rng(seed)
    rows = days * 24 * 3
    truth = random.choice(3, rows, p=[0.6, 0.3, 0.1]).astype(np.int32)
    answers = [np.where(random.random(rows) < share, truth, (truth + 1) % 3).astype(np.int32) for share in right]
    as_of = np.tile(START + np.arange(days * 24), 3)
    given: dict[str, Any] = {
        "devices": ("a", "b", "c"), "device": np.repeat(np.arange(3, dtype=np.int32), days * 24), "as_of": as_of,
        "trained_until": as_of - 1, "truth": truth, "witness": truth, "challenger": answers[0],
        "champion": answers[1], "floor": np.zeros(rows, np.int32),
    }  # fmt: skip
    return ClassEvidence(**{**given, **changes})


def better_on_common_ones_only() -> ClassEvidence:
    base = classes(1)
    challenger = np.where(base.truth == 2, 0, base.truth).astype(np.int32)
    champion = np.where((base.truth == 0) & (np.arange(len(base)) % 4 == 0), 1, base.truth).astype(np.int32)
    return classes(1, challenger=challenger, champion=champion)


def better_on_rare_ones_only() -> ClassEvidence:
    base = classes(1)
    champion = np.where(base.truth == 2, 0, base.truth).astype(np.int32)
    challenger = np.where((base.truth == 0) & (np.arange(len(base)) % 6 == 0), 1, base.truth).astype(np.int32)
    return classes(1, challenger=challenger, champion=champion)


def harms_one_device() -> ClassEvidence:
    base = classes(2, (0.97, 0.7))
    worse = (np.arange(len(base)) % 5 < 2) & (base.device == 1)
    return classes(2, (0.97, 0.7), challenger=np.where(worse, (base.truth + 1) % 3, base.challenger).astype(np.int32))


@pytest.mark.parametrize(
    ("name", "make"),
    [("accuracy", better_on_rare_ones_only), ("f1", better_on_common_ones_only), ("devices", harms_one_device)],
)
def test_each_rule_on_classes_alone_stops_a_challenger_that_all_others_let_pass(name: str, make: Any) -> None:
    verdict = judge_classes(SCENARIO, make(), FACTS)
    assert (verdict.kind, verdict.reasons) == ("refuse", (name,))
    without = [rule for rule in CLASS_RULES if rule.__name__ != name]
    assert judge_classes(SCENARIO, make(), FACTS, without).kind == "promote"


def test_better_classes_are_promoted_with_the_gains_that_sklearn_finds() -> None:
    evidence = classes(4)
    verdict = judge_classes(SCENARIO, evidence, FACTS)
    accuracy, f1 = verdict.improvements
    pairs = [(evidence.truth, evidence.challenger), (evidence.truth, evidence.champion)]
    mine, theirs = (f1_score(*pair, average="macro") for pair in pairs)
    assert (verdict.kind, accuracy.measure, f1.measure) == ("promote", "accuracy", "f1")
    assert f1.value == pytest.approx(mine - theirs, rel=1e-9)
    assert verdict.scores["challenger"].f1 == pytest.approx(mine, rel=1e-9)
    assert accuracy.value == pytest.approx(np.mean(pairs[0][0] == pairs[0][1]) - np.mean(pairs[1][0] == pairs[1][1]))
    assert None not in (f1.lower, accuracy.lower)
    assert read_verdict(write_verdict(verdict)) == verdict


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"challenger": np.full(4320, -1, np.int32)}, ("finite",)),
        ({"witness": np.zeros(4320, np.int32)}, ("aligned",)),
        ({"trained_until": np.full(4320, START + 9)}, ("out_of_fold",)),
        ({"champion": np.full(4320, -1, np.int32)}, ("rows", "days", "blocks")),
    ],
)
def test_classes_without_an_answer_of_other_rows_or_seen_in_training_do_not_pass(changes: Any, reasons: Any) -> None:
    assert judge_classes(SCENARIO, classes(4, **changes), FACTS).reasons == reasons


def test_classes_without_a_champion_have_to_beat_the_floor_and_equal_ones_do_not_pass() -> None:
    assert judge_classes(SCENARIO, classes(4), facts(champion=None)).improvements[0].against == "floor"
    assert judge_classes(SCENARIO, classes(4, (0.7, 0.7)), FACTS).kind == "refuse"
    with pytest.raises(ContractBroken, match="class that is not below 1000"):
        classes(4, floor=np.full(4320, 1000, np.int32))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_macro_f1_agrees_with_sklearn(pairs: list[tuple[int, int]]) -> None:
    truth, forecast = np.array(pairs).T
    hits, shown, came = (np.bincount(a, minlength=4).astype(float) for a in (truth[truth == forecast], forecast, truth))
    assert macro_f1(hits, shown, came) == pytest.approx(f1_score(truth, forecast, average="macro", zero_division=0))


def test_a_verdict_is_plain_json() -> None:
    plain = msgspec.json.decode(write_verdict(judge(SCENARIO, GOOD, FACTS)))
    assert (plain["kind"], plain["reasons"], plain["scenario"], plain["unit"]) == (
        "promote",
        [],
        "air_quality",
        "ug/m3",
    )
