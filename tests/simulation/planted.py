"""Planting bugs in the running code, and how soon each is noticed."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from tests.simulation.planted_bugs import BUGS, Bug
from tests.simulation.runs import run, say

KEPT: list[dict[str, Any]] = json.loads((Path(__file__).parent / "kept.json").read_text())  # seeds that found something


def changed(bug: Bug) -> tuple[Any, str, Any, Any]:
    """Where a bug goes: its owner, the name there, what stands there, and the same with the bug.

    Raises:
        AssertionError: The code is not what the bug was made for.
    """
    module_name, _, path = bug.where.partition(":")
    module = importlib.import_module(module_name)
    *outer, name = path.split(".")
    owner: Any = getattr(module, outer[0]) if outer else module
    before = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(getattr(before, "__func__", before)))
    assert source.count(bug.old) == 1, f"{bug.name}: {bug.old!r} stands {source.count(bug.old)} times in {bug.where}"
    held: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(bug.old, bug.new)
    exec(compile(code, f"<{bug.name}>", "exec"), vars(module), held)  # noqa: S102 - our own source, with a bug
    return owner, name, before, held[name]


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The code with a bug in it, wherever the function was imported to."""
    owner, name, before, after = changed(bug)
    places = [(owner, name)]
    if inspect.ismodule(owner):
        modules = [module for key, module in sorted(sys.modules.items()) if key.startswith("shared.")]
        places = [(module, key) for module in modules for key, value in vars(module).items() if value is before]
    for place, key in places:
        setattr(place, key, after)
    try:
        yield
    finally:
        for place, key in places:
            setattr(place, key, before)


def notice(bug: Bug, seed: int, seconds: float) -> tuple[int, str, float]:
    """Runs until one fails or the time is up: how many, what failed ("" nothing), seconds of processor time.

    Seeds that are kept for the bug run first.
    """
    began, tried = time.process_time(), 0
    kept = [(each["kind"], each["seed"]) for each in KEPT if each.get("bug") == bug.name]
    fresh = ((bug.kind, number) for number in count(seed + 1))
    for tried, (kind, number) in enumerate(chain(kept, fresh), 1):
        with planted(bug):
            found = run(kind, number)
        if found.failure and not run(kind, number).failure:  # it is the bug that it fails for
            return tried, found.failure, time.process_time() - began
        if time.process_time() >= began + seconds:
            break
    return tried, "", time.process_time() - began


def show(name: str | None, seconds: float, seed: int | None) -> int:
    """Plant every bug in turn, or that of a name, and print what came of it; 1 when any is not as it is said to be."""
    wrong = 0
    for bug in BUGS:
        if name is None or name in bug.name:
            count, failure, spent = notice(bug, seed or 0, seconds)
            wrong += bool(failure) == bool(bug.heals)
            say(_line(bug, count, failure, spent))
    return 1 if wrong else 0


def _line(bug: Bug, count: int, failure: str, spent: float) -> str:
    if failure:
        surprise = "  (said to heal itself)" if bug.heals else ""
        return f"noticed      {bug.name}: seed {count}, {spent:.0f} s: {failure[:90]}{surprise}"
    word = "heals itself" if bug.heals else "NOT NOTICED "
    return f"{word} {bug.name}: {count} seeds, {spent:.0f} s{': ' if bug.heals else ''}{bug.heals}"
