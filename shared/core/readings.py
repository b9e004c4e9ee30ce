"""Readings as columns: what is accepted, and why the rest is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Readings:
    """Accepted readings in the order of their source, one row each.

    Args:
        devices: Distinct device ids that `device` points into.
        device: Index into `devices`, int32, shape (n,).
        minute: Minutes since 1970-01-01 UTC, int32, shape (n,).
        position: Place in the source (file: row number from 1; hub: sequence number * 65536 + index), int64, shape (n,).
        values: Channels of the scenario in its order and units, NaN where missing, float32, shape (n, channels).
    """

    devices: tuple[str, ...]
    device: Ints
    minute: Ints
    position: Longs
    values: Floats

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that was not accepted: where it stood, the reason code, what was found, and its original bytes."""

    position: int
    reason: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """A stretch of one source after checking."""

    readings: Readings
    rejected: Sequence[Rejection]
