"""Random numbers that stay the same: raw PCG64 words, which NumPy guarantees, and our own transforms of them."""

from __future__ import annotations

import math
import zlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]


class Noise:
    """One stream of random numbers per seed and key; a longer draw begins with the shorter one.

    Args:
        seed: Seed of the whole fleet.
        purpose: What the numbers are for, so that no two uses share a stream.
        index: Station, or -1 for what all stations share.
    """

    def __init__(self, seed: int, purpose: str, index: int = -1) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), index + 1]))

    def uniform(self, count: int) -> Doubles:
        """Numbers strictly between 0 and 1, shape (count,)."""
        words = self._words.random_raw(count)
        return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def normal(self, count: int) -> Doubles:
        """Standard normal numbers by Box and Muller, shape (count,)."""
        pairs = self.uniform(count + count % 2).reshape(-1, 2)
        radius, angle = np.sqrt(-2 * np.log(pairs[:, 0])), 2 * math.pi * pairs[:, 1]
        return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).ravel()[:count]


def per_station(seed: int, purpose: str, hours: int, stations: int) -> Doubles:
    """Standard normal numbers, a stream for each station, shape (hours, stations)."""
    return np.stack([Noise(seed, purpose, station).normal(hours) for station in range(stations)], axis=1)


def persistent(shocks: Doubles, hours: float) -> Doubles:
    """First-order autoregression with unit variance.

    Args:
        shocks: Standard normal numbers, first axis is time in hours.
        hours: Time after which the correlation has fallen to 1/e.
    """
    keep = math.exp(-1 / hours)
    scaled = shocks * math.sqrt(1 - keep * keep)
    state = shocks[0].copy()
    for row in scaled:
        state = keep * state + row
        row[...] = state
    return scaled
