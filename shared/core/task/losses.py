"""What errors cost, as far as the loop may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from shared.core.intake.readings import Doubles, Longs
from shared.core.scenario import Loss

MEASURES: Mapping[Loss, str] = {"absolute": "mae", "squared": "rmse"}


def cost(loss: Loss, error: Doubles) -> Doubles:
    """What errors cost, shape (n,)."""
    return error * error if loss == "squared" else np.abs(error)


def power(loss: Loss) -> float:
    """The power of a mean loss, or of a ratio of such, that is an error: RMSE is the root of the mean squared one."""
    return 0.5 if loss == "squared" else 1.0


class Losses(Protocol):
    """Sums of losses as whole numbers, so that no order of adding changes them: their names, and what they say."""

    @property
    def unit(self) -> float:
        """What 1 stands for in a sum of losses."""

    @property
    def totals(self) -> tuple[str, ...]:
        """Names of a source's sums: the dispositions, `forecasts` and `matured` among them."""

    @property
    def daily(self) -> tuple[str, ...]:
        """Names of a file's sums by day, `rows` and `forecasts` among them."""

    @property
    def errors(self) -> tuple[str, ...]:
        """Names of the sums over labelled answers; the first counts them."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """Names of the sums over paired answers; the first counts them."""

    @property
    def compared(self) -> tuple[str, str]:
        """Names of those that a rollout compares, champion's first: the scenario's loss."""

    @property
    def power(self) -> float:
        """The power of a mean of these that is an error."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the scores that a person asks for first."""

    def scores(self, sums: Longs, unit: float) -> dict[str, float]:
        """What sums of `errors`, counted in a unit, say; NaN where nothing is known."""

    def file_scores(self, totals: Mapping[str, int]) -> dict[str, float | None]:
        """What a file's totals say, for its summary; None where nothing is known."""

    def day_scores(self, daily: Mapping[str, int]) -> dict[str, float | None]:
        """Likewise of a file's sums of one day."""
