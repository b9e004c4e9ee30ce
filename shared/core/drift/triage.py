"""Is it one device, the pipeline, or everybody: what the newest hours of each device say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from shared.core.drift.baseline import Baseline
from shared.core.drift.measures import shares
from shared.core.drift.verdict import Fault, FaultKind
from shared.core.intake.readings import Doubles, Floats, Mask
from shared.core.profile.device_table import HOURS, DeviceTable

MISSING_H = 48  # hours that a channel of one device may be silent
GONE_H = 12  # hours after which a channel that is silent on nearly all devices is the pipeline's
SILENT_H = 48  # hours behind the newest device after which a device counts as silent
FRESH_H = 24  # the pipeline stands when nothing came for so long
NEARLY_ALL = 0.8
SEVERAL = 0.2  # beyond this share a common fault is no longer a fault of single devices
USUAL = 0.5  # a channel that was there less often in training may be missing
MINIMUM_HOURS = 24  # values of a device below which nothing is said of it
ODD = 0.5  # share of the limit on its level beyond which a device may carry a shift alone
END = 0.001  # share of values beyond the ends
CALM = 0.7  # a quarantined device is healthy again when below this share of every limit


@dataclass(frozen=True, slots=True)
class Triage:
    """What is wrong, device by device, and what of a shift one device alone could cause.

    Args:
        pipeline: Reasons why the pipeline is to blame.
        faulty: Faults of single devices.
        recovered: Quarantined devices that are healthy again.
        silent: Devices from which nothing came for long.
        shared: Columns whose level changed on too many devices to be their own fault.
        allowance: What faulty devices, and the one that departs most, add to a pooled mean, in bins, shape (C,).
    """

    pipeline: tuple[str, ...]
    faulty: tuple[Fault, ...]
    recovered: tuple[str, ...]
    silent: tuple[str, ...]
    shared: tuple[str, ...]
    allowance: Doubles


@dataclass(frozen=True, slots=True)
class _Signs:
    """How near each device is to each limit, 1 is at it, shape (n, C); and how far its level departs, in bins."""

    stuck: Doubles
    jump: Doubles
    missing: Doubles
    apart: Doubles


def triage(baseline: Baseline, table: DeviceTable, now_hour: int, quarantined: Collection[str] = ()) -> Triage:
    """Judge the newest hours of all devices.

    Args:
        baseline: How devices behave in ordinary times; ones never seen in training are judged by what all do.
        table: The devices.
        now_hour: The clock, hours since 1970.
        quarantined: Devices in quarantine, and better also those released within the last two windows.
    """
    if not len(table):
        return Triage(("nothing ever arrived",), (), (), (), (), np.zeros(len(baseline.columns)))
    newest = int(table.head.max())
    heard = newest - table.head <= SILENT_H
    signs = _signs(baseline, table)
    blamed, shared, pipeline = _blame(baseline, table, signs, heard)
    if now_hour - newest > FRESH_H:
        pipeline.insert(0, f"no reading for {now_hour - newest} hours, limit {FRESH_H}")
    faulty = tuple(sorted(_faults(baseline, table, signs, blamed), key=lambda f: (f.device, f.channel, f.fault)))
    held = np.array([name in quarantined for name in table.device])
    worst = np.fmax.reduce([signs.stuck, signs.jump, signs.missing]).max(1)
    calm = held & heard & (worst < CALM) & (table.samples.max(1) >= HOURS // 2)
    return Triage(
        pipeline=tuple(pipeline),
        faulty=faulty,
        recovered=tuple(_chosen(table, calm)),
        silent=tuple(_chosen(table, ~heard)),
        shared=shared,
        allowance=_allowance(baseline, signs.apart, blamed.any(0) | held[:, None], heard),
    )


def _chosen(table: DeviceTable, mask: Mask) -> list[str]:
    return [name for name, take in zip(table.device, mask, strict=True) if take]


def _signs(baseline: Baseline, table: DeviceTable) -> _Signs:
    enough = table.samples >= MINIMUM_HOURS
    usual = baseline.absent < USUAL
    common = table.last == baseline.common.astype(np.float32)
    allowed = np.where(common, baseline.runs[1], baseline.runs[0])
    stuck = np.where(enough & (table.run > 1), table.run / allowed, 0.0)
    had = table.samples > 0  # a device without that sensor, or never heard with it, misses nothing
    known = {str(name): place for place, name in enumerate(baseline.devices)}
    offsets = np.array(
        [baseline.offsets[known[n]] if n in known else np.full(len(usual), np.nan) for n in table.device]
    )
    had |= np.isfinite(offsets)
    missing = np.where(had & usual & (table.samples.max(1) >= MINIMUM_HOURS)[:, None], table.silent / MISSING_H, 0.0)
    level, newest, older = (_places(baseline, part) for part in (table.mean, table.half[:, 1], table.half[:, 0]))
    change = newest - older
    others = np.isfinite(change).sum(0) >= 3
    step = np.where(others, np.abs(change - _median(change)) / baseline.jumps[0], np.abs(change) / baseline.lonely)
    apart = level - _median(level)
    apart = np.where(np.isfinite(level).sum(0) >= 3, apart, np.nan)
    strayed = apart - offsets
    jump = np.fmax(step, np.abs(strayed) / baseline.jumps[1])
    jump = np.where(enough, np.nan_to_num(jump), 0.0)
    return _Signs(stuck, jump, missing, np.abs(np.where(np.isfinite(strayed), strayed, np.nan_to_num(apart))))


def _places(baseline: Baseline, values: Doubles | Floats) -> Doubles:
    """Values of the stored columns on the scale of the bins, NaN for a column whose newest value is not watched."""
    out = np.full(values.shape, np.nan)
    for column, place in enumerate(baseline.latest):
        if place >= 0:
            edges = baseline.edges[place]
            out[:, column] = np.interp(values[:, column], edges, np.arange(len(edges)))
    return out


def _median(values: Doubles) -> Doubles:
    out = np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return out


def _blame(
    baseline: Baseline, table: DeviceTable, signs: _Signs, heard: Mask
) -> tuple[Mask, tuple[str, ...], list[str]]:
    """Faults of single devices (3 kinds, n, C), columns changed on many, and what is the pipeline's."""
    over = np.stack([signs.stuck > 1, signs.jump > 1, signs.missing > 1]) & heard[None, :, None]
    count = int(heard.sum())
    many = over[:, heard].sum(1) > max(1.0, SEVERAL * count)
    had = (baseline.absent < USUAL) & (np.isfinite(baseline.offsets).any(0) | (table.samples > 0).any(0))
    gone = had & (count > 1) & ((table.silent[heard] >= GONE_H).mean(0) >= NEARLY_ALL)
    frozen = (count > 2) & (over[0, heard].mean(0) >= NEARLY_ALL)
    pipeline = [f"{baseline.columns[c]}: no value on nearly all of {count} devices" for c in np.flatnonzero(gone)]
    pipeline += [
        f"{baseline.columns[c]}: one same value on nearly all of {count} devices" for c in np.flatnonzero(frozen)
    ]
    over[0] &= ~frozen
    over[1] &= ~many[1]
    over[2] &= ~gone
    return over, tuple(str(baseline.columns[c]) for c in np.flatnonzero(many[1])), pipeline


def _faults(baseline: Baseline, table: DeviceTable, signs: _Signs, blamed: Mask) -> list[Fault]:
    kinds: tuple[FaultKind, ...] = ("stuck", "jump", "missing")
    found = []
    for kind, device, column in zip(*np.nonzero(blamed), strict=True):
        cell = device, column
        text = (
            f"{table.last[cell]:.6g} for {table.run[cell]} values in a row, {signs.stuck[cell]:.1f} times the limit",
            f"level {signs.jump[cell]:.1f} times as far from its usual place as is normal, while the others stay",
            f"no value for {table.silent[cell]} hours, limit {MISSING_H}",
        )[kind]
        name = table.device[device]
        found.append(Fault(device=name, fault=kinds[kind], channel=str(baseline.columns[column]), detail=text))
    return found


def _allowance(baseline: Baseline, apart: Doubles, suspect: Mask, heard: Mask) -> Doubles:
    """What devices may add to a pooled mean on their own.

    A suspect may have shown anything in the days before, so it counts with all the way to the ends of what the column
    showed in training. Departures that history has too are in the limits already; of the rest the oddest counts.
    """
    count = max(int(heard.sum()), 1)
    bound = np.where(suspect, np.maximum(apart, _ends(baseline)), 0.0).sum(0)
    odd = ~suspect & (apart > ODD * baseline.jumps[1])
    return np.asarray((bound + np.where(odd, apart, 0.0).max(0)) / count)


def _ends(baseline: Baseline) -> Doubles:
    """Bins from the median of each column to the farther end of what it showed in training."""
    share = np.cumsum(np.nan_to_num(shares(baseline.counts.sum(0))), axis=1)
    low, middle, high = ((share < part).sum(1) for part in (END, 0.5, 1 - END))
    farther = np.maximum(high - middle, middle - low)
    return np.where(baseline.latest >= 0, farther[baseline.latest], 0).astype(np.float64)


def summary(faulty: Collection[Fault]) -> str:
    """How many devices have which fault.

    >>> summary([Fault(device="a", fault="stuck", channel="level", detail="")])
    '1 device at fault: 1 stuck'
    """
    devices = len({fault.device for fault in faulty})
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(fault.fault for fault in faulty).items()))
    return f"{devices} device{'s' * (devices != 1)} at fault: {kinds}"
