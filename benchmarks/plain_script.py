"""What a data scientist writes in an afternoon: pandas for the features, CatBoost, one Parquet file of forecasts.

Nothing in here is durable: if it stops it begins again, and the next file knows nothing of this one. It is what
`bench_files` compares with: `python -m benchmarks.plain_script train CSV MODEL`, `... predict CSV MODEL PARQUET`.
"""

from __future__ import annotations

import os
import sys
import time

import catboost
import numpy as np
import pandas as pd

from benchmarks.timing import TREES, Took, Usage

SCALARS = ["temp", "precip", "rel_humidity", "wind_spd", "atmos_press", "pm25"]
WIND = ["wind_dir_u", "wind_dir_v"]
SPANS = (6, 12, 24, 72, 120)
KINDS = ("mean", "std", "min", "max")
LAGS = (1, 2, 3, 6, 12, 24, 48)
HORIZON = 24


def hourly(path: str) -> pd.DataFrame:
    """Hourly columns by device and hour, missing hours as missing."""
    frame = pd.read_csv(path, parse_dates=["timestamp"])
    angle = np.deg2rad(frame.pop("wind_dir"))
    frame["wind_dir_u"], frame["wind_dir_v"] = np.sin(angle), np.cos(angle)
    frame = frame.drop_duplicates(["device_id", "timestamp"]).set_index("timestamp")
    return frame.groupby("device_id").resample("1h").mean()


def features(hours: pd.DataFrame) -> pd.DataFrame:
    """About two hundred columns, of the same kinds as ours."""
    by = hours.groupby(level="device_id")
    parts = [hours.astype(np.float32)]
    for span in SPANS:
        rolling = by[SCALARS].rolling(span, min_periods=1)
        parts.extend(_renamed(getattr(rolling, kind)(), f"{kind}_{span}") for kind in KINDS)
        parts.append(_renamed(by[WIND].rolling(span, min_periods=1).mean(), f"mean_{span}"))
    parts.extend(by.shift(lag).astype(np.float32).add_suffix(f".lag_{lag}") for lag in LAGS)
    changes = hours[SCALARS] - by[SCALARS].shift(24)
    parts.append(changes.astype(np.float32).add_suffix(".change_24"))
    table = pd.concat(parts, axis=1)
    when = pd.DatetimeIndex(hours.index.get_level_values("timestamp"))
    for name, turn in (("hour", when.hour / 24), ("day", when.dayofyear / 365.25)):
        table[f"{name}_sin"] = np.sin(2 * np.pi * turn).astype(np.float32)
        table[f"{name}_cos"] = np.cos(2 * np.pi * turn).astype(np.float32)
    return table


def _renamed(rolled: pd.DataFrame, suffix: str) -> pd.DataFrame:
    return rolled.droplevel(0).astype(np.float32).add_suffix(f".{suffix}")


def train(readings: str, model: str) -> None:
    """Fit as many trees of the same depth as the package has that serves on the other side."""
    hours = hourly(readings)
    table = features(hours)
    target = hours.groupby(level="device_id")["pm25"].shift(-HORIZON)
    known = target.notna()
    catboost.CatBoostRegressor(**TREES).fit(table[known], target[known]).save_model(model)


def predict(readings: str, model: str, answers: str) -> int:
    """Forecast every hour of every device; returns the number of forecasts."""
    hours = hourly(readings)
    forecasts = catboost.CatBoostRegressor().load_model(model).predict(features(hours))
    out = pd.DataFrame({"value": np.clip(forecasts, 0, 1000)}, index=hours.index)[hours.notna().any(axis=1)]
    out.reset_index().to_parquet(answers)
    return len(out)


def main() -> None:
    """Train, or forecast and say what it took."""
    task, *paths = sys.argv[1:]
    if task == "train":
        train(*paths)
        return
    start = time.perf_counter()
    forecasts = predict(*paths)
    Took(time.perf_counter() - start, forecasts, Usage.of(os.getpid())).say()


if __name__ == "__main__":
    main()
