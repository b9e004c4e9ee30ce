"""Arguments of the commands that look back, `explain` and `lineage`; light, as those of `send` are."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add both commands."""
    explain(commands)
    lineage(commands)


def explain(commands: argparse._SubParsersAction[Any]) -> None:
    """Arguments of `explain`."""
    parser = commands.add_parser("explain", help="what stood behind a forecast, and whether it comes out again")
    parser.add_argument(
        "prediction",
        nargs="?",
        metavar="PREDICTION",
        help="DEVICE@AS_OF, the newest that users saw; DEVICE@AS_OF#REVISION; each also with /champion or /challenger",
    )
    parser.add_argument("--device", help="device id, instead of PREDICTION")
    parser.add_argument("--as-of", metavar="HOUR", help="as-of hour in UTC, such as 2026-11-20T10")
    parser.add_argument("--revision", type=int, help="default: the newest")
    parser.add_argument("--role", choices=("champion", "challenger"), help="default: the one that users saw")
    parser.add_argument("--all", action="store_true", help="every feature, hour and reading")
    parser.add_argument("--json", action="store_true", help="for a machine")


def lineage(commands: argparse._SubParsersAction[Any]) -> None:
    """Arguments of `lineage`."""
    parser = commands.add_parser("lineage", help="where a model came from and what became of it")
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="DEVICE@AS_OF (a forecast), model version, MLflow run, dataset version such as lake@12, code version, job",
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's registry (default: MLFLOW_TRACKING_URI, or that of the stack)"
    )
    parser.add_argument("--json", action="store_true", help="for a machine")
