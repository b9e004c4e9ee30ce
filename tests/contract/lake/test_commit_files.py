"""Commits and predictions as Parquet: what goes in comes out, the same gives the same bytes, damage is refused."""

from __future__ import annotations

import io
import random
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.lake import outcomes, sealed_parquet
from shared.adapters.lake.commit_files import ParquetFiles
from shared.core.forecast.outcome import Outcome
from shared.core.model.scoring import Control, Scored, ScoreRequest
from shared.core.stream.commit import FORMAT, Commit
from shared.core.stream.events import Batch, Event
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack, pack_end
from shared.errors import ContractBroken
from tests.kit import HOUR, SCENARIO, TASK, Row, hourly, readings

FILES = ParquetFiles(TASK)
HOSTILE = ["a/../b", "quote'\"`", "🌫️ ü", "<script>alert(1)</script>", "=1+1", "x" * 128, "airloop-sha256=" + "0" * 64]
SOURCES = ["file/a b.csv@0x1", "hub/0", f"file/{HOSTILE[3]}@1", f"file/{sealed_parquet.SEAL.decode()}{'0' * 64}.csv@2"]


def answer(ask: ScoreRequest) -> list[Scored]:
    value = np.linspace(0, 400, len(ask.device)).astype(np.float32)
    served = np.ones(len(value), bool)
    return [
        Scored(0, "v1", {"value": value, "lower": value - 1, "upper": value + 1}, served),
        Scored(1, "v2", {"value": value + 2, "lower": value, "upper": value + 3}, ~served),
    ]


def outcome_of(parts: list[tuple[str, list[Row]]], ends: list[str], scorer: Any = answer) -> Outcome:
    bodies = [body for source, rows in parts for body in pack(source, SCENARIO.channel_names, readings(rows))]
    bodies += [pack_end(source, 77) for source in ends]
    events = [Event(5 + number, 1_700_000_000_123 + number, body) for number, body in enumerate(bodies)]
    batch, bad = gather(3, 2, events, SCENARIO.channel_names)
    assert not bad
    return TASK.step(TASK.empty(3), batch, Control("v1", "v2", frozenset("q")), scorer)


def commit_of(outcome: Outcome) -> Commit:
    batch = outcome.batch
    return Commit(
        partition=batch.partition,
        epoch=batch.epoch,
        first=batch.first,
        next=batch.next,
        follows=batch.first - 1,
        enqueued_ms=batch.enqueued_ms,
        sources=list(batch.sources),
        ends=[(end.source, end.position) for end in batch.ends],
        champion="v1",
        challenger=None,
        quarantine=["a", "ü"],
        predictions="partition=03/p",
        dead_letters=None,
        counts=outcome.counts(),
    )


def assert_same_batch(one: Batch, two: Batch) -> None:
    for field in fields(Batch):
        left, right = getattr(one, field.name), getattr(two, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert left.shape == right.shape, field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name


rows = st.lists(
    st.tuples(
        st.sampled_from(HOSTILE),
        st.integers(0, 600),
        st.tuples(*[st.floats(0, 300, width=32) | st.just(float("nan"))] * 3),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SOURCES), rows), max_size=4), st.lists(st.sampled_from(SOURCES), max_size=2))
def test_a_commit_is_read_back_as_the_batch_it_was(
    parts: list[tuple[str, list[tuple[str, int, tuple[float, ...]]]]], ends: list[str]
) -> None:
    numbered: list[tuple[str, list[Row]]] = [
        (
            source,
            [(place + 1, device, HOUR * 60 + minute, values) for place, (device, minute, values) in enumerate(found)],
        )
        for source, found in parts
    ]
    if not ends and not any(found for _, found in parts):
        return
    outcome = outcome_of(numbered, ends)
    commit = commit_of(outcome)
    raw = FILES.encode_commit(commit, outcome)
    assert raw == FILES.encode_commit(commit, outcome)
    found, batch = FILES.decode_commit(raw)
    assert found == commit
    assert_same_batch(batch, outcome.batch)
    assert FILES.dispositions(raw).tolist() == outcome.disposition.tolist()
    again = TASK.step(TASK.empty(3), batch, Control("v1", "v2", frozenset("q")), answer)
    assert FILES.encode_predictions(again) == FILES.encode_predictions(outcome)
    assert FILES.encode_commit(commit, again) == raw


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return outcome_of([("file/a b.csv@0x1", hourly("ab", hours=30)), ("hub/0", hourly("cd"))], ["file/a b.csv@0x1"])


def test_predictions_are_read_back_as_they_were(outcome: Outcome) -> None:
    made = outcome.predictions
    found = FILES.read_predictions(FILES.encode_predictions(outcome))
    assert len(made) > 100
    assert found["device_id"] == made.device
    assert found["model_version"] == made.model
    assert found["role"] == [("champion", "challenger")[role] for role in made.role.tolist()]
    wanted = {"as_of": made.as_of, **made.numbers, "revision": made.revision}
    assert list(wanted) == ["as_of", "value", "lower", "upper", "revision"]
    for name, column in wanted.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)
    np.testing.assert_array_equal(found["sequence_number"], made.sequence)
    np.testing.assert_array_equal(found["served"], made.served)
    np.testing.assert_array_equal(found["target_time"], made.as_of + SCENARIO.horizon)
    assert found["value"].dtype == np.float32


def test_anybody_can_read_predictions_with_their_times_and_types(outcome: Outcome) -> None:
    table = pq.read_table(io.BytesIO(FILES.encode_predictions(outcome)))
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    text = "dictionary<values=string, indices=int32, ordered=0>"
    when = "timestamp[ms, tz=UTC]"
    assert types == {
        "device_id": text,
        "as_of": when,
        "target_time": when,
        "value": "float",
        "lower": "float",
        "upper": "float",
        "category": text,
        "model_version": text,
        "role": text,
        "served": "bool",
        "revision": "int32",
        "scored_at": when,
        "partition": "int32",
        "sequence_number": "int64",
    }
    first = table.to_pylist()[0]
    assert (first["target_time"] - first["as_of"]).total_seconds() == SCENARIO.horizon * 3600
    assert first["as_of"].timestamp() == outcome.predictions.as_of[0] * 3600
    assert round(first["scored_at"].timestamp() * 1000) == outcome.batch.enqueued_ms
    assert first["partition"] == 3


def test_the_same_batch_gives_the_same_bytes_whoever_writes_it(outcome: Outcome) -> None:
    again = outcome_of([("file/a b.csv@0x1", hourly("ab", hours=30)), ("hub/0", hourly("cd"))], ["file/a b.csv@0x1"])
    other = ParquetFiles(TASK)
    assert other.encode_commit(commit_of(again), again) == FILES.encode_commit(commit_of(outcome), outcome)
    assert other.encode_predictions(again) == FILES.encode_predictions(outcome)


def test_outcomes_are_the_forecasts_that_became_final(outcome: Outcome) -> None:
    raw = FILES.encode_commit(commit_of(outcome), outcome)
    table = FILES.outcomes(raw)
    made, found = outcome.matured, table.to_pydict()
    wait = SCENARIO.horizon + SCENARIO.lateness + 1
    assert len(made) == 2 * (2 * (30 - wait) + 2 * (12 - wait)), "of each role, all whose truth cannot change any more"
    assert found["device_id"] == [made.devices[place] for place in made.device.tolist()]
    assert found["model_version"] == [made.models[place] for place in made.model.tolist()]
    assert found["role"] == [("champion", "challenger")[role] for role in made.role.tolist()]
    wanted = {"as_of": made.as_of, "revision": made.revision, **made.numbers}
    assert list(wanted) == ["as_of", "revision", "value", "lower", "upper", "truth", "latest"]
    for name, column in wanted.items():
        np.testing.assert_array_equal(np.array(found[name]), column, err_msg=name)
    assert found["sequence_number"] == made.sequence.tolist()
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "device_id": text,
        "as_of": "int64",
        "role": text,
        "model_version": text,
        "revision": "int32",
        "value": "float",
        "lower": "float",
        "upper": "float",
        "truth": "float",
        "latest": "float",
        "sequence_number": "int64",
    }


def test_a_truth_that_never_came_is_missing_among_the_outcomes() -> None:
    rows = hourly("a", hours=14)
    rows[4] = (*rows[4][:3], (float("nan"), 1.0, 90.0))
    del rows[5]
    outcome = outcome_of([("hub/0", rows)], [])
    found = FILES.outcomes(FILES.encode_commit(commit_of(outcome), outcome)).to_pydict()
    hours = [as_of - HOUR for as_of in found["as_of"]]
    truths = {hour: truth == truth for hour, truth in zip(hours, found["truth"], strict=True)}
    assert truths == {0: True, 1: False, 2: False, 3: True, 4: True, 6: True}
    assert {hour for hour, latest in zip(hours, found["latest"], strict=True) if latest != latest} == {4}


def test_a_commit_without_forecasts_has_outcomes_without_rows() -> None:
    outcome = outcome_of([("hub/0", hourly())], [], lambda _: [])
    table = FILES.outcomes(FILES.encode_commit(commit_of(outcome), outcome))
    assert len(table) == 0
    assert table.column_names[:3] == ["device_id", "as_of", "role"]


def test_outcomes_are_covered_by_the_checksum_and_refused_where_there_are_none(outcome: Outcome) -> None:
    raw = FILES.encode_commit(commit_of(outcome), outcome)
    place = raw.index(outcomes.OUTCOMES) + 200
    with pytest.raises(ContractBroken, match="checksum"):
        FILES.outcomes(raw[:place] + b"A" * 4 + raw[place + 4 :])
    with pytest.raises(ContractBroken, match="has no outcomes"):
        FILES.outcomes(FILES.encode_predictions(outcome))
    for hidden in (b"", b"?", b"AAAA"):
        with pytest.raises(ContractBroken, match="outcomes of a commit cannot be read"):
            FILES.outcomes(sealed_parquet.write(pa.table({"a": [1]}), {outcomes.OUTCOMES: hidden}))


def test_a_batch_without_readings_or_predictions_is_a_commit_too() -> None:
    outcome = outcome_of([], ["hub/0"], lambda _: [])
    commit, batch = FILES.decode_commit(FILES.encode_commit(commit_of(outcome), outcome))
    assert (len(batch), commit.ends, batch.sources) == (0, [(0, 77)], ("hub/0",))
    assert FILES.read_predictions(FILES.encode_predictions(outcome))["device_id"] == []


@pytest.mark.parametrize("kind", ["commit", "predictions"])
def test_every_flipped_bit_is_noticed(outcome: Outcome, kind: str) -> None:
    encode = FILES.encode_predictions if kind == "predictions" else lambda o: FILES.encode_commit(commit_of(o), o)
    decode: Any = FILES.read_predictions if kind == "predictions" else FILES.decode_commit
    raw = encode(outcome)
    decode(raw)
    places = [*range(300), *random.Random(1).sample(range(len(raw)), 1200), *range(len(raw) - 300, len(raw))]
    for place in places:
        damaged = bytearray(raw)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ContractBroken):
            decode(bytes(damaged))
    for end in (0, 1, 4, len(raw) // 2, len(raw) - 1):
        with pytest.raises(ContractBroken, match=f"{kind} of {end} bytes is damaged"):
            decode(raw[:end])
    with pytest.raises(ContractBroken):
        decode(raw + b"\n")


def test_what_is_whole_but_something_else_is_refused(outcome: Outcome) -> None:
    commit, predictions = FILES.encode_commit(commit_of(outcome), outcome), FILES.encode_predictions(outcome)
    with pytest.raises(ContractBroken, match="not a commit"):
        FILES.decode_commit(predictions)
    with pytest.raises(ContractBroken, match="predictions without the columns category, model_version"):
        FILES.read_predictions(commit)
    with pytest.raises(ContractBroken, match="of format 99, not 1"):
        FILES.decode_commit(
            FILES.encode_commit(msgspec.structs.replace(commit_of(outcome), format=FORMAT + 98), outcome)
        )
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    for decode in (FILES.decode_commit, FILES.read_predictions, FILES.dispositions):
        with pytest.raises(ContractBroken, match="checksum"):
            decode(sink.getvalue())
