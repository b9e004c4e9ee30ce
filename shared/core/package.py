"""The model package: what a trained model says of itself, and the floor it had to beat."""

from __future__ import annotations

import msgspec
import numpy as np

from shared.core.readings import Floats
from shared.errors import ContractBroken

FORMAT = 1
FILES = ("model.onnx", "baseline.npz", "golden.npz", "card.md")


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Offsets added to a forecast, by the band the forecast falls into; from out-of-fold errors.

    Args:
        nominal: Share of truths that lower..upper should cover.
        edges: Inner edges between bands of the forecast, rising, length bands - 1.
        lower: Offset (target units, usually negative) of the lower end, length bands.
        upper: Offset of the upper end, length bands.
    """

    nominal: float
    edges: list[float]
    lower: list[float]
    upper: list[float]


class Damped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Damped persistence, the floor: intercept + latest * (value as of now) + mean_24 * (mean of the last 24 h)."""

    intercept: float
    latest: float
    mean_24: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json` of a package; `features` lists [name, version] in the model's input order."""

    format: int = FORMAT
    version: str
    scenario: str
    created: str
    run_id: str
    dataset: str
    code_version: str
    training_start: str
    training_end: str
    rows: int
    features: list[tuple[str, int]]
    interval: Interval
    damped: Damped
    metrics: dict[str, float]
    sha256: dict[str, str]
    size_bytes: int
    latency_ms: float


def decode_manifest(raw: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ContractBroken: Not JSON, a key is missing, unknown or of another type, or the format is a newer one.
    """
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise ContractBroken(f"manifest.json: {error}") from error
    if manifest.format != FORMAT:
        raise ContractBroken(f"manifest.json: format {manifest.format} is not {FORMAT}")
    bands = len(manifest.interval.edges) + 1
    if not len(manifest.interval.lower) == len(manifest.interval.upper) == bands:
        raise ContractBroken(f"manifest.json: interval needs {bands} lower and upper offsets")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def damped(floor: Damped, latest: Floats, mean_24: Floats) -> Floats:
    """Forecast of damped persistence; NaN where the value as of now is missing.

    Args:
        floor: Coefficients fitted on the training rows.
        latest: Target at the as-of hour, shape (n,).
        mean_24: Mean of the target over the 24 hours that end with it, NaN hours left out, shape (n,).
    """
    return np.asarray(floor.intercept + floor.latest * latest + floor.mean_24 * mean_24, dtype=np.float32)
