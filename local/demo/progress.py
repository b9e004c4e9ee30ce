"""The stream as it runs: how fast, how far behind, how good so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from local.eventhub import event_log
from local.send.record import Record
from local.stack.process import StackError
from local.stack.running import get
from local.stack.stack import Stack
from local.stack.workspace import DEVICES, READINGS, Workspace

POLL_S = 0.25
PATIENCE_S = 120.0


@dataclass
class Progress:
    """Shows a running stream and waits until all of it has been committed.

    Args:
        console: Where it is shown.
        space: The stack's stores.
        stack: Its processes, watched too.
        quiet: Whether nothing is shown.
        ends: Where the hubs' logs ended when last looked at.
    """

    console: Console
    space: Workspace
    stack: Stack
    record: Record | None = None
    quiet: bool = False
    ends: dict[Path, event_log.Place] = field(default_factory=dict)

    def during(self, work: Callable[[Callable[[Record], None]], Record]) -> Record:
        """Do the sending in a thread and show what goes on until everything sent is committed.

        Args:
            work: Sends; gets a function to report its progress to.

        Raises:
            StackError: A process died, or nothing moved for two minutes.
        """
        problems: list[BaseException] = []

        def send() -> None:
            try:
                self.record = work(self._note)
            except BaseException as error:  # noqa: BLE001 - raised again in the watching thread
                problems.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        with Live(
            console=self.console, refresh_per_second=4, transient=self.quiet, auto_refresh=not self.quiet
        ) as live:
            while sender.is_alive():
                live.update(self._table(self._health()))
                self.stack.check()
                sender.join(POLL_S)
            if problems:
                raise problems[0]
            self._settle(live)
        if not self.console.is_terminal and not self.quiet:
            self.console.print()  # which a live view without a terminal does not end its line with
        if self.record is None:
            raise StackError("nothing was sent")
        return self.record

    def _note(self, record: Record) -> None:
        self.record = record

    def _settle(self, live: Live) -> None:
        """Wait until the routes and partitions have passed the ends of their hubs."""
        before, moved = "", time.monotonic()
        while True:
            health = self._health()
            live.update(self._table(health))
            self.stack.check()
            if self._done(health):
                return
            now = str((health.get("partitions"), health.get("routes")))
            if now != before:
                before, moved = now, time.monotonic()
            if time.monotonic() - moved > PATIENCE_S:
                raise StackError(f"nothing moved for {PATIENCE_S:.0f} s; see {self.stack.root / 'logs'}")
            time.sleep(POLL_S)

    def _done(self, health: dict[str, Any]) -> bool:
        """Routes first: what they still hold would become readings."""
        return self._passed(DEVICES, health.get("routes", {})) and self._passed(READINGS, health.get("partitions", {}))

    def _passed(self, hub: str, places: dict[str, Any]) -> bool:
        info = event_log.hub_info(self.space.logs, hub)
        for number in range(info.partitions if info else 0):
            path = event_log.log_path(self.space.logs, hub, number)
            self.ends[path] = event_log.end_of(path, self.ends.get(path, event_log.START))
            if places.get(str(number), {}).get("next", 0) < self.ends[path].sequence:
                return False
        return True

    def _health(self) -> dict[str, Any]:
        return get(f"{self.space.host_url}/api/health")

    def _table(self, health: dict[str, Any]) -> Table:
        routes = health.get("routes", {}).values()
        routed = sum(route.get("messages", 0) for route in routes)
        rejected = sum(sum(route.get("rejected", {}).values()) for route in routes)
        partitions = health.get("partitions", {}).values()
        sent = self.record.sent if self.record else 0
        quality = health.get("quality", {})
        table = Table("sent", "events/s", "routed", "forecasts", "error so far", "rejected", box=None)
        table.add_row(
            f"{sent:,}",
            f"{self.record.rate:,.0f}" if self.record else "",
            f"{routed:,}",
            f"{sum(found['forecasts'] for found in partitions):,}",
            f"MAE {quality['mae']:.2f}" if "mae" in quality else "not yet known",
            f"{rejected:,}",
        )
        return table
