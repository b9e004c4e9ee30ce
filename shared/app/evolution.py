"""How a store's scenario goes on when its file is edited: `models/scenario.json` holds the versions it has had.

Only what a change means to stored numbers is looked at (`shared/core/scenario/changes.py`); docs/scenario-changes.md
says it for every key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from shared.core.scenario import Scenario
from shared.core.scenario import shape as shapes
from shared.core.scenario.changes import Change, changes
from shared.core.scenario.shape import Shape
from shared.core.task.task import Task, names_of
from shared.core.task.versions import OtherScenario
from shared.errors import ConfigError, ContractBroken, StateConflict
from shared.ports import BlobReader, Blobs

log = logging.getLogger(__name__)
TRIES = 8
WAYS_OUT = (
    "nothing in the store was changed. Put the old values back, or see what `python -m local migrate` would do, or "
    "begin with another name and a storage account of its own (docs/scenario-changes.md)"
)
ANOTHER_STORE = "give a channel of another unit a name of its own, and anything else a storage account of its own"
Columns = Callable[[bytes], Sequence[str]]


def continued(task: Task, blobs: Blobs, columns: Columns) -> Task:
    """The task with the versions that the store's scenario has had; an edit that can be taken over becomes one.

    Args:
        task: What the scenario's file says.
        blobs: The store.
        columns: Gives the names of the values in a commit.

    Raises:
        ConfigError: What is stored cannot follow the edit by itself; the message names each key, its old and new
            value, and the ways out. Nothing was changed.
    """
    for _ in range(TRIES):
        known, etag = stored(blobs)
        if not known:
            _check_unrecorded(task, blobs, columns)
        now = shapes.shape_of(task.scenario)
        if known and known[-1] == now:
            return with_versions(task, known)
        if known:
            _refuse(known, now)
        if append(blobs, known, now, etag):
            return with_versions(task, [*known, now])
    raise StateConflict(f"{shapes.CONTAINER}/{shapes.NAME} changed {TRIES} times while it was to be changed")


def migrate(scenario: Scenario, blobs: Blobs, *, dry_run: bool) -> list[Change]:
    """Let a store go on under a scenario, keeping what still means the same; returns what changes.

    Workers take it over with their next commits; those with the scenario of before stop there.

    Args:
        scenario: What the file says.
        blobs: The store.
        dry_run: Whether only to say what would change.

    Raises:
        ConfigError: The store has no scenario yet, or a change that needs another store; nothing was changed.
        StateConflict: Somebody else changed the scenario meanwhile.
    """
    (known, etag), now = stored(blobs), shapes.shape_of(scenario)
    if not known:
        raise ConfigError(f"scenario {scenario.name!r}: the store has none yet; it begins when the app first starts")
    found = changes(known, now)
    wrong = [change for change in found if change.effect == "needs another store"]
    if wrong:
        raise ConfigError(f"scenario {scenario.name!r}: these cannot be migrated:\n{_listed(wrong)}\n{ANOTHER_STORE}")
    if found and not dry_run and not append(blobs, known, now, etag):
        raise StateConflict(f"{shapes.CONTAINER}/{shapes.NAME} was changed by somebody else, nothing was done")
    return found


def recorded(task: Task, blobs: Blobs) -> Task:
    """The task as the store's scenario has it, with the versions before; for whoever only reads."""
    known, _ = stored(blobs)
    if known and known[-1] != shapes.shape_of(task.scenario):
        task = task.under(shapes.as_was(task.scenario, known[-1]), None)
    return with_versions(task, known)


def stored(blobs: Blobs) -> tuple[list[Shape], str | None]:
    """The versions that the store's scenario has had, oldest first, none in a new store, and their blob's ETag.

    Raises:
        ContractBroken: The document is damaged.
    """
    found = blobs.read_changed(shapes.CONTAINER, shapes.NAME, None)
    return ([], None) if found is None else (shapes.decode(found[0]), found[1])


def append(blobs: Blobs, known: Sequence[Shape], now: Shape, etag: str | None) -> bool:
    """Add a version; False when somebody else was faster."""
    try:
        blobs.replace(shapes.CONTAINER, shapes.NAME, shapes.encode([*known, now]), etag)
    except StateConflict:
        return False
    log.info("scenario %s: version %d begins", now.name, len(known))
    return True


def with_versions(task: Task, known: Sequence[Shape]) -> Task:
    """The task, with itself under the versions before."""
    before: Task | None = None
    for shape in known[:-1]:
        before = task.under(shapes.as_was(task.scenario, shape), before)
    return task if before is None else task.under(task.scenario, before)


def _refuse(known: Sequence[Shape], now: Shape) -> None:
    """Refuse a shape that is not taken over; also one of before, which an older app would bring back."""
    found = changes(known, now)
    if now in known:
        raise ConfigError(
            f"scenario {now.name!r}: this is version {known.index(now)} of it, the store went on to version "
            f"{len(known) - 1}:\n{_listed(found)}\ndeploy the app with the newer scenario; to go back, "
            "`python -m local migrate`"
        )
    wrong = [change for change in found if change.effect != "taken over"]
    if wrong:
        raise ConfigError(
            f"scenario {now.name!r}: what is stored cannot follow {len(wrong)} edit(s) by itself:\n{_listed(wrong)}\n"
            f"{WAYS_OUT}"
        )


def _listed(found: Sequence[Change]) -> str:
    return "\n".join(f"  {change} ({change.effect})" for change in found)


def _check_unrecorded(task: Task, blobs: BlobReader, columns: Columns) -> None:
    """Refuse a store of an app that recorded no versions, if what it holds was made under another scenario."""
    differing = _differing_rules(task, blobs)
    if differing is None:
        names = blobs.names("commits")
        there = columns(blobs.read("commits", names[-1]) or b"") if names else names_of(task.row)
        differing = sorted(set(there) ^ set(names_of(task.row))) or [""] * (list(there) != list(names_of(task.row)))
    if differing:
        raise ConfigError(
            f"scenario {task.scenario.name!r}: the store was begun under another scenario, without a record of it; "
            f"different: {', '.join(differing)}. Deploy this app with the scenario as it was, so that it is recorded, "
            "and edit it then; nothing in the store was changed"
        )


def _differing_rules(task: Task, blobs: BlobReader) -> list[str] | None:
    """Rules of the newest snapshot that differ, bins left out; None without a snapshot that can be read."""
    for name in reversed(blobs.names("state")):
        try:
            task.restore(blobs.read("state", name) or b"")
        except OtherScenario as error:
            name_differs = [f"name {error.scenario}"] if error.scenario != task.scenario.name else []
            return name_differs + sorted(set(_plain(error.rules)) ^ set(_plain(task.rules)))
        except ContractBroken as error:
            log.warning("state/%s is not used: %s", name, error)
        else:
            return []
    return None


def _plain(rules: Sequence[str]) -> list[str]:
    return [rule for rule in rules if " bins from " not in rule and not rule.startswith("quantum ")]
