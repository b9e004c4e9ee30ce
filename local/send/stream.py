"""A plan on its way to a hub: at which pace, who watches, and the record that stays whole whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from local.send.plan import Plan
from local.send.record import Record
from local.send.wire import Message
from shared.errors import PipelineError

HUB = "telemetry"
SHOW_S, PAUSE_S = 0.25, 0.05
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

    def due_s(self, number: int, minutes: float) -> float:
        """Seconds after the first at which a message is due: its number, and the event time since the first."""
        if self.rate is not None:
            return number / self.rate
        return minutes * 60 / self.speed if self.speed else 0.0


AT_ONCE = Pace()


class Outlet(Protocol):
    """Where messages go: `send_wire.Sender`, or a list."""

    @property
    def sent(self) -> int:
        """Messages acknowledged."""

    def put(self, message: Message) -> None:
        """Take one message."""

    def flush(self) -> None:
        """Return when all are acknowledged."""


def stream(
    plan: Plan,
    sender: Outlet,
    *,
    pace: Pace = AT_ONCE,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
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
    record, run = plan.record, _Run(sender, plan.record, on_progress, stop or threading.Event())
    first: float | None = None
    try:
        for message in plan:
            first = message.minute if first is None else first
            run.pause(pace.due_s(record.messages - 1, message.minute - first))
            sender.put(message)
            run.show(SHOW_S)
            if run.stop.is_set():
                break
        sender.flush()
    except PipelineError as error:
        record.problem = str(error)
        raise
    finally:
        record.unsent = plan.held_back
        run.show()
    return record


@dataclass(slots=True)
class _Run:
    """The clock of a run, and who wants to know."""

    sender: Outlet
    record: Record
    on_progress: OnProgress | None
    stop: threading.Event
    start: float = field(default_factory=time.monotonic)
    shown: float = 0.0
    before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.sender.sent

    def pause(self, due_s: float) -> None:
        """Wait until a message is due; what waits to be sent goes out before."""
        ahead = due_s - (time.monotonic() - self.start)
        if ahead <= PAUSE_S:
            return
        self.sender.flush()
        while ahead > 0 and not self.stop.wait(min(ahead, SHOW_S)):
            self.show(SHOW_S)
            ahead = due_s - (time.monotonic() - self.start)

    def show(self, every_s: float = 0.0) -> None:
        """Bring the record up to date and show it, unless that was done just now."""
        now = time.monotonic()
        if now - self.shown < every_s:
            return
        self.shown = now
        self.record.sent, self.record.seconds = self.sender.sent - self.before, now - self.start
        if self.on_progress is not None:
            self.on_progress(self.record)
