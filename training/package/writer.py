"""The model package on disk: written only if serving would accept it."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.adapters.models import onnx_model, package_folder
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature
from shared.core.model.manifest import FILES, Damped, Interval, Manifest, encode_arrays, encode_manifest
from shared.errors import ConfigError

GOLDEN_ROWS = 64
TIMED_RUNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the manifest says beyond what is measured from the files; `features` in the model's input order."""

    scenario: str
    created: datetime
    run_id: str
    dataset: str
    code_version: str
    training_start: str
    training_end: str
    rows: int
    features: Sequence[Feature]
    interval: Interval
    damped: Damped
    metrics: Mapping[str, float]
    content: str = ""
    trained_until: int = -1
    trained_for: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of a package.

    Args:
        model_onnx: The graph.
        golden_inputs: Rows in the model's input order, float32, shape (n, F).
        golden_outputs: What the original model says to them, shape (n,).
        baseline: Arrays of the training distribution, for drift.
        card: The model card, Markdown.
    """

    model_onnx: bytes
    golden_inputs: Floats
    golden_outputs: npt.NDArray[Any]
    baseline: Mapping[str, npt.NDArray[Any]]
    card: str


def version(created: datetime, model_onnx: bytes) -> str:
    """Name of a package: UTC time and the first digits of the model's sha256.

    >>> version(datetime(2026, 11, 20, 10, 15, tzinfo=timezone.utc), b"model")
    '20261120T101500-9372c470'
    """
    return f"{created.astimezone(timezone.utc):%Y%m%dT%H%M%S}-{hashlib.sha256(model_onnx).hexdigest()[:8]}"


def golden_inputs(rows: Floats) -> Floats:
    """Choose the rows that check a loaded model: one all missing, the sixteen with most gaps, others spread evenly.

    Args:
        rows: Feature rows in time order, float32, shape (n, F), n at least 1.

    Returns:
        float32, shape (64, F); rows repeat when there are fewer.
    """
    gaps = np.argsort(-np.isnan(rows).sum(axis=1), kind="stable")[: GOLDEN_ROWS // 4]
    spread = np.linspace(0, len(rows) - 1, GOLDEN_ROWS - 1 - len(gaps)).astype(np.int64)
    missing = np.full((1, rows.shape[1]), np.nan, dtype=np.float32)
    return np.concatenate([missing, rows[gaps], rows[spread]])


def write(directory: Path, facts: Facts, contents: Contents) -> Manifest:
    """Check and write a package; an older one in its place is replaced.

    Args:
        directory: New, empty, or holding a package.
        facts: What the manifest says.
        contents: What the files hold.

    Raises:
        ConfigError: The directory holds something else.
        ContractBroken: Serving would refuse the package.
    """
    _check_place(directory)
    files = _files(contents)
    manifest = _manifest(facts, files)
    # Serving's own check, before the first byte on disk; the latency is measured on what it returns.
    model = onnx_model.load({**files, "manifest.json": encode_manifest(manifest)}, facts.features)
    manifest = msgspec.structs.replace(manifest, latency_ms=latency_ms(model, contents.golden_inputs))
    _put(directory, {**files, "manifest.json": encode_manifest(manifest)})
    return manifest


def latency_ms(model: onnx_model.OnnxModel, rows: Floats) -> float:
    """Median milliseconds to score one row."""
    graph, row = model.graph, rows[:1]
    taken = []
    for _ in range(TIMED_RUNS):
        begun = time.perf_counter()
        graph.run(row)
        taken.append(time.perf_counter() - begun)
    return round(statistics.median(taken) * 1e3, 4)


def _files(contents: Contents) -> dict[str, bytes]:
    golden = {
        "inputs": contents.golden_inputs.astype(np.float32),
        "outputs": contents.golden_outputs.astype(np.float32),
    }
    return {
        "model.onnx": contents.model_onnx,
        "baseline.npz": encode_arrays(contents.baseline),
        "golden.npz": encode_arrays(golden),
        "card.md": contents.card.encode(),
    }


def _manifest(facts: Facts, files: Mapping[str, bytes]) -> Manifest:
    model = files["model.onnx"]
    return Manifest(
        version=version(facts.created, model),
        scenario=facts.scenario,
        created=f"{facts.created.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        run_id=facts.run_id,
        dataset=facts.dataset,
        code_version=facts.code_version,
        training_start=facts.training_start,
        training_end=facts.training_end,
        rows=facts.rows,
        features=[(feature.name, feature.version) for feature in facts.features],
        interval=facts.interval,
        damped=facts.damped,
        metrics=dict(facts.metrics),
        sha256={name: hashlib.sha256(files[name]).hexdigest() for name in FILES},
        size_bytes=len(model),
        latency_ms=0.0,
        content=facts.content,
        trained_until=facts.trained_until,
        trained_for=dict(facts.trained_for) or msgspec.UNSET,
    )


def _check_place(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory")
    names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    other = sorted(names.difference(package_folder.NAMES))
    if other:
        raise ConfigError(f"{directory}: holds {other[0]!r}, which no package has; name a new or empty directory")


def _put(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the manifest last, in one rename: until then there is no package, so none is ever half written.

    The directory itself is not renamed into place, as the output folder of a job may be a mount.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").unlink(missing_ok=True)
    for name in FILES:
        (directory / name).write_bytes(files[name])
    hidden = directory / ".manifest.json"
    hidden.write_bytes(files["manifest.json"])
    hidden.replace(directory / "manifest.json")
