"""Layouts in JSON documents: what their keys are called there, in the scenario's own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from shared.core.intake.columns import Columns, plain
from shared.core.scenario import FileLayout, Scenario


def document_names(scenario: Scenario, layouts: Iterable[FileLayout], names: Sequence[str]) -> dict[str, str]:
    """Keys that stand for something else under the first layout that has all it needs among them, and for what.

    A unit that the layout declares becomes part of the name. Layouts for files of certain names, of one value a row, of
    a column a station, or with a time or a device of several parts are none of documents.
    """
    written = {plain(name): name for name in names}
    for layout in layouts:
        if _is_for_documents(layout) and written.keys() >= set(map(plain, layout.needed)):
            called = {written[plain(name)]: scenario.key for name in layout.device}
            called |= {written[plain(name)]: _time(scenario, layout) for name in layout.time}
            return called | dict(_channels(scenario, layout, [name for name in names if name not in called]))
    return {}


def _is_for_documents(layout: FileLayout) -> bool:
    otherwise = layout.files or layout.parameter or layout.stations or layout.time_parts or layout.hour == "ending"
    otherwise = otherwise or (layout.date_order, layout.time_numbers) != ("ymd", "epoch")
    return bool(layout.needed) and not otherwise and len(layout.time) <= 1 and len(layout.device) <= 1


def _time(scenario: Scenario, layout: FileLayout) -> str:
    """A name of the time that declares the layout's zone, where a name can: UTC or an offset."""
    name = scenario.names.time[0]
    told = layout.zone is not None and (layout.zone == "UTC" or layout.zone.startswith(("+", "-")))
    return f"{name} ({layout.zone})" if told else name


def _channels(scenario: Scenario, layout: FileLayout, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    columns = Columns(scenario)
    units = {c: unit for word, unit in layout.units.items() for c in columns.layout([word]).channels}
    said: dict[int, str] = {}
    for pattern, word in layout.channels.items():
        for c in columns.layout([word]).channels:
            fitting = [name for name in names if fnmatchcase(plain(name), plain(pattern))]
            if fitting:
                said.setdefault(c, fitting[0])
    for c, name in said.items():
        yield name, _with_unit(scenario.channels[c].name, units.get(c))
    for name in names:
        found = columns.layout([name])
        for c in found.channels:
            if c not in said and c in units and found.units[c] is None:
                yield name, _with_unit(scenario.channels[c].name, units[c])


def _with_unit(name: str, unit: str | None) -> str:
    return name if unit is None else f"{name} ({unit})"
