"""Layouts of JSON objects: dotted paths reach into nested ones, `data.pm2_5.value` into {"data": {"pm2_5": {...}}}."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from shared.core.intake.columns import plain
from shared.core.intake.layouts.builtin import BUILTIN
from shared.core.intake.layouts.plans import Plan, device_in, fits, matches, planned
from shared.core.scenario import FileLayout, Scenario
from shared.errors import BadEvent

MOST_PATHS, LONGEST_PATH = 1000, 200


def flat(value: dict[str, object]) -> dict[str, object]:
    """Entries of an object and of the objects in it, by path; a key with dots goes before a path that reads the same.

    Raises:
        BadEvent: `too_large`.

    >>> flat({"a": {"b": 1, "c": {"d": 2}}, "a.b": 3})
    {'a.b': 3, 'a.c.d': 2}
    """
    found = {name: entry for name, entry in value.items() if not _holds(entry)}
    level = [(name, entry) for name, entry in value.items() if _holds(entry)]
    while level:
        entries = [(path, inner) for outer, entry in level for path, inner in _inside(outer, entry)]
        for path, inner in entries:
            if not _holds(inner):
                found.setdefault(path, inner)
        level = [(path, inner) for path, inner in entries if _holds(inner)]
        if len(found) + len(level) > MOST_PATHS:
            raise BadEvent("too_large", f"more than {MOST_PATHS} keys, those of nested objects counted")
    return found


def _holds(value: object) -> bool:
    return type(value) is dict and bool(value)


def _inside(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Entries of an object by their path; one that is longer than any name is nobody's."""
    if isinstance(value, dict) and len(path) < LONGEST_PATH:
        for name, inner in islice(value.items(), MOST_PATHS + 1):
            if len(path) + len(name) < LONGEST_PATH:
                yield f"{path}.{name}", inner


@dataclass(frozen=True, slots=True)
class Objects:
    """Where objects come from, and which layouts they may have.

    Args:
        scenario: Names the channels.
        layouts: Those that they may have, and the device that the file's name tells under each.
        device: Told for all that name none.
        zone: Told for their times; stronger than a layout's.
        live: They are messages of devices: only a layout that reaches into nested objects is one of theirs, so that
            what is said of files changes nothing of a message that was read without it.
    """

    scenario: Scenario
    layouts: Sequence[tuple[FileLayout, str | None]] = ()
    device: str | None = None
    zone: str | None = None
    live: bool = False

    @property
    def reaching(self) -> bool:
        """Whether any layout may reach into nested objects."""
        return any("." in name for layout, _ in self.layouts for name in (*layout.needed, *layout.channels))

    def plan(self, names: Sequence[str], own: Collection[str]) -> Plan | None:
        """How an object with these names is read, None where it has no layout.

        Args:
            names: Its keys, or paths.
            own: Its keys.

        Raises:
            BadEvent: `duplicate_header` or `unit`.
        """
        known = set(map(plain, names))
        deeper = [plain(name) for name in names if name not in own]
        for layout, device in self.layouts:
            if known.issuperset(map(plain, layout.needed)) and (not self.live or _reaches(layout, deeper)):
                return planned(self.scenario, layout, names, device, "its keys")
        return None


def _reaches(layout: FileLayout, deeper: Sequence[str]) -> bool:
    wanted = [plain(name) for name in (*layout.needed, *layout.channels)]
    return any(matches(pattern, name) for pattern in wanted for name in deeper)


def of_hub(scenario: Scenario) -> Objects:
    """Messages of devices."""
    layouts = tuple((layout, None) for layout in scenario.layouts if not layout.files and is_for_objects(layout))
    return Objects(scenario, layouts, live=True)


def of_file(
    scenario: Scenario, name: str, *, device: str | None = None, zone: str | None = None, only: str | None = None
) -> Objects:
    """Objects in a file.

    Args:
        scenario: Lists the layouts.
        name: Of the file, without folders.
        device: Told for the whole file.
        zone: Likewise.
        only: Name of the layout that they were read with before, perhaps a built-in one; what is no name chooses anew.
            They have what was read then, and perhaps no other name of its header.
    """
    before = [replace(layout, header=()) for layout in (*scenario.layouts, *BUILTIN) if layout.name == only][:1]
    found = []
    for layout in before or scenario.layouts:
        fitting = [pattern for pattern in layout.files if fits(pattern, name)]
        if is_for_objects(layout) and (before or fitting or not layout.files):
            told = next((told for pattern in fitting if (told := device_in(pattern, name))), None)
            found.append((layout, device or told))
    return Objects(scenario, tuple(found), device, zone)


def is_for_objects(layout: FileLayout) -> bool:
    """Whether an object alone can have the layout: it is none of one value a row, a column a station or no header."""
    return not (layout.parameter or layout.stations or layout.columns)


def is_for_tables(scenario: Scenario, name: str | None) -> bool:
    """Whether the layout of this name, perhaps a built-in one, is one that only a table can have."""
    named = [layout for layout in (*scenario.layouts, *BUILTIN) if layout.name == name]
    return bool(named) and not is_for_objects(named[0])
