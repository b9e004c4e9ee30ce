"""What a ring says of ticks, in shorter ones: an edit of `resolution_s` divides them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.core.forecast.window.columns import WORD, Counts, Layout
from shared.core.scenario.cadence import Cadence


def marks(minutes: npt.NDArray[np.uint64], old: Cadence, new: Cadence) -> npt.NDArray[np.uint64]:
    """Masks of seen ticks: all parts of a tick that was seen are, so that what comes again for it counts once.

    Args:
        minutes: Masks, shape (slots, words, devices).
        old: Cadence that they are of.
        new: Of the same steps, with ticks of which some make an old one.

    Returns:
        Masks of the new ticks, same shape but for the words.
    """
    if old == new:
        return minutes
    bits = np.unpackbits(minutes.astype("<u8").transpose(0, 2, 1).copy().view(np.uint8), axis=2, bitorder="little")
    bits = np.repeat(bits[:, :, : old.ticks], new.ticks // old.ticks, axis=2)
    bits = np.pad(bits, ((0, 0), (0, 0), (0, -new.ticks % WORD)))
    words = np.packbits(bits, axis=2, bitorder="little").view("<u8").astype(np.uint64)
    return np.ascontiguousarray(words.transpose(0, 2, 1))


def newest(layout: Layout, counts: Counts, old: Cadence, new: Cadence) -> Counts:
    """Counts of a ring, those that tell the newest sample's tick in new ticks: the last part of the old one.

    Args:
        layout: Of the ring.
        counts: Shape (slots, columns, devices).
        old: Cadence that they are of.
        new: Of the same steps, with ticks of which some make an old one.
    """
    if old == new or not layout.newest.any():
        return counts
    found = counts.astype(np.uint16)
    found[:, layout.newest] *= np.uint16(new.ticks // old.ticks)
    return found
