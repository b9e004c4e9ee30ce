"""False alarms of the drift check on undrifted history, and what shifts it finds within two weekly checks.

The check's limits come from the first years of the history, the checks from the rest, so no window was used for both.
Run: `python -m benchmarks.drift_power [--data FILE] [--years 2] [--seed 7]`; without a file on the generator.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.drift_replay import Replay, calibrated, file_history, fleet_history, shifted, spread_of
from local.fleet.__main__ import Fleet
from shared.adapters.stores import scenario_files
from shared.core.drift.baseline import Baseline
from shared.core.drift.verdict import Verdict

SIZES = (0.25, 0.5, 1.0)
YEAR_H = 8766


class Power(NamedTuple):
    """Share of drifts of one size that the first check after them finds, and that one of the first two finds."""

    first: float
    within_two: float


def alarms(replay: Replay, baseline: Baseline, weeks: Sequence[int]) -> list[Verdict]:
    """Verdicts of weekly checks."""
    return [replay.check(baseline, end) for end in weeks]


def power(replay: Replay, other: Replay, baseline: Baseline, weeks: Sequence[int]) -> Power:
    """How often a change from `replay` to `other` is found when it comes a week before each of the checks."""
    first = np.array([replay.check(baseline, end, other, end - 7).kind == "population" for end in weeks])
    second = np.array([other.check(baseline, end).kind == "population" for end in weeks])
    return Power(float(first.mean()), float((first[:-1] | second[1:]).mean()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_power", description=__doc__)
    parser.add_argument("--data", type=Path, help="hourly readings in the long form")
    parser.add_argument("--years", type=float, default=2.0, help="history that limits are calibrated on")
    parser.add_argument("--test-years", type=float, default=2.1, help="of the generator, checked behind it")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--stations", type=int, default=4)
    parser.add_argument("--channels", nargs="*", default=["rel_humidity", "pm25", "temp"])
    options = parser.parse_args(arguments)
    scenario = scenario_files.load("air_quality")
    if options.data:
        history = file_history(scenario, options.data)
    else:
        hours = int((options.years + options.test_years) * YEAR_H)
        history = fleet_history(scenario, Fleet(seed=options.seed, stations=options.stations, hours=hours))
    baseline, behind = calibrated(scenario, history, int(options.years * 364))
    replay = Replay.of(scenario, history)
    weeks = replay.weeks(behind)
    verdicts = alarms(replay, baseline, weeks)
    kinds = Counter(verdict.kind for verdict in verdicts)
    sys.stdout.write(f"{len(history)} devices, limits from {options.years:g} years, {len(weeks)} weekly checks after\n")
    sys.stdout.write("".join(f"  {kind:<16} {n:>4} {n / len(weeks):7.1%}\n" for kind, n in kinds.most_common()))
    top = sorted((verdict.magnitude or 0.0 for verdict in verdicts), reverse=True)[:5]
    sys.stdout.write(f"  largest magnitudes: {', '.join(f'{value:.2f}' for value in top)}\n")
    sys.stdout.write("channel        shift        first check  within two\n")
    for channel in options.channels:
        deviation = spread_of(scenario, history, channel)
        for size in SIZES:
            found = power(
                replay, Replay.of(scenario, shifted(scenario, history, channel, size * deviation)), baseline, weeks
            )
            sys.stdout.write(
                f"{channel:<14} {size:4.2f} sd {size * deviation:7.2f} {found[0]:10.0%} {found[1]:10.0%}\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
