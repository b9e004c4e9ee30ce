"""Which commit made a forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.app.lookback.commit_history import CommitHistory, Predictions, Step
from shared.app.lookback.forecast_id import ForecastId, hour_text
from shared.core.stream.commit import Commit, place_of
from shared.core.stream.events import partition_of
from shared.errors import ContractBroken


@dataclass(frozen=True, slots=True)
class Found:
    """A forecast where it stands.

    Args:
        step: The commit that made it.
        row: Its row in the commit's predictions.
    """

    step: Step
    row: int

    def column(self, name: str) -> Any:
        """The row's value in a column of the predictions."""
        assert self.step.predictions is not None  # noqa: S101 - there is a row
        return self.step.predictions[name][self.row]


def find(history: CommitHistory, wanted: ForecastId) -> Found:
    """The forecast that is meant.

    Raises:
        ContractBroken: There is none, or a blob is gone or damaged; the message says what there is.
    """
    there = history.there()
    likely = [partition_of(wanted.device, history.partitions)] if history.partitions else there
    # What is not in the lake yet is newest; a recreated hub may have had another number of partitions.
    unlikely = [partition for partition in there if partition not in likely]
    found = _in_blobs(history, likely, wanted) or _in_lake(history, wanted) or _in_blobs(history, unlikely, wanted)
    if found is not None:
        return found
    raise ContractBroken(_missing(history, wanted, there))


def _in_blobs(history: CommitHistory, partitions: Sequence[int], wanted: ForecastId) -> Found | None:
    """The forecast among those outside the lake of some partitions, one of which owns the device."""
    found = (_in_partition(history, partition, wanted) for partition in partitions)
    return next((each for each in found if each), None)


def _in_partition(history: CommitHistory, partition: int, wanted: ForecastId) -> Found | None:
    """The forecast among those outside the lake, looked for from the newest on: revisions rise with commits."""
    landed = set(history.outside(partition))
    made = [(maker(name), name) for name in history.blobs.names("predictions", f"partition={partition:02d}/")]
    for commit, name in sorted(made, key=lambda pair: place_of(pair[0]), reverse=True):
        may_hold = commit in landed and _may_hold(history, name, wanted)
        if may_hold and (found := _row(history.read(commit), wanted)):
            return found
    return None


def _may_hold(history: CommitHistory, name: str, wanted: ForecastId) -> bool:
    """Whether predictions hold the forecast; only the commit tells whether they count, and if damaged, matter."""
    try:
        return bool(_rows(history.files.read_predictions(history.blobs.read("predictions", name) or b""), wanted))
    except ContractBroken:
        return True


def _in_lake(history: CommitHistory, wanted: ForecastId) -> Found | None:
    places = history.lake.places(wanted.device, wanted.as_of) if history.lake else []
    for partition, epoch, sequence in sorted(places, key=lambda place: place[1:], reverse=True):
        assert history.lake is not None  # noqa: S101 - it gave the places
        held = [
            pair
            for pair in history.lake.commits(partition, (epoch, 0))
            if pair[1].epoch == epoch and pair[1].first <= sequence < pair[1].next
        ]
        for item in _kept(history, held):
            if found := _row(item, wanted):
                return found
    return None


def _kept(history: CommitHistory, pairs: Sequence[tuple[str, Commit]]) -> Iterator[Step]:
    """Commits of the lake, from their blobs where these are still there."""
    for name, commit in pairs:
        if history.blobs.read("commits", name) is not None:
            yield history.read(name)
        else:
            yield from history.archived([(name, commit)])


def _missing(history: CommitHistory, wanted: ForecastId, owners: Sequence[int]) -> str:
    known = [f"commits/{name}" for partition in owners for name in history.landed(partition)[:1]]
    begin = f"the oldest commits still there are {', '.join(known)}" if known else "there are no commits"
    lake = "" if history.lake else "; what was removed may be in the lake, which was not looked into"
    return f"no such forecast: {_quoted(wanted)}; {begin}{lake}"


def _row(item: Step, wanted: ForecastId) -> Found | None:
    """The wanted forecast among a commit's predictions: of the newest revision there unless one is wanted."""
    found = item.predictions
    rows = [] if found is None else _rows(found, wanted)
    return Found(item, max(rows, key=lambda row: int(found["revision"][row]))) if found and rows else None


def _rows(found: Predictions, wanted: ForecastId) -> list[int]:
    """Rows of a forecast, of every revision unless one is wanted."""
    rows = np.flatnonzero(found["as_of"] == wanted.as_of).tolist()
    return [row for row in rows if found["device_id"][row] == wanted.device and _fits(found, row, wanted)]


def maker(name: str) -> str:
    """Name of the commit in whose step predictions were made."""
    return f"{name.rsplit('-', 1)[0]}.parquet"


def _fits(found: Predictions, row: int, wanted: ForecastId) -> bool:
    if wanted.revision is not None and int(found["revision"][row]) != wanted.revision:
        return False
    return bool(found["served"][row]) if wanted.role is None else bool(found["role"][row] == wanted.role)


def _quoted(wanted: ForecastId) -> str:
    revision = "" if wanted.revision is None else f" revision {wanted.revision}"
    as_of = hour_text(wanted.as_of, wanted.cadence)
    return f"device {wanted.device[:80]!a} as of {as_of}{revision}, {wanted.role or 'served'}"
