import io
import json
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import numpy.typing as npt
import pytest

from shared.adapters.models import onnx_model, package_folder
from shared.core.intake.readings import Floats
from shared.core.model import manifest as manifest_file
from shared.core.model.feature import Feature
from shared.core.model.manifest import Damped, Interval, decode_arrays, decode_manifest, encode_arrays
from shared.errors import ConfigError, ContractBroken
from training.model.export import to_onnx
from training.package import writer

WIDTH = 6
FACTS = writer.Facts(
    scenario="air_quality",
    created=datetime(2026, 11, 20, 12, 15, tzinfo=timezone(timedelta(hours=2))),
    run_id="run-7",
    dataset="files:abc",
    code_version="0.1.0",
    training_start="2025-01-01T00:00:00Z",
    training_end="2026-01-01T00:00:00Z",
    rows=300,
    features=[Feature(f"f{place}", place + 1) for place in range(WIDTH)],
    interval=Interval(nominal=0.9, edges=[], lower=[-9.0], upper=[10.0]),
    damped=Damped(intercept=1.0, latest=0.5, mean_24=0.4),
    metrics={"rmse": 3.0, "rmse_damped": 4.0},
)


def rows(count: int) -> Floats:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(count, WIDTH)).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix


@pytest.fixture(scope="module")
def contents() -> writer.Contents:
    matrix = rows(300)
    model = catboost.CatBoostRegressor(iterations=20, depth=3, thread_count=1, verbose=0, allow_writing_files=False)
    model.fit(matrix, np.nan_to_num(matrix[:, 0]))
    inputs = writer.golden_inputs(matrix)
    return writer.Contents(
        model_onnx=to_onnx(model, WIDTH),
        golden_inputs=inputs,
        golden_outputs=model.predict(inputs),
        baseline={"counts": np.arange(12).reshape(3, 4), "edges": np.linspace(0, 1, 5)},
        card="# Modèle\n",
    )


def test_a_written_package_is_one_that_serving_loads(tmp_path: Path, contents: writer.Contents) -> None:
    directory = tmp_path / "deep" / "down" / "model"
    manifest = writer.write(directory, FACTS, contents)
    files = package_folder.read(directory)
    assert onnx_model.load(files, FACTS.features).manifest == manifest
    assert sorted(path.name for path in directory.iterdir()) == sorted(files)
    assert files["card.md"].decode() == contents.card
    baseline = decode_arrays("baseline.npz", files["baseline.npz"])
    assert baseline.keys() == {"counts", "edges"}
    assert baseline["counts"].tolist() == np.arange(12).reshape(3, 4).tolist()


def test_the_manifest_says_what_is_in_the_files_and_when_it_was_made(tmp_path: Path, contents: writer.Contents) -> None:
    manifest = writer.write(tmp_path / "model", FACTS, contents)
    assert decode_manifest((tmp_path / "model" / "manifest.json").read_bytes()) == manifest
    assert manifest.version == writer.version(FACTS.created, contents.model_onnx)
    assert manifest.version.startswith("20261120T101500-")
    assert manifest.created == "2026-11-20T10:15:00Z"
    assert manifest.size_bytes == len(contents.model_onnx)
    assert manifest.features == [(f"f{place}", place + 1) for place in range(WIDTH)]
    assert 0 < manifest.latency_ms < 1000


def test_the_same_contents_give_the_same_files(tmp_path: Path, contents: writer.Contents) -> None:
    first = writer.write(tmp_path / "a", FACTS, contents)
    second = writer.write(tmp_path / "b", FACTS, contents)
    assert first.sha256 == second.sha256


def test_an_older_package_in_place_is_replaced(tmp_path: Path, contents: writer.Contents) -> None:
    writer.write(tmp_path, FACTS, contents)
    (tmp_path / ".keep").touch()
    writer.write(tmp_path, replace(FACTS, run_id="run-8"), replace(contents, card="# New\n"))
    files = package_folder.read(tmp_path)
    assert onnx_model.load(files, FACTS.features).manifest.run_id == "run-8"
    assert files["card.md"] == b"# New\n"


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path, contents: writer.Contents) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex', which no package has"):
        writer.write(tmp_path, FACTS, contents)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="is not a directory"):
        writer.write(tmp_path / "thesis.tex", FACTS, contents)


def test_a_package_that_serving_would_refuse_is_not_written(tmp_path: Path, contents: writer.Contents) -> None:
    wrong = replace(contents, golden_outputs=contents.golden_outputs + 1)
    with pytest.raises(ContractBroken, match="64 of 64 rows are not reproduced"):
        writer.write(tmp_path / "model", FACTS, wrong)
    with pytest.raises(ContractBroken, match=r"takes 6 features, manifest\.json lists 5"):
        writer.write(tmp_path / "model", replace(FACTS, features=FACTS.features[:5]), contents)
    with pytest.raises(ContractBroken, match=r"manifest\.json: Expected `float`, got `null`"):
        writer.write(tmp_path / "model", replace(FACTS, metrics={"rmse": float("nan")}), contents)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_breaks_off_leaves_no_package(tmp_path: Path, contents: writer.Contents) -> None:
    writer.write(tmp_path, FACTS, contents)
    (tmp_path / "card.md").unlink()
    (tmp_path / "card.md").mkdir()  # the last file before the manifest cannot be written
    with pytest.raises(IsADirectoryError):
        writer.write(tmp_path, FACTS, contents)
    with pytest.raises(ContractBroken):
        package_folder.read(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_reading_a_directory_without_a_package_says_which_file_is_missing(
    tmp_path: Path, contents: writer.Contents
) -> None:
    with pytest.raises(ContractBroken, match=r"package nowhere: No such file or directory"):
        package_folder.read(tmp_path / "nowhere")
    writer.write(tmp_path / "model", FACTS, contents)
    (tmp_path / "model" / "golden.npz").unlink()
    with pytest.raises(ContractBroken, match=r"package model: No such file or directory \(.*golden.npz\)"):
        package_folder.read(tmp_path / "model")


@pytest.mark.parametrize("count", [1, 2, 15, 16, 63, 64, 5000])
def test_there_are_always_64_golden_rows_with_gaps_among_them(count: int) -> None:
    matrix = rows(count)
    chosen = writer.golden_inputs(matrix)
    assert chosen.shape == (64, WIDTH)
    assert chosen.dtype == np.float32
    assert np.isnan(chosen[0]).all()
    gaps = np.isnan(matrix).sum(axis=1)
    assert np.isnan(chosen[1]).sum() == gaps.max()
    known = {row.tobytes() for row in matrix}
    assert all(row.tobytes() in known for row in chosen[1:])
    assert matrix[-1].tobytes() == chosen[-1].tobytes()


def test_arrays_come_back_as_they_were() -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        "f": np.array([[np.nan, np.inf, -0.0]], dtype=np.float32),
        "i": np.arange(5, dtype=np.int64)[::2],
        "u": np.array(["temp", "größe"]),
        "none": np.zeros((0, 3), dtype=np.uint8),
        "one": np.array(3.5),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    back = decode_arrays("x.npz", encode_arrays(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()


def npz(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return raw.getvalue()


def npy(shape: tuple[int, ...], kind: str = "<f8", values: bytes = b"") -> bytes:
    raw = io.BytesIO()
    np.lib.format.write_array_header_1_0(raw, {"descr": kind, "fortran_order": False, "shape": shape})
    return raw.getvalue() + values


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (npy((3,), values=bytes(16)), r"'a\.npy' claims 24 bytes of values and holds 16"),
        (npy((2,), values=bytes(24)), r"'a\.npy' claims 16 bytes of values and holds 24"),
        (npy((1 << 40,), values=bytes(8)), r"claims 8796093022208 bytes of values and holds 8"),
        (npy((1 << 40, 0, 7)), None),
        (npy((1 << 40,), "<U0"), r"claims 0 bytes of values and holds 0"),
        (npy((1,), "|O", bytes(8)), r"'a\.npy' holds objects"),
        (b"\x93NUMPY\x03\x00" + npy((1,), values=bytes(8))[8:], r"'a\.npy' is of npy version \(3, 0\)"),
        (b"", r"x\.npz: not a readable npz"),
    ],
)
def test_an_array_of_another_size_than_its_file_is_never_made(member: bytes, problem: str | None) -> None:
    raw = npz(("a.npy", member))
    if problem is None:
        assert decode_arrays("x.npz", raw)["a"].shape == (1 << 40, 0, 7)
        return
    tracemalloc.start()
    with pytest.raises(ContractBroken, match=problem):
        decode_arrays("x.npz", raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_arrays_in_all_are_limited_in_number_and_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = npz(*((f"{name}.npy", npy((4,), values=bytes(32))) for name in "abc"), method=zipfile.ZIP_DEFLATED)
    total = 3 * len(npy((4,), values=bytes(32)))
    assert decode_arrays("x.npz", raw)["c"].tolist() == [0.0] * 4
    monkeypatch.setattr(manifest_file, "MAXIMUM_UNPACKED_BYTES", total - 1)
    with pytest.raises(ContractBroken, match=f"x\\.npz: unpacks to {total} bytes, limit {total - 1}"):
        decode_arrays("x.npz", raw)
    monkeypatch.setattr(manifest_file, "MAXIMUM_ARRAYS", 2)
    with pytest.raises(ContractBroken, match=r"x\.npz: holds 3 arrays, limit 2"):
        decode_arrays("x.npz", raw)


def test_only_ways_of_compression_that_stop_at_the_stated_size_are_read() -> None:
    with pytest.raises(ContractBroken, match=r"'a\.npy' is compressed by method 12"):
        decode_arrays("x.npz", npz(("a.npy", npy((1,), values=bytes(8))), method=zipfile.ZIP_BZIP2))


def test_arrays_of_objects_are_not_written() -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        encode_arrays({"o": np.array([json], dtype=object)})


def test_encoded_manifest_is_readable_json(tmp_path: Path, contents: writer.Contents) -> None:
    writer.write(tmp_path / "model", FACTS, contents)
    text = (tmp_path / "model" / "manifest.json").read_text()
    assert json.loads(text)["features"][0] == ["f0", 1]
    assert len(text.splitlines()) > 20


def test_only_one_thread_at_a_time_reads_headers_of_arrays() -> None:
    """CPython 3.11 fails in `ast` where several do (python/cpython issue 106905); numpy reads headers with it."""
    raw = encode_arrays({"a": np.arange(3.0)})
    with ThreadPoolExecutor(1) as pool:
        with manifest_file._ONE_AT_A_TIME:
            read = pool.submit(decode_arrays, "x.npz", raw)
            assert not wait([read], timeout=0.2).done
        assert read.result(timeout=10)["a"].tolist() == [0.0, 1.0, 2.0]
