"""Answers of a batch, and those whose label became final with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats, Longs, Mask


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers of a batch, one row per device, as-of hour and role.

    Args:
        device: Device ids, length n.
        as_of: As-of hours since 1970, int64, shape (n,).
        numbers: The number columns of the task's answers, float32, shape (n,) each.
        role: Index into `ROLES`, int8.
        model: Version of the model, length n.
        served: Whether users see this row, bool.
        revision: 0 for the first answer of an as-of hour, rising with each change it sees, int64.
        sequence: Sequence number of the event that made it due, int64.
        cold_start: Whether the device had too little history, bool.
    """

    device: Sequence[str]
    as_of: Longs
    numbers: Mapping[str, Floats]
    role: npt.NDArray[np.int8]
    model: Sequence[str]
    served: Mask
    revision: Longs
    sequence: Longs
    cold_start: Mask

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, slots=True)
class Labels:
    """Answers whose label became final, one row per device, as-of hour and role that gave one.

    Args:
        devices: Device ids.
        models: Model versions.
        device: Index into `devices`, int64, shape (n,).
        as_of: As-of hours since 1970, int64, shape (n,).
        role: Index into `ROLES`, int8, shape (n,).
        model: Index into `models`, int64, shape (n,).
        revision: Revision of the answer that counts, the newest, int64, shape (n,).
        numbers: The number columns of answer and label, NaN where no truth came, float32, shape (n,) each.
        sequence: Sequence number of the event that made the label final, int64, shape (n,).
    """

    devices: Sequence[str]
    models: Sequence[str]
    device: Longs
    as_of: Longs
    role: npt.NDArray[np.int8]
    model: Longs
    revision: Longs
    numbers: Mapping[str, Floats]
    sequence: Longs

    def __len__(self) -> int:
        return len(self.as_of)
