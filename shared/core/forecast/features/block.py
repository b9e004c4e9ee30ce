"""The version of a feature, and a block of features that are filled together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from shared.core.forecast.features.plan import Scalar
from shared.core.forecast.features.summary import Summary
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature

# Version of every feature whose name matches, 1 for all others. Raise it by one in the commit that changes what a
# feature means or, beyond float32 rounding, its value for the same window: formula, constants, unit, span, treatment
# of missing hours. A new feature starts at 1; the name of a removed one is never given to something else.
VERSIONS: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Block:
    """Features in their order; `fill` writes them into an uninitialised float32 array (features, width)."""

    features: tuple[Feature, ...]
    fill: Callable[[Summary, Floats], object]


def version_of(name: str, versions: Mapping[str, int] = VERSIONS) -> int:
    """Version of a feature: that of the first pattern that matches its name, else 1.

    >>> version_of("temp.std_24", {"*.std_*": 2}), version_of("temp.mean_24", {"*.std_*": 2})
    (2, 1)
    """
    return next((version for pattern, version in versions.items() if fnmatchcase(name, pattern)), 1)


def feature(name: str, text: str, low: float, high: float, unit: str = "1") -> Feature:
    """A feature at its present version."""
    return Feature(name, version_of(name), unit, low, high, text)


def same(scalar: Scalar, suffix: str, text: str) -> Feature:
    """A feature in the unit and within the limits of its channel."""
    return feature(f"{scalar.name}.{suffix}", text, scalar.low, scalar.high, scalar.unit)


def difference(scalar: Scalar, suffix: str, text: str) -> Feature:
    """A feature that is the difference of two values of its channel."""
    reach = scalar.high - scalar.low
    return feature(f"{scalar.name}.{suffix}", text, -reach, reach, scalar.unit)
