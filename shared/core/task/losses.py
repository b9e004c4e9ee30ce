"""What errors cost, as far as the loop may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.core.intake.readings import Longs


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
        """Names of the sums over paired answers: their count, then the losses a rollout compares, champion's first."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the scores that a person asks for first."""

    def scores(self, sums: Longs, unit: float) -> dict[str, float]:
        """What sums of `errors`, counted in a unit, say; NaN where nothing is known."""

    def file_scores(self, totals: Mapping[str, int]) -> dict[str, float | None]:
        """What a file's totals say, for its summary; None where nothing is known."""

    def day_scores(self, daily: Mapping[str, int]) -> dict[str, float | None]:
        """Likewise of a file's sums of one day."""
