"""Commits as rows of the lake's tables, and such rows as the batches and predictions they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.adapters.lake import schema
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.schema import COMMITS, OUTCOMES, PREDICTIONS, READINGS
from shared.core.intake.readings import Readings
from shared.core.stream.commit import APPLIED, DISPOSITIONS, Commit
from shared.core.stream.events import Batch, End
from shared.core.task.calendar import DAY_HOURS, HOUR_US
from shared.core.task.task import names_of
from shared.errors import ContractBroken
from shared.ports import LakeRows

if TYPE_CHECKING:
    import pyarrow as pa

MINUTE_US = 60_000_000
DAY_MINUTES, DAY_MS = 1440, 86_400_000
ORDER = ("device_id", "timestamp", "partition", "epoch", "sequence_number", "position")


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


def readings_in(commit: Commit) -> int:
    """Readings in a commit, those redelivered included."""
    return sum(commit.counts[name] for name in DISPOSITIONS)


def _place(commit: Commit, count: int) -> dict[str, Any]:
    return {"partition": np.full(count, commit.partition, np.int32), "epoch": np.full(count, commit.epoch, np.int32)}


def _days(days: Any) -> Any:
    import pyarrow as pa

    return pa.array(np.asarray(days, np.int32), pa.int32()).cast(pa.date32())


def _texts(codes: Any, names: Any) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(names), pa.string()))


def _readings(files: ParquetFiles, commit: Commit, batch: Batch, raw: bytes) -> dict[str, Any]:
    values = {name: batch.values[:, place] for place, name in enumerate(files.channels)}
    return {
        "date": _days(batch.minute // DAY_MINUTES),
        **_place(commit, len(batch)),
        "sequence_number": batch.sequence,
        "device_id": _texts(batch.device, batch.devices),
        "timestamp": batch.minute.astype(np.int64) * MINUTE_US,
        "disposition": _texts(files.dispositions(raw), DISPOSITIONS),
        "source": _texts(batch.source, batch.sources),
        "position": batch.position,
        **values,
    }


def _predictions(files: ParquetFiles, commit: Commit, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        found = {name: np.empty(0, np.int64) for name in (*files.hours, *files.numbers)}
        found |= {name: [] for name in files.texts} | {"served": np.empty(0, bool)}
    count = len(found["device_id"])
    return {
        **found,
        "date": _days(found["as_of"] // DAY_HOURS),
        **_place(commit, count),
        **{name: found[name] * HOUR_US for name in files.hours},
        "scored_at": np.full(count, commit.enqueued_ms * 1000, np.int64),
    }


def _outcomes(files: ParquetFiles, commit: Commit, raw: bytes) -> dict[str, Any]:
    found = files.outcomes(raw)
    as_of, numbers = found["as_of"].to_numpy(), names_of((*files.task.answer, *files.task.label), "number")
    return {
        **{name: found[name].combine_chunks() for name in ("device_id", "model_version", "role")},
        **{name: found[name].to_numpy() for name in ("revision", *numbers)},
        "sequence_number": found["sequence_number"].to_numpy(),
        "date": _days(as_of // DAY_HOURS),
        **_place(commit, len(found)),
        "as_of": as_of * HOUR_US,
        "target_time": files.task.target_hour(as_of) * HOUR_US,
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


def commits_of(rows: pa.Table) -> list[tuple[str, Commit]]:
    """Names and commits."""
    cells = zip(rows["name"].to_pylist(), rows["metadata"].to_pylist(), strict=True)
    return [(name, msgspec.json.decode(raw, type=Commit)) for name, raw in cells]


def within(rows: pa.Table, commit: Commit) -> pa.Table:
    """A commit's own rows among those of its partition and epoch, sorted by sequence number."""
    low, high = np.searchsorted(rows["sequence_number"].to_numpy(), [commit.first, commit.next])
    return rows.slice(int(low), int(high - low))


def batch_of(channels: tuple[str, ...], commit: Commit, rows: pa.Table) -> Batch:
    """The batch that a commit was made of.

    Args:
        channels: The scenario's channels.
        commit: The commit.
        rows: Its readings, sorted by sequence number and position.

    Raises:
        ContractBroken: There are not as many as the commit says.
    """
    if len(rows) != readings_in(commit):
        raise ContractBroken(_lacks(commit, "readings", readings_in(commit), len(rows)))
    devices, sources = (rows[name].combine_chunks().dictionary_encode() for name in ("device_id", "source"))
    renumber = np.array([commit.sources.index(name) for name in sources.dictionary.to_pylist()], np.int32)
    return Batch(
        commit.partition,
        commit.epoch,
        commit.first,
        commit.next,
        commit.enqueued_ms,
        tuple(commit.sources),
        tuple(devices.dictionary.to_pylist()),
        renumber[sources.indices.to_numpy()] if len(rows) else np.empty(0, np.int32),
        devices.indices.to_numpy().astype(np.int32),
        _minutes(rows),
        rows["position"].to_numpy(),
        rows["sequence_number"].to_numpy(),
        _values(channels, rows),
        tuple(End(place, position) for place, position in commit.ends),
    )


def dispositions_of(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """What became of readings, index into `DISPOSITIONS`."""
    coded = rows["disposition"].combine_chunks().dictionary_encode()
    renumber = np.array([DISPOSITIONS.index(name) for name in coded.dictionary.to_pylist()], np.uint8)
    found: npt.NDArray[np.uint8] = renumber[coded.indices.to_numpy()]
    return found


def applied(rows: pa.Table, first_us: int, stop_us: int) -> pa.Table:
    """Applied readings of a time, microseconds since 1970."""
    import pyarrow.compute as pc

    when = rows["timestamp"].cast("int64").to_numpy()
    kept = pc.equal(rows["disposition"], DISPOSITIONS[APPLIED]).to_numpy(zero_copy_only=False)
    return rows.filter((when >= first_us) & (when < stop_us) & kept)


def readings_of(channels: tuple[str, ...], rows: pa.Table) -> Readings:
    """Rows as readings, in the order in which the first of a minute wins."""
    rows = rows.sort_by([(name, "ascending") for name in ORDER])
    device = rows["device_id"].combine_chunks().dictionary_encode()
    names, codes = tuple(device.dictionary.to_pylist()), device.indices.to_numpy().astype(np.int32)
    return Readings(names, codes, _minutes(rows), rows["position"].to_numpy(), _values(channels, rows))


def _minutes(rows: pa.Table) -> Any:
    return (rows["timestamp"].cast("int64").to_numpy() // MINUTE_US).astype(np.int32)


def _values(channels: tuple[str, ...], rows: pa.Table) -> Any:
    """Values, float32, shape (n, channels), NaN where missing; the table may be older than a channel."""
    missing, there = np.full(len(rows), np.nan, np.float32), rows.column_names
    return np.stack([rows[name].to_numpy().astype(np.float32) if name in there else missing for name in channels], 1)


def predictions_of(files: ParquetFiles, commit: Commit, rows: pa.Table) -> dict[str, Any] | None:
    """A commit's predictions as `Files.read_predictions` gives them, None when it made none.

    Raises:
        ContractBroken: There are not as many as the commit says.
    """
    count = commit.counts["predictions"]
    if len(rows) != count:
        raise ContractBroken(_lacks(commit, "predictions", count, len(rows)))
    if commit.predictions is None:
        return None
    out: dict[str, Any] = {name: rows[name].to_pylist() for name in files.texts}
    out |= {name: rows[name].cast("int64").to_numpy() // HOUR_US for name in files.hours}
    out |= {name: rows[name].to_numpy() for name in files.numbers}
    out["served"] = rows["served"].combine_chunks().to_numpy(zero_copy_only=False)
    return out


def _lacks(commit: Commit, what: str, wanted: int, found: int) -> str:
    place = f"partition {commit.partition}, epoch {commit.epoch}, commit {commit.first}"
    return f"lake: {place} says {wanted} {what}, the lake holds {found}"
