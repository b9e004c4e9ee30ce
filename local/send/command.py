"""`python -m local send`: a fleet streams to a hub, with faults on demand and a record of what must become of them."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from local.fleet.__main__ import START
from local.send import sources
from local.send.arguments import SHARES
from local.send.faults import Faults
from local.send.plan import Plan
from local.send.record import ACCEPTED, Record
from local.send.sources import Source
from local.send.stream import HUB, OnProgress, Pace, stream
from local.send.wire import Sender
from local.stack import scenario as stack_scenario
from local.stack import state
from local.stack.process import StackError, on_end
from shared.core.scenario import Scenario

DEVICES, HOURS = 10, 168
INTERRUPTED = 130


def run(given: argparse.Namespace) -> int:
    """The command; 130 when it was stopped."""
    console = Console(highlight=False)
    connection, hub, scenario = _where(given)
    faults, pace = wishes(given)
    with console.status("making the fleet" if given.data is None else f"reading {given.data.name}"):
        source = _source(given, scenario)
    plan = Plan(source, faults, given.seed, scenario)
    with _opened(given.record) as out, _interruptible() as stop:
        try:
            with Sender(connection, hub) as sender, _live(console, source) as show:
                stream(plan, sender, pace=pace, on_progress=show, stop=stop)
        finally:
            if out is not None:
                out.writelines(f"{line}\n" for line in plan.record.lines())
            if plan.record.messages:
                conclude(console, plan.record, given.record)
    return INTERRUPTED if stop.is_set() else 0


def _where(given: argparse.Namespace) -> tuple[str, str | None, Scenario]:
    """The namespace and hub to send to, and what is sent."""
    if given.connection is not None:
        return given.connection, given.hub, stack_scenario.chosen()
    running = state.read(given.root)
    if running is None or not running.get("eventhub"):
        raise StackError("no stack is running: start one with `make up` in another terminal, or give --connection")
    return str(running["eventhub"]), given.hub or HUB, stack_scenario.of_stack(running)


def wishes(given: argparse.Namespace) -> tuple[Faults, Pace]:
    """Faults and pace that are asked for.

    Raises:
        StackError: There are none such.
    """
    for name in ("speed", "rate"):
        if getattr(given, name) is not None and not getattr(given, name) > 0:
            raise StackError(f"--{name} {getattr(given, name):g} is not above 0")
    if given.data is not None and (given.devices, given.hours, given.start) != (None, None, None):
        raise StackError("--devices, --hours and --start are for the generator, not for --data")
    try:
        usual = {name: share if given.data is None else 0.0 for name, (share, _) in SHARES.items()}
        shares = {name: usual[name] if getattr(given, name) is None else getattr(given, name) for name in SHARES}
        return Faults(**shares, backlog_h=given.backlog), Pace(given.speed, given.rate)
    except ValueError as error:
        raise StackError(str(error)) from error


def _source(given: argparse.Namespace, scenario: Scenario) -> Source:
    if given.data is not None:
        if not given.data.is_file():
            raise StackError(f"--data {given.data}: there is no such file")
        return sources.file(given.data, scenario, given.zone)
    try:
        start = START if given.start is None else datetime.fromisoformat(given.start.strip())
        devices, hours = given.devices or DEVICES, given.hours or HOURS
        channels = sources.made_up(scenario)
        return sources.fleet(devices, hours, seed=given.seed, start=start, channels=channels)
    except (ValueError, OverflowError) as error:
        raise StackError(str(error)) from error


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        out = path.open("w", encoding="utf-8")
    except OSError as error:
        raise StackError(f"--record {path}: {error.strerror}") from error
    with out:
        yield out


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the run after the message at hand; a second Ctrl-C ends it at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with on_end(handle):
        yield stop


@contextmanager
def _live(console: Console, source: Source) -> Iterator[OnProgress]:
    """A line that shows how far it is."""
    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"sending {source.name}", total=source.total)

        def show(record: Record) -> None:
            moment = datetime.fromtimestamp(record.minute * 60, timezone.utc)
            faults = sum(record.injected.values())
            line = f"{record.sent:,} sent, {record.rate:,.0f}/s, {faults:,} faults, {moment:%Y-%m-%d %H:%M}Z"
            progress.update(task, completed=record.sent, description=line)

        yield show


def conclude(console: Console, record: Record, path: Path | None) -> None:
    """What was sent, and what must become of it."""

    def line(what: str, counts: Mapping[str, int]) -> None:
        found = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        console.print(f"{what:9} {found or 'nothing'}", markup=False, soft_wrap=True)

    end = "" if record.sent == record.messages else f"; {record.messages - record.sent:,} more were not acknowledged"
    console.print(f"{'sent':9} {record.sent:,} messages of {record.source}{end}", markup=False, soft_wrap=True)
    console.print(f"{'':9} {record.seconds:.1f} s, {record.rate:,.0f} a second", markup=False)
    if record.unsent:
        console.print(f"{'':9} stopped: {record.unsent:,} readings were still held back", markup=False)
    if record.left_out:
        line("left out", record.left_out)
    line("faults", dict(sorted(record.injected.items())))
    if not record.sent:  # what the hub has not taken cannot become anything
        return
    line("expected", {outcome: record.outcomes[outcome] for outcome in ACCEPTED})
    line("rejected", record.rejected)
    if path is not None:
        console.print(f"{'record':9} {path}", markup=False, soft_wrap=True)
