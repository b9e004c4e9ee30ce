"""High quantiles from few values: beyond a common quantile the tail is taken as exponential."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Doubles

TAIL = 0.2


@dataclass(frozen=True, slots=True)
class Tails:
    """Exponential tails of several statistics, shape (kinds, W) each: where they begin, and their mean excess."""

    start: Doubles
    excess: Doubles

    @classmethod
    def of(cls, found: Doubles) -> Tails:
        """Fit them.

        Args:
            found: Values, shape (kinds, n, W).
        """
        start = np.quantile(found, 1 - TAIL, axis=1)
        over = found - start[:, None]
        count = np.maximum((over > 0).sum(1), 1)
        return cls(start, np.maximum(np.where(over > 0, over, 0).sum(1) / count, 1e-9))

    def reach(self, found: Doubles) -> Doubles:
        """How far into its own tail each value lies, in mean excesses: comparable across statistics."""
        return np.asarray((found - self.start[:, None]) / self.excess[:, None])

    def limit(self, reach: float) -> Doubles:
        """The values that lie so far into their tails."""
        return np.asarray(self.start + self.excess * reach)


def quantile(values: Doubles, rate: float) -> float:
    """The value that is passed at `rate`, which may be smaller than one in the number of values.

    >>> round(quantile(np.random.default_rng(1).exponential(size=100_000), 0.001), 1)  # -ln(0.001) is 6.91
    6.8
    """
    start = float(np.quantile(values, 1 - TAIL))
    over = values[values > start] - start
    return start + float(over.mean() if len(over) else 0.0) * float(np.log(TAIL / rate))
