"""CatBoost candidates: parameters, fits of folds, the number of trees, and the final model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from catboost import CatBoostRegressor, Pool

from shared.core.intake.readings import Floats, Longs
from training.data.folds import Fold
from training.model.hourly.rows import TrainingSet

THREADS = 2
PATIENCE = 60
GROWTH = 0.25
GROWTH_LIMIT = 1.25

Params = Mapping[str, float | int]

KNOWN_GOOD: Params = {
    "learning_rate": 0.03, "depth": 6, "l2_leaf_reg": 20.0, "subsample": 0.2, "rsm": 0.1, "random_strength": 5.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a candidate did on the folds.

    Args:
        params: The candidate's parameters.
        trees: Number of trees that is best for all folds together, one number for all.
        rmse: Per fold, at that number.
        forecast: Out-of-fold forecasts by row number of the set, NaN where no fold validates, shape (n,).
    """

    params: Params
    trees: int
    rmse: tuple[float, ...]
    score: float
    forecast: Floats


def fit_folds(
    rows: TrainingSet,
    folds: Sequence[Fold],
    params: Params,
    *,
    max_trees: int,
    seed: int,
    done: Callable[[int], None] = lambda _fold: None,
) -> Fitted:
    """Train a candidate on each fold and forecast the rows it has not seen.

    A fold stops when its validation gets no better, and no later fold grows longer. The number of trees is the one that
    is best for all folds together and that all folds reached: each fold's own best would be an optimist's choice.

    Args:
        rows: The rows.
        folds: Rows to train on and to validate on.
        params: The candidate.
        max_trees: Most trees.
        seed: Of CatBoost's random choices.
        done: Called after each fold with its number from 1.
    """
    models, curves, limit = [], [], max_trees
    for number, fold in enumerate(folds, 1):
        model = _regressor(params, limit, seed, od_type="Iter", od_wait=PATIENCE, use_best_model=False)
        model.fit(_pool(rows, fold.train), eval_set=_pool(rows, fold.valid))
        curves.append(np.asarray(model.get_evals_result()["validation"]["RMSE"], dtype=np.float64))
        models.append(model)
        limit = len(curves[-1])
        done(number)
    trees = common_trees(curves, [len(fold.valid) for fold in folds])
    forecast = np.full(len(rows), np.nan, dtype=np.float32)
    for model, fold in zip(models, folds, strict=True):
        forecast[fold.valid] = model.predict(_chosen(rows.matrix, fold.valid), ntree_end=trees)
    squared = [np.mean((forecast[fold.valid] - rows.target[fold.valid]) ** 2, dtype=np.float64) for fold in folds]
    score = np.average(squared, weights=[len(fold.valid) for fold in folds])
    return Fitted(params, trees, tuple(float(np.sqrt(s)) for s in squared), float(np.sqrt(score)), forecast)


def common_trees(curves: Sequence[npt.NDArray[np.float64]], rows: Sequence[int]) -> int:
    """Number of trees with the least squared error over all folds, among those that every fold reached.

    >>> common_trees([np.array([3.0, 1.0, 2.0, 0.1]), np.array([3.0, 2.5, 2.4])], [10, 10])
    2

    Args:
        curves: RMSE after each tree, per fold.
        rows: Validation rows per fold.
    """
    shortest = min(len(curve) for curve in curves)
    squared = np.stack([curve[:shortest] ** 2 for curve in curves])
    return int(np.argmin(np.average(squared, axis=0, weights=rows))) + 1


def refit(rows: TrainingSet, folds: Sequence[Fold], fitted: Fitted, *, seed: int) -> CatBoostRegressor:
    """Train the winner on all rows, with modestly more trees for there being more rows than the folds had."""
    more = len(rows) / float(np.mean([len(fold.train) for fold in folds]))
    trees = max(1, round(fitted.trees * min(GROWTH_LIMIT, more**GROWTH)))
    return fit(rows, np.arange(len(rows)), fitted.params, trees, seed=seed)


def fit(rows: TrainingSet, index: Longs, params: Params, trees: int, *, seed: int) -> CatBoostRegressor:
    """Train a candidate with a given number of trees on some rows."""
    model = _regressor(params, trees, seed)
    model.fit(_pool(rows, index))
    return model


def _pool(rows: TrainingSet, index: Longs) -> Pool:
    return Pool(_chosen(rows.matrix, index), _chosen(rows.target, index))


def _chosen(values: Floats, index: Longs) -> Floats:
    """Rows of an array; rows that follow each other, as those of a span of time do, without a copy."""
    span = slice(int(index[0]), int(index[-1]) + 1)
    return values[span] if span.stop - span.start == len(index) else values[index]


def _regressor(params: Params, trees: int, seed: int, **more: object) -> CatBoostRegressor:
    return CatBoostRegressor(
        iterations=trees,
        loss_function="RMSE",
        grow_policy="SymmetricTree",
        bootstrap_type="Bernoulli",
        border_count=32,
        random_seed=seed,
        thread_count=THREADS,
        allow_writing_files=False,
        verbose=False,
        **params,
        **more,
    )
