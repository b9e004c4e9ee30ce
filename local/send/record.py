"""What was sent, what was wrong with it on purpose, and what must become of it: counted without the pipeline's code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from local.fleet.files import iso
from shared.core.scenario import Scenario

APPLIED, STORED_LATE, DUPLICATES, CONFLICTS = "applied", "stored_late", "duplicates", "conflicts"
ACCEPTED = (APPLIED, STORED_LATE, DUPLICATES, CONFLICTS)


class Fault(NamedTuple):
    """One injected fault.

    Args:
        kind: resend, conflict, reorder, late, garbage, skew, stuck or backlog.
        device: Whose it is.
        minute: Time of the reading, minutes since 1970, with a fraction for seconds.
        expected: What must become of it: one of `ACCEPTED`, or the reason code of its dead letter.
        detail: More about it.
    """

    kind: str
    device: str
    minute: float
    expected: str
    detail: str = ""

    def as_json(self) -> str:
        """One line."""
        fields = self._asdict() | {"minute": iso(self.minute)}
        return json.dumps({"time" if key == "minute" else key: value for key, value in fields.items() if value != ""})


class ReferenceFold:
    """What becomes of readings that are accepted, in their order of arrival: a device's newest hour, its ticks.

    It begins with devices that nobody knows.

    Args:
        scenario: The allowed lateness, and samples in an hour.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._lateness, self._samples = scenario.lateness_steps, scenario.samples_per_step
        self._ticks, self._tick_s = scenario.cadence.ticks, scenario.resolution_s
        self._head: dict[str, int] = {}
        self._hours: dict[str, dict[int, dict[int, int]]] = {}

    def _tick(self, minute: float) -> int:
        return round(minute * 60) // self._tick_s

    def take(self, device: str, minute: float, body: bytes) -> str:
        """What becomes of a reading: one of `ACCEPTED`."""
        tick = self._tick(minute)
        hour = tick // self._ticks
        head = self._head.get(device)
        if head is None:
            self._head[device], self._hours[device] = hour, {hour: {tick: hash(body)}}
            return APPLIED
        if hour < head - self._lateness:
            return STORED_LATE
        hours = self._hours[device]
        if hour > head:
            self._head[device] = hour
            if len(hours) > 2 * self._lateness + 8:
                self._hours[device] = hours = {h: kept for h, kept in hours.items() if h >= hour - self._lateness}
        ticks, content = hours.setdefault(hour, {}), hash(body)
        known = ticks.get(tick)
        if known is None:
            ticks[tick] = content
            return APPLIED
        return DUPLICATES if known == content else CONFLICTS

    def too_late(self, device: str, minute: float) -> bool:
        """Whether a reading would be stored without being applied."""
        return self._tick(minute) // self._ticks < self._head.get(device, 0) - self._lateness

    def conflicts(self, device: str, minute: float) -> bool:
        """Whether another value of that time would surely be told from the first: not in an hour of many samples."""
        return len(self._hours.get(device, {}).get(self._tick(minute) // self._ticks, {})) <= self._samples


@dataclass
class Record:
    """The books of one run.

    Args:
        source: What was sent, for people.
        messages: Messages handed to the sender.
        sent: Messages that the hub acknowledged.
        seconds: From the first to the last.
        unsent: Readings that were still held back when the run was stopped.
        minute: Time of the newest reading, minutes since 1970, with a fraction for seconds.
        outcomes: Readings by what must become of them; a message that cannot be used counts one.
        injected: Faults by kind.
        faults: All of them, in the order of sending.
        left_out: Records of the source that were not sent, by reason.
        problem: Why the run ended early.
    """

    source: str = ""
    messages: int = 0
    sent: int = 0
    seconds: float = 0.0
    unsent: int = 0
    minute: float = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problem: str | None = None

    def count(self, outcome: str, fault: Fault | None = None) -> None:
        """Count one reading, and the fault it carries."""
        self.outcomes[outcome] += 1
        if fault is not None:
            self.faults.append(fault)
            self.injected[fault.kind] += 1

    @property
    def rejected(self) -> dict[str, int]:
        """Messages that route must put into the dead-letter, by reason code; conflicts are found later, by score."""
        return {reason: count for reason, count in sorted(self.outcomes.items()) if reason not in ACCEPTED}

    @property
    def rate(self) -> float:
        """Acknowledged messages per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def expected(self) -> dict[str, object]:
        """What the books must say, if nothing else was sent and the devices were new."""
        accepted = {outcome: self.outcomes[outcome] for outcome in ACCEPTED}
        return {
            "messages": self.messages,
            "readings": sum(self.outcomes.values()),
            "accepted": sum(accepted.values()),
            "rejected": self.rejected,
            **accepted,
        }

    def summary(self) -> dict[str, object]:
        """The whole run in one object."""
        return {
            "source": self.source,
            "sent": self.sent,
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.rate),
            "unsent": self.unsent,
            "left_out": dict(self.left_out),
            "injected": dict(sorted(self.injected.items())),
            "expected": self.expected(),
            "problem": self.problem,
        }

    def lines(self) -> Iterator[str]:
        """JSON lines: each fault, then the summary."""
        yield from (fault.as_json() for fault in self.faults)
        yield json.dumps(self.summary())
