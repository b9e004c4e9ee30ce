"""The featurizer against NumPy's nan-functions and pandas' rolling windows on the features' bulk, in one run.

1,000 devices, five days of hourly values with gaps; the others compute mean, standard deviation, minimum and maximum of
each column over each span (120 columns), ours computes all features. Run it with `python -m benchmarks.bench_features`.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from benchmarks.timing import milliseconds
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.intake.readings import Floats
from shared.core.scenario import Scenario, parse

DEVICES = 1000
MISSING = 0.05
SPANS = (6, 12, 24, 72, 120)
KINDS = ("mean", "std", "min", "max")
SCENARIO = Path(__file__).parents[1] / "scenarios" / "air_quality.toml"


def windows(scenario: Scenario) -> Floats:
    """Random windows within the channels' limits, with missing hours, shape (history, columns, DEVICES)."""
    rng = np.random.default_rng(7)
    limits = {channel.name: (channel.minimum, channel.maximum) for channel in scenario.channels}
    window = np.empty((scenario.history, len(scenario.stored), DEVICES), np.float32)
    for column, name in enumerate(scenario.stored):
        window[:, column] = rng.uniform(*limits.get(name, (-1, 1)), window[:, column].shape)
    window[rng.random(window.shape) < MISSING] = np.nan
    return window


def by_numpy(columns: Floats, hours: int) -> Floats:
    """Bulk with NumPy's nan-functions, each span from its hours along axis `hours`: (spans, kinds, *other axes)."""
    functions = (np.nanmean, np.nanstd, np.nanmin, np.nanmax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a span without a valid hour
        newest_last = np.moveaxis(columns, hours, 0)  # a view: the memory stays as it is
        return np.array([[f(newest_last[-span:], axis=0) for f in functions] for span in SPANS])


def by_pandas(frame: pd.DataFrame) -> Floats:
    """Bulk with pandas: rolling windows by device, of which the last of each device counts."""
    parts = []
    for span in SPANS:
        rolling = frame.groupby(level="device").rolling(span, min_periods=1)
        results = (rolling.mean(), rolling.std(ddof=0), rolling.min(), rolling.max())
        parts.append([part.groupby(level=0).tail(1).to_numpy().T for part in results])
    return np.array(parts, np.float32)


def long_frame(columns: Floats) -> pd.DataFrame:
    """One row per device and hour, from (hours, columns, devices)."""
    hours, count, devices = columns.shape
    index = pd.Index(np.repeat(np.arange(devices), hours), name="device")
    return pd.DataFrame(np.moveaxis(columns, 2, 0).reshape(-1, count).astype(np.float64), index=index)


def bulk(featurizer: Featurizer, matrix: Floats, names: Iterable[str]) -> Floats:
    """The comparable columns of our matrix, in the shape of the others."""
    places = {feature.name: place for place, feature in enumerate(featurizer.features)}
    return np.array([[[matrix[:, places[f"{n}.{k}_{s}"]] for n in names] for k in KINDS] for s in SPANS])


def run() -> None:
    """Check that all agree, time them, print the table."""
    scenario = parse(msgspec.toml.decode(SCENARIO.read_bytes()))
    featurizer, window = Featurizer(scenario), windows(scenario)
    names = [channel.name for channel in scenario.channels if channel.aggregate != "circular"]
    columns = np.ascontiguousarray(window[:, [scenario.stored.index(name) for name in names]])
    rows = np.ascontiguousarray(columns.transpose(2, 0, 1))
    as_of, frame = np.full(DEVICES, 412_345), long_frame(columns)
    ours = bulk(featurizer, featurizer.matrix(window, as_of), names)
    for others in (by_numpy(columns, 0), by_numpy(rows, 1).swapaxes(2, 3), by_pandas(frame)):
        np.testing.assert_allclose(ours, others, rtol=1e-4, atol=5e-3)
    took = milliseconds(
        (
            lambda: featurizer.matrix(window, as_of),
            lambda: by_numpy(rows, 1),
            lambda: by_numpy(columns, 0),
            lambda: featurizer.matrix(window[:, :, :1], as_of[:1]),
        ),
        8,
    )
    took[3:3] = milliseconds([lambda: by_pandas(frame)], 1, 2)
    show(len(featurizer.features), len(SPANS) * len(KINDS) * len(names), took)


def show(all_features: int, bulk_features: int, took: list[float]) -> None:
    """Print the table; the ratio is to the first row."""
    labels = (
        ("all features", all_features),
        ("NumPy nan-functions, (devices, hours, columns)", bulk_features),
        ("NumPy nan-functions, (hours, columns, devices)", bulk_features),
        ("pandas groupby.rolling", bulk_features),
        ("all features, one device", all_features),
    )
    print(f"{DEVICES} devices, {MISSING:.0%} of the hours missing; medians")
    print(f"{'':48}{'columns':>8}{'ms':>10}{'ratio':>8}")
    for (label, count), spent in zip(labels, took, strict=True):
        print(f"{label:48}{count:8}{spent:10.2f}{spent / took[0]:8.1f}")


if __name__ == "__main__":
    run()
