"""A local stand-in for the Azure Functions host: runs the triggers that a function app declares, on this machine.

It is not the Functions host: it drives the same functions from the real clients, against Azurite and our Event Hubs
endpoint. What a worker does, it leaves to the vendor's own runtime from Python 3.13 on, and to an imitation below. Use
`func start` where Core Tools are available.
"""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from local.host.functions import HostError
from local.host.host import GRACE_S, Host
from local.host.settings import apply_settings, read_host_json
from local.host.worker.start import start
from shared.adapters.processes import SYSTEM

log = logging.getLogger("host")


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

    SYSTEM.on_end(loop, on_signal)
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
        host = Host(start(app_dir), os.environ, read_host_json(app_dir), **pace)
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
