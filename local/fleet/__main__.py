"""A physically plausible fleet of air-quality stations, made from a seed: the built-in data source."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from local.fleet import faults as fleet_faults
from local.fleet import files
from local.fleet.air import Sources, particles
from local.fleet.faults import ORDINARY, Fault, Quality
from local.fleet.noise import Doubles, Noise
from local.fleet.weather import Calendar, Places, Weather, calendar, weather
from shared.core.intake.readings import Floats

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
WARM_UP_H = 240
AIRQO_ALTITUDE_M = 1060.0
AIRQO_QUALITY = Quality(missing=0.0005, outages=12.0, sensor_outages=12.0)
# surroundings: usual metres above the valley, traffic, heating, openness to wind
KINDS = {
    "town": (25.0, 1.0, 1.0, 0.75),
    "kerb": (20.0, 2.2, 0.9, 0.6),
    "park": (40.0, 0.45, 1.2, 0.95),
    "hill": (330.0, 0.15, 0.35, 1.3),
}


class Row(NamedTuple):
    """One reading: minutes since 1970 UTC, device id, values in the order of `CHANNELS`, NaN where missing."""

    minute: float
    device: str
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Stations of one region over a span of hours; everything is computed on first use and then kept.

    The same seed gives the same fleet. With more stations or more hours the first ones stay as they are.

    Args:
        seed: Seed of everything.
        stations: Number of stations.
        start: First hour, aware.
        hours: Number of hours.
        quality: How good the stations are.
        altitude_m: Height of the valley's floor.

    Raises:
        ValueError: No stations, no hours, or a start without a zone.
    """

    seed: int = 7
    stations: int = 10
    start: datetime = START
    hours: int = 500 * 24
    quality: Quality = ORDINARY
    altitude_m: float = 120.0

    def __post_init__(self) -> None:
        if self.stations < 1 or self.hours < 1:
            raise ValueError(f"a fleet needs stations and hours, not {self.stations} and {self.hours}")
        if self.start.tzinfo is None:
            raise ValueError(f"start {self.start} has no time zone")

    @property
    def first_hour(self) -> int:
        """Hours since 1970 UTC of the first readings."""
        return int(self.start.timestamp()) // 3600

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Device ids; the first part tells the surroundings."""
        kinds = tuple(KINDS)
        return tuple(f"{kinds[i % len(kinds)]}-{i + 1:03d}" for i in range(self.stations))

    @cached_property
    def sites(self) -> tuple[Places, Sources]:
        """Where the stations stand, and what emits near them."""
        usual = np.array([KINDS[name.split("-")[0]] for name in self.names])
        draws = np.stack([Noise(self.seed, "site", i).uniform(5) for i in range(self.stations)])
        altitude = self.altitude_m + usual[:, 0] * (0.6 + 0.8 * draws[:, 0])
        places = Places(80.0 * draws[:, 1], altitude, usual[:, 3] * (0.9 + 0.2 * draws[:, 2]))
        return places, Sources(usual[:, 1] * (0.75 + 0.5 * draws[:, 3]), usual[:, 2] * (0.75 + 0.5 * draws[:, 4]))

    @cached_property
    def _calendar(self) -> Calendar:
        return calendar(self.first_hour - WARM_UP_H, self.hours + WARM_UP_H)

    @cached_property
    def _weather(self) -> Weather:
        return weather(self.seed, self._calendar, self.sites[0])

    @cached_property
    def truth(self) -> Doubles:
        """What is really there, shape (hours, stations, channels)."""
        air = self._weather
        pm25 = particles(self.seed, self._calendar, air, self.sites[1])
        channels = (air.temp, air.precip, air.rel_humidity, air.wind_dir, air.wind_spd, air.atmos_press, pm25)
        return np.stack([channel[WARM_UP_H:] for channel in channels], axis=-1)

    @cached_property
    def sound(self) -> Doubles:
        """What the sensors would show without gaps and faults, to one decimal, shape (hours, stations, channels)."""
        return fleet_faults.measured(self.seed, self.truth, self.quality.noise)

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that goes wrong, by first hour."""
        return fleet_faults.faults(self.seed, self.hours, self.stations, self.quality)

    @cached_property
    def values(self) -> Floats:
        """What the stations report, NaN where missing, shape (hours, stations, channels)."""
        return fleet_faults.apply(self.sound, self.faults).astype(np.float32)

    def rows(self, first: int = 0, last: int | None = None) -> Iterator[Row]:
        """Readings from hour `first` to before hour `last`, by time, then station; silent stations are left out."""
        for hour in range(first, self.hours if last is None else min(last, self.hours)):
            minute = (self.first_hour + hour) * 60
            for name, row in zip(self.names, np.round(self.values[hour].astype(np.float64), 1).tolist(), strict=True):
                if any(cell == cell for cell in row):
                    yield Row(minute, name, tuple(row))

    def write_csv(self, path: str | Path, first: int = 0, last: int | None = None) -> int:
        """Write the hours from `first` to before `last` as a long CSV (gzip by name); returns the number of rows."""
        return files.write_long(Path(path), self.names, self.first_hour + first, self.values[first:last])

    def write_wide(self, path: str | Path, rows: int, *, target: bool = True) -> int:
        """Write windows in the AirQo competition's form (gzip by name); returns the number of rows."""
        return files.write_wide(Path(path), self.values, rows, seed=self.seed, target=target)


def airqo_like(seed: int, rows: int) -> Fleet:
    """Five stations on a plateau (88 kPa), over a span that holds `rows` windows, about half of them with gaps."""
    hours = 400 + int(rows / 5 * 1.25)
    return Fleet(seed=seed, stations=5, hours=hours, altitude_m=AIRQO_ALTITUDE_M, quality=AIRQO_QUALITY)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a fleet's readings to a file."""
    parser = argparse.ArgumentParser(prog="python -m local.fleet", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file to write; gzip when it ends with .gz")
    parser.add_argument("--stations", type=int, default=10)
    parser.add_argument("--days", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--wide", type=int, metavar="ROWS", help="write the AirQo competition's form instead")
    parser.add_argument("--no-target", action="store_true", help="leave the wide form's target out")
    options = parser.parse_args(arguments)
    if options.wide is None:
        fleet = Fleet(seed=options.seed, stations=options.stations, hours=options.days * 24)
        written = fleet.write_csv(options.out)
    else:
        written = airqo_like(options.seed, options.wide).write_wide(
            options.out, options.wide, target=not options.no_target
        )
    sys.stdout.write(f"{written:,} rows in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
