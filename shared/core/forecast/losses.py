"""What an hourly forecast's errors are summed as: whole numbers of a quantum, so that sums do not depend on order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.core.intake.readings import Longs
from shared.core.scenario import Loss, Scenario
from shared.core.task.losses import power

FORECAST, TRUTH = ("value", "lower", "upper"), ("truth", "latest")  # number columns of answers and labels
TOTALS = (
    "arrived",
    "applied",
    "stored_late",
    "duplicates",
    "conflicts",
    "redelivered",
    "forecasts",
    "matured",
    "paired",
    "absolute",
    "squared",
    "absolute_persistence",
    "squared_persistence",
    "refused",
    "first_forecasts",
)
DAILY = ("rows", "forecasts", "matured", "forecast", "truth", "paired", "absolute", "absolute_persistence")
ERRORS = (
    "matured",
    "covered",
    "signed",
    "absolute",
    "squared",
    "paired",
    "absolute_paired",
    "absolute_persistence",
    "squared_paired",
    "squared_persistence",
)
PAIRS = (
    "rows",
    "absolute_champion",
    "absolute_challenger",
    "squared_champion",
    "squared_challenger",
    "covered_champion",
    "covered_challenger",
)
QUALITY = ("matured", "absolute", "covered")


def quantum(scenario: Scenario) -> float:
    """Unit in which errors are summed: a power of two, about a millionth of the target's range."""
    channel = scenario.target_channel
    return float(2.0 ** np.ceil(np.log2((channel.maximum - channel.minimum) / 2**20)))


@dataclass(frozen=True, slots=True)
class ForecastLosses:
    """What sums of forecasts' errors say, in the target's unit.

    Args:
        unit: Quantum of errors; squared ones are in its square.
        loss: By which models are compared.
    """

    unit: float
    loss: Loss = "absolute"
    totals: tuple[str, ...] = TOTALS
    daily: tuple[str, ...] = DAILY
    errors: tuple[str, ...] = ERRORS
    pairs: tuple[str, ...] = PAIRS
    shown: tuple[str, ...] = ("mae", "rmse", "coverage")

    @property
    def compared(self) -> tuple[str, str]:
        """Sums of the scenario's loss over paired forecasts, the champion's first."""
        return f"{self.loss}_champion", f"{self.loss}_challenger"

    @property
    def power(self) -> float:
        """Root of squared errors."""
        return power(self.loss)

    def scores(self, sums: Longs, unit: float) -> dict[str, float]:
        """Error, coverage of the interval, and error relative to persistence's, NaN without a truth."""
        by = dict(zip(ERRORS, sums, strict=True))

        def part(top: str, bottom: str) -> float:
            return float(by[top] / by[bottom]) if by[bottom] else math.nan

        return {
            "mae": part("absolute", "matured") * unit,
            "rmse": math.sqrt(part("squared", "matured")) * unit,
            "coverage": part("covered", "matured"),
            "ratio": part("absolute_paired", "absolute_persistence"),
            "rmse_ratio": math.sqrt(part("squared_paired", "squared_persistence")),
        }

    def file_scores(self, totals: Mapping[str, int]) -> dict[str, float | None]:
        """Errors beside those of persistence, where both are known."""
        count = totals["paired"]
        return {
            "mae": self._mean(totals["absolute"], count),
            "rmse": self._root(totals["squared"], count),
            "mae_persistence": self._mean(totals["absolute_persistence"], count),
            "rmse_persistence": self._root(totals["squared_persistence"], count),
        }

    def day_scores(self, daily: Mapping[str, int]) -> dict[str, float | None]:
        """Means of forecasts, truths and errors."""
        return {
            "mean_forecast": self._mean(daily["forecast"], daily["matured"]),
            "mean_truth": self._mean(daily["truth"], daily["matured"]),
            "mae": self._mean(daily["absolute"], daily["paired"]),
            "mae_persistence": self._mean(daily["absolute_persistence"], daily["paired"]),
        }

    def _mean(self, total: int, count: int) -> float | None:
        return round(total * self.unit / count, 4) if count else None

    def _root(self, total: int, count: int) -> float | None:
        return round(math.sqrt(total / count) * self.unit, 4) if count else None
