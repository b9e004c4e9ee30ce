"""Decoding and checking a thousand messages: ours, pydantic, and json with checks written by hand.

All three give the same columns and take the same limits from the scenario. Ours does more: other names and units,
epochs, zones, arrays, what is wrong with each. Run it with `python -m benchmarks.bench_messages`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, create_model

from benchmarks.timing import milliseconds
from local.send import sources
from local.send.bodies import Bodies
from shared.adapters.stores import scenario_files
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.readings import Floats, Longs
from shared.core.scenario import Scenario

COUNT, ROUNDS = 1000, 20
GARBAGE = 10  # one of so many is from the future
YEAR = 365 * 24 * 60


class Columns(NamedTuple):
    """What each side makes of the messages: device and minute of the accepted ones, their values, how many not."""

    devices: Sequence[str]
    minute: Longs
    values: Floats
    refused: int


Read: TypeAlias = Callable[[], Columns]


def ours(scenario: Scenario, bodies: Sequence[bytes], ids: Sequence[str], limit: int) -> Read:
    """The decoder of the route."""
    decoder = Decoder(scenario)
    positions, limits = range(len(bodies)), [limit] * len(bodies)

    def read() -> Columns:
        parsed = decoder.decode_many(bodies, positions=positions, identities=ids, not_after_minutes=limits)
        found = parsed.readings
        devices = [found.devices[place] for place in found.device.tolist()]
        return Columns(devices, found.minute.astype(np.int64), found.values, len(parsed.rejected))

    return read


def with_pydantic(scenario: Scenario, bodies: Sequence[bytes], ids: Sequence[str], limit: int) -> Read:
    """A model with a bounded field per channel, validated from the bytes."""
    names = scenario.channel_names
    fields: dict[str, Any] = {
        channel.name: (
            Annotated[float, Field(ge=channel.minimum, le=channel.maximum, allow_inf_nan=False)] | None,
            None,
        )
        for channel in scenario.channels
    }
    identity = Annotated[str, Field(min_length=1, max_length=128)]
    validate = TypeAdapter(
        create_model("Reading", device_id=(identity, ...), timestamp=(AwareDatetime, ...), **fields)
    ).validate_json

    def read() -> Columns:
        devices, minute, rows = [], [], []
        for body, identity in zip(bodies, ids, strict=True):
            try:
                found = validate(body)
            except ValidationError:
                continue
            state = found.__dict__
            when = int(state["timestamp"].timestamp()) // 60
            if state["device_id"] != identity or when > limit + 5:
                continue
            devices.append(identity)
            minute.append(when)
            rows.append([state[name] for name in names])
        return Columns(devices, np.array(minute), np.array(rows, np.float32), len(bodies) - len(devices))

    return read


def by_hand(scenario: Scenario, bodies: Sequence[bytes], ids: Sequence[str], limit: int) -> Read:
    """`json.loads` and a loop over the channels."""
    channels = [(channel.name, channel.minimum, channel.maximum) for channel in scenario.channels]

    def read() -> Columns:
        devices, minute, rows = [], [], []
        for body, identity in zip(bodies, ids, strict=True):
            try:
                found = json.loads(body)
                row = [checked(found.get(name), low, high) for name, low, high in channels]
                when = minute_of(found["timestamp"])
                if found["device_id"] != identity or when > limit + 5:
                    continue
            except (ValueError, TypeError, KeyError):
                continue
            devices.append(identity)
            minute.append(when)
            rows.append(row)
        return Columns(devices, np.array(minute), np.array(rows, np.float32), len(bodies) - len(devices))

    return read


def checked(value: object, low: float, high: float) -> float:
    """A number within its limits, NaN where it is missing.

    Raises:
        ValueError: It is not one.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(value)
    return value


def minute_of(text: str) -> int:
    """Minute since 1970 of a timestamp with a zone.

    Raises:
        ValueError: It has none, or is no timestamp.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return int(found.timestamp()) // 60


def messages(scenario: Scenario, garbage: int | None) -> tuple[list[bytes], list[str], int]:
    """Bodies, the devices that send them, and the newest sound minute; every `garbage`th is from a year later."""
    rows = list(sources.fleet(COUNT, 2, seed=7).rows())[:COUNT]
    write = Bodies(scenario).of
    newest = int(max(row.minute for row in rows))
    bad = [garbage is not None and place % garbage == 0 for place in range(COUNT)]
    rows = [row._replace(minute=row.minute + YEAR) if out else row for row, out in zip(rows, bad, strict=True)]
    return [write(row) for row in rows], [row.device for row in rows], newest


def same(one: Columns, other: Columns) -> bool:
    """Whether two sides made the same of the messages."""
    values = np.array_equal(one.values, other.values, equal_nan=True)
    return values and list(one.devices) == list(other.devices) and np.array_equal(one.minute, other.minute)


def run() -> None:
    """Let all sides read the same messages, assert that they agree, print what each took."""
    scenario = scenario_files.load("air_quality")
    names = ("ours", "pydantic", "json and hand checks")
    for title, garbage in (("all good", None), (f"every {GARBAGE}th from the future", GARBAGE)):
        given = messages(scenario, garbage)
        works: list[Read] = [make(scenario, *given) for make in (ours, with_pydantic, by_hand)]
        found = [work() for work in works]
        expected = 0 if garbage is None else COUNT // garbage
        for name, columns in zip(names, found, strict=True):
            assert same(found[0], columns), f"{name} disagrees"
            assert columns.refused == expected, f"{name} refused {columns.refused}, not {expected}"
        times = milliseconds(works, ROUNDS)
        size = sum(map(len, given[0])) / COUNT
        print(f"{COUNT:,} messages of {size:.0f} bytes, {title}")
        for name, took in zip(names, times, strict=True):
            print(f"  {name:22} {took * 1e3 / COUNT:6.2f} us a message, {took / times[0]:5.2f} times ours")


if __name__ == "__main__":
    run()
