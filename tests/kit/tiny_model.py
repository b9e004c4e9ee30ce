"""A small real package, trained in a moment on made-up windows; made once per seed and session."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import catboost
import msgspec
import numpy as np

from shared.adapters.models import onnx_model, package_folder
from shared.adapters.stores import scenario_files
from shared.core.forecast.features.featurizer import Featurizer
from shared.core.intake.readings import Floats, Longs
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import Damped, Interval, decode_manifest, encode_manifest
from shared.core.scenario import ColdStart, with_overrides
from tests.kit import MemoryBlobs
from training.model.export import to_onnx
from training.package import writer

SCENARIO = with_overrides(scenario_files.load("air_quality"), cold_start=ColdStart(hours=0))
FEATURIZER = Featurizer(SCENARIO)
TREES = 20
LEVELS: Mapping[str, tuple[float, float]] = {
    "temp": (-10, 35),
    "precip": (0, 3),
    "rel_humidity": (20, 100),
    "wind_dir_u": (-1, 1),
    "wind_dir_v": (-1, 1),
    "wind_spd": (0, 9),
    "atmos_press": (980, 1040),
    "pm25": (1, 250),
}


def windows(count: int, seed: int) -> tuple[Floats, Longs]:
    """Made-up windows with gaps, and their as-of hours."""
    random = np.random.default_rng(seed)
    low, high = np.array([LEVELS[name] for name in SCENARIO.stored], np.float32).T[..., None]
    level = low + (high - low) * random.random((len(SCENARIO.stored), count), np.float32)
    drift = random.normal(0, 0.05, (SCENARIO.history, *level.shape)).astype(np.float32).cumsum(axis=0)
    window = np.clip(level + drift * (high - low) / 4, low, high).astype(np.float32)
    window[random.random(window.shape) < 0.1] = np.nan
    window[:, -1, ::5] = np.nan  # every fifth station has no PM2.5
    as_of = random.integers(400_000, 500_000, count)
    as_of[::3] = -1  # and every third window no time
    return window, as_of


@lru_cache
def package_of(seed: int = 0) -> Mapping[str, bytes]:
    """Files of a package; another seed gives another version."""
    matrix = FEATURIZER.matrix(*windows(400, seed))
    names = [feature.name for feature in FEATURIZER.features]
    warmth = np.nan_to_num(matrix[:, names.index("temp.latest")], nan=10.0)
    noon = np.nan_to_num(matrix[:, names.index("time.hour_of_day_cos")], nan=3.0)  # unknown is like no hour at all
    target = np.clip(90 - 2 * warmth + 10 * noon + 10 * seed, 0, None)
    options: dict[str, Any] = {"depth": 4, "learning_rate": 0.2, "random_seed": seed, "thread_count": 1}
    model = catboost.CatBoostRegressor(iterations=TREES, verbose=0, allow_writing_files=False, **options)
    model.fit(matrix, target)
    inputs = writer.golden_inputs(matrix)
    facts = writer.Facts(
        scenario=SCENARIO.name,
        created=datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=seed),
        run_id=f"run-{seed}",
        dataset="made up",
        code_version="0",
        training_start="2020-01-01T00:00:00Z",
        training_end="2021-01-01T00:00:00Z",
        rows=len(matrix),
        features=FEATURIZER.features,
        interval=Interval(nominal=0.9, edges=[50.0], lower=[-9.0, -20.0], upper=[10.0, 30.0]),
        damped=Damped(intercept=1.0, latest=0.5, mean_24=0.4),
        metrics={"rmse": 3.0},
    )
    contents = writer.Contents(
        model_onnx=to_onnx(model, matrix.shape[1]),
        golden_inputs=inputs,
        golden_outputs=model.predict(inputs),
        baseline={"counts": np.arange(3)},
        card="# Tiny\n",
    )
    with tempfile.TemporaryDirectory() as folder:
        writer.write(Path(folder), facts, contents)
        return package_folder.read(Path(folder))


def version_of(files: Mapping[str, bytes]) -> str:
    return decode_manifest(files["manifest.json"]).version


def loaded(files: Mapping[str, bytes]) -> onnx_model.OnnxModel:
    return onnx_model.load(files, FEATURIZER.features)


def changed(files: Mapping[str, bytes], **fields: Any) -> dict[str, bytes]:
    """The same package with another manifest."""
    manifest = msgspec.structs.replace(decode_manifest(files["manifest.json"]), **fields)
    return {**files, "manifest.json": encode_manifest(manifest)}


def sealed(files: Mapping[str, bytes], **contents: bytes) -> dict[str, bytes]:
    """The package with other files (`model_onnx=...`), whose hashes the manifest then has."""
    new = {**files, **{name.replace("_", "."): raw for name, raw in contents.items()}}
    sha256 = {name: hashlib.sha256(raw).hexdigest() for name, raw in new.items() if name != "manifest.json"}
    return changed(new, sha256=sha256)


def upload(blobs: MemoryBlobs, files: Mapping[str, bytes], version: str | None = None) -> str:
    """Put a package where serving looks for it; returns its version."""
    version = version or version_of(files)
    for name, raw in files.items():
        blobs.write(deployment.CONTAINER, f"{version}/{name}", raw)
    return version


def announce(blobs: MemoryBlobs, champion: str | None, **more: Any) -> None:
    """Write the control document."""
    blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(Deployment(champion=champion, **more)))


def deploy(blobs: MemoryBlobs, seed: int = 0, **more: Any) -> str:
    """Deploy the model of a seed; returns its version."""
    version = upload(blobs, package_of(seed))
    announce(blobs, version, **more)
    return version
