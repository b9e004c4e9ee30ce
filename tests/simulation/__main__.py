"""`make simulate SEEDS=n [SEED=s] [KIND=stream|loop|whole]`: fresh seeds, or one again."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation import planted
from tests.simulation.conditions import KINDS, Kind
from tests.simulation.runs import Run, run, say, shrunk, story

SHRINKING_S = 120.0
SHARES: tuple[Kind, ...] = ("stream", "loop", "stream", "loop", "whole")  # seeds of each kind when none is named


def main() -> int:
    """Run seeds until all are done or the time is up; 1 when any failed."""
    asked = _arguments()
    if asked.planted is not None:
        return planted.show(asked.planted or None, asked.seconds or 60.0, asked.seed)
    seed = time.time_ns() // 1_000_000 if asked.seed is None else asked.seed
    until = time.monotonic() + (asked.seconds or float("inf"))
    done, failed, counts = Counter[str](), list[Run](), Counter[str]()
    began = time.process_time()
    for kind, number in _seeds(asked.kind, seed, asked.seeds):
        if time.monotonic() >= until:
            break
        found = run(kind, number)
        done[kind] += 1
        counts += found.counts
        if found.failure:
            failed.append(found)
            say(report(found, seconds=asked.shrink))
    spent = time.process_time() - began
    told = ", ".join(f"{count} of the {kind}" for kind, count in sorted(done.items()))
    say(f"seeds from {seed} on: {told}; {len(failed)} failed; {spent:.0f} s of processor time")
    say(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return 1 if failed else 0


def report(found: Run, *, seconds: float) -> str:
    """What failed, the line that replays it, and its story as short as it could be made."""
    best = shrunk(found, seconds=seconds) if seconds else found
    lines = [f"FAILED: {found.failure[:600]}", f"replay: {found.command}"]
    if seconds:
        lines += [f"shrunk to {len(best.lines)} of {len(found.lines)} things that happen:", story(best)]
    return "\n".join(lines)


def _seeds(kind: Kind | None, seed: int, count: int) -> Iterator[tuple[Kind, int]]:
    """A single seed without a kind is tried as every kind."""
    if kind is None and count == 1:
        yield from ((each, seed) for each in KINDS)
        return
    for number in range(count):
        yield kind or SHARES[number % len(SHARES)], seed + number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--seed", type=int, help="the first seed; without it the clock says")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--shrink", type=float, default=SHRINKING_S, help="seconds for making a story short; 0: none")
    parser.add_argument(
        "--planted", nargs="?", const="", help="show that planted bugs are noticed; one of a name, or all"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
