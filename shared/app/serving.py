"""Which models answer now: follows the control document, and keeps the old model when a new package is broken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.core import deployment, package
from shared.core.deployment import Deployment
from shared.core.readings import Floats
from shared.core.scenario import Scenario
from shared.core.scoring import Ask, Control, Scored, bounds, clip
from shared.core.state import CHAMPION
from shared.errors import ContractBroken
from shared.ports import Blobs, Clock, LoadModel, Model

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answering:
    """Control and scorer of one moment; a batch uses one of these from beginning to end."""

    scenario: Scenario
    control: Control
    champion: Model | None

    def __call__(self, ask: Ask) -> Sequence[Scored]:
        """Forecasts of the champion, none before the first deployment."""
        if self.champion is None:
            return []
        value, lower, upper = self.forecast(ask.matrix())
        served = np.ones(len(value), bool)
        return [Scored(CHAMPION, self.champion.manifest.version, value, lower, upper, served)]

    def forecast(self, matrix: Floats) -> tuple[Floats, Floats, Floats]:
        """Values, lower and upper ends of features, each of shape (n,).

        Raises:
            ContractBroken: There is no model, or it gave something that is not a number.
        """
        if self.champion is None:
            raise ContractBroken("no model is deployed")
        value = clip(self.scenario, self.champion.predict(matrix))
        return value, *bounds(self.scenario, self.champion.manifest.interval, value)


@dataclass
class Serving:
    """Follows `models/deployment.json`, asking at most every `refresh_s` seconds.

    Args:
        scenario: Limits of the forecast.
        blobs: Where packages and the control document stand.
        load: Loads and checks a package.
        clock: Decides when to ask again.
        refresh_s: Seconds between two looks.
    """

    scenario: Scenario
    blobs: Blobs
    load: LoadModel
    clock: Clock
    refresh_s: float
    problems: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _etag: str | None = None
    _looked_s: float | None = None
    _now: Answering | None = None

    def current(self) -> Answering:
        """Who answers now."""
        with self._lock:
            now = self.clock.elapsed_s()
            if self._now is None or self._looked_s is None or now - self._looked_s >= self.refresh_s:
                self._follow()
                self._looked_s = now
            if self._now is None:
                self._now = Answering(self.scenario, Control(), None)
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
            self._now = Answering(self.scenario, *self._serve(wanted))
        self._etag = etag

    def _serve(self, wanted: Deployment) -> tuple[Control, Model | None]:
        champion = self._now.champion if self._now else None
        if wanted.champion is None:
            champion = None
        elif champion is None or champion.manifest.version != wanted.champion:
            try:
                champion = self._loaded(wanted.champion)
                log.info("model %s serves from now on", wanted.champion)
            except ContractBroken as error:
                self._refuse(wanted.champion, error)
        version = champion.manifest.version if champion else None
        return Control(version, None, frozenset(wanted.quarantine)), champion

    def _loaded(self, version: str) -> Model:
        files: dict[str, bytes] = {}
        for name in ("manifest.json", *package.FILES):
            raw = self.blobs.read(deployment.CONTAINER, f"{version}/{name}")
            if raw is None:
                raise ContractBroken(f"{version}/{name} is missing")
            files[name] = raw
        model = self.load(files)
        if model.manifest.version != version:
            raise ContractBroken(f"the package in {version}/ says it is version {model.manifest.version}")
        if model.manifest.scenario != self.scenario.name:
            raise ContractBroken(f"the package is of scenario {model.manifest.scenario!r}, not {self.scenario.name!r}")
        return model

    def _refuse(self, what: str, error: ContractBroken) -> None:
        serving = self._now.champion.manifest.version if self._now and self._now.champion else "no model"
        self.problems[what] = str(error)
        log.error("refused %s: %s; %s goes on serving", what, error, serving)
