"""What of the profiles can be held against a model's baseline, after the scenario or its features have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.core.drift.baseline import Baseline
from shared.core.intake.readings import Longs
from shared.core.profile.bins import CELLS, Edges
from shared.core.profile.device_table import NAMES, DeviceTable
from shared.core.profile.merged import MergedProfile

PER_COLUMN = ("samples", "mean", "std", "last", "run", "silent", "half")  # of a device table; the last axis is columns


def comparable(baseline: Baseline, merged: MergedProfile) -> tuple[MergedProfile, tuple[str, ...]]:
    """The profiles in the baseline's order of features, and why parts of it cannot be judged.

    A feature that is counted in other bins, is gone or has another version has no counts. What the baseline does not
    know is left out.
    """
    places, why = _places(baseline, merged)
    forecasts = merged.forecasts
    if not np.array_equal(baseline.forecast_edges, merged.task.answer_edges):
        why.append(f"forecasts: {_differing(baseline.forecast_edges, merged.task.answer_edges)}")
        forecasts = {}
    found = replace(
        merged,
        watched=baseline.watched,
        edges=baseline.edges,
        histograms={day: _picked(counts, places) for day, counts in merged.histograms.items()},
        forecasts=forecasts,
    )
    return found, tuple(why)


def _places(baseline: Baseline, merged: MergedProfile) -> tuple[list[int], list[str]]:
    """Place of each of the baseline's features in the profiles, -1 where it cannot be compared, and why."""
    versions = dict(merged.watched)
    order = {name: place for place, (name, _) in enumerate(merged.watched)}
    places, why = [], []
    for mine, (name, version) in enumerate(baseline.watched):
        there = order.get(name, -1)
        if there < 0:
            why.append(f"{name}: the scenario no longer has it")
        elif versions[name] != version:
            why.append(f"{name}: version {version} in the baseline, {versions[name]} now")
            there = -1
        elif not np.array_equal(baseline.edges[mine], merged.edges[there]):
            why.append(f"{name}: {_differing(baseline.edges[mine], merged.edges[there])}")
            there = -1
        places.append(there)
    return places, why


def _differing(then: Edges, now: Edges) -> str:
    """Bins in words; their ends may be the same where a unit decides about their widths."""
    return f"bins differ: baseline {then[0]:.6g}..{then[-1]:.6g}, scenario {now[0]:.6g}..{now[-1]:.6g}"


def _picked(counts: Longs, places: Sequence[int]) -> Longs:
    nothing = np.zeros(CELLS, np.int64)
    return np.array([counts[place] if place >= 0 else nothing for place in places], np.int64).reshape(-1, CELLS)


def devices_of(baseline: Baseline, merged: MergedProfile) -> DeviceTable:
    """The devices' table with the baseline's columns; one that is gone holds no value and is at no fault."""
    table, names = merged.devices, list(merged.task.device_columns)
    wanted = [str(name) for name in baseline.columns]
    if names == wanted:
        return table
    picks = [names.index(name) if name in names else len(names) for name in wanted]
    columns = {name: _widened(getattr(table, name))[..., picks] for name in PER_COLUMN}
    rest = {name: getattr(table, name) for name in NAMES if name not in columns}
    return DeviceTable(table.device, **{**rest, **columns})


def _widened(array: Any) -> Any:
    empty = np.nan if np.issubdtype(array.dtype, np.floating) else 0
    return np.concatenate([array, np.full((*array.shape[:-1], 1), empty, array.dtype)], axis=-1)
