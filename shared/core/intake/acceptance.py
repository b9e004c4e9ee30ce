"""One rule for what is accepted, whichever way a record came: device, then time, then each value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME
from shared.core.intake.readings import Codes, Floats, Ints, Longs, Parsed, Readings, Rejection, id_problem, shown
from shared.core.intake.times.clock_turns import ClockTurns
from shared.core.intake.times.date_hours import with_date_hours
from shared.core.intake.times.forms import advice
from shared.core.intake.times.skipped import NONE, Skipped
from shared.core.intake.times.timestamps import FUTURE, REASON, UNZONED, Stamps, never_were, utc
from shared.core.intake.times.zones import Zone, zone
from shared.core.intake.values.dropped import ChannelValues
from shared.core.intake.values.quantities import FINE, MISSING, value_problem
from shared.core.intake.values.words import counted
from shared.core.scenario import Scenario

_NO_DEVICE = frozenset({"", "nan", "null", "none"})
_FURTHEST_ZONE = 14 * 60  # minutes ahead of UTC
_ACCEPTED, _DEVICE, _TIME, _VALUE, _NO_VALUES = range(5)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Records as columns, before they are judged.

    Args:
        position: Place in the source, rising, int64, shape (n,).
        names: Distinct device ids as written.
        device: Index into `names`, -1 = not there, int32, shape (n,).
        stamps: Timestamps as written, n of them.
        values: Channels in the scenario's order and units, NaN where missing or wrong, float32, shape (n, channels).
        faults: What is wrong with a value (a code of `quantities`), shape (n, channels); None = nothing.
        cell: Original value of (record, DEVICE | TIME | FIRST_CHANNEL + channel), for messages about a refused one.
        raw: Original bytes of a record.
        written: Original values of a channel in some records, and how often each stands there.
        lag: Minutes by which a time is behind the beginning of what was measured, one or shape (n,); 60 where a time is
            the end of its hour.
        among: Keys of a record that was an object, among which may stand what it lacks, by the reason for that.
    """

    position: Longs
    names: Sequence[str]
    device: Ints
    stamps: Stamps
    values: Floats
    faults: Codes | None
    cell: Callable[[int, int], object]
    raw: Callable[[int], bytes]
    written: Callable[[int, Longs], Iterable[tuple[object, int]]]
    lag: int | Longs = 0
    among: Callable[[int, str], Sequence[str]] = lambda *_: ()


class Zoning:
    """Zones of timestamps that were written without one: declared, else the station's, else the scenario's."""

    def __init__(self, scenario: Scenario, declared: str | None, *, in_order: bool = False) -> None:
        """Check the names.

        Args:
            scenario: Knows the stations' zones, and that of all others.
            declared: Of the whole source, stronger than the station's.
            in_order: A device's records come as they were written, so that their order tells an hour that the clocks
                show twice; what was seen of them is kept from sheet to sheet.

        Raises:
            BadEvent: `zone`, `declared` is not a zone.
        """
        self._stations = scenario.stations if declared is None else {}
        self._other = zone(scenario.zone if declared is None else declared)
        self._turns = ClockTurns(60 // (scenario.cadence.hour * scenario.samples_per_step)) if in_order else None

    def utc(
        self, sheet: Sheet, names: Sequence[str], not_after: int | Longs
    ) -> tuple[Longs, Codes, tuple[Longs, Longs]]:
        """Minutes since 1970 UTC of a sheet's records, what is wrong with their times, and which never were.

        See `timestamps.utc` and `timestamps.never_were`.
        """
        later = None if self._turns is None else partial(self._turns.later, names, sheet.device)
        stamps = with_date_hours(sheet.stamps, not_after, lambda i: sheet.cell(i, TIME))
        rows = self.rows(names, sheet.device)
        minute, fault = utc(stamps, *rows, not_after, later)
        return minute - sheet.lag, fault, never_were(stamps, *rows)

    def rows(self, names: Sequence[str], device: Ints) -> tuple[list[Zone], Ints]:
        """Distinct zones, and the index of each record's own among them."""
        if not self._stations:
            return [self._other], np.zeros(len(device), np.int32)
        zones = [self._other]
        which = np.zeros(len(names) + 1, np.int32)  # the last one answers for the index -1
        for i, name in enumerate(names):
            station = self._stations.get(name)
            if station is not None:
                known = zone(station.zone)
                if known not in zones:
                    zones.append(known)
                which[i] = zones.index(known)
        return zones, which[device]


class Acceptance:
    """Judges sheets for one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._listed = None if scenario.unlisted_stations == "accept" else frozenset(scenario.stations)

    def judge(self, sheet: Sheet, zoning: Zoning, not_after: int | Longs, refused: Sequence[Rejection] = ()) -> Parsed:
        """Accepted readings, and a rejection for every other record, each in the order of the source.

        A value that is wrong is dropped from its reading; only a record in which nothing else was is rejected for it.

        Args:
            sheet: The records.
            zoning: For timestamps without a zone.
            not_after: Minute since 1970 that brought the records; one, or shape (n,).
            refused: Records that never became part of the sheet.
        """
        names = [name.strip() for name in sheet.names]
        problems = [self._device_problem(name) for name in names]
        minute, late, gone = zoning.utc(sheet, names, not_after)
        verdict = self._verdict(sheet, problems, late)
        dropped = self._dropped(sheet, verdict)
        if not verdict.any() and not refused:
            return Parsed(
                self._readings(sheet, names, minute, slice(None)), [], dropped, sheet.faults, _skipped(sheet, *gone)
            )
        rejected = [*refused]
        for i in np.flatnonzero(verdict).tolist():
            reason, detail = self._explain(sheet, problems, int(verdict[i]), int(late[i]), i, not_after)
            rejected.append(Rejection(int(sheet.position[i]), reason, detail, sheet.raw(i)))
        rejected.sort(key=lambda rejection: rejection.position)
        accepted = np.flatnonzero(verdict == _ACCEPTED)
        faults = None if sheet.faults is None else sheet.faults[accepted]
        kept = verdict[gone[0]] == _ACCEPTED
        skipped = _skipped(sheet, gone[0][kept], gone[1][kept])
        return Parsed(self._readings(sheet, names, minute, accepted), rejected, dropped, faults, skipped)

    def _readings(self, sheet: Sheet, names: list[str], minute: Longs, rows: slice | Longs) -> Readings:
        device, ids = _compact(names, sheet.device[rows])
        cadence = self._scenario.cadence
        return Readings(
            devices=ids,
            device=device,
            minute=cadence.kept(cadence.tick_of(minute[rows], sheet.stamps.second[rows])),
            position=sheet.position[rows],
            values=sheet.values[rows],
        )

    def _verdict(self, sheet: Sheet, problems: list[tuple[str, str] | None], late: Codes) -> Codes:
        verdict = np.where(np.isnan(sheet.values).all(axis=1), _NO_VALUES, _ACCEPTED).astype(np.uint8)
        if sheet.faults is not None:
            verdict[(verdict == _NO_VALUES) & sheet.faults.any(axis=1)] = _VALUE
        verdict[late != 0] = _TIME
        unfit = np.array([*(problem is not None for problem in problems), True])  # the last one: no device at all
        verdict[unfit[sheet.device]] = _DEVICE
        return verdict

    def _dropped(self, sheet: Sheet, verdict: Codes) -> dict[str, ChannelValues]:
        """Values that became missing, of records whose device and time are sound."""
        if sheet.faults is None:
            return {}
        sound = np.isin(verdict, (_ACCEPTED, _VALUE))
        dropped = {}
        for c in np.flatnonzero(sheet.faults.any(axis=0)).tolist():
            rows = np.flatnonzero(sound & (sheet.faults[:, c] != FINE))
            if len(rows):
                name = self._scenario.channels[c].name
                dropped[name] = counted(sheet.faults[rows, c], sheet.written(c, rows))
        return dropped

    def _device_problem(self, name: str) -> tuple[str, str] | None:
        if name.casefold() in _NO_DEVICE:
            return "missing_device", "no device id"
        if problem := id_problem(name):
            return "device_id", f"the device id {shown(name)} {problem}"
        if self._listed is not None and name not in self._listed:
            return "unknown_station", f"{shown(name)} is not a station of {self._scenario.name}"
        return None

    def _explain(
        self,
        sheet: Sheet,
        problems: list[tuple[str, str] | None],
        verdict: int,
        late: int,
        i: int,
        not_after: int | Longs,
    ) -> tuple[str, str]:
        if verdict == _DEVICE:
            found = problems[sheet.device[i]] if sheet.device[i] >= 0 else None
            reason, detail = found or self._no_device(sheet.cell(i, DEVICE))
            return reason, detail + _among(sheet.among(i, reason), reason)
        if verdict == _TIME:
            limit = int(not_after[i]) if isinstance(not_after, np.ndarray) else int(not_after)
            detail = _time_detail(sheet.cell(i, TIME), late, limit) + _hint(sheet.stamps, i, late, limit)
            return REASON[late], detail + _among(sheet.among(i, REASON[late]), REASON[late])
        if verdict == _VALUE and sheet.faults is not None:
            c = int(np.flatnonzero(sheet.faults[i])[0])
            cell = sheet.cell(i, FIRST_CHANNEL + c)
            return value_problem(self._scenario.channels[c], int(sheet.faults[i, c]), cell)
        return "no_values", "no channel has a value" + _among(sheet.among(i, "no_values"), "no_values")

    @staticmethod
    def _no_device(cell: object) -> tuple[str, str]:
        if cell is None or (isinstance(cell, str) and cell.strip().casefold() in MISSING):
            return "missing_device", "no device id"
        return "device_id", f"the device id {shown(cell)} is not a text"


_SAYING = {
    "missing_device": "device in [[layouts]], or device of [names], says which one is its id",
    "missing_time": "time in [[layouts]], or time of [names], says which one is it",
    "no_values": "channels in [[layouts]], or aliases of a channel, say what they are",
}


def _among(keys: Sequence[str], reason: str) -> str:
    """What there was instead in an object, and how the scenario says what it is."""
    return "" if not keys else f" among the keys {', '.join(map(shown, keys))}; {_SAYING[reason]}"


def _time_detail(cell: object, late: int, limit: int) -> str:
    tail = {
        "missing_time": "no timestamp",
        "bad_time": f"{shown(cell)} is neither ISO 8601, an epoch nor a date of 12 or 14 digits{advice(cell)}",
        "ancient": f"{shown(cell)} is before the year 2000{advice(cell)}",
    }
    if late == FUTURE:
        return f"{shown(cell)} is later than {np.datetime64(limit, 'm')}Z, when it arrived"
    return tail[REASON[late]]


def _hint(stamps: Stamps, i: int, late: int, limit: int) -> str:
    """What to declare where a clock that is ahead of UTC, and does not say so, explains a time in the future."""
    ahead = int(stamps.local[i]) - limit <= _FURTHEST_ZONE
    if late == FUTURE and stamps.offset[i] == UNZONED and ahead:
        return "; it has no zone: declare one for its station ([stations.ID] zone), or for its file"
    return ""


def _skipped(sheet: Sheet, rows: Longs, offsets: Longs) -> Skipped:
    """Accepted records whose local time never was."""
    return Skipped(len(rows), shown(sheet.cell(int(rows[0]), TIME)), int(offsets[0])) if len(rows) else NONE


def _compact(names: list[str], device: Ints) -> tuple[Ints, tuple[str, ...]]:
    """Drop ids that no record points to, and join those that differ in blanks at their ends only."""
    used = np.bincount(device, minlength=len(names)) > 0
    places: dict[str, int] = {}
    mapping = [0] * len(names)
    for i in np.flatnonzero(used).tolist():
        mapping[i] = places.setdefault(names[i], len(places))
    return np.array(mapping, np.int32)[device] if mapping else device, tuple(places)
