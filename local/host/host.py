"""The host: a listener for each function that needs one, and the HTTP server, on one event loop."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError

from local.host.blobs.listener import BlobListener
from local.host.blobs.options import BlobOptions
from local.host.eventhub.listener import EventHubListener
from local.host.eventhub.partitions import EventHubOptions
from local.host.functions import Declared, HostError, declare
from local.host.http.server import Server
from local.host.invoke import Invoker
from local.host.timers import TimerListener
from local.host.worker.worker import Worker
from shared.adapters.stores.azure_errors import brief

GRACE_S = 20.0
log = logging.getLogger("host")


class Host:
    """The listeners of an app and the HTTP server, on one event loop.

    Args:
        worker: Has indexed the app and runs its functions.
        settings: App settings (the environment).
        host_json: The app's host.json.
        balance_s: Seconds between two looks at who owns which partition.
        expiry_s: Seconds after which what a crashed host held is free.
        poll_s: Seconds between two listings of a watched container.

    Raises:
        HostError: Two functions have one name.
    """

    def __init__(
        self,
        worker: Worker,
        settings: Mapping[str, str],
        host_json: Mapping[str, Any],
        *,
        balance_s: float = 1.0,
        expiry_s: float = 6.0,
        poll_s: float = 0.5,
    ) -> None:
        self._functions = declare(worker.functions)
        self._invoker = Invoker(self._functions, worker)
        self._events = EventHubOptions.from_host_json(host_json, balance_s=balance_s, expiry_s=expiry_s)
        self._blobs = BlobOptions.from_host_json(host_json, poll_s=poll_s, expiry_s=expiry_s)
        self._settings = settings
        self._listeners: dict[str, EventHubListener | BlobListener | TimerListener] = {}
        prefix = host_json.get("extensions", {}).get("http", {}).get("routePrefix", "api")
        self._server = Server(self._functions, self._listeners, self._invoker, prefix=prefix)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.broken = asyncio.Event()

    async def start(self, port: int) -> int:
        """Start the server, then the listeners; the port.

        Raises:
            OSError: The port cannot be had.
        """
        port = await self._server.start(port)
        for function in self._functions:
            self._start_listener(function)
        return port

    async def stop(self, grace_s: float = GRACE_S) -> bool:
        """Take nothing new, let executions end, write checkpoints; whether all executions ended in time."""
        self._stopping = True
        ended = await asyncio.gather(*(each.stop(grace_s) for each in self._listeners.values()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop(grace_s)
        self._invoker.close()
        return all(ended) and not self._invoker.running()

    def _start_listener(self, function: Declared) -> None:
        """A listener that cannot start is told and shown; the other functions run, as in Azure."""
        tally = self._invoker.tallies[function.name]
        if self._settings.get(f"AzureWebJobs.{function.name}.Disabled", "").lower() in ("1", "true"):
            tally.listener = "disabled"
            return
        try:
            listener = self._listener(function)
        except (HostError, ValueError) as error:
            log.warning("%s: its listener cannot start: %s", function.name, error)
            tally.listener = f"cannot start: {error}"
            return
        if listener is not None:
            self._listeners[function.name] = listener
            self._tasks.append(asyncio.create_task(self._supervise(function.name, listener)))

    def _listener(self, function: Declared) -> EventHubListener | BlobListener | TimerListener | None:
        if function.missing is not None:
            raise HostError(function.missing)
        if function.kind == "eventHubTrigger":
            return EventHubListener(function, self._invoker, self._events, self._settings)
        if function.kind == "blobTrigger":
            return BlobListener(function, self._invoker, self._blobs, self._settings)
        if function.kind == "timerTrigger":
            return TimerListener(function, self._invoker, self._settings)
        return None

    async def _supervise(self, name: str, listener: EventHubListener | BlobListener | TimerListener) -> None:
        """Start a listener again when storage was not there yet; any other error is a bug and ends the host."""
        while True:
            try:
                return await listener.run()
            except (AzureError, OSError) as error:
                log.warning("%s: listener will start again: %s", name, brief(error))
            except Exception:
                if self._stopping:  # it was still starting, and its clients are closed now
                    return None
                log.exception("%s: listener ended by a bug of the local host", name)
                self.broken.set()
                raise
            await asyncio.sleep(1.0)
