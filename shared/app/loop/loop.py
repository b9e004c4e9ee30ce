"""The loop's slow half: what timers, job events and people set off; every call may come twice or to two workers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from shared.app.backoff import Backoff
from shared.app.lake.compaction import Compaction
from shared.app.ledger_store import Ledger
from shared.app.loop.completion import Completion, TruthSource
from shared.app.loop.evidence_packs import EvidencePacks
from shared.app.loop.monitor import Monitor
from shared.app.loop.results import Results
from shared.app.loop.retrain_request import actor_of, retrain_request
from shared.app.loop.retraining import Retraining
from shared.app.loop.stored_packages import StoredPackages
from shared.app.release.control import ControlDocument
from shared.app.release.registry_tags import RegistryTags
from shared.app.release.rollouts import Rollouts
from shared.app.score import recovery
from shared.app.score.context import ScoringContext
from shared.app.score.partition import Partition
from shared.app.score.profiles import ProfileMerge
from shared.app.score.serving import load_package
from shared.core.profile.merged import MergedProfile
from shared.core.retrain import job_events
from shared.core.retrain.history import trained_on
from shared.core.scenario import Scenario
from shared.core.task.calendar import HOUR_MS
from shared.errors import PipelineError, StateConflict, TransientFailure
from shared.ports import Clock, Endpoint, Jobs, Lake, LoadModel, Registry
from shared.settings import Settings

log = logging.getLogger(__name__)
NEED_ID = ("promote", "roll_back", "install")
KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Watching, deciding, training and releasing.

    Args:
        scenario: Its rules.
        merged: All partitions' profiles added up; the clock hears of the newest reading in them.
        by_data: Whether decisions take the time from the data, so that a look at these comes first.
        compaction: Fills the lake.
        monitor: Checks for drift and quality.
        retraining: Decides and starts jobs.
        completion: Takes ended jobs on.
        rollouts: The ladder.
        endpoint: Follows it.
        topic: Where events of our jobs come from.
        trains: Whether there is a place for training jobs; without one decisions are only entered in the ledger.
    """

    scenario: Scenario
    merged: Callable[[], MergedProfile]
    by_data: bool
    compaction: Compaction
    monitor: Monitor
    retraining: Retraining
    completion: Completion
    rollouts: Rollouts
    endpoint: Endpoint
    topic: str
    trains: bool

    def compact(self) -> dict[str, int]:
        """Bring what was committed into the lake."""
        self._advance_clock()
        return self.compaction.run()

    def check(self) -> dict[str, Any]:
        """Look for drift and quality, isolate faulty devices, and start a training job where one is worth it."""
        merged = self.merged()
        found, signals = self.monitor.check(merged)
        considered = self.retraining.consider(signals, dry_run=not self.trains)
        if self.trains:
            self.retraining.launch()
        return {"verdict": found.kind if found else None, "launch": considered.decision.launch, "job": considered.job}

    def watch_jobs(self) -> list[str]:
        """Start what was decided and not started, and finish what events left undone."""
        self._advance_clock()
        try:
            return self.completion.reconcile()  # first: a place that refuses new jobs must not hold ended ones up
        finally:
            self._follow()
            if self.trains:
                self.retraining.launch()

    def advance(self) -> dict[str, Any]:
        """Look at the labels that have matured and take the rollout's next step."""
        step = self.rollouts.tick(self.merged())
        self._follow()
        return {} if step is None else {"kind": step.kind, "share": step.share, "reasons": list(step.reasons)}

    def _advance_clock(self) -> None:
        if self.by_data:
            self.merged()

    def _follow(self) -> None:
        """Bring the online endpoint a step nearer to the rollout; whatever is wrong there stops nothing here."""
        now = self.rollouts.control.read()
        if now.champion is None:
            return
        try:
            self.endpoint.show(now.champion, now.challenger, now.share)
        except PipelineError as error:
            log.warning("the online endpoint is not where the rollout is: %s", error)

    def job_event(self, kind: object, topic: object, data: object) -> bool:
        """Look at the job whose end an event tells; False when it is none of ours, says no end, or the job goes on."""
        found = job_events.ended(kind, topic, data, experiment=self.scenario.name, expected=self.topic)
        if isinstance(found, str):
            log.warning("an event is left alone: %s", found)
            return False
        self._advance_clock()
        return self.completion.ended(found.job) is not None

    def retrain(self, params: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """A person asks for a training job; see `retrain_request`."""
        if not self.trains:
            return 409, {"error": "JOBS is none: there is no place for training jobs"}
        try:
            merged = self.merged()
            return retrain_request(self.retraining, lambda: self.monitor.signals(merged), params, headers)
        except TransientFailure as error:
            return 503, {"error": str(error)}
        except PipelineError as error:
            return 409, {"error": str(error)}

    def rollout(self, action: str, params: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """A person approves, promotes, rolls back, pauses, resumes, or installs a version.

        Args:
            action: What, or "install" with the parameter `version`.
            params: `version` for install; `id` names the request, so that a repeated one changes nothing: promote,
                roll_back and install need it.
            headers: With lower-case names; see `retrain_request.actor_of`.

        Returns:
            Status and body: 200 where the rollout stands then, 400, 409 or 503 what is wrong; 503 may be asked again
            as it is.
        """
        try:
            actor = actor_of(headers)
        except ValueError as error:
            return 400, {"error": str(error)}
        key = params.get("id", "")
        if not KEY.fullmatch(key) and (key or action in NEED_ID):
            return 400, {"error": f"id: needed for {action[:40]}, 1 to 80 letters, digits, - and _"}
        try:
            day = self.merged().today
            key = key or f"{len(self.rollouts.ledger.entries())}"
            if action == "install":
                status = self.rollouts.install(params.get("version", ""), day, actor, key)
            else:
                status = self.rollouts.request(action, day, actor, key)
            self._follow()
        except StateConflict as error:  # the rollout moved on: a person has to look, a client must not try again
            return 409, {"error": str(error)}
        except TransientFailure as error:
            return 503, {"error": str(error)}
        except PipelineError as error:
            return 409, {"error": str(error)}
        return 200, msgspec.to_builtins(status)


def loop_of(
    context: ScoringContext,
    load: LoadModel,
    settings: Settings,
    *,
    clock: Clock,
    reach: Callable[[int], None] | None,
    lake: Lake,
    truth_source: TruthSource,
    registry: Registry,
    jobs: Jobs,
    endpoint: Endpoint,
    topic: str,
) -> Loop:
    """All of it, on these ports; touches none of them.

    Args:
        context: What the partitions share.
        load: Loads models.
        settings: How long commits are kept, and whether there is a place for jobs.
        clock: Decisions take their time from it.
        reach: Called with the newest hour of the data, None where decisions do not go by that.
        lake: The lake.
        truth_source: Reads truths from it.
        registry: Where model versions are entered.
        jobs: Where training jobs run.
        endpoint: Follows the rollout.
        topic: Where events of these jobs come from.
    """
    task, blobs, scenario = context.task, context.blobs, context.task.scenario
    merged = ProfileMerge(
        context.profiles,
        context.stream.partitions,
        lambda partition: Partition(partition, context).recovered(),
        partial(recovery.outrun, context),
        reach or (lambda _: None),
    )
    ledger, control = Ledger(scenario.name, blobs, clock), ControlDocument(blobs)
    packages = StoredPackages(blobs, load, task.features)
    check = partial(load_package, task, blobs, load)
    backoff = Backoff(context.clock)
    tags = RegistryTags(ledger, registry, backoff)
    rollouts = Rollouts(scenario, blobs, ledger, control, packages.latency_ms, tags, check)
    # a job's own hours pass on the wall, wherever decisions take their time from
    retraining = Retraining(scenario, ledger, jobs, clock, context.clock, Results(blobs).left)
    completion = Completion(
        scenario=scenario,
        packages=packages,
        blobs=blobs,
        ledger=ledger,
        retraining=retraining,
        rollouts=rollouts,
        registry=registry,
        packs=EvidencePacks(blobs, ledger, registry, backoff),
        backoff=backoff,
        truth_source=truth_source,
        today=lambda: merged().today,
    )
    return Loop(
        scenario=scenario,
        merged=merged,
        by_data=reach is not None,
        compaction=Compaction(
            task=task,
            blobs=blobs,
            lake=lake,
            clock=clock,
            retain_days=settings.retain_days,
            keep=lambda: trained_on(ledger.entries()),
            mend=partial(recovery.mend, context),
        ),
        monitor=Monitor(scenario, blobs, packages, ledger, control, lake.dataset, lambda: clock.now_ms() // HOUR_MS),
        retraining=retraining,
        completion=completion,
        rollouts=rollouts,
        endpoint=endpoint,
        topic=topic,
        trains=settings.jobs != "none",
    )
