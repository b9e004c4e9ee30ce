"""Forecasts with errors as they are in life: alike from hour to hour and device to device, larger where values are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.signal import lfilter

from shared.adapters.stores.scenario_files import load
from shared.core.gate.evidence import Evidence, Facts, Model
from shared.core.intake.readings import Doubles
from shared.core.scenario import GateRules, Loss, Scenario, with_overrides

DEVICES, DAYS = 12, 100
START = 470_000 // 24 * 24
SCENARIO = with_overrides(load("air_quality"), loss="squared")
CHAMPION = Model(version="v1", sha256="a" * 64, trained_until=START)
FACTS = Facts(
    challenger=Model(version="v2", sha256="b" * 64, trained_until=START + 24 * DAYS), champion=CHAMPION,
    parity=1e-5, size_mb=2.0, latency_ms=3.0,
)  # fmt: skip


def scenario(*, loss: Loss = "squared", **changes: Any) -> Scenario:
    """The reference scenario with a loss, and some of the gate's limits changed."""
    return with_overrides(SCENARIO, loss=loss, gate=dataclasses.replace(SCENARIO.gate, **changes))


def rules(**changes: Any) -> GateRules:
    return scenario(**changes).gate


def wander(random: np.random.Generator, shape: tuple[int, ...], hours: float) -> Doubles:
    """AR(1) over the last axis with unit variance, forgotten after some `hours`."""
    keep = np.exp(-1 / hours)
    noise = random.standard_normal(shape)
    noise[..., 1:] *= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise, axis=-1))


@dataclasses.dataclass
class World:
    """Truth and errors on devices x hours, from which evidence is made.

    Args:
        truth: What came.
        spread: Typical size of an error at each place.
        shared: The part of the errors that both models have, unit variance.
        own: The part of the champion and of the challenger alone, unit variance each.
    """

    truth: Doubles
    spread: Doubles
    shared: Doubles
    own: tuple[Doubles, Doubles]
    now: Doubles

    @classmethod
    def draw(cls, seed: int, devices: int = DEVICES, days: int = DAYS, memory: float = 12.0) -> World:
        random = np.random.default_rng(seed)
        shape = (devices, days * 24 + 24)
        weather = np.sqrt(0.7) * wander(random, shape[1:], 40) + np.sqrt(0.3) * wander(random, shape, 40)
        level = 40 * np.exp(0.8 * weather)
        truth, now = level[:, 24:], level[:, :-24]
        parts = [
            np.sqrt(0.6) * wander(random, truth.shape[1:], memory) + np.sqrt(0.4) * wander(random, truth.shape, memory)
            for _ in range(3)
        ]
        return cls(truth, 2 + 0.3 * truth, parts[0], (parts[1], parts[2]), now)

    def error(self, which: int, size: Any = 1.0, alike: float = 0.9) -> Doubles:
        """Errors of the champion (0) or the challenger (1), `size` times as large as usual."""
        return np.asarray(size * self.spread * (np.sqrt(alike) * self.shared + np.sqrt(1 - alike) * self.own[which]))

    def evidence(self, challenger: Doubles, champion: Doubles | None = None, **changes: Any) -> Evidence:
        """Evidence with the given errors; the intervals cover what they promise."""
        devices, hours = self.truth.shape
        champion = self.error(0) if champion is None else champion
        forecast = (self.truth + challenger).ravel().astype(np.float32)
        half = np.quantile(np.abs(challenger) / self.spread, 0.9) * self.spread.ravel()
        as_of = np.tile(START + np.arange(hours), devices)
        floor = 40 + 0.3 * (self.now - 40)
        fields: dict[str, Any] = {
            "devices": tuple(f"station-{i:02d}" for i in range(devices)),
            "device": np.repeat(np.arange(devices, dtype=np.int32), hours), "as_of": as_of,
            "trained_until": as_of // 720 * 720, "truth": self.truth.ravel().astype(np.float32),
            "witness": self.truth.ravel().astype(np.float32), "challenger": forecast,
            "champion": (self.truth + champion).ravel().astype(np.float32),
            "persistence": self.now.ravel().astype(np.float32), "damped": floor.ravel().astype(np.float32),
            "lower": (forecast - half).astype(np.float32), "upper": (forecast + half).astype(np.float32),
        }  # fmt: skip
        return Evidence(**{**fields, **changes})


def change(evidence: Evidence, **changes: Any) -> Evidence:
    return dataclasses.replace(evidence, **changes)


def pick(evidence: Evidence, rows: Any) -> Evidence:
    """The evidence's rows that are chosen, in the order chosen."""
    names = [field.name for field in dataclasses.fields(evidence) if field.name != "devices"]
    return change(evidence, **{name: getattr(evidence, name)[rows] for name in names})


def facts(**changes: Any) -> Facts:
    return Facts(**{**{name: getattr(FACTS, name) for name in FACTS.__struct_fields__}, **changes})
