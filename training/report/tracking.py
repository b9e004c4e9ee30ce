"""The run in MLflow: a parent, a child for each trial, metrics, parameters and tables."""

from __future__ import annotations

import csv
import io
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import ConfigError

SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Tracker:
    """One parent run.

    Args:
        client: MLflow's client.
        experiment: Id of the experiment.
        run_id: Id of the parent run.
    """

    client: Any
    experiment: str
    run_id: str

    def child(
        self,
        name: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]],
    ) -> None:
        """Log one trial as a child run; a series has one value a fold."""
        tags = {"mlflow.parentRunId": self.run_id}
        run = self.client.create_run(self.experiment, tags=tags, run_name=name)
        self.log(params, metrics, series, run.info.run_id)
        self.client.set_terminated(run.info.run_id)

    def log(
        self,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        series: Mapping[str, Sequence[float]] | None = None,
        run_id: str | None = None,
    ) -> None:
        """Log parameters, metrics and series, whose values are steps, of the parent run, or of another one."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        points = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        points += [
            Metric(name, float(v), now, step)
            for name, values in (series or {}).items()
            for step, v in enumerate(values)
        ]
        settings = [Param(name, str(value)) for name, value in params.items()]  # type: ignore[no-untyped-call]
        self.client.log_batch(run_id or self.run_id, metrics=points, params=settings)

    def tag(self, name: str, value: str) -> None:
        """Tag the parent run."""
        self.client.set_tag(self.run_id, name, value)

    def text(self, name: str, content: str) -> None:
        """Keep a text as an artifact of the parent run."""
        self.client.log_text(self.run_id, content, name)

    def table(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Keep a table as a CSV artifact of the parent run."""
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        self.text(f"tables/{name}.csv", out.getvalue())

    def files(self, folder: Path) -> None:
        """Keep the files of the package as artifacts of the parent run."""
        self.client.log_artifacts(self.run_id, str(folder), "package")


@contextmanager
def track(uri: str, experiment: str, tags: Mapping[str, str], *, run_id: str | None = None) -> Iterator[Tracker]:
    """Open a parent run, and close it as finished, or as failed when the block raises.

    Args:
        uri: MLflow tracking URI; the folder of an SQLite file is made.
        experiment: Name of the experiment, made when it is new.
        tags: Tags of the parent run.
        run_id: A run that exists already (Azure ML makes one for each job).

    Raises:
        ConfigError: MLflow cannot be used at that URI.
    """
    try:
        client = _client(uri)
        found = client.get_experiment_by_name(experiment)
        where = (
            found.experiment_id if found else client.create_experiment(experiment, artifact_location=_artifacts(uri))
        )
        name = run_id or client.create_run(where, tags=dict(tags), run_name="training").info.run_id
    except Exception as error:  # whatever a tracking store raises, the run cannot be tracked
        raise ConfigError(f"tracking URI {uri!r}: {_first_line(error)}") from error
    tracker = Tracker(client, where, name)
    try:
        for key, value in tags.items() if run_id else ():
            tracker.tag(key, value)
        yield tracker
    except BaseException as error:
        tracker.tag("error", _first_line(error)[:400])
        client.set_terminated(name, status="FAILED")
        raise
    client.set_terminated(name)


def _client(uri: str) -> Any:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read at import: the run tells nobody anything
    os.environ["DO_NOT_TRACK"] = "true"
    if uri.startswith(SQLITE):
        Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies' deprecations, which are not ours to mend
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)  # makes or migrates the tables
    return client


def _artifacts(uri: str) -> str | None:
    if not uri.startswith(SQLITE):
        return None
    return (Path(uri.removeprefix(SQLITE)).resolve().parent / "mlartifacts").as_uri()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
