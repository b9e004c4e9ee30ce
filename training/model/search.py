"""A bounded search for the candidate with the least error on folds, each trial a child run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import optuna

from shared.core.scenario import Search
from training.data.folds import Fold
from training.model.boosting import KNOWN_GOOD, Fitted, Params, fit_folds
from training.model.hourly.rows import TrainingSet
from training.report.console import Step
from training.report.tracking import Tracker

ROWS = 150_000
"""Rows a search works on at most; beyond, it takes every k-th as-of hour."""
STRIDES = (1, 5, 7, 11, 13, 17, 19, 23, 25, 29, 31, 35)  # without a common divisor with 24: every hour of the day stays
STARTUP = 4


def search(
    rows: TrainingSet,
    folds: Sequence[Fold],
    rules: Search,
    tracker: Tracker,
    step: Step,
) -> Fitted:
    """Try candidates on the folds and return the best, with its forecasts of all rows that a fold validates.

    The first trial is the recipe that is known to do well; the others are drawn around it.

    Args:
        rows: The training rows.
        folds: Rows to train on and to validate on.
        rules: Budget and seed.
        tracker: Receives each trial.
        step: Shows how far it is.
    """
    stride = stride_for(len(rows)) if rules.trials > 1 else 1
    thin = tuple(thinned(rows, fold, stride) for fold in folds)
    fits = (rules.trials + (stride > 1)) * len(folds)
    done = 0

    def fit(params: Params, chosen: Sequence[Fold]) -> Fitted:
        def count(_fold: int) -> None:
            nonlocal done
            done += 1
            step.advance(done, fits)

        return fit_folds(rows, chosen, params, max_trees=rules.max_trees, seed=rules.seed, done=count)

    best: Fitted | None = None

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        fitted = fit(suggest(trial), thin)
        tracker.child(
            f"trial-{trial.number}",
            {**fitted.params, "stride_h": stride, "max_trees": rules.max_trees},
            {"rmse": fitted.score, "trees": fitted.trees},
            {"fold_rmse": fitted.rmse},
        )
        step.say(
            f"trial {trial.number + 1}/{rules.trials}: {fitted.score:.3f}, {fitted.trees} trees; {words(fitted.params)}"
        )
        best = fitted if best is None or fitted.score < best.score else best
        return fitted.score

    _study(rules.seed).optimize(objective, n_trials=rules.trials)
    if best is None:
        raise RuntimeError("the search ended without a trial")
    if stride == 1:
        return best
    whole = fit(best.params, folds)
    tracker.child(
        "winner-on-all-rows", dict(whole.params), {"rmse": whole.score, "trees": whole.trees}, {"fold_rmse": whole.rmse}
    )
    return whole


def _study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(dict(KNOWN_GOOD))
    return study


def suggest(trial: optuna.Trial) -> Params:
    """Draw a candidate from the space around the known recipe."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.025, 0.08, log=True),
        "depth": trial.suggest_int("depth", 4, 6),
        "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 5.0, 200.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.1, 0.4, log=True),
        "rsm": trial.suggest_float("rsm", 0.05, 0.2, log=True),
        "random_strength": trial.suggest_float("random_strength", 1.0, 12.0, log=True),
    }


def stride_for(rows: int, limit: int = ROWS) -> int:
    """Smallest stride in hours that brings the rows below the limit.

    >>> stride_for(112_000), stride_for(420_000)
    (1, 5)
    """
    needed = math.ceil(rows / limit)
    return next((stride for stride in STRIDES if stride >= needed), STRIDES[-1])


def thinned(rows: TrainingSet, fold: Fold, stride: int) -> Fold:
    """A fold of every stride-th as-of hour; of rows without a time every stride-th row."""
    if stride == 1:
        return fold
    key = rows.as_of if rows.dated else np.arange(len(rows))
    return replace(
        fold, train=fold.train[key[fold.train] % stride == 0], valid=fold.valid[key[fold.valid] % stride == 0]
    )


def words(params: Mapping[str, float]) -> str:
    """Parameters in one line."""
    return " ".join(f"{name}={value:.3g}" for name, value in params.items())
