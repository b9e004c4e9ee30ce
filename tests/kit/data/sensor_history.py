"""Synthetic sensor history for the tests of training."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import numpy as np

from shared.core.intake.readings import Floats, Readings
from shared.core.scenario import Scenario, parse, with_overrides
from tests import ROOT

FIRST_HOUR = 400_000  # 2015-08-19 16:00 UTC


def air_quality(**search: Any) -> Scenario:
    """The reference scenario, with a search of another size."""
    scenario = parse(tomllib.loads((ROOT / "scenarios/air_quality.toml").read_text()))
    return with_overrides(scenario, search=replace(scenario.search, **search)) if search else scenario


def history(hours: int, seed: int = 1) -> Floats:
    """Hourly channels (temp to pm25) of one device: a day cycle, weather that lasts, pollution behind it."""
    random = np.random.default_rng(seed)
    clock = np.arange(hours) * 2 * np.pi / 24
    weather = _lasting(random, hours, 0.98)
    wind = np.exp(0.5 * weather + 0.3)
    values = np.empty((hours, 7), np.float32)
    values[:, 0] = 15 + 6 * np.sin(clock) - 3 * weather + random.normal(0, 0.5, hours)
    values[:, 1] = np.maximum(0, random.normal(-2, 1.5, hours))
    values[:, 2] = np.clip(60 - 15 * np.sin(clock) + random.normal(0, 5, hours), 0, 100)
    values[:, 3] = (180 + 60 * weather + random.normal(0, 10, hours)) % 360
    values[:, 4] = wind
    values[:, 5] = 1010 + 5 * weather
    values[:, 6] = np.clip(70 - 30 * weather + 15 * np.sin(clock) + 8 * _lasting(random, hours, 0.9), 1, 900)
    return values


def _lasting(random: np.random.Generator, hours: int, memory: float) -> np.ndarray[Any, Any]:
    noise = random.normal(0, np.sqrt(1 - memory**2), hours)
    value = np.empty(hours)
    value[0] = random.normal()
    for hour in range(1, hours):
        value[hour] = memory * value[hour - 1] + noise[hour]
    return value


def readings(*devices: Floats, first_hour: int = FIRST_HOUR) -> Readings:
    """Readings of devices d0, d1, .. at the full hours, sorted by time; an hour of NaN only is not sent."""
    sent = [~np.isnan(values).all(axis=1) for values in devices]
    device = np.concatenate([np.full(keep.sum(), index, np.int32) for index, keep in enumerate(sent)])
    minute = np.concatenate([(first_hour + np.flatnonzero(keep)) * 60 for keep in sent]).astype(np.int32)
    values = np.concatenate([channels[keep] for channels, keep in zip(devices, sent, strict=True)])
    order = np.argsort(minute, kind="stable")
    return Readings(
        devices=tuple(f"d{index}" for index in range(len(devices))),
        device=device[order],
        minute=minute[order],
        position=np.arange(1, len(minute) + 1),
        values=values[order],
    )
