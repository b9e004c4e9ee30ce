"""Arguments of `python -m local send`; light, so that `--help` need not wait for the clients."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SHARES = {
    "resend": (0.005, "share of readings sent again: duplicates"),
    "conflict": (0.0, "share of readings sent again with another value: conflicts"),
    "garbage": (0.002, "share of readings followed by a message that nobody can use: rejected, each with its reason"),
    "late": (0.01, "share of readings delivered when the lateness is over: stored late"),
    "reorder": (0.01, "share of readings delivered hours late, within the lateness: applied"),
    "skew": (0.0, "share of devices whose clock is ahead for a while: rejected as future"),
    "stuck": (0.0, "share of devices whose sensor is frozen for a while: applied"),
}


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its options."""
    send = commands.add_parser("send", help="stream a fleet or a file to a hub as devices do, with faults on demand")
    send.add_argument(
        "--data", type=Path, metavar="FILE", help="real readings, sent as they are (default: the built-in generator)"
    )
    send.add_argument("--zone", help="zone of timestamps without one in FILE")
    send.add_argument("--devices", type=int, metavar="N", help="devices of the generator (default: 10)")
    send.add_argument("--hours", type=int, metavar="H", help="hours of the generator (default: 168)")
    send.add_argument("--start", metavar="ISO", help="the generator's first hour (default: 2024-01-01T00:00Z)")
    pace = send.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=float, metavar="X", help="X times as fast as time (default: as fast as possible)")
    pace.add_argument("--rate", type=float, metavar="N", help="N messages per second")
    for name, (share, what) in SHARES.items():
        send.add_argument(f"--{name}", type=float, metavar="SHARE", help=f"{what} (default: {share:g}, 0 with --data)")
    send.add_argument(
        "--backlog",
        type=int,
        default=0,
        metavar="HOURS",
        help="each tenth device is silent for HOURS, then sends them all at once: applied",
    )
    send.add_argument("--seed", type=int, default=7, help="of the generator and the faults (default: 7)")
    send.add_argument("--connection", metavar="STRING", help="of a namespace (default: the running stack's endpoint)")
    send.add_argument("--hub", metavar="NAME", help="name of the hub (default: telemetry, or the string's EntityPath)")
    send.add_argument("--record", type=Path, metavar="FILE", help="write each fault and what must become of it")
