"""One run from its seed, what it failed with, and how its story is shrunk."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tests.simulation.conditions import Kind
from tests.simulation.loop import SlowHalf
from tests.simulation.schedule import Line
from tests.simulation.stream import Stream
from tests.simulation.world import Cut, World

T = TypeVar("T")
WHOLE = Cut()


@dataclass(frozen=True)
class Run:
    """What a run came to.

    Args:
        kind: Its parts.
        seed: Its seed.
        cut: What was left out of it.
        failure: What does not hold, "" when everything does.
        error: The same as it was raised.
        lines: Its story.
        counts: Calls and faults.
        arrivals: How many things arrived.
    """

    kind: Kind
    seed: int
    cut: Cut
    failure: str
    error: BaseException | None
    lines: list[Line] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    arrivals: int = 0

    @property
    def command(self) -> str:
        """The one line that replays it."""
        return f"make simulate KIND={self.kind} SEED={self.seed}"


def world_of(kind: Kind, seed: int, cut: Cut = WHOLE) -> World:
    """A world before its first turn."""
    world = World(kind, seed, cut)
    if kind != "loop":
        world.parts.append(Stream(world))
    if kind != "stream":
        world.parts.append(SlowHalf(world))
    return world


def run(kind: Kind, seed: int, cut: Cut = WHOLE) -> Run:
    """A run to its end."""
    world, error = world_of(kind, seed, cut), None
    try:
        world.run()
    except Exception as found:  # noqa: BLE001 - whatever it is, it is what the run failed with
        error = found
    failure = "" if error is None else f"{type(error).__name__}: {error}"
    return Run(kind, seed, cut, failure, error, world.schedule.lines, world.schedule.counts, world.arrivals)


def shrunk(failed: Run, *, seconds: float) -> Run:
    """The same failure with as few turns, faults and arrivals as can be found in a time."""
    until = time.monotonic() + seconds
    best = _fewer(failed, _turns(failed), lambda cut, some: replace(cut, turns=cut.turns | some), until)
    arrivals = [place for place in range(best.arrivals) if place not in best.cut.arrivals]
    best = _fewer(best, arrivals, lambda cut, some: replace(cut, arrivals=cut.arrivals | some), until)
    faults = sorted({(line.turn, line.fault) for line in best.lines if line.fault is not None})
    best = _fewer(best, faults, lambda cut, some: replace(cut, faults=cut.faults | some), until)
    return _fewer(best, _turns(best), lambda cut, some: replace(cut, turns=cut.turns | some), until)


def _turns(found: Run) -> list[int]:
    return sorted(set(range(max((line.turn for line in found.lines), default=0) + 1)) - found.cut.turns)


def _fewer(best: Run, items: list[T], without: Callable[[Cut, frozenset[T]], Cut], until: float) -> Run:
    """Leave out ever smaller pieces of what is left, as long as the run still fails in the same way."""
    size = len(items)
    while size and time.monotonic() < until:
        size = (size + 1) // 2
        for piece in _pieces(items, size):
            if time.monotonic() >= until:
                return best
            tried = run(best.kind, best.seed, without(best.cut, frozenset(piece)))
            if alike(tried.failure, best.failure):
                best = tried
                items = [item for item in items if item not in set(piece)]
        if size == 1:
            return best
    return best


def _pieces(items: list[T], size: int) -> Iterator[list[T]]:
    """From the end on: the failure stands there, so what comes after it goes first."""
    for start in reversed(range(0, len(items), size)):
        yield items[start : start + size]


def alike(one: str, other: str) -> bool:
    """Whether two failures are of one kind, numbers and names aside."""
    return bool(one) and _words(one) == _words(other)


def _words(failure: str) -> list[str]:
    """The first words without what differs from run to run."""
    return [word for word in failure.split()[:14] if word.isalpha()][:5]


def say(text: str) -> None:
    """Tell whoever watches, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def story(found: Run) -> str:
    """What happened, a line each."""
    return "\n".join(f"  {line.turn:5d}  {line.text}" for line in found.lines)
