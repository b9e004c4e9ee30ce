"""From a forecast, run, dataset, code or model version to the model versions behind it, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from shared.app.ledger_store import Ledger
from shared.app.lookback import forecast_id
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import forecast_facts
from shared.app.lookback.explanation import Forecast, ModelFacts
from shared.app.lookback.forecast_id import ForecastId
from shared.app.lookback.lineage_names import Kind, Known, Registered
from shared.app.lookback.search import find
from shared.core.ledger import Entry
from shared.core.model import deployment
from shared.core.model.scoring import BASELINE, CHAMPION, FLOOR, ROLES
from shared.core.retrain.history import DECISION, ENDED, GATE, LAUNCHED, ROLLOUT
from shared.errors import ContractBroken, PipelineError

NO_PACKAGE = "there is no package"
_UNPACKED = {FLOOR: "none: the baseline, damped persistence, which nothing was trained for"}
Counts = dict[tuple[str, str], tuple[int, int]]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts that a version made in a role, and how many of them users saw."""

    made: int
    served: int


class VersionLineage(msgspec.Struct, frozen=True, kw_only=True):
    """A model version: where it came from and what became of it.

    Args:
        package: What its package says, None when it cannot be read; `problem` says why.
        jobs: Training jobs that made it.
        registered: Its place in the registry, None when it is not there or nobody looked.
        entries: Entries of the ledger about it and its jobs, oldest first.
        serves: Its role by the control document now, "" without one.
        forecasts: How many it made, by role.
    """

    version: str
    package: ModelFacts | None
    problem: str
    jobs: list[str]
    registered: Registered | None
    entries: list[Entry]
    serves: str
    forecasts: dict[str, Made]


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What something led to, or came from.

    Args:
        what: What was asked about, and as which `kind` it was understood.
        forecast: The forecast, when that was asked about, and the commit that made it.
        versions: Model versions behind or from it, oldest first.
        notes: What could not be looked at.
    """

    what: str
    kind: Kind
    forecast: Forecast | None
    commit: str
    versions: list[VersionLineage]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Trace:
    """Looks lineage up.

    Args:
        history: What was committed, and the packages beside it.
        ledger: What was decided and done.
        registered: The registry's model versions, by package version.
    """

    history: CommitHistory
    ledger: Ledger
    registered: Mapping[str, Registered] = field(default_factory=dict)

    def __call__(self, what: str | ForecastId) -> Lineage:
        """The lineage of a forecast, model version, run, dataset version, code version or job.

        Raises:
            ConfigError: Nothing is known by that name.
            ContractBroken: The ledger, or a blob of the forecast, is damaged; or there is no such forecast.
        """
        cadence = self.history.task.scenario.cadence
        wanted = forecast_id.parse(what, cadence) if isinstance(what, str) else what
        known = Known.of(self.history, self.ledger.entries(), self.registered)
        forecast, commit = None, ""
        kind: Kind = "forecast"
        if wanted is not None:
            found = find(self.history, wanted)
            forecast, commit = forecast_facts(found, cadence), found.step.name
            versions = [forecast.model]
        else:
            kind, versions = known.matching(str(what))
        notes: list[str] = []
        counts = self._counts(notes)
        return Lineage(
            what=str(what),
            kind=kind,
            forecast=forecast,
            commit=commit,
            versions=[self._version(version, known, counts) for version in versions],
            notes=notes,
        )

    def _version(self, version: str, known: Known, counts: Counts) -> VersionLineage:
        serving = self._serving()
        jobs = sorted(known.jobs.get(version, ()))
        sums = {role: Made(made=made[0], served=made[1]) for role in ROLES if (made := counts.get((version, role)))}
        return VersionLineage(
            version=version,
            package=known.packages.get(version),
            problem=""
            if version in known.packages
            else known.problems.get(version, _UNPACKED.get(version, NO_PACKAGE)),
            jobs=jobs,
            registered=self.registered.get(version),
            entries=_about(version, jobs, known.entries),
            serves=serving.get(version, ""),
            forecasts=sums,
        )

    def _serving(self) -> dict[str, str]:
        raw = self.history.blobs.read(deployment.CONTAINER, deployment.NAME)
        now = deployment.Deployment() if raw is None else deployment.decode(raw)
        roles = zip((now.champion, now.challenger), ROLES, strict=False)  # the baseline has no package
        return {version: role for version, role in roles if version is not None}

    def _counts(self, notes: list[str]) -> Counts:
        """Forecasts and served ones by version and role; what cannot be read goes into the notes."""
        sums, names = self._archived(notes)
        for name in names:
            try:
                made = self._made(name)
            except ContractBroken as error:
                notes.append(f"forecasts are not counted: {error}")
                continue
            for key, (count, served) in made.items():
                before = sums.get(key, (0, 0))
                sums[key] = before[0] + count, before[1] + served
        return sums

    def _archived(self, notes: list[str]) -> tuple[Counts, list[str]]:
        """What the lake counts, and names of the commits that it does not hold."""
        try:
            sums = dict(self.history.lake.made()) if self.history.lake else {}
            return sums, list(self.history.outside_the_lake())
        except PipelineError as error:
            notes.append(f"forecasts in the lake are not counted: {error}")
            return {}, list(replace(self.history, lake=None).outside_the_lake())

    def _made(self, name: str) -> Counts:
        commit = self.history.commit(name)
        if commit.predictions is None:
            return {}
        if commit.challenger is None:  # then all of them are the champion's, or else the baseline's
            count = commit.counts["predictions"]
            maker = (FLOOR, ROLES[BASELINE]) if commit.champion is None else (commit.champion, ROLES[CHAMPION])
            return {maker: (count, count)}
        found = self.history.read(name).predictions or {}
        sums: Counts = {}
        for key, served in zip(zip(found["model_version"], found["role"], strict=True), found["served"], strict=True):
            made = sums.get(key, (0, 0))
            sums[key] = made[0] + 1, made[1] + int(served)
        return sums


def _about(version: str, jobs: Sequence[str], entries: Iterable[Entry]) -> list[Entry]:
    """Entries about a version and its jobs, and those that put it into a place or out of it."""
    found, role = [], ""
    for entry in entries:
        before = role
        if entry.kind == ROLLOUT:
            role = next((name for name in ROLES if entry.data.get(name) == version), "")
        if role != before or _names(entry, version, jobs):
            found.append(entry)
    return found


def _names(entry: Entry, version: str, jobs: Sequence[str]) -> bool:
    data: Mapping[str, Any] = entry.data
    if version in (data.get("about"), data.get("version")):
        return True
    return (entry.kind in {LAUNCHED, ENDED} and entry.key in jobs) or (
        entry.kind in {DECISION, GATE} and data.get("job") in jobs
    )
