"""Weather of the region and of each station: seasons, days, and fronts that pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from local.fleet.noise import Doubles, Noise, per_station, persistent

LATITUDE = math.radians(47.0)
SOLAR_OFFSET_H = 1.0
FRONT_SPEED_KM_H = 35.0


@dataclass(frozen=True, slots=True)
class Calendar:
    """Local solar time of each hour; `season` is 1 in late July and -1 in winter, `sun` the sine of its height."""

    hour: Doubles
    weekend: npt.NDArray[np.bool_]
    season: Doubles
    sun: Doubles


@dataclass(frozen=True, slots=True)
class Fronts:
    """Effects of all passing fronts at each hour, shape (hours,) each; units in the names, the rest without."""

    dip_hpa: Doubles
    air_mass_k: Doubles
    wind_east: Doubles
    wind_north: Doubles
    wet: Doubles
    cloud: Doubles
    dry: Doubles
    flush: Doubles


@dataclass(frozen=True, slots=True)
class Weather:
    """True weather, shape (hours, stations) each; winds are components of where the wind comes from, in m/s."""

    temp: Doubles
    precip: Doubles
    rel_humidity: Doubles
    wind_east: Doubles
    wind_north: Doubles
    atmos_press: Doubles
    mixing_m: Doubles
    flush: Doubles

    @property
    def wind_spd(self) -> Doubles:
        """Wind speed, m/s."""
        return np.hypot(self.wind_east, self.wind_north)

    @property
    def wind_dir(self) -> Doubles:
        """Direction the wind comes from, degrees from north, 0 to 360."""
        return np.degrees(np.arctan2(self.wind_east, self.wind_north)) % 360.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where the stations stand: distance that a front travels to them (km), height (m), openness to wind."""

    east_km: Doubles
    altitude_m: Doubles
    exposure: Doubles


def calendar(first_hour: int, hours: int) -> Calendar:
    """Local solar time for `hours` hours from `first_hour` (hours since 1970 UTC)."""
    local = first_hour + SOLAR_OFFSET_H + np.arange(hours, dtype=np.float64)
    days = local / 24.0
    day_of_year = days % 365.2425
    declination = math.radians(23.45) * np.sin(2 * math.pi * (day_of_year + 284) / 365.2425)
    angle = 2 * math.pi * (local % 24.0 - 12.0) / 24.0
    height = math.sin(LATITUDE) * np.sin(declination) + math.cos(LATITUDE) * np.cos(declination) * np.cos(angle)
    weekday = (np.floor(days).astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    season = np.cos(2 * math.pi * (day_of_year - 205) / 365.2425)
    return Calendar(hour=local % 24.0, weekend=weekday >= 5, season=season, sun=np.maximum(height, 0.0))


def fronts(seed: int, when: Calendar) -> Fronts:
    """Fronts as a renewal process: some four days apart, deeper in winter, each with its own width and rain."""
    hours = len(when.hour)
    count = hours // 30 + 12
    draws = Noise(seed, "fronts").uniform(count * 8).reshape(count, 8)
    passes = np.cumsum(34.0 - 36.0 * np.log(draws[:, 0] * draws[:, 1]))
    total = np.zeros((8, hours))
    for at, draw in zip(passes, draws, strict=True):
        low, high = max(0, int(at) - 120), min(hours, int(at) + 240)
        if low < high:
            total[:, low:high] += _front(np.arange(low, high) - at, draw, when.season[low:high])
    return Fronts(*total)


def _front(tau: Doubles, draw: Doubles, season: Doubles) -> Doubles:
    strength = (0.45 - 0.33 * math.log(draw[2] * draw[3])) * (1.0 - 0.3 * season)
    before, after = 14.0 + 18.0 * draw[4], 14.0 + 10.0 * draw[5]
    vigour = strength * (0.25 + 1.5 * draw[7])  # how far the new air reaches down: the barometer does not tell
    shape = np.exp(-((tau / np.where(tau < 0, before, after)) ** 2))
    storm = 4.2 * vigour * np.exp(-((tau / np.where(tau < 0, 15.0, 22.0)) ** 2))
    veer = np.radians(150.0 + 160.0 / (1.0 + np.exp(-tau / 3.0)))  # from south-east before to north-west after
    past = np.where(tau > 0, 1.0, 0.0)
    relax = past * (1.0 - np.exp(-np.maximum(tau, 0) / 5.0)) * np.exp(-np.maximum(tau, 0) / 55.0)
    ridge = 5.0 * strength * np.exp(-(((tau - 62.0) / 38.0) ** 2))
    return np.stack(
        (
            ridge - 9.0 * strength * shape,
            strength * (3.0 * np.exp(-(((tau + 14.0) / 13.0) ** 2)) - 4.0 * relax),
            storm * np.sin(veer),
            storm * np.cos(veer),
            strength * (0.35 + 1.3 * draw[6]) * np.exp(-(((tau + 4.0) / 8.0) ** 2)),
            strength * np.exp(-(((tau + 6.0) / 14.0) ** 2)),
            strength * relax,
            0.22 * vigour * np.exp(-(((tau - 6.0) / 6.0) ** 2)),
        )
    )


def weather(seed: int, when: Calendar, places: Places) -> Weather:
    """Weather of every station: the region's, shifted by the time a front needs to get there, plus what is local."""
    hours, stations = len(when.hour), len(places.east_km)
    passing = _at_stations(fronts(seed, when), places.east_km / FRONT_SPEED_KM_H)
    cloud = _cloud(seed, hours, passing)
    heat = when.sun[:, None] * (1.0 - 0.6 * cloud)
    slow = _slow_temperature(seed, when, passing, places)
    temp = slow + _day_wave(heat) + 0.4 * persistent(per_station(seed, "temp", hours, stations), 8.0)
    precip = _rain(seed, when, passing, stations)
    wind_east, wind_north = _wind(seed, heat, passing, places)
    pressure = _pressure(seed, when, passing, places)
    mixing = _mixing(heat, cloud, np.hypot(wind_east, wind_north), passing.dip_hpa)
    humid = _humidity(seed, slow, temp, passing, precip)
    return Weather(temp, precip, humid, wind_east, wind_north, pressure, mixing, passing.flush)


def _at_stations(region: Fronts, lag_h: Doubles) -> Fronts:
    hours = len(region.dip_hpa)
    at = np.maximum(np.arange(hours)[:, None] - lag_h[None, :], 0.0)
    low = at.astype(np.int64)
    part, high = at - low, np.minimum(low + 1, hours - 1)
    names = region.__dataclass_fields__
    return Fronts(**{n: (1 - part) * getattr(region, n)[low] + part * getattr(region, n)[high] for n in names})


def _shared(seed: int, purpose: str, hours: int, memory_h: float) -> Doubles:
    return persistent(Noise(seed, purpose).normal(hours)[:, None], memory_h)


def _cloud(seed: int, hours: int, passing: Fronts) -> Doubles:
    tendency = -0.9 + 1.1 * _shared(seed, "cloud", hours, 14.0) + 3.0 * passing.cloud
    return 1.0 / (1.0 + np.exp(-tendency))


def _slow_temperature(seed: int, when: Calendar, passing: Fronts, places: Places) -> Doubles:
    region = 13.5 + 10.0 * when.season[:, None] + 2.2 * _shared(seed, "air mass", len(when.hour), 60.0)
    return region + passing.air_mass_k - 0.0065 * places.altitude_m


def _day_wave(heat: Doubles) -> Doubles:
    """Heating follows the sun with some hours' delay; the mean over a day of half a year is taken out roughly."""
    wave = np.zeros_like(heat)
    state = heat[0].copy()
    for hour, now in enumerate(heat):
        state = state + (now - state) / 3.5
        wave[hour] = state
    return 15.0 * (wave - 0.22)


def _rain(seed: int, when: Calendar, passing: Fronts, stations: int) -> Doubles:
    hours = len(when.hour)
    days = np.arange(hours) // 24
    lucky = Noise(seed, "showers").uniform(int(days[-1]) + 1)[days] < 0.10 + 0.10 * when.season
    afternoon = np.exp(-(((when.hour - 17.0) / 2.2) ** 2))
    showers = (lucky * afternoon * np.maximum(when.season + 0.3, 0.0))[:, None]
    burst = 0.8 * _shared(seed, "burst", hours, 3.0)
    burst = burst + 0.6 * persistent(per_station(seed, "rain", hours, stations), 2.0)
    amount = (1.3 * passing.wet + 1.6 * showers) * np.exp(burst) - 1.1
    return np.asarray(np.clip(0.55 * amount, 0.0, 45.0))


def _wind(seed: int, heat: Doubles, passing: Fronts, places: Places) -> tuple[Doubles, Doubles]:
    hours, stations = heat.shape
    day = 0.75 + 0.7 * heat
    parts = []
    for name, storm, prevailing in (("east", passing.wind_east, -0.5), ("north", passing.wind_north, 0.0)):
        region = prevailing + 1.5 * _shared(seed, f"wind {name}", hours, 16.0)
        own = 0.45 * persistent(per_station(seed, f"wind {name}", hours, stations), 3.0)
        parts.append(((region + storm) * day + own) * places.exposure)
    return parts[0], parts[1]


def _pressure(seed: int, when: Calendar, passing: Fronts, places: Places) -> Doubles:
    tide = 0.7 * np.cos(2 * math.pi * (when.hour - 10.0) / 12.0)
    region = 1016.0 - 1.5 * when.season + tide + 3.2 * _shared(seed, "pressure", len(when.hour), 36.0)[:, 0]
    return (region[:, None] + passing.dip_hpa) * np.exp(-places.altitude_m / (29.27 * 283.0))


def _mixing(heat: Doubles, cloud: Doubles, speed: Doubles, high: Doubles) -> Doubles:
    """Metres of air that mix: sun and wind make more, calm clear nights under high pressure are shallow."""
    lid = 1.0 / (1.0 + np.exp((high - 6.0) / 4.0))
    return (90.0 + 45.0 * speed + 110.0 * cloud + 1500.0 * heat) * (0.6 + 0.4 * lid)


def _humidity(seed: int, slow: Doubles, temp: Doubles, passing: Fronts, precip: Doubles) -> Doubles:
    """Relative humidity from a dew point that belongs to the air mass (Magnus formula)."""
    spread = 4.5 + 1.6 * _shared(seed, "dew", len(slow), 30.0) - 3.5 * passing.cloud + 3.5 * passing.dry
    dew = np.minimum(slow - np.maximum(spread, 0.3), temp)
    dew = np.where(precip > 0.1, np.maximum(dew, temp - 1.2), dew)
    ratio = np.exp(17.62 * dew / (243.12 + dew) - 17.62 * temp / (243.12 + temp))
    return np.asarray(np.clip(100.0 * ratio, 8.0, 100.0))
