"""Forecasts as users saw them, the newest first: from commits that are not in the lake yet, then from the lake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.app.lake.compaction import transaction
from shared.app.lookback.commit_history import CommitHistory, Predictions
from shared.app.lookback.explanation import Forecast, forecast_of
from shared.app.lookback.search import maker
from shared.core.scenario.cadence import Cadence
from shared.core.stream.commit import place_of
from shared.core.stream.events import partition_of
from shared.errors import ContractBroken

LAST_HOUR = 2**31
Order = tuple[int, int, int]  # revision, epoch and sequence number: which of several forecasts of an hour is the last


@dataclass(frozen=True, slots=True)
class Span:
    """Which forecasts of a device are wanted.

    Args:
        most: How many, the newest.
        first: First as-of step since 1970; `last` is the last one.
    """

    most: int
    first: int = 0
    last: int = LAST_HOUR


def served(history: CommitHistory, device: str | None, span: Span, days: int | None = None) -> list[Forecast]:
    """Of each as-of hour the last forecast that users saw, newest first; those of a commit are there at once.

    Args:
        history: What was committed.
        device: Device id; None for all devices, one after the other.
        span: Which are wanted of each.
        days: At most so many days of the lake are looked into, the newest; None for all that there are.

    Raises:
        ContractBroken: A commit, its predictions or a file of the lake is damaged.
    """
    kept, owners = _Kept(span, device, history.task.scenario.cadence), None
    if device is not None and history.partitions is not None:
        owners = [partition_of(device, history.partitions)]
    for partition in owners or history.there():
        _add_landed(history, partition, kept)
    _add_lake(history, kept, days)
    if owners and not kept.count():  # a hub that was created anew may have had another number of partitions
        for partition in history.there():
            _add_landed(history, partition, kept)
    return kept.newest()


@dataclass(slots=True)
class _Kept:
    """The last forecast of each as-of hour, of every device that was met."""

    span: Span
    device: str | None
    cadence: Cadence
    _hours: dict[str, dict[int, tuple[Order, Forecast]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, found: Predictions) -> int | None:
        """Take over columns of predictions with their `epoch`; gives the lowest as-of hour of the device's there."""
        rows = [row for row, name in enumerate(found["device_id"]) if self.device in (None, name)]
        for row in rows:
            if found["served"][row] and self.span.first <= found["as_of"][row] <= self.span.last:
                self._put(found, row)
        return min((int(found["as_of"][row]) for row in rows), default=None)

    def _put(self, found: Predictions, row: int) -> None:
        hours, as_of = self._hours[found["device_id"][row]], int(found["as_of"][row])
        order = int(found["revision"][row]), int(found["epoch"][row]), int(found["sequence_number"][row])
        if as_of not in hours or order > hours[as_of][0]:
            hours[as_of] = order, forecast_of(found, row, self.cadence)
        if len(hours) > self.span.most:
            del hours[min(hours)]

    def count(self, hour: int = 0) -> int:
        """Forecasts of as-of hours from one on, of the device with the fewest."""
        return min((sum(as_of >= hour for as_of in hours) for hours in self._hours.values()), default=0)

    def newest(self) -> list[Forecast]:
        """As many as are wanted of each device, newest first."""
        return [hours[as_of][1] for hours in self._hours.values() for as_of in sorted(hours, reverse=True)]


def _add_landed(history: CommitHistory, partition: int, kept: _Kept) -> None:
    """Forecasts of a partition's commits that are not in the lake, from the newest commit back.

    A commit revises as-of hours at most `delay_h` behind the newest; no older commit knows of any above that.
    """
    for name in _landed(history, partition):
        found = _committed(history, name, kept.device)
        lowest = None if found is None else kept.add(found)
        if lowest is None or kept.device is None:
            continue
        highest = lowest + history.task.delay_h * kept.cadence.hour  # of older commits
        if highest < kept.span.first or kept.count(highest) >= kept.span.most:
            return


def _landed(history: CommitHistory, partition: int) -> Iterator[str]:
    """Names of a partition's predictions whose commits are not in the lake, newest first."""
    names = history.blobs.names("predictions", f"partition={partition:02d}/")
    scenario = history.task.scenario.name
    apps = {epoch: transaction(scenario, (partition, epoch)) for epoch in {place_of(maker(name))[0] for name in names}}
    ends = history.lake.ends(sorted(apps.values())) if history.lake else {}
    for name in sorted(names, key=lambda name: place_of(maker(name)), reverse=True):
        epoch, first = place_of(maker(name))
        if first >= ends.get(apps[epoch], 0):
            yield name


def _committed(history: CommitHistory, name: str, device: str | None) -> Predictions | None:
    """Predictions as columns, None where they hold nothing of the device, or another worker's were committed."""
    found: Predictions | None = None
    try:
        found = history.files.read_predictions(history.blobs.read("predictions", name) or b"")
        if device is not None and device not in found["device_id"]:
            return None
    except ContractBroken:  # only the commit tells whether they count, and if damaged, matter
        pass
    made_by = maker(name)
    if history.blobs.read("commits", made_by) is None or history.commit(made_by).predictions != name:
        return None
    found = history.read(made_by).predictions if found is None else found
    return None if found is None else {**found, "epoch": [place_of(made_by)[0]] * len(found["device_id"])}


def _add_lake(history: CommitHistory, kept: _Kept, days: int | None) -> None:
    """Forecasts of the lake, day by day, until older days cannot hold any that is wanted."""
    found = history.lake.forecast_days(kept.span.first, kept.span.last) if history.lake else []
    for day, read in found[:days]:
        if kept.device and kept.count((day + 1) * kept.cadence.day) >= kept.span.most:
            return
        kept.add(read(kept.device))
