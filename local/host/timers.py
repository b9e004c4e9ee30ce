"""Timer triggers: run by a schedule, with a note of the next run so that a missed one is made up as past due."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.blob.aio import BlobClient

from local.host.blobs.receipts import HOSTS_CONTAINER
from local.host.functions import Declared, connection, resolve
from local.host.invoke import Invoker
from local.host.retry import NO_RETRY, STORAGE
from local.host.schedule import schedule
from local.host.waiting import ended, happened
from local.host.worker.worker import InvocationFailed, Sent
from shared.adapters.stores.azure_errors import brief

log = logging.getLogger("host.timers")


class TimerListener:
    """Runs one function by its schedule; two hosts on one account run it twice (Azure holds a lease).

    Args:
        function: What to run, with a timer trigger.
        invoker: Runs it.
        settings: Where connections and `%NAMES%` are looked up.

    Raises:
        HostError: The schedule is none.
    """

    def __init__(self, function: Declared, invoker: Invoker, settings: Mapping[str, str]) -> None:
        self._function = function
        self._invoke = invoker
        self._retry = function.retry or NO_RETRY
        self._schedule = schedule(resolve(function.binding["schedule"], settings))
        if settings.get("WEBSITE_TIME_ZONE"):
            log.warning("%s: WEBSITE_TIME_ZONE does nothing on Linux plans that scale: it runs in UTC", function.name)
        self._note = BlobClient.from_connection_string(
            connection("AzureWebJobsStorage", settings),
            HOSTS_CONTAINER,
            f"timers/local/{function.name}/status",
            **STORAGE,
        )
        self.due: dt.datetime | None = None
        self._status: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Wait for each run and make it, until `stop`."""
        self._status = await self._read()
        now = dt.datetime.now(dt.timezone.utc)
        noted = dt.datetime.fromisoformat(self._status["Next"]) if "Next" in self._status else None
        due = self._schedule.after(now) if noted is None else self._schedule.resumed(now, noted)
        past_due = noted is not None and noted < now
        if past_due or self._function.binding.get("runOnStartup"):
            await self._fire(past_due=past_due)
            due = self._schedule.after(dt.datetime.now(dt.timezone.utc))
        while not self._stopping.is_set():
            await self._write(due)
            if await self._sleep_until(due):
                await self._fire(past_due=False)
            due = self._schedule.after(dt.datetime.now(dt.timezone.utc))

    async def stop(self, grace_s: float) -> bool:
        """Make no further run and let the running one end; whether it did in time."""
        self._stopping.set()
        in_time = await ended([self._running] if self._running is not None else [], grace_s)
        await self._note.close()
        return in_time

    async def _sleep_until(self, due: dt.datetime) -> bool:
        """Whether the time came (and not the stop)."""
        while (left_s := (due - dt.datetime.now(dt.timezone.utc)).total_seconds()) > 0:
            # at most a minute at a time: a laptop that slept has a clock that jumped
            if await happened(self._stopping, min(left_s, 60.0)):
                return False
        return not self._stopping.is_set()

    async def _fire(self, *, past_due: bool) -> None:
        self._running = asyncio.create_task(self._attempts(past_due))
        await asyncio.shield(self._running)
        self._status["Last"] = dt.datetime.now(dt.timezone.utc).isoformat()

    async def _attempts(self, past_due: bool) -> None:
        failures, last = 0, None
        while not self._stopping.is_set():
            try:
                await self._invoke(
                    self._function, lambda: request(past_due, self._status), failures=failures, last=last
                )
                return
            except InvocationFailed as failed:
                failures, last = failures + 1, failed
                log.warning("%s: attempt %d failed: %s", self._function.name, failures, failed)
                if not self._retry.allows(failures):
                    return
            await happened(self._stopping, self._retry.delay_s(failures))

    async def _read(self) -> dict[str, str]:
        try:
            found: Any = json.loads(await (await self._note.download_blob()).readall())
            return dict(found)
        except (ResourceNotFoundError, ValueError):
            return {}

    async def _write(self, due: dt.datetime) -> None:
        self.due = due
        now = dt.datetime.now(dt.timezone.utc).isoformat()
        self._status = {"Last": self._status.get("Last", ""), "Next": due.isoformat(), "LastUpdated": now}
        try:
            await self._note.upload_blob(json.dumps(self._status).encode(), overwrite=True)
        except (AzureError, OSError) as error:
            log.warning("%s: schedule not noted: %s", self._function.name, brief(error))


def request(past_due: bool, status: Mapping[str, str]) -> Sent:
    """What a timer sends to its function."""
    found = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": dict(status) or None, "IsPastDue": past_due}
    return Sent(Datum(json.dumps(found), "json"))
