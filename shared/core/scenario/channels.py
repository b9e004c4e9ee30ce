"""What a scenario measures and where: channels with their units, bands of the target, stations, names of columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from shared.validation import Number

Name = Annotated[
    str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,62}\Z", description="lower-case letters, digits and underscores")
]
Pattern = Annotated[
    str, Meta(pattern=r"\A\S{1,128}\Z", description="1 to 128 characters of a device id, * and ? for any, no blank")
]
Span = Annotated[tuple[Number, Number], Meta(description="a list of two numbers")]
Aggregate: TypeAlias = Literal["mean", "sum", "circular", "max", "min", "last"]
Sentinel = Annotated[float | str, Meta(description="a number or a text")]
Role: TypeAlias = Literal["temperature", "relative_humidity", "pressure", "wind_speed", "wind_direction"]

PLACEHOLDERS = ("Raspberry Pi Web Client", "Raspberry Pi - Python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Another unit in which a channel is found: canonical value = raw * factor + offset.

    A raw value inside `detect` (a range that no canonical value can have) is converted without being asked; without
    `detect` the unit must be named, in the column's header or its alias.
    """

    factor: Number
    offset: Number = 0.0
    detect: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One measured quantity: its unit, what is physically possible, how samples make an hour, how it is found named.

    Its role, at most one channel's each, is what features know it by; without one it has only what all channels have.
    `missing_values` are what sources write where there is no value, compared before any unit is converted.
    """

    name: Name
    unit: str
    minimum: Number
    maximum: Number
    role: Role | None = None
    aggregate: Aggregate = "mean"
    aliases: tuple[str, ...] = ()
    missing_values: tuple[Sentinel, ...] = ()
    units: dict[str, Unit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A named band of the forecast: values up to and including `upper`."""

    name: str
    upper: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What is known of a station beforehand: its zone for timestamps without one, and where it stands."""

    zone: str = "UTC"
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Column and key names that carry the device, the time, the row id, and what is known but not used.

    `placeholders` are device ids that programs of samples send from whatever device they run on: they name nobody.
    """

    device: tuple[str, ...] = ("device_id",)
    time: tuple[str, ...] = ("timestamp",)
    row: tuple[str, ...] = ("ID", "id")
    ignored: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = PLACEHOLDERS
