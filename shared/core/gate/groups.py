"""Errors by device and band: nobody pays for the average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from shared.core.gate.bootstrap import Timeline
from shared.core.gate.verdict import Group
from shared.core.intake.readings import Doubles, Longs, Mask
from shared.core.scenario import GateRules, Loss
from shared.validation import number

LISTED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Sums of losses of one kind of groups, shape (groups,) each.

    Args:
        names: Of the groups.
        rows: Their rows.
        challenger: Its loss, summed.
        reference: The other's loss, summed.
        lower: Lower end of the ratio of losses, beyond chance.
        judged: Large enough, or what small ones make together.
        loss: What was summed.
    """

    names: tuple[str, ...]
    rows: Longs
    challenger: Doubles
    reference: Doubles
    lower: Doubles
    judged: Mask
    loss: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Losses row by row, shape (n,), of which kind, and the time axis that they stand on."""

    challenger: Doubles
    reference: Doubles
    axis: Timeline
    block: int
    loss: Loss


def tabulate(names: Sequence[str], group: Longs, losses: Losses, rules: GateRules) -> Table:
    """Sums by group, the ones with few rows once more together as a last group.

    Args:
        names: Of the groups; those without rows are left out.
        group: Group of each row, shape (n,).
        losses: Of both models.
        rules: Size from which a group is judged alone, and the confidence.
    """
    counts = np.bincount(group, minlength=len(names))
    small = (counts > 0) & (counts < rules.minimum_group_rows)
    present = np.flatnonzero(counts > 0)
    titles = [names[index] for index in present.tolist()]
    judged = ~small[present]
    totals = _by_block(group, len(names), losses)[:, present]
    if small.sum() > 0:
        together = totals[:, ~judged].sum(axis=1, keepdims=True)
        totals = np.concatenate((totals, together), axis=1)
        titles.append(f"{int(small.sum())} small ones together")
        enough = counts[small].sum() >= rules.minimum_group_rows or not judged.any()
        judged = np.append(judged, enough)
    sums = totals.sum(axis=2)
    return Table(
        names=tuple(titles), rows=sums[0].astype(np.int64), challenger=sums[1], reference=sums[2],
        lower=_lower(totals, rules.confidence, int(judged.sum())), judged=judged,
        loss=losses.loss,
    )  # fmt: skip


def _by_block(group: Longs, groups: int, losses: Losses) -> Doubles:
    """Rows, challenger's and reference's losses summed by group and stretch of time, shape (3, groups, blocks)."""
    blocks = -(-losses.axis.hours // losses.block)
    cell = group * blocks + losses.axis.place // losses.block
    shape, columns = (groups, blocks), (None, losses.challenger, losses.reference)
    return np.stack([np.bincount(cell, column, groups * blocks).reshape(shape) for column in columns])


def _lower(totals: Doubles, confidence: float, family: int) -> Doubles:
    """Lower end of each ratio of losses, from its scatter over blocks; for all groups of the family at once.

    Where a group lies in fewer than two blocks the scatter is unknown, and the ratio itself is the end.
    """
    rows, challenger, reference = totals
    ratio = quotient(challenger.sum(axis=1), reference.sum(axis=1))
    blocks = (rows > 0).sum(axis=1)
    apart = challenger - ratio[:, None] * reference
    scatter = np.sqrt((apart**2).sum(axis=1) * blocks / np.maximum(blocks - 1, 1)) / reference.sum(axis=1)
    quantile = NormalDist().inv_cdf(1 - (1 - confidence) / max(family, 1))
    return np.where(blocks > 1, ratio - quantile * scatter, ratio)


def quotient(challenger: Doubles, reference: Doubles) -> Doubles:
    """Ratio of losses, 1 where both are 0."""
    return np.where((challenger == 0) & (reference == 0), 1.0, challenger / reference)


def harmed(table: Table, rules: GateRules) -> Mask:
    """Judged groups whose error grew by more than is allowed and, beyond chance, grew at all; NaN is harm."""
    ratio = root(quotient(table.challenger, table.reference), table.loss)
    return np.asarray(table.judged & ~(ratio <= rules.worst_group_ratio) & ~(table.lower <= 1))


def listed(kind: Literal["device", "band"], table: Table) -> list[Group]:
    """The groups, the worst first, at most `LISTED`."""
    ratio = root(quotient(table.challenger, table.reference), table.loss)
    lower = root(np.maximum(table.lower, 0.0), table.loss)
    order = sorted(range(len(ratio)), key=lambda i: (-math.inf if math.isnan(ratio[i]) else -ratio[i], table.names[i]))
    errors = [root(sums / table.rows, table.loss) for sums in (table.challenger, table.reference)]
    return [
        Group(
            kind=kind, name=table.names[i], rows=int(table.rows[i]), judged=bool(table.judged[i]),
            challenger=number(errors[0][i]), reference=number(errors[1][i]), ratio=number(ratio[i]),
            lower=number(lower[i]),
        )
        for i in order[:LISTED]
    ]  # fmt: skip


def root(values: Doubles, loss: Loss) -> Doubles:
    """Mean losses, or their ratios, as errors."""
    return np.sqrt(values) if loss == "squared" else values
