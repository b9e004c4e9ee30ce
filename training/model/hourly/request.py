"""From the body of a request to windows: hourly values as they stand, or readings in the form devices send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from shared.core.forecast.window.columns import Layout, spread
from shared.core.forecast.window.history import hourly
from shared.core.intake.messages.decoding import ELEMENT_BITS, Decoder
from shared.core.intake.messages.decoding import MOST as MOST_READINGS
from shared.core.intake.messages.json_bodies import value_of
from shared.core.intake.readings import Codes, Floats, Longs, Readings, shown
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import OK, UNZONED
from shared.core.intake.values.dropped import ChannelValues, Values, by_reason, joined
from shared.core.intake.values.quantities import normalise, numbers, value_problem
from shared.core.intake.values.units import CANONICAL
from shared.core.intake.values.words import counted, understood
from shared.core.scenario import Channel, Scenario
from shared.core.scenario.cadence import Cadence
from shared.errors import BadEvent

Problem: TypeAlias = tuple[str, str, str]

LARGEST = 16 * 1024 * 1024
MOST = 1000
NO_TIME = -1
LATEST_MINUTE = 2**31 - 10  # minutes are int32, and the decoder allows some minutes more
FORMS = 'one of {"windows": [...], "as_of": [...]} and {"readings": [...]}'


class Refused(Exception):
    """A request that cannot be answered.

    Args:
        problems: Key, reason code and detail of each.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0])
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be forecast.

    Args:
        device: Device of each window, "" where the request has none.
        window: Stored columns, oldest hour first, float32, shape (history, columns, n).
        as_of: Newest hours since 1970, -1 where unknown, int64, shape (n,).
        dropped: Values that became missing, by channel and reason.
    """

    device: Sequence[str]
    window: Floats
    as_of: Longs
    dropped: dict[str, dict[str, int]]


def asked(scenario: Scenario, raw: bytes) -> Asked:
    """Read a request.

    Args:
        scenario: Its channels and their limits.
        raw: The body.

    Raises:
        Refused: With every problem found.
    """
    if len(raw) > LARGEST:
        raise Refused(("body", "too_large", f"{len(raw)} bytes are more than {LARGEST}"))
    try:
        body = value_of(raw)
    except BadEvent as error:
        raise Refused(("body", error.reason, error.detail)) from error
    if not isinstance(body, dict):
        raise Refused(("body", "not_an_object", f"{shown(body)} is not {FORMS}"))
    if unknown := sorted(set(body) - {"windows", "as_of", "readings"}):
        raise Refused(*((shown(key), "unknown_key", f"the body is {FORMS}") for key in unknown))
    if ("windows" in body) == ("readings" in body) or ("readings" in body and "as_of" in body):
        raise Refused(("body", "form", f"it has to be {FORMS}"))
    if "readings" in body:
        return _of_readings(scenario, _rows("readings", body["readings"], MOST_READINGS))
    windows = _rows("windows", body["windows"], MOST)
    return _of_windows(scenario, windows, body.get("as_of"))


def _rows(key: str, found: object, most: int) -> list[object]:
    if not isinstance(found, list) or not found:
        raise Refused((key, "empty", f"{shown(found)} is not a list with at least one element"))
    if len(found) > most:
        raise Refused((key, "too_large", f"{len(found)} elements are more than {most}"))
    return found


def _of_windows(scenario: Scenario, windows: list[object], times: object) -> Asked:
    problems: list[Problem] = []
    values = np.full((len(windows), scenario.history_steps, len(scenario.channels)), np.nan, np.float32)
    dropped = [_fill(scenario, f"windows[{i}]", window, values[i], problems) for i, window in enumerate(windows)]
    as_of = _times(scenario.cadence, times, len(windows), problems)
    if problems:
        raise Refused(*problems)
    columns = spread(Layout.of(scenario), values.reshape(-1, len(scenario.channels)))
    stored = columns.reshape(len(windows), scenario.history_steps, -1)
    window = np.ascontiguousarray(stored.transpose(1, 2, 0))
    return Asked([""] * len(windows), window, as_of, by_reason(joined(dropped)))


def _fill(scenario: Scenario, key: str, window: object, out: Floats, problems: list[Problem]) -> Values:
    """Check one window's channels and write them into (history, channels); what became missing on the way."""
    if not isinstance(window, dict):
        problems.append((key, "not_an_object", f"{shown(window)} is not an object with a list for each channel"))
        return {}
    known, before = scenario.channel_names, len(problems)
    problems.extend((f"{key}.{shown(name)}", "unknown_key", f"the channels are {', '.join(known)}")
                    for name in window if name not in known)  # fmt: skip
    dropped: dict[str, ChannelValues] = {}
    wrong: list[Problem] = []
    for c, channel in enumerate(scenario.channels):
        cells = window.get(channel.name)
        if cells is None:
            continue
        if not isinstance(cells, list) or len(cells) != scenario.history_steps:
            what = f"{len(cells)} numbers" if isinstance(cells, list) else shown(cells)
            problems.append(
                (f"{key}.{channel.name}", "window", f"{what}, a list of {scenario.history_steps} is needed")
            )
            continue
        out[:, c], faults = _values(channel, cells)
        if faults is not None:
            rows = np.flatnonzero(faults)
            dropped[channel.name] = counted(faults[rows], ((cells[i], 1) for i in rows.tolist()))
            first = int(rows[0])
            wrong.append((f"{key}.{channel.name}[{first}]", *value_problem(channel, int(faults[first]), cells[first])))
    if len(problems) == before and np.isnan(out).all():
        nothing = (key, "no_values", f"no channel has a value; the channels are {', '.join(known)}")
        problems.append(wrong[0] if wrong else nothing)
    return dropped


def _values(channel: Channel, cells: list[object]) -> tuple[Floats, Codes | None]:
    raw, bad = numbers(cells)
    values, faults, _ = normalise(channel, raw, CANONICAL)  # units are not guessed
    return values, understood(channel, cells, bad).put(values, faults)


def _of_readings(scenario: Scenario, found: list[object]) -> Asked:
    """Windows that end with each device's newest hour."""
    lines = [json.dumps(each).encode() for each in found]
    positions = [i << ELEMENT_BITS for i in range(len(lines))]  # an envelope's readings stand between two of them
    parsed = Decoder(scenario).decode_lines(lines, positions=positions, not_after_minute=LATEST_MINUTE)
    if parsed.rejected:
        keys = [f"readings[{each.position >> ELEMENT_BITS}]" for each in parsed.rejected]
        raise Refused(*((key, each.reason, each.detail) for key, each in zip(keys, parsed.rejected, strict=True)))
    readings = parsed.readings
    if len(readings.devices) > MOST:
        raise Refused(("readings", "too_large", f"{len(readings.devices)} devices are more than {MOST}"))
    step = readings.minute // scenario.cadence.ticks
    newest = np.zeros(len(readings.devices), np.int64)
    np.maximum.at(newest, readings.device, step)
    recent = step > newest[readings.device] - scenario.history_steps  # older ones would only cost memory
    kept = (readings.device[recent], readings.minute[recent], readings.position[recent], readings.values[recent])
    hours = hourly(scenario, Readings(readings.devices, *kept))
    window = np.full((scenario.history_steps, len(scenario.stored), len(hours)), np.nan, np.float32)
    for i, each in enumerate(hours.values()):
        window[scenario.history_steps - len(each.values) :, :, i] = each.values
    last = [each.first_hour + len(each.values) - 1 for each in hours.values()]
    return Asked(list(hours), window, np.array(last, np.int64), by_reason(parsed.dropped))


def _times(cadence: Cadence, times: object, count: int, problems: list[Problem]) -> Longs:
    as_of = np.full(count, NO_TIME, np.int64)
    if times is None:
        return as_of
    if not isinstance(times, list) or len(times) != count:
        what = f"{len(times)} elements" if isinstance(times, list) else shown(times)
        problems.append(("as_of", "window", f"{what}, a list of {count} is needed, one for each window"))
        return as_of
    for i, text in enumerate(times):
        if text is None:
            continue
        stamps = from_texts([text]) if isinstance(text, str) else None
        if stamps is None or stamps.fault[0] != OK:
            problems.append((f"as_of[{i}]", "bad_time", f"{shown(text)} is not an ISO 8601 time or null"))
        elif stamps.offset[0] == UNZONED:
            problems.append((f"as_of[{i}]", "no_zone", f"{shown(text)} has no zone"))
        elif (step := int(stamps.local[0] - stamps.offset[0]) * 60 // cadence.step_s) < 0:
            problems.append((f"as_of[{i}]", "ancient", f"{shown(text)} is before 1970"))
        else:
            as_of[i] = step
    return as_of
