"""What follows on a training job's end: gate, registry, and the beginning of its model's rollout; each step once.

Events may come five times, in any order, or never: every step has its entry in the ledger, and whatever is found
without the entry that should follow is finished here, by the event or by the timer that looks for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared.app.backoff import Backoff
from shared.app.ledger_store import Ledger
from shared.app.loop.evidence_packs import EvidencePacks
from shared.app.loop.results import Result, Results
from shared.app.loop.retraining import Retraining
from shared.app.loop.stored_packages import StoredPackages
from shared.app.release.rollouts import Rollouts, begin_key
from shared.core.gate import evidence as gate_evidence
from shared.core.gate import judge
from shared.core.gate.evidence import Evidence, Facts, Model
from shared.core.gate.verdict import Verdict
from shared.core.intake.readings import Floats
from shared.core.ledger import Entry, find
from shared.core.model import deployment
from shared.core.model import manifest as package
from shared.core.model.scoring import unfitting
from shared.core.retrain.history import ENTERED, GATE, ROLLOUT, job_of, jobs
from shared.core.scenario import Scenario
from shared.errors import ContractBroken, PipelineError, StateConflict
from shared.ports import Blobs, Registry

log = logging.getLogger(__name__)
TruthSource = Callable[[Evidence, str], Floats]
ABOUT = ("job", "dataset")  # what stands beside a version in the registry


@dataclass(frozen=True, slots=True)
class Completion:
    """Takes ended jobs on to the gate and the ladder.

    Args:
        scenario: Rules.
        packages: The models' packages.
        blobs: What jobs left, and reports.
        ledger: What was done.
        retraining: Knows the jobs.
        rollouts: Where promoted versions go.
        registry: Where versions are entered.
        packs: What the gate shows people.
        backoff: When to try again what was refused for good.
        truth_source: Reads the truths of evidence anew from a dataset.
        today: Day since 1970 from which pairs of a new rollout count.
    """

    scenario: Scenario
    packages: StoredPackages
    blobs: Blobs
    ledger: Ledger
    retraining: Retraining
    rollouts: Rollouts
    registry: Registry
    packs: EvidencePacks
    backoff: Backoff
    truth_source: TruthSource
    today: Callable[[], int]

    def ended(self, job: str) -> Entry | None:
        """Somebody says that a job ended: look, note it and take its model on; None when it goes on or is not ours."""
        entry = self.retraining.ended(job)
        if entry is not None and entry.data["status"] == "completed":
            self.release(job)
            self.rollouts.follow()
            self.packs.copy()
        return entry

    def reconcile(self) -> list[str]:
        """Finish what events left undone: jobs that ended silently, models not judged, promotions not begun.

        Returns:
            What was done, in words.

        Raises:
            Exception: The first problem, mostly a PipelineError; all that does not depend on it is done.
        """
        done: list[str] = []
        problems: list[Exception] = []
        try:
            done += [f"{entry.key} ended: {entry.data['status']}" for entry in self.retraining.poll()]
        except PipelineError as error:
            problems.append(error)
        entries = self.ledger.entries()
        ended = [job for job in jobs(entries) if job.ended and job.ended.data["status"] == "completed"]
        for job in ended:
            if _settled(entries, job.name):
                continue
            try:
                done += [f"{job.name} judged or begun"] if self.release(job.name) else []
            except Exception as error:
                log.exception("job %s is not taken on", job.name)
                problems.append(error)
        self.rollouts.follow()
        self.packs.copy()
        if problems:
            raise problems[0]
        return done

    def release(self, job: str) -> bool:
        """Judge a completed job's model, register it and begin its rollout.

        What is refused for good is tried again ever later, as each try may read the lake.

        Returns:
            Whether something was done: False when all that can be done now was done before.
        """
        if not self.backoff.due(job):
            return False
        try:
            done = self._release(job)
        except PipelineError as error:
            self.backoff.failed(job, error)
            raise
        self.backoff.done(job)
        return done

    def _release(self, job: str) -> bool:
        entries = self.ledger.entries()
        champion = self.rollouts.current(entries)[0].champion
        if _settled(entries, job):
            return False
        judged = _judged(entries, job)
        # Evidence is about the champion of the decision; a promotion that had to wait may be about one that has gone.
        fresh = judged and (judged[-1].data["champion"] == champion or judged[-1].data["kind"] != "promote")
        entry = judged[-1] if fresh else self._judge(job, champion)
        self._enter(entry)
        return self._begin(str(entry.data["version"])) if entry.data["kind"] == "promote" else True

    def _enter(self, verdict: Entry) -> None:
        """Enter a judged version in the registry, once; the verdict stands already, whatever the registry says."""
        told = verdict.data
        if _entered(self.ledger.entries(), verdict):
            return
        number = self.registry.register(told["version"], told["run_id"], {name: told[name] for name in ABOUT})
        self.ledger.append(ENTERED, told["version"], {"about": told["version"], "number": number})

    def _begin(self, version: str) -> bool:
        """Begin a rollout unless another one is under way; the next look tries again."""
        try:
            self.rollouts.begin(version, self.today())
        except StateConflict as error:
            log.info("%s", error)
            return False
        return True

    def _judge(self, job: str, champion: str | None) -> Entry:
        """Gate and evidence pack, then the entry that says so: a crash before it repeats both."""
        key, about = f"{job}/{champion or 'none'}", {"job": job, "champion": champion}
        decided = self._decided_for(job)
        if decided != champion:
            text = f"its evidence is about {decided or 'no champion'}, but {champion or 'none'} serves"
            return self.ledger.append(
                GATE, key, {**about, "kind": "not enough data", "reasons": ["champion"], "text": text, "version": None}
            )
        other = self._model(champion) if champion else None
        try:
            result = Results(self.blobs).read(job)
            verdict = self._verdict(result, other)
        except ContractBroken as error:
            log.exception("job %s cannot be judged", job)
            why: dict[str, object] = {"kind": "refuse", "reasons": ["evidence"], "text": str(error), "version": None}
            return self.ledger.append(GATE, key, {**about, **why})
        data = {
            "kind": verdict.kind,
            "reasons": verdict.reasons,
            "text": verdict.text,
            "version": result.version,
            "run_id": result.run_id,
            "dataset": result.dataset,
            "evidence": self.packs.write(job, verdict),
        }
        return self.ledger.append(GATE, key, {**about, **data})

    def _decided_for(self, job: str) -> str | None:
        """The champion that a job's evidence is about: the one of its decision."""
        found = job_of(self.ledger.entries(), job)
        return None if found is None else found.decision.data["inputs"]["signals"]["champion"]

    def _verdict(self, result: Result, champion: Model | None) -> Verdict:
        name = f"jobs/{result.job}.npz"
        raw = self.blobs.read(deployment.CONTAINER, name)
        if raw is None:
            raise ContractBroken(f"{deployment.CONTAINER}/{name} is missing: there is no evidence")
        found = gate_evidence.decode(raw)
        evidence = replace(found, witness=self.truth_source(found, result.dataset))
        return judge.judge(self.scenario, evidence, self._facts(result, champion))

    def _facts(self, result: Result, champion: Model | None) -> Facts:
        """What the gate's side finds out about both packages; what cannot be found out no rule lets pass."""
        files = self.packages.files(result.version)
        damage, latency, sha256, until = "", math.nan, "", result.trained_until
        unknown: tuple[str, ...] = ()
        try:
            manifest = package.decode_manifest(files.get("manifest.json", b""))
            sha256, until = manifest.sha256.get("model.onnx", ""), manifest.trained_until
            unknown = tuple(unfitting(self.packages.features, manifest.features))
            if not unknown:
                latency = self.packages.timed(files)
        except ContractBroken as error:
            damage = str(error)
        return Facts(
            challenger=Model(version=result.version, sha256=sha256, trained_until=until),
            champion=champion,
            damage=damage,
            unknown_features=unknown,
            parity=result.parity,
            size_mb=sum(map(len, files.values())) / 1e6,
            latency_ms=latency,
        )

    def _model(self, version: str) -> Model:
        manifest = self.packages.manifest(version)
        until = manifest.trained_until
        return Model(version=version, sha256=manifest.sha256.get("model.onnx", ""), trained_until=until)


def _judged(entries: Sequence[Entry], job: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == GATE and entry.data["job"] == job]


def _entered(entries: Sequence[Entry], verdict: Entry) -> bool:
    """Whether the registry has a verdict's version, or there is none; older verdicts say it themselves."""
    version = verdict.data["version"]
    return version is None or "registered" in verdict.data or find(entries, ENTERED, version) is not None


def _settled(entries: Sequence[Entry], job: str) -> bool:
    """Whether a job's model is registered, and was refused or its rollout begun."""
    judged = _judged(entries, job)
    if any(find(entries, ROLLOUT, begin_key(str(entry.data["version"]))) for entry in judged):
        return True
    return bool(judged) and judged[-1].data["kind"] != "promote" and _entered(entries, judged[-1])
