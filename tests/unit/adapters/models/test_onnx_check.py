"""Models that could read files, never end or grow: told from their bytes, or in a trial elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shared.adapters.models import onnx_check, onnx_model
from shared.adapters.models.onnx_check import check
from shared.adapters.models.onnx_limits import ModelLimits, try_out
from shared.errors import ContractBroken
from tests.golden import kept
from tests.kit import tiny_model

ONE = numpy_helper.from_array(np.array([1], np.int64), "one")
SUM = helper.make_node("ReduceSum", ["x", "one"], ["y"])


def model(*nodes: onnx.NodeProto, weights: Sequence[TensorProto] = (ONE,), domain: str = "") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or [SUM],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, 18)], ir_version=9)


def raw(made: onnx.ModelProto) -> bytes:
    data: bytes = made.SerializeToString()
    return data


def elsewhere(location: TensorProto.DataLocation = TensorProto.DEFAULT) -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=location)


def named(tensor: TensorProto) -> TensorProto:
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def sparse(made: onnx.ModelProto) -> onnx.ModelProto:
    made.graph.sparse_initializer.add(dims=[3])
    return made


def with_functions(made: onnx.ModelProto) -> onnx.ModelProto:
    made.functions.add(name="f", domain="d")
    return made


def with_training(made: onnx.ModelProto) -> onnx.ModelProto:
    made.training_info.add()
    return made


BRANCH = helper.make_graph([SUM], "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])])
REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "weights elsewhere": (model(weights=[ONE, elsewhere(TensorProto.EXTERNAL)]), "keeps values in another file"),
    "weights named elsewhere": (model(weights=[ONE, named(elsewhere())]), "keeps values in another file"),
    "a constant elsewhere": (
        model(SUM, helper.make_node("Constant", [], ["c"], value=named(elsewhere(TensorProto.EXTERNAL)))),
        "keeps values in another file",
    ),
    "a loop": (model(helper.make_node("Loop", ["m", "c"], ["y"])), "the operator 'Loop' is not allowed"),
    "a branch": (
        model(helper.make_node("Identity", ["x"], ["y"], then_branch=BRANCH)),
        "an operator holds a graph",
    ),
    "branches": (model(helper.make_node("Identity", ["x"], ["y"], all=[BRANCH])), "an operator holds graphs"),
    "a made constant": (
        model(helper.make_node("ConstantOfShape", ["one"], ["y"])),
        "the operator 'ConstantOfShape' is not allowed",
    ),
    "a foreign operator": (
        model(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")),
        r"the operator 'com\.microsoft\.Gelu' is not allowed",
    ),
    "functions": (with_functions(model()), "holds functions or training steps of its own"),
    "training": (with_training(model()), "holds functions or training steps of its own"),
    "sparse weights": (sparse(model()), "holds sparse tensors"),
    "a large shape": (
        model(weights=[TensorProto(name="one", data_type=TensorProto.INT64, dims=[1 << 20, 1 << 20])]),
        r"a tensor of shape \[1048576, 1048576\] has more than 50000000 values",
    ),
    "a negative shape": (
        model(weights=[TensorProto(name="one", data_type=TensorProto.INT64, dims=[-1, 0])]),
        "has more than 50000000 values",
    ),
    "no graph": (onnx.ModelProto(ir_version=9), "holds no graph"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_could_do_more_than_answer_is_refused(name: str) -> None:
    made, message = REFUSED[name]
    with pytest.raises(ContractBroken, match=f"^model.onnx: .*{message}"):
        check(raw(made))


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_operators_of_the_standard_pass_under_both_names_of_it(domain: str) -> None:
    check(raw(model(helper.make_node("ReduceSum", ["x", "one"], ["y"], domain=domain), domain=domain)))


@pytest.mark.parametrize(
    "files", [kept.read(kept.BEFORE / "model"), tiny_model.package_of()], ids=["of before", "of today"]
)
def test_models_that_training_makes_pass(files: dict[str, bytes]) -> None:
    check(files["model.onnx"])
    found = {node.op_type for node in onnx.load_from_string(files["model.onnx"]).graph.node}
    assert found <= onnx_check.DOMAINS[""]
    assert found


def test_nodes_are_counted_over_all_parts_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"])] * 10
    monkeypatch.setattr(onnx_check, "MOST_NODES", 10)
    check(raw(model(*nodes)))
    with pytest.raises(ContractBroken, match="holds more than 10 nodes"):
        check(raw(model(*nodes, SUM)))


def packed(*dims: int) -> bytes:
    """A model whose weight tells its dims as one packed field, as some writers do."""
    inner = b"".join(bytes([dim]) for dim in dims)
    tensor = b"\x0a" + bytes([len(inner)]) + inner
    graph = raw(model())[raw(model()).index(b"\x3a") :]
    node = graph[2 : 2 + graph[1]]
    body = node + b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x3a" + (len(body)).to_bytes(1, "big") + body


def test_shapes_are_read_in_both_ways_of_writing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_check, "MOST_VALUES", 100)
    check(packed(10, 10))
    with pytest.raises(ContractBroken, match=r"shape \[10, 11\] has more than 100 values"):
        check(packed(10, 11))


SEEDS = [raw(made) for made, _ in REFUSED.values()] + [raw(model())]
EDITS = st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255), st.sampled_from("rid")), max_size=6)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), EDITS)
def test_any_bytes_pass_or_are_refused(seed: bytes, edits: list[tuple[int, int, str]]) -> None:
    data = bytearray(seed)
    for place, byte, kind in edits:
        at = place % (len(data) + 1)
        data[at : at + (kind != "i")] = b"" if kind == "d" else bytes([byte])
    try:
        check(bytes(data))
    except ContractBroken as error:
        assert str(error).startswith("model.onnx: ")  # noqa: PT017 - it may pass as well


def test_a_model_passes_its_trial() -> None:
    try_out(tiny_model.package_of()["model.onnx"], ModelLimits())


def test_what_a_trial_refuses_is_said_in_its_words() -> None:
    with pytest.raises(ContractBroken, match="the operator 'Loop' is not allowed"):
        try_out(raw(REFUSED["a loop"][0]), ModelLimits())


LOAD: Callable[..., object] = onnx_model.load


def test_a_model_that_does_not_pass_its_trial_is_not_loaded() -> None:
    files = tiny_model.package_of()
    assert LOAD(files, tiny_model.FEATURIZER.features, trial=ModelLimits())
    with pytest.raises(ContractBroken, match=r"^model\.onnx: "):
        LOAD(files, tiny_model.FEATURIZER.features, trial=ModelLimits(memory_mb=1))
