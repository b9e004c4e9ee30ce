"""A model package in memory, checked once when it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.adapters.models.onnx_graph import Graph
from shared.adapters.models.onnx_limits import ModelLimits, try_out
from shared.core.intake.readings import Floats, Longs
from shared.core.model.feature import Feature
from shared.core.model.manifest import FILES, Manifest, decode_arrays, decode_manifest
from shared.errors import ContractBroken

TOLERANCE = 1e-3
MAXIMUM_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A checked package, ready to score.

    Args:
        manifest: What the package says of itself.
        columns: Index of each model input in the featurizer's matrix, shape (F,).
        graph: The model.
    """

    manifest: Manifest
    columns: Longs
    graph: Graph

    def predict(self, matrix: Floats) -> Floats:
        """Forecast rows of the featurizer's matrix, unclipped.

        Args:
            matrix: All features of the application, float32, shape (n, F_all).

        Returns:
            Target units, float32, shape (n,); the same bits for a row in every batch.

        Raises:
            ContractBroken: The runtime cannot run the graph, or a forecast is not a finite number.
        """
        forecast = self.graph.run(np.take(matrix, self.columns, axis=1))
        broken = len(forecast) - int(np.isfinite(forecast).sum())
        if broken:
            raise ContractBroken(f"model {self.manifest.version}: {broken} of {len(forecast)} forecasts are not finite")
        return forecast


def load(
    files: Mapping[str, bytes],
    featurizer_features: Sequence[Feature],
    *,
    threads: int = 1,
    trial: ModelLimits | None = None,
) -> OnnxModel:
    """Check a package and make it ready.

    Args:
        files: Content by file name, `manifest.json` among them.
        featurizer_features: What this application computes, in the order of its matrix.
        threads: Threads of the runtime within an operator.
        trial: Within what the model is tried in a process of its own first; None, if it was made here.

    Raises:
        ContractBroken: A file is missing, changed, too large or unreadable, a feature is unknown or of another version,
            the model has another form, does not pass its trial, or does not reproduce the golden rows.
        TransientFailure: The trial could not be held.
    """
    if "manifest.json" not in files:
        raise ContractBroken("manifest.json: missing from the package")
    manifest = decode_manifest(files["manifest.json"])
    _check_files(manifest, files)
    columns = _columns(manifest, featurizer_features)
    decode_arrays("baseline.npz", files["baseline.npz"])
    if trial is not None:
        try_out(files["model.onnx"], trial)
    graph = Graph(files["model.onnx"], threads=threads)
    if graph.width != len(columns):
        raise ContractBroken(f"model.onnx: takes {graph.width} features, manifest.json lists {len(columns)}")
    _check_golden(graph, files["golden.npz"])
    return OnnxModel(manifest, columns, graph)


def _check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    unlisted = [name for name in FILES if name not in manifest.sha256]
    if unlisted:
        raise ContractBroken(f"manifest.json: sha256 lacks {', '.join(unlisted)}")
    for name, expected in manifest.sha256.items():
        if name not in files:
            raise ContractBroken(f"{name}: listed in manifest.json, missing from the package")
        if len(files[name]) > MAXIMUM_BYTES:
            raise ContractBroken(f"{name}: {len(files[name])} bytes are more than {MAXIMUM_BYTES}")
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise ContractBroken(f"{name}: sha256 is {found[:12]}.., manifest.json says {expected[:12]}..")


def _columns(manifest: Manifest, known: Sequence[Feature]) -> Longs:
    place = {feature.name: index for index, feature in enumerate(known)}
    for name, version in manifest.features:
        if name not in place:
            raise ContractBroken(f"manifest.json: feature {name!r} is unknown to this application")
        if version != known[place[name]].version:
            raise ContractBroken(
                f"manifest.json: feature {name!r} has version {version}, this application computes version "
                f"{known[place[name]].version}"
            )
    return np.array([place[name] for name, _ in manifest.features], dtype=np.int64)


def _check_golden(graph: Graph, raw: bytes) -> None:
    golden = decode_arrays("golden.npz", raw)
    if not {"inputs", "outputs"} <= golden.keys():
        raise ContractBroken(f"golden.npz: needs inputs and outputs, has {', '.join(sorted(golden)) or 'nothing'}")
    inputs, outputs = golden["inputs"], golden["outputs"]
    rows = len(outputs) if outputs.ndim == 1 else 0
    if not (rows and inputs.shape == (rows, graph.width) and inputs.dtype == outputs.dtype == np.float32):
        raise ContractBroken(
            f"golden.npz: needs float32 inputs (n, {graph.width}) and outputs (n,), has {inputs.dtype} {inputs.shape} "
            f"and {outputs.dtype} {outputs.shape}"
        )
    scored = graph.run(inputs)
    with np.errstate(invalid="ignore"):
        agrees = np.abs(scored - outputs) <= TOLERANCE  # NaN does not agree
    if not agrees.all():
        row = int(np.argmin(agrees))
        raise ContractBroken(
            f"golden.npz: {rows - int(agrees.sum())} of {rows} rows are not reproduced, row {row} gives "
            f"{scored[row]:.6g} instead of {outputs[row]:.6g}, tolerance {TOLERANCE}"
        )
