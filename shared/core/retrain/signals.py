"""What a decision to train looks at."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from shared.core.retrain.history import History
from shared.core.scenario import RetrainRules


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    Args:
        check: The check's id: a redelivered one has the same.
        dataset: Newest dataset version, such as `lake@12`; None while there is none.
        labelled_rows: Rows with a known truth in it.
        champion: Version of the deployed model, None when there is none.
        trained_rows: Labelled rows there were when the champion was trained, where the ledger knows of no training.
        trained_ms: When that was, in milliseconds since 1970.
        drift: Kind of drift.
        magnitude: Its overall magnitude.
        quality: Where the realised quality is, seen from the accepted range.
        notes: What else the check says of drift and quality, for people.
    """

    check: str
    dataset: str | None = None
    labelled_rows: int = 0
    champion: str | None = None
    trained_rows: int | None = None
    trained_ms: int | None = None
    drift: Literal["not enough data", "none", "device", "pipeline", "population"] = "not enough data"
    magnitude: float | None = None
    quality: Literal["not enough data", "inside", "outside"] = "not enough data"
    notes: tuple[str, ...] = ()


class Case(NamedTuple):
    """What the rules look at."""

    now_ms: int
    history: History
    signals: Signals
    rules: RetrainRules
