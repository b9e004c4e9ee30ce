"""What stood behind one forecast, as a value that is JSON as it stands; hours and times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.app.lookback.forecast_id import hour_text
from shared.core.scenario.cadence import Cadence


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A stored prediction row; hours as ISO 8601."""

    device: str
    as_of: str
    target_time: str
    value: float
    lower: float
    upper: float
    category: str
    model: str
    role: str
    served: bool
    revision: int
    sequence: int
    cold_start: bool


class CommitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The commit that made it due, and where the state before it came from.

    Args:
        name: The commit's name.
        predictions: The blob that holds the row.
        enqueued_at: Newest enqueued time of its events, also when it was scored.
        begin: Snapshot from which the state before it was rebuilt, "" for the partition's first commit.
        folded: Commits folded since that snapshot.
        from_lake: How many of these came from the lake.
    """

    name: str
    partition: int
    epoch: int
    first: int
    next: int
    predictions: str
    enqueued_at: str
    begin: str
    folded: int
    from_lake: int


class DeploymentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who served when it was committed."""

    champion: str | None
    challenger: str | None
    quarantine: list[str]


class ReadingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of the device in that commit; missing values are null."""

    time: str
    sequence: int
    source: str
    position: int
    disposition: str
    values: dict[str, float | None]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The hours the features were computed from, oldest first; missing values are null.

    Args:
        columns: Names of the columns.
        hours: As-of hours, ISO 8601, length history.
        values: Rows of hours, length history, each as long as `columns`.
    """

    columns: list[str]
    hours: list[str]
    values: list[list[float | None]]


class FeatureFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the model, in its order; a missing value is null."""

    name: str
    version: int
    value: float | None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the model's package says of itself."""

    version: str
    run_id: str
    dataset: str
    code_version: str
    created: str
    training_start: str
    training_end: str
    rows: int
    metrics: dict[str, float]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the row, stored and recomputed, with its bits in hexadecimal; `apart` is the difference."""

    name: str
    stored: float
    recomputed: float
    stored_bits: str
    recomputed_bits: str
    agrees: bool
    apart: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What stood behind a forecast.

    Args:
        agrees: Whether the recomputation gave the same revision and bit for bit the same numbers.
        why: What differs, "" when nothing does.
        recomputed_revision: Revision that the recomputed forecast got.
        model: The model that made it, None for the baseline.
        made_of: What the baseline made it of, nothing for a model: the value as of now, the usual one, and half the
            width of the interval before it was widened for a cold start.
        readings: The device's readings in that commit that lie in the window, or in the hour that closed its last one.
        runtime: Versions that the recomputation ran on; other ones may round differently.
    """

    forecast: Forecast
    agrees: bool
    why: str
    compared: list[Compared]
    recomputed_revision: int
    commit: CommitFacts
    deployment: DeploymentFacts
    model: ModelFacts | None
    made_of: dict[str, float]
    features: list[FeatureFacts]
    readings: list[ReadingFacts]
    window: Window
    runtime: dict[str, str]


def forecast_of(found: Mapping[str, Sequence[Any]], row: int, cadence: Cadence) -> Forecast:
    """A row of predictions, given as columns."""
    cell = {name: column[row] for name, column in found.items()}
    return Forecast(
        device=str(cell["device_id"]),
        as_of=hour_text(int(cell["as_of"]), cadence),
        target_time=hour_text(int(cell["target_time"]), cadence),
        value=float(cell["value"]),
        lower=float(cell["lower"]),
        upper=float(cell["upper"]),
        category=str(cell["category"]),
        model=str(cell["model_version"]),
        role=str(cell["role"]),
        served=bool(cell["served"]),
        revision=int(cell["revision"]),
        sequence=int(cell["sequence_number"]),
        cold_start=bool(cell["cold_start"]),
    )
