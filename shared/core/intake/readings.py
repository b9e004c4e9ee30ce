"""Readings as columns: what is accepted, and why the rest is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]

REASONS: dict[str, str] = {
    # a record: one message, one element of an array, one row
    "encoding": "not valid UTF-8",
    "not_json": "not JSON",
    "not_an_object": "JSON, but neither a reading (an object) nor an array of readings",
    "empty": "nothing in it: no bytes, or an array without elements",
    "too_large": "message, array or line above the size limit",
    "too_deep": "JSON nested deeper than the decoder follows",
    "columns": "the row does not have as many cells as the header, or a quote in it never ends",
    "missing_device": "no device id",
    "device_id": "the device or row id is too long, holds control characters or is not a text",
    "identity_mismatch": "the body names another device than the one that sent it",
    "unknown_station": "the scenario accepts listed stations only, and this is none of them",
    "missing_time": "no timestamp",
    "bad_time": "the timestamp is neither ISO 8601 nor epoch seconds or milliseconds",
    "no_zone": "the timestamp has no zone, and none is declared for the station",
    "future": "the timestamp is later than the message or file that brought it",
    "ancient": "the timestamp is before the year 2000",
    "bad_value": "the value of a channel is not a number, or is infinite",
    "out_of_range": "the value of a channel is outside of what the scenario calls possible",
    "no_values": "no channel has a value",
    "missing_id": "the row of a wide file has no id",
    "duplicate_id": "the id of a wide file's row stood in the file before",
    "window": "a cell of a wide file does not hold exactly one number per hour of the history",
    "poison": "a batch with this message failed again and again for one same reason that is not transient",
    "conflict": "another value was accepted for the same device and minute before",
    # a record or a whole file
    "truncated": "the compressed file ends early or is damaged; what stood before was read",
    "duplicate_header": "two columns or keys stand for the same thing",
    "unit": "a column or key names a unit that the scenario does not know for its channel",
    # a whole file
    "empty_file": "no rows in it",
    "format": "neither CSV, Parquet nor JSON lines, or damaged beyond reading",
    "header": "no column for the device, the time or any channel",
    "zone": "the declared time zone is neither an IANA name nor an offset such as +08:00",
    "no_model": "no model is deployed that could answer it",
}
LONGEST_ID = 128
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Readings:
    """Accepted readings in the order of their source, one row each.

    Args:
        devices: Distinct device ids that `device` points into.
        device: Index into `devices`, int32, shape (n,).
        minute: Minutes since 1970-01-01 UTC, int32, shape (n,).
        position: Place in the source (file: row number from 1; hub: sequence number * 65536 + index), int64, (n,).
        values: Channels of the scenario in its order and units, NaN where missing, float32, shape (n, channels).
    """

    devices: tuple[str, ...]
    device: Ints
    minute: Ints
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
    """A stretch of one source after checking."""

    readings: Readings
    rejected: Sequence[Rejection]


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
