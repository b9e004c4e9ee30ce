"""Fine particles: emitted by traffic and heating, mixed, blown away, washed out, carried from station to station."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from local.fleet.noise import Doubles, Noise, per_station, persistent
from local.fleet.weather import Calendar, Weather

WARM_AIR_C = 15.0
CLEAN = 5.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Strength of what a station stands in, 1 for an average town, shape (stations,) each."""

    traffic: Doubles
    heating: Doubles


def particles(seed: int, when: Calendar, air: Weather, sources: Sources) -> Doubles:
    """PM2.5 in ug/m3, shape (hours, stations).

    Two boxes: the region's air, which gathers over days and is exchanged by fronts, and the street's, which lives for
    hours. Both gain emission / mixing height and lose by wind, deposition and rain; each hour is solved exactly.
    """
    hours, stations = air.temp.shape
    mood = 0.30 * persistent(Noise(seed, "emission").normal(hours)[:, None], 40.0)
    own = 0.30 * persistent(per_station(seed, "emission", hours, stations), 10.0)
    cold = np.maximum(WARM_AIR_C - air.temp, 0.0) / 10.0
    traffic, heating = _traffic(when)[:, None], _heating(when)[:, None] * cold
    wash = 0.16 * np.sqrt(air.precip)
    speed_km_h = 3.6 * air.wind_spd

    region_gain = 150.0 * (0.5 + 0.5 * traffic + 1.3 * heating) * np.exp(mood) / (260.0 + 0.55 * air.mixing_m)
    region_loss = speed_km_h / 420.0 + air.flush + 0.010 + wash
    south = np.clip(0.5 - air.wind_north / (2.0 * np.maximum(air.wind_spd, 0.5)), 0.0, 1.0)
    region = _box(region_gain, region_loss, CLEAN + 7.0 * south)

    street = (sources.traffic * (0.2 + traffic) + sources.heating * heating) * np.exp(own)
    local = _box(900.0 * street / (60.0 + air.mixing_m), speed_km_h / 14.0 + 0.12 + wash, np.zeros(stations))
    return np.asarray(np.minimum(region + local, 900.0))


def _box(gain: Doubles, loss: Doubles, inflow: Doubles) -> Doubles:
    """Concentration with d/dt = gain - loss * (c - inflow), each hour's rates constant; starts in balance."""
    keep = np.exp(-loss)
    balance = gain / loss + inflow
    drive = balance * (1.0 - keep)
    level = np.minimum(balance[0], 60.0)
    result = np.empty_like(gain)
    for hour in range(len(gain)):
        level = level * keep[hour] + drive[hour]
        result[hour] = level
    return result


def _traffic(when: Calendar) -> Doubles:
    """Two peaks on working days, one broad one on weekends; 1 on average of a working day."""
    morning = np.exp(-(((when.hour - 7.5) / 1.6) ** 2))
    evening = np.exp(-(((when.hour - 17.5) / 2.4) ** 2))
    noon = np.exp(-(((when.hour - 14.0) / 5.0) ** 2))
    return np.asarray(np.where(when.weekend, 0.15 + 0.9 * noon, 0.25 + 2.6 * morning + 2.0 * evening + 0.6 * noon))


def _heating(when: Calendar) -> Doubles:
    """Fires are lit in the evening and, less, in the morning."""
    evening = np.exp(-(((when.hour - 20.5) / 2.8) ** 2))
    morning = np.exp(-(((when.hour - 6.5) / 1.8) ** 2))
    return 0.55 + 0.9 * evening + 0.5 * morning
