"""Arguments of the commands that look back, such as `forecasts` and `explain`; light, as those of `send` are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the commands and their options."""
    check = commands.add_parser("check", help="how a file would be read and what of it accepted; no stack is needed")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--json", action="store_true", help="a line of JSON for each row")
    check.add_argument("--zone", help="zone of timestamps without one")
    check.add_argument("--device", help="device of all rows, where no column says it")

    forecasts = commands.add_parser("forecasts", help="what was forecast: of a device, or the newest of each")
    forecasts.add_argument("device", nargs="?", metavar="DEVICE", help="device id (default: all, the newest of each)")
    forecasts.add_argument("--format", choices=("table", "csv", "json"), default="table")
    forecasts.add_argument("--last", metavar="N", help="how many, the newest (default: 24, or 1 of each device)")
    forecasts.add_argument("--from", dest="first", metavar="HOUR", help="first as-of hour in UTC, as 2026-11-20T10")
    forecasts.add_argument("--to", dest="until", metavar="HOUR", help="last as-of hour in UTC")

    ledger = commands.add_parser("ledger", help="what was decided and done, and whether the log is as it was written")
    ledger.add_argument("action", nargs="?", choices=("show", "verify"), default="show")
    ledger.add_argument("--kind", action="append", default=[], help="show only entries of this kind, such as decision")

    explain = commands.add_parser("explain", help="what stood behind a forecast, and whether it comes out again")
    explain.add_argument(
        "prediction",
        nargs="?",
        metavar="PREDICTION",
        help="DEVICE@AS_OF, the newest that users saw; DEVICE@AS_OF#REVISION; each also with /champion, /challenger, "
        "/baseline",
    )
    explain.add_argument("--device", help="device id, instead of PREDICTION")
    explain.add_argument("--as-of", metavar="HOUR", help="as-of hour in UTC, such as 2026-11-20T10")
    explain.add_argument("--revision", type=int, help="default: the newest")
    explain.add_argument(
        "--role", choices=("champion", "challenger", "baseline"), help="default: the one that users saw"
    )
    explain.add_argument("--all", action="store_true", help="every feature, hour and reading")

    lineage = commands.add_parser("lineage", help="where a model came from and what became of it")
    lineage.add_argument(
        "what",
        metavar="WHAT",
        help="DEVICE@AS_OF (a forecast), model version, MLflow run, dataset version such as lake@12, code version, job",
    )
    lineage.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's registry (default: MLFLOW_TRACKING_URI, or that of the stack)"
    )
    for parser in (explain, lineage):
        parser.add_argument("--json", action="store_true", help="for a machine")
