"""`python -m training`: the command line of the training job."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console

from shared.adapters.lake.delta.storage_options import storage_options
from shared.adapters.lake.delta_lake import CONTAINER_URI
from shared.adapters.lake.ending import leave
from shared.adapters.stores import scenario_files
from shared.core.model.manifest import VERSION
from shared.core.retrain.job_spec import JOB_NAME
from shared.core.scenario import Scenario, with_overrides
from shared.core.scenario.cadence import Cadence
from shared.errors import ConfigError, PipelineError
from shared.ports import Blobs
from training.azureml.versions import component_version
from training.data.storage import storage, storage_settings

if TYPE_CHECKING:
    from training.data.prepare import LakeVersion, Options

LAKE = re.compile(r"lake@([0-9]{1,9})")
REFUSED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns 0, or 1 when data or model were refused, 2 when the command is wrong, 130 when interrupted."""
    given = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite stop closes the MLflow run, as Ctrl-C does
    try:
        options = options_of(given, os.environ)
        from training import job  # late: a wrong command need not wait for CatBoost
        from training.report.console import Screen

        job.run(options, Screen(Console()))
    except ConfigError as error:
        return fail("training", error, USAGE)
    except PipelineError as error:
        return fail("training", error, REFUSED)
    except KeyboardInterrupt:
        return fail("training", "interrupted", INTERRUPTED)
    return 0


def fail(name: str, problem: object, code: int) -> int:
    """Say what went wrong; returns the exit code."""
    sys.stderr.write(f"{name}: {problem}\n")
    return code


def parser() -> argparse.ArgumentParser:
    """The flags of the job."""
    found = argparse.ArgumentParser(prog="python -m training", description="Train a model and write its package.")
    found.add_argument("--scenario", required=True, help="name of a scenario in scenarios/, or a path to a .toml file")
    data = found.add_mutually_exclusive_group(required=True)
    data.add_argument("--readings", nargs="+", type=Path, default=[], metavar="PATH", help="files, or folders of files")
    data.add_argument("--lake", metavar="lake@VERSION", help="a version of the lake's readings; storage as for the app")
    found.add_argument(
        "--lake-uri", default=CONTAINER_URI, metavar="URI", help="where the lake is (default: %(default)s), or a folder"
    )
    found.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the package: new, or one to replace"
    )
    found.add_argument("--trials", type=int, metavar="N", help="trials of the search (default: the scenario's)")
    found.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow (default: MLFLOW_TRACKING_URI, or mlflow.db beside DIR)"
    )
    found.add_argument("--test-from", metavar="DATE", help="keep out all from this time on, and report on it once")
    found.add_argument("--zone", help="zone of timestamps without one, and of --test-from (default: the station's)")
    found.add_argument(
        "--champion", metavar="VERSION", help="deployed model, whose forecasts of the time after its training go along"
    )
    found.add_argument("--job", metavar="NAME", help="name of the job; needed for --publish")
    found.add_argument(
        "--publish", action="store_true", help="upload package, evidence and the job's result; storage as for the app"
    )
    found.add_argument("--seed", type=int, metavar="N", help="seed of every random choice (default: the scenario's)")
    return found


def options_of(given: argparse.Namespace, environment: Mapping[str, str]) -> Options:
    """What the flags and the settings ask for.

    Raises:
        ConfigError: A flag or a setting is wrong.
    """
    scenario = _scenario(given)
    test_from = (
        None if given.test_from is None else _step(given.test_from, given.zone or scenario.zone, scenario.cadence)
    )
    from training.data.prepare import Options

    default_uri = f"sqlite:///{given.out.absolute().parent / 'mlflow.db'}"
    return Options(
        scenario=scenario,
        readings=given.readings,
        out=given.out.absolute(),
        tracking_uri=given.tracking_uri or environment.get("MLFLOW_TRACKING_URI") or default_uri,
        now=datetime.now(timezone.utc),
        code_version=_code_version(),
        test_from=test_from,
        zone=given.zone,
        run_id=environment.get("MLFLOW_RUN_ID"),
        lake=_lake(given, environment),
        champion=_matching("--champion", given.champion, VERSION),
        job=_matching("--job", given.job, JOB_NAME),
        publish=given.publish,
        blobs=_blobs(given, environment),
    )


def _lake(given: argparse.Namespace, environment: Mapping[str, str]) -> LakeVersion | None:
    if given.lake is None:
        return None
    found = LAKE.fullmatch(given.lake)
    if found is None:
        raise ConfigError(f"--lake: {given.lake[:80]!r} is not of the form lake@VERSION")
    from training.data.prepare import LakeVersion

    version = int(found[1])
    if "://" not in given.lake_uri:
        return LakeVersion(version=version, uri=given.lake_uri)
    return LakeVersion(version=version, uri=given.lake_uri, options=storage_options(*storage_settings(environment)))


def _matching(flag: str, value: str | None, form: re.Pattern[str]) -> str | None:
    if value is not None and not form.fullmatch(value):
        raise ConfigError(f"{flag}: {value[:80]!r} is not of the form {form.pattern}")
    return value


def _blobs(given: argparse.Namespace, environment: Mapping[str, str]) -> Blobs | None:
    if given.publish and given.job is None:
        raise ConfigError("--publish: needs --job NAME")
    if not given.publish and given.champion is None:
        return None
    return storage(environment)


def _scenario(given: argparse.Namespace) -> Scenario:
    scenario = scenario_files.load(given.scenario)
    changes = {name: getattr(given, name) for name in ("trials", "seed") if getattr(given, name) is not None}
    _zone(given.zone or scenario.zone)
    return with_overrides(scenario, search=replace(scenario.search, **changes)) if changes else scenario


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"--zone: {name!r} is not a known time zone") from error


def _step(text: str, zone: str, cadence: Cadence) -> int:
    """First whole step (since 1970 UTC) at or after a time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--test-from: {text!r} is not an ISO 8601 date or time") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=_zone(zone))
    return -int(-aware.timestamp() // cadence.step_s)


def _code_version() -> str:
    """Commit of this code; where there is no repository, as on Azure ML, the version of the registered component."""
    return _commit() or component_version()


def _commit() -> str:
    """Commit of this code, empty where there is no repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    try:
        found = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


if __name__ == "__main__":
    leave(main())
