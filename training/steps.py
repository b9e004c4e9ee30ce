"""`python -m training.steps STEP`: the training job cut into the steps of a pipeline, with files in between.

validate -> prepare -> train -> evaluate -> register, and `trial`, which a sweep runs many times. A step takes its own
flags; all others are those of `python -m training`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from shared.adapters.lake.ending import leave
from shared.errors import ConfigError, ContractBroken, PipelineError
from training.__main__ import REFUSED, USAGE, fail, options_of
from training.__main__ import parser as job_parser
from training.data.prepare import Options, Prepared, prepare
from training.report.console import Screen

PACKAGE, VALIDATION, EVALUATION = "package", "validation.json", "evaluation.json"
FOLDERS = ("checked", "prepared", "trained", "evaluated")
PRIMARY_METRIC = "rmse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a step was given.

    Args:
        options: As for the whole job.
        job: Name of the job.
        out: Folder of the step's results.
        folders: Results of earlier steps.
        params: Of a trial.
    """

    options: Options
    job: str
    out: Path
    folders: Mapping[str, Path]
    params: Mapping[str, float]

    def folder(self, name: str) -> Path:
        """Results of an earlier step.

        Raises:
            ConfigError: They were not given.
        """
        if name not in self.folders:
            raise ConfigError(f"--{name} is missing")
        return self.folders[name]


def validate(given: Given, screen: Screen) -> None:
    """Refuse data that cannot be trained on; the first step, as nothing else is worth its time then."""
    found = prepare(given.options, screen)
    facts = {
        "dataset": found.dataset,
        "rows": len(found.rows),
        "folds": len(found.folds),
        "warnings": [*found.file_warnings, *found.warnings],
    }
    _write(given.out / VALIDATION, facts)


def prepare_rows(given: Given, screen: Screen) -> None:
    """Make the rows that all later steps share."""
    from training.data import step_files

    checked = _read(given.folder("checked") / VALIDATION)
    found = prepare(given.options, screen)
    if found.dataset != checked.get("dataset"):
        raise ContractBroken(f"dataset {found.dataset} is not the validated one, {checked.get('dataset')}")
    step_files.save(given.out, found)


def train(given: Given, screen: Screen) -> None:
    """Search, refit, and write the package with its report beside it."""
    from training import job

    job.run(given.options, screen, lambda _options, _screen: _prepared(given))


def evaluate(given: Given, screen: Screen) -> None:
    """Look at the package as serving will: load it, let it forecast prepared rows, and require finite metrics."""
    from training.package.acceptance import inspect

    facts = inspect(given.options.scenario, given.folder("trained") / PACKAGE, _prepared(given).rows)
    screen.line(f"package {facts['version']}: {facts['forecasts']:,} forecasts")
    _write(given.out / EVALUATION, facts)


def register(given: Given, screen: Screen) -> None:
    """Publish the evaluated package."""
    from training.data.storage import storage
    from training.package.publish import publish

    evaluated = _read(given.folder("evaluated") / EVALUATION)
    version = publish(storage(os.environ), given.options.scenario, given.folder("trained") / PACKAGE, given.job)
    if version != evaluated.get("version"):
        raise ContractBroken(f"package {version} is not the evaluated one, {evaluated.get('version')}")
    _write(given.out / "registered.json", {"job": given.job, "version": version})
    screen.line(f"package {version} of job {given.job} is published")


def trial(given: Given, screen: Screen) -> None:
    """Fit one candidate on the folds and log its error, which a sweep compares."""
    from training.model.boosting import KNOWN_GOOD, fit_folds
    from training.report.tracking import track

    options, prepared = given.options, _prepared(given)
    search = options.scenario.search
    unknown = sorted(set(given.params) - set(KNOWN_GOOD))
    if unknown:
        raise ConfigError(f"--param: {', '.join(unknown)} is not one of {', '.join(KNOWN_GOOD)}")
    params = {**KNOWN_GOOD, **given.params}
    params["depth"] = int(params["depth"])
    with track(options.tracking_uri, options.scenario.name, {"job": given.job}, run_id=options.run_id) as tracker:
        fitted = fit_folds(prepared.rows, prepared.folds, params, max_trees=search.max_trees, seed=search.seed)
        tracker.log(params, {PRIMARY_METRIC: fitted.score, "trees": float(fitted.trees)})
    _write(given.out / "trial.json", {PRIMARY_METRIC: fitted.score, "trees": fitted.trees, "params": params})
    screen.line(f"{PRIMARY_METRIC} {fitted.score:.3f} with {fitted.trees} trees")


STEPS: Mapping[str, Callable[[Given, Screen], None]] = {
    "validate": validate,
    "prepare": prepare_rows,
    "train": train,
    "evaluate": evaluate,
    "register": register,
    "trial": trial,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; returns 0, or 1 when data, model or package were refused, 2 when the command is wrong."""
    own, others = _parser().parse_known_args(arguments)
    try:
        given = _given(own, others)
        given.out.mkdir(parents=True, exist_ok=True)
        STEPS[own.step](given, Screen(Console()))
    except ConfigError as error:
        return fail(f"training {own.step}", error, USAGE)
    except PipelineError as error:
        return fail(f"training {own.step}", error, REFUSED)
    return 0


def _given(own: argparse.Namespace, others: Sequence[str]) -> Given:
    return Given(
        options=options_of(job_parser().parse_args([*others, "--out", str(own.to / PACKAGE)]), os.environ),
        job=own.job,
        out=own.to.absolute(),
        folders={name: getattr(own, name) for name in FOLDERS if getattr(own, name) is not None},
        params=dict(own.param),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.steps",
        description="Run one step of the training job; flags that are not listed are those of python -m training.",
        allow_abbrev=False,
    )
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("--job", required=True, metavar="NAME", help="name of the job")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="folder of the results")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help="results of that step")
    parser.add_argument(
        "--param", action="append", default=[], type=_param, metavar="NAME=VALUE", help="parameter of a trial"
    )
    return parser


def _param(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)  # argparse says what a ValueError means


def _prepared(given: Given) -> Prepared:
    from training.data import step_files

    return step_files.load(given.folder("prepared"))


def _write(path: Path, facts: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2))


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise ContractBroken(f"{path.parent.name}/{path.name}: {error}") from error


if __name__ == "__main__":
    leave(main())
