"""Ten digits are a date and an hour where they cannot be a second since 1970 that has passed."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.tables.open import LongTable, open_table
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.times.date_hours import with_date_hours
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import OK, UNZONED, utc
from shared.core.intake.times.zones import zone
from tests.kit import SCENARIO

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NOW = 29_700_000  # in 2026
HOURS = st.integers(0, 25 * 366 * 24).map(
    lambda hour: datetime(2001, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hour)
)


def minutes(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(minutes=1)


def read(texts: list[str], now: int = NOW) -> tuple[list[int], list[int]]:
    """Minutes and faults as from a source on UTC."""
    stamps = with_date_hours(from_texts(texts), now, texts.__getitem__)
    found, fault = utc(stamps, [zone("UTC")], np.zeros(len(texts), np.int32), now)
    return found.tolist(), fault.tolist()


@given(st.lists(HOURS, min_size=1, max_size=20))
def test_dates_with_an_hour_are_read_as_the_standard_library_writes_them(moments: list[datetime]) -> None:
    past = [moment for moment in moments if minutes(moment) <= NOW]
    assert read([f"{moment:%Y%m%d%H}" for moment in past]) == ([*map(minutes, past)], [OK] * len(past))


@given(st.integers(1_900_000_000, 2_099_999_999), st.integers(0, 60_000_000))
def test_an_epoch_that_has_passed_is_always_an_epoch(second: int, later: int) -> None:
    found, fault = read([str(second)], second // 60 + later)
    assert (found, fault) == ([second // 60], [OK])


@pytest.mark.parametrize("text", ["2026043125", "2026130106", "2026002506", "2026043106", "1999000000", "2099999999"])
def test_what_is_no_date_stays_in_the_future(text: str) -> None:
    assert read([text])[1] != [OK]


def test_a_date_of_the_future_is_one_whichever_way_it_is_read() -> None:
    assert read(["2027010100"])[1] == [3]


def test_only_what_lies_in_the_future_is_looked_at() -> None:
    stamps = from_texts(["1714000000", "2024-03-01T00:00Z", "", "x", "20240301000000"])
    assert with_date_hours(stamps, NOW, lambda i: pytest.fail(f"row {i} is asked for")) is stamps


ROWS = [{"device_id": "a", "timestamp": stamp, "pm": 5} for stamp in (2026042506, 2026042507)]
AT = [minutes(datetime(2026, 4, 24, hour, tzinfo=timezone.utc)) for hour in (22, 23)]  # in Shanghai


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", pd.DataFrame(ROWS).to_csv(index=False).encode()),
        ("quoted.csv", pd.DataFrame(ROWS).astype(str).to_csv(index=False, quoting=1).encode()),
        ("float.csv", pd.DataFrame(ROWS).astype({"timestamp": float}).to_csv(index=False).encode()),
        ("x.parquet", pd.DataFrame(ROWS).to_parquet()),
        ("float.parquet", pd.DataFrame(ROWS).astype({"timestamp": float}).to_parquet()),
        ("x.jsonl", b"\n".join(json.dumps(row).encode() for row in ROWS)),
        ("x.json", json.dumps([{**row, "timestamp": str(row["timestamp"])} for row in ROWS]).encode()),
    ],
)
def test_every_form_of_a_file_reads_them_in_its_zone(name: str, data: bytes) -> None:
    table = open_table(name, io.BytesIO(data), SCENARIO, zone="Asia/Shanghai", not_after_minute=NOW)
    assert isinstance(table, LongTable)
    parts = list(table)
    assert [rejection.detail for part in parts for rejection in part.rejected] == []
    assert [minute for part in parts for minute in part.readings.minute.tolist()] == AT


def test_a_message_reads_them_too() -> None:
    body = json.dumps(ROWS).encode()
    parsed = Decoder(SCENARIO).decode(body, position=0, identity=None, not_after_minute=NOW)
    assert parsed.readings.minute.tolist() == [minute + 8 * 60 for minute in AT]
    assert UNZONED not in parsed.readings.minute
