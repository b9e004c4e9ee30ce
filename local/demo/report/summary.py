"""What the demo's summary says: whether the whole story happened, and how good the forecasts were."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from local.books.recount import Books
from local.demo.report.outcomes import Outcomes
from local.demo.report.page import Phase, demo_report
from shared.core.scenario import Scenario

WRITTEN = ("summary.json", "report.html")


def by_phase(spans: list[tuple[str, int]], outcomes: Outcomes, horizon: int) -> dict[str, float | None]:
    """Mean absolute error of the served forecasts by part of the story, by their as-of hour; None without any."""
    hours = np.array([hour for _, hour in spans])
    part = np.searchsorted(hours, outcomes.hour - horizon, side="right") - 1
    error = np.abs(outcomes.forecast.astype(np.float64) - outcomes.truth)
    found = {name: error[part == place] for place, (name, _) in enumerate(spans)}
    return {name: round(float(each.mean()), 2) if len(each) else None for name, each in found.items()}


def faults_found(expected: list[dict[str, Any]], books: Books) -> bool:
    """Whether every injected fault ended where it had to."""
    totals = books.totals()
    rejected = sum(sum(each["rejected"].values()) + each["conflicts"] for each in expected)
    same = all(totals[name] == sum(each[name] for each in expected) for name in ("stored_late", "duplicates"))
    return same and totals["dead_lettered"] == rejected


def happened(summary: dict[str, Any]) -> bool:
    """Whether the whole story did."""
    sound = summary["books_balance"] and summary["faults_found"] and summary["gain_over_damped"] > 0
    reacted = summary["drift_found"] and bool(summary["quarantined"]) and summary["refused"]
    mae = summary["mae_by_phase"]
    recovered = (mae["drift, new model"] or math.inf) < (mae["drift, old model"] or 0.0)
    return bool(sound and reacted and summary["promoted_version"] and summary["rolled_back"] and recovered)


def write(
    out: Path, summary: dict[str, Any], outcomes: Outcomes, phases: Sequence[Phase], scenario: Scenario
) -> list[Path]:
    """Write the summary and the report into a folder."""
    unit, nominal = scenario.target_channel.unit, scenario.interval
    page = demo_report(summary, outcomes, phases=phases, title=scenario.title, unit=unit, nominal=nominal)
    out.mkdir(parents=True, exist_ok=True)
    written = [out / name for name in WRITTEN]
    for path, text in zip(written, (json.dumps(summary, indent=2) + "\n", page), strict=True):
        path.write_text(text, encoding="utf-8")
    return written


def show(console: Console, summary: dict[str, Any], scenario: Scenario) -> None:
    """The summary for people."""
    unit, gain = scenario.target_channel.unit, summary["gain_over_damped"]
    title = f"{scenario.title}: {summary['rows']:,} forecasts until the drift began, and what came, from the blobs"
    console.rule(f"[bold]{title}", align="left")
    table = Table("", f"RMSE {unit}", f"MAE {unit}", box=None)
    for name, key in (("model", ""), ("damped persistence", "_damped"), ("persistence", "_persistence")):
        table.add_row(name, f"{summary['rmse' + key]:.2f}", f"{summary['mae' + key]:.2f}")
    console.print(table)
    console.print(f"the model's RMSE is {abs(gain):.1%} {'below' if gain > 0 else 'ABOVE'} that of damped persistence")
    console.print(f"{summary['interval_coverage']:.1%} of the truths lie inside the {scenario.interval:.0%} intervals")
    left = summary["excluded_no_truth"], summary["excluded_no_latest"]
    console.print(f"left out of all three: {left[0]:,} without a known truth, {left[1]:,} without a value as of then")
    dropped, streamed = summary["score_rows_per_second"], summary["events_per_second"]
    live = f"live, half of them within {summary['forecast_latency_p50_ms']} ms of the message"
    console.print(f"{dropped:,.0f} forecasts/s from a file, {streamed:,.0f}/s streamed; {live}")
    shares = ("applied", "stored_late", "duplicates", "dead_lettered")
    parts = " + ".join(f"{summary[name]:,} {name.replace('_', ' ')}" for name in shares)
    verdict = "the books balance" if summary["books_balance"] else "THE BOOKS DO NOT BALANCE"
    console.print(f"{verdict}: {summary['arrived']:,} arrived = {parts}")
    _show_phases(console, summary, unit)
    found = "every" if summary["faults_found"] else "NOT EVERY"
    console.print(f"{found} injected fault ended where it had to; {summary['elapsed_seconds']:.0f} s in all")


def _show_phases(console: Console, summary: dict[str, Any], unit: str) -> None:
    table = Table("part of the story", f"MAE {unit}", box=None)
    for name, mae in summary["mae_by_phase"].items():
        table.add_row(name, "" if mae is None else f"{mae:.2f}")
    console.print(table)
    console.print(f"isolated: {', '.join(summary['quarantined']) or 'NOBODY'}; jobs: {', '.join(summary['jobs'])}")
    console.print(f"promoted: {summary['promoted_version']}; refused: {'yes' if summary['refused'] else 'NO'}", end="")
    console.print(f"; taken back: {summary['rolled_back'] or 'NOTHING'}")
