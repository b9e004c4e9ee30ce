"""What stations do to the truth: noise, rounding, gaps and faults, each written down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from local.fleet.noise import Doubles, Noise

CHANNELS = ("temp", "precip", "rel_humidity", "wind_dir", "wind_spd", "atmos_press", "pm25")
UNITS = ("degC", "mm", "%", "deg", "m/s", "hPa", "ug/m3")
LOW = np.array([-60.0, 0.0, 0.0, 0.0, 0.0, 500.0, 0.0])
HIGH = np.array([60.0, 300.0, 100.0, 360.0, 90.0, 1100.0, 1000.0])
SPIKE = np.array([18.0, 40.0, 45.0, 150.0, 25.0, 30.0, 110.0])
DRIFT = np.array([6.0, 8.0, 20.0, 60.0, 3.0, 12.0, 25.0])
YEAR_H = 8766.0

Kind = Literal["stuck", "spike", "drift", "gap", "outage"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a station did wrong, from hour `first` to `last` (both included, counted from the fleet's start).

    Args:
        kind: stuck, spike or drift (wrong values), gap or outage (missing values).
        station: Index of the station.
        channel: Name of the channel; None for an outage of the whole station.
        first: First hour.
        last: Last hour.
        amount: What a spike adds, or a drift has added at its end; 0 for the other kinds.
    """

    kind: Kind
    station: int
    channel: str | None
    first: int
    last: int
    amount: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good the stations are; times a year are per station.

    Args:
        noise: Factor on the sensors' noise.
        missing: Share of single values that are lost.
        outages: Times a year that a whole station is silent, hours to days.
        sensor_outages: Times a year that one channel is missing, hours to days.
        stuck: Times a year that a sensor repeats one value, half a day to four days.
        spikes: Times a year that one value jumps.
        drifts: Times a year that a sensor walks away over one to three weeks.
    """

    noise: float = 1.0
    missing: float = 0.005
    outages: float = 8.0
    sensor_outages: float = 6.0
    stuck: float = 1.5
    spikes: float = 12.0
    drifts: float = 0.7


ORDINARY = Quality()


def measured(seed: int, truth: Doubles, noise: float) -> Doubles:
    """What sound sensors show: the truth with noise, within the channel's limits, to one decimal.

    Args:
        seed: Seed of the fleet.
        truth: True values, shape (hours, stations, channels).
        noise: Factor on the noise.
    """
    hours, stations, channels = truth.shape
    shown = truth.copy()
    calm = 5.0 + 25.0 / np.maximum(truth[..., 4], 0.5)  # a vane wavers in weak wind
    for station in range(stations if noise else 0):
        shocks = noise * Noise(seed, "sensor", station).normal(hours * channels).reshape(hours, channels)
        own = shown[:, station]
        own[:, 0] += 0.15 * shocks[:, 0]
        own[:, 1] *= np.exp(0.08 * shocks[:, 1])
        own[:, 2] += 1.2 * shocks[:, 2]
        own[:, 3] = (own[:, 3] + calm[:, station] * shocks[:, 3]) % 360.0
        own[:, 4] += 0.12 * shocks[:, 4]
        own[:, 5] += 0.15 * shocks[:, 5]
        own[:, 6] += (0.8 + 0.05 * own[:, 6]) * shocks[:, 6]
    return round_off(np.clip(shown, LOW, HIGH))


def round_off(values: Doubles) -> Doubles:
    """One decimal, and never a minus before zero."""
    return np.round(values, 1) + 0.0


def faults(seed: int, hours: int, stations: int, quality: Quality) -> tuple[Fault, ...]:
    """Draw everything that goes wrong, sorted by first hour; a longer span begins with the shorter one's faults."""
    found: list[Fault] = []
    for station in range(stations):
        found += _gaps(seed, station, hours, quality.missing)
        found += _outages(seed, station, hours, quality)
        found += _wrong(seed, station, hours, quality)
    return tuple(sorted(found, key=lambda fault: (fault.first, fault.station, fault.kind, fault.channel or "")))


def apply(values: Doubles, found: tuple[Fault, ...]) -> Doubles:
    """Values as the stations report them: wrong ones first, missing ones (NaN) last."""
    reported = values.copy()
    for fault in found:
        if fault.kind in ("stuck", "spike", "drift"):
            _distort(reported, values, fault)
    for fault in found:
        if fault.kind in ("gap", "outage"):
            channel = slice(None) if fault.channel is None else CHANNELS.index(fault.channel)
            reported[fault.first : fault.last + 1, fault.station, channel] = np.nan
    return reported


def _distort(reported: Doubles, values: Doubles, fault: Fault) -> None:
    channel = CHANNELS.index(fault.channel or "")
    span = (slice(fault.first, fault.last + 1), fault.station, channel)
    if fault.kind == "stuck":
        reported[span] = values[fault.first, fault.station, channel]
        return
    steps = fault.last - fault.first + 1
    ramp = fault.amount * np.arange(1, steps + 1) / steps
    moved = values[span] + ramp
    if CHANNELS[channel] == "wind_dir":
        moved %= 360.0
    reported[span] = round_off(np.clip(moved, LOW[channel], HIGH[channel]))


def _gaps(seed: int, station: int, hours: int, share: float) -> Iterator[Fault]:
    if share > 0:
        lost = Noise(seed, "gaps", station).uniform(hours * len(CHANNELS)).reshape(hours, -1) < share
        for hour, channel in np.argwhere(lost).tolist():
            yield Fault("gap", station, CHANNELS[channel], hour, hour)


def _times(seed: int, purpose: str, station: int, hours: int, per_year: float) -> Iterator[tuple[int, Doubles]]:
    """First hours of the events of one kind, with three numbers between 0 and 1 for each."""
    if per_year <= 0:
        return
    noise, hour = Noise(seed, purpose, station), 0.0
    while True:
        draw = noise.uniform(4)
        hour += max(1.0, -math.log(draw[0]) * YEAR_H / per_year)
        if hour >= hours:
            return
        yield int(hour), draw[1:]


def _outages(seed: int, station: int, hours: int, quality: Quality) -> Iterator[Fault]:
    for first, draw in _times(seed, "outage", station, hours, quality.outages):
        yield Fault("outage", station, None, first, _end(first, 2.0 * 36.0 ** float(draw[0]), hours))
    for first, draw in _times(seed, "sensor outage", station, hours, quality.sensor_outages):
        yield Fault("outage", station, _channel(draw[1]), first, _end(first, 2.0 * 60.0 ** float(draw[0]), hours))


def _wrong(seed: int, station: int, hours: int, quality: Quality) -> Iterator[Fault]:
    for first, draw in _times(seed, "stuck", station, hours, quality.stuck):
        yield Fault("stuck", station, _channel(draw[1]), first, _end(first, 12.0 + 84.0 * draw[0], hours))
    for first, draw in _times(seed, "spike", station, hours, quality.spikes):
        channel = _channel(draw[1])
        yield Fault("spike", station, channel, first, first, _amount(SPIKE, channel, draw))
    for first, draw in _times(seed, "drift", station, hours, quality.drifts):
        channel, length = _channel(draw[1]), 168.0 + 336.0 * draw[0]
        full, last = _amount(DRIFT, channel, draw), _end(first, length, hours)
        yield Fault("drift", station, channel, first, last, full * (last - first + 1) / (int(length) + 1))


def _channel(draw: float) -> str:
    return CHANNELS[int(draw * len(CHANNELS))]


def _amount(size: Doubles, channel: str, draw: Doubles) -> float:
    """Half to one and a half of the usual size, upwards three times out of four."""
    sign = 1.0 if draw[2] < 0.75 else -1.0
    return float(sign * size[CHANNELS.index(channel)] * (0.5 + draw[0]))


def _end(first: int, length: float, hours: int) -> int:
    return min(first + int(length), hours - 1)
