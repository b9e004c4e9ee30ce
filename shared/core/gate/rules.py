"""The gate's rules, one function each; every comparison is written so that NaN fails it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from shared.core.gate.groups import Table, harmed, quotient, root
from shared.core.gate.measure import Case, Numbers
from shared.core.gate.verdict import Rule, Stage
from shared.core.task.calendar import DAY_HOURS
from shared.validation import number


def version(case: Case) -> Rule:
    """A model is not compared with itself: the versions differ."""
    same = case.facts.champion is not None and case.facts.champion.version == case.facts.challenger.version
    return _none("version", int(same), "the challenger has another version than the champion")


def sha256(case: Case) -> Rule:
    """Nor with itself under another name: the files differ."""
    same = case.facts.champion is not None and case.facts.champion.sha256 == case.facts.challenger.sha256
    return _none("sha256", int(same), "the challenger's file is another than the champion's")


def files(case: Case) -> Rule:
    """The package's files are what its manifest says."""
    found = case.facts.damage
    return _none("files", int(bool(found)), f"the package is intact{f'; {found}' if found else ''}")


def features(case: Case) -> Rule:
    """Every feature that the model wants is one that this code computes."""
    unknown = case.facts.unknown_features
    suffix = f"; unknown: {', '.join(unknown[:5])}" if unknown else ""
    return _none("features", len(unknown), f"all features of the model are known{suffix}")


def parity(case: Case) -> Rule:
    """The exported model says what the trained one says."""
    return _within("parity", case.facts.parity, case.gate.maximum_parity, "largest difference from the trained model")


def size(case: Case) -> Rule:
    """The package is small enough."""
    return _within("size", case.facts.size_mb, case.gate.maximum_mb, "size of the package, MB")


def latency(case: Case) -> Rule:
    """The model is fast enough."""
    return _within("latency", case.facts.latency_ms, case.gate.maximum_latency_ms, "time of one scoring call, ms")


def finite(case: Case) -> Rule:
    """No number is NaN or infinite where it may not be."""
    return _none("finite", case.flaws.not_finite, "all numbers are finite", "numbers")


def aligned(case: Case) -> Rule:
    """The truth that was judged against is the truth of that device and hour."""
    return _none("aligned", case.flaws.misaligned, "each row's truth is that of its device and hour", "rows")


def ordered(case: Case) -> Rule:
    """Rows of a device rise in time, so that none stands twice."""
    return _none("ordered", case.flaws.disordered, "rows of a device rise in time and stand once", "rows")


def out_of_fold(case: Case) -> Rule:
    """The challenger is judged on rows after its training."""
    return _none("out_of_fold", case.flaws.seen, "the challenger's training ends before each of its rows", "rows")


def champion_out_of_fold(case: Case) -> Rule:
    """The champion is judged on rows after its training."""
    claim = "the champion's training ends before each of its rows"
    return _none("champion_out_of_fold", case.flaws.champion_seen, claim, "rows")


def rows(case: Case) -> Rule:
    """Enough forecasts that both answered."""
    return _at_least("rows", "amount", len(case.as_of), case.gate.minimum_rows, "forecasts that both models answered")


def days(case: Case) -> Rule:
    """On enough days."""
    found = len(np.unique(case.as_of // DAY_HOURS))
    return _at_least("days", "amount", found, case.gate.minimum_days, "days with such forecasts")


def blocks(case: Case) -> Rule:
    """In enough stretches of time that know nothing of each other."""
    one = next(iter(case.intervals.values()))
    claim = f"independent stretches of time, {one.block} h each"
    return _at_least("blocks", "amount", one.blocks, case.gate.minimum_blocks, claim)


def improvement(case: Numbers) -> Rule:
    """The error falls by enough to be worth a change."""
    ((measure, one),) = case.intervals.items()
    claim = f"improvement of the {measure.upper()}"
    return _at_least("improvement", "merit", one.value, case.gate.minimum_improvement, claim)


def confidence(case: Numbers) -> Rule:
    """The fall is not chance."""
    ((measure, one),) = case.intervals.items()
    return above_chance("confidence", one.lower, f"improvement of the {measure.upper()}", case.gate.confidence)


def floor(case: Numbers) -> Rule:
    """The error is below damped persistence's."""
    text = f"error as a share of damped persistence's: {_shown(case.floor)}, must be below 1"
    return Rule(name="floor", stage="merit", holds=case.floor < 1, value=number(case.floor), limit=1.0, text=text)


def too_good(case: Numbers) -> Rule:
    """The error is not so small that the truth must have leaked."""
    limit = case.gate.suspicious_ratio
    text = f"error as a share of damped persistence's: {_shown(case.floor)}; below {limit:g} the truth must have leaked"
    return Rule(
        name="too_good", stage="merit", holds=case.floor >= limit, value=number(case.floor), limit=limit, text=text
    )


def correlation(case: Numbers) -> Rule:
    """Forecast and truth do not move together as only a copy does."""
    limit, found = case.gate.suspicious_correlation, case.correlation
    text = f"correlation of forecast and truth: {_shown(found)}; above {limit:g} the truth must have leaked"
    return Rule(name="correlation", stage="merit", holds=found <= limit, value=number(found), limit=limit, text=text)


def devices(case: Case) -> Rule:
    """No device pays for the average."""
    return _groups("devices", "device", case.devices, case)


def bands(case: Numbers) -> Rule:
    """No band of the value as of now pays for the average."""
    return _groups("bands", "band", case.bands, case)


def coverage(case: Numbers) -> Rule:
    """The intervals cover about as much as they promise."""
    apart, limit = abs(case.coverage - case.nominal), case.gate.coverage_tolerance
    claim = f"coverage of the intervals, in all or in the newest {case.gate.coverage_days} days"
    text = f"{claim}: {_shown(case.coverage)}, must be within {limit:g} of {case.nominal:g}"
    return Rule(
        name="coverage", stage="merit", holds=apart <= limit + 1e-9, value=number(case.coverage), limit=case.nominal,
        text=text,
    )  # fmt: skip


def above_chance(name: str, lower: float, claim: str, sure: float) -> Rule:
    """A rule that holds when an improvement's lower end is above 0."""
    text = f"{claim}, at least with {100 * sure:g} % confidence: {_shown(lower)}, must be above 0"
    return Rule(name=name, stage="merit", holds=lower > 0, value=number(lower), limit=0.0, text=text)


def _groups(name: str, kind: str, table: Table, case: Case) -> Rule:
    ratio = root(quotient(table.challenger, table.reference), table.loss)
    bad, limit = harmed(table, case.gate), case.gate.worst_group_ratio
    chosen = bad if bad.any() else table.judged
    if not chosen.any():
        return Rule(name=name, stage="merit", holds=False, value=None, limit=limit, text=f"no {kind} could be judged")
    worst = int(np.flatnonzero(chosen)[np.argmax(np.nan_to_num(ratio[chosen], nan=math.inf))])
    claim = f"{int(bad.sum())} of {int(table.judged.sum())} harmed; " if bad.any() else ""
    chance = ", which may be chance" if not bad.any() and ratio[worst] > limit else ""
    text = (
        f"{claim}worst {kind}: {table.names[worst]}, error {_shown(ratio[worst])} times the other's{chance}; "
        f"at most {limit:g} unless by chance"
    )
    holds = not bad.any()
    return Rule(name=name, stage="merit", holds=holds, value=number(float(ratio[worst])), limit=limit, text=text)


def _none(name: str, found: int, claim: str, what: str = "") -> Rule:
    """A rule on trust that holds when nothing was found."""
    text = claim if found == 0 else f"not so: {claim}{f' ({found:,} {what})' if what else ''}"
    return Rule(name=name, stage="trust", holds=found == 0, value=float(found), limit=0.0, text=text)


def _within(name: str, found: float | None, limit: float, claim: str) -> Rule:
    value = math.nan if found is None else found
    text = f"{claim}: {_shown(value)}, must be at most {limit:g}"
    return Rule(name=name, stage="trust", holds=0 <= value <= limit, value=number(value), limit=limit, text=text)


def _at_least(name: str, stage: Stage, found: float, limit: float, claim: str) -> Rule:
    text = f"{claim}: {_shown(found)}, must be at least {limit:g}"
    return Rule(name=name, stage=stage, holds=found >= limit, value=number(found), limit=float(limit), text=text)


def _shown(value: float) -> str:
    return "unknown" if not math.isfinite(value) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


COMMON: tuple[Callable[[Case], Rule], ...] = (
    version, sha256, files, features, parity, size, latency, finite, aligned, ordered, out_of_fold,
    champion_out_of_fold, rows, days, blocks,
)  # fmt: skip
RULES: tuple[Callable[[Numbers], Rule], ...] = (
    *COMMON, improvement, confidence, floor, too_good, correlation, devices, bands, coverage,
)  # fmt: skip
