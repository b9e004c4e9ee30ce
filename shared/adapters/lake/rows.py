"""Rows of the lake as the commits, batches, predictions and readings they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from shared.adapters.lake.batches import batch_from, coded
from shared.adapters.lake.commit_files import COLD_START, ParquetFiles, flags
from shared.core.intake.readings import Readings
from shared.core.scenario.cadence import Cadence
from shared.core.stream.commit import APPLIED, DISPOSITIONS, Commit
from shared.core.stream.events import Batch
from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = ("device_id", "timestamp", "partition", "epoch", "sequence_number", "position")


def readings_in(commit: Commit) -> int:
    """Readings in a commit, those redelivered included."""
    return sum(commit.counts.get(name, 0) for name in DISPOSITIONS)


def commits_of(rows: pa.Table) -> list[tuple[str, Commit]]:
    """Names and commits."""
    cells = zip(rows["name"].to_pylist(), rows["metadata"].to_pylist(), strict=True)
    return [(name, msgspec.json.decode(raw, type=Commit)) for name, raw in cells]


def within(rows: pa.Table, commit: Commit) -> pa.Table:
    """A commit's own rows among those of its partition and epoch, sorted by sequence number."""
    low, high = np.searchsorted(rows["sequence_number"].to_numpy(), [commit.first, commit.next])
    return rows.slice(int(low), int(high - low))


def batch_of(files: ParquetFiles, commit: Commit, rows: pa.Table) -> Batch:
    """The batch that a commit was made of.

    Args:
        files: Know the commit's channels and cadence.
        commit: The commit.
        rows: Its readings, sorted by sequence number and position.

    Raises:
        ContractBroken: There are not as many as the commit says.
    """
    if len(rows) != readings_in(commit):
        raise ContractBroken(_lacks(commit, "readings", readings_in(commit), len(rows)))
    minute = _ticks(files.cadence_of(commit), rows)
    return batch_from(commit, rows, minute, _values(files.channels_of(commit), rows))


def dispositions_of(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """What became of readings, index into `DISPOSITIONS`."""
    names, codes = coded(rows, "disposition")
    found: npt.NDArray[np.uint8] = np.array([DISPOSITIONS.index(name) for name in names], np.uint8)[codes]
    return found


def applied(rows: pa.Table, first_us: int, stop_us: int) -> pa.Table:
    """Applied readings of a time, microseconds since 1970."""
    import pyarrow.compute as pc

    when = rows["timestamp"].cast("int64").to_numpy()
    kept = pc.equal(rows["disposition"], DISPOSITIONS[APPLIED]).to_numpy(zero_copy_only=False)
    return rows.filter((when >= first_us) & (when < stop_us) & kept)


def readings_of(channels: tuple[str, ...], cadence: Cadence, rows: pa.Table) -> Readings:
    """Rows as readings, in the order in which the first of a tick wins."""
    rows = rows.sort_by([(name, "ascending") for name in ORDER])
    names, codes = coded(rows, "device_id")
    return Readings(tuple(names), codes, _ticks(cadence, rows), rows["position"].to_numpy(), _values(channels, rows))


def _ticks(cadence: Cadence, rows: pa.Table) -> Any:
    return cadence.kept(rows["timestamp"].cast("int64").to_numpy() // cadence.tick_us)


def _values(channels: tuple[str, ...], rows: pa.Table) -> Any:
    """Values, float32, shape (n, channels), NaN where missing; the table may be older than a channel."""
    missing, there = np.full(len(rows), np.nan, np.float32), rows.column_names
    return np.stack([rows[name].to_numpy().astype(np.float32) if name in there else missing for name in channels], 1)


def predictions_of(files: ParquetFiles, commit: Commit, rows: pa.Table) -> dict[str, Any] | None:
    """A commit's predictions as `ParquetFiles.read_predictions` gives them, None when it made none.

    Raises:
        ContractBroken: There are not as many as the commit says.
    """
    count = commit.counts["predictions"]
    if len(rows) != count:
        raise ContractBroken(_lacks(commit, "predictions", count, len(rows)))
    return None if commit.predictions is None else forecasts_of(files, rows)


def forecasts_of(files: ParquetFiles, rows: pa.Table) -> dict[str, Any]:
    """Forecasts as columns, as `ParquetFiles.read_predictions` gives them."""
    out: dict[str, Any] = {name: rows[name].to_pylist() for name in files.texts}
    out |= {name: rows[name].cast("int64").to_numpy() // files.scenario.cadence.step_us for name in files.hours}
    out |= {name: rows[name].to_numpy() for name in files.numbers}
    out["served"] = rows["served"].combine_chunks().to_numpy(zero_copy_only=False)
    out[COLD_START] = flags(rows, COLD_START)
    return out


def _lacks(commit: Commit, what: str, wanted: int, found: int) -> str:
    place = f"partition {commit.partition}, epoch {commit.epoch}, commit {commit.first}"
    return f"lake: {place} says {wanted} {what}, the lake holds {found}"
