"""`python -m local check FILE`: how a file would be read, before anything is dropped; no stack is needed."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from rich.console import Console

from local.inspect.console import new_console
from local.stack import scenario as scenarios
from local.stack.process import StackError
from shared.adapters.tables.open import open_table
from shared.core.intake.readings import Parsed, Rejection
from shared.core.intake.tables import LongTable
from shared.core.intake.times.skipped import NONE, Skipped, together
from shared.core.intake.values.dropped import ChannelValues, joined, warnings
from shared.core.intake.values.quantities import REASON
from shared.core.scenario import Scenario
from shared.errors import BadEvent

FIRST, EXAMPLES = 5, 3
ADVICE = "docs/layouts.md says what [[layouts]] in the scenario can say of a file"


@dataclass(slots=True)
class Seen:
    """What was seen of a file."""

    accepted: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Rejection]] = field(default_factory=dict)
    values: dict[str, ChannelValues] = field(default_factory=dict)
    skipped: Skipped = NONE

    def add(self, parsed: Parsed, rows: list[dict[str, Any]], channels: Sequence[str]) -> None:
        """Count a stretch."""
        self.accepted += len(parsed.readings)
        self.values = joined([self.values, parsed.values(channels)])
        self.skipped = together([self.skipped, parsed.skipped])
        self.first += [row for row in rows if row["rejected"] is None][: FIRST - len(self.first)]
        for rejection in parsed.rejected:
            self.rejected[rejection.reason] += 1
            known = self.examples.setdefault(rejection.reason, [])
            if len(known) < EXAMPLES:
                known.append(rejection)


def check(given: argparse.Namespace) -> int:
    """Read a file and say how; 1 when it has rows and none of them would be accepted."""
    scenario, console, seen = scenarios.chosen(), new_console(), Seen()
    if not given.file.is_file():
        raise StackError(f"{given.file}: there is no such file")
    with given.file.open("rb") as stream:
        try:
            table = open_table(
                given.file.name,
                stream,
                scenario,
                zone=given.zone,
                not_after_minute=int(time.time() // 60),
                device=given.device,
            )
            if not isinstance(table, LongTable):
                raise StackError(f"{given.file.name} is a wide file: each row is a window, answered when it is dropped")
            for parsed in table:
                rows = list(_rows(parsed, table, scenario)) if given.json or len(seen.first) < FIRST else []
                seen.add(parsed, rows, scenario.channel_names)
                for row in rows if given.json else ():
                    print(json.dumps(row))  # noqa: T201 - for a machine
        except BadEvent as error:
            raise StackError(f"{given.file.name} would be refused, {error}; {ADVICE}") from error
    if not given.json:
        _show(console, table, seen, scenario)
    return 0 if seen.accepted or _empty(table, seen) else 1


def _empty(table: LongTable, seen: Seen) -> bool:
    """Whether a whole file holds no rows, as a capture of an hour without messages."""
    return not seen.accepted and not seen.rejected and table.problem is None


def _rows(parsed: Parsed, table: LongTable, scenario: Scenario) -> Iterator[dict[str, Any]]:
    """A stretch's rows, in the order of the file."""
    held = {name for name in scenario.channel_names if name in table.meaning.values()}
    readings, form = parsed.readings, f"%Y-%m-%dT%H:%M{':%S' * scenario.cadence.fine}Z"
    found = {rejection.position: _rejected(rejection, table.per_row) for rejection in parsed.rejected}
    for i, position in enumerate(readings.position.tolist()):
        values = {
            name: float(str(value))
            for name, value in zip(scenario.channel_names, readings.values[i], strict=True)
            if not np.isnan(value)
        }
        found[position] = {
            "row": position // table.per_row,
            "device": readings.devices[readings.device[i]],
            "time": datetime.fromtimestamp(int(readings.minute[i]) * scenario.resolution_s, timezone.utc).strftime(
                form
            ),
            "values": values,
            "missing": {
                name: why
                for c, name in enumerate(scenario.channel_names)
                if name not in values and (why := _why_missing(parsed, i, c, held=name in held))
            },
            "rejected": None,
        }
    yield from (found[position] for position in sorted(found))


def _why_missing(parsed: Parsed, i: int, c: int, *, held: bool) -> str | None:
    """Why a reading has no value of a channel, None where the file has no such column."""
    fault = 0 if parsed.faults is None else int(parsed.faults[i, c])
    return REASON.get(fault, "no value" if held else None)


def _rejected(rejection: Rejection, per_row: int) -> dict[str, Any]:
    why = {"reason": rejection.reason, "detail": rejection.detail}
    row = rejection.position // per_row
    return {"row": row, "device": None, "time": None, "values": {}, "missing": {}, "rejected": why}


def _show(console: Console, table: LongTable, seen: Seen, scenario: Scenario) -> None:
    if _empty(table, seen):
        console.print("there is nothing in it: no rows")
        return
    for line in (*_columns(table, seen, scenario), *_what_was_seen(table, seen)):
        console.print(line, markup=False, soft_wrap=True, highlight=False)


def _columns(table: LongTable, seen: Seen, scenario: Scenario) -> Iterator[str]:
    """Which layout was chosen and why, what columns mean, and which are not used."""
    yield f"layout: {table.layout or 'none, a plain table'}" + (f" ({table.why})" if table.why else "")
    own = {channel.name: f", in {channel.unit}" for channel in scenario.channels if channel.name not in table.converted}
    yield from (f"  {name!a} is the {meaning}{own.get(meaning, '')}" for name, meaning in table.meaning.items())
    if table.device is not None:
        yield f"  device of all rows: {table.device!a}"
    yield from (f"  {name} comes in {unit!a}, converted" for name, unit in table.converted.items())
    if table.ignored:
        yield f"not used: {', '.join(f'{name!a}' for name in table.ignored[:20])}"
        yield "  to use one, write its name into the aliases of a channel, or into channels of a layout"
    if scenario.target not in {*table.meaning.values(), *(name for row in seen.first for name in row["values"])}:
        yield f"the first rows hold nothing of the target, {scenario.target}"


def _what_was_seen(table: LongTable, seen: Seen) -> Iterator[str]:
    """The first rows, and what was rejected with examples."""
    yield f"{seen.accepted:,} readings would be accepted, {seen.rejected.total():,} rows rejected"
    for row in seen.first:
        values = ", ".join(f"{name} {value:g}" for name, value in row["values"].items())
        yield f"  row {row['row']}: {row['device']!a} {row['time']} {values}"
    yield from (*warnings(seen.values, 0.0), *seen.skipped.warnings)
    for reason, count in seen.rejected.most_common():
        yield f"{count:,} {reason}"
        yield from (f"  row {each.position // table.per_row}: {each.detail}" for each in seen.examples[reason])
    if table.problem is not None:
        yield f"the file ends early: {table.problem}"
    if not seen.accepted:
        yield f"no row would be accepted; {ADVICE}"
