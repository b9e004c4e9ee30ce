"""An hour of the standing simulation's fresh seeds; run by `make soak`."""

from __future__ import annotations

import time
from itertools import count

import pytest

from tests.simulation.__main__ import SHARES, report
from tests.simulation.runs import run, say

HOUR_S, SHRINKING_S = 3600.0, 300.0
pytestmark = pytest.mark.slow


def test_an_hour_of_fresh_seeds_holds() -> None:
    first, until = time.time_ns() // 1_000_000, time.monotonic() + HOUR_S
    say(f"fresh seeds from {first} on")
    for number in count():
        found = run(SHARES[number % len(SHARES)], first + number)
        assert not found.failure, report(found, seconds=SHRINKING_S)
        if time.monotonic() >= until:
            return
