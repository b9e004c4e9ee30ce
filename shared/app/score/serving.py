"""Which models answer now: follows the control document, and keeps the old model when a new package is broken."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shared.core.intake.readings import Floats, Mask
from shared.core.model import deployment, manifest
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import (
    BASELINE,
    CHALLENGER,
    CHAMPION,
    FLOOR,
    Control,
    Scored,
    ScoreRequest,
    widened,
)
from shared.core.scenario.shape import meaning
from shared.core.task.task import Task
from shared.core.task.versions import versions
from shared.errors import ContractBroken, TransientFailure
from shared.ports import BlobReader, Blobs, Clock, LoadModel, Model

log = logging.getLogger(__name__)


class ChallengerFails(ContractBroken):
    """The challenger cannot answer a batch; the champion goes on alone."""


@dataclass(frozen=True, slots=True)
class ActiveModels:
    """Control and scorer of one moment; a batch uses one of these from beginning to end.

    Args:
        task: What an answer is.
        control: What the control document says, as far as its packages are usable.
        champion: Serves, None before the first deployment: then the baseline answers.
        challenger: Scored beside it on the same features, None without one.
        share: Share of the devices that the challenger answers instead; 0 is shadow.
        salt: Makes the choice of these devices differ between rollouts.
    """

    task: Task
    control: Control
    champion: Model | None
    challenger: Model | None = None
    share: float = 0.0
    salt: str = ""

    def __call__(self, request: ScoreRequest) -> Sequence[Scored]:
        """Forecasts of the champion and of the challenger beside it; without a champion those of the baseline.

        Raises:
            ContractBroken: The champion gave something that is not a number.
            ChallengerFails: The challenger did: the whole batch is to be answered `alone`.
        """
        cold = self._cold(request)
        if self.champion is None:
            rows, numbers, _ = request.baseline()
            served = np.ones(len(rows), bool)
            answers = [Scored(BASELINE, FLOOR, numbers, served, rows, cold=cold[rows])] if len(rows) else []
        else:
            answers = self._modelled(self.champion, request, cold)
        return [replace(each, numbers=widened(self.task.scenario, each.numbers, each.cold)) for each in answers]

    def _cold(self, request: ScoreRequest) -> Mask:
        """Which rows' devices have too little history, shape (n,)."""
        if request.spoken is None or not self.task.scenario.cold_hours:
            return np.zeros(len(request.as_of), bool)
        return request.spoken() < self.task.scenario.cold_hours

    def _modelled(self, champion: Model, request: ScoreRequest, cold: Mask) -> list[Scored]:
        matrix = request.matrix()
        numbers = self.forecast(matrix)
        challenged = self._challenged(request, matrix, cold)
        served = np.ones(len(matrix), bool) if challenged is None else ~challenged.served
        scored = Scored(CHAMPION, champion.manifest.version, numbers, served, cold=cold)
        return [scored] if challenged is None else [scored, challenged]

    def alone(self) -> ActiveModels:
        """The champion without its challenger."""
        return ActiveModels(self.task, replace(self.control, challenger=None), self.champion)

    def forecast(self, matrix: Floats) -> dict[str, Floats]:
        """The champion's answers by the names of the task's number columns, each of shape (n,).

        Raises:
            ContractBroken: There is no model, or it gave something that is not a number.
        """
        if self.champion is None:
            raise ContractBroken("no model is deployed")
        return self._of(self.champion, matrix)

    def _of(self, model: Model, matrix: Floats) -> dict[str, Floats]:
        return self.task.answers(model.manifest, model.predict(matrix))

    def _challenged(self, request: ScoreRequest, matrix: Floats, cold: Mask) -> Scored | None:
        if self.challenger is None:
            return None
        version = self.challenger.manifest.version
        try:
            numbers = self._of(self.challenger, matrix)
        except ContractBroken as error:
            raise ChallengerFails(f"challenger {version}: {error}") from error
        chosen = {device: chance(self.salt, device) < self.share for device in set(request.device)}
        served = np.array([chosen[device] for device in request.device], bool)
        return Scored(CHALLENGER, version, numbers, served, cold=cold)


def chance(salt: str, device: str) -> float:
    """A device's fixed place between 0 and 1 in a rollout: those below the share belong to the canary."""
    digest = hashlib.blake2b(f"{salt}/{device}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def load_package(task: Task, blobs: BlobReader, load: LoadModel, version: str) -> Model:
    """The model of a stored package.

    Args:
        task: What it must answer.
        blobs: Where packages stand.
        load: Loads and checks one.
        version: Its version.

    Raises:
        ContractBroken: A file is missing, damaged, of another version or scenario than it should be, or trained when
            the scenario said otherwise.
    """
    files: dict[str, bytes] = {}
    for name in ("manifest.json", *manifest.FILES):
        raw = blobs.read(deployment.CONTAINER, f"{version}/{name}")
        if raw is None:
            raise ContractBroken(f"{version}/{name} is missing")
        files[name] = raw
    model = load(files)
    if version == FLOOR:
        raise ContractBroken(f"{version!r} is the version of the baseline, which no package may have")
    if model.manifest.version != version:
        raise ContractBroken(f"the package in {version}/ says it is version {model.manifest.version}")
    if model.manifest.scenario != task.scenario.name:
        raise ContractBroken(f"the package is of scenario {model.manifest.scenario!r}, not {task.scenario.name!r}")
    if wrong := _otherwise_trained(task, model.manifest):
        raise ContractBroken(f"the model was trained under another scenario: {'; '.join(wrong)}")
    return model


def _otherwise_trained(task: Task, found: Manifest) -> list[str]:
    """What a model rests on and is otherwise now; one that does not say what is of the scenario's first version."""
    trained, now = found.trained_for or meaning(versions(task)[0].scenario), meaning(task.scenario)
    return [f"{key} was {was}, is {now[key]}" for key, was in trained.items() if now.get(key, was) != was]


@dataclass
class Serving:
    """Follows `models/deployment.json`, asking at most every `refresh_s` seconds.

    Args:
        task: What an answer is.
        blobs: Where packages and the control document stand.
        load: Loads and checks a package.
        clock: Decides when to ask again.
        refresh_s: Seconds between two looks.
    """

    task: Task
    blobs: Blobs
    load: LoadModel
    clock: Clock
    refresh_s: float
    problems: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _etag: str | None = None
    _looked_s: float | None = None
    _now: ActiveModels | None = None
    _postponed: bool = False

    def current(self) -> ActiveModels:
        """Who answers now."""
        with self._lock:
            now = self.clock.elapsed_s()
            if self._now is None or self._looked_s is None or now - self._looked_s >= self.refresh_s:
                self._follow()
                self._looked_s = now
            if self._now is None:
                self._now = ActiveModels(self.task, Control(), None)
            return self._now

    def _follow(self) -> None:
        found = self.blobs.read_changed(deployment.CONTAINER, deployment.NAME, self._etag)
        if found is None:
            return
        raw, etag = found
        try:
            wanted = deployment.decode(raw)
        except ContractBroken as error:
            self._refuse("deployment", error)
        else:
            self.problems.clear()  # they are of the document before
            self._postponed = False
            self._now = self._serve(wanted)
        self._etag = None if self._postponed else etag  # without it the next look finds the document anew

    def _serve(self, wanted: Deployment) -> ActiveModels:
        """What can be served of what is wanted: a broken champion leaves the old one, a broken challenger none."""
        before, challenger = self._now.champion if self._now else None, self._challenger(wanted.challenger)
        if before is None and not wanted.salt:
            before = challenger  # of no rollout, so the champion of before: also a new worker goes on with it
        champion = self._model(wanted.champion, before)
        if champion is None or champion is challenger:
            challenger = None
        first, second = (model.manifest.version if model else None for model in (champion, challenger))
        control = Control(first, second, frozenset(wanted.quarantine))
        return ActiveModels(self.task, control, champion, challenger, wanted.share, wanted.salt)

    def _challenger(self, version: str | None) -> Model | None:
        """The challenger; None also while it cannot be read or tried, as the champion does not wait for it."""
        try:
            return self._model(version, None)
        except TransientFailure as error:
            self._postponed, self.problems[str(version)] = True, str(error)
            log.warning("challenger %s is left out until the next look: %s", version, error)
            return None

    def _model(self, version: str | None, otherwise: Model | None) -> Model | None:
        """The model of a version, loaded unless it is in use already; `otherwise` when its package is refused."""
        if version is None:
            return None
        now = self._now
        for model in (now.champion, now.challenger) if now else ():
            if model is not None and model.manifest.version == version:
                return model
        try:
            model = load_package(self.task, self.blobs, self.load, version)
        except ContractBroken as error:
            self._refuse(version, error)
            return otherwise
        log.info("model %s is loaded", version)
        return model

    def _refuse(self, what: str, error: ContractBroken) -> None:
        serving = self._now.champion.manifest.version if self._now and self._now.champion else "the baseline"
        self.problems[what] = str(error)
        log.error("refused %s: %s; %s goes on serving", what, error, serving)
