"""Which features of an hourly forecast are watched for drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.core.model.feature import Feature
from shared.core.profile.bins import CELLS, Edges, Watched, described, edges_of
from shared.core.scenario import Scenario

NEWEST, MEAN = ".latest", ".mean_24"
DEFICIT = "vapour.deficit"


def watched_of(scenario: Scenario, known: Sequence[Feature]) -> Watched:
    """Newest values, means over a day, and the vapour pressure deficit.

    Args:
        scenario: Its channels' roles say what the deficit is computed from.
        known: All features, in the order of the matrix's columns.
    """
    columns = [place for place, f in enumerate(known) if f.name.endswith((NEWEST, MEAN)) or f.name == DEFICIT]
    features = tuple(known[place] for place in columns)
    edges = np.array([edges_of(f.low, f.high, f.unit) for f in features]).reshape(len(features), CELLS)
    measured = (scenario.of_role("temperature"), scenario.of_role("relative_humidity"))
    derived = {DEFICIT: tuple(channel.name for channel in measured if channel is not None)}
    deciding = np.array([not f.name.endswith(MEAN) for f in features], bool)  # a day's mean shifts as its newest value
    newest = {f.name.removesuffix(NEWEST): place for place, f in enumerate(features) if f.name.endswith(NEWEST)}
    return Watched(features, np.array(columns, np.int64), edges, deciding, newest, derived)


def forecast_edges(scenario: Scenario) -> Edges:
    """Edges of the bins of forecasts, over the limits of the target, shape (BINS + 1,)."""
    channel = scenario.target_channel
    return edges_of(channel.minimum, channel.maximum, channel.unit)


def rules_of(scenario: Scenario, watched: Watched) -> list[str]:
    """What all counts of a scenario rest on, in words."""
    channel = scenario.target_channel
    return [*watched.rules(), f"forecasts in {described(channel.minimum, channel.maximum, channel.unit)}"]
