"""Wide files: each row a window."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from shared.adapters.tables.open import WideChunk, WideTable, open_table
from shared.core.intake.reasons import REASONS
from shared.errors import BadEvent
from tests.unit.adapters.tables.table_files import AIR, GOOD, NOW, as_csv, as_parquet, by_hand, lines, mutated, read

HOURS = AIR.history
WIDE = ("temp", "precip", "rel_humidity", "wind_dir", "wind_spd", "atmos_press")


def window(source: np.random.Generator, channel: str) -> list[str]:
    low, high = {"atmos_press": (87.0, 90.0), "wind_dir": (0.0, 360.0), "precip": (0.0, 5.0)}.get(channel, (1.0, 40.0))
    return ["nan" if source.random() < 0.1 else f"{v:.3f}" for v in source.uniform(low, high, HOURS)]


def wide_rows(n: int = 8, changes: dict[str, str] | None = None) -> list[dict[str, str]]:
    source = np.random.default_rng(3)
    rows = [
        {
            "ID": f"ID_{i}",
            "location": "ABCDE"[i % 5],
            **{channel: ",".join(window(source, channel)) for channel in WIDE},
            "target": f"{source.uniform(5, 200):.2f}",
        }
        for i in range(n)
    ]
    rows[1].update(changes or {})
    return rows


def read_wide(data: bytes, name: str = "Train.csv", chunk_rows: int = 50_000) -> tuple[WideTable, list[WideChunk]]:
    table = open_table(name, io.BytesIO(data), AIR, zone=None, not_after_minute=NOW, chunk_rows=chunk_rows)
    assert isinstance(table, WideTable)
    chunks = list(table)
    assert table.rows == sum(len(chunk.ids) + len(chunk.rejected) for chunk in chunks)
    for chunk in chunks:
        n = len(chunk.ids)
        assert chunk.window.shape == (HOURS, len(AIR.stored), n)
        assert chunk.window.dtype == np.float32
        assert chunk.window.flags["C_CONTIGUOUS"]
        assert len(chunk.position) == len(chunk.target) == len(chunk.group) == n
    return table, chunks


def test_a_wide_file_becomes_windows_in_the_columns_of_the_ring() -> None:
    rows = wide_rows()
    table, (chunk,) = read_wide(as_csv(rows))
    assert (table.rows, table.problem, table.has_target, table.has_groups) == (8, None, True, True)
    assert (table.ignored, table.converted) == ((), {"atmos_press": "kPa"})
    assert chunk.ids == tuple(row["ID"] for row in rows)
    assert chunk.group == tuple("ABCDEABC")
    assert chunk.position.tolist() == list(range(1, 9))
    np.testing.assert_array_equal(chunk.target, np.array([float(row["target"]) for row in rows], np.float32))
    for i, row in enumerate(rows):
        cells = {channel: np.array([float(v) for v in row[channel].split(",")]) for channel in WIDE}
        radians = np.deg2rad(cells["wind_dir"])
        expected = {
            **cells,
            "wind_dir_u": np.sin(radians),
            "wind_dir_v": np.cos(radians),
            "atmos_press": cells["atmos_press"] * 10,
            "pm25": np.full(HOURS, math.nan),
        }
        for k, name in enumerate(AIR.stored):
            np.testing.assert_allclose(chunk.window[:, k, i], expected[name], rtol=1e-6, atol=1e-6)


def test_a_wide_file_without_target_or_location_is_read_too() -> None:
    rows = [{k: v for k, v in row.items() if k not in ("target", "location")} for row in wide_rows()]
    table, (chunk,) = read_wide(as_csv(rows, ";"), chunk_rows=50)
    assert (table.has_target, table.has_groups, chunk.group) == (False, False, ("",) * 8)
    assert np.isnan(chunk.target).all()


FULL = ",".join(["1"] * HOURS)
GAPS = ",".join(["nan"] * (HOURS - 1))
NOTHING = dict.fromkeys(WIDE, GAPS + ",nan")


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"temp": "1,2,3"}, "window", "temp: 3 numbers, 121 are needed"),
        ({"temp": ""}, "window", "temp: 1 numbers, 121 are needed"),
        ({"temp": FULL + ",1"}, "window", "temp: 122 numbers, 121 are needed"),
        ({"ID": ""}, "missing_id", "no row id"),
        ({"ID": "ID_0"}, "duplicate_id", "the row id 'ID_0' stood in the file before"),
        ({"ID": "a\x07"}, "device_id", "the row id 'a\\x07' holds a control character"),
        (NOTHING, "no_values", "no channel has a value"),
        (NOTHING | {"temp": GAPS + ",x"}, "bad_value", "hour 120: temp: 'x' is not a finite number"),
        (NOTHING | {"temp": "99," + GAPS}, "out_of_range", "hour 0: temp: '99' is outside -60 to 60 degC"),
    ],
)
def test_each_kind_of_bad_window_has_its_reason(changes: dict[str, str], reason: str, detail: str) -> None:
    data = as_csv(wide_rows(changes=changes))
    _, (chunk,) = read_wide(data)
    (rejection,) = chunk.rejected
    assert (rejection.position, rejection.reason, rejection.detail) == (2, reason, detail)
    assert rejection.raw == data.split(b"\n")[2]
    assert chunk.position.tolist() == [1, 3, 4, 5, 6, 7, 8]
    _, (clean,) = read_wide(as_csv(wide_rows()))
    np.testing.assert_array_equal(chunk.window, np.delete(clean.window, 1, axis=2))


@pytest.mark.parametrize(
    ("cell", "hour", "reason", "text"),
    [
        (FULL[:-1] + "x", 120, "bad_value", "'x'"),
        ("inf" + FULL[1:], 0, "bad_value", "inf"),
        ("99" + FULL[1:], 0, "out_of_range", "99"),
    ],
)
def test_a_bad_hour_is_missing_and_its_window_lives_on(cell: str, hour: int, reason: str, text: str) -> None:
    _, (chunk,) = read_wide(as_csv(wide_rows(changes={"temp": cell})))
    _, (clean,) = read_wide(as_csv(wide_rows(changes={"temp": FULL})))
    assert chunk.rejected == []
    clean.window[hour, AIR.stored.index("temp"), 1] = np.nan
    np.testing.assert_array_equal(chunk.window, clean.window)
    assert chunk.values["temp"] == replace(clean.values["temp"], reasons={reason: 1}, texts={text: 1})
    assert {name: of for name, of in chunk.values.items() if name != "temp"} == {
        name: of for name, of in clean.values.items() if name != "temp"
    }


@pytest.mark.parametrize(("truth", "reason"), [("abc", "bad_value"), ("1001", "out_of_range")])
def test_a_bad_truth_is_no_truth_and_its_window_is_answered(truth: str, reason: str) -> None:
    _, (chunk,) = read_wide(as_csv(wide_rows(changes={"target": truth})))
    assert (chunk.rejected, np.isnan(chunk.target).nonzero()[0].tolist()) == ([], [1])
    assert (chunk.values["pm25"].given, chunk.values["pm25"].reasons) == (8, {reason: 1})


def test_a_row_that_is_refused_for_its_id_counts_no_values() -> None:
    _, (chunk,) = read_wide(as_csv(wide_rows(changes={"ID": "", "temp": "99" + FULL[1:]})))
    assert chunk.values["temp"].reasons == {}


def test_missing_hours_may_be_empty_or_padded_and_a_row_may_lack_its_target() -> None:
    _, (chunk,) = read_wide(
        as_csv(wide_rows(changes={"temp": " , NA,nan," + ", ".join(["1"] * (HOURS - 3)), "target": ""}))
    )
    assert chunk.rejected == []
    np.testing.assert_array_equal(chunk.window[:, 0, 1], [math.nan] * 3 + [1.0] * (HOURS - 3))
    assert np.isnan(chunk.target[1])


def test_the_same_windows_as_texts_or_lists_in_parquet_give_the_same_chunk() -> None:
    rows = wide_rows()
    _, (expected,) = read_wide(as_csv(rows))
    lists = [
        {**row, **{c: [float(v) for v in row[c].split(",")] for c in WIDE}, "target": float(row["target"])}
        for row in rows
    ]
    for data in (as_parquet(rows), as_parquet(lists)):
        table, (chunk,) = read_wide(data, "Train.parquet")
        np.testing.assert_array_equal(chunk.window, expected.window)
        np.testing.assert_array_equal(chunk.target, expected.target)
        assert (chunk.ids, chunk.group, table.rows) == (expected.ids, expected.group, 8)
    _, (bad,) = read_wide(as_parquet(wide_rows(changes={"temp": "1"})), "Train.parquet")
    assert [json.loads(r.raw)["ID"] for r in bad.rejected] == ["ID_1"]


def test_a_cut_wide_file_gives_the_windows_before_the_cut() -> None:
    data = gzip.compress(as_csv(wide_rows(200)))
    table, chunks = read_wide(data[: len(data) // 2], "Train.csv.gz")
    assert table.problem is not None
    assert chunks[-1].rejected[-1].reason == "truncated"
    assert 0 < sum(len(chunk.ids) for chunk in chunks) < 200


def test_a_file_with_an_id_but_neither_time_nor_windows_is_no_wide_file() -> None:
    for data in (b"ID,temp,pm25\n1,2,3\n", b'ID,temp\n1,"2\n', as_parquet([{"ID": "1", "temp": 1.0}])):
        with pytest.raises(BadEvent, match="header"):
            read(data)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_thousands_of_mutated_files_lose_no_row_and_raise_nothing_but_a_reason(wide: bool) -> None:
    source = random.Random(20261120)
    quoted = '"a,""b""",2026-11-20T15:00:00Z,"1",2'
    base = as_csv(wide_rows(3)) if wide else lines(GOOD, quoted, *[GOOD.replace("a,", "ü,")] * 6)
    header, _, body = base.partition(b"\n")
    reasons: Counter[str] = Counter()
    for _ in range(300 if wide else 2000):
        changed = mutated(source, body)
        try:
            table = open_table("a.csv", io.BytesIO(header + b"\n" + changed), AIR, zone=None, not_after_minute=NOW)
        except BadEvent as error:
            reasons[error.reason] += 1
            continue
        accepted = 0
        for part in table:
            accepted += len(part.ids) if isinstance(part, WideChunk) else len(part.readings)
            reasons.update(rejection.reason for rejection in part.rejected)
            accepted += len(part.rejected)
        assert accepted == table.rows == by_hand(changed)
    assert reasons.keys() <= REASONS.keys()
    assert len(reasons) >= (3 if wide else 9)
