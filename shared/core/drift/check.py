"""The drift check: recent profiles against what the training left, in one verdict with its reasons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from shared.core.drift import quality, triage
from shared.core.drift.baseline import Baseline
from shared.core.drift.comparable import comparable, devices_of
from shared.core.drift.features import features_of, forecasts_of
from shared.core.drift.statistic import FORMULA, shift, statistics
from shared.core.drift.triage import Triage
from shared.core.drift.verdict import FeatureDrift, ForecastDrift, Kind, Quality, Verdict
from shared.core.intake.readings import Doubles, Longs
from shared.core.profile.bins import CELLS, Watched
from shared.core.profile.merged import MergedProfile
from shared.core.scenario import DriftRules
from shared.core.task.calendar import DAY_HOURS


def check(
    rules: DriftRules,
    baseline: Baseline,
    merged: MergedProfile,
    now_hour: int,
    model_version: str,
    quarantined: Collection[str] = (),
) -> Verdict:
    """Compare the newest whole days whose forecasts have matured with the training history.

    It keeps no memory: the window before the last one is read from the same profiles.

    Args:
        rules: Minimum sample.
        baseline: What training left; its window's length holds, for its limits belong to it.
        merged: The profiles of all partitions.
        now_hour: The clock, hours since 1970.
        model_version: The champion.
        quarantined: Devices that are in quarantine or were within the last two windows: what they showed before may
            still stand in the counts, so that much is allowed for.

    What of the baseline cannot be compared, because the scenario or its features have changed, is told and left out.
    """
    merged, apart = comparable(baseline, merged)
    window, delay = int(baseline.history[0]), int(baseline.history[1])
    end = max(0, (merged.newest_hour - delay) // DAY_HOURS) if merged.newest_hour >= 0 else 0
    now = _sum(merged, len(baseline.names), range(end - window, end))
    before = _sum(merged, len(baseline.names), range(end - 2 * window, end - window))
    rows, rows_before = (int(counts.sum(1).max(initial=0)) for counts in (now, before))
    found = triage.triage(baseline, devices_of(baseline, merged), now_hour, quarantined)
    values = _statistics(baseline, now, before if rows_before >= rules.minimum_rows else before * 0, end)
    allowed = _allowances(baseline, merged.task.watched, found.allowance)
    features = features_of(baseline, now, values, allowed, end - window / 2)
    ratios = [f.ratio for f in features if f.ratio is not None]
    short = _short(rules, baseline, rows, len(ratios), apart)
    magnitude = None if short or not ratios else max(ratios)
    kind, reasons = _verdict(found, features, magnitude, short)
    reasons = (*reasons, *(f"not judged: {each}" for each in apart))
    worth = quality.realised(baseline, merged, model_version, range(end - window, end), rules.minimum_rows)
    return Verdict(
        kind=kind,
        reasons=reasons,
        magnitude=magnitude,
        formula=FORMULA,
        window=(end - window, end),
        rows=rows,
        minimum_rows=rules.minimum_rows,
        features=features,
        pipeline=found.pipeline,
        faulty=found.faulty,
        recovered=found.recovered,
        silent=found.silent,
        quality=worth,
        forecasts=forecasts_of(baseline, merged, model_version, range(end - window, end)),
        model=model_version,
        calibrated_windows=int(baseline.history[3]),
        calibrated_years=round(float(baseline.history[2]), 2),
        not_judged=(*apart, *_unjudged_quality(rules, worth)),
    )


def unable(rules: DriftRules, model_version: str, why: str) -> Verdict:
    """The verdict where nothing can be looked at, because the model's package is damaged or lacks what is needed."""
    nothing = dict.fromkeys(("mae", "rmse", "coverage", "ratio", "rmse_ratio"))
    unknown = dict.fromkeys(("mean", "difference", "wasserstein", "psi", "jensen_shannon", "ks", "ratio"))
    return Verdict(
        kind="not enough data",
        reasons=(why,),
        magnitude=None,
        formula=FORMULA,
        window=(0, 0),
        rows=0,
        minimum_rows=rules.minimum_rows,
        features=(),
        pipeline=(),
        faulty=(),
        recovered=(),
        silent=(),
        quality=Quality(rows=0, paired=0, limits={}, outside=None, reasons=(), devices=(), **nothing),
        forecasts=ForecastDrift(rows=0, **unknown),
        model=model_version,
        calibrated_windows=0,
        calibrated_years=0.0,
        not_judged=(why,),
    )


def _unjudged_quality(rules: DriftRules, worth: Quality) -> Iterator[str]:
    if worth.outside is None and worth.rows < rules.minimum_rows:
        yield f"quality: {worth.rows} forecasts with known truth in the window, minimum {rules.minimum_rows}"
    elif worth.outside is None:
        yield "quality: the training history was too short to calibrate limits"


def _sum(merged: MergedProfile, width: int, days: range) -> Longs:
    total = np.zeros((width, CELLS), np.int64)
    for day in days:
        if day in merged.histograms:
            total += merged.histograms[day]
    return total


def _statistics(baseline: Baseline, now: Longs, before: Longs, end: int) -> Doubles:
    window, scale, reference = float(baseline.history[0]), baseline.scale, baseline.reference
    last = shift(reference, now, end - window / 2, scale)
    return statistics(baseline.others, last, shift(reference, before, end - 1.5 * window, scale))


def _allowances(baseline: Baseline, watched: Watched, columns: Doubles) -> Doubles:
    """What single devices add to each statistic, in standard deviations of the features, shape (3, W)."""
    place = {str(name): index for index, name in enumerate(baseline.columns)}
    scale, names = baseline.scale, [str(name) for name in baseline.names]
    own = np.zeros(len(names))
    for index, name in enumerate(names):
        for column in watched.rests_on(name):
            latest = baseline.latest[place[column]] if column in place else -1
            own[index] += columns[place[column]] / scale[latest] if latest >= 0 else 0.0
    conditional = own + own @ np.abs(baseline.weights)
    return np.stack([own, conditional, conditional])


def _short(rules: DriftRules, baseline: Baseline, rows: int, judged: int, apart: Sequence[str]) -> str:
    if not rows and apart:
        return "the scenario counts nothing as the model's baseline does: it needs a newly trained model"
    if rows < rules.minimum_rows:
        return f"{rows} rows in the window, minimum {rules.minimum_rows}"
    if not baseline.calibrated:
        return "the training history was too short, or without times, to calibrate limits"
    return "" if judged else "the training history holds nothing of this time of the year"


def _verdict(
    found: Triage, features: tuple[FeatureDrift, ...], magnitude: float | None, short: str
) -> tuple[Kind, tuple[str, ...]]:
    beyond = sorted((f for f in features if f.ratio is not None and f.ratio > 1), key=lambda f: -(f.ratio or 0))
    drifted = magnitude is not None and magnitude > 1
    texts = [_beyond(feature) for feature in beyond] if drifted else []
    faults = [triage.summary(found.faulty)] if found.faulty else []
    faults += [f"{column}: changed on several devices at once" for column in found.shared]
    if found.pipeline:
        return "pipeline", (*found.pipeline, *faults, *texts)
    if drifted:
        return "population", (*texts, *faults)
    if found.faulty:
        return "device", (*faults, *([short] if short else ()))
    if short:
        return "not enough data", (short, *faults)
    return "none", (f"magnitude {magnitude or 0:.2f} is not above 1", *faults)


def _beyond(feature: FeatureDrift) -> str:
    worst = max((s for s in feature.statistics if s.ratio is not None), key=lambda s: s.ratio or 0.0)
    value, limit = worst.value or 0.0, worst.limit or 0.0
    return f"{feature.name}: {worst.kind.replace('_', ' ')} {value:+.2f} sd, limit {limit:.2f}, ratio {worst.ratio:.2f}"
