"""Faults on demand: readings in event-time order become messages as a real fleet sends them, the same for a seed."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from local.fleet.__main__ import Row
from local.send.bodies import Bodies
from local.send.faults import Faults
from local.send.garbage import kinds
from local.send.record import Fault, Record, ReferenceFold
from local.send.sources import Source
from local.send.wire import Message
from shared.core.scenario import Scenario

HOUR = 60
AHEAD = 80 * 365 * 24 * HOUR  # of a clock that is wrong
IN_ARRAY = 24  # readings in a message of a backlog
RESEND_H, REORDER_H, LATE_H = 12, 6, 12
# from which of its readings on, and for how many, a device's clock is ahead, or a sensor is stuck
SKEWED, STUCK, SILENT_FROM = range(3, 15), range(3, 51), 16
SILENT_SHARE = 0.1


class _Held(NamedTuple):
    """What is sent later; sorted by the minute it is due, then by turn."""

    due: float
    turn: int
    kind: str
    device: str
    readings: list[tuple[float, bytes]]


@dataclass(slots=True)
class _Faulty:
    """A device with faults of its own: `seen` readings so far, since when silent, at which value stuck."""

    skewed: bool
    stuck: bool
    silent: bool
    seen: int = -1
    backlog: _Held | None = None
    frozen: float | None = None


class Plan:
    """Messages in the order of sending; iterate once. Every message is counted in `record` when it is handed out.

    Args:
        source: Readings by time.
        faults: What goes wrong.
        seed: Of what happens to which reading.
        scenario: Says what becomes of readings.
    """

    def __init__(self, source: Source, faults: Faults, seed: int, scenario: Scenario) -> None:
        self.record = Record(source=source.name, left_out=source.left_out)
        self._source, self._faults, self._scenario = source, faults, scenario
        self._random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self._bodies, self._fold = Bodies(scenario), ReferenceFold(scenario)
        self._garbage, self._garbage_sent = kinds(scenario), 0
        self._target = source.channels.index(scenario.target)
        self._held: list[_Held] = []
        self._turn = count()
        self._faulty_devices: dict[str, _Faulty | None] = {}
        shares = (("late", faults.late), ("reorder", faults.reorder), ("resend", faults.resend))
        self._shares = (*shares, ("conflict", faults.conflict))
        self._some = sum(share for _, share in self._shares)

    def __iter__(self) -> Iterator[Message]:
        for row in self._source.rows():
            self.record.minute = row.minute
            if self._held and self._held[0].due <= row.minute:
                yield from self._due(row.minute)
            faulty = self._device(row.device)
            if faulty is None:
                yield from self._ordinary(row)
            else:
                yield from self._of_faulty(row, faulty)
        while self._held:
            yield from self._release(heapq.heappop(self._held))

    @property
    def held_back(self) -> int:
        """Readings that are to be sent later."""
        return sum(len(held.readings) for held in self._held)

    def _device(self, name: str) -> _Faulty | None:
        if name not in self._faulty_devices:
            number, faults = len(self._faulty_devices), self._faults
            silent = SILENT_SHARE * (faults.backlog_h > 0)
            skewed, stuck = _chosen(number - 1, faults.skew), _chosen(number - 2, faults.stuck)
            faulty = _Faulty(skewed, stuck, _chosen(number, silent))
            self._faulty_devices[name] = faulty if faulty.skewed or faulty.stuck or faulty.silent else None
        return self._faulty_devices[name]

    def _ordinary(self, row: Row) -> Iterator[Message]:
        """A reading of a device that is well, or what happens to it on the way."""
        body = self._bodies.of(row)
        fault = self._drawn() if self._some else None
        if fault in ("late", "reorder"):
            self._hold(fault, row, body)
        else:
            yield self._message(None, row.device, [(row.minute, body)])
            if fault == "resend":
                self._hold(fault, row, body)
            elif fault == "conflict":
                self._hold(fault, row, self._bodies.of(self._altered(row)))
        if self._faults.garbage and self._random.random() < self._faults.garbage:
            yield self._garbage_message(row)

    def _drawn(self) -> str | None:
        draw = self._random.random()
        if draw >= self._some:
            return None
        for name, share in self._shares:
            if draw < share:
                return name
            draw -= share
        return None

    def _hold(self, kind: str, row: Row, body: bytes) -> None:
        lateness = self._scenario.lateness
        hours = {
            "late": lateness + 1 + self._random.randrange(LATE_H),
            "reorder": self._random.randint(min(1, lateness), min(REORDER_H, lateness)),
        }.get(kind, self._random.randint(0, min(RESEND_H, lateness)))
        self._push(row.minute + hours * HOUR, kind, row.device, [(row.minute, body)])

    def _push(self, due: float, kind: str, device: str, readings: list[tuple[float, bytes]]) -> _Held:
        held = _Held(due, next(self._turn), kind, device, readings)
        heapq.heappush(self._held, held)
        return held

    def _due(self, now: float) -> Iterator[Message]:
        """What was held back until now; what is to be late waits on until its device has gone far enough ahead."""
        while self._held and self._held[0].due <= now:
            held = heapq.heappop(self._held)
            if held.kind == "late" and not self._fold.too_late(held.device, held.readings[0][0]):
                self._push(now + HOUR, held.kind, held.device, held.readings)
            else:
                yield from self._release(held)

    def _release(self, held: _Held) -> Iterator[Message]:
        minute = held.readings[0][0]
        if held.kind == "conflict" and not self._fold.conflicts(held.device, minute):
            return
        kind = held.kind
        if kind == "late" and not self._fold.too_late(held.device, minute):
            kind = "reorder"  # the source ended, or the device fell silent, before the lateness was over
        for begin in range(0, len(held.readings), IN_ARRAY):
            yield self._message(kind, held.device, held.readings[begin : begin + IN_ARRAY])

    def _message(self, kind: str | None, device: str, readings: list[tuple[float, bytes]]) -> Message:
        for minute, body in readings:
            outcome = self._fold.take(device, minute, body)
            self.record.count(outcome, None if kind is None else Fault(kind, device, minute, outcome))
        self.record.messages += 1
        body = readings[0][1]
        if kind == "backlog":
            body = b"[" + b",".join(body for _, body in readings) + b"]"
        return Message(device, body, self.record.minute)

    def _garbage_message(self, row: Row) -> Message:
        garbage = self._garbage[self._garbage_sent % len(self._garbage)]
        self._garbage_sent += 1
        return self._refused(
            "garbage", row, garbage.body(row.device, row.minute), garbage.reason, garbage.name, garbage.identified
        )

    def _refused(self, kind: str, row: Row, body: bytes, reason: str, detail: str, identified: bool = True) -> Message:
        self.record.count(reason, Fault(kind, row.device, row.minute, reason, detail))
        self.record.messages += 1
        return Message(row.device, body, row.minute, identified)

    def _altered(self, row: Row) -> Row:
        """The same time with one value a unit away, within the limits."""
        values = list(row.values)
        place = next(place for place, value in enumerate(values) if value == value)
        top = self._scenario.channels[place].maximum
        values[place] += 1.0 if values[place] + 1.0 <= top else -1.0
        return row._replace(values=tuple(values))

    def _of_faulty(self, row: Row, faulty: _Faulty) -> Iterator[Message]:
        """A reading of a device with faults of its own; outside of their time it is as any other."""
        faulty.seen += 1
        is_stuck = faulty.stuck and faulty.seen in STUCK
        if is_stuck:
            row = self._frozen(row, faulty)
        if faulty.skewed and faulty.seen in SKEWED:
            ahead = self._bodies.of(row._replace(minute=row.minute + AHEAD))
            yield self._refused("skew", row, ahead, "future", "80 years ahead")
            return
        if faulty.silent and faulty.backlog is None and faulty.seen >= SILENT_FROM:
            faulty.backlog = self._push(row.minute + self._faults.backlog_h * HOUR, "backlog", row.device, [])
        if faulty.backlog is not None and row.minute < faulty.backlog.due:
            faulty.backlog.readings.append((row.minute, self._bodies.of(row)))
        elif is_stuck:
            yield self._message("stuck", row.device, [(row.minute, self._bodies.of(row))])
        else:
            yield from self._ordinary(row)

    def _frozen(self, row: Row, faulty: _Faulty) -> Row:
        """The target as it was when it froze, if the sensor says anything at all."""
        value = row.values[self._target]
        if value != value:
            return row
        faulty.frozen = value if faulty.frozen is None else faulty.frozen
        return row._replace(values=(*row.values[: self._target], faulty.frozen, *row.values[self._target + 1 :]))


def _chosen(number: int, share: float) -> bool:
    """Whether a share of devices, evenly spread, takes this one; the first is 0.

    >>> [_chosen(number, 0.25) for number in range(6)]
    [True, False, False, False, True, False]
    """
    return math.ceil(number * share) < math.ceil((number + 1) * share)
