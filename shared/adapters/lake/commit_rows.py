"""A commit as rows of the lake's tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from shared.adapters.lake import schema
from shared.adapters.lake.commit_files import COLD_START, ParquetFiles
from shared.adapters.lake.rows import readings_in
from shared.adapters.lake.schema import COMMITS, OUTCOMES, PREDICTIONS, READINGS
from shared.core.stream.commit import DISPOSITIONS, Commit
from shared.core.stream.events import Batch
from shared.core.task.task import names_of
from shared.core.task.versions import all_rows
from shared.errors import ContractBroken
from shared.ports import LakeRows

DAY_US, DAY_MS = 86_400_000_000, 86_400_000


def rows_of(files: ParquetFiles, name: str, raw: bytes, read: Callable[[str], bytes]) -> LakeRows:
    """A commit's rows in all tables.

    Raises:
        ContractBroken: A blob is damaged, or does not hold as many rows as the commit says.
    """
    commit, batch = files.decode_commit(raw)
    found = {
        READINGS: _readings(files, commit, batch, raw),
        PREDICTIONS: _predictions(files, commit, _made(files, commit, read)),
        OUTCOMES: _outcomes(files, commit, raw),
    }
    schemas = schema.schemas(files.task)
    tables = {table: schema.table(columns, schemas[table]) for table, columns in found.items()}
    held = {table: len(rows) for table, rows in tables.items()}
    wanted = {READINGS: readings_in(commit), PREDICTIONS: commit.counts["predictions"]}
    for table, count in wanted.items():
        if held[table] != count:
            raise ContractBroken(f"commit says {count} {table}, {held[table]} found")
    tables[COMMITS] = schema.table(_commit(name, commit, held), schemas[COMMITS])
    return LakeRows(commit, tables)


def _made(files: ParquetFiles, commit: Commit, read: Callable[[str], bytes]) -> dict[str, Any] | None:
    if commit.predictions is None:
        return None
    try:
        return files.read_predictions(read(commit.predictions))
    except ContractBroken as error:
        raise ContractBroken(f"predictions/{commit.predictions}: {error}") from error


def _place(commit: Commit, count: int) -> dict[str, Any]:
    return {"partition": np.full(count, commit.partition, np.int32), "epoch": np.full(count, commit.epoch, np.int32)}


def _days(days: Any) -> Any:
    import pyarrow as pa

    return pa.array(np.asarray(days, np.int32), pa.int32()).cast(pa.date32())


def _texts(codes: Any, names: Any) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(names), pa.string()))


def _readings(files: ParquetFiles, commit: Commit, batch: Batch, raw: bytes) -> dict[str, Any]:
    missing = np.full(len(batch), np.nan, np.float32)
    values = dict.fromkeys(all_rows(files.task), missing)
    values |= {name: batch.values[:, place] for place, name in enumerate(files.channels_of(commit))}
    when = batch.minute.astype(np.int64) * files.cadence_of(commit).tick_us
    return {
        "date": _days(when // DAY_US),
        **_place(commit, len(batch)),
        "sequence_number": batch.sequence,
        "device_id": _texts(batch.device, batch.devices),
        "timestamp": when,
        "disposition": _texts(files.dispositions(raw), DISPOSITIONS),
        "source": _texts(batch.source, batch.sources),
        "position": batch.position,
        **values,
    }


def _predictions(files: ParquetFiles, commit: Commit, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        found = {name: np.empty(0, np.int64) for name in (*files.hours, *files.numbers)}
        found |= {name: [] for name in files.texts} | {name: np.empty(0, bool) for name in ("served", COLD_START)}
    count, cadence = len(found["device_id"]), files.scenario.cadence
    return {
        **found,
        "date": _days(found["as_of"] // cadence.day),
        **_place(commit, count),
        **{name: found[name] * cadence.step_us for name in files.hours},
        "scored_at": np.full(count, commit.enqueued_ms * 1000, np.int64),
    }


def _outcomes(files: ParquetFiles, commit: Commit, raw: bytes) -> dict[str, Any]:
    found = files.outcomes(raw)
    cadence = files.scenario.cadence
    as_of, numbers = found["as_of"].to_numpy(), names_of((*files.task.answer, *files.task.label), "number")
    return {
        **{name: found[name].combine_chunks() for name in ("device_id", "model_version", "role")},
        **{name: found[name].to_numpy() for name in ("revision", *numbers)},
        "sequence_number": found["sequence_number"].to_numpy(),
        "date": _days(as_of // cadence.day),
        **_place(commit, len(found)),
        "as_of": as_of * cadence.step_us,
        "target_time": files.task.target_hour(as_of) * cadence.step_us,
    }


def _commit(name: str, commit: Commit, held: dict[str, int]) -> dict[str, Any]:
    return {
        "date": _days([commit.enqueued_ms // DAY_MS]),
        **_place(commit, 1),
        "first": [commit.first],
        "next": [commit.next],
        "enqueued_at": [commit.enqueued_ms * 1000],
        "name": [name],
        **{table: [count] for table, count in held.items()},
        "metadata": [msgspec.json.encode(commit).decode()],
    }
