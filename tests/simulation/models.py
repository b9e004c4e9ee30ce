"""The scenario's rules in the simulation, packages, and what a training job leaves."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cache

import msgspec
import numpy as np

from shared.app.loop.results import Result
from shared.core.forecast.task import HourlyForecast
from shared.core.gate import evidence as gate_evidence
from shared.core.model.manifest import FILES, Manifest, encode_manifest
from shared.core.scenario import RetrainRules, RolloutRules, Scenario, with_overrides
from shared.core.task.task import Task
from shared.errors import ContractBroken
from tests.kit import SCENARIO, Guess, MemoryBlobs, publish, window_features
from tests.kit import load as load_guess
from tests.kit.data import gate_world
from tests.kit.scenario import WholeWindow

RULES = with_overrides(
    SCENARIO,
    gate=dataclasses.replace(SCENARIO.gate, minimum_rows=500, resamples=200, maximum_latency_ms=60_000.0),
    rollout=RolloutRules(minimum_labels=100, guard_days=3, block_days=1, minimum_blocks=2, maximum_days=12,
                         maximum_latency_ms=60_000.0),
    retrain=RetrainRules(cooldown_h=6.0, backoff_h=1.0, timeout_h=30.0, challenger_wait_days=1),
)  # fmt: skip
EDITS = (  # which can be taken over, and which needs a migration
    with_overrides(RULES, channels=(dataclasses.replace(RULES.channels[0], maximum=900.0), *RULES.channels[1:])),
    with_overrides(RULES, channels=(*RULES.channels, dataclasses.replace(RULES.channels[0], name="dust"))),
)
DAMAGED = b"damaged"


class Windowed(HourlyForecast):
    """The task of a scenario, whose features are its window, under whatever version."""

    def __init__(self, scenario: Scenario, before: Task | None = None) -> None:
        super().__init__(scenario, WholeWindow(window_features(scenario)), before)  # type: ignore[arg-type]

    def under(self, scenario: Scenario, before: Task | None) -> Windowed:
        return Windowed(scenario, before)


UNEDITED = Windowed(RULES)


def load(files: Mapping[str, bytes]) -> Guess:
    """A model, unless its package is damaged."""
    if files.get("model.onnx") == DAMAGED:
        raise ContractBroken("model.onnx: sha256 differs")
    return load_guess(files)


def package(blobs: MemoryBlobs, version: str, until: int) -> None:
    """A stored package of a version that was trained up to an hour."""
    publish(blobs, version)
    raw = blobs.read("models", f"{version}/manifest.json") or b""
    sha256 = {"model.onnx": hashlib.sha256(version.encode()).hexdigest()}
    found = msgspec.structs.replace(msgspec.json.decode(raw, type=Manifest), trained_until=until, sha256=sha256)
    blobs.write("models", f"{version}/manifest.json", encode_manifest(found))
    for name in FILES:
        blobs.write("models", f"{version}/{name}", b"x")


@cache
def evidence(size: float) -> bytes:
    """A challenger whose errors are `size` times the champion's, as a job stores it."""
    world = gate_world.World.draw(3, devices=3, days=30)
    found = world.evidence(world.error(1, size))
    return gate_evidence.encode(gate_world.change(found, witness=np.full(len(found), np.nan, np.float32)))


def leave(blobs: MemoryBlobs, job: str, version: str, size: float) -> None:
    """What a completed job leaves: its package, its result and its evidence."""
    package(blobs, version, 0)
    run_id = f"run-{job}"
    result = Result(job=job, version=version, run_id=run_id, dataset="lake@12", trained_until=0, parity=1e-6)
    blobs.write("models", f"jobs/{job}.npz", evidence(size))
    blobs.write("models", f"jobs/{job}.json", msgspec.json.encode(result))
