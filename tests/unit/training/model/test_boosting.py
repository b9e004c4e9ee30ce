"""Fits of folds, the search around them, and the refit."""

from dataclasses import dataclass, field, replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from shared.core.forecast.window.history import hourly
from shared.core.model.feature import Feature
from shared.core.scenario import Search
from shared.core.task.tasks import task_of
from tests.kit.data.sensor_history import air_quality, history, readings
from training.calibrate import baseline
from training.data.folds import rolling
from training.model import boosting, search
from training.model.evaluate import Evaluation
from training.model.hourly import rows as data
from training.model.hourly.rows import TrainingSet
from training.report.console import Screen

QUICK = Search(trials=3, folds=2, max_trees=25, seed=5)


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    scenario = air_quality()
    grid = hourly(scenario, readings(*(history(700, seed) for seed in (1, 2))))
    return data.from_history(task_of(scenario), grid)


@dataclass
class Recorder:
    """Stands in for MLflow: keeps what it is told."""

    children: list[tuple[str, dict[str, object], dict[str, float], dict[str, object]]] = field(default_factory=list)

    def child(self, name: str, params: dict[str, object], metrics: dict[str, float], series: dict[str, object]) -> None:
        self.children.append((name, dict(params), dict(metrics), dict(series)))


def searched(rows: TrainingSet, rules: Search = QUICK) -> tuple[boosting.Fitted, Recorder]:
    recorder = Recorder()
    with Screen(Console(file=StringIO())).step("search") as step:
        return search.search(rows, rolling(rows.as_of, 24, rules.folds), rules, recorder, step), recorder  # type: ignore[arg-type]


def test_a_row_is_forecast_only_by_a_model_that_was_not_trained_on_it() -> None:
    random = np.random.default_rng(1)
    count = 800
    noise = random.normal(0, 1, count).astype(np.float32)
    unlearnable = TrainingSet(  # the one feature says which row it is, and nothing about any other row
        features=(Feature("row", 1),) * 2,
        matrix=random.permutation(count * 2).reshape(count, 2).astype(np.float32),
        target=noise,
        as_of=np.arange(count),
        device=np.zeros(count, np.int32),
        devices=("a",),
        latest=noise,
        mean_24=noise,
    )
    folds = rolling(unlearnable.as_of, 24, 3)
    params = {**boosting.KNOWN_GOOD, "learning_rate": 0.3, "l2_leaf_reg": 1.0, "rsm": 1.0, "subsample": 0.9}
    fitted = boosting.fit_folds(unlearnable, folds, params, max_trees=60, seed=1)
    own = boosting.refit(unlearnable, folds, replace(fitted, trees=60), seed=1).predict(unlearnable.matrix)
    out_of_fold = np.concatenate([fold.valid for fold in folds])
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(fitted.forecast)), out_of_fold)
    assert np.corrcoef(own, noise)[0, 1] > 0.5
    assert abs(np.corrcoef(fitted.forecast[out_of_fold], noise[out_of_fold])[0, 1]) < 0.15


def test_the_score_is_that_of_the_out_of_fold_forecasts(rows: TrainingSet) -> None:
    folds = rolling(rows.as_of, 24, 2)
    fitted = boosting.fit_folds(rows, folds, boosting.KNOWN_GOOD, max_trees=20, seed=1)
    errors = [fitted.forecast[fold.valid] - rows.target[fold.valid] for fold in folds]
    assert fitted.rmse == pytest.approx([float(np.sqrt(np.mean(e**2))) for e in errors], rel=1e-4)
    assert fitted.score == pytest.approx(float(np.sqrt(np.mean(np.concatenate(errors) ** 2))), rel=1e-4)
    assert 1 <= fitted.trees <= 20


def test_the_number_of_trees_is_one_that_every_fold_reached() -> None:
    falling, short = np.linspace(9, 1, 50), np.array([5.0, 4.0, 4.1])
    assert boosting.common_trees([falling, short], [10, 10]) == 3
    assert boosting.common_trees([falling, short], [1, 1000]) == 2


def test_the_refit_uses_all_rows_and_modestly_more_trees(rows: TrainingSet) -> None:
    folds = rolling(rows.as_of, 24, 2)
    fitted = boosting.fit_folds(rows, folds, boosting.KNOWN_GOOD, max_trees=20, seed=1)
    model = boosting.refit(rows, folds, replace(fitted, trees=20), seed=1)
    assert 20 < model.tree_count_ <= 25
    last = replace(fitted, trees=20)
    on_last_fold = boosting.refit(subset(rows, folds[-1].train), folds, last, seed=1)
    assert np.abs(model.predict(rows.matrix) - on_last_fold.predict(rows.matrix)).max() > 0.1


def subset(rows: TrainingSet, index: np.ndarray) -> TrainingSet:
    arrays = {name: getattr(rows, name)[index] for name in ("matrix", "target", "as_of", "device", "latest", "mean_24")}
    return replace(rows, **arrays)


def test_the_search_begins_with_the_known_recipe_logs_every_trial_and_returns_the_best(rows: TrainingSet) -> None:
    best, recorder = searched(rows)
    assert [name for name, *_ in recorder.children] == ["trial-0", "trial-1", "trial-2"]
    _, params, _, series = recorder.children[0]
    assert boosting.KNOWN_GOOD.items() <= params.items()
    assert len(series["fold_rmse"]) == 2  # type: ignore[arg-type]
    assert best.score == min(metrics["rmse"] for _, _, metrics, _ in recorder.children)


def test_the_same_seed_gives_the_same_search_and_another_one_another(rows: TrainingSet) -> None:
    first, again = searched(rows)[0], searched(rows)[0]
    assert first.params == again.params
    np.testing.assert_array_equal(first.forecast, again.forecast)
    _, other = searched(rows, replace(QUICK, seed=6))
    assert other.children[1][1] != searched(rows)[1].children[1][1]


def test_a_thinned_fold_keeps_whole_hours_and_every_hour_of_the_day(rows: TrainingSet) -> None:
    (fold, _) = rolling(rows.as_of, 24, 2)
    thin = search.thinned(rows, fold, 5)
    assert set(rows.as_of[thin.train] % 5) == {0}
    assert set(rows.as_of[thin.train] % 24) == set(range(24))
    assert len(thin.train) == pytest.approx(len(fold.train) / 5, rel=0.1)


def test_the_baseline_holds_quantiles_and_out_of_fold_rows(rows: TrainingSet) -> None:
    count = len(rows)
    evaluation = Evaluation(
        as_of=rows.as_of,
        device=rows.device,
        devices=rows.devices,
        truth=rows.target,
        forecasts={"": rows.target, "_damped": rows.mean_24, "_persistence": rows.latest},
        lower=rows.target,
        upper=rows.target,
    )
    arrays = baseline.arrays(rows, evaluation)
    for index in (0, 40, 100):
        column = rows.matrix[:, index].astype(np.float64)
        expected = np.nanpercentile(column, np.arange(101))
        np.testing.assert_allclose(arrays["feature_quantiles"][index], expected, rtol=1e-5, atol=1e-5)
        assert arrays["feature_missing"][index] == pytest.approx(np.isnan(column).mean())
    assert arrays["feature_quantiles"].shape == (rows.matrix.shape[1], 101)
    assert len(arrays["oof_truth"]) == count
    assert all(array.dtype.kind in "fiU" for array in arrays.values())
