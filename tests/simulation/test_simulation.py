"""A minute of fresh seeds, seeds that once failed, and that the simulation itself does what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from typing import Any

import pytest

from tests import ROOT
from tests.simulation.__main__ import SHARES, report
from tests.simulation.conditions import KINDS, Kind
from tests.simulation.planted import KEPT, changed, planted
from tests.simulation.planted_bugs import BUGS, Bug
from tests.simulation.runs import alike, run, say, shrunk

FRESH_S, SHRINKING_S, CI_SEED = 60.0, 45.0, 1_000_000
SHOWN = next(bug for bug in BUGS if bug.name == "two workers commit the same place")


@pytest.mark.slow
def test_fresh_seeds_hold_whatever_befalls_them() -> None:
    """Where CI is set they are the same each time, as Hypothesis's examples are; by hand the clock says."""
    first = CI_SEED if os.environ.get("CI") else time.time_ns() // 1_000_000
    until = time.monotonic() + FRESH_S
    say(f"fresh seeds from {first} on")
    for number in count():
        found = run(SHARES[number % len(SHARES)], first + number)
        assert not found.failure, report(found, seconds=SHRINKING_S)
        if time.monotonic() >= until:
            return


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept['kind']}-{kept['seed']}")
def test_a_seed_that_once_failed_holds(kept: dict[str, Any]) -> None:
    found = run(kept["kind"], kept["seed"])
    assert not found.failure, f"{kept['found']}\n{report(found, seconds=0)}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_tells_the_same_story_in_every_process(kind: Kind) -> None:
    code = f"from tests.simulation.runs import run, story; found = run({kind!r}, 7); print(story(found), found.counts)"
    told = [
        subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(salt)},
            capture_output=True, check=True, text=True,
        ).stdout
        for salt in (1, 2)
    ]  # fmt: skip
    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 20


@pytest.mark.slow
def test_a_failure_is_shrunk_to_a_story_that_fails_alike() -> None:
    with planted(SHOWN):
        failed = next(found for seed in count() if (found := run(SHOWN.kind, seed)).failure)
        best = shrunk(failed, seconds=30)
        again = run(best.kind, best.seed, best.cut)
    assert len(best.lines) < len(failed.lines)
    assert alike(best.failure, failed.failure)
    assert again.failure == best.failure
    assert f"SEED={failed.seed}" in failed.command
    assert not run(best.kind, best.seed, best.cut).failure, "without the bug the same story holds"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_code_as_it_is(bug: Bug) -> None:
    _, _, before, after = changed(bug)
    assert before is not after


def test_kept_seeds_name_bugs_that_there_are() -> None:
    assert {kept["bug"] for kept in KEPT if "bug" in kept} <= {bug.name for bug in BUGS}


def test_there_are_enough_planted_bugs_that_show() -> None:
    assert sum(not bug.heals for bug in BUGS) >= 20
    assert len({bug.name for bug in BUGS}) == len(BUGS)
