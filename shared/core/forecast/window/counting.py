"""Counting of hours, rows and bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Longs, Mask


def new_hours(old: Longs, new: Longs, limit: int) -> tuple[Longs, Longs]:
    """Hours that become part of a device's ring when its head moves, at most the newest `limit`.

    Returns:
        Index of the device and hour, one row each, both of shape (rows,).
    """
    span = np.minimum(new - old, limit)
    owner = np.repeat(np.arange(len(span)), span)
    return owner, new[owner] - rank_within(owner)


def rank_within(key: Longs) -> Longs:
    """How many earlier rows have the same key, shape (n,)."""
    return earlier_within(key, np.ones(len(key), bool))


def earlier_within(key: Longs, counted: Mask) -> Longs:
    """How many earlier rows with the same key are counted ones, shape (n,)."""
    order = np.argsort(key, kind="stable")
    ordered, chosen = key[order], counted[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(key) else np.zeros(0, bool)
    first = np.flatnonzero(starts)
    before: Longs = np.cumsum(chosen) - chosen
    ranks = np.empty(len(key), np.int64)
    ranks[order] = before - np.repeat(before[first], np.diff(np.r_[first, len(key)]))
    return ranks


def popcount(mask: npt.NDArray[np.uint64]) -> Longs:
    """Number of set bits, shape of the input."""
    x = mask - ((mask >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    ones: Longs = ((x * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)
    return ones
