"""The page of a drift check."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from shared.adapters.stores import scenario_files
from shared.app.reports.charts.shares import shares_chart, ticks_of
from shared.app.reports.drift import drift_report
from shared.core.drift.baseline import Baseline
from shared.core.drift.check import check
from shared.core.drift.verdict import Fault, FeatureDrift, Kind, Quality, Verdict
from shared.core.forecast.losses import ERRORS, ForecastLosses
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Longs
from shared.core.profile.bins import BINS, CELLS
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import MergedProfile
from shared.core.scenario import DriftRules
from tests.unit.app.reports.test_pages import HOSTILE, Outline, draw, text

TASK = HourlyForecast(scenario_files.load("air_quality"))
FEATURES = ("temp.latest", "pm25.latest", "rain.latest", "wind.latest")
COLUMNS = ("temp", "pm25", "rain", "wind")
EDGES = np.stack([
    np.linspace(-40, 60, CELLS),
    1000 * np.sinh(6 * np.linspace(0, 1, CELLS)) / np.sinh(6.0),
    100 * np.sinh(6 * np.linspace(0, 1, CELLS)) / np.sinh(6.0),
    np.linspace(0, 30, CELLS),
])  # fmt: skip
LEVELS, SPREADS = np.array([260.0, 300.0, 40.0, 100.0]), np.array([40.0, 45.0, 30.0, 35.0])
WEEK, END, MODEL = 7, 19_800, "v7"
RULES = DriftRules(minimum_rows=200)
QUANTUM = 0.01
TASK.device_columns, TASK.losses, TASK.answer_edges = COLUMNS, ForecastLosses(QUANTUM), EDGES[1]


def drawn(rows: int, move: float, seed: int, level: float = 0.0) -> Longs:
    """Counts of rows whose second feature lies `move` standard deviations off."""
    draw = np.random.default_rng(seed)
    places = draw.normal(LEVELS + level + np.array([0, move, 0, 0]) * SPREADS, SPREADS, (rows, 4))
    bins = np.clip(places, 0, BINS - 1).astype(int)
    counts = np.stack([np.bincount(column, minlength=CELLS) for column in bins.T])
    counts[:, BINS] = rows // 50
    return counts


def baseline() -> Baseline:
    months = np.stack([drawn(4000, 0, month, level=6 * np.sin(month)) for month in range(12)])
    limits = np.array([[0.5, 0.4, 0.6, np.inf], [0.6, 0.5, 0.7, np.inf], [0.4, 0.3, 0.5, np.inf]])
    return Baseline(
        names=np.array(FEATURES), versions=np.ones(4, np.int64), edges=EDGES, counts=months, weights=np.zeros((4, 4)),
        low=np.full(4, -1.0), high=np.full(4, 1.0), limits=limits, forecast_edges=EDGES[1],
        forecast_counts=months[:, 1], forecast_limit=np.array([0.5]), history=np.array([WEEK, 26, 4.02, 181]),
        columns=np.array(COLUMNS), latest=np.arange(4), common=np.zeros(4), runs=np.full((2, 4), 24),
        jumps=np.full((2, 4), 60.0), lonely=np.full(4, 60.0), absent=np.zeros(4), devices=np.array(["north"]),
        offsets=np.zeros((1, 4)), quality=np.array([0.95, 14.0, 0.85]), quantum=np.array([QUANTUM]),
    )  # fmt: skip


def table(names: list[str], run: int = 2) -> DeviceTable:
    """Healthy devices but for the first, whose second channel shows one value for `run` hours."""
    count = len(names)
    middle = np.take_along_axis(EDGES, LEVELS.astype(int)[:, None], 1)[:, 0].astype(np.float32)
    values = np.repeat(middle[None], count, 0)
    runs = np.full((count, 4), 2)
    runs[:1, 1] = run
    none = np.zeros((count, 4), np.int64)
    matured = np.full(count, 100)
    return DeviceTable(
        names, np.full(count, END * 24 + 26), none + 120, values, values * 0 + 1, values, runs, none,
        np.repeat(values[:, None], 2, 1), matured, matured * np.linspace(8.0, 12.0, count), matured - 9,
    )  # fmt: skip


def merged(move: float = 0.0, rows: int = 300, run: int = 2, devices: int = 5, days: int = 40) -> MergedProfile:
    names = [f"station-{i}" for i in range(devices)]
    span = range(END - days, END + 1)
    counts = {day: drawn(rows, move if day >= END - 2 * WEEK else 0.0, day) for day in span}
    errors = {}
    for day in span:
        mae = int((11 + np.sin(day)) / QUANTUM)
        found = {
            "matured": 100, "covered": 91, "absolute": 100 * mae, "squared": 150 * mae * mae, "paired": 90,
            "absolute_paired": 90 * mae, "absolute_persistence": 120 * mae, "squared_paired": 90 * mae * mae,
            "squared_persistence": 200 * mae * mae,
        }  # fmt: skip
        model = MODEL if day > END - 20 else "v6"
        errors[day, "champion", model] = np.array([found.get(name, 0) for name in ERRORS], np.int64)
    forecasts = {(day, "champion", MODEL): one[1] for day, one in counts.items()}
    watched = tuple((name, 1) for name in FEATURES)
    return MergedProfile(
        TASK, {0: (0, 1)}, END * 24 + 26, watched, EDGES, counts, forecasts, errors, {}, table(names, run)
    )


BASELINE = baseline()
KINDS: dict[Kind, MergedProfile] = {
    "none": merged(),
    "device": merged(run=90),
    "population": merged(move=1.2),
    "not enough data": merged(rows=3),
    "pipeline": replace(merged(), devices=DeviceTable.empty(4)),
}


def judge(found: MergedProfile) -> Verdict:
    return check(RULES, BASELINE, found, END * 24 + 27, MODEL)


def words(page: str) -> str:
    return " ".join(" ".join(Outline(page).words).split())


def show(kind: Kind) -> str:
    verdict = judge(KINDS[kind])
    assert verdict.kind == kind
    return drift_report(verdict, BASELINE, KINDS[kind], title="PM2.5 in 24 hours", unit="ug/m3")


def none(kind: Kind) -> Verdict:
    """A verdict in which whatever may be missing is."""
    kept = ("name", "version", "decides", "rows", "statistics")
    lost = dict.fromkeys(name for name in FeatureDrift.__struct_fields__ if name not in kept)
    verdict = judge(KINDS["none"])
    features = tuple(
        msgspec.structs.replace(
            one, **lost,
            rows=0,
            statistics=tuple(msgspec.structs.replace(s, value=None, limit=None, ratio=None) for s in one.statistics),
        )
        for one in verdict.features
    )  # fmt: skip
    quality = Quality(
        rows=0, paired=0, mae=None, rmse=None, coverage=None, ratio=None, rmse_ratio=None, limits={}, outside=None,
        reasons=(), devices=(),
    )  # fmt: skip
    own = msgspec.structs.replace(
        verdict.forecasts, rows=0,
        **dict.fromkeys(("mean", "difference", "wasserstein", "psi", "jensen_shannon", "ks", "ratio")),
    )  # fmt: skip
    return msgspec.structs.replace(
        verdict, kind=kind, magnitude=None, features=features, quality=quality, forecasts=own, rows=0, reasons=(),
        calibrated_windows=0, calibrated_years=0.0, window=(-WEEK, 0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "headline", "follows", "status"),
    [
        ("none", "The readings are as they should be", "Nothing needs to be done", "No drift"),
        ("device", "One device is at fault", "Devices are isolated", "Device at fault"),
        ("population", "The readings have changed", "A training job is asked for", "Drift"),
        ("pipeline", "The readings do not arrive as they should", "Alert:", "Pipeline at fault"),
        ("not enough data", "Not enough data to judge", "Nothing is concluded", "Not enough data"),
    ],
)
def test_each_kind_says_what_it_means_and_what_follows(kind: Kind, headline: str, follows: str, status: str) -> None:
    page = words(show(kind))
    for found in (headline, follows, status, "PM2.5 in 24 hours", "µg/m³"):
        assert found in page
    for section in ("How large it is", "What the model reads", "All measures", "Devices", "Realised quality"):
        assert section in page


def test_a_drift_shows_its_numbers_its_formula_and_the_feature_that_leads() -> None:
    verdict, page = judge(KINDS["population"]), show("population")
    shown = words(page)
    (first,) = [feature for feature in verdict.features if feature.ratio == verdict.magnitude]
    assert first.name == "pm25.latest"
    assert first.psi is not None
    assert first.wasserstein is not None
    for found in (f"{verdict.magnitude:.2f}", verdict.formula.split(". ")[0], f"{first.psi:.3f}", "above the limit"):
        assert found in shown
    assert page.index(">pm25.latest</strong>") < page.index(">temp.latest</strong>")
    assert re.findall(r'width="\d+" height="10" class="bar (\w+)"', page)[0] == "baseline"
    assert "v1, does not decide" in shown
    assert all(reason.split(":")[0] in shown for reason in verdict.reasons)


def test_a_quiet_week_has_no_bar_beyond_the_limit() -> None:
    verdict, page = judge(KINDS["none"]), show("none")
    judged = [feature for feature in verdict.features if feature.ratio is not None]
    bars = page[page.index("Ratio to the limit") : page.index("training, this time")]
    assert re.findall(r'class="bar (\w+)"', bars) == ["model"] * len(judged)
    assert bars.count('class="mark"') == len(judged)
    assert "not above" in words(page)


def test_ratios_of_too_few_rows_are_said_to_decide_nothing() -> None:
    assert judge(KINDS["not enough data"]).magnitude is None
    assert "Nothing is concluded from these here." in words(show("not enough data"))
    assert "Nothing is concluded from these here." not in words(show("population"))


def test_a_faulty_device_stands_with_its_fault_and_is_said_to_be_isolated() -> None:
    verdict, page = judge(KINDS["device"]), words(show("device"))
    (fault,) = verdict.faulty
    assert fault.detail in page
    assert "stuck at one value" in page
    assert "Isolated: station-0 : their readings are stored" in page


def test_nothing_is_isolated_while_the_pipeline_is_at_fault() -> None:
    fault = Fault(device="a", fault="jump", channel="temp", detail="far")
    verdict = msgspec.structs.replace(judge(KINDS["pipeline"]), faulty=(fault,))
    page = words(drift_report(verdict, BASELINE, KINDS["pipeline"]))
    assert "Isolated" not in page
    assert "nothing ever arrived" in page


def test_quality_is_shown_by_day_with_the_window_shaded_and_beside_its_limits() -> None:
    verdict, page = judge(KINDS["none"]), show("none")
    shown = words(page)
    quality = verdict.quality
    assert quality.rows == 700
    assert quality.mae == pytest.approx(11, abs=1)
    for found in (f"{quality.mae:.1f}", "n = 700", "91.0 %", "at most 14.0", "at least 85.0 %", "at most 0.95"):
        assert found in shown
    ground = re.findall(r'<rect x="(\d+)" width="(\d+)" height="\d+" class="ground"', page)
    assert ground == [(str(round(4000 * 32.5 / 40)), str(round(4000 * 39.5 / 40) - round(4000 * 32.5 / 40)))]
    for line in ("persistence", "earlier models", "champion"):
        assert f"{line}</li>" in page
    assert "14 Mar 2024\npersistence:" in page


def test_quality_outside_is_said_to_ask_for_training() -> None:
    verdict = judge(KINDS["none"])
    poor = msgspec.structs.replace(verdict.quality, outside=True, reasons=("coverage 0.5 is below 0.85",))
    page = words(drift_report(msgspec.structs.replace(verdict, quality=poor), BASELINE, KINDS["none"]))
    assert "outside its accepted range, which asks for training too: coverage 0.5 is below 0.85." in page
    assert "outside its accepted range" not in words(show("none"))


def test_window_limits_and_model_stand_at_the_foot() -> None:
    page = words(show("none"))
    assert "Checked: 11 Mar 2024 to 17 Mar 2024." in page
    assert "Window: 11 Mar 2024 to 17 Mar 2024, by the day (UTC)" in page
    assert "Limits from 181 windows of 4.0 years of training history. Model: v7 ." in page


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_page_of_nothing_is_whole(kind: Kind) -> None:
    empty = MergedProfile(TASK, {}, -1, (), np.empty((0, CELLS)), {}, {}, {}, {}, DeviceTable.empty(4))
    page = words(drift_report(none(kind), BASELINE, empty))
    assert "Checked: no whole day yet" in page
    assert "Nothing to show yet." in page
    assert "nan" not in page.lower()
    assert "None" not in page
    assert "The training history was too short for limits." in page


def test_a_page_before_any_reading_is_whole() -> None:
    empty = MergedProfile(TASK, {}, -1, (), np.empty((0, CELLS)), {}, {}, {}, {}, DeviceTable.empty(4))
    verdict = judge(empty)
    assert "nothing ever arrived" in words(drift_report(verdict, BASELINE, empty)).lower()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_ever_text(name: str) -> None:
    verdict = judge(KINDS["device"])
    made = drift_report(replace_name(verdict, name), BASELINE, KINDS["device"], title=name, unit=name)
    plain = drift_report(replace_name(verdict, "device"), BASELINE, KINDS["device"], title="x", unit="y")
    assert Outline(made).tags == Outline(plain).tags
    assert text(name) == name or name not in made


def replace_name(verdict: Verdict, name: str) -> Verdict:
    """The verdict with everything that may come from outside replaced."""
    fault = Fault(device=name, fault="stuck", channel=name, detail=name)
    devices = tuple(msgspec.structs.replace(one, device=name) for one in verdict.quality.devices)
    quality = msgspec.structs.replace(verdict.quality, devices=devices, reasons=(name,), outside=True)
    return msgspec.structs.replace(
        verdict, faulty=(fault,), recovered=(name,), silent=(name,), quality=quality, model=name, reasons=(name,),
        pipeline=(name,),
    )  # fmt: skip


def test_a_large_fleet_of_long_names_stays_small() -> None:
    names = ["<" * 70 + f"{i}" for i in range(3000)]
    big = replace(merged(move=1.2, days=80), devices=table(names))
    verdict = judge(big)
    faults = tuple(
        Fault(device=name, fault="stuck", channel="pm25", detail="0 for 90 values in a row") for name in names
    )
    page = drift_report(
        msgspec.structs.replace(verdict, faulty=faults, silent=tuple(names), recovered=tuple(names)), BASELINE, big
    )
    assert len(page) < 300_000
    assert "The first 100 of 3,000 faults." in page


def test_joined_bars_hold_every_row_and_lie_where_their_values_are() -> None:
    edges = np.linspace(0, 512, CELLS)
    share = np.zeros(BINS)
    share[64:96] = 1 / 32
    chart = draw(shares_chart("x", edges, [("then", "truth", np.full(BINS, np.nan)), ("now", "model", share)]))
    found = re.findall(r"([\d.]+) to ([\d.]+)\nnow: ([\d.]+) %", chart)
    assert [float(low) for low, _, _ in found] == list(range(64, 96))
    assert sum(float(value) for _, _, value in found) == pytest.approx(100, abs=0.5)
    assert "Nothing is known of then." in chart


def test_a_reference_alone_is_not_drawn_as_if_it_were_now() -> None:
    share = np.full(BINS, 1 / BINS)
    chart = draw(shares_chart("x", EDGES[0], [("then", "truth", share), ("now", "model", share * np.nan)]))
    assert "Nothing to show yet." in chart
    assert "path" not in chart


def test_bars_of_a_wide_spread_are_few_and_add_up() -> None:
    share = np.random.default_rng(2).dirichlet(np.ones(BINS))
    chart = draw(shares_chart("x", EDGES[1], [("now", "model", share)]))
    found = [float(value) for value in re.findall(r"now: ([\d.]+) %", chart)]
    assert 16 <= len(found) <= 32
    assert sum(found) == pytest.approx(100, abs=0.5)


def test_ticks_of_bins_that_widen_are_round_and_at_their_places() -> None:
    ticks = ticks_of(EDGES[1], np.array([0, 256, 512]))
    labels = [tick.label for tick in ticks]
    assert labels[0] == "0"
    assert "1,000" in labels
    assert all(b.at - a.at >= 0.1 for a, b in pairwise(ticks))
    place = {tick.label: tick.at for tick in ticks}
    for label, at in place.items():
        assert float(label.replace(",", "")) == pytest.approx(1000 * np.sinh(6 * at) / np.sinh(6), rel=0.02, abs=0.01)
