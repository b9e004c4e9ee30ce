"""`python -m local send`: a fleet streams to a hub, with faults on demand and a record of what must become of them."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn

from local import send_sources, stack
from local.fleet import START
from local.send_faults import Faults, Plan
from local.send_record import Record
from local.send_sources import Source
from local.send_wire import Message, Sender
from local.stack_process import StackError
from local.workspace import FOLDER
from shared.adapters import scenario_files
from shared.core.scenario import Scenario
from shared.errors import PipelineError

HUB = "telemetry"
SHOW_S, PAUSE_S = 0.25, 0.05
SHARES = {
    "resend": (0.005, "sent again"),
    "conflict": (0.0, "sent again with another value"),
    "garbage": (0.002, "followed by a message that nobody can use"),
    "late": (0.01, "delivered when the lateness is over"),
    "reorder": (0.01, "delivered hours late, within the lateness"),
    "skew": (0.0, "of devices: clock ahead for a while"),
    "stuck": (0.0, "of devices: sensor frozen for a while"),
}
OnProgress = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast; without either as fast as the hub takes it.

    Args:
        speed: Event time passes this many times faster than ours.
        rate: Messages per second.
    """

    speed: float | None = None
    rate: float | None = None

    def due_s(self, number: int, minutes: int) -> float:
        """Seconds after the first at which a message is due: its number, and the event time since the first."""
        if self.rate is not None:
            return number / self.rate
        return minutes * 60 / self.speed if self.speed else 0.0


AT_ONCE = Pace()


def stream(
    plan: Plan, sender: Sender, pace: Pace = AT_ONCE, on_progress: OnProgress | None = None, stop: threading.Event | None = None
) -> Record:
    """Send a plan's messages; the record is whole even when this is stopped or fails.

    Args:
        plan: What to send.
        sender: Where to.
        pace: How fast.
        on_progress: Called some times a second from this thread.
        stop: Ends it after the message at hand.

    Raises:
        TransientFailure: The hub does not answer; the record says so too.
    """
    record, stop = plan.record, stop or threading.Event()
    start = shown = time.monotonic()
    first: int | None = None
    try:
        for message in plan:
            first = message.minute if first is None else first
            ahead = pace.due_s(record.messages - 1, message.minute - first) - (time.monotonic() - start)
            if ahead > PAUSE_S:
                sender.flush()
                _wait(ahead, stop, lambda: _tell(record, sender, start, on_progress))
            sender.put(message)
            now = time.monotonic()
            if now - shown > SHOW_S:
                shown = now
                _tell(record, sender, start, on_progress)
            if stop.is_set():
                break
        sender.flush()
    except PipelineError as error:
        record.problem = str(error)
        raise
    finally:
        record.unsent = plan.held_back
        _tell(record, sender, start, on_progress)
    return record
