"""Packs of SenML: records of one value each, whose base fields hold for all that follow, as readings.

Source: RFC 8428, Sensor Measurement Lists (https://www.rfc-editor.org/rfc/rfc8428).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from shared.errors import BadEvent

KEYS = frozenset({"bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"})
_BASES = ("bn", "bt", "bu", "bv", "bs", "bver")
_VALUES = ("v", "vs", "vb")
_RELATIVE = 1 << 28  # seconds: a time below it counts from now
_ENDS = ":/-_.# "
_LAST = re.compile(r"(.*)[:/](.*)", re.DOTALL)


class Measured(NamedTuple):
    """What one device measured at one time.

    Args:
        device: As much of the records' names as is the device's, None where there is none.
        time: Seconds since 1970, or what stood in its place; None where there is none.
        values: Value and unit, by what is measured.
        records: Those that it was made of, each whole without those before it.
    """

    device: str | None
    time: object
    values: dict[str, tuple[object, str]]
    records: list[dict[str, object]]


def is_record(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether an object has the keys of a record, and a name among them."""
    return isinstance(value, dict) and value.keys() <= KEYS and not value.keys().isdisjoint(("n", "bn"))


def measured(pack: Sequence[object], now: float | None) -> Iterator[Measured]:
    """Readings of a pack: values of one device and time together; a second one of its name begins another reading.

    Args:
        pack: Its records.
        now: Seconds since 1970 that relative times count from, None where it is unknown: then there is no time.

    Raises:
        BadEvent: `not_an_object`, one of them is no record.
    """
    found: dict[tuple[str | None, object], Measured] = {}
    done: list[Measured] = []
    for record, base in _with_bases(pack):
        value = next((record[key] for key in _VALUES if key in record), None)
        if value is None:
            continue
        device, name = _named(_text(base.get("bn")), _text(record.get("n")))
        unit = record.get("u", base.get("bu"))
        time = _time(base.get("bt"), record.get("t"), now)
        whole = {"bn": base.get("bn"), "n": record.get("n"), "u": unit, "t": time, "v": _sum(base.get("bv"), value)}
        place = device, time if isinstance(time, int | float | str) else None
        if place not in found or name in found[place].values:
            if place in found:
                done.append(found.pop(place))
            found[place] = Measured(device, time, {}, [])
        found[place].values[name] = whole["v"], unit if isinstance(unit, str) else ""
        found[place].records.append({key: entry for key, entry in whole.items() if entry is not None})
    yield from (*done, *found.values())


def parts(pack: Sequence[Mapping[str, Any]], base: dict[str, Any], most: int) -> Iterator[list[Mapping[str, Any]]]:
    """A pack as packs of at most so many records, each whole without those before it; `base` is kept."""
    for low in range(0, len(pack), most):
        first, *others = pack[low : low + most]
        yield [{**base, **first}, *others]
        for record in (first, *others):
            base.update((key, record[key]) for key in _BASES if key in record)


def _with_bases(pack: Sequence[object]) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Records, and the base fields that hold for each."""
    base: dict[str, object] = {}
    for record in pack:
        if not (isinstance(record, dict) and record.keys() <= KEYS):
            raise BadEvent("not_an_object", "what stands in a SenML pack beside its records is none of them")
        base |= {key: record[key] for key in _BASES if key in record}
        yield record, base


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _named(base: str, name: str) -> tuple[str | None, str]:
    """Device and measure: base name and name, where both are there; else they part at the last colon or slash.

    >>> _named("urn:dev:ow:10e2:", "level"), _named("", "hall/level"), _named("", "level")
    (('urn:dev:ow:10e2', 'level'), ('hall', 'level'), (None, 'level'))
    """
    if not (base and name):
        match = _LAST.fullmatch(base or name)
        base, name = (match[1], match[2]) if match else ("", base or name)
    return base.strip().rstrip(_ENDS) or None, name.strip().lstrip(_ENDS)


def _time(base: object, own: object, now: float | None) -> object:
    """Seconds since 1970; what is no number stays as it is, to be refused."""
    for given in (base, own):
        if given is not None and not _is_number(given):
            return given
    seconds = sum(float(given) for given in (base, own) if isinstance(given, int | float))
    if seconds >= _RELATIVE:
        return seconds
    return None if not seconds or now is None else now + seconds


def _sum(base: object, value: object) -> object:
    if isinstance(value, bool):
        return float(value)
    if _is_number(base) and _is_number(value):
        return float(base) + float(value)  # type: ignore[arg-type]
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
