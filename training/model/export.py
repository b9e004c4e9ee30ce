"""A CatBoost model as plain ONNX operators, and the proof that both say the same."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.adapters.models.onnx_graph import ORDER_FREE, Graph
from shared.adapters.models.onnx_model import TOLERANCE
from shared.core.intake.readings import Floats
from shared.errors import ContractBroken

OPSET = 18
IR_VERSION = 9
BLOCK_SPLITS = 4096  # bounds the memory of 128 rows to a few megabytes, whatever the number of trees
PROBES = 512
HARD_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class _Tree:
    """An oblivious tree: a row falls into leaf sum(2**k for k where row[features[k]] > borders[k])."""

    features: tuple[int, ...]
    borders: tuple[float, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Forest:
    """Trees with at least one split, what is added to their sum, and the features whose NaN lies above all borders."""

    trees: Sequence[_Tree]
    bias: float
    nan_above: Sequence[int]


def to_onnx(model: catboost.CatBoostRegressor, n_features: int) -> bytes:
    """Write a trained model as an ONNX graph: input `features` float32 [N, F], output `prediction` float32 [N, 1].

    Leaf values become multiples of a small power of two (2**-40 for forecasts up to thousands) and are summed as int64.
    Integer sums know no order, so a row gets the same bits in every batch, with every number of threads and on every
    processor. The same model gives the same bytes.

    Args:
        model: Symmetric trees on numeric features, one output.
        n_features: Width of the rows, at least the model's own.

    Raises:
        ContractBroken: The model has other trees, categorical or text features, or several outputs.
    """
    forest = _forest(_as_json(model), n_features)
    graph = _Builder()
    columns = graph.add("Transpose", "features", perm=[1, 0])  # feature-major: a split reads one run of memory
    if forest.nan_above:
        columns = _lift_nan(graph, columns, forest.nan_above, n_features)
    shift = _shift(forest.trees)
    sums = [_leaf_sum(graph, columns, block, shift) for block in _blocks(forest.trees)]
    total = reduce(lambda left, right: graph.add("Add", left, right), sums)
    scaled = graph.add("Mul", graph.add("Cast", total, to=TensorProto.DOUBLE), graph.constant(np.float64(2.0**-shift)))
    value = graph.add("Add", scaled, graph.constant(np.float64(forest.bias)))
    column = graph.constant(np.array([-1, 1], dtype=np.int64))
    graph.add("Reshape", graph.add("Cast", value, to=TensorProto.FLOAT), column, output="prediction")
    return graph.model(n_features)


def check_parity(model: catboost.CatBoostRegressor, onnx_bytes: bytes, rows: Floats) -> float:
    """Compare graph and model on given rows and on rows made to be hard; return the largest difference.

    A hard row takes its values from the model's own borders, one step of float32 beside them, NaN, both infinities and
    the largest float32.

    Args:
        model: The trained model.
        onnx_bytes: Its graph.
        rows: Feature rows, float32, shape (n, F), n at least 1.

    Raises:
        ContractBroken: They differ by more than 1e-3, or not by a number.
    """
    probes = np.concatenate([rows, _hard_rows(model.get_borders(), rows)])
    expected = model.predict(probes)
    apart = np.abs(Graph(onnx_bytes).run(probes) - expected)
    if not apart.max() <= TOLERANCE:  # `not <=`: NaN fails
        row = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        raise ContractBroken(
            f"model.onnx: differs from CatBoost by {apart[row]:.3g} where CatBoost says {expected[row]:.6g}, "
            f"limit {TOLERANCE}"
        )
    return float(apart.max())


def _hard_rows(borders: Mapping[int, Sequence[float]], rows: Floats) -> Floats:
    random = np.random.default_rng(7)
    probes = rows[random.integers(len(rows), size=PROBES)]
    largest = np.finfo(np.float32).max
    extremes = np.array([np.nan, np.inf, -np.inf, largest, -largest], dtype=np.float32)
    for feature, values in borders.items():
        exact = np.array(values, dtype=np.float32)
        beside = [np.nextafter(exact, np.float32(end)) for end in (-largest, largest)]
        pool = np.concatenate([exact, *beside, extremes])
        chosen = random.random(PROBES) < HARD_SHARE
        probes[chosen, feature] = random.choice(pool, size=int(chosen.sum()))
    return probes


def _as_json(model: catboost.CatBoostRegressor) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _forest(raw: Mapping[str, Any], n_features: int) -> _Forest:
    other = sorted(kind for kind, found in raw["features_info"].items() if found and kind != "float_features")
    if other:
        raise ContractBroken(f"CatBoost model: has {', '.join(other)}, only numeric features can be exported")
    if "oblivious_trees" not in raw:
        raise ContractBroken("CatBoost model: trees are not symmetric, train with grow_policy='SymmetricTree'")
    scale, biases = raw["scale_and_bias"]
    if len(biases) != 1:
        raise ContractBroken(f"CatBoost model: has {len(biases)} outputs, one is needed")
    numeric = raw["features_info"].get("float_features", [])
    if not len(numeric) <= n_features:
        raise ContractBroken(f"CatBoost model: reads {len(numeric)} features, the rows have {n_features}")
    trees = [_tree(tree, scale) for tree in raw["oblivious_trees"]]
    return _Forest(
        trees=[tree for tree in trees if tree.features] or [_Tree((0,), (0.0,), (0.0, 0.0))],
        bias=biases[0] + sum(tree.leaves[0] for tree in trees if not tree.features),
        nan_above=[feature["feature_index"] for feature in numeric if feature["nan_value_treatment"] == "AsTrue"],
    )


def _tree(raw: Mapping[str, Any], scale: float) -> _Tree:
    splits = raw["splits"] or []
    leaves = tuple(scale * value for value in raw["leaf_values"])
    if len(leaves) != 1 << len(splits):
        raise ContractBroken(f"CatBoost model: a tree with {len(splits)} splits has {len(leaves)} leaves")
    features = tuple(split["float_feature_index"] for split in splits)
    return _Tree(features, tuple(split["border"] for split in splits), leaves)


def _blocks(trees: Sequence[_Tree]) -> list[list[_Tree]]:
    """Trees of one depth together, so that none is padded, and few enough for the cache."""
    by_depth: defaultdict[int, list[_Tree]] = defaultdict(list)
    for tree in trees:
        by_depth[len(tree.features)].append(tree)
    blocks = []
    for depth, same in sorted(by_depth.items()):
        size = BLOCK_SPLITS // depth
        blocks += [same[start : start + size] for start in range(0, len(same), size)]
    return blocks


def _shift(trees: Sequence[_Tree]) -> int:
    """Binary places that leaves keep: at most 40, and so few that any sum stays below 2**52, exact as a double."""
    largest = sum(max(map(abs, tree.leaves)) for tree in trees)
    return min(40, 51 - int(np.ceil(np.log2(largest)))) if largest > 0 else 40


class _Builder:
    """Collects the nodes and constants of a graph under running names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: npt.NDArray[Any] | np.generic) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def model(self, n_features: int) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "oblivious_trees",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", n_features])],
            [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])],
            self._constants,
        )
        # Versions are fixed: a newer onnx package must not change the bytes, nor ask for a newer runtime.
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="airloop")
        helper.set_model_props(model, {ORDER_FREE: "yes"})
        onnx.checker.check_model(model, full_check=True)
        raw: bytes = model.SerializeToString(deterministic=True)
        return raw


def _lift_nan(graph: _Builder, columns: str, features: Sequence[int], n_features: int) -> str:
    """Replace NaN by what lies on its side of every border: infinity for these features, minus infinity elsewhere."""
    stand_in = np.full((n_features, 1), -np.inf, dtype=np.float32)
    stand_in[list(features)] = np.inf
    return graph.add("Where", graph.add("IsNaN", columns), graph.constant(stand_in), columns)


def _leaf_sum(graph: _Builder, columns: str, trees: Sequence[_Tree], shift: int) -> str:
    """Sum of the leaves that the rows fall into, int64 [N]; all trees have one depth."""
    features = np.array([tree.features for tree in trees], dtype=np.int64).T
    borders = np.array([tree.borders for tree in trees], dtype=np.float32).T
    leaves = np.rint(np.ldexp(np.array([tree.leaves for tree in trees]), shift)).astype(np.int64)
    depth = len(features)
    values = graph.add("Gather", columns, graph.constant(features.ravel()), axis=0)
    above = graph.add("Greater", values, graph.constant(borders.reshape(-1, 1)))  # NaN > border is false
    bits = graph.add("Cast", above, to=TensorProto.FLOAT)
    by_level = graph.add("Reshape", bits, graph.constant(np.array([depth, -1], dtype=np.int64)))
    weights = graph.constant(np.ldexp(np.float32(1), np.arange(depth)).reshape(1, depth).astype(np.float32))
    leaf = graph.add("Cast", graph.add("MatMul", weights, by_level), to=TensorProto.INT32)
    by_tree = graph.add("Reshape", leaf, graph.constant(np.array([len(trees), -1], dtype=np.int64)))
    chosen = graph.add("GatherElements", graph.constant(leaves), by_tree, axis=1)
    return graph.add("ReduceSum", chosen, graph.constant(np.array([0], dtype=np.int64)), keepdims=0)
