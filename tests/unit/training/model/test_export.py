from collections.abc import Callable
from typing import Any

import catboost
import numpy as np
import onnx
import onnxruntime
import pytest

from shared.adapters.models.onnx_graph import Graph
from shared.core.intake.readings import Floats
from shared.errors import ContractBroken
from training.model.export import check_parity, to_onnx

WIDTH = 12
DEPTHS = (1, 2, 3, 5, 6, 8)


def rows(seed: int, count: int = 400, *, gaps: bool = True) -> Floats:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, WIDTH)).astype(np.float32)
    if gaps:
        matrix[:, : WIDTH // 2][random.random((count, WIDTH // 2)) < 0.2] = np.nan  # the other half is never missing
    return matrix


def train(matrix: Floats, **parameters: Any) -> catboost.CatBoostRegressor:
    filled = np.nan_to_num(matrix, nan=2.0)
    truth = 60 + 20 * filled[:, 0] + 10 * filled[:, 1] * filled[:, 2] + 5 * np.abs(filled[:, 7])
    fixed = {"iterations": 50, "thread_count": 1, "verbose": 0, "allow_writing_files": False, "random_seed": 3}
    return catboost.CatBoostRegressor(**{**fixed, **parameters}).fit(matrix, truth)


@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_graph_says_what_catboost_says_also_on_borders_missing_and_infinite_values(
    depth: int, nan_mode: str
) -> None:
    matrix = rows(depth)
    model = train(matrix, depth=depth, nan_mode=nan_mode)
    assert check_parity(model, to_onnx(model, WIDTH), matrix) < 1e-4


def test_a_model_that_never_saw_a_gap_agrees_on_rows_with_gaps() -> None:
    model = train(rows(1, gaps=False), depth=4, nan_mode="Forbidden")
    assert check_parity(model, to_onnx(model, WIDTH), rows(2)) < 1e-4


def test_a_large_scale_and_bias_are_applied() -> None:
    matrix = rows(4)
    model = train(matrix, depth=4)
    model.set_scale_and_bias(-3.5, 250.25)
    assert check_parity(model, to_onnx(model, WIDTH), matrix) < 1e-4


def test_trees_of_several_depths_stand_in_one_graph() -> None:
    matrix = rows(5)
    models = [train(matrix, depth=depth, iterations=10) for depth in (2, 5, 3)]
    model = catboost.sum_models(models, weights=[0.5, 0.3, 0.2])
    expected = sum(weight * each.predict(matrix) for weight, each in zip((0.5, 0.3, 0.2), models, strict=True))
    assert np.abs(Graph(to_onnx(model, WIDTH)).run(matrix) - expected).max() < 1e-4


def test_trees_without_a_split_count_into_the_bias() -> None:
    matrix = rows(6, gaps=False)[:, :2].round()
    model = catboost.CatBoostRegressor(
        iterations=30, verbose=0, allow_writing_files=False, rsm=0.01, boost_from_average=False
    )
    model.fit(matrix, 40 + matrix[:, 0])  # a share of 0.01 of two features is none
    assert model.get_tree_leaf_counts().tolist() == [1] * 30
    assert model.get_leaf_values().min() > 0
    assert check_parity(model, to_onnx(model, 2), matrix) < 1e-4


def test_more_splits_than_one_block_holds_are_summed_over_blocks() -> None:
    matrix = rows(7)
    model = train(matrix, depth=5, iterations=900)
    raw = to_onnx(model, WIDTH)
    depths = set(model.get_tree_leaf_counts().tolist())
    blocks = sum(node.op_type == "GatherElements" for node in onnx.load_from_string(raw).graph.node)
    assert blocks == len(depths) + 1
    assert check_parity(model, raw, matrix) < 1e-4


def test_the_same_model_gives_the_same_bytes() -> None:
    matrix = rows(8)
    assert to_onnx(train(matrix, depth=4), WIDTH) == to_onnx(train(matrix, depth=4), WIDTH)


def test_inputs_and_outputs_are_declared_as_they_come(capfd: pytest.CaptureFixture[str]) -> None:
    matrix = rows(9)
    session = onnxruntime.InferenceSession(to_onnx(train(matrix, depth=3), WIDTH), providers=["CPUExecutionProvider"])
    given, result = session.get_inputs()[0], session.get_outputs()[0]
    assert (given.name, given.type, given.shape) == ("features", "tensor(float)", ["N", WIDTH])
    assert (result.name, result.type, result.shape) == ("prediction", "tensor(float)", ["N", 1])
    (output,) = session.run(None, {"features": matrix[:5]})
    assert output.shape == (5, 1)
    assert "arning" not in "".join(capfd.readouterr())


def test_a_model_may_read_fewer_features_than_a_row_has() -> None:
    matrix = rows(10)
    raw = to_onnx(train(matrix[:, :9], depth=3), WIDTH)
    assert Graph(raw).width == WIDTH


def test_threads_change_no_bit() -> None:
    matrix = rows(11)
    raw = to_onnx(train(matrix, depth=6), WIDTH)
    assert Graph(raw, threads=2).run(matrix).tobytes() == Graph(raw).run(matrix).tobytes()


def test_parity_fails_when_the_graph_belongs_to_another_model() -> None:
    matrix = rows(12)
    other = to_onnx(train(matrix, depth=3, iterations=49), WIDTH)
    with pytest.raises(ContractBroken, match=r"differs from CatBoost by .*, limit 0.001"):
        check_parity(train(matrix, depth=3), other, matrix)


def shift_a_border(model: onnx.ModelProto) -> None:
    """One border rises by one step of float32: only a row exactly on it can tell."""
    for constant in model.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.shape[0] > 1:
            moved = values.copy()
            moved[0] = np.nextafter(moved[0], np.float32(np.inf))
            constant.CopyFrom(onnx.numpy_helper.from_array(moved, constant.name))


def greater_or_equal(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.op_type = {"Greater": "GreaterOrEqual"}.get(node.op_type, node.op_type)


def nan_as_zero(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Where":
            node.input[1] = "zero"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"))


@pytest.mark.parametrize("spoil", [shift_a_border, greater_or_equal, nan_as_zero])
def test_parity_finds_a_graph_that_is_wrong_only_on_hard_rows(spoil: Callable[[onnx.ModelProto], None]) -> None:
    matrix = rows(13)
    model = train(matrix, depth=4, nan_mode="Max")
    graph = onnx.load_from_string(to_onnx(model, WIDTH))
    spoil(graph)
    ordinary = matrix[~np.isnan(matrix).any(axis=1)]
    assert np.abs(Graph(graph.SerializeToString()).run(ordinary) - model.predict(ordinary)).max() < 1e-4
    with pytest.raises(ContractBroken, match="differs from CatBoost"):
        check_parity(model, graph.SerializeToString(), ordinary)


def test_parity_fails_on_a_model_that_says_nan() -> None:
    matrix = rows(14)
    model = train(matrix, depth=3)
    graph = onnx.load_from_string(to_onnx(model, WIDTH))
    for constant in graph.graph.initializer:
        if constant.data_type == onnx.TensorProto.DOUBLE:
            constant.CopyFrom(onnx.numpy_helper.from_array(np.array(np.nan), constant.name))
    with pytest.raises(ContractBroken, match="by nan"):
        check_parity(model, graph.SerializeToString(), matrix)


def test_trees_that_are_not_symmetric_are_refused() -> None:
    model = train(rows(15), depth=3, grow_policy="Depthwise")
    with pytest.raises(ContractBroken, match="not symmetric, train with grow_policy='SymmetricTree'"):
        to_onnx(model, WIDTH)


def test_categorical_features_are_refused() -> None:
    table = [[name, float(value)] for value, name in enumerate("abcd" * 20)]
    model = catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False, cat_features=[0])
    model.fit(table, [row[1] for row in table])
    with pytest.raises(ContractBroken, match="has categorical_features"):
        to_onnx(model, 2)


def test_several_outputs_are_refused() -> None:
    matrix = rows(16)
    model = catboost.CatBoostRegressor(
        iterations=5, loss_function="MultiRMSE", verbose=0, allow_writing_files=False, boost_from_average=False
    )
    model.fit(matrix, np.nan_to_num(matrix[:, :2]))
    with pytest.raises(ContractBroken, match="has 2 outputs, one is needed"):
        to_onnx(model, WIDTH)


def test_rows_narrower_than_the_model_are_refused() -> None:
    with pytest.raises(ContractBroken, match="reads 12 features, the rows have 11"):
        to_onnx(train(rows(17), depth=2, iterations=5), WIDTH - 1)
