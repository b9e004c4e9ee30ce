"""A local stand-in for the Azure Functions host: runs the triggers that a function app declares, on this machine.

It is not the Functions host: it drives the same functions with the same azure-functions objects from the real clients,
against Azurite and our Event Hubs endpoint. Use `func start` where Core Tools are available.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError

from local.host.blobs.listener import BlobListener, BlobOptions
from local.host.eventhub.listener import EventHubListener
from local.host.eventhub.partitions import EventHubOptions
from local.host.functions import Declared, HostError, load_app
from local.host.http.server import Server
from local.host.invoke import Invoker
from local.host.timers import TimerListener

GRACE_S = 20.0
log = logging.getLogger("host")


class Host:
    """The listeners of an app and the HTTP server, on one event loop.

    Args:
        functions: The app's functions.
        settings: App settings (the environment).
        host_json: The app's host.json.
        balance_s: Seconds between two looks at who owns which partition.
        expiry_s: Seconds after which what a crashed host held is free.
        poll_s: Seconds between two listings of a watched container.
    """

    def __init__(
        self,
        functions: list[Declared],
        settings: Mapping[str, str],
        host_json: Mapping[str, Any],
        *,
        balance_s: float = 1.0,
        expiry_s: float = 6.0,
        poll_s: float = 0.5,
    ) -> None:
        self._invoker = Invoker(functions)
        self._events = EventHubOptions.from_host_json(host_json, balance_s=balance_s, expiry_s=expiry_s)
        self._blobs = BlobOptions.from_host_json(host_json, poll_s=poll_s, expiry_s=expiry_s)
        self._settings = settings
        self._listeners: dict[str, EventHubListener | BlobListener | TimerListener] = {}
        self._functions = functions
        prefix = host_json.get("extensions", {}).get("http", {}).get("routePrefix", "api")
        self._server = Server(functions, self._listeners, self._invoker, prefix=prefix)
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
                log.warning("%s: listener will start again: %s", name, type(error).__name__)
            except Exception:
                if self._stopping:  # it was still starting, and its clients are closed now
                    return None
                log.exception("%s: listener ended by a bug of the local host", name)
                self.broken.set()
                raise
            await asyncio.sleep(1.0)


def apply_settings(path: Path, environment: dict[str, str]) -> None:
    """Put the Values of a local.settings.json into the environment; what is set there already stays, as in Core Tools.

    Raises:
        HostError: The file cannot be read or is not of that form.
    """
    try:
        values = json.loads(path.read_text("utf-8")).get("Values", {})
    except (OSError, ValueError, AttributeError) as error:
        raise HostError(f"{path} is not a settings file: {error}") from error
    for name, value in values.items():
        if not isinstance(value, str):
            raise HostError(f"{path}: the value of {name} is not a string")
        if environment.setdefault(name, value) != value:
            log.info("%s is set in the environment, which wins over %s", name, path.name)


def read_host_json(app_dir: Path) -> dict[str, Any]:
    """The app's host.json, empty when there is none.

    Raises:
        HostError: It is not JSON.
    """
    path = app_dir / "host.json"
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from error
    return found


async def serve(host: Host, port: int) -> int:
    """Run until SIGTERM, Ctrl-C or a bug of ours; the exit code.

    Raises:
        HostError: The port cannot be had.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)  # the second Ctrl-C does not wait for anything
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        port = await host.start(port)
    except OSError as error:
        await host.stop(0.0)
        raise HostError(f"port {port} cannot be had: {error.strerror}") from error
    print(f"ready port={port}", flush=True)  # noqa: T201 - the parent process waits for this line
    waits = [asyncio.create_task(event.wait()) for event in (stop, host.broken)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: running functions may end within %.0f s", GRACE_S)
    ended = await host.stop()
    for task in waits:
        task.cancel()
    if not ended:
        log.error("a function did not end within %.0f s; leaving without it", GRACE_S)
    return 0 if ended and not host.broken.is_set() else 1


def run(app_dir: Path, settings: Path, *, port: int = 7071, **pace: float) -> int:
    """Run an app until it is told to stop; the exit code.

    Args:
        app_dir: Directory of function_app.py and host.json; becomes the working directory.
        settings: File in the form of local.settings.json.
        port: HTTP port on loopback, 0 for any.
        pace: `balance_s`, `expiry_s`, `poll_s` of `Host`.
    """
    try:
        environment = dict(os.environ)
        apply_settings(settings, environment)
        os.environ.update(environment)
        os.chdir(app_dir)
        functions = load_app(app_dir)
        host = Host(functions, os.environ, read_host_json(app_dir), **pace)
        code = asyncio.run(serve(host, port))
    except HostError as error:
        print(f"host: {error}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return 2
    if code:
        logging.shutdown()
        os._exit(code)  # the thread of a function that does not end would hold up a normal exit
    return code


def main(arguments: list[str] | None = None) -> int:
    """Command line of `python -m local.host`."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--app-dir", type=Path, default=Path())
    parser.add_argument("--settings", type=Path, default=Path("local.settings.json"))
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--balance-seconds", type=float, default=1.0, help="between two looks at partition owners")
    parser.add_argument("--expiry-seconds", type=float, default=6.0, help="until what a crashed host held is free")
    parser.add_argument("--poll-seconds", type=float, default=0.5, help="between two listings of a watched container")
    given = parser.parse_args(arguments)
    configure_logging(given.log_level)
    pace = {"balance_s": given.balance_seconds, "expiry_s": given.expiry_seconds, "poll_s": given.poll_seconds}
    return run(given.app_dir.resolve(), given.settings.resolve(), port=given.port, **pace)


def configure_logging(level: str) -> None:
    """Concise lines on standard error; the SDKs speak only when they fail."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname).1s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("azure", "aiohttp", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
