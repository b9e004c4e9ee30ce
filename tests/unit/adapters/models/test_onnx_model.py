import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import catboost
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shared.adapters.models import package_folder
from shared.adapters.models.onnx_graph import ORDER_FREE, ROWS, Graph
from shared.adapters.models.onnx_model import OnnxModel, load
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature
from shared.core.model.manifest import Damped, Interval, decode_arrays, decode_manifest, encode_arrays
from shared.errors import ContractBroken
from training.model.export import to_onnx
from training.package import writer

Files = dict[str, bytes]
WIDTH = 10
KNOWN = tuple(Feature(f"f{place}", 1 + place % 3) for place in range(WIDTH + 5))
USED = (KNOWN[7], KNOWN[0], KNOWN[14], *KNOWN[2:6], KNOWN[9], KNOWN[12], KNOWN[1])  # neither all nor in order


def rows(seed: int, count: int, width: int) -> Floats:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, width)).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix


def trained() -> catboost.CatBoostRegressor:
    matrix = rows(1, 400, WIDTH)
    truth = 50 + 20 * np.nan_to_num(matrix[:, 0]) + 5 * np.nan_to_num(matrix[:, 3]) ** 2
    model = catboost.CatBoostRegressor(iterations=50, depth=5, thread_count=1, verbose=0, allow_writing_files=False)
    return model.fit(matrix, truth)


@pytest.fixture(scope="module")
def native() -> catboost.CatBoostRegressor:
    return trained()


@pytest.fixture(scope="module")
def files(native: catboost.CatBoostRegressor, tmp_path_factory: pytest.TempPathFactory) -> Files:
    facts = writer.Facts(
        scenario="air_quality",
        created=datetime(2026, 11, 20, 10, 15, tzinfo=timezone.utc),
        run_id="run",
        dataset="rows",
        code_version="1",
        training_start="2025-01-01",
        training_end="2026-01-01",
        rows=400,
        features=USED,
        interval=Interval(nominal=0.9, edges=[50.0], lower=[-9.0, -20.0], upper=[10.0, 30.0]),
        damped=Damped(intercept=1.0, latest=0.5, mean_24=0.4),
        metrics={"rmse": 3.0},
    )
    inputs = writer.golden_inputs(rows(2, 300, WIDTH))
    contents = writer.Contents(
        model_onnx=to_onnx(native, WIDTH),
        golden_inputs=inputs,
        golden_outputs=native.predict(inputs),
        baseline={"edges": np.linspace(0, 1, 5)},
        card="# A model\n",
    )
    directory = tmp_path_factory.mktemp("models") / "model"
    writer.write(directory, facts, contents)
    return package_folder.read(directory)


def changed(files: Files, **contents: bytes) -> Files:
    """The package with some files replaced (dots in names written as `__`) and their sha256 brought up to date."""
    new = {name.replace("__", "."): content for name, content in contents.items()}
    manifest = json.loads(files["manifest.json"])
    manifest["sha256"] |= {name: hashlib.sha256(content).hexdigest() for name, content in new.items()}
    return {**files, **new, "manifest.json": json.dumps(manifest).encode()}


def with_manifest(files: Files, **values: Any) -> Files:
    return {**files, "manifest.json": json.dumps(json.loads(files["manifest.json"]) | values).encode()}


def golden(files: Files) -> tuple[Floats, Floats]:
    arrays = decode_arrays("golden.npz", files["golden.npz"])
    return arrays["inputs"], arrays["outputs"]


def refused(files: Files, message: str, known: Sequence[Feature] = KNOWN) -> None:
    with pytest.raises(ContractBroken, match=message):
        load(files, known)


def test_a_whole_package_loads_and_forecasts_what_catboost_does(
    files: Files, native: catboost.CatBoostRegressor
) -> None:
    model = load(files, KNOWN)
    matrix = rows(3, 500, len(KNOWN))
    assert model.columns.tolist() == [KNOWN.index(feature) for feature in USED]
    assert model.manifest == decode_manifest(files["manifest.json"])
    assert np.abs(model.predict(matrix) - native.predict(matrix[:, model.columns])).max() < 1e-4
    assert model.predict(matrix).dtype == np.float32
    assert model.predict(matrix[:0]).shape == (0,)


@pytest.mark.parametrize("size", [1, 2, 7, ROWS - 1, ROWS, ROWS + 1, 1000])
def test_a_row_gets_the_same_bits_in_every_batch_and_place(files: Files, size: int) -> None:
    model = load(files, KNOWN)
    matrix = rows(4, 1000, len(KNOWN))
    whole = model.predict(matrix)
    cut = np.concatenate([model.predict(matrix[start : start + size]) for start in range(0, 1000, size)])
    assert cut.tobytes() == whole.tobytes()
    assert model.predict(matrix[::-1])[::-1].tobytes() == whole.tobytes()
    assert model.predict(np.asfortranarray(matrix)).tobytes() == whole.tobytes()


@pytest.fixture(scope="module")
def graphs(files: Files) -> tuple[Graph, Graph]:
    return Graph(files["model.onnx"]), Graph(files["model.onnx"], threads=2)


@given(st.lists(st.integers(0, 299), min_size=1, max_size=300), st.sampled_from([0, 1]))
def test_any_choice_of_rows_in_any_order_gives_each_its_bits_with_any_number_of_threads(
    graphs: tuple[Graph, Graph], picked: list[int], threads: int
) -> None:
    matrix = rows(5, 300, WIDTH)
    assert graphs[threads].run(matrix[picked]).tobytes() == graphs[0].run(matrix)[picked].tobytes()


def tree_node(model: catboost.CatBoostRegressor, folder: Any) -> bytes:
    """CatBoost's own export, its output shape mended."""
    model.save_model(str(folder / "own.onnx"), format="onnx")
    exported = onnx.load(folder / "own.onnx")
    exported.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    raw: bytes = exported.SerializeToString()
    return raw


def test_a_graph_not_marked_as_order_free_still_gives_a_row_the_same_bits(
    native: catboost.CatBoostRegressor, tmp_path: Any
) -> None:
    graph = Graph(tree_node(native, tmp_path))
    matrix = rows(6, 300, WIDTH)
    whole = graph.run(matrix)
    assert np.abs(whole - native.predict(matrix)).max() < 1e-3
    for size in (1, 2, 7, 129):
        cut = np.concatenate([graph.run(matrix[start : start + size]) for start in range(0, 300, size)])
        assert cut.tobytes() == whole.tobytes()


def test_only_unmarked_graphs_are_padded() -> None:
    seen = counting_rows()
    assert Graph(seen.SerializeToString()).run(np.zeros((3, WIDTH), np.float32)).tolist() == [ROWS] * 3
    helper.set_model_props(seen, {ORDER_FREE: "yes"})
    assert Graph(seen.SerializeToString()).run(np.zeros((3, WIDTH), np.float32)).tolist() == [3.0] * 3


def small(
    nodes: Sequence[onnx.NodeProto], *, width: int | str = WIDTH, out: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(np.array([1], dtype=np.int64), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def counting_rows() -> onnx.ModelProto:
    """Every row's result is the number of rows that the graph was given."""
    return small(
        [
            helper.make_node("ReduceSum", ["x", "one"], ["sum"]),
            helper.make_node("Shape", ["x"], ["shape"], end=1),
            helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["sum", "count"], ["y"]),
        ]
    )


def summing(**options: Any) -> bytes:
    raw: bytes = small([helper.make_node("ReduceSum", ["x", "one"], ["y"])], **options).SerializeToString()
    return raw


def strange() -> bytes:
    raw: bytes = small([helper.make_node("Strange", ["x"], ["y"])]).SerializeToString()
    return raw


def test_a_forecast_that_is_not_a_number_is_refused_and_counted(files: Files) -> None:
    inputs = np.ones((4, WIDTH), dtype=np.float32)
    packed = encode_arrays({"inputs": inputs, "outputs": inputs.sum(axis=1)})
    model = load(changed(files, model__onnx=summing(), golden__npz=packed), KNOWN)
    matrix = np.ones((300, len(KNOWN)), dtype=np.float32)
    matrix[5, model.columns[2]] = np.nan
    matrix[200, model.columns[0]] = np.inf
    with pytest.raises(ContractBroken, match=r"model 20261120T101500-[0-9a-f]{8}: 2 of 300 forecasts are not finite"):
        model.predict(matrix)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "baseline.npz", "golden.npz", "card.md"])
def test_a_missing_file_is_refused(files: Files, name: str) -> None:
    refused({key: value for key, value in files.items() if key != name}, f"^{name}: .*missing from the package")


@pytest.mark.parametrize("name", ["model.onnx", "baseline.npz", "golden.npz", "card.md"])
def test_a_file_changed_by_one_bit_is_refused(files: Files, name: str) -> None:
    raw = bytearray(files[name])
    raw[len(raw) // 2] ^= 1
    refused({**files, name: bytes(raw)}, rf"^{name}: sha256 is [0-9a-f]{{12}}\.\., manifest.json says")


@pytest.mark.parametrize("name", ["model.onnx", "card.md"])
def test_a_file_whose_sha256_is_not_listed_is_refused(files: Files, name: str) -> None:
    listed = {key: value for key, value in json.loads(files["manifest.json"])["sha256"].items() if key != name}
    refused(with_manifest(files, sha256=listed), f"^manifest.json: sha256 lacks {name}$")


def test_a_listed_name_that_looks_like_a_path_is_only_a_name(files: Files) -> None:
    listed = json.loads(files["manifest.json"])["sha256"]
    hostile = with_manifest(files, sha256={**listed, "../../etc/passwd": "0" * 64})
    refused(hostile, r"^../../etc/passwd: listed in manifest.json, missing")
    stranger = {**files, "../evil.sh": b"rm"}
    assert load(stranger, KNOWN).manifest == load(files, KNOWN).manifest


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": "../up"}, "version '../up' is not of the form"),
        ({"version": ""}, "version '' is not of the form"),
        ({"format": 2}, "format 2 is not 1"),
        ({"rows": "many"}, "Expected `int`, got `str`"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"metrics": {"rmse": None}}, "Expected `float`, got `null`"),
        ({"interval": {"nominal": 0.9, "edges": [1.0], "lower": [0.0], "upper": [0.0]}}, "needs 2 lower and upper"),
        ({"interval": {"nominal": 0.9, "edges": [2.0, 1.0], "lower": [0] * 3, "upper": [0] * 3}}, "do not rise"),
    ],
)
def test_a_manifest_that_says_nonsense_is_refused(files: Files, values: dict[str, Any], message: str) -> None:
    refused(with_manifest(files, **values), f"^manifest.json: .*{message}")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_no_manifest_is_refused(files: Files, raw: bytes) -> None:
    refused({**files, "manifest.json": raw}, "^manifest.json: ")


def test_an_unknown_feature_is_named(files: Files) -> None:
    refused(files, "^manifest.json: feature 'f14' is unknown to this application$", KNOWN[:14])


def test_a_feature_of_another_version_is_named(files: Files) -> None:
    newer = [Feature(feature.name, feature.version + (feature.name == "f12")) for feature in KNOWN]
    refused(files, "^manifest.json: feature 'f12' has version 1, this application computes version 2$", newer)


def test_features_that_the_model_does_not_use_may_change_and_move(files: Files) -> None:
    matrix = rows(7, 50, len(KNOWN))
    moved = [Feature("new", 1), *(Feature(f.name, f.version + (f not in USED)) for f in reversed(KNOWN))]
    wider = np.concatenate([np.zeros((50, 1), np.float32), matrix[:, ::-1]], axis=1)
    assert load(files, moved).predict(wider).tobytes() == load(files, KNOWN).predict(matrix).tobytes()


def test_a_model_of_another_width_is_refused(files: Files) -> None:
    features = json.loads(files["manifest.json"])["features"]
    refused(with_manifest(files, features=features[:-1]), "^model.onnx: takes 10 features, manifest.json lists 9$")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "model.onnx: "),
        (b"not a model at all", "model.onnx: "),
        (strange().replace(b"Strange", b"Str\xff\xfege"), r"model.onnx: ."),
        (summing(width="F"), r"input shape \['N', 'F'\] is not \[N, number of features\]"),
        (
            small(
                [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)], out=TensorProto.INT64
            ).SerializeToString(),
            r"goes from tensor\(float\) to tensor\(int64\)",
        ),
        (small([helper.make_node("Identity", ["x"], ["y"])]).SerializeToString(), "gives 1280 values for 128 rows"),
        (strange(), "Strange"),
        (small([helper.make_node("MatMul", ["x", "x"], ["y"])]).SerializeToString(), "model.onnx: "),
    ],
    ids=["empty", "text", "not UTF-8", "no width", "integers", "too many values", "unknown operator", "cannot run"],
)
def test_a_file_that_is_no_model_of_our_form_is_refused(
    files: Files, raw: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(changed(files, model__onnx=raw), message)
    assert capfd.readouterr() == ("", "")  # the runtime's own complaint is in the error, not on the terminal


def test_a_model_cut_short_is_refused_at_every_length(files: Files) -> None:
    raw = files["model.onnx"]
    for length in range(0, len(raw), len(raw) // 23):
        refused(changed(files, model__onnx=raw[:length]), "^(model.onnx|golden.npz): ")


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_a_model_that_wants_to_read_another_file_is_refused(files: Files, place: str) -> None:
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[WIDTH], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": place, "offset": "0", "length": str(4 * WIDTH)}.items():
        outside.external_data.add(key=key, value=value)
    model = small([helper.make_node("Add", ["x", "w"], ["z"]), helper.make_node("ReduceSum", ["z", "one"], ["y"])])
    model.graph.initializer.append(outside)
    refused(changed(files, model__onnx=model.SerializeToString()), "^model.onnx: ")


def test_a_file_above_the_size_limit_is_refused_before_it_is_opened(files: Files) -> None:
    refused({**files, "card.md": bytes(50_000_001)}, "^card.md: 50000001 bytes are more than 50000000$")


def npz(**members: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return raw.getvalue()


def npy(array: Any) -> bytes:
    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=True)
    return raw.getvalue()


class Trap:
    """Unpickled, it would write a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return (open, ("sprung", "w"))


HUGE = npy(np.zeros(3, np.float32)).replace(b"(3,), }        ", b"(3000000000,), }")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no archive",
        pickle.dumps({"inputs": 1}),
        npy(np.zeros(3)),
        npz(inputs=b"no array", outputs=b""),
        npz(inputs=npy(np.array([Trap()], dtype=object)), outputs=npy(np.zeros(1))),
        npz(inputs=HUGE, outputs=HUGE),
        npz(inputs=npy(np.zeros((4, WIDTH), np.float32))[:-9], outputs=npy(np.zeros(4, np.float32))),
    ],
    ids=["empty", "text", "pickle", "bare array", "no arrays", "objects", "claims 12 GB", "short"],
)
@pytest.mark.parametrize("name", ["golden__npz", "baseline__npz"])
def test_an_npz_that_cannot_be_read_is_refused_and_nothing_in_it_is_run(
    files: Files, name: str, raw: bytes, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(changed(files, **{name: raw}), f"^{name.replace('__', '.')}: not a readable npz: ")
    assert list(tmp_path.iterdir()) == []


def test_an_npz_cut_short_is_refused_at_every_length(files: Files) -> None:
    raw = files["golden.npz"]
    for length in range(0, len(raw), len(raw) // 97):
        refused(changed(files, golden__npz=raw[:length]), "^golden.npz: not a readable npz")


@given(st.data())
def test_a_damaged_npz_is_read_or_refused_but_never_raises_anything_else(files: Files, data: st.DataObject) -> None:
    raw = bytearray(files["baseline.npz"])
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    with suppress(ContractBroken):
        decode_arrays("baseline.npz", bytes(raw))


def test_an_npz_that_would_unpack_to_gigabytes_is_refused(files: Files) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("inputs.npy", npy(np.zeros(3)))
        archive.filelist[0].file_size = 3_000_000_000  # goes into the directory at the end of the file
    refused(changed(files, golden__npz=raw.getvalue()), r"^golden.npz: unpacks to 3000000000 bytes, limit 200000000$")


def test_one_golden_row_that_is_not_reproduced_is_refused(files: Files) -> None:
    inputs, outputs = golden(files)
    outputs[17] += 0.002
    packed = encode_arrays({"inputs": inputs, "outputs": outputs})
    refused(
        changed(files, golden__npz=packed), r"^golden.npz: 1 of 64 rows are not reproduced, row 17 gives .* instead"
    )


def test_golden_rows_within_the_tolerance_are_accepted(files: Files) -> None:
    inputs, outputs = golden(files)
    packed = encode_arrays({"inputs": inputs, "outputs": outputs + np.float32(0.0009)})
    assert isinstance(load(changed(files, golden__npz=packed), KNOWN), OnnxModel)


def test_the_golden_rows_of_another_model_are_refused(files: Files) -> None:
    refused(changed(files, model__onnx=summing()), "^golden.npz: 64 of 64 rows are not reproduced")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (np.zeros((0, WIDTH), np.float32), np.zeros(0, np.float32)),
        (np.zeros((4, WIDTH - 1), np.float32), np.zeros(4, np.float32)),
        (np.zeros((4, WIDTH), np.float64), np.zeros(4, np.float32)),
        (np.zeros((4, WIDTH), np.float32), np.zeros((4, 1), np.float32)),
        (np.zeros((4, WIDTH), np.float32), np.float32(1)),
    ],
)
def test_golden_rows_of_another_shape_or_type_are_refused(files: Files, inputs: Any, outputs: Any) -> None:
    packed = encode_arrays({"inputs": inputs, "outputs": outputs})
    refused(changed(files, golden__npz=packed), r"^golden.npz: needs float32 inputs \(n, 10\) and outputs \(n,\)")


def test_golden_rows_that_expect_no_number_are_refused(files: Files) -> None:
    inputs, outputs = golden(files)
    packed = encode_arrays({"inputs": inputs, "outputs": np.full_like(outputs, np.nan)})
    refused(changed(files, golden__npz=packed), "^golden.npz: 64 of 64 rows are not reproduced")


def test_golden_rows_without_outputs_are_refused(files: Files) -> None:
    packed = encode_arrays({"inputs": golden(files)[0]})
    refused(changed(files, golden__npz=packed), "^golden.npz: needs inputs and outputs, has inputs$")
