"""A feature: one column of what a model is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix; a model lists the features it uses, with their versions.

    Args:
        name: Unique in a task, such as `level.mean_24`.
        version: Raised when the same rows would give another value.
        unit: Unit of the value, "1" for a pure number.
        low: Smallest value that values within their limits can give.
        high: Largest such value.
        text: Meaning, for documents.
    """

    name: str
    version: int
    unit: str = field(default="1", compare=False)
    low: float = field(default=-math.inf, compare=False)
    high: float = field(default=math.inf, compare=False)
    text: str = field(default="", compare=False)
