"""What a batch changes, as a value: applied to the state only after the batch has been committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.core.forecast import archive, tallies
from shared.core.forecast.losses import FORECAST
from shared.core.forecast.matured import Counted
from shared.core.forecast.state import Tally, own
from shared.core.forecast.window.slots import Columns
from shared.core.intake.readings import Codes, Floats, Ints, Longs, Mask
from shared.core.model.answers import Labels, Predictions
from shared.core.model.scoring import Scored
from shared.core.profile.bins import add_sums
from shared.core.stream.commit import DISPOSITIONS, REFUSED
from shared.core.stream.events import Batch
from shared.core.task.state import State as AnyState


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch changes.

    Args:
        batch: The batch.
        disposition: Index into `DISPOSITIONS` of each reading, uint8, shape (n,).
        predictions: Forecasts that became due.
        touched: Global indices of the touched devices, rising, int64.
        columns: Their columns after the batch.
        hours: How many of a device's newest hours the batch may have changed.
        devices: Ids of devices heard of for the first time.
        sources: Tallies of the batch's sources after it.
        models: Model versions used for the first time.
        errors: What matured forecasts add to the error sums.
        counted: What they add to the histograms and the pairs.
        matured: These forecasts themselves.
        back: Devices that speak again after they had left.
        silent_until: Devices that were not heard of after this hour leave.
    """

    batch: Batch
    disposition: Codes
    predictions: Predictions
    touched: Longs
    columns: Columns
    hours: int
    devices: list[str]
    sources: dict[str, Tally]
    models: list[str]
    errors: dict[tuple[int, int, int], Longs]
    counted: Counted
    matured: Labels
    back: list[str]
    silent_until: int

    def counts(self) -> dict[str, int]:
        """Readings by what became of them; `arrived` leaves redelivered ones out, `refused` is there if there are."""
        by = np.bincount(self.disposition, minlength=len(DISPOSITIONS))
        counts = {name: int(by[place]) for place, name in enumerate(DISPOSITIONS) if by[place] or place != REFUSED}
        return {"arrived": len(self.disposition) - counts["redelivered"], **counts}

    def put(self, state: AnyState) -> None:
        """Write the change into the state; the batch has been committed."""
        state = own(state)
        archive.wake(state, self.back)
        for device in self.devices:
            state.index[device] = len(state.devices)
            state.devices.append(device)
        state.columns.put(self.touched, self.columns, self.hours)
        state.models.extend(self.models)
        state.sources.update(self.sources)
        add_sums(state.errors, self.errors)
        self.counted.put(state)
        tallies.forget(state)
        archive.leave(state, self.silent_until)
        state.next = self.batch.next
        state.enqueued_ms = max(state.enqueued_ms, self.batch.enqueued_ms)


@dataclass(frozen=True, slots=True)
class Answered:
    """One model's answers in one segment, with the touched devices' local numbers.

    Args:
        device: Local device numbers, int64, shape (n,).
        as_of: As-of hours, int64, shape (n,).
        revision: Revision of each forecast, int64, shape (n,).
        sequence: Sequence number of the event that made it due, int64, shape (n,).
        source: Index of the source that brought it, int32, shape (n,).
        scored: The answers.
    """

    device: Longs
    as_of: Longs
    revision: Longs
    sequence: Longs
    source: Ints
    scored: Scored


def predictions(answers: Sequence[Answered], name: Callable[[int], str]) -> Predictions:
    """All forecasts of a batch, only the last of those that a later segment replaced.

    Args:
        answers: Answers of the segments, in order.
        name: Device id of a local number.
    """

    def column(kind: type[np.generic], pick: Callable[[Answered], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *(pick(answer) for answer in answers)]).astype(kind)

    def numbers(name: str) -> Floats:
        return column(np.float32, lambda answer: answer.scored.numbers[name])

    device, as_of = column(np.int64, lambda a: a.device), column(np.int64, lambda a: a.as_of)
    role = column(np.int8, lambda a: np.full(len(a.device), a.scored.role))
    keep = _last_of(role.astype(np.int64) << 60 | device << 32 | as_of)
    models = [answer.scored.model for answer in answers for _ in range(len(answer.device))]
    return Predictions(
        [name(int(place)) for place in device[keep]],
        as_of[keep],
        {name: numbers(name)[keep] for name in FORECAST},
        role[keep],
        [models[place] for place in keep],
        column(np.bool_, lambda a: a.scored.served)[keep],
        column(np.int64, lambda a: a.revision)[keep],
        column(np.int64, lambda a: a.sequence)[keep],
        column(np.bool_, lambda a: _cold(a.scored, len(a.device)))[keep],
    )


def last_answered(answers: Sequence[Answered], role: int) -> tuple[Ints, Longs]:
    """Source and as-of hour of a role's forecasts of a batch, without those that a later segment replaced.

    The baseline may have no answer in one segment and one in the next: what is stored tells of the last one only.
    """
    mine = [answer for answer in answers if answer.scored.role == role]
    source, device, as_of = (
        np.concatenate([np.empty(0, np.int64), *(getattr(answer, name) for answer in mine)]).astype(np.int64)
        for name in ("source", "device", "as_of")
    )
    keep = _last_of(device << 32 | as_of)
    return source[keep].astype(np.int32), as_of[keep]


def _cold(scored: Scored, count: int) -> Mask:
    return np.zeros(count, bool) if scored.cold is None else scored.cold


def _last_of(key: Longs) -> Longs:
    """Places of the last row of every key, in the order of the rows."""
    _, last = np.unique(key[::-1], return_index=True)
    return np.sort(len(key) - 1 - last)
