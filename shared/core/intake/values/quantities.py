"""Values of a channel: texts into numbers, other units into the channel's own, and what is possible."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from shared.core.intake.readings import Codes, Doubles, Floats, Mask, shown
from shared.core.intake.values.units import CANONICAL
from shared.core.scenario import Channel, Unit

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "nat", "null", "nil", "none", "-", "--"})
FINE, BAD, OUTSIDE, SENTINEL = range(4)
REASON = {BAD: "bad_value", OUTSIDE: "out_of_range", SENTINEL: "sentinel"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"\s*[+-]?\d{1,20},\d{1,20}\s*", re.ASCII)
_POINT_FOR_COMMA = str.maketrans(",.", ".,")
_INFINITY = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def missing(text: str) -> bool:
    """Whether a text stands for "no value".

    >>> missing(" NaN "), missing("0")
    (True, False)
    """
    return text.strip().casefold() in MISSING


def number(value: object, decimal: str = ".") -> float:
    """A cell as a number: NaN when missing, infinite when it says so.

    Args:
        value: What JSON or a table gave: text, number or null. Booleans and containers are no numbers.
        decimal: The sign of fractions in texts, a point or a comma; the other one makes it no number.

    Raises:
        ValueError: It is none.
    """
    if value is None:
        return np.nan
    if isinstance(value, str):
        text = value.strip()
        if decimal == ",":
            text = text.translate(_POINT_FOR_COMMA)
        if _NUMBER.fullmatch(text) or _INFINITY.fullmatch(text):
            return float(text)
        if text.casefold() in MISSING or text.casefold() in ("+nan", "-nan"):
            return np.nan
        raise ValueError(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return np.inf
    raise ValueError("neither a text nor a number")


def numbers(values: Sequence[object], decimal: str = ".") -> tuple[Doubles, list[int]]:
    """A column of cells as numbers, and the indices of those that are none (their number is NaN).

    Args:
        values: Cells as JSON gave them, length n.
        decimal: The sign of fractions in texts.
    """
    if set(map(type, values)) <= _PLAIN:
        try:
            return np.array(values, dtype=np.float64), []
        except OverflowError:
            pass  # a whole number beyond the range of a float: one cell at a time
    column = np.full(len(values), np.nan)
    bad = []
    for i, value in enumerate(values):
        try:
            column[i] = number(value, decimal)
        except ValueError:
            bad.append(i)
    return column, bad


_PLAIN = {float, int, type(None)}


class Sentinels(NamedTuple):
    """What stands for "no value" in a source: numbers as they are stored, and words without case."""

    numbers: Floats
    words: frozenset[str]


@cache
def sentinels(missing_values: tuple[float | str, ...]) -> Sentinels:
    """A channel's `missing_values`; a text that is a number stands for that number."""
    texts = {value.strip().casefold() for value in missing_values if isinstance(value, str)}
    numeric = {text for text in texts if _NUMBER.fullmatch(text)}
    found = [value for value in missing_values if not isinstance(value, str)] + [float(text) for text in numeric]
    return Sentinels(_stored(np.array(sorted(found))), frozenset(texts - numeric))


def normalise(channel: Channel, raw: Doubles, unit: Unit | None) -> tuple[Floats, Codes | None, set[str]]:
    """Values in the channel's unit, with what is wrong with each.

    The limits are applied to what is stored (float32), so that rounding in a conversion does not reject a limit itself.

    Args:
        channel: Whose values they are; its `missing_values` are compared with what was read, whatever the unit.
        raw: As read, NaN where missing, shape (n,).
        unit: Declared by the header or key; None lets the channel's `detect` ranges recognise other units.

    Returns:
        Values (NaN where missing or wrong), faults (FINE, BAD = infinite, OUTSIDE, SENTINEL) or None when there is
        none, and the names of the units recognised without being declared.
    """
    told = np.isin(_stored(raw), sentinels(channel.missing_values).numbers) if channel.missing_values else None
    if told is None or not told.any():
        return _converted(channel, raw, unit)
    values, faults, found = _converted(channel, np.where(told, np.nan, raw), unit)
    faults = np.zeros(len(values), np.uint8) if faults is None else faults
    faults[told] = SENTINEL
    return values, faults, found


def _converted(channel: Channel, raw: Doubles, unit: Unit | None) -> tuple[Floats, Codes | None, set[str]]:
    scaled = raw if unit is None or unit is CANONICAL else raw * unit.factor + unit.offset
    values = _stored(scaled)
    outside = _outside(channel, values)
    if not outside.any():
        return values, None, set()
    found = set() if unit is not None else _recognise(channel, raw, values)
    if found:
        outside = _outside(channel, values)
    faults = outside.astype(np.uint8) * np.uint8(OUTSIDE)
    faults[np.isinf(raw)] = BAD
    values[outside] = np.nan
    return values, faults if outside.any() else None, found


def together(faults: Mapping[int, Codes], shape: tuple[int, int]) -> Codes | None:
    """Faults of channels by their index as those of all, shape (n, channels); None when there is none."""
    if not faults:
        return None
    whole = np.zeros(shape, np.uint8)
    for c, wrong in faults.items():
        whole[:, c] = wrong
    return whole


def _stored(values: Doubles) -> Floats:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _outside(channel: Channel, values: Floats) -> Mask:
    return (values < np.float32(channel.minimum)) | (values > np.float32(channel.maximum))


def _recognise(channel: Channel, raw: Doubles, values: Floats) -> set[str]:
    found = set()
    for name, unit in channel.units.items():
        if unit.detect is not None:
            inside = (raw >= unit.detect[0]) & (raw <= unit.detect[1])
            if inside.any():
                values[inside] = _stored(raw[inside] * unit.factor + unit.offset)
                found.add(name)
    return found


def value_problem(channel: Channel, fault: int, value: object) -> tuple[str, str]:
    """Reason code and detail of a value that was refused: its key, what was found, the limit."""
    if fault == OUTSIDE:
        limits = f"{channel.minimum:g} to {channel.maximum:g} {channel.unit}"
        return REASON[fault], f"{channel.name}: {shown(value)} is outside {limits}"
    if fault == SENTINEL:
        return REASON[fault], f"{channel.name}: {shown(value)} is one of its missing_values"
    points = " or a compass point" if channel.aggregate == "circular" else ""
    comma = '; decimal = "," in the [[layouts]] of a file says so' if _COMMA.fullmatch(str(value)) else ""
    return REASON[BAD], f"{channel.name}: {shown(value)} is not a finite number{points}{comma}"
