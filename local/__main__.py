"""`python -m local`: the local stack from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local.inspect import arguments as inspect_arguments
from local.send import arguments as send_arguments
from local.stack.process import StackError
from local.stack.programs import PROJECT
from shared.adapters.lake.ending import leave
from shared.errors import PipelineError

FOLDER = PROJECT / ".airloop"
FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, 1 when it failed (one line says why), 2 for wrong usage, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    try:
        from local import commands  # late: `--help` need not wait for the clients

        return int(getattr(commands, given.command)(given))
    except (StackError, PipelineError) as error:
        message = str(error)
    except OSError as error:  # a folder that cannot be written, a full disk
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    sys.stderr.write(f"{message}\n")
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="AirLoop on one machine, without a cloud.")
    parser.add_argument("--root", type=Path, default=FOLDER, help="folder of the stack (default: .airloop)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start Azurite, the Event Hubs endpoint and the trigger host, until Ctrl-C")
    drop = commands.add_parser("drop", help="drop a file into incoming/ and show what became of it")
    drop.add_argument("file", type=Path, metavar="FILE")
    drop.add_argument("--zone", help="zone of timestamps without one, such as Asia/Shanghai or +08:00")
    drop.add_argument("--device", help="device of all rows, where no column says it")
    drop.add_argument("--name", help="name in incoming/ (default: the file's)")
    drop.add_argument("--again", action="store_true", help="read it even where the same bytes were read whole before")
    commands.add_parser("func", help="the same app under Azure Functions Core Tools (`func start`), until Ctrl-C")
    deploy = commands.add_parser("deploy", help="let a model package serve, the one of before beside it as its guard")
    deploy.add_argument("package", type=Path, metavar="DIR")
    rollout = commands.add_parser("rollout", help="approve, promote, take back, pause or resume what is on its way")
    rollout.add_argument("action", choices=("approve", "promote", "roll_back", "pause", "resume"))
    retrain = commands.add_parser("retrain", help="ask for a training job")
    retrain.add_argument("reason", help="why, in words; it stands in the ledger")
    retrain.add_argument("--dry-run", action="store_true", help="only show what would be decided")
    commands.add_parser("status", help="what runs, who serves, how far it is, what became of dropped files")
    send_arguments.add(commands)
    fire = commands.add_parser("fire", help="run timers now, one after the other, such as compact_lake check_drift")
    fire.add_argument("function", nargs="+", metavar="FUNCTION", help="as `status` names it")
    letters = commands.add_parser("letters", help="records that could not be used: reason, place and the record")
    letters.add_argument("--reason", action="append", default=[], help="only letters with this reason")
    letters.add_argument("--prefix", default="", help="only blobs of dead letters whose name begins with this")
    letters.add_argument("--page", type=int, default=1, metavar="N", help="which page of 20 letters (default: 1)")
    replay = commands.add_parser("replay", help="feed dead letters through route again, after a fix")
    replay.add_argument("--prefix", default="", help="only blobs of dead letters whose name begins with this")
    replay.add_argument(
        "--reason", action="append", help="only letters with this reason (default: all but conflict, truncated)"
    )
    books = commands.add_parser("books", help="recount everything and name what does not balance")
    books.add_argument("--json", action="store_true", help="for a machine")
    migrate = commands.add_parser(
        "migrate", help="let a store go on under an edited scenario, or say what would be kept"
    )
    migrate.add_argument("--apply", action="store_true", help="do it (default: only say what it would mean)")
    inspect_arguments.add(commands)
    demo = commands.add_parser(
        "demo", help="the whole loop on a stack of its own: forecasts, drift, training, release, roll-back"
    )
    demo.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DATA",
        help="CSV or JSON lines of readings: files of one form, a folder of them, or a pattern such as 'PRSA_*.csv' "
        "(default: the built-in generator)",
    )
    demo.add_argument("--zone", help="zone of timestamps without one")
    demo.add_argument(
        "--out", type=Path, default=PROJECT / "build" / "demo", help="folder of summary.json and report.html"
    )
    return parser


if __name__ == "__main__":
    leave(main())
