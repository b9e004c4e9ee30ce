"""The verdict: what is judged, what is refused, and why."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from shared.core.drift import triage
from shared.core.drift.baseline import Baseline
from shared.core.drift.check import check
from shared.core.drift.comparable import PER_COLUMN, devices_of
from shared.core.forecast.losses import ERRORS
from shared.core.forecast.task import HourlyForecast
from shared.core.model.manifest import decode_arrays, encode_arrays
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import MergedProfile
from shared.core.scenario import DriftRules
from shared.errors import ContractBroken
from tests.kit.data.drift_baseline import COLUMNS, NOW, TASK, WATCHED, baseline, spoilt, table

FOUR = ("a", "b", "c", "d")
RULES = DriftRules(minimum_rows=100)
END = (NOW - 48) // 24


def merged(devices: DeviceTable, moved: dict[str, int] | None = None, rows: int = 50) -> MergedProfile:
    """Profiles whose days look like the training history, some features moved by a number of bins."""
    day = baseline().counts[0] * rows // 2000
    day[:, 0] += rows - day.sum(1)
    for name, bins in (moved or {}).items():
        at = [f.name for f in WATCHED.features].index(name)
        day[at] = np.roll(day[at], bins)
    return MergedProfile(
        task=TASK, stamps={0: (0, 1)}, newest_hour=NOW, watched=WATCHED.names, edges=WATCHED.edges,
        histograms=dict.fromkeys(range(END - 14, END), day), forecasts={}, errors={}, pairs={}, devices=devices,
    )  # fmt: skip


def test_nothing_moved_gives_none_with_its_formula() -> None:
    found = check(RULES, baseline(*FOUR), merged(table(*FOUR), rows=2000), NOW, "v1")
    assert (found.kind, found.rows, found.window) == ("none", 14000, (END - 7, END))
    assert found.magnitude is not None
    assert found.magnitude < 0.05
    assert "limit" in found.formula


def test_a_moved_feature_is_the_population_and_the_magnitude_is_its_largest_ratio() -> None:
    found = check(RULES, baseline(*FOUR), merged(table(*FOUR), {"temp.latest": 60}, 2000), NOW, "v1")
    assert found.kind == "population"
    assert found.reasons[0].startswith("temp.latest: ")
    own = next(f for f in found.features if f.name == "temp.latest")
    assert found.magnitude == own.ratio
    assert own.ratio == max(s.ratio or 0 for s in own.statistics)
    scale = baseline().scale[[f.name for f in WATCHED.features].index("temp.latest")]
    assert own.statistics[1].value == pytest.approx(60 / scale, rel=0.02)


def test_what_does_not_decide_is_reported_only() -> None:
    found = check(RULES, baseline(*FOUR), merged(table(*FOUR), {"precip.latest": 90}, 2000), NOW, "v1")
    own = next(f for f in found.features if f.name == "precip.latest")
    assert (found.kind, own.decides, own.ratio) == ("none", False, None)
    assert (own.ks or 0) > 0.9


def test_a_shift_that_one_faulty_device_could_cause_is_the_devices() -> None:
    moved = merged(table(*FOUR), {"temp.latest": 20}, 2000)
    assert check(RULES, baseline(*FOUR), moved, NOW, "v1").kind == "population"
    faulty = replace(moved, devices=spoilt(table(*FOUR), 1, "temp", run=60))
    found = check(RULES, baseline(*FOUR), faulty, NOW, "v1")
    assert (found.kind, [f.device for f in found.faulty]) == ("device", ["b"])
    assert check(RULES, baseline(*FOUR), moved, NOW, "v1", ("b",)).kind == "none"  # it may have shown that before


@pytest.mark.parametrize(("rows", "kind"), [(14, "not enough data"), (15, "none")])
def test_below_the_minimum_sample_there_is_no_verdict(rows: int, kind: str) -> None:
    limitless = replace(baseline(*FOUR), limits=np.full_like(baseline().limits, 50.0))
    found = check(replace(RULES, minimum_rows=15 * 7), limitless, merged(table(*FOUR), rows=rows), NOW, "v1")
    assert found.kind == kind
    assert (found.magnitude is None) == (kind != "none")


def test_without_limits_or_without_profiles_there_is_no_verdict() -> None:
    none = replace(baseline(*FOUR), limits=np.full_like(baseline().limits, np.nan))
    found = check(RULES, none, merged(table(*FOUR)), NOW, "v1")
    assert (found.kind, found.magnitude) == ("not enough data", None)
    empty = replace(merged(table()), histograms={}, newest_hour=-1)
    assert check(RULES, baseline(), empty, NOW, "v1").kind == "pipeline"


def test_a_window_before_that_is_too_thin_is_not_looked_at() -> None:
    whole = merged(table(*FOUR), {"temp.latest": 60}, 2000)
    one = replace(whole, histograms={d: h for d, h in whole.histograms.items() if d >= END - 7})
    own = next(f for f in check(RULES, baseline(*FOUR), one, NOW, "v1").features if f.name == "temp.latest")
    assert own.statistics[2].value is None
    assert own.ratio is not None


def test_the_pipeline_comes_before_the_population() -> None:
    devices = table(*FOUR)
    for device in range(4):
        devices = spoilt(devices, device, "pm25", silent=60)
    found = check(RULES, baseline(*FOUR), merged(devices, {"temp.latest": 60}, 2000), NOW, "v1")
    assert found.kind == "pipeline"


MOVED = {"temp.latest": 60}
TEMP = [name for name, _ in WATCHED.names].index("temp.latest")


def test_a_feature_of_another_version_is_not_judged_and_named() -> None:
    drifted = merged(table(*FOUR), MOVED, 2000)
    assert check(RULES, baseline(*FOUR), drifted, NOW, "v1").kind == "population"
    other = tuple((name, 2 if name == "temp.latest" else version) for name, version in WATCHED.names)
    found = check(RULES, baseline(*FOUR), replace(drifted, watched=other), NOW, "v1")
    assert found.kind == "none"
    assert found.reasons[1:] == ("not judged: temp.latest: version 1 in the baseline, 2 now",)
    assert next(one for one in found.features if one.name == "temp.latest").ratio is None


def test_a_feature_in_other_bins_is_not_judged_and_says_which_while_the_rest_is() -> None:
    edges = WATCHED.edges.copy()
    edges[TEMP + 1] *= 2
    drifted = merged(table(*FOUR), MOVED, 2000)
    found = check(RULES, baseline(*FOUR), replace(drifted, edges=edges), NOW, "v1")
    assert found.kind == "population"
    assert found.reasons[0].startswith("temp.latest: ")
    says = "not judged: rel_humidity.latest: bins differ: baseline 0..100, scenario 0..200"
    assert found.reasons[-1] == says


def test_a_channel_that_is_new_or_stands_elsewhere_changes_no_verdict() -> None:
    profiles = merged(table(*FOUR), MOVED, 2000)
    order = [*range(1, len(WATCHED.names)), 0]
    devices = profiles.devices
    more = replace(
        profiles,
        watched=(("new.latest", 1), *(WATCHED.names[place] for place in order)),
        edges=np.concatenate([WATCHED.edges[:1], WATCHED.edges[order]]),
        histograms={day: np.concatenate([counts[:1], counts[order]]) for day, counts in profiles.histograms.items()},
        devices=devices,
    )
    assert check(RULES, baseline(*FOUR), more, NOW, "v1") == check(RULES, baseline(*FOUR), profiles, NOW, "v1")


def test_a_channel_that_is_gone_is_not_judged_and_no_fault() -> None:
    profiles = merged(table(*FOUR), rows=2000)
    kept = [place for place, (name, _) in enumerate(WATCHED.names) if not name.startswith("pm25.")]
    gone = replace(
        profiles,
        watched=tuple(WATCHED.names[place] for place in kept),
        edges=WATCHED.edges[kept],
        histograms={day: counts[kept] for day, counts in profiles.histograms.items()},
    )
    found = check(RULES, baseline(*FOUR), gone, NOW, "v1")
    assert found.kind == "none"
    assert "not judged: pm25.latest: the scenario no longer has it" in found.reasons


def test_nothing_that_can_be_compared_is_not_enough_data_and_says_what_is_needed() -> None:
    edges = WATCHED.edges + 1
    found = check(RULES, baseline(*FOUR), replace(merged(table(*FOUR), rows=2000), edges=edges), NOW, "v1")
    assert found.kind == "not enough data"
    assert "newly trained model" in found.reasons[0]
    assert sum("bins differ" in reason for reason in found.reasons) == len(WATCHED.names)


class Renamed(HourlyForecast):
    """The forecast with the device columns of another scenario."""

    device_columns = ("new", *(name for name in COLUMNS if name != "pm25"))

    def __init__(self) -> None:
        super().__init__(TASK.scenario)
        self.device_columns = type(self).device_columns


def test_device_tables_are_laid_out_as_the_baseline_was() -> None:
    given = replace(merged(table(*FOUR)), task=Renamed())
    order = [0, *(place for place, name in enumerate(COLUMNS) if name != "pm25")]
    per_column = {name: getattr(given.devices, name)[..., order] for name in PER_COLUMN}
    found = devices_of(baseline(*FOUR), replace(given, devices=replace(given.devices, **per_column)))
    pm25 = COLUMNS.index("pm25")
    for name in PER_COLUMN:
        there, before = getattr(found, name), getattr(given.devices, name)
        others = [place for place in range(len(COLUMNS)) if place != pm25]
        assert np.array_equal(there[..., others], before[..., others], equal_nan=True), name
        assert not np.nan_to_num(there[..., pm25]).any()
    assert triage.triage(baseline(*FOUR), found, NOW).pipeline == ()


@pytest.mark.parametrize(
    ("absolute", "covered", "rows", "outside"),
    [(90, 90, 100, False), (96, 90, 100, True), (90, 79, 100, True), (96, 90, 99, None), (0, 100, 100, False)],
)
def test_quality_beside_its_limits(absolute: int, covered: int, rows: int, outside: bool | None) -> None:
    sums = dict.fromkeys(ERRORS, 0) | {
        "matured": rows, "covered": covered, "absolute": absolute, "squared": absolute, "paired": rows,
        "absolute_paired": absolute, "absolute_persistence": 100, "squared_paired": 100, "squared_persistence": 400,
    }  # fmt: skip
    errors = {(END - 1, "champion", "v1"): np.array([sums[name] for name in ERRORS])}
    errors[END - 1, "challenger", "v1"] = errors[END - 1, "champion", "v0"] = np.full(len(ERRORS), 10**6)
    profiles = replace(merged(table(*FOUR)), errors=errors)
    found = check(RULES, baseline(*FOUR), profiles, NOW, "v1").quality
    assert (found.rows, found.outside, bool(found.reasons)) == (rows, outside, bool(outside))
    assert found.mae == pytest.approx(absolute / rows * profiles.task.losses.unit)
    assert found.ratio == pytest.approx(absolute / 100)
    assert found.rmse_ratio == 0.5


def test_no_truth_yet_gives_no_quality() -> None:
    found = check(RULES, baseline(*FOUR), merged(table(*FOUR)), NOW, "v1").quality
    assert (found.rows, found.mae, found.outside) == (0, None, None)


def test_a_verdict_is_json_as_it_stands() -> None:
    found = check(RULES, baseline(*FOUR), merged(table(*FOUR), {"temp.latest": 60}), NOW, "v1")
    again = msgspec.json.decode(msgspec.json.encode(found), type=type(found))
    assert again == found


def test_a_baseline_survives_its_file_and_a_damaged_one_is_refused() -> None:
    arrays = decode_arrays("baseline.npz", encode_arrays(baseline(*FOUR).arrays()))
    again = Baseline.from_arrays(arrays)
    assert all(np.array_equal(getattr(again, k), getattr(baseline(*FOUR), k)) for k in ("counts", "limits", "offsets"))
    with pytest.raises(ContractBroken, match="drift_limits"):
        Baseline.from_arrays({k: v for k, v in arrays.items() if k != "drift_limits"})
    with pytest.raises(ContractBroken, match="drift_runs"):
        Baseline.from_arrays({**arrays, "drift_runs": np.zeros((2, len(COLUMNS) + 1))})
