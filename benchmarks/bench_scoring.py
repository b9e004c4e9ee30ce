"""Scoring side by side in one run: our package, CatBoost itself, ONNX Runtime's tree node, mlflow.pyfunc."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import catboost
import numpy as np
import onnx
import onnxruntime

from benchmarks import packages
from benchmarks.timing import milliseconds
from shared.adapters.models import onnx_model, package_folder
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature

FEATURES, TREES, DEPTH = 200, 300, 5
BATCHES = (1, 100, 1000)
ROUNDS = 10
OURS = "AirLoop"
TOLERANCE = 1e-3

Score = Callable[[Floats], Floats]


def run() -> None:
    """Print median milliseconds per batch and the ratio to ours; fail if the contenders disagree."""
    matrix = _rows()
    model = _train(matrix)
    with tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(model, Path(folder))
        for name, score in contenders.items():
            apart = float(np.abs(score(matrix) - model.predict(matrix)).max())
            assert apart <= TOLERANCE, f"{name} differs from CatBoost by {apart}"
        print(f"scoring, {TREES} trees of depth {DEPTH}, {FEATURES} features, median ms (times ours)")
        print("AirLoop and the tree node use one thread, CatBoost and mlflow as many as they like")
        print(f"{'rows':>6}" + "".join(f"{name:>24}" for name in contenders))
        for size in BATCHES:
            works = [partial(score, matrix[:size]) for score in contenders.values()]
            taken = dict(zip(contenders, milliseconds(works, ROUNDS), strict=True))
            cells = (f"{f'{ms:.3f} ({ms / taken[OURS]:.1f})':>24}" for ms in taken.values())
            print(f"{size:>6}" + "".join(cells))


def _rows() -> Floats:
    random = np.random.default_rng(7)
    matrix = random.normal(size=(8000, FEATURES)).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.05] = np.nan
    return matrix


def _train(matrix: Floats) -> catboost.CatBoostRegressor:
    filled = np.nan_to_num(matrix)
    truth = 80 + 20 * filled[:, 0] + 10 * filled[:, 1] * filled[:, 2] + 5 * filled[:, 3:20].sum(axis=1)
    settings = {"iterations": TREES, "depth": DEPTH, "learning_rate": 0.05, "rsm": 0.3, "random_seed": 7}
    return catboost.CatBoostRegressor(**settings, verbose=0, allow_writing_files=False).fit(matrix, truth)


def _contenders(model: catboost.CatBoostRegressor, folder: Path) -> dict[str, Score]:
    return {
        OURS: _ours(model, folder),
        "CatBoost native": model.predict,
        "ORT tree node": _tree_node(model, folder),
        "mlflow.pyfunc": _pyfunc(model, folder),
    }


def _ours(model: catboost.CatBoostRegressor, folder: Path) -> Score:
    features = [Feature(f"f{place}", 1) for place in range(FEATURES)]
    packages.write(folder / "package", model, features, _rows(), "bench")
    files = package_folder.read(folder / "package")
    begun = time.perf_counter()
    loaded = onnx_model.load(files, features)
    print(f"package of {len(files['model.onnx']) / 1e3:.0f} kB loaded and checked in {_ms_since(begun):.1f} ms")
    return loaded.predict


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1e3


def _tree_node(model: catboost.CatBoostRegressor, folder: Path) -> Score:
    model.save_model(str(folder / "own.onnx"), format="onnx")
    exported = onnx.load(folder / "own.onnx")
    exported.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1  # declared [N], comes as [N, 1]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def score(rows: Floats) -> Floats:
        values: Floats = session.run(None, {"features": rows})[0][:, 0]
        return values

    return score


def _pyfunc(model: catboost.CatBoostRegressor, folder: Path) -> Score:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: nothing leaves the machine
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Named requirements: inferring them would start a process that imports everything once more.
        mlflow.catboost.save_model(model, str(folder / "flavor"), pip_requirements=["catboost"])
        loaded = mlflow.pyfunc.load_model(str(folder / "flavor"))

    def score(rows: Floats) -> Floats:
        values: Floats = loaded.predict(rows)
        return values

    return score


if __name__ == "__main__":
    run()
