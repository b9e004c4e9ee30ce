"""What stood behind one forecast, and whether the same step on the same state gives the same bits again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from platform import python_version
from typing import Any

import numpy as np

from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explanation import (
    CommitFacts,
    Compared,
    DeploymentFacts,
    Explanation,
    FeatureFacts,
    Forecast,
    ModelFacts,
    ReadingFacts,
    Window,
    forecast_of,
)
from shared.app.lookback.forecast_id import ForecastId, hour_text, time_text
from shared.app.lookback.recompute import recompute
from shared.app.lookback.search import Found, find
from shared.app.lookback.state_as_of import Before, state_before
from shared.app.score.serving import load_package
from shared.core.intake.readings import Floats
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import FLOOR, Inputs
from shared.core.scenario.cadence import Cadence
from shared.core.stream.commit import DISPOSITIONS
from shared.core.task.state import Outcome
from shared.core.task.task import Task, names_of
from shared.core.task.versions import at
from shared.errors import ContractBroken
from shared.ports import LoadModel, Model

RUNTIME = ("numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Explain:
    """Looks a forecast up, rebuilds the state before its commit, and takes the step again with the real model.

    Args:
        history: What was committed.
        loading: Gives what loads and checks a package on a task's features, as serving does.
    """

    history: CommitHistory
    loading: Callable[[Task], LoadModel]

    def __call__(self, wanted: ForecastId) -> Explanation:
        """What stood behind a forecast.

        Raises:
            ContractBroken: There is no such forecast, what it rests on is gone or damaged, or the step does not make
                it due again; the message names what.
        """
        found = find(self.history, wanted)
        version, commit = str(found.column("model_version")), found.step.commit
        then = at(self.history.task, commit.version)
        model = None if version == FLOOR else self._model(then, version)
        before = state_before(self.history, found.step)
        taken = recompute(self.history, found, before, model)
        compared = [_compared(name, found.column(name), number) for name, number in taken.numbers.items()]
        revision = taken.revision
        why = _why(compared, int(found.column("revision")), revision)
        return Explanation(
            forecast=forecast_facts(found, then.scenario.cadence),
            agrees=not why,
            why=why,
            compared=compared,
            recomputed_revision=revision,
            commit=_commit(found, before),
            deployment=DeploymentFacts(
                champion=commit.champion, challenger=commit.challenger, quarantine=list(commit.quarantine)
            ),
            model=model_facts(model.manifest) if model else None,
            made_of=dict(taken.made_of),
            features=_features(then, model.manifest, taken.features) if model else [],
            readings=self._readings(found, taken.outcome),
            window=_window(then.scenario.cadence, taken.inputs),
            runtime={"python": python_version(), **{name: metadata.version(name) for name in RUNTIME}},
        )

    def _model(self, task: Task, version: str) -> Model:
        try:
            return load_package(task, self.history.blobs, self.loading(task), version)
        except ContractBroken as error:
            raise ContractBroken(f"model {version} made it, but its package cannot be used: {error}") from error

    def _readings(self, found: Found, outcome: Outcome) -> list[ReadingFacts]:
        task, batch = at(self.history.task, found.step.commit.version), found.step.batch
        mine = np.array([name == found.column("device_id") for name in batch.devices], bool)[batch.device]
        rows = np.flatnonzero(mine)
        rows = rows[task.behind(batch.minute[rows].astype(np.int64), int(found.column("as_of")))]
        return [
            ReadingFacts(
                time=time_text(int(batch.minute[row]) * task.scenario.cadence.tick_s * 1000),
                sequence=int(batch.sequence[row]),
                source=batch.sources[batch.source[row]],
                position=int(batch.position[row]),
                disposition=DISPOSITIONS[outcome.disposition[row]],
                values=dict(zip(names_of(task.row), map(_known, batch.values[row]), strict=True)),
            )
            for row in rows.tolist()
        ]


def _features(task: Task, manifest: Manifest, row: Floats) -> list[FeatureFacts]:
    places = {feature.name: place for place, feature in enumerate(task.features)}
    return [
        FeatureFacts(name=name, version=version, value=_known(row[places[name]])) for name, version in manifest.features
    ]


def _window(cadence: Cadence, inputs: Inputs) -> Window:
    hours = [hour_text(hour, cadence) for hour in inputs.hours.tolist()]
    values = [[_known(cell) for cell in row] for row in inputs.values]
    return Window(columns=list(inputs.columns), hours=hours, values=values)


def _compared(name: str, stored: Any, recomputed: Any) -> Compared:
    ours, theirs = np.float32(recomputed), np.float32(stored)
    bits = [each.view(np.uint32) for each in (theirs, ours)]
    return Compared(
        name=name,
        stored=float(theirs),
        recomputed=float(ours),
        stored_bits=f"{int(bits[0]):08x}",
        recomputed_bits=f"{int(bits[1]):08x}",
        agrees=bool(bits[0] == bits[1]),
        apart=float(ours) - float(theirs),
    )


def _why(compared: Sequence[Compared], stored: int, revision: int) -> str:
    parts = [f"{each.name} differs by {each.apart:+.9g}" for each in compared if not each.agrees]
    if stored != revision:
        parts.append(f"revision is {revision}, not {stored}")
    return ", ".join(parts)


def forecast_facts(found: Found, cadence: Cadence) -> Forecast:
    """A prediction row as a value."""
    assert found.step.predictions is not None  # noqa: S101 - there is a row
    return forecast_of(found.step.predictions, found.row, cadence)


def _commit(found: Found, before: Before) -> CommitFacts:
    commit = found.step.commit
    return CommitFacts(
        name=found.step.name,
        partition=commit.partition,
        epoch=commit.epoch,
        first=commit.first,
        next=commit.next,
        predictions=commit.predictions or "",
        enqueued_at=time_text(commit.enqueued_ms),
        begin=before.begin,
        folded=before.folded,
        from_lake=before.from_lake,
    )


def model_facts(manifest: Manifest) -> ModelFacts:
    """What a package says of its origin."""
    names = ModelFacts.__struct_fields__
    return ModelFacts(**{name: getattr(manifest, name) for name in names})


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
