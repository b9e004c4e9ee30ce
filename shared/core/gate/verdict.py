"""What the gate says, as a value that is JSON as it stands."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.core.gate.evidence import Facts
from shared.errors import ContractBroken
from shared.validation import decoded

FORMAT = 1
Kind = Literal["promote", "refuse", "not enough data"]
Stage = Literal["trust", "amount", "merit"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule and whether it holds.

    Args:
        name: Its name.
        stage: trust (is the evidence and the package sound), amount (is there enough of it) or merit (is it better).
        holds: Whether it holds.
        value: What was found, None when that is no number.
        limit: What is allowed.
        text: Both in a sentence.
    """

    name: str
    stage: Stage
    holds: bool
    value: float | None
    limit: float | None
    text: str


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one forecast; None where undefined. Accuracy and F1 are of classes, the others of numbers."""

    rows: int
    mae: float | None = None
    rmse: float | None = None
    bias: float | None = None
    coverage: float | None = None
    width: float | None = None
    accuracy: float | None = None
    f1: float | None = None


class Improvement(msgspec.Struct, frozen=True, kw_only=True):
    """How much better the challenger is, with a one-sided bound on either side.

    Args:
        measure: rmse or mae (the share by which it is lower), accuracy or f1 (by how much it is higher).
        against: What it is compared with: champion, or floor when there is no champion.
        value: On all rows.
        lower: Lower end; the improvement is above it with `confidence`.
        upper: Upper end; the improvement is below it with `confidence`.
        confidence: Of either end.
        block_hours: Length of the stretches of time that were drawn.
        memory_hours: Hours after which the errors' difference no longer correlates with itself.
        blocks: Such stretches within the evidence.
        resamples: Draws.
    """

    measure: str
    against: Literal["champion", "floor"]
    value: float | None
    lower: float | None
    upper: float | None
    confidence: float
    block_hours: int
    memory_hours: int
    blocks: float
    resamples: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of both within one device or band.

    Args:
        kind: device or band.
        name: The device's id, the band's name, or what was put together.
        rows: Rows of both.
        challenger: Its error, in the measure of the improvement.
        reference: The champion's (or floor's).
        ratio: challenger / reference.
        lower: The ratio is above it beyond chance, all groups of the kind taken together.
        judged: Whether the rule on groups looked at it; a small group is listed, but judged together with others.
    """

    kind: Literal["device", "band"]
    name: str
    rows: int
    challenger: float | None
    reference: float | None
    ratio: float | None
    lower: float | None
    judged: bool


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of both on the forecasts of one day of as-of hours (UTC), YYYY-MM-DD."""

    day: str
    rows: int
    challenger: float | None
    reference: float | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """May the challenger serve, and why.

    Args:
        kind: The verdict.
        reasons: Names of the rules that decided it, empty for promote.
        text: The verdict in a sentence.
        scenario: Name of the scenario.
        unit: Unit of the errors, "" for classes.
        facts: What was known of both models.
        rules: All rules that were applied, in order.
        scores: By forecast: challenger, champion, damped, persistence; on the same rows as far as they exist.
        improvements: One, or for classes one for each measure; none when there were no rows.
        groups: Devices and bands, the worst first, at most 200 of each kind.
        days: Day by day.
    """

    format: int = FORMAT
    kind: Kind
    reasons: tuple[str, ...]
    text: str
    scenario: str
    unit: str
    facts: Facts
    rules: tuple[Rule, ...]
    scores: dict[str, Scores]
    improvements: tuple[Improvement, ...]
    groups: tuple[Group, ...]
    days: tuple[Day, ...]


def encode(verdict: Verdict) -> bytes:
    """Write a verdict as indented JSON; the same verdict gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2)


def decode(raw: bytes) -> Verdict:
    """Read a verdict.

    Raises:
        ContractBroken: Not JSON, or not a verdict of this format.
    """
    verdict = decoded(raw, Verdict, "verdict")
    if verdict.format != FORMAT:
        raise ContractBroken(f"verdict: format {verdict.format} is not {FORMAT}")
    return verdict
