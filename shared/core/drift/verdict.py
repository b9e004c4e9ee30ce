"""What a drift check finds, as plain values that are JSON as they stand; a number that does not exist is None."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["not enough data", "none", "device", "pipeline", "population"]
FaultKind = Literal["stuck", "jump", "missing"]


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """One of the numbers that decide: its kind, its value, the limit, and what of it one device alone could cause."""

    kind: str
    value: float | None
    limit: float | None
    allowance: float
    ratio: float | None


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One feature now and at this time of the year in the training history.

    Args:
        name: Feature.
        version: Its version.
        decides: Whether it takes part in the magnitude.
        rows: Values in the window.
        missing: Share of rows without a value.
        reference_missing: The same in the reference.
        minimum: Smallest value, to the edge of its bin; likewise maximum.
        maximum: Largest value.
        mean: Mean of the window.
        reference_mean: Mean of the reference.
        difference: Difference of the means in the reference's standard deviations.
        euclidean: Distances between the histograms, see `drift.measures.Measures`; likewise the next four.
        wasserstein: In the feature's unit.
        psi: Population stability index.
        jensen_shannon: From 0 to 1.
        ks: From 0 to 1.
        statistics: What decides, in standard deviations of the training history.
        ratio: The largest statistic over its limit; None when it does not decide.
    """

    name: str
    version: int
    decides: bool
    rows: int
    missing: float | None
    reference_missing: float | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    reference_mean: float | None
    difference: float | None
    euclidean: float | None
    wasserstein: float | None
    psi: float | None
    jensen_shannon: float | None
    ks: float | None
    statistics: tuple[Statistic, ...]
    ratio: float | None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A device at fault: what, in which stored column, and the numbers in words."""

    device: str
    fault: FaultKind
    channel: str
    detail: str


class DeviceQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Realised quality of the champion on one device over its newest days."""

    device: str
    rows: int
    mae: float
    coverage: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Realised quality of the champion over the newest days whose truth is known.

    Args:
        rows: Matured forecasts with their truth.
        paired: Those of them whose persistence is known.
        mae: Mean absolute error, target units.
        rmse: Root of the mean squared error.
        coverage: Share of truths inside the interval.
        ratio: Mean absolute error over that of persistence on the same rows.
        rmse_ratio: The same of root mean squared errors.
        limits: Accepted ratio and mae (at most) and coverage (at least), calibrated on out-of-fold weeks.
        outside: Whether the quality is outside the accepted range; None below the minimum sample.
        reasons: Why.
        devices: Per device.
    """

    rows: int
    paired: int
    mae: float | None
    rmse: float | None
    coverage: float | None
    ratio: float | None
    rmse_ratio: float | None
    limits: dict[str, float | None]
    outside: bool | None
    reasons: tuple[str, ...]
    devices: tuple[DeviceQuality, ...]


class ForecastDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The champion's forecasts beside the out-of-fold ones of this time of the year; reported, not decided on."""

    rows: int
    mean: float | None
    difference: float | None
    wasserstein: float | None
    psi: float | None
    jensen_shannon: float | None
    ks: float | None
    ratio: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a check finds.

    Args:
        kind: What it comes to; the first that holds of pipeline, population, device, not enough data, none.
        reasons: Why, in words with numbers.
        magnitude: The largest ratio to a limit; None when nothing could be judged.
        formula: How it is made.
        window: First day and the day after the last, since 1970.
        rows: Rows in the window.
        minimum_rows: Rows below which nothing is judged.
        features: Per watched feature.
        pipeline: Channels that are gone on nearly all devices, or that nothing arrives.
        faulty: Devices at fault, candidates for quarantine.
        recovered: Quarantined devices that are healthy again.
        silent: Devices from which nothing came for long.
        quality: Realised quality.
        forecasts: Drift of the forecasts.
        model: Version of the model the baseline belongs to.
        calibrated_windows: Windows the limits rest on.
        calibrated_years: Years they span.
        not_judged: What could not be judged, and why.
    """

    kind: Kind
    reasons: tuple[str, ...]
    magnitude: float | None
    formula: str
    window: tuple[int, int]
    rows: int
    minimum_rows: int
    features: tuple[FeatureDrift, ...]
    pipeline: tuple[str, ...]
    faulty: tuple[Fault, ...]
    recovered: tuple[str, ...]
    silent: tuple[str, ...]
    quality: Quality
    forecasts: ForecastDrift
    model: str
    calibrated_windows: int
    calibrated_years: float
    not_judged: tuple[str, ...] = ()
