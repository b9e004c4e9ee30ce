"""A block of windows, padded, with what its features share: the newest values and statistics over nested spans."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.core.forecast.features.plan import Plan
from shared.core.intake.readings import Floats, Longs

LANES = 16  # the device axis is padded to whole SIMD registers, so that no result depends on a loop's tail
ZERO = np.float32(0)


class Summary:
    """Working memory for blocks of windows; filled by `load`, read by the blocks of features.

    The spans are nested and end with the as-of hour, so each hour is reduced once, in the part that a span has beyond
    the next shorter one, and the parts are accumulated from the newest. Values are summed relative to the row's newest
    valid value: it lies in every span that has any valid value, which bounds the cancellation in float32.

    Attributes:
        table: Rows of the plan by hour, oldest first, NaN where missing, float32, shape (history, rows, width).
        latest: Newest valid value of each measured row, NaN when there is none, shape (measured, width).
        age: Hours from that value to the as-of hour, NaN when there is none, shape (measured, width).
        counts: Valid hours of each row, shape (spans, rows, width).
        offsets: Mean over the valid hours of value - latest for scalars, then of value for the rows of the flows, NaN
            when there is none, shape (spans, scalars + 3 * flows, width).
        squares: Mean over the valid hours of (value - latest) ** 2, shape (spans, scalars, width).
        lows: Smallest valid value, NaN when there is none, shape (spans, scalars, width).
        highs: Largest valid value, NaN when there is none, shape (spans, scalars, width).
        as_of: Hours since 1970 UTC, negative when unknown, int64, shape (width,).
    """

    def __init__(self, layout: Plan, width: int) -> None:
        """Reserve memory for blocks of up to `width` windows, a multiple of LANES."""
        spans, scalars, rows = len(layout.spans), len(layout.scalars), len(layout.rows)
        summed = rows - layout.first
        self.plan = layout
        self.table: Floats = np.empty((layout.history, rows, width), np.float32)
        self.latest: Floats = np.empty((layout.measured, width), np.float32)
        self.age: Floats = np.empty((layout.measured, width), np.float32)
        self.counts: Floats = np.empty((spans, rows, width), np.float32)
        self.offsets: Floats = np.empty((spans, summed, width), np.float32)
        self.squares: Floats = np.empty((spans, scalars, width), np.float32)
        self.lows: Floats = np.empty((spans, scalars, width), np.float32)
        self.highs: Floats = np.empty((spans, scalars, width), np.float32)
        self.as_of: Longs = np.zeros(width, np.int64)
        longest = max(np.diff((0, *layout.spans)), default=0) * layout.hour
        self._reference: Floats = np.zeros((summed, width), np.float32)
        self._absent: npt.NDArray[np.bool_] = np.empty((longest, rows, width), np.bool_)
        self._above: Floats = np.empty((longest, summed, width), np.float32)
        self._below: Floats = np.empty((longest, summed, width), np.float32)

    @property
    def by_hour(self) -> Floats:
        """The table as one row per hour and plan row, shape (history * rows, width)."""
        return self.table.reshape(-1, self.table.shape[2])

    def load(self, window: Floats, as_of: Longs) -> None:
        """Take the next block: window (history, columns, n) and as_of (n,), n at most the width; neither is changed."""
        count = window.shape[2]
        for column, name in enumerate(self.plan.stored):
            # + 0.0 turns -0.0 into 0.0: which of the two a minimum returns would depend on the loop
            np.add(window[:, column], ZERO, out=self.table[:, self.plan.rows[name], :count])
        self.table[:, : self.plan.measured, count:] = 0  # not NaN, for which older hours would be searched
        self.as_of[:count] = as_of
        self._weigh()
        self._find_latest()
        self._reduce()

    def _weigh(self) -> None:
        table, rows = self.table, self.plan.rows
        for flow in self.plan.flows:
            u, v = (table[:, rows[f"{flow.channel}_{part}"]] for part in ("u", "v"))
            speed = table[:, rows[f"{flow.name}.speed"]]
            np.subtract(u, u, out=speed)  # 0, or NaN where the direction is missing
            np.add(speed, table[:, rows[flow.speed]] if flow.speed else np.float32(1), out=speed)
            np.multiply(u, speed, out=table[:, rows[f"{flow.name}.u"]])
            np.multiply(v, speed, out=table[:, rows[f"{flow.name}.v"]])

    def _find_latest(self) -> None:
        newest = self.table[-1, : self.plan.measured]
        self.latest[:] = newest
        self.age[:] = 0
        late = np.flatnonzero(np.isnan(newest))
        series = self.table.reshape(len(self.table), -1).take(late, axis=1)[::-1]
        valid = ~np.isnan(series)
        hours = valid.argmax(axis=0)  # 0, where the value is NaN, when there is none
        self.latest.reshape(-1)[late] = series[hours, np.arange(len(late))]
        self.age.reshape(-1)[late] = np.where(valid.any(axis=0), hours / self.plan.hour, np.nan)

    def _reduce(self) -> None:
        scalars, first = len(self.plan.scalars), self.plan.first
        self._reference[:scalars] = self.latest[first:]
        start = self.plan.history
        for i, span in enumerate(self.plan.spans):
            stop, start = start, self.plan.history - span * self.plan.hour
            self._reduce_part(i, self.table[start:stop])
        for i in range(1, len(self.plan.spans)):
            for total in (self.counts, self.offsets, self.squares):
                total[i] += total[i - 1]
            np.fmin(self.lows[i], self.lows[i - 1], out=self.lows[i])
            np.fmax(self.highs[i], self.highs[i - 1], out=self.highs[i])
        np.divide(self.offsets, self.counts[:, first:], out=self.offsets)
        np.divide(self.squares, self.counts[:, first : first + scalars], out=self.squares)

    def _reduce_part(self, i: int, part: Floats) -> None:
        """Sums and extremes of the hours that span i has beyond span i - 1, one hour after the other."""
        hours, first, measured = len(part), self.plan.first, self.plan.measured
        absent, above, below = self._absent[:hours], self._above[:hours], self._below[:hours]
        np.isnan(part, out=absent)
        narrow = np.uint8 if hours < 256 else np.uint16  # the narrower, the faster
        np.subtract(np.float32(hours), np.add.reduce(absent.view(np.uint8), axis=0, dtype=narrow), out=self.counts[i])
        np.fmin.reduce(part[:, first:measured], axis=0, out=self.lows[i])
        np.fmax.reduce(part[:, first:measured], axis=0, out=self.highs[i])
        np.subtract(part[:, first:], self._reference, out=below)
        np.fmax(below, ZERO, out=above)  # max(x, 0) + min(x, 0) is x, and 0 for NaN: faster than a mask
        np.fmin(below, ZERO, out=below)
        np.add(above, below, out=above)
        np.add.reduce(above, axis=0, out=self.offsets[i])
        values, squares = above[:, : measured - first], below[:, : measured - first]
        np.multiply(values, values, out=squares)
        np.add.reduce(squares, axis=0, out=self.squares[i])
