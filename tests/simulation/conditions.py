"""What a seed turns on and off: each run has other faults, and some of them often."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from shared.settings import Settings
from tests.simulation.schedule import Chances

Kind = Literal["stream", "loop", "whole"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """One run's sizes and faults.

    Args:
        turns: Length of the run.
        workers: Most processes at once.
        chances: How often calls of ports fail.
        beside: Whether background work runs beside the rest.
        settings: Of the application.
        devices: Devices that send.
        hours: Hours that they tell of.
        unrest: How often a partition's owner changes, in one of some two dozen things that happen.
        on: What happens in this run, by name.
    """

    turns: int
    workers: int
    chances: Chances
    beside: bool
    settings: Settings
    devices: int
    hours: int
    unrest: float
    on: frozenset[str]


OFTEN = (
    "garbage",
    "files",
    "again",
    "late",
    "skips",
    "moves",
    "frozen",
    "replays",
    "jumps",
    "forgets",
    "people",
    "anew",
)
AT_TIMES = ("conflicts", "swaps", "damage", "compaction", "removal", "rewound", "replaced")
RARELY = ("edits", "losses")
NOT_BESIDE_LOSSES = {"swaps", "edits", "forgets", "anew"}  # what is made again has the answers and the hub of now


def drawn(kind: Kind, seed: int) -> Conditions:
    """The conditions of a seed."""
    random = Random(f"{kind} {seed}")
    on = {name for name in OFTEN if random.random() < 0.75} | {name for name in AT_TIMES if random.random() < 0.3}
    on |= {name for name in RARELY if random.random() < 0.12}
    if "losses" in on:
        on -= NOT_BESIDE_LOSSES
    chances = Chances(
        refused=random.choice((0, 0.01, 0.05)),
        lost=random.choice((0, 0.01, 0.05)),
        repeated=random.choice((0, 0.01, 0.05)),
        killed=random.choice((0, 0.002, 0.01)),
        parked=random.choice((0, 0.02, 0.1)),
        pause=random.choice((20, 300, 2000)),
    )
    settings = Settings(
        model_refresh_s=random.choice((0.0, 10.0)),
        snapshot_commits=random.choice((1, 2, 3, 50)),
        profile_s=1.0,
        batch_rows=random.choice((1, 3, 1000)),
        chunk_rows=random.choice((1, 7, 1000)),
        retain_days=0.02 if "removal" in on else 0.0,
        jobs="local",
    )
    return Conditions(
        turns=random.choice((250, 600)) if kind == "loop" else random.choice((250, 500, 800)),
        workers=random.choice((1, 2, 2, 3)) if kind == "stream" else random.choice((1, 2, 3, 4)),
        chances=chances,
        beside=random.random() < 0.7,
        settings=settings,
        devices=random.choice((1, 2, 4)),
        hours=random.choice((8, 16, 30)),
        unrest=random.choice((0.15, 0.5, 2.0)),
        on=frozenset(on),
    )
