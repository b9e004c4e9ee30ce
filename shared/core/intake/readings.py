"""Readings as columns: what is accepted, and why the rest is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.core.intake.times.skipped import NONE, Skipped, together
from shared.core.intake.values import dropped
from shared.core.intake.values.dropped import NOTHING, ChannelValues, Values

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Ticks: TypeAlias = npt.NDArray[np.int32] | Longs
Codes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

LONGEST_ID = 128
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Readings:
    """Accepted readings in the order of their source, one row each.

    Args:
        devices: Distinct device ids that `device` points into.
        device: Index into `devices`, int32, shape (n,).
        minute: Ticks since 1970-01-01 UTC, shape (n,): minutes, int32, unless the scenario's `resolution_s` is another;
            int64 where it is below a minute.
        position: Place in the source (file: row number from 1; hub: sequence number * 65536 + index), int64, (n,).
        values: Channels of the scenario in its order and units, NaN where missing, float32, shape (n, channels).
    """

    devices: tuple[str, ...]
    device: Ints
    minute: Ticks
    position: Longs
    values: Floats

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that was not accepted: where it stood, the reason code, what was found, and its original bytes."""

    position: int
    reason: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """A stretch of one source after checking.

    Args:
        readings: What was accepted.
        rejected: The other records.
        dropped: Values that became missing, by channel, `given` apart: those of accepted readings, and those of
            records that were rejected because nothing else was in them.
        faults: Why a reading's value was dropped (a code of `quantities`), shape (n, channels); None = none was.
            Stretches that are joined do not keep it.
        skipped: Accepted readings at local times that never were.
    """

    readings: Readings
    rejected: Sequence[Rejection]
    dropped: Values = field(default_factory=dict)
    faults: Codes | None = None
    skipped: Skipped = NONE

    def values(self, names: Sequence[str]) -> dict[str, ChannelValues]:
        """What became of all values, by channel; `names` are the channels in their order."""
        kept = np.count_nonzero(~np.isnan(self.readings.values), axis=0).tolist()
        found = ((name, count, self.dropped.get(name, NOTHING)) for name, count in zip(names, kept, strict=True))
        return {
            name: ChannelValues(count + of.dropped, of.reasons, of.texts)
            for name, count, of in found
            if count + of.dropped
        }


def id_problem(text: str) -> str | None:
    r"""What makes a text unfit as a device or row id, or None when it is fit.

    Slashes, dots, quotes and emoji are fit: nothing may build a path or markup from an id without escaping it.

    >>> id_problem("a/../b 'x' \N{THERMOMETER}") is None
    True
    >>> id_problem("a\tb")
    'holds a control character'
    """
    if len(text) > LONGEST_ID:
        return f"is longer than {LONGEST_ID} characters"
    if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "holds a control character"
    return None


def shown(value: object) -> str:
    """A hostile value as one short printable text for a message or a log line."""
    if isinstance(value, str):
        text = value[:_SHOWN]
        if not text.isprintable():
            text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
        return f"'{text}'" if len(value) <= _SHOWN else f"'{text}...'"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, float):
        return str(value)
    return "an object" if isinstance(value, dict) else "a list"


def joined(parts: Sequence[Parsed], channels: int) -> Parsed:
    """Stretches of one source as one, in their order; `channels` is the width where there is none."""
    if len(parts) == 1:
        return parts[0]
    devices: dict[str, int] = {}
    places = [np.array([devices.setdefault(d, len(devices)) for d in p.readings.devices], np.int32) for p in parts]
    columns = [p.readings for p in parts]
    readings = Readings(
        tuple(devices),
        np.concatenate([np.empty(0, np.int32), *(a[r.device] for a, r in zip(places, columns, strict=True))]),
        np.concatenate([np.empty(0, np.int32), *(r.minute for r in columns)]),
        np.concatenate([np.empty(0, np.int64), *(r.position for r in columns)]),
        np.concatenate([np.empty((0, channels), np.float32), *(r.values for r in columns)]),
    )
    rejected = [rejection for p in parts for rejection in p.rejected]
    gone = together(p.skipped for p in parts)
    return Parsed(readings, rejected, dropped.joined(p.dropped for p in parts), skipped=gone)
