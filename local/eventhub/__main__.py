"""A stand-in for Event Hubs on one machine: the real client, the real protocol, our broker.

`python -m local.eventhub --port N --hub telemetry:4 --hub readings:4 --data DIR` serves the unmodified azure-eventhub
client with the connection string `Endpoint=sb://localhost:N;SharedAccessKeyName=any;SharedAccessKey=any;
UseDevelopmentEmulator=true;EntityPath=telemetry`. There is no TLS and every key is good: it listens on loopback.
"""

import argparse
import asyncio
import logging
import re
import sys
from functools import partial
from pathlib import Path

from local.eventhub.broker import Broker
from local.eventhub.protocol.connection import Connection
from shared.adapters.processes import SYSTEM
from shared.errors import PipelineError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
MAX_PARTITIONS = 1024
STOP_S = 2.0  # how long clients may take to read the last bytes


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    parser = _parser()
    options = parser.parse_args(arguments)
    if len({name.lower() for name, _ in options.hub}) < len(options.hub):
        parser.error("two hubs have the same name")
    try:
        return asyncio.run(_serve(options))
    except (PipelineError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.eventhub", description="Serve event hubs on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=5672, help="0 takes a free one (default: 5672)")
    parser.add_argument("--hub", action="append", required=True, type=_hub, metavar="NAME:PARTITIONS")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="consumer group beside $Default")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="where the logs are kept")
    parser.add_argument("--retain-events", type=_positive, metavar="N", help="serve the newest N of a partition only")
    parser.add_argument("--fsync", action="store_true", help="acknowledge only what is on the disk")
    return parser


def _hub(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    if not _NAME.fullmatch(name) or not count.isascii() or not count.isdigit() or not 1 <= int(count) <= MAX_PARTITIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:PARTITIONS with 1 to {MAX_PARTITIONS} partitions")
    return name, int(count)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


async def _serve(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    SYSTEM.on_end(loop, stop.set)
    broker = Broker(
        dict(options.hub),
        options.data,
        loop.call_soon,
        groups=options.group,
        retain_events=options.retain_events,
        fsync=options.fsync,
    )
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(partial(_connect, broker, connections), options.host, options.port)
        port = server.sockets[0].getsockname()[1]
        hubs = ",".join(f"{name}:{count}" for name, count in options.hub)
        sys.stdout.write(f"ready port={port} hubs={hubs}\n")
        sys.stdout.flush()
        await stop.wait()
        server.close()
        broker.commit()
        for connection in list(connections):
            connection.shut_down()
        deadline = loop.time() + STOP_S
        while connections and loop.time() < deadline:  # closed transports hand over what they hold
            await asyncio.sleep(0.01)
    finally:
        broker.close()
    return 0


def _connect(broker: Broker, connections: set[Connection]) -> Connection:
    connection = Connection(broker, connections.discard)
    connections.add(connection)
    return connection


if __name__ == "__main__":
    sys.exit(main())
