"""The online endpoint's script on a real package: the numbers of serving, and clear words for every bad request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.app.score.serving import ActiveModels
from shared.core.intake.readings import Floats, Longs
from shared.core.model.scoring import Control, categories
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken
from tests.kit import tiny_model
from tests.kit.tiny_model import FEATURIZER, SCENARIO
from training.scoring import score

FILES = tiny_model.package_of()
MODEL = tiny_model.loaded(FILES)
SERVING = ActiveModels(task_of(SCENARIO), Control(MODEL.manifest.version), MODEL)
HOURS = range(SCENARIO.history)


def put(folder: Path, files: Any = FILES) -> Path:
    package = folder / "INPUT_package" / "package"
    package.mkdir(parents=True)
    for name, raw in files.items():
        (package / name).write_bytes(raw)
    return folder


@pytest.fixture(scope="module", autouse=True)
def started(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZUREML_MODEL_DIR", str(put(tmp_path_factory.mktemp("model"))))
        patch.setenv("AIRLOOP_VERSION", MODEL.manifest.version)
        score.init()
        yield


def cells(values: Any) -> list[float | None]:
    return [None if value != value else float(value) for value in values]


def drawn(count: int, seed: int = 5) -> tuple[list[dict[str, Any]], Floats, Longs]:
    """Windows as a client writes them, and as the ring would hold them."""
    window, as_of = tiny_model.windows(count, seed)
    degrees = np.random.default_rng(seed).integers(0, 360, (SCENARIO.history, count)).astype(np.float32)
    u, v = (SCENARIO.stored.index(f"wind_dir_{part}") for part in "uv")
    window[:, u], window[:, v] = np.sin(np.deg2rad(degrees, dtype=float)), np.cos(np.deg2rad(degrees, dtype=float))
    plain = {name: window[:, place] for place, name in enumerate(SCENARIO.stored) if not name.startswith("wind_dir")}
    plain["wind_dir"] = degrees
    return [{name: cells(values[:, i]) for name, values in plain.items()} for i in range(count)], window, as_of


def iso(hour: int) -> str | None:
    return None if hour < 0 else f"{np.datetime64(hour, 'h')}:59:59Z"


def asked(body: object) -> Any:
    return json.loads(json.dumps(score.run(json.dumps(body))))


def test_windows_get_the_forecasts_of_serving_bit_for_bit() -> None:
    windows, held, as_of = drawn(60)
    answer = asked({"windows": windows, "as_of": [iso(hour) for hour in as_of.tolist()]})
    numbers = SERVING.forecast(FEATURIZER.matrix(held, as_of))
    assert answer["model_version"] == MODEL.manifest.version
    found = answer["forecasts"]
    for name, expected in numbers.items():
        assert np.array([row[name] for row in found], np.float32).tobytes() == expected.tobytes()
    assert [row["category"] for row in found] == categories(SCENARIO, numbers["value"])
    assert len({row["category"] for row in found}) > 1, "the windows should not all be alike"
    hours = [None if row["as_of"] is None else int(np.datetime64(row["as_of"][:-1], "h").astype(int)) for row in found]
    assert hours == [None if hour < 0 else hour for hour in as_of.tolist()]
    assert [row["target_time"] is None for row in found] == [hour < 0 for hour in as_of.tolist()]


def test_without_times_windows_are_forecast_as_of_an_unknown_hour() -> None:
    windows, held, _ = drawn(5)
    expected = SERVING.forecast(FEATURIZER.matrix(held, np.full(5, -1)))["value"]
    assert [row["value"] for row in asked({"windows": windows})["forecasts"]] == expected.tolist()


def test_a_zone_moves_the_hour() -> None:
    windows, _, _ = drawn(1)
    (row,) = asked({"windows": windows, "as_of": ["2026-01-02T03:30:00+08:00"]})["forecasts"]
    assert (row["as_of"], row["target_time"]) == ("2026-01-01T19:00Z", "2026-01-02T19:00Z")


def test_readings_of_devices_get_the_forecast_of_the_window_that_they_fill() -> None:
    windows, held, _ = drawn(2)
    hour = 450_000
    readings = [
        {"device_id": "ab"[i], "timestamp": f"{np.datetime64(hour - SCENARIO.history + 1 + h, 'h')}:10:00Z"}
        | {name: values[h] for name, values in window.items()}
        for i, window in enumerate(windows)
        for h in HOURS
    ]
    old = {"device_id": "a", "timestamp": "2001-01-01T00:00:00Z", "temp": 1.0}  # far before the window
    expected = SERVING.forecast(FEATURIZER.matrix(held, np.full(2, hour)))["value"]
    found = asked({"readings": [old, *reversed(readings)]})["forecasts"]
    assert {row["device_id"]: row["value"] for row in found} == dict(zip("ab", expected.tolist(), strict=True))
    assert {row["as_of"] for row in found} == {f"{np.datetime64(hour, 'h')}:00Z"}


def test_a_short_history_is_a_window_that_begins_with_gaps() -> None:
    (row,) = asked({"readings": [{"device_id": "a", "timestamp": "2026-01-02T03:00:00Z", "temp": 20, "pm25": 12}]})[
        "forecasts"
    ]
    held = np.full((SCENARIO.history, len(SCENARIO.stored), 1), np.nan, np.float32)
    held[-1, SCENARIO.stored.index("temp")], held[-1, SCENARIO.stored.index("pm25")] = 20, 12
    as_of = np.array([int(np.datetime64("2026-01-02T03", "h").astype(int))])
    assert [row["value"]] == SERVING.forecast(FEATURIZER.matrix(held, as_of))["value"].tolist()


def bad(**changes: Any) -> dict[str, Any]:
    """A request whose one window has other channels."""
    return {"windows": [{**drawn(1)[0][0], **changes}]}


HISTORY = SCENARIO.history
FULL = [20.0] * HISTORY


def only(cell: object) -> dict[str, Any]:
    """A request whose one window has nothing but one cell."""
    return {"windows": [{"temp": [cell, *[None] * (HISTORY - 1)]}]}


GOOD = {"device_id": "a", "timestamp": "2026-01-01T00:00:00Z", "temp": 1}


@pytest.mark.parametrize(
    ("body", "key", "reason", "words"),
    [
        ("", "body", "empty", "blanks"),
        ("{", "body", "not_json", ""),
        (b"\xff\xfe", "body", "encoding", "byte 0"),
        ("[" * 100_000, "body", "too_deep", ""),
        (b" " * (16 * 1024 * 1024 + 1), "body", "too_large", "16777217 bytes are more than 16777216"),
        ("[1]", "body", "not_an_object", "a list"),
        ("null", "body", "not_an_object", "null"),
        ("{}", "body", "form", "windows"),
        ({"windows": [{}], "readings": [{}]}, "body", "form", "one of"),
        ({"readings": [{}], "as_of": [None]}, "body", "form", "one of"),
        ({"window": []}, "'window'", "unknown_key", "windows"),
        ({"windows": []}, "windows", "empty", "at least one"),
        ({"windows": {"a": 1}}, "windows", "empty", "an object"),
        ({"windows": [{}] * 1001}, "windows", "too_large", "1001 elements are more than 1000"),
        ({"windows": [3]}, "windows[0]", "not_an_object", "3"),
        ({"windows": [{}]}, "windows[0]", "no_values", "pm25"),
        ({"windows": [{"temp": [None] * HISTORY}]}, "windows[0]", "no_values", "pm25"),
        (bad(hue=FULL), "windows[0].'hue'", "unknown_key", "temp"),
        (bad(temp=FULL[1:]), "windows[0].temp", "window", f"{HISTORY - 1} numbers, a list of {HISTORY}"),
        (bad(temp="20"), "windows[0].temp", "window", "'20'"),
        (only(1e9), "windows[0].temp[0]", "out_of_range", "1000000000.0 is outside"),
        (only(True), "windows[0].temp[0]", "bad_value", "true"),
        (only([1]), "windows[0].temp[0]", "bad_value", "a list"),
        (only("1,5"), "windows[0].temp[0]", "bad_value", "'1,5'"),
        (only(float("inf")), "windows[0].temp[0]", "bad_value", "inf"),
        (only(10**400), "windows[0].temp[0]", "bad_value", "a whole number"),
        (bad() | {"as_of": "now"}, "as_of", "window", "a list of 1"),
        (bad() | {"as_of": [None, None]}, "as_of", "window", "2 elements, a list of 1"),
        (bad() | {"as_of": ["soon"]}, "as_of[0]", "bad_time", "'soon'"),
        (bad() | {"as_of": [450_000]}, "as_of[0]", "bad_time", "450000"),
        (bad() | {"as_of": ["2026-01-01T00:00:00"]}, "as_of[0]", "no_zone", "no zone"),
        (bad() | {"as_of": ["1901-01-01T00:00:00Z"]}, "as_of[0]", "ancient", "1970"),
        ({"readings": []}, "readings", "empty", "at least one"),
        ({"readings": [7]}, "readings[0]", "not_an_object", "7"),
        ({"readings": [{"timestamp": "2026-01-01T00:00:00Z", "temp": 1}]}, "readings[0]", "missing_device", ""),
        ({"readings": [{"SystemProperties": {}, "Body": [GOOD, GOOD]}, 7]}, "readings[1]", "not_an_object", "7"),
        ({"readings": [GOOD, {"SystemProperties": {}, "Body": [GOOD, 7]}]}, "readings[1]", "not_an_object", "7"),
        ({"readings": [{"device_id": "a", "temp": 1}]}, "readings[0]", "missing_time", ""),
        (
            {"readings": [{"device_id": "a", "timestamp": "2026-01-01T00:00:00Z", "temp": 999}]},
            "readings[0]",
            "out_of_range",
            "temp: 999 is outside",
        ),
        (
            {"readings": [{"device_id": "a", "timestamp": "9999-01-01T00:00:00Z", "temp": 1}]},
            "readings[0]",
            "future",
            "",
        ),
        (
            {"readings": [{"device_id": f"d{i}", "timestamp": "2026-01-01T00:00:00Z", "temp": 1} for i in range(1001)]},
            "readings",
            "too_large",
            "1001 devices are more than 1000",
        ),
    ],
)
def test_a_bad_request_is_told_by_key_value_and_limit(body: Any, key: str, reason: str, words: str) -> None:
    answer = score.run(body if isinstance(body, (str, bytes)) else json.dumps(body))
    assert "forecasts" not in answer
    assert answer["errors"][0]["key"] == key
    assert answer["errors"][0]["reason"] == reason
    assert words in answer["errors"][0]["detail"]


def test_a_bad_value_is_missing_and_the_answer_says_so() -> None:
    told = asked(bad(temp=[1e9, True, *FULL[2:]]))
    missing = asked(bad(temp=[None, None, *FULL[2:]]))
    assert told.pop("dropped") == {"temp": {"bad_value": 1, "out_of_range": 1}}
    assert told == missing


def test_all_problems_are_told_at_once_but_not_without_end() -> None:
    answer = asked({"windows": [{"temp": 1}] * 30})
    assert (len(answer["errors"]), answer["count"]) == (20, 30)


KEYS = st.sampled_from(["windows", "as_of", "readings", "temp", "wind_dir", "device_id", "timestamp", "x"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2026-01-01T00:00:00Z")
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(JUNK | st.dictionaries(KEYS, JUNK, max_size=2))
def test_whatever_comes_gets_an_answer_that_is_json(body: object) -> None:
    answer = score.run(json.dumps(body))
    json.dumps(answer, allow_nan=False)
    assert ("forecasts" in answer) != ("errors" in answer)


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_bytes_that_are_no_request_are_refused(raw: bytes | str) -> None:
    assert score.run(raw)["errors"]


def test_a_package_of_another_version_fails_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(put(tmp_path)))
    monkeypatch.setenv("AIRLOOP_VERSION", "another")
    with pytest.raises(ContractBroken, match="AIRLOOP_VERSION: 'another'"):
        score.init()


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_without_exactly_one_package_fails_the_start(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(count):
        put(tmp_path / str(number))
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(ContractBroken, match=f"AZUREML_MODEL_DIR: holds {count} packages"):
        score.init()


def test_a_damaged_package_fails_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(put(tmp_path, {**FILES, "model.onnx": b"damaged"})))
    with pytest.raises(ContractBroken, match=r"model\.onnx"):
        score.init()


def test_the_script_starts_by_its_path_from_anywhere(tmp_path: Path) -> None:
    windows, held, _ = drawn(1)
    code = (
        "import importlib.util as u, json, sys; s = u.spec_from_file_location('score', sys.argv[1]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); m.init(); print(json.dumps(m.run(sys.stdin.read())))"
    )
    env = {"AZUREML_MODEL_DIR": str(put(tmp_path)), "PATH": "/usr/bin"}
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, str(score.__file__)],
        cwd=tmp_path,
        env=env,
        input=json.dumps({"windows": windows}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = SERVING.forecast(FEATURIZER.matrix(held, np.array([-1])))["value"]
    assert [row["value"] for row in json.loads(done.stdout)["forecasts"]] == expected.tolist()
